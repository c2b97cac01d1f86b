"""Train the embedded network on made images, without human scores.

    python -m train.embedded.train --objective all --steps 1200 --out runs/all

Interrupt it whenever you like: the same command goes on where it was, and ends with the same weights. OUT gets
weights.safetensors (half precision; the average of the weights of late steps), checkpoint.pt, log.csv.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.embedded import CHANNELS, EmbeddedNetwork, load_embedded
from train.embedded.batches import made_pool, make_batch
from train.embedded.labelled import Labelled
from train.embedded.objectives import OBJECTIVES, Copies, parts
from train.embedded.weights import CHECKPOINT, save_run

# The share of a run in which all taps are compared and no copy is moved.
_FIRST = 0.2
# The share after that in which steps grow again.
_AGAIN = 0.06
# Batches whose crops say what the features of the untrained stages have in common.
_CENTRING = 12


@dataclass(frozen=True)
class Settings:
    """What a run depends on.

    Args:
        objective: one of ``OBJECTIVES``.
        steps: batches to learn from; 0 where ``minutes`` say when to end.
        minutes: minutes to learn for; 0 where ``steps`` say when to end.
        seed: of the first weights and of the batches.
        pool: made images to take crops of.
        side: of the made images, pixels.
        crop: side of a crop, pixels.
        references: crops a batch.
        copies: distorted copies of a crop.
        rate: highest learning rate.
        start: weights to start from; empty for random ones.
        labelled: folder of labelled batches to learn from (:mod:`train.embedded.labelled`); empty to make batches.
        blend: how much severity counts in their labels, 0 to 1.
        untrained: how much untrained networks count in their labels beside the formulas, 0 to 1.
        unseen: the label of those that are only moved, 0 to 1.
        moved: share of their copies that are moved a little against the reference in the last half of the run; in its
            first fifth none are, since otherwise little is learned.
        deepest: how many of the deepest taps are compared after the first fifth of the run: the others cannot but see
            a shift by some pixels.
        channels: of the stages, with commas between.
    """

    objective: str = "all"
    steps: int = 0
    minutes: float = 0
    seed: int = 0
    pool: int = 768
    side: int = 256
    crop: int = 128
    references: int = 4
    copies: int = 6
    rate: float = 1e-3
    start: str = ""
    labelled: str = ""
    blend: float = 0.0
    untrained: float = 0.0
    unseen: float = 0.1
    moved: float = 0.2
    deepest: int = 2
    channels: str = ",".join(map(str, CHANNELS))

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ValueError(f"there is no objective {self.objective!r}: give one of {', '.join(OBJECTIVES)}")
        if (self.steps > 0) == (self.minutes > 0) or min(self.steps, self.minutes) < 0:
            raise ValueError(f"give either `steps` or `minutes` above 0, got {self.steps} and {self.minutes:g}")
        if not all(word.isdecimal() for word in self.channels.split(",")):
            raise ValueError(f"`channels` must be whole numbers with commas between, got {self.channels!r}")
        if not 1 <= self.deepest <= len(self.stages):
            raise ValueError(f"`deepest` must be 1 to {len(self.stages)}, got {self.deepest}")
        if "verdict" in OBJECTIVES[self.objective] and not self.labelled:
            raise ValueError(f"the objective {self.objective!r} needs `labelled`, a folder of labelled batches")

    @property
    def stages(self) -> tuple[int, ...]:
        """The channels of each stage."""
        return tuple(int(word) for word in self.channels.split(","))


class Run:
    """A run in its folder, which goes on from its last checkpoint if there is one.

    Args:
        settings: what it depends on.
        folder: where it writes.
        cache: where the made images are kept.
        device: where it computes.

    Raises:
        ValueError: if the folder holds a run with other settings.
    """

    def __init__(self, settings: Settings, folder: Path, cache: Path, device: str = "cpu") -> None:
        self.settings, self.folder, self.device = settings, folder, device
        self.weights = OBJECTIVES[settings.objective]
        kept = folder / "settings.json"
        if kept.is_file() and json.loads(kept.read_text()) != asdict(settings):
            raise ValueError(f"{folder} holds a run with other settings: give another --out")
        start = settings.start
        self.batches = _batches(settings, cache)
        network = load_embedded(Path(start)) if start else EmbeddedNetwork(settings.seed, settings.stages)
        if not start and not self._checkpoint.is_file():
            centre(network, lambda step: self.batches(step, 0.0)[0])
        self.network = network.to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        learning = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(learning, settings.rate, weight_decay=0.01)
        self.step, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(asdict(settings), indent=1) + "\n")
        if self._checkpoint.is_file():
            self._resume()

    @property
    def _checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    @property
    def done(self) -> float:
        """The share of the run that is behind, from 0 to 1."""
        return self.done_at(self.step)

    def done_at(self, step: int) -> float:
        """The share that is behind before a step; of a run of some minutes, the share by now."""
        if self.settings.steps:
            return min(1.0, step / self.settings.steps)
        return min(1.0, self.seconds / (60 * self.settings.minutes))

    def __iter__(self) -> Iterator[dict[str, float]]:
        """Learn, a step at a time; each gives its losses."""
        start = time.monotonic() - self.seconds
        # The next batch is made while this one is learned from: making takes about half as long as learning.
        with ThreadPoolExecutor(1) as maker:
            coming = maker.submit(self.batches, self.step, self.done_at(self.step))
            while self.done < 1:
                (crops, copies), coming = (
                    coming.result(),
                    maker.submit(self.batches, self.step + 1, self.done_at(self.step + 1)),
                )
                losses = self._learn(crops.to(self.device), copies.to(self.device))
                self.step += 1
                self.seconds = time.monotonic() - start
                yield losses

    def _learn(self, crops: Tensor, copies: Copies) -> dict[str, float]:
        settings = self.settings
        falling = 0.02 + 0.49 * (1 + math.cos(math.pi * self.done))
        # Where other taps and moved copies begin, steps must be small again: at full size all deep channels may die.
        since = self.done - _FIRST if self.done >= _FIRST else 1.0
        rate = settings.rate * min(1.0, (self.step + 1) / 50, 0.05 + since / _AGAIN) * falling
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # without the untrained stages: what learns beside them ranks what it never saw less well (README.md)
        features = self.network.trained_features(torch.cat([crops, copies.images]))
        # shallow taps learn first, and what they learn the deep ones build on
        deepest = settings.deepest if self.done >= _FIRST else None
        references, others = [tap[: len(crops)] for tap in features], [tap[len(crops) :] for tap in features]
        found = parts(self.weights, references, others, copies, deepest)
        loss: Tensor = torch.stack([self.weights[name] * value for name, value in found.items()]).sum()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        keep = min(0.99, self.step / (self.step + 10))
        for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(value.detach(), 1 - keep)
        return {name: float(value) for name, value in found.items()}

    def save(self, command: str) -> None:
        """Write the checkpoint and the weights so far."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        save_run(self.folder, state, self.average, command, self.step, asdict(self.settings))

    def _resume(self) -> None:
        state = torch.load(self._checkpoint, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]


def centre(network: EmbeddedNetwork, crops: Callable[[int], Tensor]) -> None:
    """Centre the untrained stages of a network on the crops of the first batches.

    Args:
        network: it is changed.
        crops: gives those of a batch, ``(N, 3, H, W)``.
    """
    network.untrained.centre_on(torch.cat([crops(step) for step in range(_CENTRING)]))


def _batches(settings: Settings, cache: Path) -> Callable[[int, float], tuple[Tensor, Copies]]:
    """What gives the batch of a step, where a share of the run is done."""
    if settings.labelled:
        kept = Labelled(Path(settings.labelled), settings.blend, settings.unseen, settings.untrained)

        def shown(step: int, done: float) -> tuple[Tensor, Copies]:
            return kept.batch(settings.seed, step, settings.moved * min(1.0, max(0.0, (done - _FIRST) / 0.3)))

        return shown
    pool = made_pool(settings.pool, settings.side, cache)

    def made(step: int, done: float) -> tuple[Tensor, Copies]:
        return make_batch(pool, settings.seed, step, settings.references, settings.copies, settings.crop)

    return made


def train(run: Run, command: str, every: int = 100) -> None:
    """Learn to the end, with a progress bar; write a checkpoint and a line of the log each ``every`` steps."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    sums: dict[str, float] = {}
    with Progress(*columns) as progress, (run.folder / "log.csv").open("a", newline="") as file:
        bar, log = progress.add_task("step 0", total=1.0), csv.writer(file)
        for losses in run:
            sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
            told = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
            progress.update(bar, completed=run.done, description=f"step {run.step}: {told}")
            if run.step % every == 0:
                means = {name: value / every for name, value in sums.items()}
                log.writerow([run.step, f"{run.seconds:.1f}", *(f"{key}={value:.4f}" for key, value in means.items())])
                file.flush()
                sums = {}
                run.save(command)
    run.save(command)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name, value in asdict(Settings(steps=1)).items():
        default = 0 if name == "steps" else value
        parser.add_argument(f"--{name}", type=type(value), default=default, help=f"default {default!r}")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--cache", type=Path, default=Path("runs"), help="folder that keeps the made images")
    parser.add_argument("--device", default="cpu")
    given = vars(parser.parse_args())
    out, cache, device = given.pop("out"), given.pop("cache"), given.pop("device")
    try:
        run = Run(Settings(**given), out, cache, device)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    train(run, shlex.join(["python", "-m", "train.embedded.train", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
