"""Join what workers have scored: each pair once, in the order of names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from torchmetrics_fmiqa.data.run_folder import read_note
from torchmetrics_fmiqa.data.stored_pairs import check_keys, keys_of
from torchmetrics_fmiqa.scoring.parts import Parts
from torchmetrics_fmiqa.statistics.inputs import Floats
from torchmetrics_fmiqa.statistics.mean_interval import mean_interval

#: Columns of a table of scores that are no scores.
_NAMES, _STATUS = ("id", "ref", "dist"), ("outside", "reason")


@dataclass(frozen=True)
class Collected:
    """The scores of a folder.

    Args:
        scores: table of pyarrow with the pairs that have scores, sorted by name.
        failed: table of what names the others, and their ``reason``.
        missing: number of pairs that no worker has come to.
        columns: names of the numbers.
        measured_by: the recipe in words.
        inputs: what the folder was made from.
    """

    scores: Any = field(repr=False)
    failed: Any = field(repr=False)
    missing: int
    columns: tuple[str, ...]
    measured_by: str
    inputs: dict[str, Any] = field(repr=False)

    @property
    def higher_is_better(self) -> bool:
        """Whether the scores are qualities, not distances."""
        return bool(self.inputs["quality"])

    def numbers(self) -> Floats:
        """The scores, ``(n, C)``."""
        return np.stack([self.scores.column(name).to_numpy() for name in self.columns], 1)

    def name_of(self, row: int) -> str:
        """The name of a pair: its id, or its image under test."""
        name = "id" if "id" in self.scores.column_names else "dist"
        return str(self.scores.column(name)[row].as_py())

    def means(self) -> list[tuple[float, float, float]]:
        """For each column the mean and the limits of its 95 % interval; pairs of one reference count together."""
        names = self.scores.column_names
        group = self.scores.column("ref").combine_chunks().dictionary_encode().indices if "ref" in names else None
        found = mean_interval(self.numbers(), None if group is None else group.to_numpy())
        return [(float(m), float(a), float(b)) for m, a, b in zip(found.mean, found.low, found.high, strict=True)]

    def worst(self, count: int) -> list[int]:
        """Rows of the images that are farthest by the first column, the farthest first."""
        values = self.numbers()[:, 0]
        return [int(row) for row in np.argsort(values if self.higher_is_better else -values, kind="stable")[:count]]


def collect(folder: Path) -> Collected:
    """Join the parts of a folder of scores.

    Raises:
        ValueError: for a folder without scores, damaged parts, parts of other inputs, and a pair that is there twice.
    """
    import pyarrow
    from pyarrow import compute

    note = folder / "inputs.json"
    if not note.is_file():
        raise ValueError(f"{str(folder)!r} is no folder of scores: `fmiqa score ... --out {folder}/` makes one")
    inputs = read_note(note)
    parts = Parts(folder, inputs)
    paths = list(parts)
    if not paths:
        raise ValueError(f"{str(folder)!r} has no scores yet: start `fmiqa score` with it")
    table = pyarrow.concat_tables([parts.read(path) for path in paths])
    names = [name for name in table.column_names if name in _NAMES]
    keys = keys_of(table.select(names))
    check_keys(keys)
    missing = int(inputs["count"]) - table.num_rows
    if missing < 0:
        raise ValueError(
            f"{folder} has {table.num_rows} pairs, and its input {inputs['count']}: remove it and score again"
        )
    table = table.sort_by([(name, "ascending") for name in keys.column_names])
    failed = compute.not_equal(table.column("reason"), "")
    return Collected(
        table.filter(compute.invert(failed)).drop_columns(["reason"]),
        table.filter(failed).select([*names, "reason"]),
        missing,
        tuple(name for name in table.column_names if name not in (*_NAMES, *_STATUS)),
        str(parts.note(paths[0])["measured_by"]),
        inputs,
    )
