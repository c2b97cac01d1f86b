"""ViT-Tiny on sr4kiqa_dev at full size against a long side of 960.

`python benchmarks/full_size.py SR4KIQA_4K FOLDER`: the folder of `fmiqa benchmark` at full size (docs/findings.md), and
what benchmarks/choose_defaults.py scored.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from torchmetrics_fmiqa.benchmark.scoring.score_table import read_scored
from torchmetrics_fmiqa.statistics import agreement, compare

if __name__ == "__main__":
    full = read_scored(Path(sys.argv[1]) / "scores.parquet", "opinion")
    shrunk = read_scored(Path(sys.argv[2]) / "sr4kiqa_dev-vit-tiny" / "scores.parquet", "opinion")
    by_name = dict(zip(shrunk.image.tolist(), shrunk.scores["vit-tiny/none/tile/mean/cosine"], strict=True))
    scores = {
        "full size": full.scores["vit-tiny"],
        "960": np.array([by_name[name] for name in full.image]),
    }
    for one in agreement(scores, full.opinion, full.reference, scores_higher_is_better=False):
        print(f"{one.metric}: SRCC {one.srcc:.4f}, within a reference {one.within_reference:.4f}")
    turned = {name: -values for name, values in scores.items()}
    found = compare(turned, full.opinion, full.reference)
    span = f"[{found.low[0, 1]:+.3f}, {found.high[0, 1]:+.3f}]"
    print(f"difference {found.difference[0, 1]:+.4f} {span}, p {found.p[0, 1]:.2g}")
