"""Changes of an image that people hardly see, so that a metric's judgement should hardly move: shift, scale, turn.

They go back to the robustness test of ZS-IQA (Ghildyal, Barman and Zadtootaghaj, ICASSP 2025) and measure the same
thing in another way. There, for the shift, opposite sides are cut off reference and image, for the turn pixels are
copied from the nearest place and the corners left black. Here only the image under test changes, its size stays, and
what comes in at a border is the image **mirrored**: a metric then answers to the change itself, not to black corners,
new edges or less of the picture. Scores under these changes are not comparable with published ones, which come as
columns that end in ``_tra-1``, ``_sca-1`` and ``_rot-1`` (:func:`~torchmetrics_fmiqa.benchmark.scored.read_scored`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.images import check_pair
from torchmetrics_fmiqa.features.tiles import mirror_index


@dataclass(frozen=True)
class Change:
    """A change of images under test; call it with them.

    Args:
        name: what it is called in columns and options, without spaces.
        label: the name in reports.
        meaning: what is done, in words.
        apply: the function, images ``(N, 3, H, W)`` in [0, 1] to as many of the same size and type.

    >>> ramp = torch.tensor([0.0, 0.2, 0.4, 0.6]).expand(1, 3, 2, 4)
    >>> CHANGES["shift-1px"](ramp)[0, 0, 0]
    tensor([0.2000, 0.0000, 0.2000, 0.4000])
    """

    name: str
    label: str
    meaning: str
    apply: Callable[[Tensor], Tensor] = field(repr=False, compare=False)

    def __call__(self, preds: Tensor) -> Tensor:
        """Change images.

        Args:
            preds: ``(N, 3, H, W)``, floating point in [0, 1].

        Returns:
            Changed images of the same size and type, in [0, 1].

        Raises:
            ValueError: for images of another shape, type or range.
        """
        check_pair(preds, preds)
        if not preds.is_floating_point():
            raise ValueError(f"`preds` must be floating point in [0, 1], got {preds.dtype}: convert it first")
        low, high = (float(limit) for limit in preds.detach().aminmax())
        if not (low >= 0 and high <= 1):  # so put that NaN fails too
            raise ValueError(f"`preds` must lie in [0, 1] to be changed, it spans {low:.6g} .. {high:.6g}: clamp it")
        return self.apply(preds)


def _shift(preds: Tensor, pixels: int | None) -> Tensor:
    """Move to the right by exact copies; ``None`` stands for 1 % of the width, rounded up."""
    width = preds.shape[3]
    by = -(-width // 100) if pixels is None else pixels  # whole numbers: ceil(0.01 * 700) is 8
    return preds.index_select(3, mirror_index(width, width, preds.device, -by))


def _scale(preds: Tensor, factor: float) -> Tensor:
    """Enlarge about the centre and keep the size."""
    from kornia.geometry.transform import scale

    images = _exact(preds)
    scaled: Tensor = scale(images, images.new_full((1, 2), factor), padding_mode="reflection", align_corners=True)
    return _like(scaled, preds)


def _rotate(preds: Tensor, degrees: float) -> Tensor:
    """Turn clockwise about the centre."""
    from kornia.geometry.transform import rotate

    images = _exact(preds)
    # kornia turns counter-clockwise; with `align_corners` it mirrors about pixels, not about their edges
    turned: Tensor = rotate(images, images.new_full((1,), -degrees), padding_mode="reflection", align_corners=True)
    return _like(turned, preds)


def _exact(preds: Tensor) -> Tensor:
    """At least float32: places in an image need more digits than half types have."""
    return preds.to(torch.promote_types(preds.dtype, torch.float32))


def _like(changed: Tensor, preds: Tensor) -> Tensor:
    # interpolation stays between the values it mixes; the clamp only takes back rounding, such as 1.0000001
    return changed.clamp(0, 1).to(preds.dtype)


_MIRRORED = "the border is mirrored and the size stays"

#: The changes by name.
CHANGES: dict[str, Change] = {
    change.name: change
    for change in (
        Change(
            "shift-1px",
            "shift by 1 pixel",
            f"moved one pixel to the right, without interpolation; {_MIRRORED}",
            partial(_shift, pixels=1),
        ),
        Change(
            "shift-1%",
            "shift by 1 %",
            f"moved to the right by 1 % of the width, rounded up to pixels, without interpolation; {_MIRRORED}",
            partial(_shift, pixels=None),
        ),
        Change(
            "scale-1%",
            "enlargement by 1 %",
            "enlarged by 1 % about the centre, bilinear; the size stays",
            partial(_scale, factor=1.01),
        ),
        Change(
            "rotate-0.25",
            "turn by 0.25°",
            f"turned clockwise by 0.25 degrees about the centre, bilinear; {_MIRRORED}",
            partial(_rotate, degrees=0.25),
        ),
        Change(
            "rotate-1",
            "turn by 1°",
            f"turned clockwise by 1 degree about the centre, bilinear; {_MIRRORED}",
            partial(_rotate, degrees=1.0),
        ),
    )
}


def parse_changes(text: str) -> tuple[Change, ...]:
    """Changes that an option names.

    Args:
        text: ``"all"``, ``"none"``, or names with commas between.

    Raises:
        ValueError: for names that are unknown or come twice, naming those that are known.

    >>> [change.name for change in parse_changes("shift-1px,rotate-1")]
    ['shift-1px', 'rotate-1']
    >>> len(parse_changes("all")), parse_changes("none")
    (5, ())
    """
    if text.strip() == "all":
        return tuple(CHANGES.values())
    if text.strip() == "none":
        return ()
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in CHANGES:
            raise ValueError(f"there is no change {name!r}: give 'all', 'none', or some of {', '.join(CHANGES)}")
        if names.count(name) > 1:
            raise ValueError(f"the change {name!r} is named twice in {text!r}: name it once")
    return tuple(CHANGES[name] for name in names)
