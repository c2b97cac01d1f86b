"""HumanAgreement: the agreement of scores with human opinion, as a ``torchmetrics.Metric``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.utilities import rank_zero_warn

from torchmetrics_fmiqa.arguments import short_repr
from torchmetrics_fmiqa.metrics.synced_state import StatefulMetric, whole_numbers
from torchmetrics_fmiqa.statistics import agreement

_RESULTS = ("srcc", "krcc", "plcc", "plcc_raw", "rmse", "outlier_ratio", "within_reference")
# Id of an image without a reference or type.
_NO_ID = -1


class HumanAgreement(StatefulMetric):
    """Agreement of a metric's scores with human opinion (MOS or DMOS) over a data set.

    As input to ``forward`` and ``update`` the metric accepts

    - ``scores``: scores of a quality metric, ``(N,)``
    - ``opinion``: human opinions of the same images, ``(N,)``, finite
    - ``reference``: optional ``(N,)`` integers of at least 0, the reference of each image
    - ``type``: optional ``(N,)`` integers of at least 0, the type of each image's distortion

    Either all updates have ids or none.

    As output of ``forward`` and ``compute`` the metric returns a dict of 0-dim float64 tensors

    - ``srcc``, ``krcc``: Spearman's and Kendall's (tau-b) rank correlation, in [-1, 1]
    - ``plcc``, ``rmse``, ``outlier_ratio``: Pearson's correlation, the error in the unit of the opinions, and the share
      of outliers, in [0, 1], after a logistic fit with 4 parameters
    - ``plcc_raw``: Pearson's correlation of the raw scores, in [-1, 1]
    - ``within_reference``: mean over references of the SRCC within each; NaN without references
    - ``worst_type``: the lowest SRCC among the types; NaN without types

    Correlations are positive if scores and opinions agree; higher is better. A value that cannot be computed is NaN,
    with a warning: for fewer than 3 images, constant scores, or a failed fit. For intervals, tests and tables of many
    metrics see :mod:`torchmetrics_fmiqa.statistics`.

    Args:
        scores_higher_is_better: direction of the scores; distances are ``False``.
        opinion_higher_is_better: direction of the opinions; DMOS is usually ``False``.
        kwargs: options of ``torchmetrics.Metric``.

    Raises:
        ValueError: for columns that differ in length or are not numbers, opinions that are not finite, and ids that are
            not integers of at least 0 or are missing from some updates.

    >>> from torchmetrics_fmiqa import HumanAgreement
    >>> metric = HumanAgreement(scores_higher_is_better=False)
    >>> distances, mos = torch.tensor([0.1, 0.2, 0.4, 0.3, 0.6, 0.5]), torch.tensor([5.0, 4.5, 3.0, 3.5, 1.0, 2.0])
    >>> metric.update(distances, mos, reference=torch.tensor([0, 0, 0, 1, 1, 1]))
    >>> result = metric.compute()
    >>> round(float(result["srcc"]), 3), round(float(result["within_reference"]), 3)
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
        """The settings that determine the metric's value, as plain values by name."""
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
        opinions = self._column(opinion, "opinion", None)
        added = {
            "scores": self._column(scores, "scores", len(opinions)),
            "opinion": opinions,
            "reference": self._ids(reference, "reference", len(opinions)),
            "type_ids": self._ids(type, "type", len(opinions)),
        }
        if not bool(opinions.isfinite().all()):
            bad = float(opinions[~opinions.isfinite()][0])
            raise ValueError(f"`opinion` must be finite, got {bad}: leave such images out")
        for name, values in added.items():
            setattr(self, name, [*getattr(self, name), values])

    def compute(self) -> dict[str, Tensor]:
        """Return the agreement over all images of the updates, see the class."""
        scores, opinion = self._joined("scores"), self._joined("opinion")
        reference, types = self._joined("reference"), self._joined("type_ids")
        for name, ids in (("reference", reference), ("type", types)):
            missing = int((ids == _NO_ID).sum())
            if 0 < missing < len(ids):
                raise ValueError(f"`{name}` was given for {len(ids) - missing} of {len(ids)} images: give all or none")
        values = dict.fromkeys((*_RESULTS, "worst_type"), math.nan)
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
            values.update({name: getattr(result, name) for name in _RESULTS})
            values["worst_type"] = result.by_type.get(result.worst_type, math.nan)
            reason = "; ".join(result.notes) if math.isnan(result.srcc + result.plcc) else ""
        if reason:
            rank_zero_warn(f"HumanAgreement is NaN where it has no value: {reason}")
        return {
            name: torch.tensor(value, dtype=self._state_dtype, device=self.device) for name, value in values.items()
        }

    @property
    def _integer_lists(self) -> tuple[str, ...]:
        return ("reference", "type_ids")

    def _column(self, values: Tensor | Sequence[float], name: str, count: int | None) -> Tensor:
        # numpy reads a list as float64, torch would read float32.
        try:
            column = (values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))).detach()
        except (TypeError, ValueError, RuntimeError):  # strings, None, lists of different lengths
            raise ValueError(f"`{name}` must be numbers, one for each image, got {short_repr(values)}") from None
        if column.is_complex() or column.dtype == torch.bool or column.ndim != 1 or count not in (None, len(column)):
            expected = "one column (N,)" if count is None else f"{count} numbers, one for each opinion"
            raise ValueError(f"`{name}` must be {expected}, got {column.dtype} of shape {tuple(column.shape)}")
        return column.to(self._state_dtype).to(self.device)

    def _ids(self, values: Tensor | Sequence[int] | None, name: str, count: int) -> Tensor:
        if values is None:
            return torch.full((count,), _NO_ID, dtype=torch.int64, device=self.device)
        return whole_numbers(values, name, count, self.device)
