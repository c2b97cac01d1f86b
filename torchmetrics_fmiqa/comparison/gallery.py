"""The pictures of a comparison's page: references, what the methods made of them, and maps of where they differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from torchmetrics_fmiqa.comparison.heat import Heat
from torchmetrics_fmiqa.comparison.marks import marks
from torchmetrics_fmiqa.comparison.picks import AT_RANDOM, DIFFER, Pick, pick_images
from torchmetrics_fmiqa.comparison.scores import ComparedImage, MethodScores
from torchmetrics_fmiqa.comparison.wording import decimals
from torchmetrics_fmiqa.data.images import Match, match_sizes, read_image
from torchmetrics_fmiqa.report.document import Cell, Version, ViewedImage, Viewer
from torchmetrics_fmiqa.report.numbers import counted, number
from torchmetrics_fmiqa.report.panels import coloured, data_uri, png, webp
from torchmetrics_fmiqa.safe_write import make_folder, write_bytes

#: Bytes that the pictures inside a page may take together.
MOST_BYTES = 20_000_000
#: Longest side of a picture inside a page; of a larger image a part is shown, in its own pixels.
MOST_SIDE = 768
_HEAT_SIDE = 256  # maps are smooth, and are stretched over the picture
_STEP = 32  # in which that part is looked for


@dataclass(frozen=True)
class Gallery:
    """What there is to look at.

    Args:
        viewer: the images; ``None`` where none can be read.
        note: how many of the chosen images are shown, and at which size.
        problems: images that could be scored and cannot be read any more: name and reason.
        files: pictures that were written beside the page.
    """

    viewer: Viewer | None
    note: str
    problems: Sequence[tuple[str, str]] = ()
    files: Sequence[Path] = ()


@dataclass
class _Shown:
    """An image as it is shown.

    Args:
        pick: which image, and why.
        part: top, left, height and width of what is shown of it.
        whole: its height and width.
        uris: addresses of the pictures, the reference first.
        maps: of the methods, ``(h, w)``, smaller than what is shown.
        files: pictures beside the page.
        bytes: of the pictures within the page.
    """

    pick: Pick
    part: tuple[int, int, int, int]
    whole: tuple[int, int]
    uris: list[str]
    maps: list[Tensor]
    files: list[Path]
    bytes: int


def make_gallery(
    scores: MethodScores,
    chosen: tuple[int, int],
    match: Match | None = None,
    heat: Heat | None = None,
    folder: Path | None = None,
    seed: int = 0,
) -> Gallery:
    """Read the images that are worth looking at, and make pictures of them without loss, at 8 bits.

    Args:
        scores: of all images.
        chosen: the two methods that are compared at first, by their places.
        match: how pairs that differ in size are matched.
        heat: map of the first metric; ``None`` where it has none.
        folder: the page's; pictures then are whole PNG files in its ``images``. ``None`` to keep them inside the page:
            as many images as :data:`MOST_BYTES` hold, and of a large one the part in which the methods differ most.
        seed: of the images that are drawn at random.

    Raises:
        WriteError: if the system refuses a file.
    """
    picks = pick_images(scores, seed)
    shown: list[_Shown] = []
    problems: list[tuple[str, str]] = []
    room = MOST_BYTES
    for place, pick in enumerate(picks):
        image = scores.images[pick.place]
        try:
            versions = _read(image, match)
        except ValueError as error:
            problems.append((image.name, str(error)))
            continue
        names = ["reference", *image.preds]
        one = _embedded(pick, versions) if folder is None else _written(pick, versions, names, folder, place)
        if one.bytes > room and shown:
            break
        room -= one.bytes
        if heat is not None:
            one.maps.extend(_maps(versions, heat, one))
        shown.append(one)
    if not shown:
        return Gallery(None, "No image can be shown.", problems)
    metric = scores.metrics[0]
    note = _note(len(picks) - len(problems), shown, metric)
    kinds = list(dict.fromkeys(pick.kind for pick in picks))
    shown.sort(key=lambda one: kinds.index(one.pick.kind))
    words = f"The map shows where {metric} sees a difference: the brighter the larger, on one scale for all methods."
    viewer = Viewer(
        [_viewed(one, scores) for one in shown],
        [f"{name}\u00a0{'↑' if name in scores.qualities else '↓'}" for name in scores.metrics],
        (1 + chosen[0], 1 + chosen[1]),
        words if heat is not None else "",
    )
    return Gallery(viewer, note, problems, [file for one in shown for file in one.files])


def _read(image: ComparedImage, match: Match | None) -> Tensor:
    """The reference and what the methods made of it: ``(1 + M, 3, H, W)`` uint8."""
    target = read_image(image.target, to_rgb=True)
    pairs = [match_sizes(read_image(path, to_rgb=True), target, match) for path in image.preds.values()]
    versions = [target, *(preds for preds, _ in pairs)]
    height, width = (min(one.shape[side] for one in versions) for side in (1, 2))
    return torch.stack([_eight_bits(one[:, :height, :width]) for one in versions])


def _eight_bits(image: Tensor) -> Tensor:
    if image.dtype == torch.uint8:
        return image
    unit = image if image.is_floating_point() else image.float() / 65535
    return (unit.clamp(0, 1) * 255).round().to(torch.uint8)


def _embedded(pick: Pick, versions: Tensor) -> _Shown:
    """Pictures as data inside the page."""
    top, left, height, width = _part(versions)
    files = [webp(_pixels(one)) for one in versions[:, :, top : top + height, left : left + width]]
    uris = [data_uri(file, "image/webp") for file in files]
    whole = versions.shape[2], versions.shape[3]
    return _Shown(pick, (top, left, height, width), whole, uris, [], [], sum(map(len, files)))


def _written(pick: Pick, versions: Tensor, names: Sequence[str], folder: Path, place: int) -> _Shown:
    """Pictures as files beside the page."""
    make_folder(folder / "images")
    uris = []
    for column, (name, version) in enumerate(zip(names, versions, strict=True)):
        uri = f"images/{place + 1:02}-{column}-{re.sub('[^0-9A-Za-z_-]+', '_', name)[:40]}.png"
        write_bytes(folder / uri, png(_pixels(version)))
        uris.append(uri)
    height, width = versions.shape[2:]
    return _Shown(pick, (0, 0, height, width), (height, width), uris, [], [folder / uri for uri in uris], 0)


def _pixels(image: Tensor) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def _part(versions: Tensor) -> tuple[int, int, int, int]:
    """Top, left, height and width of what is shown of an image: where the methods differ most."""
    height, width = (min(side, MOST_SIDE) for side in versions.shape[2:])
    if versions.shape[2:] == (height, width):
        return 0, 0, height, width
    apart = versions[1:].float().var(0, correction=0).mean(0, keepdim=True)[None]
    coarse = F.avg_pool2d(apart, _STEP, ceil_mode=True)
    window = (min(side // _STEP, size) for side, size in zip((height, width), coarse.shape[2:], strict=True))
    sums = F.avg_pool2d(coarse, [max(1, side) for side in window], stride=1)[0, 0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return min(row * _STEP, versions.shape[2] - height), min(column * _STEP, versions.shape[3] - width), height, width


def _maps(versions: Tensor, heat: Heat, one: _Shown) -> list[Tensor]:
    """Maps ``(h, w)`` of what is shown, of the whole images' maps and smaller."""
    top, left, height, width = one.part
    target = versions[:1].float() / 255
    maps = []
    for version in versions[1:]:
        drawn = heat(version[None].float() / 255, target)[..., top : top + height, left : left + width]
        shrink = max(1.0, max(height, width) / _HEAT_SIDE)
        size = [max(1, round(side / shrink)) for side in (height, width)]
        maps.append(F.interpolate(drawn.float(), size, mode="bilinear", antialias=True)[0, 0])
    return maps


def _viewed(one: _Shown, scores: MethodScores) -> ViewedImage:
    image, (_, _, height, width) = scores.images[one.pick.place], one.part
    values = scores.values[:, :, one.pick.place]
    digits = [decimals(scores.values[:, k]) for k in range(len(scores.metrics))]
    marked = [marks(values[:, k], name in scores.qualities) for k, name in enumerate(scores.metrics)]
    top = max((float(np.percentile(heat.numpy(), 99.5)) for heat in one.maps), default=0.0)
    heats = [data_uri(webp(_overlay(heat, top), lossless=False), "image/webp") for heat in one.maps]
    versions = [Version("reference", one.uris[0])]
    for place, method in enumerate(scores.methods):
        cells = [
            Cell(number(float(value), digits[k]), float(value), mark=marked[k][place])
            for k, value in enumerate(values[place])
        ]
        versions.append(Version(method, one.uris[1 + place], cells, heats[place] if heats else ""))
    cut = f". Shown are {_size(one.part[2:])} of {_size(one.whole)} pixels" if one.part[2:] != one.whole else ""
    return ViewedImage(
        image.name, one.pick.kind, (f"{one.pick.kind}: ", *one.pick.why, f"{cut}."), (width, height), versions
    )


def _overlay(heat: Tensor, top: float) -> npt.NDArray[np.uint8]:
    """Colours of a map that let the picture through where the map is low: ``(h, w, 4)``."""
    shades = (heat / max(top, 1e-12)).clamp(0, 1).sqrt()
    return _pixels(torch.cat([coloured(heat, top), (230 * shades).round().to(torch.uint8)[None]]))


def _size(height_width: tuple[int, int]) -> str:
    return f"{height_width[1]:,} × {height_width[0]:,}"


def _note(chosen: int, shown: Sequence[_Shown], metric: str) -> str:
    """How many images are shown, which, and how."""
    less = f" of {chosen} that were chosen (--image-files keeps all)" if len(shown) < chosen else ""
    cut = sum(one.part[2:] != one.whole for one in shown)
    part = f"; of {counted(cut, 'large one')} the part in which the methods differ most" if cut else ""
    shown_kinds = {one.pick.kind for one in shown}
    which = [
        *[f"where the methods differ most by {metric}"] * (DIFFER in shown_kinds),
        *["where a method does worst"] * bool(shown_kinds - {DIFFER, AT_RANDOM}),
        *["some drawn at random"] * (AT_RANDOM in shown_kinds),
    ]
    return (
        f"{counted(len(shown), 'image')}{less}: {'; '.join(which)}. The pixels are the images' own, without loss, at 8 "
        f"bits{part}."
    )
