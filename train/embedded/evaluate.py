"""How well weights of the embedded network agree with people, beside other metrics. Not for training, nor for choosing.

    python -m train.embedded.evaluate embedded runs/first/weights.safetensors "embedded:taps=[0]" psnr

Metrics go by the names that `fmiqa benchmark` takes; a file of weights stands for the recipe `embedded` with them. The
data sets are those of ``FMIQA_ASSETS/iqa``, looked at with a long side of at most 960 pixels.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

from torchmetrics_fmiqa.benchmark.metrics.baselines import baseline_names, baselines
from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
from torchmetrics_fmiqa.benchmark.metrics.spec import SpipsSpec, parse_metrics
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading
from torchmetrics_fmiqa.data.rated_csv import read_rated_csv
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache
from torchmetrics_fmiqa.recipes import Recipe, as_recipe
from torchmetrics_fmiqa.statistics import agreement
from train.embedded.photographs import ASSETS

#: Data sets, in the order of the tables.
SETS = ("live58", "sr4kiqa_dev", "srij_dev", "live_dev")
# This one has a second column of opinions, scaled to 0 to 1.
_OPINION = {"sr4kiqa_dev": "mos"}
_LONG_SIDE = 960


def make_panel(asked: Sequence[str]) -> Panel:
    """The metrics of those names, side by side.

    Raises:
        ValueError: for a name that `fmiqa benchmark` does not know, or a metric that cannot run here.
    """
    weights = [name for name in asked if name.endswith(".safetensors") and ":" not in name]
    features: dict[str, Recipe | SpipsSpec] = {name: as_recipe("embedded", weights=name) for name in weights}
    others = [name for name in asked if name not in weights]
    found = parse_metrics(others, baseline_names()) if others else {}
    features |= {name: meaning for name, meaning in found.items() if not isinstance(meaning, str)}
    made, skipped = baselines([meaning for meaning in found.values() if isinstance(meaning, str)])
    panel = Panel(features, made)
    if skipped or panel.skipped:
        first = (*skipped, *panel.skipped)[0]
        raise ValueError(f"{first.name} cannot run here: {first.reason}")
    return panel


def human_table(panel: Panel, names: Sequence[str] = SETS, taps: bool = False) -> list[dict[str, str | float]]:
    """SRCC with people: a row for each metric and data set, with a 95 % interval by bootstrap over references.

    Raises:
        ValueError: if a data set is not there.
    """
    from rich.progress import track

    table: list[dict[str, str | float]] = []
    for name in names:
        rated = read_rated_csv(ASSETS / "iqa" / name / "pairs.csv", opinion=_OPINION.get(name))
        reading = Reading("crop", _LONG_SIDE)
        scores: dict[str, list[float]] = {}
        cache = ReferenceCache("1GiB")
        for pair in track(rated.pairs, name):
            preds, target = (image[None] for image in reading(pair))
            # by content: cropped to copies of several sizes, a reference shrinks to one shape in several ways
            ids = [hashlib.sha256(target.numpy().tobytes()).hexdigest()]
            for metric, value in panel.score(preds, target, cache, ids, taps).items():
                scores.setdefault(metric, []).append(float(value) * (-1 if metric in panel.qualities else 1))
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
                {"metric": one.metric, "set": name}
                | {"srcc": one.srcc, "low": low, "high": high, "within a reference": one.within_reference}
            )
    return table


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("metrics", nargs="+", help="files of weights, and names as `fmiqa benchmark` takes them")
    parser.add_argument("--sets", nargs="+", default=list(SETS), help="folders of FMIQA_ASSETS/iqa")
    parser.add_argument("--taps", action="store_true", help="each tap alone, too")
    parser.add_argument("--out", type=Path, help="CSV table to write")
    given = parser.parse_args()
    try:
        table = human_table(make_panel(given.metrics), given.sets, given.taps)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    print("| " + " | ".join(table[0]) + " |")
    for row in table:
        shown = (f"{value:.3f}" if isinstance(value, float) else value for value in row.values())
        print("| " + " | ".join(shown) + " |")
    print("mean over these sets of the SRCC within a reference:")
    for metric in dict.fromkeys(row["metric"] for row in table):
        within = [float(row["within a reference"]) for row in table if row["metric"] == metric]
        print(f"| {metric} | {sum(within) / len(within):.3f} |")
    if given.out:
        with given.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)


if __name__ == "__main__":
    main()
