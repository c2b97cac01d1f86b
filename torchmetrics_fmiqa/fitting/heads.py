"""The kinds of heads that can be trained: SPIPS heads on images, fusion heads on the columns of a table."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator.tap_statistics import TapStatistics
from torchmetrics_fmiqa.data.run_folder import read_note
from torchmetrics_fmiqa.fitting.config import HeadTraining, SpipsTraining
from torchmetrics_fmiqa.fitting.dataset import MeasuredSet, plain
from torchmetrics_fmiqa.safe_write import write_text
from torchmetrics_fmiqa.spips_model.checkpoint import load_head, load_spips, save_head, save_spips
from torchmetrics_fmiqa.spips_model.fusion_head import FusionHead
from torchmetrics_fmiqa.spips_model.model import SpipsHead
from torchmetrics_fmiqa.spips_model.quality_maps import CONVENTIONAL
from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe

Head = SpipsHead | FusionHead

_HEAD, _FITTED = "head.safetensors", "fitted.json"


@dataclass(frozen=True)
class FittedHead:
    """A head that was trained."""

    head: Head  #: in eval mode, frozen, on the CPU; calibrated if any of the sets has opinions.
    epoch: int  #: the epoch that it was taken from, counted from 1.
    #: its agreement on the inner validation, the mean over sets: SRCC of opinions, 2AFC score of choices, share of
    #: pairs of one series in the right order.
    validation: float

    @classmethod
    def read(cls, folder: Path, spec: HeadSpec) -> FittedHead | None:
        """The head that :meth:`write` wrote; ``None`` if it is not there, or is damaged, with a warning."""
        path = folder / _FITTED
        if not path.is_file():
            return None
        try:
            about = read_note(path)
            return cls(spec.load(folder / _HEAD), int(about["epoch"]), float(about["validation"]))
        except (ValueError, KeyError, TypeError) as error:
            why = f"{_FITTED} says nothing" if isinstance(error, KeyError | TypeError) else str(error)
            warnings.warn(f"{folder} is damaged ({why}): its head is trained again", UserWarning, stacklevel=2)
            return None

    def write(self, folder: Path, spec: HeadSpec) -> None:
        """Write the head, and then that it is whole."""
        spec.save(self.head, folder / _HEAD)
        about = {"epoch": self.epoch, "validation": self.validation}
        write_text(folder / _FITTED, json.dumps(about, indent=2))


@dataclass(frozen=True)
class SpipsSpec:
    """A SPIPS head: the recipe that measures its inputs, and how it is trained."""

    recipe: SpipsRecipe
    training: SpipsTraining = field(default_factory=SpipsTraining)

    @property
    def made_for(self) -> str:
        """The recipe's digest."""
        return self.recipe.digest

    def check(self, data: MeasuredSet, first: MeasuredSet) -> None:
        """Check the taps and sizes of what was measured, and that it is finite."""
        taps = self.recipe.taps
        sizes = cast("TapStatistics", first.measured[0]).reference.shape[1], len(CONVENTIONAL)
        for measured in cast("tuple[TapStatistics, ...]", data.measured):
            own = measured.reference.shape[1], measured.of_images.shape[1]
            if measured.labels != taps or own != sizes:
                raise ValueError(
                    f"{data.name}: measured at the taps {', '.join(measured.labels)} with {own[0]} channels at the "
                    f"last and {own[1]} numbers of the images; wanted {', '.join(taps)} with {sizes[0]} and "
                    f"{sizes[1]}: measure all sets by one recipe"
                )
            for part in ("spread", "summary", "reference", "of_images"):
                bad = (~getattr(measured, part).isfinite()).nonzero()
                if len(bad):
                    value, image = getattr(measured, part)[tuple(bad[0])].item(), str(data.image[int(bad[0, 0])])
                    raise ValueError(f"{data.name}: `{part}` of {image!r} is {value}: leave out that pair")

    def build(self, sets: Sequence[MeasuredSet]) -> SpipsHead:
        """A new head that knows the sizes of its inputs in these sets, and nothing else."""
        measured = [cast("TapStatistics", plain(version)) for data in sets for version in data.measured]
        how, channels = self.training, measured[0].reference.shape[1]
        # A recipe's streams are names once it is made.
        streams = cast("tuple[tuple[str, ...], tuple[str, ...]]", (self.recipe.low_level, self.recipe.semantic))
        head = SpipsHead(*streams, channels, how.parts, how.hidden, how.linear, how.seed, self.recipe.digest)
        head.fit_inputs(measured[0].joined(measured[1:], range(sum(len(version.spread) for version in measured))))
        if head.gated:
            head.gate.requires_grad_(how.gated)
        return head

    def save(self, head: Any, path: Path) -> None:
        """Write it with its recipe."""
        save_spips(head, path, self.recipe)

    def load(self, path: Path) -> SpipsHead:
        """Read it for the recipe."""
        return load_spips(path, self.recipe)


@dataclass(frozen=True)
class TableSpec:
    """A fusion head on the columns of a table."""

    names: tuple[str, ...]  #: of the columns.
    training: HeadTraining = field(default_factory=HeadTraining)  #: how it is trained.
    #: all inputs are 0 for equal images, and so must the score be; see
    #: :class:`~torchmetrics_fmiqa.spips_model.fusion_head.FusionHead`.
    anchored: bool = False
    made_for: str = ""  #: what computes the inputs.

    def check(self, data: MeasuredSet, first: MeasuredSet) -> None:
        """Check that there is a column for each name, and that all values are finite."""
        (values,) = cast("tuple[Tensor, ...]", data.measured)
        if values.ndim != 2 or values.shape[1] != len(self.names):
            raise ValueError(f"{data.name}: wanted {len(self.names)} columns, one for each name, got {values.shape}")
        bad = (~values.isfinite()).nonzero()
        if len(bad):
            row, place = bad[0].tolist()
            value, image = values[row, place].item(), str(data.image[row])
            raise ValueError(
                f"{data.name}: {self.names[place]!r} is {value} for {image!r}, and not finite for "
                f"{len(bad[:, 0].unique())} of {len(values)} images: leave out the images or the column"
            )

    def build(self, sets: Sequence[MeasuredSet]) -> FusionHead:
        """A new head that knows the sizes of its inputs in these sets, and nothing else."""
        how = self.training
        head = FusionHead(self.names, how.hidden, how.linear, self.anchored, how.seed, self.made_for)
        head.fit_inputs(torch.cat([cast("Tensor", plain(data.measured[0])) for data in sets]))
        return head

    def save(self, head: Any, path: Path) -> None:
        """Write it."""
        save_head(head, path)

    def load(self, path: Path) -> FusionHead:
        """Read it, if it has these columns."""
        return load_head(path, self.names, self.made_for)


#: Which head to train, and how. Both kinds check and build a head from sets, and write and read it.
HeadSpec = SpipsSpec | TableSpec
