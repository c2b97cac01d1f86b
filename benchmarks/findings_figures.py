"""The pictures of docs/findings.md.

    python benchmarks/findings_figures.py FOLDER docs/findings

FOLDER is what benchmarks/choose_defaults.py scored.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from common import ASSETS

from torchmetrics_fmiqa.benchmark.analysis.desirability import Desirability
from torchmetrics_fmiqa.benchmark.analysis.imagenet_accuracy import AccuracyFinding
from torchmetrics_fmiqa.benchmark.analysis.layers import layer_curves
from torchmetrics_fmiqa.benchmark.analysis.outliers import OutlierFinding
from torchmetrics_fmiqa.benchmark.build_study import StudySettings, study_table
from torchmetrics_fmiqa.benchmark.plots import plot_layers, style
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable, read_scored
from torchmetrics_fmiqa.plotting import new_figure
from torchmetrics_fmiqa.report.numbers import number

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


def desirability(found: Desirability, path: Path) -> None:
    """The factors of each metric, a dash where one is missing, and the aggregate in the last column."""
    values = np.column_stack([found.values, found.aggregate])
    axis = style.axes(None, 0.62 * values.shape[1] + 3.6, 0.22 * len(values) + 1.5)
    axis.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour = style.GREY if np.isnan(value) else "black" if value > 0.55 else "white"
        axis.text(column, row, number(value, 2), ha="center", va="center", fontsize=6.5, color=colour)
    names = [f"{rank}. {name}" for rank, name in zip(found.rank, found.metrics, strict=True)]
    axis.set_yticks(range(len(names)), names, fontsize=style.SMALL)
    labels = [*(factor.label for factor in found.factors), "aggregate"]
    axis.set_xticks(range(len(labels)), labels, fontsize=style.SMALL, rotation=35, ha="right")
    style.heading(axis, "What one wants from a metric", "from 0 to 1, higher is better; — is missing")
    axis.figure.savefig(path, dpi=90)


def accuracy(finding: AccuracyFinding, path: Path) -> None:
    """A figure of each backbone's best metric against the backbone's ImageNet top-1 accuracy."""
    axis = style.axes(None, 7.2, 5.2)
    for place, kind in enumerate(sorted(set(finding.kinds))):
        chosen = [index for index, other in enumerate(finding.kinds) if other == kind]
        xs, ys = ([values[index] for index in chosen] for values in (finding.top1, finding.values))
        axis.plot(xs, ys, style.MARKERS[place], color=style.PALETTE[place], label=kind)
    for name, x, y in zip(finding.backbones, finding.top1, finding.values, strict=True):
        style.annotate(axis, name, (x, y), (7, 0), va="center")
    axis.margins(0.15)
    relation = f"rho = {number(finding.rho, 2)}, {style.p_value(finding.p)}"
    style.heading(axis, f"{finding.what} against ImageNet accuracy: {relation}", "each backbone by its best metric")
    axis.set_xlabel("ImageNet top-1 accuracy in per cent (higher is better)", fontsize=style.SMALL)
    axis.set_ylabel(f"{finding.what} (higher is better)", fontsize=style.NORMAL)
    style.open_frame(axis)
    style.legend_at_right(axis, title="top-1 by", title_fontsize=style.SMALL)
    axis.figure.savefig(path, dpi=100)


def outliers(finding: OutlierFinding, path: Path) -> None:
    """The share of outliers among the images of each type, and that among all images."""
    share = {name: 100 * count / images for name, (count, images) in finding.by_type.items()}
    names = sorted(share, key=share.__getitem__, reverse=True)
    axis = style.axes(None, 7.0, style.rows_height(len(names)))
    axis.barh(range(len(names)), [share[name] for name in names], height=0.65, color=style.ACCENT)
    for row, name in enumerate(names):
        style.write_beside(axis, row, "{} of {}".format(*finding.by_type[name]))
    overall = 100 * finding.count / finding.n
    axis.axvline(overall, color=style.DARK, linestyle="--", linewidth=1, label=f"all images: {overall:.1f} %")
    style.name_rows(axis, names)
    axis.set_xlabel("images that the metric misjudges, in per cent of their type (lower is better)", fontsize=9)
    title = f"{finding.metric}: {finding.count} outliers among {finding.n} images"
    style.heading(axis, title, f"outlier: {finding.rule}")
    style.legend_at_bottom(axis)
    axis.figure.savefig(path, dpi=100)


def published(out: Path) -> None:
    table = read_scored(ASSETS / "published" / "zsiqa_tid2013.csv.gz", "mos", type_from=r"_(\d\d)_")
    study = study_table(table, settings=StudySettings(resamples=200))
    if study.desirability is not None:
        desirability(study.desirability, out / "desirability.png")
    accuracy(study.accuracy[-1], out / "accuracy.png")
    outliers(next(finding for finding in study.outliers if finding.metric == "dinov1_l2"), out / "outliers.png")


if __name__ == "__main__":
    scores, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    layers(scores, out)
    published(out)
