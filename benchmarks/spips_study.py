"""What training gives SPIPS on real opinions: every figure of docs/spips.md that comes from images.

    python benchmarks/spips_study.py FOLDER            # runs what is not in FOLDER yet (an hour on two cores), prints
    python benchmarks/spips_study.py FOLDER --print    # prints what is there

Each run is one `fmiqa fit` or `fmiqa benchmark`, in a folder of its own; `FOLDER/measured` is measured once for all.
`all`, `gate`, `without ...`, `linear`: live58 and sr4kiqa_dev together, leave-one-reference-out; `alone`: a head for
each set. `synthetic`: graded distortions of kodak and bsd100, no opinions, tested on both sets unseen.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from common import ASSETS, SQUEEZENET, VIT_TINY

BACKBONES = {"vit": ("vit-tiny", VIT_TINY), "squeeze": ("squeezenet", SQUEEZENET)}
SETS = ("live58", "sr4kiqa_dev")
SEEDS = (0, 1, 2)
READING = ("--match", "crop", "--max-side", "960")
VARIANTS: dict[str, tuple[str, ...]] = {
    "all": ("--no-gate",),
    "gate": (),
    "without-semantic": ("--without", "semantic"),  # one stream has no gate
    "without-low-level": ("--without", "low_level"),
    "without-conventional": ("--no-gate", "--without", "conventional"),
    "linear": ("--no-gate", "--linear"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--print", action="store_true", help="run nothing")
    options = parser.parse_args()
    if not options.print:
        for name, command in commands(options.folder):
            if not (options.folder / name / "report.md").is_file():
                subprocess.run([Path(sys.executable).with_name("fmiqa"), *command], check=True)
    for backbone in BACKBONES:
        held_out(options.folder, backbone)
    zero_shot(options.folder)


def commands(folder: Path) -> Iterator[tuple[str, list[str]]]:
    tables = {name: str(ASSETS / "iqa" / name / "pairs.csv") for name in SETS}
    for backbone, (recipe, weights) in BACKBONES.items():
        common = ["fit", "--recipe", recipe, "--set", f"weights={weights}", *READING, "--cache", f"{folder}/measured"]
        for seed in SEEDS:
            fit = [*common, "--leave-one-out", "--seed", str(seed), "--resamples", "200"]
            both = [part for table in tables.values() for part in ("--pairs", table)]
            for variant, extra in VARIANTS.items():
                name = f"{backbone}-{seed}-{variant}"
                yield name, [*fit, *both, *extra, "--out", str(folder / name)]
            for one, table in tables.items():
                name = f"{backbone}-{seed}-{one}-alone"
                yield name, [*fit, "--pairs", table, "--no-gate", "--out", str(folder / name)]
        graded = [part for name in ("kodak", "bsd100") for part in ("--graded", str(ASSETS / "images" / name))]
        tested = [part for table in tables.values() for part in ("--test", table)]
        yield f"syn-{backbone}", [*common, *graded, *tested, "--no-gate", "--out", str(folder / f"syn-{backbone}")]
    for name, table in tables.items():
        metrics = ["psnr", "ssim", "ms_ssim", "lpips-squeeze"]
        for backbone, (recipe, weights) in BACKBONES.items():
            ours = f"{recipe}:weights={weights}"
            fields = f"recipe={ours}"
            metrics += [ours, f"spips:{fields}", f"spips:{fields}:head={folder}/syn-{backbone}/head.safetensors"]
        asked = [part for metric in metrics for part in ("--metrics", metric)]
        study = ["benchmark", "--pairs", table, *asked, *READING, "--changes", "none", "--attacked", "0"]
        yield f"zero-shot-{name}", [*study, "--out", str(folder / f"zero-shot-{name}")]


def held_out(folder: Path, backbone: str) -> None:
    """Print the SRCC by fold (that is, within references) and pooled, of each variant and of the best inputs."""
    print(f"\n{backbone}: SRCC within references | pooled, mean over seeds (least to most)")
    for variant in (*VARIANTS, "alone"):
        cells = []
        for name in SETS:
            ending = f"{name}-alone" if variant == "alone" else variant
            found = [rows(folder / f"{backbone}-{seed}-{ending}", name) for seed in SEEDS]
            cells.append(" | ".join(spread([one["spips"][key] for one in found if one]) for key in KEYS))
        print(f"  {variant:22s} {SETS[0]} {cells[0]}   {SETS[1]} {cells[1]}")
    for name in SETS:
        inputs = rows(folder / f"{backbone}-0-all", name)
        if inputs:
            names = ("spips-fixed", "feature_distance", *best([one for one in inputs if one != "spips"], inputs))
            print(f"  {name}: " + ", ".join(f"{one} {inputs[one][KEYS[0]]} | {inputs[one][KEYS[1]]}" for one in names))


KEYS = ("srcc_fold_mean", "srcc")


def best(names: Sequence[str], table: dict[str, dict[str, str]]) -> list[str]:
    """The single input that agrees best within references, and the one that does so pooled."""
    single = [name for name in names if name not in ("spips-fixed", "feature_distance")]
    return [max(single, key=lambda name: float(table[name][key])) for key in KEYS]


def rows(folder: Path, name: str) -> dict[str, dict[str, str]]:
    path = folder / "agreement.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["metric"]: row for row in csv.DictReader(file) if row.get("set", name) == name}


def spread(values: Sequence[str]) -> str:
    numbers = [float(value) for value in values]
    return f"{statistics.mean(numbers):.4f} ({min(numbers):.4f} to {max(numbers):.4f})" if numbers else "-"


def zero_shot(folder: Path) -> None:
    for name in SETS:
        print(f"\n{name}, unseen: SRCC [95 %], within references")
        for metric, row in rows(folder / f"zero-shot-{name}", name).items():
            low, high = float(row["srcc_low"]), float(row["srcc_high"])
            own = float(row["within_reference"])
            print(f"  {metric:60s} {float(row['srcc']):.4f} [{low:.4f}, {high:.4f}] {own:.4f}")


if __name__ == "__main__":
    main()
