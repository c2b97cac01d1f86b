"""Images as the corridor wants them: checked, in one unit, ``(N, 3, H, W)`` float in [0, 1].

Every door passes its input through :func:`to_unit`, so that range, shape and dtype rules stand in one place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.arguments import as_python, shown, whole_number
from torchmetrics_fmiqa.features.ranges import warn_of_range
from torchmetrics_fmiqa.features.transforms import plain
from torchmetrics_fmiqa.misuse import WarnOnce

#: ``1.0`` stands for [0, 1], ``255`` for [0, 255]; a pair gives both ends, such as ``(-1, 1)``.
DataRange = float | tuple[float, float] | Sequence[float]

#: How far beyond its range a target may lie (rounding of a resize or a colour conversion), as a share of the range.
TARGET_TOLERANCE = 1e-3

#: A prediction beyond this many ranges is taken for another unit (0..255 for 0..1), not for a bad output.
WRONG_UNIT = 4.0

#: Weights of red, green and blue in luma (ITU-R BT.601; kornia's and OpenCV's grey images have them too).
LUMA = (0.299, 0.587, 0.114)

_INTEGER_RANGES = {torch.uint8: 255.0, torch.uint16: 65535.0}


def data_limits(data_range: DataRange) -> tuple[float, float]:
    """Return ``(low, high)`` of a data range given as one number or as a pair.

    Numbers may be Python's, NumPy's or 0-dim tensors; a pair any sequence of two, such as a list of YAML or hydra.

    >>> data_limits(255), data_limits([-1, 1])
    ((0.0, 255.0), (-1.0, 1.0))

    Raises:
        ValueError: if the range is empty or not finite, or no range at all.
    """
    given = as_python(data_range)
    ends = given if isinstance(given, Sequence) and not isinstance(given, str) else (0.0, given)
    try:
        low, high = (math.nan if isinstance(end, (bool, str)) else float(end) for end in ends)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        low = high = math.nan
    if not 0 < high - low < math.inf:
        raise ValueError(f"`data_range` must be a positive number or a pair (low, high), got {shown(data_range)}")
    return low, high


def as_data_range(data_range: DataRange) -> float | tuple[float, float]:
    """Return a data range as a plain number or a tuple of two, which can be hashed, compared and saved.

    Raises:
        ValueError: as :func:`data_limits`.
    """
    low, high = data_limits(data_range)
    return high if isinstance(as_python(data_range), (int, float)) else (low, high)


def check_pair(preds: Tensor, target: Tensor) -> None:
    """Check that two tensors are batches of RGB images of one size on one device.

    Raises:
        ValueError: naming the shape that was found and the call that converts it.
    """
    for name, images in (("preds", preds), ("target", target)):
        if not isinstance(images, Tensor):
            raise ValueError(f"`{name}` must be a tensor (N, 3, H, W), got {type(images).__name__}")
        _check_layout(images, name)
    if preds.shape != target.shape:
        raise ValueError(
            f"`preds` and `target` must have one shape, got {tuple(preds.shape)} and {tuple(target.shape)}: "
            "crop or resize one of them (on purpose: nothing is resized for you)"
        )
    if preds.device != target.device:
        raise ValueError(f"`preds` is on {preds.device} and `target` on {target.device}: move one of them")


def _check_layout(images: Tensor, name: str) -> None:
    shape = tuple(images.shape)
    if images.ndim == 5:
        raise ValueError(f"`{name}` must be (N, 3, H, W), got {shape}: {_frames(shape, name)}")
    if images.ndim != 4:
        raise ValueError(f"`{name}` must be (N, 3, H, W), got {shape}{_missing_axes(shape, name)}")
    if images.shape[0] == 0 or images.shape[2] == 0 or images.shape[3] == 0:
        raise ValueError(f"`{name}` holds no pixels, its shape is {shape}: leave out empty batches")
    channels = images.shape[1]
    if channels == 3:
        return
    if channels == 1:
        raise ValueError(f"`{name}` is grey {shape}; the networks see RGB: give {name}.repeat(1, 3, 1, 1)")
    if images.shape[-1] == 3:
        raise ValueError(f"`{name}` is channels-last {shape}: give {name}.permute(0, 3, 1, 2)")
    if channels > 4 and images.shape[-1] in (1, 2, 4):
        raise ValueError(f"`{name}` has no 3 channels (RGB) in {shape}: if they come last, {name}.permute(0, 3, 1, 2)")
    if channels == 2:
        meaning = f"grey with an alpha channel, or two bands: choose one, {name}[:, :1].repeat(1, 3, 1, 1)"
    elif channels == 4:
        meaning = (
            f"RGB with an alpha channel, to composite (or {name}[:, :3] if it is opaque); or four bands: choose three, "
            f"{name}[:, :3], or {name}[:, [2, 1, 0]] where blue comes first"
        )
    else:
        meaning = f"choose three channels or bands, such as {name}[:, :3], and measure others in turn"
    raise ValueError(f"`{name}` must have 3 channels (RGB), got {channels} in {shape}: {meaning}")


def _frames(shape: tuple[int, ...], name: str) -> str:
    """How to make a batch of the frames of a video."""
    first, second = f"give {name}.transpose(1, 2).flatten(0, 1)", f"give {name}.flatten(0, 1)"
    if shape[1] == 3 and shape[2] == 3:
        return f"for video (N, 3, T, H, W) {first}; for (N, T, 3, H, W) {second}"
    if shape[1] == 3:
        return f"for video (N, 3, T, H, W) {first}"
    if shape[2] == 3:
        return f"for video (N, T, 3, H, W) {second}"
    if shape[4] == 3:
        return f"for video (N, T, H, W, 3) give {name}.permute(0, 1, 4, 2, 3).flatten(0, 1)"
    return f"bring video to (N, T, 3, H, W) and give {name}.flatten(0, 1)"


def _missing_axes(shape: tuple[int, ...], name: str) -> str:
    """How to add the axes that images lack."""
    if len(shape) == 2:
        return f": for one grey image give {name}[None, None].repeat(1, 3, 1, 1)"
    if len(shape) != 3:
        return ""
    if shape[-1] == 3 and shape[0] != 3:
        return f": for one image, channels last, give {name}.permute(2, 0, 1)[None]"
    if shape[0] == 3:
        return f": for one image give {name}[None]"
    return f": for one image (C, H, W) give {name}[None]; for grey images (N, H, W) {name}[:, None].repeat(1, 3, 1, 1)"


def to_unit(images: Tensor, data_range: DataRange, dtype: torch.dtype, name: str) -> Tensor:
    """Convert images to floating point with their range mapped onto [0, 1]; uint8 and uint16 have ranges of their own.

    Raises:
        ValueError: for other integers, booleans and complex numbers, and for sparse tensors.
    """
    if images.layout is not torch.strided:
        raise ValueError(f"`{name}` must be a dense tensor: give {name}.to_dense()")
    if images.dtype in _INTEGER_RANGES:
        return images.to(dtype) / _INTEGER_RANGES[images.dtype]
    if not images.is_floating_point():
        raise ValueError(f"`{name}` must be floating point, uint8 or uint16, got {images.dtype}: convert it first")
    low, high = data_limits(data_range)
    images = images.to(dtype)
    return images if (low, high) == (0.0, 1.0) else (images - low) / (high - low)


def check_values(
    preds: Tensor,
    target: Tensor,
    data_range: DataRange,
    warn: WarnOnce,
    floating: tuple[bool, bool] = (True, True),
    clamp_target: bool = False,
) -> None:
    """Check the values of a pair that :func:`to_unit` made; one transfer from the device for both.

    ``target`` must lie in [0, 1] (tolerance 1e-3), unless it is to be clamped. ``preds`` may leave it, as the output of
    a network does, and is an error only when it is not finite or plainly in another unit. One warning where a side
    seems to be in another range.

    Args:
        preds: ``(N, 3, H, W)``.
        target: likewise.
        data_range: what was declared.
        warn: who warns.
        floating: whether each side was floating point.
        clamp_target: let ``target`` leave its range as far as ``preds`` may.

    Raises:
        ValueError: with the values that were found, in the user's own unit.
    """
    preds, target = plain(preds), plain(target)
    limits = torch.stack([torch.stack(images.detach().aminmax()) for images in (preds, target)])
    (preds_low, preds_high), (target_low, target_high) = plain(limits).tolist()  # a NaN anywhere makes both ends NaN
    low, high = data_limits(data_range)

    def own(*values: float) -> str:
        return " .. ".join(f"{low + value * (high - low):.6g}" for value in values)

    for name, least, most in (("preds", preds_low, preds_high), ("target", target_low, target_high)):
        if not (abs(least) < float("inf") and abs(most) < float("inf")):
            raise ValueError(f"`{name}` holds NaN or infinite values: mask or replace them before they are scored")
    slack = WRONG_UNIT - 1 if clamp_target else TARGET_TOLERANCE
    if target_low < -slack or target_high > 1 + slack:
        raise ValueError(
            f"`target` spans {own(target_low, target_high)} but data_range={shown(data_range)}: "
            f"{_unit_hint(target_low, target_high, low, high)}"
        )
    if max(abs(preds_low), abs(preds_high)) > WRONG_UNIT:
        raise ValueError(
            f"`preds` spans {own(preds_low, preds_high)}, another unit than data_range={shown(data_range)}: "
            f"{_unit_hint(preds_low, preds_high, low, high)}"
        )
    warn_of_range(preds, target, ((preds_low, preds_high), (target_low, target_high)), (low, high), floating, warn)


def _unit_hint(least: float, most: float, low: float, high: float) -> str:
    """Guess for the message (never for the arithmetic) which range was meant."""
    least, most = low + least * (high - low), low + most * (high - low)
    if least < 0 and most <= 1.01 and least >= -1.01:
        return "give data_range=(-1, 1), or images in [0, 1]"
    if least >= 0 and 1.5 < most <= 256:
        return "give data_range=255, or divide by 255"
    if least >= 0 and 256 < most <= 65536:
        return "give data_range=65535, or divide by 65535"
    return "scale or clamp it (`clamp_target=True` and `clamp_preds=True` do), or give its data_range"


def share_outside(images: Tensor, data_range: DataRange = 1.0) -> float:
    """Return the share of values outside their data range, in [0, 1]; integer images have none.

    >>> share_outside(torch.tensor([-0.1, 0.5, 1.0, 1.2]))
    0.5
    """
    if not images.is_floating_point():
        return 0.0
    low, high = data_limits(data_range)
    return float(((images < low) | (images > high)).double().mean())


def finite_images(preds: Tensor | Sequence[Tensor]) -> list[int]:
    """Positions of the images of ``(N, ...)`` or of a list that hold no NaN and nothing infinite.

    >>> finite_images(torch.tensor([[0.5, 1.0], [float("nan"), 0.0]]))
    [0]
    """
    if isinstance(preds, Tensor):
        return preds.flatten(1).isfinite().all(1).nonzero().flatten().tolist()
    return [position for position, image in enumerate(preds) if bool(image.isfinite().all())]


def select_images(images: Tensor | Sequence[Tensor], positions: list[int]) -> Tensor | list[Tensor]:
    """The images at some positions of a batch ``(N, ...)`` or of a list."""
    return images[positions] if isinstance(images, Tensor) else [images[position] for position in positions]


def crop(images: Tensor, border: int) -> Tensor:
    """Cut ``border`` pixels off each side of ``(..., H, W)``, as super-resolution papers do before they measure.

    Raises:
        ValueError: if the border is negative or leaves nothing.
    """
    if type(border) is not int:
        border = whole_number(border, "crop_border", 0, "a whole number of pixels")
    if border == 0:
        return images
    height, width = images.shape[-2:]
    if border < 0 or 2 * border >= min(height, width):
        raise ValueError(f"`crop_border` must be 0 or more and leave pixels, got {border} for {height}x{width} images")
    return images[..., border : height - border, border : width - border]


def check_mask(mask: Tensor | None, preds: Tensor) -> None:
    """Check a mask of ``(N, 1, H, W)`` weights (boolean, or floats of at least 0) against its images.

    Raises:
        ValueError: if its shape, its device or its values do not fit, or it selects nothing in some image.
    """
    if mask is None:
        return
    expected = (preds.shape[0], 1, *preds.shape[-2:])
    if tuple(mask.shape) != expected:
        raise ValueError(f"`mask` must be {expected} for preds {tuple(preds.shape)}, got {tuple(mask.shape)}")
    if mask.device != preds.device:
        raise ValueError(f"`mask` is on {mask.device} and `preds` on {preds.device}: move one of them")


def check_mask_values(mask: Tensor) -> None:
    """Check that mask weights ``(N, 1, H, W)`` are finite, at least 0 and not all zero in any image.

    Raises:
        ValueError: naming the value, or the image that nothing is left of.
    """
    mask = plain(mask)
    least, most = (float(end) for end in mask.aminmax())
    if not (least >= 0 and most < float("inf")):
        raise ValueError(f"`mask` weights must be finite and at least 0, got {least:.6g} .. {most:.6g}")
    empty = (mask.sum((-2, -1)) == 0).flatten().nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"`mask` is zero everywhere in image {empty[0]} of the batch: leave that image out")


def check_lists(preds: Any, target: Any, mask: Any) -> None:
    """Check that lists of images ``(3, H, W)`` (and masks ``(1, H, W)``) pair up.

    Raises:
        ValueError: if a list meets a tensor, lengths differ, or a pair differs in size.
    """
    sides = {"preds": preds, "target": target, **({} if mask is None else {"mask": mask})}
    if any(not isinstance(images, (list, tuple)) for images in sides.values()):
        kinds = ", ".join(f"{name}: {type(images).__name__}" for name, images in sides.items())
        raise ValueError(f"give two tensors (N, 3, H, W) or two lists of (3, H, W), got {kinds}")
    if len({len(images) for images in sides.values()}) > 1 or not preds:
        lengths = ", ".join(f"{name}: {len(images)}" for name, images in sides.items())
        raise ValueError(f"lists of images must have one length of at least 1, got {lengths}")
    for name, images in sides.items():
        for position, image in enumerate(images):
            if not isinstance(image, Tensor) or image.ndim != 3:
                found = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
                raise ValueError(f"`{name}[{position}]` must be a tensor of three dimensions (C, H, W), got {found}")
    for position, (one, other) in enumerate(zip(preds, target, strict=True)):
        if one.shape[-2:] != other.shape[-2:]:
            raise ValueError(
                f"`preds[{position}]` is {tuple(one.shape)} but `target[{position}]` is {tuple(other.shape)}: "
                "crop or resize one of them (on purpose: nothing is resized for you)"
            )


def group_by_size(preds: Sequence[Tensor], target: Sequence[Tensor]) -> list[list[int]]:
    """Group the positions of pairs that can be stacked: same shapes, same dtypes; first seen first."""
    groups: dict[object, list[int]] = {}
    for position, (one, other) in enumerate(zip(preds, target, strict=True)):
        groups.setdefault((one.shape, one.dtype, other.shape, other.dtype), []).append(position)
    return list(groups.values())
