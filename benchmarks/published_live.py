"""DISTS and others on the very images of live_dev: of the scores that ZS-IQA published for LIVE Release 2.

FMIQA_ASSETS=FOLDER python benchmarks/published_live.py
"""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

from common import ASSETS
from scipy.stats import spearmanr

METRICS = ("dists", "lpips_vgg", "lpips", "fsim", "msssim", "psnr")


def main() -> None:
    with gzip.open(ASSETS / "published" / "zsiqa_live.csv.gz", "rt") as file:
        # Names repeat across types of distortion: an image is known by its name, its reference and its opinion.
        published = {
            (Path(row["dis"]).stem, Path(row["ref"]).stem, f"{float(row['mos']):.3f}"): row
            for row in csv.DictReader(file)
        }
    with (ASSETS / "iqa" / "live_dev" / "pairs.csv").open() as file:
        pairs = list(csv.DictReader(file))
    rows = [published[Path(one["dist"]).stem, Path(one["ref"]).stem, f"{float(one['dmos']):.3f}"] for one in pairs]
    opinions = [float(one["dmos"]) for one in pairs]
    print(f"live_dev, {len(rows)} images, SRCC of published scores")
    for name in METRICS:
        print(f"{name:10} {abs(spearmanr([float(row[name]) for row in rows], opinions).statistic):.3f}")


if __name__ == "__main__":
    main()
