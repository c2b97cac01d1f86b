"""MeanFrechetRatio: Fréchet distances by several networks in one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.wrappers.abstract import WrapperMetric

from torchmetrics_fmiqa.arguments import short_repr
from torchmetrics_fmiqa.comparator import Images
from torchmetrics_fmiqa.metrics.collection import FeatureMetricCollection
from torchmetrics_fmiqa.metrics.frechet_feature_distance import FrechetFeatureDistance
from torchmetrics_fmiqa.recipes import Recipe


class MeanFrechetRatio(WrapperMetric):
    r"""Mean over networks of their Fréchet distances, each as a multiple of that between two sets of real images.

    Distances of different networks have different units. So each is divided by a baseline: the distance of held-out
    real images from the same references. **Lower is better; 1 is as good as real images.** It is FDr\ :sup:`k` of Yang
    et al. ("Representation Fréchet Loss for Visual Generation", arXiv 2604.28190, 2026) with the networks of your
    choice. We could read its abstract and code of others that follows it, not the paper. The published figures need
    its six networks and its baselines, of ImageNet's validation set.

    As input to ``update`` the metric accepts what :class:`~torchmetrics_fmiqa.FrechetFeatureDistance` does. As output
    of ``forward`` and ``compute`` it returns a 0-dim tensor.

    Args:
        metrics: names of recipes, or name -> a recipe or a :class:`~torchmetrics_fmiqa.FrechetFeatureDistance`.
        baselines: for each name the distance of held-out real images: what :meth:`distances` gives of them. Take as
            many as there will be preds. Without baselines there are :meth:`distances` alone.
        kwargs: arguments of each metric that is built here.

    Raises:
        ValueError: for no metrics, and for baselines that are not positive or belong to no metric.

    >>> import torch
    >>> from torchmetrics_fmiqa import MeanFrechetRatio
    >>> real, held_out = torch.rand(2, 12, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> recipes = {"early": "embedded", "late": FrechetFeatureDistance("embedded", tap=-1)}
    >>> among_real = MeanFrechetRatio(recipes)
    >>> among_real.update(held_out, real)
    >>> metric = MeanFrechetRatio(recipes, among_real.distances())
    >>> metric.update(0.5 * held_out, real)
    >>> bool(metric.compute() > 1)
    True
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False
    scores_images = False

    def __init__(
        self,
        metrics: Sequence[str] | Mapping[str, Recipe | str | FrechetFeatureDistance],
        baselines: Mapping[str, float | Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if isinstance(metrics, str) or not metrics:
            raise ValueError(f"`metrics` must be names of recipes, or a mapping to recipes, got {metrics!r}")
        if kwargs.get("interval"):
            raise ValueError("`interval` is of each network alone: take FrechetFeatureDistance for that")
        given = metrics if isinstance(metrics, Mapping) else {name: name for name in metrics}
        members = {
            name: one.clone() if isinstance(one, FrechetFeatureDistance) else FrechetFeatureDistance(one, **kwargs)
            for name, one in given.items()
        }
        self.metrics = FeatureMetricCollection(dict(members))
        self.baselines = None if baselines is None else {name: float(value) for name, value in baselines.items()}
        if self.baselines is not None:
            unmatched = sorted(set(members) ^ set(self.baselines))
            if unmatched:
                raise ValueError(f"`baselines` must name each metric and no other, {unmatched[0]!r} is in one alone")
            for name, value in self.baselines.items():
                if not 0 < value < float("inf"):
                    raise ValueError(f"`baselines` must be positive distances of real images, {name!r} has {value}")

    def update(self, preds: Images, target: Images | bool | None = None, *, real: bool | None = None) -> None:
        """Add images to each metric, as :meth:`FrechetFeatureDistance.update` takes them."""
        if target is not None and not isinstance(target, bool) and real is None:
            self.metrics.update(preds, target)
            return
        for metric in self.metrics.values(copy_state=False):
            metric.update(preds, target, real=real)

    def distances(self) -> dict[str, Tensor]:
        """The Fréchet distance by each network, over all ranks."""
        found: dict[str, Tensor] = self.metrics.compute()
        return found

    def compute(self) -> Tensor:
        """Return the mean ratio over all images seen.

        Raises:
            ValueError: without baselines.
        """
        return self._mean(self.distances())

    def _mean(self, distances: dict[str, Tensor]) -> Tensor:
        if self.baselines is None:
            raise ValueError("there are no `baselines`: give what distances() says of held-out real images")
        return torch.stack([value / self.baselines[name] for name, value in distances.items()]).mean()

    def forward(self, preds: Images, target: Images | bool | None = None, *, real: bool | None = None) -> Tensor:
        """Add images and return the batch's own result."""
        if target is not None and not isinstance(target, bool) and real is None:
            return self._mean(self.metrics(preds, target))
        members = self.metrics.items(copy_state=False)
        return self._mean({name: metric(preds, target, real=real) for name, metric in members})

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add what another ratio has seen.

        Raises:
            ValueError: for anything but a ratio of the same networks and settings.
        """
        others = (
            dict(incoming_state.metrics.items(copy_state=False)) if isinstance(incoming_state, MeanFrechetRatio) else {}
        )
        own = dict(self.metrics.items(copy_state=False))
        if own.keys() != others.keys():
            raise ValueError(f"merge a MeanFrechetRatio of {', '.join(own)}, got {short_repr(incoming_state)}")
        for name, metric in own.items():
            metric.merge_state(others[name])

    def reset(self) -> None:
        """Forget all images."""
        self.metrics.reset()
        super().reset()
