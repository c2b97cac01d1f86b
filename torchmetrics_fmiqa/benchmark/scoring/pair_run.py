"""A data set measured pair by pair: batch after batch to Parquet, so that an interrupted run goes on.

What a folder holds from an earlier run is checked before it is used: a damaged table is removed with a warning, and its
pairs are measured again.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.metrics.metric import Skipped
from torchmetrics_fmiqa.benchmark.scoring.digests import content_of
from torchmetrics_fmiqa.data.pairs import Problem
from torchmetrics_fmiqa.data.parquet import read_parquet, write_parquet
from torchmetrics_fmiqa.data.rated_csv import RatedPair, RatedPairs
from torchmetrics_fmiqa.data.rows import csv_rows
from torchmetrics_fmiqa.data.tables import write_table
from torchmetrics_fmiqa.features.image_checks import group_by_size
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache
from torchmetrics_fmiqa.memory import memory_of_a_pair
from torchmetrics_fmiqa.safe_write import make_folder, printable
from torchmetrics_fmiqa.scoring import read_ahead

# Pixels of an image under test that go through the metrics at once: 4K images go one by one.
_PIXELS = 2_000_000
# Features of a batch's references, so that the changed images do not run them again.
_CACHE = "2GiB"
# What tells the rows of a table apart.
_KEYS = ("ref", "dist", "opinion")

#: ``(preds, target)``, ``(3, H, W)`` each, or why they could not be read.
Loaded = tuple[Tensor, Tensor] | str

#: A pair after its place in the batch.
PlacedPair = tuple[int, tuple[Tensor, Tensor]]


class Reader(Protocol):
    """How the images of a pair are read."""

    @property
    def identity(self) -> list[Any]:
        """What the images depend on beside the files, in values that JSON has."""

    def __call__(self, pair: RatedPair) -> tuple[Tensor, Tensor]:
        """Read a pair as ``(preds, target)``; a ValueError says why it cannot be."""


class PairScorer(Protocol):
    """What measures pairs: columns of numbers, and what they depend on."""

    names: tuple[str, ...]
    skipped: list[Skipped]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all that :meth:`score` gives."""

    @property
    def identities(self) -> dict[str, str]:
        """What the numbers depend on."""

    def score(
        self, preds: Tensor, target: Tensor, cache: ReferenceCache | None = None, ids: Sequence[Hashable] | None = None
    ) -> dict[str, Tensor]:
        """Measure pairs of one size: ``(N,)`` by column."""


class PairRun:
    """One data set measured by one panel, in one folder, where ``scores.parquet`` goes, and parts until it is complete.

    ``batch`` is the number of pairs between two parts. A run that goes on does so at a batch's boundary, and its
    numbers are those of a run that was never interrupted.

    Raises:
        ValueError: for a panel without a metric.
    """

    def __init__(
        self,
        rated: RatedPairs,
        panel: PairScorer,
        folder: Path,
        reading: Reader,
        device: torch.device | str = "cpu",
        batch: int = 8,
    ) -> None:
        if not panel.names:
            left_out = "; ".join(f"{metric.name}: {metric.reason}" for metric in panel.skipped)
            raise ValueError(f"no metric can run here: {left_out}")
        self.rated, self.panel, self.folder = rated, panel, folder
        self.reading, self.device, self.batch = reading, device, batch
        self.short = rated.as_pairs()

    #: Whether the names of the columns are known without a forward pass, so that a finished table is checked for them.
    cheap_columns = True

    @property
    def _parts(self) -> Path:
        return self.folder / "parts"

    @cached_property
    def columns(self) -> list[str]:
        """Names of the numbers that each pair gets."""
        return list(self.panel.columns)

    @property
    def path(self) -> Path:
        """Where the scores are once all are there."""
        return self.folder / "scores.parquet"

    @property
    def inputs(self) -> dict[str, Any]:
        """What the numbers depend on, in values that JSON has."""
        return {
            "pairs": content_of(self.rated),
            "metrics": self.panel.identities,
            "reading": self.reading.identity,
            "device": str(self.device),
            "batch": self.batch,
        }

    def __iter__(self) -> Iterator[int]:
        """Score what is not scored yet; yields the number of pairs done: before the first batch, and after each."""
        if self._is_complete():
            yield len(self.rated)
            return
        make_folder(self._parts)
        starts = range(0, len(self.rated), self.batch)
        self._drop_damaged(starts)
        todo = [start for start in starts if not self._part(start).is_file()]
        pairs = [self.rated.pairs[index] for start in todo for index in self._indices(start)]
        done = len(self.rated) - len(pairs)
        yield done
        ahead = read_ahead(pairs, self._load)
        for start in todo:
            started = time.perf_counter()
            loaded = [next(ahead) for _ in self._indices(start)]
            rows = self._score(start, loaded)
            seconds = (time.perf_counter() - started) / len(rows)
            for row, images in zip(rows, loaded, strict=True):
                row.update(self._properties(images), seconds=seconds)
            self._write(self._part(start), rows)
            done += len(rows)
            yield done
        self._finish(starts)

    def _load(self, pair: RatedPair) -> Loaded:
        try:
            with memory_of_a_pair():
                return self.reading(pair)
        except ValueError as error:
            return str(error)

    def unscored(self) -> list[Problem]:
        """Pairs that could not be scored, or not by every metric."""
        path = self.folder / "unscored.csv"
        return [Problem(row["name"], row["reason"]) for _, row in csv_rows(path)[0]] if path.is_file() else []

    def _is_complete(self) -> bool:
        """Whether all was scored before. A table that is not what a run leaves is removed, and all is scored again."""
        if not self.path.exists():
            return False
        lost = self.folder / "unscored.csv"
        pairs = Counter((pair.ref, pair.dist) for pair in self.short)
        columns = self.columns if self.cheap_columns else []
        needed = ["ref", "dist", "opinion", *self._properties(""), "seconds", *columns]
        try:
            table = _read_keys(self.path, needed, exactly=self.cheap_columns)
            scored = Counter((ref, dist) for ref, dist, _ in table)
            unscored = {problem.name for problem in self.unscored()}
            missing = [dist for _, dist in pairs - scored if printable(dist) not in unscored]
            if scored - pairs:
                raise ValueError("it holds other pairs, or some twice")
            if missing:
                raise ValueError(f"it lacks {missing[0]}")
        except ValueError as error:
            _drop(self.path, error, "all pairs are scored again")
            return False
        if not lost.exists():
            write_table(lost, [], ["name", "reason"])
        return True

    def _drop_damaged(self, starts: Sequence[int]) -> None:
        """Remove parts that are not what a run leaves, so that their pairs are scored again."""
        wanted = [*self._row(0, ""), *self._properties(""), "seconds"]
        for start in starts:
            path = self._part(start)
            if not path.exists():
                continue
            rows = [self._row(index, "") for index in self._indices(start)]
            try:
                if _read_keys(path, wanted) != [tuple(row[key] for key in _KEYS) for row in rows]:
                    raise ValueError("it holds other pairs")
            except ValueError as error:
                _drop(path, error, f"its {len(rows)} pairs are scored again")

    def _indices(self, start: int) -> range:
        return range(start, min(start + self.batch, len(self.rated)))

    def _part(self, start: int) -> Path:
        return self._parts / f"{start:08d}.parquet"

    def _score(self, start: int, loaded: Sequence[Loaded]) -> list[dict[str, Any]]:
        """The rows of a batch: pairs of one size go together, and a pair that fails stops no other."""
        cache = ReferenceCache(_CACHE, self.device)
        rows = [self._row(start + place, pair if isinstance(pair, str) else "") for place, pair in enumerate(loaded)]
        good = [(place, pair) for place, pair in enumerate(loaded) if not isinstance(pair, str)]
        for group in group_by_size([pair[0] for _, pair in good], [pair[1] for _, pair in good]):
            step = max(1, _PIXELS // good[group[0]][1][0][0].numel())
            for first in range(0, len(group), step):
                self._measure(rows, [good[i] for i in group[first : first + step]], cache)
        return rows

    def _measure(self, rows: list[dict[str, Any]], members: Sequence[PlacedPair], cache: ReferenceCache) -> None:
        try:
            table = self._table(members, cache)
        except ValueError as error:
            table, reason = None, str(error)
        # Out of the handler: the error holds what was measured, and memory may be short.
        if table is None and len(members) > 1:  # find out whose fault it is
            for member in members:
                self._measure(rows, [member], cache)
        elif table is None:
            rows[members[0][0]]["error"] = reason
        else:
            for (place, _), values in zip(members, table, strict=True):
                rows[place].update(zip(self.columns, values, strict=True))

    def _table(self, members: Sequence[PlacedPair], cache: ReferenceCache) -> list[list[float]]:
        """A row of numbers for each pair of one size."""
        with memory_of_a_pair(members[0][1][0].shape):
            preds, target = (torch.stack([pair[side] for _, pair in members]).to(self.device) for side in (0, 1))
            # By content: two versions of one reference may leave other parts of it, once each pair is cropped to what
            # both have.
            ids = [hashlib.sha256(side.numpy().tobytes()).hexdigest() for _, (_, side) in members]
            columns = self._measured_columns(preds, target, cache, ids)
            table: list[list[float]] = torch.stack([columns[name].double() for name in self.columns], 1).cpu().tolist()
        return table

    def _measured_columns(
        self, preds: Tensor, target: Tensor, cache: ReferenceCache, ids: Sequence[Hashable]
    ) -> dict[str, Tensor]:
        """Measure pairs of one size: ``(N,)`` by column."""
        return self.panel.score(preds, target, cache, ids)

    def _properties(self, loaded: Loaded) -> Mapping[str, float]:
        """More columns of a pair, or of the reason why it could not be read."""
        return {}

    def _row(self, index: int, error: str) -> dict[str, Any]:
        pair, short = self.rated.pairs[index], self.short[index]
        known = {name: getattr(pair, name) for name in ("opinion", "type", "level", "std")}
        return {
            "ref": short.ref,
            "dist": short.dist,
            **known,
            **dict.fromkeys(self.columns, float("nan")),
            "error": error,
        }

    def _write(self, path: Path, rows: Sequence[dict[str, Any]]) -> None:
        import pyarrow

        texts = ("ref", "dist", "type", "error")
        types = {name: pyarrow.string() if name in texts else pyarrow.float64() for name in rows[0]}
        write_parquet(path, pyarrow.Table.from_pylist(list(rows), pyarrow.schema(list(types.items()))))

    def _finish(self, starts: Sequence[int]) -> None:
        """Join the parts; what could not be scored goes to a table of its own."""
        import pyarrow
        from pyarrow import parquet

        joined = pyarrow.concat_tables([parquet.read_table(self._part(start)) for start in starts])
        errors = joined.column("error").to_pylist()
        names = joined.column("dist").to_pylist()
        problems = [{"name": name, "reason": why} for name, why in zip(names, errors, strict=True) if why]
        for column in self.columns:
            unknown = np.isnan(joined.column(column).to_numpy())
            lost = [names[row] for row in np.flatnonzero(unknown) if not errors[row]]
            if lost:
                problems.append({"name": column, "reason": f"has no value for {len(lost)} images, such as {lost[0]}"})
        write_table(self.folder / "unscored.csv", problems, ["name", "reason"])
        kept = joined.filter(pyarrow.array([not why for why in errors])).drop_columns(["error"])
        if not kept.num_rows:
            raise ValueError(f"no pair of {self.rated.name} could be scored: {errors[0]}")
        for name in ("type", "level", "std"):
            column = kept.column(name)
            empty = column.null_count == len(column) or (name == "type" and not any(column.to_pylist()))
            if empty or (name == "std" and column.null_count):
                kept = kept.drop_columns([name])
        write_parquet(self.path, kept)
        for start in starts:
            self._part(start).unlink()
        for leftover in self._parts.glob("*.tmp*"):  # of a run that was killed
            leftover.unlink()
        with suppress(OSError):  # somebody has put a file there
            self._parts.rmdir()


def _drop(path: Path, why: object, then: str) -> None:
    warnings.warn(f"{path} is damaged ({why}): {then}", UserWarning, stacklevel=3)
    path.unlink()


def _read_keys(path: Path, needed: Sequence[str], exactly: bool = True) -> list[tuple[Any, ...]]:
    """The keys of each row of a table that a run left, if it has the needed columns, and ``exactly`` no others."""
    table = read_parquet(path)
    names = set(table.column_names)
    other = (names ^ set(needed) if exactly else set(needed) - names) - {"type", "level", "std"}
    if other or len(names) < len(table.column_names):
        raise ValueError(f"it has other columns ({', '.join(sorted(other)[:3])})")
    return list(zip(*(table.column(key).to_pylist() for key in _KEYS), strict=True))
