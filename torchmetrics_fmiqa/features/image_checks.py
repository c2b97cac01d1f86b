"""Check images and convert them to ``(N, 3, H, W)`` float in [0, 1].

All entry points (metric, loss, map, command) use these functions, so that the rules for range, shape and dtype are
here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.arguments import as_python, short_repr, whole_number
from torchmetrics_fmiqa.features.ranges import warn_of_range
from torchmetrics_fmiqa.features.transforms import plain
from torchmetrics_fmiqa.misuse import WarnOnce

#: ``1.0`` means [0, 1], ``255`` means [0, 255]; a pair gives both ends, such as ``(-1, 1)``.
DataRange = float | tuple[float, float] | Sequence[float]

#: Share of the range by which a target may exceed it, for the rounding of a resize or a colour conversion.
TARGET_TOLERANCE = 1e-3

#: Predictions beyond this multiple of the range count as another unit (0..255 for 0..1), not as a bad output.
WRONG_UNIT = 4.0

#: Weights of red, green and blue in luma (ITU-R BT.601, as in kornia and OpenCV).
LUMA = (0.299, 0.587, 0.114)

_INTEGER_RANGES = {torch.uint8: 255.0, torch.uint16: 65535.0}


def data_limits(data_range: DataRange) -> tuple[float, float]:
    """Return ``(low, high)`` of a data range that is a number or a pair.

    Numbers may be from Python or NumPy, or 0-dim tensors. A pair may be any sequence of two, such as a list from YAML.

    >>> data_limits(255), data_limits([-1, 1])
    ((0.0, 255.0), (-1.0, 1.0))

    Raises:
        ValueError: if it is not a range, or the range is empty or not finite.
    """
    value = as_python(data_range)
    ends = value if isinstance(value, Sequence) and not isinstance(value, str) else (0.0, value)
    try:
        low, high = (math.nan if isinstance(end, (bool, str)) else float(end) for end in ends)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        low = high = math.nan
    if not 0 < high - low < math.inf:
        raise ValueError(f"`data_range` must be a positive number or a pair (low, high), got {short_repr(data_range)}")
    return low, high


def as_data_range(data_range: DataRange) -> float | tuple[float, float]:
    """Return a data range as a number or a tuple of two, which can be hashed, compared and saved.

    Raises:
        ValueError: as in :func:`data_limits`.
    """
    low, high = data_limits(data_range)
    return high if isinstance(as_python(data_range), (int, float)) else (low, high)


def check_pair(preds: Tensor, target: Tensor) -> None:
    """Check that two tensors are batches of RGB images of equal size on the same device.

    Raises:
        ValueError: naming the actual shape and the call that converts it.
    """
    for name, images in (("preds", preds), ("target", target)):
        check_images(images, name)
    if preds.shape != target.shape:
        raise ValueError(
            f"`preds` and `target` must have one shape, got {tuple(preds.shape)} and {tuple(target.shape)}: "
            "crop or resize one of them (on purpose: nothing is resized for you)"
        )
    if preds.device != target.device:
        raise ValueError(f"`preds` is on {preds.device} and `target` on {target.device}: move one of them")


def check_images(images: Tensor, name: str) -> None:
    """Check that a tensor is a batch of RGB images.

    Raises:
        ValueError: naming the actual shape and the call that converts it.
    """
    if not isinstance(images, Tensor):
        raise ValueError(f"`{name}` must be a tensor (N, 3, H, W), got {type(images).__name__}")
    shape = tuple(images.shape)
    if images.ndim == 5:
        raise ValueError(
            f"`{name}` must be (N, 3, H, W), got {shape}: {_frames(shape, name)}; or take VideoFeatureDistance"
        )
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
    """Advice for a video: the call that makes a batch of its frames."""
    channels_first, frames_first = f"give {name}.transpose(1, 2).flatten(0, 1)", f"give {name}.flatten(0, 1)"
    if shape[1] == 3 and shape[2] == 3:
        return f"for video (N, 3, T, H, W) {channels_first}; for (N, T, 3, H, W) {frames_first}"
    if shape[1] == 3:
        return f"for video (N, 3, T, H, W) {channels_first}"
    if shape[2] == 3:
        return f"for video (N, T, 3, H, W) {frames_first}"
    if shape[4] == 3:
        return f"for video (N, T, H, W, 3) give {name}.permute(0, 1, 4, 2, 3).flatten(0, 1)"
    return f"bring video to (N, T, 3, H, W) and give {name}.flatten(0, 1)"


def _missing_axes(shape: tuple[int, ...], name: str) -> str:
    """Advice for missing axes: the call that adds them."""
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
    """Convert images to floating point and map their range to [0, 1]; for uint8 and uint16 it is that of the dtype.

    Raises:
        ValueError: for other integers, booleans, complex numbers and sparse tensors.
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
    """Check the values of a pair from :func:`to_unit`, with a single transfer from the device.

    ``target`` must be in [0, 1] (tolerance 1e-3), unless it will be clamped. ``preds`` may exceed that range, as the
    output of a network does. It is an error only if it is not finite or plainly in another unit. A side that seems to
    be in another range gives one warning.

    Args:
        preds: ``(N, 3, H, W)``.
        target: ``(N, 3, H, W)``.
        data_range: the declared range, for messages.
        warn: callable that warns once.
        floating: whether preds and target were floating point.
        clamp_target: allow ``target`` to exceed its range as far as ``preds`` may.

    Raises:
        ValueError: naming the actual values, in the user's unit.
    """
    preds, target = plain(preds), plain(target)
    limits = torch.stack([torch.stack(images.detach().aminmax()) for images in (preds, target)])
    (preds_low, preds_high), (target_low, target_high) = plain(limits).tolist()  # a NaN makes both limits NaN
    low, high = data_limits(data_range)

    def in_user_unit(*values: float) -> str:
        return " .. ".join(f"{low + value * (high - low):.6g}" for value in values)

    for name, least, most in (("preds", preds_low, preds_high), ("target", target_low, target_high)):
        if not (abs(least) < float("inf") and abs(most) < float("inf")):
            raise ValueError(f"`{name}` holds NaN or infinite values: mask or replace them before they are scored")
    slack = WRONG_UNIT - 1 if clamp_target else TARGET_TOLERANCE
    if target_low < -slack or target_high > 1 + slack:
        raise ValueError(
            f"`target` spans {in_user_unit(target_low, target_high)} but data_range={short_repr(data_range)}: "
            f"{_unit_hint(target_low, target_high, low, high)}"
        )
    if max(abs(preds_low), abs(preds_high)) > WRONG_UNIT:
        raise ValueError(
            f"`preds` spans {in_user_unit(preds_low, preds_high)}, another unit than "
            f"data_range={short_repr(data_range)}: {_unit_hint(preds_low, preds_high, low, high)}"
        )
    warn_of_range(preds, target, ((preds_low, preds_high), (target_low, target_high)), (low, high), floating, warn)


def _unit_hint(least: float, most: float, low: float, high: float) -> str:
    """Advice for the message: the range that was probably meant."""
    least, most = low + least * (high - low), low + most * (high - low)
    if least < 0 and most <= 1.01 and least >= -1.01:
        return "give data_range=(-1, 1), or images in [0, 1]"
    if least >= 0 and 1.5 < most <= 256:
        return "give data_range=255, or divide by 255"
    if least >= 0 and 256 < most <= 65536:
        return "give data_range=65535, or divide by 65535"
    return "scale or clamp it (`clamp_target=True` and `clamp_preds=True` do), or give its data_range"


def outside(images: Tensor, data_range: DataRange = 1.0) -> Tensor:
    """Say of each value whether it is outside the data range; integer images have no such values."""
    if not images.is_floating_point():
        return torch.zeros_like(images, dtype=torch.bool)
    low, high = data_limits(data_range)
    return (images < low) | (images > high)


def share_outside(images: Tensor, data_range: DataRange = 1.0) -> float:
    """Return the share of values outside their data range, in [0, 1]; integer images have none.

    >>> share_outside(torch.tensor([-0.1, 0.5, 1.0, 1.2]))
    0.5
    """
    return float(outside(images, data_range).double().mean())


def finite_images(preds: Tensor | Sequence[Tensor]) -> list[int]:
    """Positions of the finite images in a batch ``(N, ...)`` or a list.

    >>> finite_images(torch.tensor([[0.5, 1.0], [float("nan"), 0.0]]))
    [0]
    """
    if isinstance(preds, Tensor):
        return preds.flatten(1).isfinite().all(1).nonzero().flatten().tolist()
    return [position for position, image in enumerate(preds) if bool(image.isfinite().all())]


def select_images(images: Tensor | Sequence[Tensor], positions: list[int]) -> Tensor | list[Tensor]:
    """The images at the given positions of a batch ``(N, ...)`` or a list."""
    return images[positions] if isinstance(images, Tensor) else [images[position] for position in positions]


def crop(images: Tensor, border: int) -> Tensor:
    """Cut ``border`` pixels off each side of ``(..., H, W)``, as is usual in super-resolution.

    Raises:
        ValueError: if the border is negative or leaves no pixels.
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
    """Check the shape and device of a mask ``(N, 1, H, W)`` against its images.

    Raises:
        ValueError: if its shape or device does not fit.
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
        ValueError: naming the value, or the image whose weights are all zero.
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
        ValueError: if lists and tensors are mixed, lengths differ, or a pair differs in size.
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
                actual = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
                raise ValueError(f"`{name}[{position}]` must be a tensor of three dimensions (C, H, W), got {actual}")
    for position, (pred, reference) in enumerate(zip(preds, target, strict=True)):
        if pred.shape[-2:] != reference.shape[-2:]:
            raise ValueError(
                f"`preds[{position}]` is {tuple(pred.shape)} but `target[{position}]` is {tuple(reference.shape)}: "
                "crop or resize one of them (on purpose: nothing is resized for you)"
            )


def group_by_size(preds: Sequence[Tensor], target: Sequence[Tensor]) -> list[list[int]]:
    """Group the positions of pairs that can be stacked, with equal shapes and dtypes, in order of appearance."""
    groups: dict[object, list[int]] = {}
    for position, (pred, reference) in enumerate(zip(preds, target, strict=True)):
        groups.setdefault((pred.shape, pred.dtype, reference.shape, reference.dtype), []).append(position)
    return list(groups.values())
