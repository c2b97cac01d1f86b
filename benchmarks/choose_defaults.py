"""Which choices of a recipe agree with people, on two data sets at once, and how much of that is luck.

    python benchmarks/defaults.py FOLDER            # scores, see there
    python benchmarks/choose_defaults.py FOLDER     # prints Markdown

A choice is judged by the mean of its SRCC on live58 and sr4kiqa_dev. The best of many is lucky: so references are drawn
with replacement again and again, the best choice is picked on those drawn, and judged on those that were not.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from torchmetrics_fmiqa.benchmark.scored import ScoredTable, read_scored
from torchmetrics_fmiqa.statistics import compare, interval, resample, srcc

SETS = {"live58": -1, "sr4kiqa_dev": 1}  # and whether a higher opinion is worse or better
RESAMPLES = 1000


def subsets(taps: list[str]) -> dict[str, list[str]]:
    """Taps joined with equal weights: all, parts of the depth, each alone."""
    half, third = len(taps) // 2, len(taps) // 3
    named = {
        "all": taps,
        "early half": taps[:half],
        "late half": taps[half:],
        "without first": taps[1:],
        "without last": taps[:-1],
        "every third": taps[2::3],
        "early third": taps[:third],
        "middle third": taps[third : 2 * third],
        "late third": taps[2 * third :],
    }
    return {**named, **{tap: [tap] for tap in taps}}


def choices(table: ScoredTable) -> dict[str, np.ndarray]:
    """Every choice's distances."""
    found = {}
    for name, scores in table.scores.items():
        if name not in table.taps:
            found[f"{name} | last"] = scores
            continue
        columns = table.taps[name]
        for label, taps in subsets(list(columns)).items():
            found[f"{name} | {label}"] = np.mean([columns[tap] for tap in taps], axis=0)
    return found


class Judged:
    """Every choice of one network on both data sets."""

    def __init__(self, folder: Path, network: str) -> None:
        self.tables = {name: read_scored(folder / f"{name}-{network}" / "scores.parquet", "opinion") for name in SETS}
        columns = {name: choices(table) for name, table in self.tables.items()}
        self.names = [name for name in columns["live58"] if name in columns["sr4kiqa_dev"]]
        self.columns = {s: np.stack([columns[s][name] for name in self.names], 1) for s in SETS}
        self.srcc = {
            s: np.array([-sign * srcc(column, self.tables[s].opinion).value for column in self.columns[s].T])
            for s, sign in SETS.items()
        }
        self.mean = np.mean(list(self.srcc.values()), axis=0)
        self.drawn = {
            s: -sign * resample(self.columns[s], self.tables[s].opinion, self.tables[s].reference, None, RESAMPLES).srcc
            for s, sign in SETS.items()
        }

    def row(self, index: int) -> str:
        cells = [f"`{self.names[index]}`"]
        for s in SETS:
            low, high = interval(self.drawn[s][:, [index]])
            cells.append(f"{self.srcc[s][index]:.4f} [{low[0]:.3f}, {high[0]:.3f}]")
        cells.append(f"{self.mean[index]:.4f}")
        return "| " + " | ".join(cells) + " |"

    def table(self, indices: Iterable[int]) -> str:
        header = ["choice", *SETS, "mean"]
        lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
        return "\n".join([*lines, *(self.row(index) for index in indices)])

    def against(self, one: int, other: int) -> str:
        """Difference of two choices on each set, with its interval and p."""
        said = []
        for s, sign in SETS.items():
            pair = {"one": -sign * self.columns[s][:, one], "other": -sign * self.columns[s][:, other]}
            found = compare(pair, self.tables[s].opinion, self.tables[s].reference, resamples=RESAMPLES)
            span = f"[{found.low[0, 1]:+.3f}, {found.high[0, 1]:+.3f}]"
            said.append(f"{s} {found.difference[0, 1]:+.4f} {span} p={found.p[0, 1]:.2g}")
        return "; ".join(said)

    def held_out(self, candidates: list[int], default: int, draws: int = 300, seed: int = 0) -> dict[str, object]:
        """Pick the best on drawn references, judge it on the others, beside a fixed default."""
        rng = np.random.default_rng(seed)
        picked, fixed, best, wins = [], [], [], dict.fromkeys(candidates, 0)
        for _ in range(draws):
            inside, outside = np.zeros(len(candidates)), np.zeros(len(candidates))
            for s, sign in SETS.items():
                table = self.tables[s]
                names = np.unique(table.reference)
                chosen = np.isin(table.reference, rng.choice(names, len(names)))
                if chosen.all():
                    break
                for which, sums in ((chosen, inside), (~chosen, outside)):
                    sums += -sign * _srcc(self.columns[s][which][:, candidates], table.opinion[which]) / len(SETS)
            else:
                winner = int(inside.argmax())
                wins[candidates[winner]] += 1
                picked.append(outside[winner])
                fixed.append(outside[candidates.index(default)])
                best.append(inside[winner])
        often = sorted(wins, key=lambda index: -wins[index])[:5]
        return {
            "on the references picked by": float(np.mean(best)),
            "on the others": float(np.mean(picked)),
            "the default on the others": float(np.mean(fixed)),
            "better than the default in": float(np.mean(np.array(picked) > np.array(fixed))),
            "picked most": [(self.names[index], round(wins[index] / len(picked), 3)) for index in often],
        }


def _srcc(columns: np.ndarray, opinion: np.ndarray) -> np.ndarray:
    ranks, other = rankdata(columns, axis=0), rankdata(opinion)
    ranks, other = ranks - ranks.mean(0), other - other.mean()
    norm = np.sqrt((ranks**2).sum(0) * (other**2).sum())
    return (ranks * other[:, None]).sum(0) / np.where(norm == 0, np.inf, norm)


def report(folder: Path, network: str, default: str) -> None:
    judged = Judged(folder, network)
    place = judged.names.index(default)
    whole = [i for i, name in enumerate(judged.names) if name.endswith("| all")]
    joined = [i for i, name in enumerate(judged.names) if "@" not in name and not name.rpartition("| ")[2].count(".")]
    print(f"\n## {network}: {len(judged.names)} choices\n\nThe default now:\n\n{judged.table([place])}")
    print(f"\nAll taps joined, best first:\n\n{judged.table(sorted(whole, key=lambda i: -judged.mean[i])[:20])}")
    ranked = sorted(range(len(judged.names)), key=lambda i: -judged.mean[i])
    print(f"\nAny taps, best first:\n\n{judged.table(ranked[:20])}")
    # As the default, but for input and distance.
    simple = [i for i in whole if judged.names[i].split("/")[2:4] == default.split("/")[2:4]]
    pointwise = [i for i in simple if re.search(r"/(cosine|l2|angular) ", judged.names[i])]
    raw = judged.names.index(default.replace("/model/", "/none/"))
    print(f"\nThe default on raw input against it: {judged.against(raw, place)}")
    print(f"\nInput and distance alone, best first:\n\n{judged.table(sorted(simple, key=lambda i: -judged.mean[i]))}")
    for label, candidates in (
        ("input and pointwise distance", pointwise),
        ("input and distance", simple),
        ("all taps", whole),
        ("parts of the depth", joined),
        ("any taps", ranked),
    ):
        best = max(candidates, key=lambda i: judged.mean[i])
        print(f"\n- best of {len(candidates)} ({label}): {judged.names[best]} against the default: ", end="")
        print(judged.against(best, place))
        print(f"  held out: {judged.held_out([*candidates, *({place} - set(candidates))], place)}")
    marginals(judged, whole)


def marginals(judged: Judged, whole: list[int]) -> None:
    """The mean of all choices that share a value, field by field."""
    fields = {"normalization": 1, "resolution": 2, "tokens": 3, "distance": 4}
    for field, position in fields.items():
        values: dict[str, list[int]] = {}
        for i in whole:
            values.setdefault(judged.names[i].partition(" |")[0].split("/")[position], []).append(i)
        said = ", ".join(
            f"{value} " + " ".join(f"{judged.srcc[s][indices].mean():.4f}" for s in SETS)
            for value, indices in values.items()
        )
        print(f"- mean over all choices with all taps, by {field} ({' and '.join(SETS)}): {said}")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    report(folder, "vit", "vit/model/tile/patch/cosine | all")
    report(folder, "squeeze", "squeeze/model/native/patch/cosine | all")
