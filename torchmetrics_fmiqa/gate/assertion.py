"""assert_looks_like: golden images in tests."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchmetrics_fmiqa.features.image_checks import DataRange, to_unit
from torchmetrics_fmiqa.gate.check import ImageCheck, check_image, floor_of, load, store
from torchmetrics_fmiqa.gate.golden import Golden, is_golden, read_golden, write_golden
from torchmetrics_fmiqa.gate.harmless import check_harmless
from torchmetrics_fmiqa.gate.report import picture
from torchmetrics_fmiqa.gate.settings import SETTINGS
from torchmetrics_fmiqa.one_writer import one_writer
from torchmetrics_fmiqa.recipes import as_recipe
from torchmetrics_fmiqa.safe_write import make_folder, write_bytes

# Seconds in which another process of the tests may record its image.
_WAIT = 60


def assert_looks_like(
    got: Any,
    name: str,
    golden: str | Path | None = None,
    data_range: DataRange = 1.0,
    harmless: Sequence[str] = ("noise", "jpeg", "shift"),
    margin: float = 1.5,
) -> None:
    """Assert that an image looks like the golden one of that name.

    Run ``pytest --fmiqa-record`` once to record it, look at the file, and commit it. From then on the image may differ
    by as much as harmless changes do: see :class:`~torchmetrics_fmiqa.gate.differences.Differences` for what is
    measured. Needs no download.

    Args:
        got: the image: a tensor ``(3, H, W)`` or ``(1, 3, H, W)`` in ``data_range`` or uint8, an array ``(H, W, 3)``
            of uint8, a Pillow image, or the path of a file; or a list of these, the frames of a clip.
        name: of the golden image, such as ``"sharpen"`` or ``"decoder/night"``; frames get a number behind it.
        golden: folder of the golden results; ``tests/golden`` below pytest's root by default, or the ini option
            ``fmiqa_golden``.
        data_range: range of floating point tensors.
        harmless: when recording: changes that pass, of ``noise``, ``jpeg`` and ``shift``.
        margin: when recording: a difference may be so many times what harmless changes do.

    Raises:
        AssertionError: if it does not look like it, saying what differs and by how much.
        ValueError: for what is no image, a name that cannot be a file's, and where nothing was recorded.

    >>> from tempfile import mkdtemp
    >>> from torchmetrics_fmiqa.gate import assertion
    >>> folder = mkdtemp()
    >>> image = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))
    >>> assertion.record_image(image, "noise", folder)
    >>> assert_looks_like(image, "noise", folder)
    >>> assert_looks_like(image.flip(0), "noise", folder)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    AssertionError: noise does not look as recorded: ...
    """
    folder = SETTINGS.folder if golden is None else Path(golden)
    frames = list(got) if isinstance(got, (list, tuple)) else [got]
    if not frames:
        raise ValueError(f"`got` has no frames, and {name!r} should look like something")
    names = [name] if not isinstance(got, (list, tuple)) else [f"{name}_{place:04d}" for place in range(len(frames))]
    images = [as_image(frame, data_range) for frame in frames]
    # What was recorded in this run is checked: two images of one name must look alike.
    if SETTINGS.record and (folder.resolve(), name) not in SETTINGS.recorded:
        for image, title in zip(images, names, strict=True):
            record_image(image, title, folder, harmless, margin)
        if isinstance(got, (list, tuple)):
            _forget_frames(folder, name, names)
        SETTINGS.recorded.add((folder.resolve(), name))
        return
    if not is_golden(folder):
        raise ValueError(f"nothing was recorded in {str(folder)!r}: run pytest --fmiqa-record once, and look at it")
    known = read_golden(folder)
    if isinstance(got, (list, tuple)) and len(frames) < (before := len(_frames_of(known, name))):
        raise AssertionError(f"{name} does not look as recorded: it has {len(frames)} frames, and had {before}")
    for title in names:
        if title not in known.images:
            raise ValueError(f"{title!r} was not recorded in {str(folder)!r}: run pytest --fmiqa-record once")
    try:
        checks = [check_image(known, title, image) for image, title in zip(images, names, strict=True)]
    except ValueError as error:  # another size
        raise AssertionError(f"{name} does not look as recorded: {error}") from None
    failed = [check for check in checks if check.exceeded]
    if failed:
        raise AssertionError("\n".join(_failure_text(check, known) for check in failed))


def _frames_of(known: Golden, name: str) -> list[str]:
    """Names of the golden images of a clip."""
    return [image for image in known.images if re.fullmatch(rf"{re.escape(name)}_\d{{4,}}", image)]


def _forget_frames(folder: Path, name: str, kept: Sequence[str]) -> None:
    """Remove frames that a clip had when it was recorded before, and has no more."""
    with one_writer(folder, wait=_WAIT):
        known = read_golden(folder)
        gone = [frame for frame in _frames_of(known, name) if frame not in kept]
        images = {title: image for title, image in known.images.items() if title not in gone}
        write_golden(replace(known, images=images))
        for frame in gone:
            known.path(known.images[frame]).unlink(missing_ok=True)


def _failure_text(failure: ImageCheck, known: Golden) -> str:
    text = f"{failure.name} does not look as recorded: {failure.reason}"
    content = picture(failure)
    if SETTINGS.report is None or content is None:
        return text
    path = SETTINGS.report / "images" / f"{failure.name}.png"
    make_folder(path.parent)
    write_bytes(path, content)
    return f"{text} (see {path})"


def record_image(
    image: Any,
    name: str,
    golden: str | Path,
    harmless: Sequence[str] = ("noise", "jpeg", "shift"),
    margin: float = 1.5,
) -> None:
    """Record an image as golden, in place of one of that name.

    Raises:
        ValueError: for what is no image, a name that cannot be a file's, and other settings than the folder has.
    """
    image, folder = as_image(image, 1.0), Path(golden)
    if name in ("", ".") or name.startswith("/") or ".." in Path(name).parts or Path(name).as_posix() != name:
        raise ValueError(f"`name` must be that of a file, such as 'sharpen' or 'decoder/night', got {name!r}")
    with one_writer(folder, wait=_WAIT):
        _record(image, name, folder, harmless, margin)


def _record(image: Tensor, name: str, folder: Path, harmless: Sequence[str], margin: float) -> None:
    known = read_golden(folder, other_recipe=True) if is_golden(folder) else None
    fresh = Golden(folder, as_recipe("default"), check_harmless(harmless), margin)
    if known is None:
        known = fresh
    elif (known.recipe.digest, known.harmless, known.margin) != (fresh.recipe.digest, fresh.harmless, fresh.margin):
        raise ValueError(
            f"{str(folder)!r} was recorded with other settings ({known.recipe}, harmless {known.harmless}, margin "
            f"{known.margin:g}): take those, or remove it and record all anew"
        )
    pixels = (image * 255).round().to(torch.uint8)
    floor = floor_of(known, pixels / 255)
    with tempfile.TemporaryDirectory() as draft:
        from PIL import Image as Pillow

        path = Path(draft) / "image.png"
        Pillow.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
        known = known.with_image(*store(known, f"{name}.png", path, floor))
    write_golden(known)


def as_image(got: Any, data_range: DataRange) -> Tensor:
    """An image as ``(3, H, W)`` in [0, 1], of 8 bits as golden images are saved.

    Raises:
        ValueError: for what is none.
    """
    if isinstance(got, (str, Path)):
        got, data_range = load(Path(got)), 1.0
    if hasattr(got, "convert") and hasattr(got, "getbands"):  # Pillow's, without importing it
        got = _pillow_pixels(got)
    if isinstance(got, np.ndarray):
        if got.ndim != 3 or got.shape[2] != 3 or got.dtype != np.uint8:
            raise ValueError(f"an array must be (H, W, 3) of uint8, got {got.shape} of {got.dtype}")
        got = torch.from_numpy(got.transpose(2, 0, 1).copy())
    if not isinstance(got, Tensor):
        raise ValueError(f"an image is a tensor, an array, a Pillow image or a file, got a {type(got).__name__}")
    if got.ndim == 4 and got.shape[0] == 1:
        got = got[0]
    if got.ndim != 3 or got.shape[0] != 3:
        raise ValueError(f"a tensor must be (3, H, W) or (1, 3, H, W), got {tuple(got.shape)}: give frames as a list")
    image = to_unit(got.detach().cpu(), data_range, torch.float32, "got")
    if not bool(((image >= 0) & (image <= 1)).all()):
        low, high = float(image.min()), float(image.max())
        raise ValueError(f"`got` must lie in `data_range`, got {low:g} ... {high:g} of it: clamp it, or say the range")
    return (image * 255).round() / 255


def _pillow_pixels(image: Any) -> Any:
    """Pixels ``(H, W, 3)`` of a Pillow image of 8 bits.

    Raises:
        ValueError: for more bits, which Pillow would clip, and where something shines through.
    """
    if image.mode not in ("1", "L", "P", "RGB", "LA", "PA", "RGBA", "CMYK", "YCbCr"):
        raise ValueError(
            f"a Pillow image must be of 8 bits, got mode {image.mode!r}: give it as a tensor with its range"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            raise ValueError("a Pillow image must be opaque: composite it on the background of your choice")
    return np.asarray(image.convert("RGB"))
