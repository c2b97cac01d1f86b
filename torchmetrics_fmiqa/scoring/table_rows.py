"""Score rows of tables: a callable for Ray, Daft, Spark or a loop of your own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torchmetrics_fmiqa.comparator import FeatureComparator, Precision
from torchmetrics_fmiqa.data.images import Match, StoredImage
from torchmetrics_fmiqa.data.stored_pairs import image_of_cell
from torchmetrics_fmiqa.recipes import Recipe, as_recipe
from torchmetrics_fmiqa.scoring.batches import AnyPair, Known, Loaded, Reader, Scored, load_pair, score_pairs
from torchmetrics_fmiqa.scoring.scorers import DistanceScorer, FusedScorer, PairScorer
from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe
from torchmetrics_fmiqa.spips_model.scorer import Head, SpipsScorer

#: A column of a batch, or the value of a single row.
Column = Any

#: What is known of each pair beside its scores: the share of values outside [0, 1], and why it has no scores.
STATUS = ("outside", "reason")


@dataclass(frozen=True)
class Row:
    """A pair of a batch."""

    images: tuple[StoredImage | None, StoredImage | None]


class ScorePairs:
    """Scores batches of rows: columns with images in, the same columns with scores out.

    The network is loaded at the first call, in the process that scores: a ``ScorePairs`` pickles as its arguments. It
    never synchronises with other processes. On a CPU it uses one thread and scores each pair alone, so that numbers do
    not change with the rows around them, and as many workers as there are cores do not slow each other down.

    A batch is a mapping of columns of equal length, as ``map_batches`` of Ray and ``datasets`` give it. An image is a
    path, the bytes of a file, or pixels ``(H, W, 3)``, uint8 or uint16. A single value in place of a column is a row.

    The result has all columns but those of bytes and pixels; float64 columns ``score`` (or those of the recipe's
    distances) and ``outside`` (share of values of the image under test outside [0, 1]); and ``reason``: text, empty, or
    why the pair could not be scored. Then its scores are NaN.

    Args:
        recipe: a recipe, its name or YAML file; or a :class:`~torchmetrics_fmiqa.SpipsRecipe` for SPIPS.
        head: of SPIPS: a trained head or its file.
        quality: of SPIPS: give the quality, 100 for equal images, in place of the distance.
        layers: add a column for each tap's distance.
        precision: as in :class:`~torchmetrics_fmiqa.FeatureComparator`.
        device: that computes.
        crop_border: pixels to cut off each side first.
        match: for pairs of two sizes: ``"crop"`` or ``"resize"``.
        to_rgb: convert grey and opaque RGBA images.
        ref: name of the column of references.
        dist: name of the column of images under test.

    Raises:
        ValueError: at the first use, for an unknown recipe or a head for another one.

    >>> black, grey = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 90, np.uint8)
    >>> score = ScorePairs("default")
    >>> rows = score({"id": np.array([7, 8, 9]), "ref": [black] * 3, "dist": [black, grey, b"no image"]})
    >>> rows["id"].tolist(), float(rows["score"][0]), bool(rows["score"][1] > 0), rows["reason"][2][:37]
    ([7, 8, 9], 0.0, True, 'cannot read the image of 8 bytes: it ')
    """

    def __init__(
        self,
        recipe: Recipe | SpipsRecipe | str | Path = "default",
        *,
        head: Head = None,
        quality: bool = False,
        layers: bool = False,
        precision: Precision = "float32",
        device: torch.device | str = "cpu",
        crop_border: int = 0,
        match: Match | None = None,
        to_rgb: bool = False,
        ref: str = "ref",
        dist: str = "dist",
    ) -> None:
        self._arguments: dict[str, Any] = {
            "recipe": recipe,
            "head": head,
            "quality": quality,
            "layers": layers,
            "precision": precision,
            "device": device,
            "crop_border": crop_border,
            "match": match,
            "to_rgb": to_rgb,
            "ref": ref,
            "dist": dist,
        }
        if not isinstance(recipe, SpipsRecipe):
            given = [name for name, value in (("head", head), ("quality", quality or None)) if value is not None]
            if given:
                raise ValueError(f"`{given[0]}` is for SPIPS: give a SpipsRecipe as recipe")
        elif layers:
            raise ValueError("`layers` is for the distances of a recipe; SPIPS has one score: leave it out")
        self._recipe, self._head, self._quality, self._layers = recipe, head, quality, layers
        self._precision: Precision = precision
        self._device, self._options = torch.device(device), (crop_border, match, to_rgb)
        self._ref, self._dist = ref, dist

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(ScorePairs, **self._arguments), ()

    @cached_property
    def _loaded(self) -> tuple[PairScorer, str, str]:
        """The scorer, the digest of what fixes its numbers, and the same in words."""
        if isinstance(self._recipe, SpipsRecipe):
            spips = SpipsScorer(self._recipe, self._head, precision=self._precision)
            named = f"SPIPS, {self._head or 'fixed weights'}, {self._recipe.recipe}"
            return FusedScorer(spips, self._quality), spips.identity, named
        recipe = as_recipe(self._recipe)
        comparator = FeatureComparator(recipe, precision=self._precision)
        return DistanceScorer(comparator, self._layers), recipe.digest, repr(recipe)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scores."""
        return self._loaded[0].names

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns of numbers: the scores, and with ``layers`` each tap's."""
        return self._loaded[0].columns

    @property
    def identity(self) -> dict[str, Any]:
        """What the numbers depend on beside the images, in values that JSON has."""
        crop_border, match, to_rgb = self._options
        return {
            "recipe": self._loaded[1],
            "quality": self._quality,
            "layers": self._layers,
            "precision": self._precision,
            "crop_border": crop_border,
            "match": match,
            "to_rgb": to_rgb,
        }

    @property
    def measured_by(self) -> str:
        """The recipe in words."""
        return self._loaded[2]

    @property
    def device(self) -> torch.device:
        """What computes."""
        return self._device

    def stream(self, pairs: Iterable[AnyPair], read: Reader | None = None) -> Iterator[Scored[AnyPair]]:
        """Score pairs in order, reading a few ahead: by threads, or by a reader of another kind."""
        alone = self._device.type == "cpu"
        results = score_pairs(self._loaded[0], pairs, self._device, *self._options, alone=alone, read=read)
        while True:
            with _one_thread(alone):
                result = next(results, None)
            if result is None:
                return
            yield result

    def score_loaded(self, loaded: Iterable[Loaded[Known] | Scored[Known]]) -> Iterator[Scored[Known]]:
        """Score pairs whose images were read already, in order; those with an error are passed on."""
        stream: Any = self.stream  # which is for pairs that have images, whatever reads them
        found: Iterator[Scored[Known]] = stream(loaded, lambda items, load: iter(items))
        return found

    def __call__(self, batch: Mapping[str, Column]) -> dict[str, Any]:
        """Score a batch of rows.

        Raises:
            ValueError: for a batch without the columns of images, with columns of two lengths, or with a column that
                has the name of a result.
        """
        columns = self.columns_of(batch)
        self.check_names(columns)
        scored = list(self.stream(self.pairs_of(columns)))
        return {**self.without_images(columns), **self.results_of(scored)}

    def check_names(self, columns: Iterable[str]) -> None:
        """Check that no column has the name of a result; raises as a call does."""
        taken = sorted({*self.columns, *STATUS} & set(columns))
        if taken:
            raise ValueError(f"the batch has a column {taken[0]!r}, which is the name of a result: rename it")

    def load(self, pair: AnyPair) -> Loaded[AnyPair] | Scored[AnyPair]:
        """Read the images of a pair, without the network; one that cannot be read has an error in its result."""
        _, match, to_rgb = self._options
        return load_pair(pair, match, to_rgb)

    def columns_of(self, batch: Mapping[str, Column]) -> dict[str, Column]:
        """The columns of a batch, checked without the network; raises as a call does."""
        for name in (self._ref, self._dist):
            if name not in batch:
                raise ValueError(f"the batch has no column {name!r}; it has {', '.join(batch) or 'none'}: give `ref=`")
        is_row = _is_image(batch[self._ref]) and _is_image(batch[self._dist])
        columns = {name: [values] if is_row else _column(values) for name, values in batch.items()}
        count = len(columns[self._ref])
        uneven = [name for name, values in columns.items() if len(values) != count]
        if uneven:
            raise ValueError(f"column {uneven[0]!r} has {len(columns[uneven[0]])} rows, and {self._ref!r} has {count}")
        return columns

    def pairs_of(self, columns: Mapping[str, Column]) -> Iterator[Row]:
        """The pairs of checked columns."""
        for ref, dist in zip(columns[self._ref], columns[self._dist], strict=True):
            yield Row((image_of_cell(ref), image_of_cell(dist)))

    def without_images(self, columns: Mapping[str, Column]) -> dict[str, Any]:
        """Checked columns, but those of bytes and pixels."""
        images = {
            name
            for name in (self._ref, self._dist)
            if any(isinstance(one, (bytes, dict, np.ndarray)) for one in columns[name])
        }
        return {
            name: values if isinstance(values, np.ndarray) else objects(values)
            for name, values in columns.items()
            if name not in images
        }

    def results_of(self, scored: Sequence[Scored[Any]]) -> dict[str, Any]:
        """The columns of results: scores, NaN where a pair failed, ``outside`` and ``reason``."""
        numbers = {name: [one.values.get(name, np.nan) for one in scored] for name in self.columns}
        return {
            **{name: np.array(values, dtype=np.float64) for name, values in numbers.items()},
            "outside": np.array([one.outside for one in scored], dtype=np.float64),
            "reason": objects([one.error for one in scored]),
        }


def _is_image(value: Any) -> bool:
    """Whether a value is what a single row holds of an image, not a column."""
    if isinstance(value, np.ndarray):
        return value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (1, 2, 3, 4))
    return value is None or isinstance(value, (str, bytes, Path, dict))


def _column(values: Column) -> Column:
    """A column of a batch; the value of a single row as a column of one."""
    if isinstance(values, (str, bytes, Path, int, float, np.generic)):
        return [values]
    return values if isinstance(values, np.ndarray) else list(values)


def objects(values: Sequence[Any]) -> Any:
    """A column of objects, whatever they are."""
    column = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):  # in one step NumPy would look into lists of one length
        column[place] = value
    return column


@contextmanager
def _one_thread(alone: bool) -> Iterator[None]:
    """Compute by one thread of the CPU, and leave the process as it was."""
    before = torch.get_num_threads()
    if not alone or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
