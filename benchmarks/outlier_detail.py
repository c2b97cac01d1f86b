"""Do the outliers of TID2013 have references with more detail? 24 of its 25 references are crops of Kodak's images.

`FMIQA_ASSETS=... python benchmarks/outlier_detail.py` prints the stratified effects and p-values. Where TID2013
crops is mostly unknown, so each property is a mean over nine crops of 384 x 512.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from common import ASSETS

from torchmetrics_fmiqa.benchmark.analysis.image_properties import image_features
from torchmetrics_fmiqa.benchmark.analysis.outliers import outlier_finding
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable, read_scored
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.statistics import agreement

METRICS = ("dinov1_l2", "clip_vitb32_l2", "fsim", "dists", "lpips", "psnr")


def properties(path: Path) -> dict[tuple[str, str], float]:
    image = read_image(path).float() / 255
    height, width = (384, 512) if image.shape[2] > image.shape[1] else (512, 384)
    places = [
        (round(i * (image.shape[1] - height) / 2), round(j * (image.shape[2] - width) / 2))
        for i in range(3)
        for j in range(3)
    ]
    crops = [image[:, y : y + height, x : x + width] for y, x in places]
    found = [image_features(crop, torch.zeros_like(crop)) for crop in crops]
    return {key: float(np.mean([one[key] for one in found])) for key in found[0] if key[1] == "reference"}


def without_synthetic(table: ScoredTable) -> ScoredTable:
    """The table without the one reference that is no photograph."""
    kept = np.array([not name.lower().startswith("i25") for name in table.reference])
    parts = {
        name: value[kept]
        for name in ("opinion", "reference", "image", "type")
        if isinstance(value := getattr(table, name), np.ndarray)
    }
    scores = {name: table.scores[name][kept] for name in METRICS}
    return dataclasses.replace(table, scores=scores, changed={}, taps={}, **parts)


def main() -> None:
    table = read_scored(ASSETS / "published" / "zsiqa_tid2013.csv.gz", "mos", type_from=r"_(\d\d)_")
    table = without_synthetic(table)
    kodak = {int("".join(filter(str.isdigit, path.stem))): path for path in (ASSETS / "images" / "kodak").iterdir()}
    known = {name: properties(kodak[int(name[1:3])]) for name in sorted(set(table.reference.tolist()))}
    keys = list(next(iter(known.values())))
    features = {key: np.array([known[name][key] for name in table.reference]) for key in keys}
    qualities = [name == "psnr" for name in METRICS]
    rated = agreement(
        table.scores, -table.opinion, table.reference, table.type, scores_higher_is_better=qualities, resamples=0
    )
    for one in rated:
        # Opinions were turned round, so that higher is better as the fits expect.
        turned = dataclasses.replace(table, opinion=-table.opinion)
        finding = outlier_finding(one, turned, features)
        said = ", ".join(f"{t.feature} {t.effect:.2f} (p {t.p_clustered:.2g})" for t in finding.stratified)
        print(f"{one.metric}: {finding.count} outliers; {said}")


if __name__ == "__main__":
    main()
