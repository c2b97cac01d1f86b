"""Fréchet distance between two sets of images, from the means and covariances of their features.

Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017.
Between Gaussians it is the squared 2-Wasserstein distance (Dowson and Landau 1982); with Inception's features the FID.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Directions in which a covariance is this small beside its greatest are its rounding.
_RANK = 1e-14


class Moments(NamedTuple):
    """Number, mean and scatter of features ``(N, C)``, or of several sets of them side by side.

    Args:
        size: ``(...)`` how many there are.
        mean: ``(..., C)``.
        scatter: ``(..., C, C)`` sum of the outer products of the deviations from the mean.
    """

    size: Tensor
    mean: Tensor
    scatter: Tensor

    def joined(self) -> Moments:
        """Those of all sets of the first axis together, by Chan, Golub and LeVeque (1979).

        Nothing large is subtracted: it is as exact as from the features themselves, in whatever order sets are joined.
        """
        size = self.size.sum(0)
        mean = (self.size[:, None] * self.mean).sum(0) / size.clamp_min(1)
        off = self.mean - mean
        return Moments(size, mean, self.scatter.sum(0) + (self.size[:, None] * off).T @ off)

    def without(self, place: int) -> Moments:
        """Those of all sets of the first axis but one."""
        kept = torch.arange(len(self.size), device=self.size.device) != place
        return Moments(*(part[kept] for part in self)).joined()


def moments(features: Tensor, folds: Tensor | None = None, count: int = 1) -> Moments:
    """Moments of features in float64, one set for each fold.

    Args:
        features: ``(N, C)``, N may be 0.
        folds: ``(N,)`` the fold of each image, from 0; ``None`` for a single one.
        count: number of folds.

    >>> found = moments(torch.tensor([[0.0, 1.0], [2.0, 5.0]])).joined()
    >>> found.size.tolist(), found.mean.tolist(), found.scatter.tolist()
    (2.0, [1.0, 3.0], [[2.0, 4.0], [4.0, 8.0]])
    """
    # MPS has no float64.
    features = features.detach().to(torch.float32 if features.device.type == "mps" else torch.float64)
    parts = []
    for fold in range(count):
        own = features if folds is None else features[folds == fold]
        mean = own.mean(0) if len(own) else own.new_zeros(own.shape[1])
        off = own - mean
        parts.append((own.new_tensor(len(own)), mean, off.T @ off))
    return Moments(*(torch.stack(part) for part in zip(*parts, strict=True)))


def frechet_distance(first: Moments, second: Moments) -> Tensor:
    r"""``|μ₁ - μ₂|² + Tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½)``, 0-dim, with the covariances by ``N - 1`` as is usual.

    With ``Σ = A Aᵀ``, the trace of the root is the sum of the singular values of ``A₁ᵀ A₂``. That keeps its digits
    where covariances are singular, as with fewer images than channels: roots of eigenvalues near 0 would lose half.

    Args:
        first: moments of at least two images.
        second: likewise.

    >>> set_of = lambda shift: moments(torch.tensor([[0.0], [2.0]]) + shift).joined()
    >>> float(frechet_distance(set_of(0.0), set_of(3.0)))
    9.0
    """
    roots = [_root(one.scatter / (one.size - 1)) for one in (first, second)]
    common = torch.linalg.svdvals(roots[0].T @ roots[1]).sum()
    spread: Tensor = roots[0].square().sum() + roots[1].square().sum() - 2 * common
    # The exact distance is never negative: what is below 0 is rounding.
    return (spread + (first.mean - second.mean).square().sum()).clamp_min(0)


def _root(covariance: Tensor) -> Tensor:
    """``A`` of ``A Aᵀ``, ``(C, rank)``."""
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > _RANK * values[-1].clamp_min(0)
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root
