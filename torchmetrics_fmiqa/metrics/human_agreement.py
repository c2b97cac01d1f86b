"""HumanAgreement: how well scores follow human opinion, as a ``torchmetrics.Metric``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.utilities import rank_zero_warn

from torchmetrics_fmiqa.arguments import shown
from torchmetrics_fmiqa.metrics.float64_state import StatefulMetric, whole_numbers
from torchmetrics_fmiqa.statistics import agreement

_RESULTS = ("srcc", "krcc", "plcc", "plcc_raw", "rmse", "outlier_ratio", "within_reference")
# Stands for an image without a reference or type.
_NO_ID = -1


class HumanAgreement(StatefulMetric):
    """Agreement of a metric's scores with human opinion (MOS or DMOS) over a data set.

    As input to ``forward`` and ``update`` the metric accepts

    - ``scores``: what a quality metric said, ``(N,)``
    - ``opinion``: what people said of the same images, ``(N,)``, finite
    - ``reference``: optional ``(N,)`` whole numbers of at least 0, the reference of each image
    - ``type``: optional ``(N,)`` whole numbers of at least 0, the type of each image's distortion

    Ids are given with every update or with none.

    As output of ``forward`` and ``compute`` the metric returns a dict of 0-dim float64 tensors

    - ``srcc``, ``krcc``: Spearman's and Kendall's (tau-b) rank correlation
    - ``plcc``, ``rmse``, ``outlier_ratio``: after a logistic fit with 4 parameters
    - ``plcc_raw``: Pearson's correlation of the scores as they are
    - ``within_reference``: mean over references of the SRCC within each; NaN without references
    - ``worst_type``: the lowest SRCC among the types; NaN without types

    Of the correlations higher is better. What cannot be computed is NaN, with a warning that says why: fewer than 3
    images, constant scores, a fit that failed. For intervals, tests and tables of many metrics see
    :mod:`torchmetrics_fmiqa.statistics`, which computes all this.

    Args:
        scores_higher_is_better: direction of the scores; distances are ``False``.
        opinion_higher_is_better: direction of the opinions; DMOS is usually ``False``.
        kwargs: options of ``torchmetrics.Metric``.

    Raises:
        ValueError: for columns that differ in length or are no numbers, opinions that are not finite, or ids that are
            no whole numbers of at least 0 or were left out of some updates.

    >>> from torchmetrics_fmiqa import HumanAgreement
    >>> metric = HumanAgreement(scores_higher_is_better=False)
    >>> distances, mos = torch.tensor([0.1, 0.2, 0.4, 0.3, 0.6, 0.5]), torch.tensor([5.0, 4.5, 3.0, 3.5, 1.0, 2.0])
    >>> metric.update(distances, mos, reference=torch.tensor([0, 0, 0, 1, 1, 1]))
    >>> found = metric.compute()
    >>> round(float(found["srcc"]), 3), round(float(found["within_reference"]), 3)
    (1.0, 1.0)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    if TYPE_CHECKING:  # TorchScript does not know these types
        scores: list[Tensor] | Tensor
        opinion: list[Tensor] | Tensor
        reference: list[Tensor] | Tensor
        type_ids: list[Tensor] | Tensor

    def __init__(
        self, scores_higher_is_better: bool = True, opinion_higher_is_better: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.scores_higher_is_better = scores_higher_is_better
        self.opinion_higher_is_better = opinion_higher_is_better
        for name in ("scores", "opinion", "reference", "type_ids"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def settings(self) -> dict[str, Any]:
        """What fixes the metric's number, by name, as plain values."""
        return {
            "metric": type(self).__qualname__,
            "scores_higher_is_better": self.scores_higher_is_better,
            "opinion_higher_is_better": self.opinion_higher_is_better,
        }

    def update(
        self,
        scores: Tensor | Sequence[float],
        opinion: Tensor | Sequence[float],
        reference: Tensor | Sequence[int] | None = None,
        type: Tensor | Sequence[int] | None = None,
    ) -> None:
        """Add a batch of scored images."""
        said = self._column(opinion, "opinion", None)
        added = {
            "scores": self._column(scores, "scores", len(said)),
            "opinion": said,
            "reference": self._ids(reference, "reference", len(said)),
            "type_ids": self._ids(type, "type", len(said)),
        }
        if not bool(said.isfinite().all()):
            raise ValueError(f"`opinion` must be finite, got {float(said[~said.isfinite()][0])}: leave such images out")
        for name, values in added.items():
            setattr(self, name, [*getattr(self, name), values])

    def compute(self) -> dict[str, Tensor]:
        """Return the agreement over all images seen, see the class."""
        scores, opinion = self._joined("scores"), self._joined("opinion")
        reference, types = self._joined("reference"), self._joined("type_ids")
        for name, ids in (("reference", reference), ("type", types)):
            missing = int((ids == _NO_ID).sum())
            if 0 < missing < len(ids):
                raise ValueError(f"`{name}` was given for {len(ids) - missing} of {len(ids)} images: give all or none")
        found = dict.fromkeys((*_RESULTS, "worst_type"), math.nan)
        reason = f"{len(opinion)} images are fewer than 3" if len(opinion) < 3 else ""
        if not reason and bool((opinion == opinion[0]).all()):
            reason = "all opinions are equal"
        if not reason:
            result = agreement(
                {"scores": scores.cpu().numpy()},
                opinion.cpu().numpy(),
                None if bool((reference == _NO_ID).any()) else reference.cpu().numpy(),
                None if bool((types == _NO_ID).any()) else types.cpu().numpy(),
                scores_higher_is_better=self.scores_higher_is_better,
                opinion_higher_is_better=self.opinion_higher_is_better,
                resamples=0,
            )[0]
            found.update({name: getattr(result, name) for name in _RESULTS})
            found["worst_type"] = result.by_type.get(result.worst_type, math.nan)
            reason = "; ".join(result.notes) if math.isnan(result.srcc + result.plcc) else ""
        if reason:
            rank_zero_warn(f"HumanAgreement is NaN where it has no value: {reason}")
        return {name: torch.tensor(value, dtype=self._state_dtype, device=self.device) for name, value in found.items()}

    @property
    def _integer_lists(self) -> tuple[str, ...]:
        return ("reference", "type_ids")

    def _column(self, values: Tensor | Sequence[float], name: str, count: int | None) -> Tensor:
        # By way of numpy, which reads a list in float64.
        try:
            column = (values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))).detach()
        except (TypeError, ValueError, RuntimeError):  # words, None, lists of several lengths
            raise ValueError(f"`{name}` must be numbers, one for each image, got {shown(values)}") from None
        if column.is_complex() or column.dtype == torch.bool or column.ndim != 1 or count not in (None, len(column)):
            wanted = "one column (N,)" if count is None else f"{count} numbers, one for each opinion"
            raise ValueError(f"`{name}` must be {wanted}, got {column.dtype} of shape {tuple(column.shape)}")
        return column.to(self._state_dtype).to(self.device)

    def _ids(self, values: Tensor | Sequence[int] | None, name: str, count: int) -> Tensor:
        if values is None:
            return torch.full((count,), _NO_ID, dtype=torch.int64, device=self.device)
        return whole_numbers(values, name, count, self.device)
