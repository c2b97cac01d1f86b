"""Misjudged images as pictures inside the page."""

from __future__ import annotations

import numpy as np
import torch

from torchmetrics_fmiqa.benchmark.study import GalleryItem, Study
from torchmetrics_fmiqa.report.document import Exhibit, Name, Picture, Section, Text
from torchmetrics_fmiqa.report.numbers import amount, signed
from torchmetrics_fmiqa.report.panels import coloured, data_uri, webp

#: Bytes that all pictures together may take without loss; beyond, they are compressed.
MOST_BYTES = 3_000_000


def gallery_section(study: Study) -> Section:
    """The images that the best metric misses by most, with a map of where a metric sees a difference.

    Raises:
        ValueError: for maps that are not finite.
    """
    words = (
        "The images that the best metric misses by most. Predicted is what its curve makes of the score, in the "
        "opinion's units."
    )
    how: list[Text] = []
    maps = [(item, item.heat) for item in study.gallery if item.heat is not None]
    hottest = max((float(heat.max()) for _, heat in maps), default=0.0)
    if maps:
        metric = Name(maps[0][0].heat_of) or "the metric"
        scale = f" sees a difference: bright is large, and all maps have one scale, from 0 to {amount(hottest)}."
        how.append(("The map shows where ", metric, scale))
    for item, heat in maps:
        if not np.isfinite(heat).all():
            raise ValueError(f"the map of {item.case.dist!r} has values that are not finite")
    pictures = [picture for item in study.gallery for picture in (item.reference, item.distorted)]
    coded = [webp(picture) for picture in pictures]
    if sum(map(len, coded)) > MOST_BYTES:
        coded = [webp(picture, lossless=False) for picture in pictures]
        how.append(("To keep this page small the pictures are compressed (WebP, quality 90).",))
    better = study.analysis.opinion_higher_is_better
    exhibits = [
        _exhibit(item, reference, distorted, hottest, better)
        for item, reference, distorted in zip(study.gallery, coded[::2], coded[1::2], strict=True)
    ]
    return Section("gallery", "The worst, to look at", [(words,)], how, exhibits=exhibits)


def _exhibit(item: GalleryItem, reference: bytes, distorted: bytes, hottest: float, better: bool) -> Exhibit:
    case = item.case
    pictures = [
        Picture(data_uri(reference, "image/webp"), f"The reference {case.ref}", "reference"),
        Picture(data_uri(distorted, "image/webp"), f"The image under test {case.dist}", "under test"),
    ]
    if item.heat is not None:
        colours = coloured(torch.from_numpy(np.ascontiguousarray(item.heat)), hottest)
        heat = webp(colours.permute(1, 2, 0).numpy())
        pictures.append(Picture(data_uri(heat, "image/webp"), "Where the metric sees a difference", "map"))
    kind = f", type {case.type}" if case.type else ""
    people = "better" if (case.opinion > case.predicted) == better else "less"
    words = f"opinion {amount(case.opinion)}, predicted {amount(case.predicted)} (z\u00a0{signed(case.z, 1)})."
    return Exhibit(pictures, (Name(case.dist), f"{kind}. People like it {people} than the metric does: {words}"))
