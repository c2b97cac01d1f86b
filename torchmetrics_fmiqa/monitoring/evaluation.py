"""The state of one evaluation: metrics, worst images, and which samples count."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from torchmetrics_fmiqa.comparator import Images
from torchmetrics_fmiqa.features.image_checks import (
    crop,
    finite_images,
    outside,
    select_images,
    to_unit,
)
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache, References
from torchmetrics_fmiqa.metrics.collection import FeatureMetricCollection
from torchmetrics_fmiqa.metrics.equal_settings import check_equal_settings
from torchmetrics_fmiqa.metrics.image_pair_metric import PairMetric
from torchmetrics_fmiqa.metrics.synced_state import States, has_seen, joined, states_of, unsynced
from torchmetrics_fmiqa.monitoring.batch import Batch, same_size_groups
from torchmetrics_fmiqa.monitoring.options import EvaluationOptions
from torchmetrics_fmiqa.monitoring.ranks import gather_objects, several_ranks
from torchmetrics_fmiqa.monitoring.samples import (
    Id,
    Sample,
    brightness,
    differ,
    first_of_each,
    id_number,
    on_cpu,
    packed,
    unpacked,
)
from torchmetrics_fmiqa.monitoring.worst_images import WorstImages


@dataclass(frozen=True)
class Results:
    """What was measured over all ranks.

    Args:
        values: name -> result; empty if there was no sample.
        samples: number of samples that were measured.
        repeated: number of samples that were left out, because their id had come before.
        anonymous: number of samples without an id.
        ambiguous: ids that came with several references.
        scores: name of a metric -> id -> what that sample alone scores; only of samples with ids.
    """

    values: dict[str, Any]
    samples: int
    repeated: int
    anonymous: int
    ambiguous: list[Id]
    scores: dict[str, dict[Id, float]]


@dataclass(frozen=True)
class _Part:
    """What one rank has.

    Args:
        settings: what must be equal on all ranks.
        counts: of samples without an id, and of repeats.
        ambiguous: ids that came with several references.
        samples: by id.
        totals: states of metrics that have added up samples, by name.
        states: states of other packages' metrics for each finite sample, packed, by name.
    """

    settings: dict[str, Any]
    counts: Counter[str]
    ambiguous: dict[Id, None]
    samples: dict[Id, Sample]
    totals: dict[str, States]
    states: dict[str, Any]


class Evaluation:
    """Measures pairs, and remembers the worst.

    Metrics of this package (:class:`~torchmetrics_fmiqa.metrics.image_pair_metric.PairMetric`) count ids by
    themselves. Of others the state of each sample with an id is kept apart, so that repeats can be left out in the end.

    Args:
        options: what is measured.
        cache: features of references, or ``None``.
    """

    def __init__(self, options: EvaluationOptions, cache: ReferenceCache | None = None) -> None:
        self.options, self.cache = options, cache
        # Inference tensors could not be updated later outside inference mode.
        with torch.inference_mode(False):
            metrics = options.metrics.clone()
            self.members = dict(metrics.items(keep_base=True, copy_state=False))
            self._single = {name: unsynced(metric) for name, metric in self.members.items()}
        self._logged = dict(zip(self.members, (name for name, _ in metrics.items(copy_state=False)), strict=True))
        own = {name: metric for name, metric in self.members.items() if isinstance(metric, PairMetric)}
        self._own = FeatureMetricCollection(own) if own else None  # type: ignore[arg-type]
        self._others = [name for name in self.members if name not in own]
        self._of_sets = [name for name, metric in self.members.items() if not getattr(metric, "scores_images", True)]
        self.worst = WorstImages(options.worst, bool(self.members[options.worst_by].higher_is_better))
        self.start(torch.device("cpu"))

    def start(self, device: torch.device) -> None:
        """Forget all samples, and measure on a device."""
        self.worst.clear()
        self._counts: Counter[str] = Counter()
        self._ambiguous: dict[Id, None] = {}
        self._samples: dict[Id, Sample] = {}
        self._states: dict[str, dict[Id, States]] = {name: {} for name in self._others}
        self.move(device)
        with torch.inference_mode(False):
            for metric in self.members.values():
                metric.reset()

    def move(self, device: torch.device) -> None:
        """Measure on another device from now on."""
        self.device = device
        with torch.inference_mode(False):
            for metric in (*self.members.values(), *self._single.values()):
                metric.to(device)

    @torch.no_grad()
    def add(self, preds: Images, target: Images, batch: Batch) -> None:
        """Measure the samples of a batch that are neither repeated nor left out as not finite."""
        if batch.ids is not None:
            preds, target, batch = self._unseen(preds, target, batch)
        kept = self._finite(preds, batch.names)
        self._leave_out(batch, [place for place in range(len(preds)) if place not in set(kept)])
        if not kept:
            return
        if len(kept) < len(preds):
            preds, target, batch = select_images(preds, kept), select_images(target, kept), batch.select(kept)
        for group_preds, group_target, group in same_size_groups(preds, target):
            self._measure(group_preds, group_target, batch.select(group))

    @torch.no_grad()
    def rehearse(self, target: Images, device: torch.device) -> None:
        """Measure references against themselves, to find invalid images and options before training."""
        self.start(device)
        for images, _, group in same_size_groups(target, target):
            self._measure(images, images, Batch(group, group))

    def _unseen(self, preds: Images, target: Images, batch: Batch) -> tuple[Images, Images, Batch]:
        """The samples whose id has not come before on this rank."""
        means = [0.0] * len(target)
        for images, _, group in same_size_groups(target, target):
            for place, mean in zip(group, brightness(self._unit(images, "target")), strict=True):
                means[place] = mean
        seen: dict[Id, float] = {}
        places = []
        for place, (label, mean) in enumerate(zip(batch.ids or (), means, strict=True)):
            known = self._samples.get(label)
            if differ(mean, known.brightness if known else seen.get(label, mean)):
                self._ambiguous[label] = None
            if label not in seen and not (known and known.finite):
                places.append(place)
            seen.setdefault(label, mean)
        self._counts["repeated"] += len(means) - len(places)
        batch = replace(batch, brightness=means)
        if len(places) == len(means):
            return preds, target, batch
        return select_images(preds, places), select_images(target, places), batch.select(places)

    def _finite(self, preds: Images, names: Sequence[Any]) -> list[int]:
        """Indices of the finite predictions. This is checked here because not every metric rejects NaN."""
        kept = finite_images(preds)
        if len(kept) < len(preds):
            bad = [name for index, name in enumerate(names) if index not in set(kept)]
            error = f"{len(bad)} of {len(names)} predictions of a batch hold NaN or infinite values (samples {bad[:8]})"
            if self.options.nan_strategy == "error":
                raise ValueError(
                    f"{error}: the network diverged or divides by zero; nan_strategy='warn' leaves them out and goes on"
                )
            if self.options.nan_strategy == "warn":
                warnings.warn(f"{error}; they are left out", stacklevel=2)
        return kept

    def _leave_out(self, batch: Batch, places: list[int]) -> None:
        if batch.ids is None or batch.brightness is None:
            self._counts["left_out"] += len(places)
            return
        for place in places:
            self._samples.setdefault(batch.ids[place], Sample(batch.brightness[place], finite=False))

    def _unit(self, images: Tensor, name: str) -> Tensor:
        return to_unit(images, self.options.data_range, torch.float32, name)

    def _measure(self, preds: Tensor, target: Tensor, batch: Batch) -> None:
        preds, target = (crop(images, self.options.crop_border) for images in (preds, target))
        references = (
            None if self.cache is None else References(self.cache, None if batch.keys is None else tuple(batch.keys))
        )
        ids = {} if batch.ids is None else {"sample_ids": [id_number(label) for label in batch.ids]}
        if self._own is not None:
            self._own.update(preds, target, references=references, **ids)
        far = outside(preds, self.options.data_range).flatten(1).sum(1).tolist()
        if batch.ids is None or batch.brightness is None:
            for name in self._others:
                self.members[name].update(preds, target)
            self._counts.update(samples=len(preds), outside=sum(far), size=preds.numel())
            ranked = self._scores(self.options.worst_by, preds, target) if self.worst.count else []
        else:
            for name in set(self._others) & set(self._of_sets):
                self.members[name].update(preds, target)
            scores = {name: self._scores(name, preds, target, batch.ids) for name in self.members}
            ranked = scores[self.options.worst_by]
            for place, label in enumerate(batch.ids):
                known = {self._logged[name]: column[place] for name, column in scores.items()}
                own = {name: score for name, score in known.items() if score is not None}
                size = preds[place].numel()
                self._samples[label] = Sample(batch.brightness[place], True, far[place], size, own)
        if not self.worst.count:
            return
        shown = zip(ranked, batch.captions, self._unit(preds, "preds"), self._unit(target, "target"), strict=True)
        for place, (score, caption, pred, reference) in enumerate(shown):
            if score is None:
                raise ValueError(
                    f"`worst_by={self.options.worst_by!r}` gives no single number for an image: take another metric"
                )
            once = None if batch.ids is None else batch.ids[place]
            self.worst.add(score, caption, pred, reference, once)

    def _scores(self, name: str, preds: Tensor, target: Tensor, ids: Sequence[Id] | None = None) -> list[float | None]:
        """The score of each image by a metric; ``None`` where its result is no single number.

        With ids the states of each image are kept, if the metric is not of this package.
        """
        shared = self._own.last_scores(name) if self._own is not None else None
        if shared is not None:
            return list(shared.tolist())
        if name in self._of_sets:
            return [None] * len(preds)
        metric, scores = self._single[name], []
        for place, (pred, reference) in enumerate(zip(preds, target, strict=True)):
            metric.reset()
            metric.update(pred[None], reference[None])
            if ids is not None and name in self._states:
                self._states[name][ids[place]] = states_of(metric)
            scores.append(single_number(metric.compute()))
        return scores

    def _part(self) -> _Part:
        totals = {name: states_of(metric) for name, metric in self.members.items() if has_seen(metric)}
        columns = {name: (list(states), packed(list(states.values()))) for name, states in self._states.items()}
        if several_ranks():
            totals = on_cpu(totals)
            columns = on_cpu(columns)
        return _Part(self.options.settings(), self._counts, self._ambiguous, self._samples, totals, columns)

    def results(self) -> Results:
        """What was measured over all ranks. Every rank must call this.

        Raises:
            ValueError: on every rank, if ranks measure differently.
        """
        parts: list[_Part] = gather_objects(self._part())
        settings = {f"rank {rank}": part.settings for rank, part in enumerate(parts)}
        check_equal_settings(settings, "Give every rank the same monitor.")
        counts = sum((part.counts for part in parts), Counter[str]())
        samples, owners, ambiguous = first_of_each([part.samples for part in parts])
        measured = {label: sample for label, sample in samples.items() if sample.finite}
        count = counts["samples"] + len(measured)
        doubled = sum(sample.finite for part in parts for sample in part.samples.values()) - len(measured)
        if doubled and self._of_sets:
            warnings.warn(
                f"{', '.join(self._of_sets)}: distances between sets count {doubled} samples again that came on "
                "several ranks: take a sampler that does not pad",
                stacklevel=2,
            )
        left_out = counts["left_out"] + len(samples) - len(measured)
        values: dict[str, Any] = {}
        if count:
            for name, logged in self._logged.items():
                values.update(named(logged, self._joined(name, parts, owners).compute()))
            far = counts["outside"] + sum(sample.outside for sample in measured.values())
            values["share_outside"] = far / (counts["size"] + sum(sample.size for sample in measured.values()))
        if self.options.nan_strategy != "error" and count + left_out:
            values["share_not_finite"] = left_out / (count + left_out)
        repeated = counts["repeated"] + sum(len(part.samples) for part in parts) - len(samples)
        found = dict.fromkeys([label for part in parts for label in part.ambiguous] + ambiguous)
        scores: dict[str, dict[Id, float]] = {}
        for label, sample in measured.items():
            for name, score in sample.scores.items():
                scores.setdefault(name, {})[label] = score
        return Results(values, count, repeated, counts["samples"] + counts["left_out"], list(found), scores)

    def _joined(self, name: str, parts: Sequence[_Part], owners: Mapping[Id, int]) -> Metric:
        """A metric that has seen what counts on all ranks."""
        states = [part.totals[name] for part in parts if name in part.totals]
        for rank, part in enumerate(parts):
            labels, columns = part.states.get(name, ((), {}))
            rows = unpacked(columns, len(labels))
            states += [row for label, row in zip(labels, rows, strict=True) if owners[label] == rank]
        return joined(self.members[name], states)


def single_number(value: Any) -> float | None:
    """A result as a number; ``None`` if it is no single one."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    return float(value) if isinstance(value, (int, float)) else None


def named(name: str, result: Any) -> dict[str, Any]:
    """The results of a metric by name: one, or ``name/key`` for each key of a dict."""
    return {f"{name}/{key}": value for key, value in result.items()} if isinstance(result, dict) else {name: result}
