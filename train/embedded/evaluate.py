"""Compare networks: on graded distortions, to choose; and with human opinion, for the final table only.

    python -m train.embedded.evaluate graded random:0 nlpd runs/all/weights.safetensors
    python -m train.embedded.evaluate human random:0 random:1 random:2 nlpd runs/all/weights.safetensors

What to compare: weights, ``random:SEED`` for an untrained network, ``nlpd`` and ``nlpd-colour`` for the fixed pyramid,
and baselines of ``fmiqa benchmark`` such as ``ms_ssim``. Photographs and data sets are those of ``FMIQA_ASSETS``.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from torchmetrics_fmiqa import Recipe
from torchmetrics_fmiqa.benchmark.baselines import make_baseline
from torchmetrics_fmiqa.benchmark.changes import CHANGES
from torchmetrics_fmiqa.benchmark.measures import Measure
from torchmetrics_fmiqa.benchmark.panel import Panel
from torchmetrics_fmiqa.benchmark.scores import Reading
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.data.rated import read_rated_csv
from torchmetrics_fmiqa.features.cache import ReferenceCache
from torchmetrics_fmiqa.recipes import as_recipe
from torchmetrics_fmiqa.statistics import agreement, srcc
from train.embedded.distortions import HELD_OUT, TRAINED
from train.embedded.images import make_image
from train.embedded.pyramid import pyramid_measures

# Made images that no training sees: those start at another seed.
_FIRST_SEED = 0
_UNSEEN_CHANGES = ("shift-1px", "shift-1%", "rotate-0.25")
Floats = npt.NDArray[np.float64]


def make_panel(asked: Sequence[str]) -> Panel:
    """What is compared, by its names.

    Raises:
        ValueError: for a name that is none of the module's.
    """
    features, baselines = {}, []
    pyramids = {one.name: one for one in pyramid_measures()}
    for name in asked:
        if name in pyramids:
            baselines.append(pyramids[name])
        elif name.startswith("random:"):
            features[name] = as_recipe("embedded", weights=name)
        elif name.endswith(".safetensors"):
            path = Path(name)
            title = path.parent.name if path.stem == "weights" else path.stem
            features[title] = as_recipe("embedded", weights=str(path))
        elif name == "vit-tiny":
            features[name] = Recipe("vit_tiny_patch16_224", str(_assets() / "weights/vit_tiny_patch16_224.safetensors"))
        else:
            made = make_baseline(name)
            if not isinstance(made, Measure):
                raise ValueError(f"{name} cannot run here: {made.reason}")
            baselines.append(made)
    return Panel(features, baselines)


def _assets() -> Path:
    folder = Path(os.environ.get("FMIQA_ASSETS", Path(__file__).parents[2] / ".." / "shared" / "assets")).resolve()
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}: set FMIQA_ASSETS")
    return folder


@dataclass(frozen=True)
class Row:
    """A distorted copy.

    Args:
        image: number of its reference.
        photograph: whether that is a photograph, or made.
        kind: the distortion, or the change that nobody sees.
        severity: 1 to 5; 0 for a change that nobody sees.
        comparable: see :mod:`train.embedded.distortions`.
        held_out: whether training never shows this distortion.
    """

    image: int
    photograph: bool
    kind: str
    severity: float
    comparable: bool
    held_out: bool
    lenient: bool = False


def references(count: int, side: int) -> Iterator[tuple[Tensor, bool]]:
    """Middle parts ``(3, side, side)`` of photographs of two sets, and made images: ``count`` of each of the three."""
    for name in ("kodak", "bsd100"):
        files = sorted((_assets() / "images" / name).glob("*.png"))
        for path in files[:: len(files) // count][:count]:
            image = read_image(path)
            top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
            yield image[:, top : top + side, left : left + side].float() / 255, True
    for seed in range(_FIRST_SEED, _FIRST_SEED + count):
        yield make_image(seed, max(side, 256))[:, :side, :side].float() / 255, False


def graded_copies(image: Tensor, number: int, photograph: bool) -> tuple[list[Row], Tensor]:
    """All distortions of an image ``(3, H, W)`` at the five severities, and the changes that nobody sees."""
    rows, copies = [], []
    for held_out, kinds in ((False, TRAINED), (True, HELD_OUT)):
        for kind in kinds.values():
            for severity in (1.0, 2.0, 3.0, 4.0, 5.0):
                copies.append(kind(image[None], severity, torch.Generator().manual_seed(number)))
                rows.append(Row(number, photograph, kind.name, severity, kind.comparable, held_out, kind.lenient))
    for name in _UNSEEN_CHANGES:
        copies.append(CHANGES[name](image[None]))
        rows.append(Row(number, photograph, name, 0.0, True, False))
    # what a file would hold
    return rows, (torch.cat(copies) * 255).round() / 255


def score_graded(panel: Panel, count: int, side: int) -> tuple[list[Row], dict[str, Floats]]:
    """Score the copies of all references."""
    from rich.progress import track

    rows: list[Row] = []
    scores: dict[str, list[Tensor]] = {}
    for number, (image, photograph) in track(list(enumerate(references(count, side))), "graded"):
        mine, copies = graded_copies(image, number, photograph)
        rows += mine
        cache = ReferenceCache("1GiB")
        for part in copies.split(23):
            found = panel.score(part, image.expand_as(part).contiguous(), cache, [number] * len(part))
            for name, values in found.items():
                scores.setdefault(name, []).append(-values if name in panel.qualities else values)
    return rows, {name: torch.cat(values).double().numpy() for name, values in scores.items()}


def order_shares(rows: Sequence[Row], scores: Floats) -> dict[str, float]:
    """How well scores follow the severities, and how much changes that nobody sees count.

    Returns:
        ``choice``: SRCC with severity over the comparable copies of all images, those of distortions that training
        never shows too, and changes that nobody sees as 0. It is what candidates are chosen by. ``held out``: the same
        of the distortions that training never shows. Shares of pairs in their known order: ``within`` a distortion
        (next severities), ``across`` comparable distortions of an image, ``pooled`` over images and ``lenient`` ones
        of an image below comparable ones (these three 2 apart). For each unseen change its distance as a share of that
        of comparable distortions of severity 2 (medians).
    """
    image = np.array([row.image for row in rows])
    kind = np.array([row.kind for row in rows])
    severity = np.array([row.severity for row in rows])
    comparable = np.array([row.comparable for row in rows])
    held_out = np.array([row.held_out for row in rows])
    lenient = np.array([row.lenient for row in rows])
    real = severity >= 1
    step = severity[None] - severity[:, None]
    same = (image[:, None] == image) & (kind[:, None] == kind)
    fair = (comparable & real)[:, None] & (comparable & real) & (kind[:, None] != kind) & (step >= 2)
    # ties are half in order, so that a metric that says nothing gets one half
    right = (scores[:, None] < scores) + 0.5 * (scores[:, None] == scores)
    masks = {
        "within": same & (step == 1) & real[:, None],
        "across": fair & (image[:, None] == image),
        "pooled": fair,
        "lenient": lenient[:, None] & (comparable & real) & (image[:, None] == image) & (step >= 2),
    }
    found = {"choice": srcc(scores[comparable], severity[comparable]).value}
    found["held out"] = srcc(scores[comparable & held_out], severity[comparable & held_out]).value
    found |= {name: float(right[mask].mean()) for name, mask in masks.items() if mask.any()}
    mild = np.median(scores[comparable & (severity == 2)])
    for name in _UNSEEN_CHANGES:
        found[name] = float(np.median(scores[kind == name]) / mild)
    return found


def graded_table(panel: Panel, count: int, side: int, taps: bool) -> list[dict[str, str | float]]:
    """Rows of results: over photographs, over made images, and over both."""
    rows, scores = score_graded(panel, count, side)
    table: list[dict[str, str | float]] = []
    for name in panel.columns if taps else panel.names:
        for images, chosen in (
            ("photographs", [row.photograph for row in rows]),
            ("made", [not row.photograph for row in rows]),
        ):
            places = np.flatnonzero(chosen)
            table.append(
                {"measure": name, "images": images}
                | order_shares([rows[place] for place in places], scores[name][places])
            )
    return table


def human_table(panel: Panel, names: Sequence[str], taps: bool) -> list[dict[str, str | float]]:
    """Agreement with people on data sets of ``FMIQA_ASSETS/iqa``, at a long side of 960."""
    from rich.progress import track

    table: list[dict[str, str | float]] = []
    for dataset in names:
        rated = read_rated_csv(_assets() / "iqa" / dataset / "pairs.csv", opinion="mos" if "4k" in dataset else None)
        reading = Reading("crop", 960)
        scores: dict[str, list[float]] = {}
        cache = ReferenceCache("1GiB")
        for pair in track(rated.pairs, dataset):
            preds, target = (image[None] for image in reading(pair))
            # by content: cropped to copies of several sizes, a reference shrinks to one shape in several ways
            ids = [hashlib.sha256(target.numpy().tobytes()).hexdigest()]
            for name, value in panel.score(preds, target, cache, ids, taps).items():
                scores.setdefault(name, []).append(float(value) * (-1 if name in panel.qualities else 1))
        found = agreement(
            scores,
            [pair.opinion for pair in rated.pairs],
            [str(pair.ref) for pair in rated.pairs],
            scores_higher_is_better=False,
            opinion_higher_is_better=bool(rated.higher_is_better),
        )
        for one in found:
            low, high = one.intervals["srcc"]
            table.append(
                {"measure": one.metric, "images": dataset}
                | {"srcc": one.srcc, "low": low, "high": high, "within reference": one.within_reference}
            )
    return table


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("graded", "human"))
    parser.add_argument("measures", nargs="+")
    parser.add_argument("--count", type=int, default=5, help="images of each of the three sets (graded)")
    parser.add_argument("--side", type=int, default=192, help="of those images, pixels (graded)")
    parser.add_argument("--sets", nargs="+", default=["live58", "sr4kiqa_dev"], help="data sets (human)")
    parser.add_argument("--taps", action="store_true", help="each tap alone, too")
    parser.add_argument("--out", type=Path, help="CSV table to write")
    given = parser.parse_args()
    try:
        panel = make_panel(given.measures)
        if given.what == "graded":
            table = graded_table(panel, given.count, given.side, given.taps)
        else:
            table = human_table(panel, given.sets, given.taps)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    for row in table:
        print(*(f"{value:.3f}" if isinstance(value, float) else value for value in row.values()), sep=" | ")
    print("columns: " + " | ".join(table[0]))
    if given.out:
        with given.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)


if __name__ == "__main__":
    main()
