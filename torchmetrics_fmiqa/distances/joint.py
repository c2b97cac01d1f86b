"""Several distances of one forward pass joined into one number."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

#: How distances are joined.
Combine = Literal["mean", "geometric"]

# What is far below any visible difference. It keeps the geometric mean's slope finite where a distance is 0.
_LEAST = 1e-6


@dataclass(frozen=True)
class Joint:
    r"""A weighted mean of distances: zero for equal inputs, at least 0, with finite gradients everywhere.

    With distances :math:`D_k` and weights :math:`w_k` that sum to 1, ``"mean"`` is :math:`\sum_k w_k D_k` and
    ``"geometric"`` is

    .. math:: e \left(\exp \sum_k w_k \log(1 + D_k / e) - 1\right), \quad e = 10^{-6},

    which is :math:`\prod_k D_k^{w_k}` for distances far above e, and their weighted mean far below. Distances of
    different sizes count alike in it: twice one distance does as much as twice another of the same weight.

    Args:
        names: of the distances.
        weights: of the distances, in their order; they sum to 1.
        how: ``"mean"`` or ``"geometric"``.

    >>> joint = Joint(("cosine", "symmetric_kl"), (0.5, 0.5), "geometric")
    >>> joint.name, joint.score([torch.tensor([0.1, 0.0]), torch.tensor([0.4, 0.0])])
    ('cosine+symmetric_kl', tensor([0.2000, 0.0000]))
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    how: Combine

    @property
    def name(self) -> str:
        """What the joint distance is called."""
        return "+".join(self.names)

    def only(self, names: Container[str]) -> Joint:
        """The same without some of the distances; the weights of the others sum to 1 again.

        >>> Joint(("cosine", "symmetric_kl", "l2"), (0.2, 0.5, 0.3), "mean").only(("cosine", "l2")).weights
        (0.4, 0.6)
        """
        kept = {name: weight for name, weight in zip(self.names, self.weights, strict=True) if name in names}
        total = sum(kept.values())
        return Joint(tuple(kept), tuple(weight / total for weight in kept.values()), self.how)

    def score(self, distances: Sequence[Tensor]) -> Tensor:
        """Join distances of any one shape, in the order of the names."""
        if self.how == "mean":
            return self._weighed(distances)
        return _LEAST * torch.expm1(self._weighed([torch.log1p(value / _LEAST) for value in distances]))

    def factors(self, distances: Sequence[Tensor]) -> list[Tensor]:
        """What to multiply the map of each distance by, so that the mean of their sum is the score.

        For ``"mean"`` these are the weights. For ``"geometric"`` each map is divided by its own mean (plus e) and the
        weighted mean of them is scaled to the score: a place counts by its share of each distance.

        Args:
            distances: the mean of each distance's map.

        >>> joint = Joint(("l2", "cosine"), (0.5, 0.5), "geometric")
        >>> joint.factors([torch.tensor(4.0), torch.tensor(1.0)])
        [tensor(0.2500), tensor(1.0000)]
        """
        if self.how == "mean":
            return [torch.full_like(value, weight) for value, weight in zip(distances, self.weights, strict=True)]
        shares = [weight / (value + _LEAST) for value, weight in zip(distances, self.weights, strict=True)]
        total = torch.stack([share * value for share, value in zip(shares, distances, strict=True)]).sum(0)
        some = total > 0
        # Where all are 0, what the quotient tends to.
        scale = torch.where(some, self.score(distances) / torch.where(some, total, 1.0), _LEAST)
        return [scale * share for share in shares]

    def _weighed(self, values: Sequence[Tensor]) -> Tensor:
        return torch.stack([weight * value for value, weight in zip(values, self.weights, strict=True)]).sum(0)
