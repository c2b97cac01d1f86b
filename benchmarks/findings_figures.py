"""The pictures of docs/findings.md.

    python benchmarks/findings_figures.py FOLDER docs/findings

FOLDER is what benchmarks/choose_defaults.py scored.
"""

from __future__ import annotations

import sys
from pathlib import Path

from common import ASSETS

from torchmetrics_fmiqa.benchmark.analysis.layers import layer_curves
from torchmetrics_fmiqa.benchmark.build_study import StudySettings, study_table
from torchmetrics_fmiqa.benchmark.plots import plot_accuracy, plot_desirability, plot_layers, plot_outliers
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable, read_scored
from torchmetrics_fmiqa.plotting import new_figure

SETS = {"live58": ("LIVE, 58 images", False), "sr4kiqa_dev": ("super-resolution, 133 images", True)}
NETWORKS = {
    "vit-tiny": ("ViT-Tiny", "vit-tiny/{}/tile/mean/{}"),
    "squeezenet": ("SqueezeNet", "squeezenet/{}/native/mean/{}"),
}
CURVES = {"cosine, own": ("model", "cosine"), "cosine, raw": ("none", "cosine"), "l2, raw": ("none", "l2")}


def layers(scores: Path, out: Path) -> None:
    figure = new_figure(15, 10)
    for axis, (network, dataset) in zip(
        figure.subplots(2, 2).flat, ((n, s) for n in NETWORKS for s in SETS), strict=True
    ):
        table = read_scored(scores / f"{dataset}-{network}" / "scores.parquet", "opinion")
        columns = {label: NETWORKS[network][1].format(*choice) for label, choice in CURVES.items()}
        chosen = ScoredTable(
            {label: table.scores[name] for label, name in columns.items()},
            {},
            table.opinion,
            table.reference,
            table.image,
            None,
            {label: table.taps[name] for label, name in columns.items()},
        )
        plot_layers(layer_curves(chosen, SETS[dataset][1]), axis)
        axis.set_title(f"{NETWORKS[network][0]}: {SETS[dataset][0]}", loc="left")
        for text in list(axis.texts):  # the heading of a picture that stands alone
            text.remove()
    figure.savefig(out / "layers.png", dpi=100)


def published(out: Path) -> None:
    table = read_scored(ASSETS / "published" / "zsiqa_tid2013.csv.gz", "mos", type_from=r"_(\d\d)_")
    study = study_table(table, settings=StudySettings(resamples=200))
    plot_desirability(study.desirability).figure.savefig(out / "desirability.png", dpi=90)
    plot_accuracy(study.accuracy[-1]).figure.savefig(out / "accuracy.png", dpi=100)
    finding = next(one for one in study.outliers if one.metric == "dinov1_l2")
    plot_outliers(finding).figure.savefig(out / "outliers.png", dpi=100)


if __name__ == "__main__":
    scores, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    layers(scores, out)
    published(out)
