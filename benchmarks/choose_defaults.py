"""Choose the default recipes by four sets of human opinion.

    python benchmarks/choose_defaults.py score FOLDER     # hours of all cores; interrupt it as you like, it goes on
    python benchmarks/choose_defaults.py choose FOLDER    # prints Markdown

The rule, written before the first run:

1. A choice (network, input, resolution, pooling, distance, taps) is judged by the mean over the four sets of the worse
   of two numbers: SRCC over all images, and the mean of the SRCC within each reference.
2. Of the choices whose judgement lies within .003 of the best, the simplest is taken: fewer distances, then an
   arithmetic mean of them before a geometric one (near 0 wherever one of them is), then mean before information
   pooling, then native before tiles (one forward pass of each pixel), then fewer taps, then the better one.
   Not among them are divergences alone and geometric means with them: they give any two even images 0, or nearly.
   (Written after the first look, when black was found equal to white. Without this line the embedded network would
   have got Jensen-Shannon at stages.1, and ViT-Tiny at blocks.1.)
3. It is taken only if picking like that generalises: 200 times, half of each set's references pick by 1 and 2, the
   other half judge. If what was picked does worse there than the default so far, the default stays.

`--efficientnet` takes weights of timm's tf_efficientnet_lite0, see benchmarks/efficientnet_lite0.py.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable, read_scored
from torchmetrics_fmiqa.recipes import Recipe, as_recipe
from torchmetrics_fmiqa.statistics.correlation import srcc_by_group, srcc_columns

ASSETS = Path(os.environ.get("FMIQA_ASSETS", Path(__file__).parents[2] / "shared" / "assets"))
#: Sets, and whether a higher opinion is worse or better.
SETS = {"live58": -1, "sr4kiqa_dev": 1, "srij_dev": 1, "live_dev": -1}
OPINION = {"sr4kiqa_dev": "mos"}
DISTANCES = ("cosine", "symmetric_kl", "jensen_shannon", "l2")
BASELINES = ("psnr", "ssim", "ms_ssim", "lpips-squeeze")
#: SqueezeNet's taps: what each fire module gives.
FIRES = [f"features.{place}" for place in (3, 4, 6, 7, 9, 10, 11, 12)]
#: Where a network ends, and what is compared there.
FINAL = {"vit-tiny": ("norm", ("patch", "prefix", "pooled")), "squeezenet": (-1, ("pooled",))}
SPLITS, NEAR = 200, 0.003
# As in torchmetrics_fmiqa.distances.joint: what a logarithm is taken of is at least so much.
LEAST = 1e-6
Floats = npt.NDArray[np.float64]


def networks(efficientnet: str | None) -> dict[str, dict[str, Recipe]]:
    """Recipes to score, by network and by name ``network/input/resolution/pooling``."""
    plain = {
        "embedded": as_recipe("embedded", taps="all"),
        "embedded-random": as_recipe("embedded", weights="random:0", taps="all"),
        "squeezenet": Recipe("torchvision/squeezenet1_1", str(ASSETS / "weights/squeezenet1_1.safetensors"), FIRES),
        "vit-tiny": Recipe("vit_tiny_patch16_224", str(ASSETS / "weights/vit_tiny_patch16_224.safetensors")),
    }
    if efficientnet:
        plain["efficientnet-lite0"] = Recipe("tf_efficientnet_lite0", efficientnet)
    found = {}
    for name, recipe in plain.items():
        size = "tile" if name == "vit-tiny" else "native"
        usual = "none" if name == "vit-tiny" else "model"  # docs/findings.md
        bases = [(usual, size, "mean")]
        if not name.endswith("-random"):  # one thing changed at a time
            bases += [(usual, size, "information")]
        if name in FINAL:
            bases += [("model" if usual == "none" else "none", size, "mean")]
            bases += [(usual, "native" if size == "tile" else "tile", "mean")]
        found[name] = {
            f"{name}/{norm}/{resolution}/{pooling}": recipe.replace(
                normalization=norm, resolution=resolution, pooling=pooling, distance=list(distances)
            )
            for number, (norm, resolution, pooling) in enumerate(bases)
            for distances in (DISTANCES if number == 0 else DISTANCES[:3],)
        }
        if name in FINAL:
            found[name] |= _finals(name, recipe, size)
    return found


def _finals(name: str, recipe: Recipe, resolution: str) -> dict[str, Recipe]:
    """Final embeddings, for benchmarks/intermediate.py: they are no choices."""
    tap, kinds = FINAL[name]
    return {
        f"{name}/{norm}/{resolution}/final-{kind}": recipe.replace(
            normalization=norm,
            resolution=resolution,
            taps=[tap],
            tokens="prefix" if kind == "prefix" else "patch",
            distance=pooled_cosine if kind == "pooled" else ["cosine", "l2"],
        )
        for norm in ("model", "none")
        for kind in kinds
    }


def pooled_cosine(preds: Tensor, target: Tensor) -> Tensor:
    """Cosine distance of features averaged over positions: a network's embedding."""
    return 1 - torch.nn.functional.cosine_similarity(preds.mean(1).double(), target.mean(1).double())


def _distances(resolution: str, vit: bool, pooling: str) -> tuple[str, ...]:
    # Sorting what a convolutional network sees of each tile costs more than all else; transport has no places to weigh.
    sorts = pooling == "mean" and (vit or resolution == "native")
    return DISTANCES if sorts else DISTANCES[:-1]


def score(work: tuple[str, str, Path, str | None]) -> str:
    """One set by one network, in its own folder."""
    from torchmetrics_fmiqa.benchmark.metrics.baselines import make_baseline
    from torchmetrics_fmiqa.benchmark.metrics.metric import Metric
    from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
    from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading, ScoreOptions, ScoreRun
    from torchmetrics_fmiqa.data.rated_csv import read_rated_csv

    dataset, network, folder, efficientnet = work
    torch.set_num_threads(1)
    rated = read_rated_csv(ASSETS / "iqa" / dataset / "pairs.csv", opinion=OPINION.get(dataset))
    if network == "baselines":
        made = [make_baseline(name) for name in BASELINES]
        panel = Panel({}, [one for one in made if isinstance(one, Metric)])
    else:
        panel = Panel(networks(efficientnet)[network])
    run = ScoreRun(rated, panel, folder / f"{dataset}-{network}", ScoreOptions(Reading("crop", 960), batch=2))
    for _ in run:
        pass
    return f"{dataset} {network}: {len(rated)} pairs, not scored: {run.unscored()}"


@dataclass(frozen=True)
class Choice:
    """A recipe, in so far as it was chosen: ``base`` is ``network/input/resolution/pooling``."""

    base: str
    distances: tuple[str, ...]
    taps: tuple[str, ...]
    combine: str = ""

    @property
    def joint(self) -> str:
        """The distances, and how they are joined."""
        return (" x " if self.combine == "geometric" else " + ").join(self.distances)

    def __str__(self) -> str:
        return f"`{self.base}` {self.joint} at {', '.join(self.taps)}"

    @property
    def sees_light(self) -> bool:
        """Whether two even images of other light differ."""
        return bool({"cosine", "l2"} & set(self.distances)) and self.combine != "geometric"

    @property
    def complexity(self) -> tuple[int, bool, bool, bool, int]:
        """What makes it less simple, by weight."""
        pooled, tiled = "/information" in self.base, "/tile/" in self.base
        return len(self.distances), self.combine == "geometric", pooled, tiled, len(self.taps)


def tap_sets(taps: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """All subsets of up to 4 taps; of more, each alone, all, halves, thirds, and one of each third or quarter."""
    if len(taps) <= 4:
        for count in range(1, len(taps) + 1):
            yield from itertools.combinations(taps, count)
        return
    yield from ((tap,) for tap in taps)
    yield taps
    for parts in (2, 3):
        yield from (tuple(part) for part in np.array_split(taps, parts))
    for parts in (3, 4):
        yield from itertools.product(*(map(str, part) for part in np.array_split(taps, parts)))


class Judged:
    """Every choice of one network (or every baseline) on all sets."""

    def __init__(self, folder: Path, network: str) -> None:
        self.tables: dict[str, ScoredTable] = {
            name: read_scored(folder / f"{name}-{network}" / "scores.parquet", "opinion") for name in SETS
        }
        first = self.tables["live58"]
        self.choices = list(self._choices(first))
        self.group, self.count = {}, {}
        for name, table in self.tables.items():
            names, self.group[name] = np.unique(table.reference, return_inverse=True)
            self.count[name] = len(names)
        self.columns = {name: self._columns(table) for name, table in self.tables.items()}

    @staticmethod
    def _choices(table: ScoredTable) -> Iterator[Choice]:
        if not table.taps:
            yield from (Choice(name, (), ()) for name in table.scores)
        bases: dict[str, list[str]] = {}
        for name in table.taps:
            base, _, distance = name.rpartition("/")
            bases.setdefault(base, []).append(distance)
        for base, distances in bases.items():
            taps = tuple(table.taps[f"{base}/{distances[0]}"])
            joints: list[tuple[tuple[str, ...], str]] = [((one,), "") for one in distances]
            joints += [(two, how) for two in itertools.combinations(distances, 2) for how in ("geometric", "mean")]
            yield from (Choice(base, chosen, some, how) for chosen, how in joints for some in tap_sets(taps))

    def _columns(self, table: ScoredTable) -> Floats:
        """Distances ``(n, choices)``."""
        joint: dict[tuple[str, tuple[str, ...], str, str], Floats] = {}

        def at(choice: Choice, tap: str) -> Floats:
            key = choice.base, choice.distances, choice.combine, tap
            if key not in joint:
                values = [table.taps[f"{choice.base}/{distance}"][tap] for distance in choice.distances]
                if choice.combine == "mean":  # each by its mean over all images: the weights of the recipe
                    sizes = [self.size(f"{choice.base}/{distance}") for distance in choice.distances]
                    values = [np.mean([value / size for value, size in zip(values, sizes, strict=True)], axis=0)]
                elif choice.combine == "geometric":
                    logs = np.mean([np.log1p(np.maximum(value, 0) / LEAST) for value in values], axis=0)
                    values = [LEAST * np.expm1(logs)]
                joint[key] = values[0]
            return joint[key]

        columns = [
            np.mean([at(choice, tap) for tap in choice.taps], axis=0) if choice.taps else self._quality(table, choice)
            for choice in self.choices
        ]
        return np.stack(columns, 1)

    def size(self, name: str) -> float:
        """The mean of a distance over taps and all images of all sets."""
        return float(np.mean([np.mean(list(table.taps[name].values())) for table in self.tables.values()]))

    @staticmethod
    def _quality(table: ScoredTable, choice: Choice) -> Floats:
        return table.scores[choice.base] * (1 if choice.base.startswith("lpips") else -1)

    def agreement(self, keep: dict[str, npt.NDArray[np.bool_]] | None = None) -> Floats:
        """SRCC over all images and within a reference, ``(sets, 2, choices)``; of some references if given."""
        found = []
        for name, sign in SETS.items():
            table, group = self.tables[name], self.group[name]
            rows = np.ones(len(group), bool) if keep is None else keep[name][group]
            pooled = -sign * srcc_columns(self.columns[name][rows], table.opinion[rows])
            places = np.arange(self.count[name]) if keep is None else np.flatnonzero(keep[name])
            within = -sign * self._within[name][places]
            found.append([pooled, np.nanmean(within, axis=0)])
        return np.array(found)

    @cached_property
    def _within(self) -> dict[str, Floats]:
        return {
            name: srcc_by_group(self.columns[name], table.opinion, self.group[name], self.count[name])
            for name, table in self.tables.items()
        }

    @cached_property
    def whole(self) -> Floats:
        """Agreement on all references."""
        return self.agreement()

    def pick(self, judged: Floats) -> int:
        """The rule's second step."""
        judged = np.where([choice.sees_light for choice in self.choices], judged, -np.inf)
        near = np.flatnonzero(judged >= judged.max() - NEAR)
        return int(min(near, key=lambda i: (self.choices[i].complexity, -judged[i])))

    def held_out(self, default: int) -> dict[str, float]:
        """The rule's third step."""
        rng = np.random.default_rng(0)
        seen, unseen, stayed = [], [], []
        for _ in range(SPLITS):
            halves = {name: rng.permutation(count) < count / 2 for name, count in self.count.items()}
            inside = judgement(self.agreement(halves))
            outside = judgement(self.agreement({name: ~half for name, half in halves.items()}))
            picked = self.pick(inside)
            seen.append(inside[picked])
            unseen.append(outside[picked])
            stayed.append(outside[default])
        return {
            "picked, on the half that picked": float(np.mean(seen)),
            "picked, on the other half": float(np.mean(unseen)),
            "fixed, on the other half": float(np.mean(stayed)),
        }

    def row(self, index: int) -> str:
        """A line of the table."""
        cells = [f"{pooled:.3f} ({within:.3f})" for pooled, within in self.whole[:, :, index]]
        return "| " + " | ".join([str(self.choices[index]), *cells, f"{judgement(self.whole)[index]:.3f}"]) + " |"


def judgement(agreement: Floats) -> Floats:
    """The rule's first step, for each choice."""
    return np.asarray(agreement.min(1).mean(0))


def choose(folder: Path, network: str, splits: bool) -> None:
    """Print what the rule takes of a network's choices, and what the best of each kind have."""
    judged = Judged(folder, network)
    found = judgement(judged.whole)
    best = np.argsort(-found)
    print(f"\n## {network}: {len(judged.choices)} choices\n\n| choice | {' | '.join(SETS)} | judgement |")
    print("| --- " * (len(SETS) + 2) + "|")
    if network == "baselines":
        print(*map(judged.row, best), sep="\n")
        return
    picked = judged.pick(found)
    for distance in judged.choices[picked].distances if judged.choices[picked].combine == "mean" else ():
        print(f"- weight of {distance}: 1 / {judged.size(f'{judged.choices[picked].base}/{distance}'):.3g}")
    print(judged.row(picked), "| best of all:" + " |" * (len(SETS) + 1), judged.row(int(best[0])), sep="\n")
    for label, value in (
        ("distances", lambda one: one.joint),
        ("base", lambda one: one.base),
        ("number of taps", lambda one: len(one.taps)),
    ):
        print(f"| best by {label}:" + " |" * (len(SETS) + 2))
        kinds = [value(choice) for choice in judged.choices]
        for kind in dict.fromkeys(kinds[i] for i in best):
            print(judged.row(next(int(i) for i in best if kinds[i] == kind)))
    if splits:
        for name, mean in judged.held_out(picked).items():
            print(f"- {name}: {mean:.4f}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("score", "choose"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", nargs="+", help="some of them, or 'baselines'; all by default")
    parser.add_argument("--efficientnet", help="weights of tf_efficientnet_lite0")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes of one thread")
    parser.add_argument("--no-splits", action="store_true", help="leave out the rule's third step, which takes minutes")
    given = parser.parse_args()
    chosen = given.networks or [*networks(given.efficientnet), "baselines"]
    if given.what == "choose":
        for network in chosen:
            choose(given.folder, network, not given.no_splits)
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("FMIQA_ASSETS", str(ASSETS))
    works = [(dataset, network, given.folder, given.efficientnet) for network in chosen for dataset in SETS]
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        for line in pool.imap_unordered(score, works, chunksize=1):
            print(line, flush=True)


if __name__ == "__main__":
    main()
