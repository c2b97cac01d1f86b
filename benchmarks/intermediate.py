"""Intermediate features or the final embedding: the claim of ZS-IQA, with paired significance.

    python benchmarks/intermediate.py published             # the tables of $FMIQA_ASSETS/published
    python benchmarks/intermediate.py local FOLDER     # what benchmarks/choose_defaults.py scored

Differences of SRCC are paired, their intervals and p-values by bootstrap over references, p Holm-corrected for the
comparisons of one data set.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from common import ASSETS

from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable, read_scored
from torchmetrics_fmiqa.statistics import compare, holm

PUBLISHED = {
    "dinov1_cos": "embed_dinov1_cos",
    "dinov2_cos": "embed_dinov2_cos",
    "clip_vitb32_cos": "embed_clip_vitb32_cos",
    "clip_rn50_cos": "embed_clip_rn50_cos",
    "openclip_vitb32_laion_tecoa4_cos": "embed_openclip_vitb32_laion_tecoa4_cos",
    "openclip_convnext_base_cos": "embed_openclip_convnext_base_cos",
}
LOCAL = {
    "vit-tiny": {
        "last-layer tokens": "final-patch/{d}",
        "CLS embedding": "final-prefix/{d}",
        "mean token": "final-pooled",
    },
    "squeezenet": {"pooled embedding": "final-pooled"},
}
FIELD = {"vit-tiny": "tile", "squeezenet": "native"}


def rows(table: ScoredTable, pairs: Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]], better: bool) -> list[str]:
    sign = -1 if better else 1
    found = {
        names: compare(
            {"one": sign * one, "other": sign * other}, table.opinion, table.reference, resamples=4000, seed=0
        )
        for names, (one, other) in pairs.items()
    }
    corrected = holm([one.p[0, 1] for one in found.values()])
    return [
        f"| {first} | {one.srcc[0]:.4f} | {second} | {one.srcc[1]:.4f} | {one.difference[0, 1]:+.4f} "
        f"[{one.low[0, 1]:+.3f}, {one.high[0, 1]:+.3f}] | {p:.2g} |"
        for ((first, second), one), p in zip(found.items(), corrected, strict=True)
    ]


def show(title: str, lines: list[str]) -> None:
    print(f"\n### {title}\n\n| intermediate | SRCC | final | SRCC | difference [95 %] | p (Holm) |")
    print("|---|---|---|---|---|---|\n" + "\n".join(lines))


def published() -> None:
    for name in ("tid2013", "live"):
        table = read_scored(ASSETS / "published" / f"zsiqa_{name}.csv.gz", "mos")
        pairs = {
            (one, other): (table.scores[one], table.scores[other])
            for one, other in PUBLISHED.items()
            if one in table.scores and other in table.scores
        }
        show(name, rows(table, pairs, better=False))


def local(folder: Path) -> None:
    for dataset, better in (("live58", False), ("sr4kiqa_dev", True)):
        for network, finals in LOCAL.items():
            table = read_scored(folder / f"{dataset}-{network}" / "scores.parquet", "opinion")
            pairs = {}
            for norm in ("model", "none"):
                base = f"{network}/{norm}/{FIELD[network]}"
                for distance in ("cosine", "l2"):
                    one = table.scores[f"{base}/mean/{distance}"]
                    input_ = "own" if norm == "model" else "raw"
                    for label, column in finals.items():
                        if "{d}" in column or distance == "cosine":
                            other = table.scores[f"{base}/{column.format(d=distance)}"]
                            pairs[f"all taps, {distance}, {input_} input", f"{label}, {distance}"] = (one, other)
            show(f"{dataset}, {network}", rows(table, pairs, better))


if __name__ == "__main__":
    if sys.argv[1] == "published":
        published()
    else:
        local(Path(sys.argv[2]))
