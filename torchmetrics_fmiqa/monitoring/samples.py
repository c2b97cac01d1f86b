"""Which samples count: the first of each id over all ranks, however often a sampler repeats some of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_utilities import apply_to_collection
from torch import Tensor

from torchmetrics_fmiqa.metrics.synced_state import States, whole_numbers

#: What a user calls a sample.
Id = int | str

#: References of one sample differ by less than this share of their range in the mean, whatever batch they are in.
_SAME_MEAN = 1e-4


def as_ids(ids: Any, count: int) -> list[Id]:
    """Return the ids of a batch as a list: whole numbers of at least 0, or texts.

    >>> as_ids(torch.tensor([3, 1]), 2), as_ids(("a.png", "b.png"), 2)
    ([3, 1], ['a.png', 'b.png'])

    Raises:
        ValueError: for something else, or another number of them than images.
    """
    if isinstance(ids, (list, tuple)) and any(isinstance(one, str) for one in ids):
        if not all(isinstance(one, str) for one in ids) or len(ids) != count:
            raise ValueError(f"`ids` must be {count} whole numbers or {count} texts, one for each image, got {ids!r}")
        return list(ids)
    return list(whole_numbers(ids, "ids", count, torch.device("cpu")).tolist())


def id_number(label: Id) -> int:
    """The number that a metric knows a sample by: the id, or 63 bits of the hash of a text."""
    if isinstance(label, int):
        return label
    return int.from_bytes(hashlib.blake2b(label.encode(), digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class Sample:
    """What is known of a sample with an id, beside what the metrics keep.

    Args:
        brightness: mean of its reference, in shares of the range; it tells when one id names two samples.
        finite: whether the prediction is; if not, nothing else is known.
        outside: number of predicted values outside their range.
        size: number of predicted values.
        scores: logged name of a metric -> what this sample alone scores by it.
    """

    brightness: float
    finite: bool
    outside: int = 0
    size: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)


def differ(brightness: float, other: float) -> bool:
    """Whether two references cannot be the same, by their means."""
    return abs(brightness - other) > _SAME_MEAN


def brightness(target: Tensor) -> list[float]:
    """The mean of each image of ``(N, 3, H, W)`` in [0, 1]."""
    return target.flatten(1).mean(1, dtype=torch.float32).tolist()


def first_of_each(ranks: Sequence[Mapping[Id, Sample]]) -> tuple[dict[Id, Sample], dict[Id, int], list[Id]]:
    """Return the samples to count, the rank of each, and the ids that name several references.

    Of samples with one id the first finite one counts, else the first, in the order of the ranks: as
    :class:`~torchmetrics_fmiqa.metrics.image_pair_metric.PairMetric` counts ``sample_ids``.
    """
    counted: dict[Id, Sample] = {}
    owners: dict[Id, int] = {}
    ambiguous: dict[Id, None] = {}
    for rank, samples in enumerate(ranks):
        for label, sample in samples.items():
            known = counted.get(label)
            if known is not None and differ(known.brightness, sample.brightness):
                ambiguous[label] = None
            if known is None or (sample.finite and not known.finite):
                counted[label], owners[label] = sample, rank
    return counted, owners, list(ambiguous)


def packed(states: Sequence[States]) -> dict[str, dict[str, Any]]:
    """States of many samples as a few large tensors, which are sent faster than many small ones."""
    return {
        module: {name: _column([state[module][name] for state in states]) for name in names}
        for module, names in (states[0] if states else {}).items()
    }


def unpacked(columns: Mapping[str, Mapping[str, Any]], count: int) -> list[States]:
    """The states that were packed, one for each sample."""
    rows = {module: {name: list(column) for name, column in names.items()} for module, names in columns.items()}
    return [
        {module: {name: column[place] for name, column in names.items()} for module, names in rows.items()}
        for place in range(count)
    ]


def _column(values: list[Any]) -> Tensor | list[Any]:
    alike = all(isinstance(value, Tensor) for value in values) and len({(v.shape, v.dtype) for v in values}) == 1
    return torch.stack(values) if alike else values


def on_cpu(value: Any) -> Any:
    """What holds tensors, with the tensors on the CPU."""
    return apply_to_collection(value, Tensor, lambda one: one.cpu())
