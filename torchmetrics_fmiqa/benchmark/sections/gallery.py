"""Misjudged images as pictures inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.benchmark.study import GalleryItem, Study
from torchmetrics_fmiqa.report.document import Name, Section, Text, amount

#: Bytes that all pictures together may take without loss; beyond, they are compressed.
MOST_BYTES = 3_000_000


@dataclass(frozen=True)
class Exhibit:
    """A misjudged image, ready for the page: data URIs, the map's empty where there is none."""

    item: GalleryItem
    reference: str
    distorted: str
    heat: str
    words: str
    lossless: bool


def gallery_section(study: Study) -> Section:
    """The words above the gallery."""
    lead: list[Text] = [
        (
            "The images that the best metric misses by most. Predicted is what its curve makes of the score, in the "
            "opinion's units.",
        )
    ]
    how: list[Text] = []
    drawn = next((one for one in study.gallery if one.heat is not None), None)
    if drawn is not None:
        how.append(
            (
                "The map shows where ",
                Name(drawn.heat_of) if drawn.heat_of else "the metric",
                " sees a difference: bright is large, and all maps have one scale, from "
                f"0 to {amount(_hottest(study.gallery))}.",
            )
        )
    return Section("gallery", "The worst, to look at", tuple(lead), tuple(how))


def exhibits(study: Study) -> list[Exhibit]:
    """The gallery's pictures as data URIs.

    Raises:
        ValueError: for pictures that are not ``(h, w, 3)`` uint8, and maps that are not finite.
    """
    hottest, better = _hottest(study.gallery), study.analysis.opinion_higher_is_better
    pictures = [
        _checked(picture, name)
        for one in study.gallery
        for picture, name in ((one.reference, one.case.ref), (one.distorted, one.case.dist))
    ]
    coded = [_webp(picture, True) for picture in pictures]
    lossless = sum(map(len, coded)) <= MOST_BYTES
    if not lossless:
        coded = [_webp(picture, False) for picture in pictures]
    return [
        Exhibit(
            one,
            _uri(reference),
            _uri(distorted),
            "" if one.heat is None else _uri(_webp(_coloured(one.heat, hottest), True)),
            _verdict(one, better),
            lossless,
        )
        for one, reference, distorted in zip(study.gallery, coded[::2], coded[1::2], strict=True)
    ]


def _verdict(one: GalleryItem, higher_is_better: bool) -> str:
    liked = (one.case.opinion > one.case.predicted) == higher_is_better
    return "People like it better than the metric does" if liked else "People like it less than the metric does"


def _checked(picture: npt.NDArray[np.uint8], name: str) -> npt.NDArray[np.uint8]:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"the picture of {name!r} must be (h, w, 3) uint8, got {picture.shape} {picture.dtype}")
    return picture


def _hottest(gallery: Sequence[GalleryItem]) -> float:
    for one in gallery:
        if one.heat is not None and not np.isfinite(one.heat).all():
            raise ValueError(f"the map of {one.case.dist!r} has values that are not finite")
    return max((float(one.heat.max()) for one in gallery if one.heat is not None), default=0.0)


def _coloured(heat: npt.NDArray[np.float32], hottest: float) -> npt.NDArray[np.uint8]:
    import torch
    from kornia.color import ColorMap, apply_colormap

    shades = torch.from_numpy(np.ascontiguousarray(heat, dtype=np.float32) / max(hottest, 1e-12))[None, None]
    coloured = apply_colormap((shades * 255).round().to(torch.uint8), ColorMap("plasma", 256))[0]
    return np.asarray((coloured * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def _webp(picture: npt.NDArray[np.uint8], lossless: bool) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=lossless, quality=90, method=2)
    return file.getvalue()


def _uri(data: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(data).decode("ascii")
