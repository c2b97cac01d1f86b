"""Distances of clips: each frame against its reference, and what changes between frames against the reference's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from torchmetrics_fmiqa.arguments import short_repr
from torchmetrics_fmiqa.comparator.accumulator import Accumulator
from torchmetrics_fmiqa.comparator.comparator import FeatureComparator
from torchmetrics_fmiqa.comparator.distance_terms import DistanceTerm, combine, differing, raised, zero_where_equal
from torchmetrics_fmiqa.comparator.forward_pass import full_precision, needs_grad
from torchmetrics_fmiqa.comparator.precision import Precision, backbone_dtype, image_dtype
from torchmetrics_fmiqa.comparator.preprocess import portions
from torchmetrics_fmiqa.distances.pointwise import errors
from torchmetrics_fmiqa.features.image_checks import DataRange, crop, to_unit
from torchmetrics_fmiqa.features.tiles import cut
from torchmetrics_fmiqa.features.tokens import Tokens
from torchmetrics_fmiqa.recipes import Recipe

#: Order of a clip's axes: batch, time, channel, height, width; or the channels before the time.
Layout = Literal["BTCHW", "BCTHW"]

#: Share of the features of changes in the distance of a change, beside the changes of features; chosen in
#: docs/how-to/score-video.md.
SHARE_OF_CHANGES = 1 / 3


class ClipDistances(NamedTuple):
    """What was measured of clips. Lower is closer, 0 is equal.

    Args:
        frames: distance of each frame from its reference, ``(B, T)``.
        changes: distance of each change from one frame to the next from the reference's, ``(B, T - 1)``.
    """

    frames: Tensor
    changes: Tensor

    def columns(self) -> dict[str, Tensor]:
        """The numbers of each clip, ``(B,)``: mean and worst of its frames, and mean of its changes."""
        return {"frames": self.frames.mean(1), "worst": self.frames.amax(1), "temporal": self.changes.mean(1)}


class ClipComparator(FeatureComparator):
    """Measures clips by a recipe of images: their frames, and what changes from a frame to the next.

    The distance of a change is two thirds of one and a third of another, which see different faults best:

    - *changes of features*: a frame's error at a position is the difference of the unit vectors of both sides, half of
      whose squared length is the cosine distance. Measured is half the squared length of what the error changes by.
      Taps count as in the recipe's score, and all positions the same: weighed by the information of a reference, what
      happens where nothing is would hardly count, and flicker shows there. Channel weights count.
    - *features of changes*: half the difference of two frames, around grey, is an image. Measured is the recipe's
      distance of that image from the reference's.

    So an error that stays the same costs nothing, or next to nothing where the image moves under it.

    Args:
        recipe: what to measure by, with a single result.
        precision: as in :class:`FeatureComparator`.
        grad_checkpointing: as in :class:`FeatureComparator`.
        tile_batch: as in :class:`FeatureComparator`.

    Raises:
        ValueError: for a recipe with several results, or of ZS-IQA's published protocol.
    """

    def __init__(
        self,
        recipe: Recipe | Sequence[Recipe],
        precision: Precision = "float32",
        grad_checkpointing: bool = False,
        tile_batch: int = 32,
    ) -> None:
        (recipe,) = (recipe,) if isinstance(recipe, Recipe) else recipe
        if len(recipe.results) != 1:
            raise ValueError(
                f"clips are measured by one `distance`, got {recipe.distance!r}: join them by their weights, such as "
                "distance={'cosine': 1, 'l2': 1}"
            )
        if recipe.protocol == "zsiqa":
            raise ValueError("the protocol of the published ZS-IQA is for images: take another recipe for clips")
        super().__init__(recipe, precision, grad_checkpointing, tile_batch)
        places = range(len(self.backbone.taps))
        weights = {term.taps[0]: term.channel_weights for term in self._terms}
        self._changes = [
            DistanceTerm((place,), (self.backbone.taps[place],), "cosine", recipe.tokens, "fmiqa", weights[place])
            for place in places
        ]

    def clips(
        self,
        preds: Tensor,
        target: Tensor,
        layout: Layout = "BTCHW",
        data_range: DataRange = 1.0,
        crop_border: int = 0,
        validate: bool = True,
    ) -> ClipDistances:
        """Measure a batch of clips.

        Args:
            preds: clips under test, ``(B, T, 3, H, W)`` in ``data_range``, uint8 or uint16, with ``T`` at least 2.
            target: the pristine references, likewise.
            layout: ``"BCTHW"`` for ``(B, 3, T, H, W)``.
            data_range: range of floating point clips.
            crop_border: pixels to cut off each side first.
            validate: look at the values too, not just the shapes.

        Raises:
            ValueError: for clips that do not fit, naming the value and the fix.
        """
        preds, target = check_clips(preds, target, layout)
        count, times = preds.shape[:2]
        flat = preds.flatten(0, 1), target.flatten(0, 1)
        scores, of_features = self._by_frame(*flat, data_range, crop_border, validate)
        dtype = image_dtype(self.precision, preds)
        with full_precision(preds):
            preds, target = (
                crop(to_unit(side, data_range, dtype, name), crop_border)
                for name, side in (("preds", preds), ("target", target))
            )
            ours, theirs = (((side.diff(dim=1) + 1) / 2).flatten(0, 1) for side in (preds, target))
        (distances,) = self(ours, theirs, validate=False)
        (of_changes,) = distances.scores().values()
        changes = torch.lerp(of_features.view(count, times)[:, 1:], of_changes.view(count, times - 1), SHARE_OF_CHANGES)
        return ClipDistances(scores.view(count, times), changes)

    def _by_frame(
        self, preds: Tensor, target: Tensor, data_range: DataRange, border: int, validate: bool
    ) -> tuple[Tensor, Tensor]:
        """Distance of each frame ``(N,)``, and of what its features change by from the frame before."""
        dtype = backbone_dtype(self.precision, preds)
        with full_precision(preds):
            preds, target = self.preprocess.pair(
                preds, target, image_dtype(self.precision, preds), data_range, border, validate
            )
            plan = self.preprocess.plan(preds)
            frames = Accumulator(plan, preds, self.preprocess.weights(target), self._terms)
            changes = Accumulator(plan, preds, None, self._changes)
            errors_before = _ErrorsBefore()
            with torch.set_grad_enabled(needs_grad(preds)):
                # All frames at one tile in their order, then at the next tile.
                for portion in portions(plan, preds.shape[0], self.at_once(plan, preds.shape[0])):
                    tiles = cut(preds, plan, portion), cut(target, plan, portion)
                    values, sides = self._distances(*tiles, dtype, None)
                    frames.add(portion, values, sides[1])
                    differ = differing(*tiles)
                    errors_now = [self._errors(term, *sides, differ) for term in self._changes]
                    changes.add(portion, errors_before.changes_to(errors_now), sides[1])
                    del values, sides, errors_now  # before those of the next portion come
        (scores,) = self._scoring(0).result(frames.sums).scores().values()
        (weights,) = self.weights().values()
        return scores, combine(torch.stack(changes.sums, 1), weights)

    def _errors(self, term: DistanceTerm, preds: Sequence[Tokens], target: Sequence[Tokens], differ: Tensor) -> Tensor:
        """Errors ``(n, T, C)`` at a tap; 0 to the last digit where the images are equal."""
        ours, theirs = (raised(side[term.taps[0]]).select(self.recipes[0].tokens) for side in (preds, target))
        weights = None if term.channel_weights is None else term.channel_weights.like(ours)
        return zero_where_equal(errors(ours, theirs, weights), differ)


class _ErrorsBefore:
    """The errors of the frame before, from one portion to the next."""

    def __init__(self) -> None:
        self._last: list[Tensor] | None = None

    def changes_to(self, errors_now: list[Tensor]) -> list[Tensor]:
        """Distances ``(n, T)`` of the changes that lead to each frame of a portion; none leads to a clip's first."""
        last = self._last or [values[:1] for values in errors_now]
        self._last = [values[-1:] for values in errors_now]
        found = []
        for values, before in zip(errors_now, last, strict=True):
            step = values - torch.cat([before, values[:-1]])
            found.append(0.5 * step.square().sum(-1))
        return found


def check_layout(layout: str) -> Layout:
    """Return the layout.

    Raises:
        ValueError: if there is none of this name.
    """
    if layout not in get_args(Layout):
        raise ValueError(f"`layout` must be one of {', '.join(get_args(Layout))}; got {short_repr(layout)}")
    return layout  # type: ignore[return-value]


def check_clips(preds: Tensor, target: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """Return both sides as ``(B, T, 3, H, W)``.

    Raises:
        ValueError: for other shapes, sides that differ in shape, and clips of less than two frames.
    """
    sides = []
    for name, clips in (("preds", preds), ("target", target)):
        if not isinstance(clips, Tensor):
            raise ValueError(f"`{name}` must be a tensor (B, T, 3, H, W), got {type(clips).__name__}")
        _check_shape(clips, name, layout)
        sides.append(clips.transpose(1, 2) if layout == "BCTHW" else clips)
    if preds.shape != target.shape:
        raise ValueError(
            f"`preds` and `target` must have one shape, got {tuple(preds.shape)} and {tuple(target.shape)}: cut or "
            "resample one of them (on purpose: no frame is dropped or repeated for you)"
        )
    return sides[0], sides[1]


def _check_shape(clips: Tensor, name: str, layout: Layout) -> None:
    shape = tuple(clips.shape)
    wanted, channel, other = ("(B, T, 3, H, W)", 2, "BCTHW") if layout == "BTCHW" else ("(B, 3, T, H, W)", 1, "BTCHW")
    if clips.ndim == 4:
        raise ValueError(f"`{name}` must be clips {wanted}, got {shape}: for one clip give {name}[None]")
    if clips.ndim != 5:
        raise ValueError(f"`{name}` must be clips {wanted}, got {shape}")
    if shape[channel] != 3:
        fix = "the networks see RGB"
        if shape[3 - channel] == 3:
            fix = f'give layout="{other}"'
        elif shape[4] == 3:
            fix = f"channels come last: give {name}.permute(0, 1, 4, 2, 3)" + (
                "" if layout == "BTCHW" else ' and layout="BTCHW"'
            )
        elif shape[channel] == 1:
            fix = f"for grey clips give {name}.repeat_interleave(3, {channel})"
        raise ValueError(f"`{name}` must be clips {wanted}, got {shape}: {fix}")
    if 0 in shape:
        raise ValueError(f"`{name}` holds no pixels, its shape is {shape}: leave out empty batches")
    if shape[3 - channel] < 2:
        raise ValueError(f"`{name}` has one frame a clip in {shape}, and nothing changes in it: measure it as an image")
