"""Data sets measured once for the heads of SPIPS, and kept on disk for all that are trained on them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.metrics.columns import tap_column
from torchmetrics_fmiqa.benchmark.metrics.metric import Skipped
from torchmetrics_fmiqa.benchmark.scoring.digests import digests
from torchmetrics_fmiqa.benchmark.scoring.pair_run import PairRun
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading
from torchmetrics_fmiqa.comparator import FeatureComparator, Precision
from torchmetrics_fmiqa.comparator.pooling import POOLED
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.data.pairs import Pair, Problem
from torchmetrics_fmiqa.data.rated_csv import RatedPair, RatedPairs
from torchmetrics_fmiqa.data.run_folder import open_run_folder
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache, References
from torchmetrics_fmiqa.fitting.dataset import MeasuredSet
from torchmetrics_fmiqa.fitting.graded_photographs import VERSIONS, GradedReading
from torchmetrics_fmiqa.fitting.sources import SetPlan
from torchmetrics_fmiqa.one_writer import one_writer
from torchmetrics_fmiqa.spips_model.quality_maps import CONVENTIONAL
from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe

# What a table of measurements has beside them.
_NOTES = ("ref", "dist", "opinion", "type", "level", "std", "seconds")


class Measurement:
    """Measures a data set. The folder goes by what is measured and how, so that nothing is measured twice.

    Opinions and the set's name are no part of that: a changed image is measured again, a changed opinion is not.

    Args:
        plan: the data set.
        panel: what measures it.
        reading: how images are read.
        cache: folder of all that was measured.
        device: where to measure.
        batch: pairs between two saves; of photographs it is all versions of one, whose features serve them all.
    """

    def __init__(
        self,
        plan: SetPlan,
        panel: SpipsPanel,
        reading: Reading,
        cache: Path,
        device: torch.device | str = "cpu",
        batch: int = 8,
    ) -> None:
        self.plan, self.panel = plan, panel
        pairs = dict.fromkeys(pair for row in plan.rows for pair in row.pairs)
        # Versions of one reference follow each other, so that its features serve more than one.
        ordered = sorted(pairs, key=lambda pair: (str(pair.ref), str(pair.dist), pair.type, pair.level or 0))
        self._place = {pair: place for place, pair in enumerate(ordered)}
        graded = plan.kind == "rank"
        self._run = _MeasuringRun(
            RatedPairs(plan.name, tuple(ordered), None, "unknown", root=plan.root),
            panel,
            cache,
            GradedReading(reading) if graded else reading,
            device,
            VERSIONS if graded else batch,
        )
        self._run_inputs = self._run.inputs
        digest = hashlib.sha256(json.dumps(self._run_inputs, sort_keys=True).encode()).hexdigest()
        self._run.folder = cache / digest[:16]

    def __len__(self) -> int:
        return len(self._place)

    def __iter__(self) -> Iterator[int]:
        """Measure what is not there yet; yields the number of pairs done.

        Raises:
            ValueError: for a measurement that is not finite, naming the pair, and if no pair can be measured.
        """
        with one_writer(self._run.folder):
            open_run_folder(self._run.folder, self._run_inputs)
            yield from self._run

    @cached_property
    def inputs(self) -> list[Any]:
        """What a head that learns from this depends on, in values that JSON has."""
        plan = self.plan
        rows = [(*map(self._place.__getitem__, row.pairs), row.target, row.part, row.std) for row in plan.rows]
        digest = hashlib.sha256(repr((rows, plan.higher_is_better)).encode()).hexdigest()
        return [plan.kind, self._run.folder.name, digest]

    @cached_property
    def references(self) -> dict[str, str]:
        """Names of the references by their content: one may lie beside each of its versions under a new name."""
        names: dict[str, str] = {}
        for short, digest in zip(self._short, self._digests, strict=True):
            names.setdefault(digest, short[0].ref)
        return names

    def placeholder(self) -> MeasuredSet:
        """The set with random numbers in place of what is measured, to be checked before the work."""
        generator, count = torch.Generator().manual_seed(0), len(self.plan.rows)
        size = 4 * len(self.panel.recipe.taps) + len(CONVENTIONAL) + 2  # the token of the reference has two channels
        versions = [0.1 + torch.rand(count, size, generator=generator) for _ in self.plan.rows[0].pairs]
        return self._set(versions, range(count))

    def result(self) -> MeasuredSet:
        """What was measured, once all of it was.

        Raises:
            ValueError: if no row has all of its pairs.
        """
        from pyarrow import parquet

        table = parquet.read_table(self._run.path)
        keys = table.select([name for name in ("ref", "dist", "type", "level") if name in table.column_names])
        row_of = {
            (key["ref"], key["dist"], key.get("type") or "", key.get("level")): row
            for row, key in enumerate(keys.to_pylist())
        }
        names = [name for name in table.column_names if name not in _NOTES]
        flat = torch.from_numpy(np.stack([table.column(name).to_numpy() for name in names], 1)).float()
        places = [[row_of.get(self._identity(pair)) for pair in row.pairs] for row in self.plan.rows]
        kept = [index for index, sides in enumerate(places) if None not in sides]
        if not kept:
            raise ValueError(f"nothing of {self.plan.name} is left: no choice has both of its images measured")
        versions = [flat[[places[index][side] for index in kept]] for side in range(len(places[0]))]
        return self._set(versions, kept, (*self.plan.missing, *self._run.unscored()))

    def _set(self, versions: Sequence[Tensor], rows: Sequence[int], problems: tuple[Problem, ...] = ()) -> MeasuredSet:
        """The set of these rows of the plan, with the measurements of each version side by side."""
        plan, taps = self.plan, self.panel.recipe.taps
        planned, image = [plan.rows[index] for index in rows], [self._short[index][0].dist for index in rows]
        deviations = [row.std for row in planned]
        series = None
        if plan.kind == "rank":
            series = np.array([f"{name} {row.part}" for row, name in zip(planned, image, strict=True)])
            image = [f"{name} {row.target:g}" for row, name in zip(planned, series, strict=True)]
        return MeasuredSet(
            plan.name,
            plan.kind,
            tuple(TapStatistics.from_flat(flat, taps, len(CONVENTIONAL)) for flat in versions),
            np.array([row.target for row in planned], dtype=np.float64),
            np.array([self.references[self._digests[index]] for index in rows]),
            np.array(image),
            plan.higher_is_better,
            series,
            part=np.array([row.part for row in planned]),
            second=np.array([self._short[index][1].dist for index in rows]) if plan.kind == "choice" else None,
            std=None if None in deviations else np.array(deviations, dtype=np.float64),
            problems=problems,
        )

    def _identity(self, pair: RatedPair) -> tuple[str, str, str, float | None]:
        """What tells the rows of a table of measurements apart."""
        short = self._run.short[self._place[pair]]
        return short.ref, short.dist, pair.type, pair.level

    @cached_property
    def _short(self) -> list[list[Pair]]:
        """The pairs of each row, named from the root."""
        return [[self._run.short[self._place[pair]] for pair in row.pairs] for row in self.plan.rows]

    @cached_property
    def _digests(self) -> list[str]:
        """The content of each row's reference."""
        digest_of = digests(row.pairs[0].ref for row in self.plan.rows)
        return [digest_of[row.pairs[0].ref] for row in self.plan.rows]


class _MeasuringRun(PairRun):
    """A run in which nothing may be unknown."""

    cheap_columns = False

    def _score(self, start: int, loaded: Sequence[tuple[Tensor, Tensor] | str]) -> list[dict[str, Any]]:
        rows = super()._score(start, loaded)
        for row in rows:
            for column in () if row["error"] else self.columns:
                if not math.isfinite(row[column]):
                    raise ValueError(
                        f"{self.rated.name}: {column} of {row['dist']!r} against {row['ref']!r} is {row[column]}: "
                        "leave out the pair, or measure with --precision float32"
                    )
        return rows


def check_apart(measurements: Sequence[Measurement]) -> None:
    """Check that no reference is in two sets: what one holds out, the other would train on.

    Raises:
        ValueError: for a reference that is in two sets, of which not both are ranks.
    """
    owner: dict[str, Measurement] = {}
    for own in measurements:
        for digest, name in own.references.items():
            other = owner.setdefault(digest, own)
            if other is not own and not own.plan.kind == other.plan.kind == "rank":
                raise ValueError(
                    f"the reference {name!r} of {own.plan.name} is {other.references[digest]!r} of {other.plan.name} "
                    "too, so that one set would train on what the other is tested on: leave one of them out"
                )


class SpipsPanel:
    """Measures pairs for a SPIPS head.

    The columns are those of :meth:`~torchmetrics_fmiqa.comparator.tap_statistics.TapStatistics.flat`.

    Args:
        recipe: what to measure with.
        precision: as in :class:`~torchmetrics_fmiqa.FeatureComparator`.

    >>> from torchmetrics_fmiqa.recipes import Recipe
    >>> recipe = SpipsRecipe(Recipe("vit_tiny_patch16_224", weights="random:0", taps=[0, 1]))
    >>> panel = SpipsPanel(recipe)
    >>> images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> measured = panel.score(0.9 * images, images)
    >>> list(measured) == list(panel.columns), measured["mean@blocks.0"].shape
    (True, torch.Size([2]))
    """

    def __init__(self, recipe: SpipsRecipe, precision: Precision = "float32") -> None:
        self.recipe, self.precision = recipe, precision
        self.comparator = FeatureComparator(recipe.statistics_request, precision)
        self.names: tuple[str, ...] = ("spips",)
        self.skipped: list[Skipped] = []

    @property
    def identities(self) -> dict[str, str]:
        """What the numbers depend on."""
        return {"spips": f"{self.recipe.digest} {self.precision}"}

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of all that :meth:`score` gives."""
        # Only a forward pass tells how many channels the last tap has.
        equal = torch.zeros(1, 3, 32, 32)
        channels = self._measure(equal, equal, None).reference.shape[1]
        return (
            *(tap_column(pooled, tap) for tap in self.recipe.taps for pooled in POOLED),
            *(tap_column("whole", tap) for tap in self.recipe.taps),
            *CONVENTIONAL,
            *(tap_column("reference", str(channel)) for channel in range(channels)),
        )

    @torch.no_grad()
    def score(
        self, preds: Tensor, target: Tensor, cache: ReferenceCache | None = None, ids: Sequence[Hashable] | None = None
    ) -> dict[str, Tensor]:
        """Measure pairs of one size: ``(N,)`` by column. The cache keeps features of references by their ids."""
        if cache is None or ids is None:
            measured = self._measure(preds, target, None)
        else:
            # One version of each reference first, so that the others find its features.
            first = {name: place for place, name in reversed(list(enumerate(ids)))}
            turns = [sorted(first.values()), sorted(set(range(len(ids))) - set(first.values()))]
            done, *others = (
                self._measure(preds[turn], target[turn], References(cache, tuple(ids[place] for place in turn)))
                for turn in turns
                if turn
            )
            order = [place for turn in turns for place in turn]
            measured = done.joined(others, sorted(range(len(ids)), key=order.__getitem__))
        return dict(zip(self.columns, measured.flat().unbind(1), strict=True))

    def _measure(self, preds: Tensor, target: Tensor, references: References | None) -> TapStatistics:
        measured: TapStatistics = self.comparator(preds, target, references=references)[0]
        return measured
