"""The training loop of a head: AdamW, early stopping, a log, and a checkpoint after each epoch."""

from __future__ import annotations

import copy
import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.progress import Progress
from torchmetrics_fmiqa.features.building import built_in_the_open
from torchmetrics_fmiqa.fitting.config import HeadTraining, SpipsTraining
from torchmetrics_fmiqa.fitting.dataset import Examples, epoch_batches, ordered_pairs
from torchmetrics_fmiqa.fitting.losses import choice_loss, opinion_loss, ranking_loss
from torchmetrics_fmiqa.safe_write import make_folder
from torchmetrics_fmiqa.spips_model.fusion_head import FusionHead
from torchmetrics_fmiqa.spips_model.model import SpipsHead
from torchmetrics_fmiqa.statistics import srcc, two_afc
from torchmetrics_fmiqa.statistics.inputs import Floats, Integers


class HeadTrainer:
    """Trains a head in place, on sets held in memory.

    The head's inputs are fitted already. It learns from the rows of ``learned``, and stops early by those of ``inner``.
    """

    def __init__(
        self,
        head: SpipsHead | FusionHead,
        learned: Sequence[Examples],
        inner: Sequence[Examples],
        training: HeadTraining,
    ) -> None:
        self.head, self.learned, self.inner, self.training = head, learned, inner, training
        #: Epochs that are done.
        self.epoch = 0
        self.best_epoch, self.best_value = 0, -np.inf
        self.best_weights: dict[str, Tensor] = {}
        # How sure people are of a choice, for a difference of scores; of the training, not of the head.
        self.log_sharpness = torch.zeros((), requires_grad=True)
        self.optimizer = self._new_optimizer()
        losses, values = (
            [f"{what}/{data.name}" for data in sets] for what, sets in (("loss", learned), ("validation", inner))
        )
        self._log: list[list[Any]] = [["epoch", *losses, *values, "validation"]]
        self._generator = torch.Generator().manual_seed(training.seed)
        self._pairs = [
            None if data.series is None else ordered_pairs(data.target.double().numpy(), data.series.numpy())
            for data in inner
        ]

    def run(self, folder: Path | None, progress: Progress) -> tuple[int, float]:
        """Train until nothing gets better, and leave the head with the weights of its best epoch.

        Args:
            folder: gets ``log.csv`` and, after each epoch, ``last.ckpt``, from which an interrupted training goes on;
                ``None`` writes nothing.
            progress: is told each epoch.

        Returns:
            The best epoch, counted from 1, and its agreement on the inner validation.

        Raises:
            ValueError: if no epoch gave an agreement, and for a ``last.ckpt`` that cannot be read.
        """
        if folder is not None:
            self._resume(folder)
        while self.epoch < self.training.epochs and self.epoch - self.best_epoch < self.training.patience:
            self._log.append([self.epoch + 1, *self.train_epoch(), *self.validate()])
            self.epoch += 1
            value = self._log[-1][-1]
            if value > self.best_value:
                self.best_epoch, self.best_value = self.epoch, value
                self.best_weights = copy.deepcopy(self.head.state_dict())
            if folder is not None:
                # In one stroke: an interruption while writing must not cost the checkpoint before.
                torch.save(self.state_dict(), folder / "last.ckpt.new")
                os.replace(folder / "last.ckpt.new", folder / "last.ckpt")
                self._write_log(folder)
            progress.status(
                f"epoch {self.epoch} of at most {self.training.epochs}: {value:.4f}, best {self.best_value:.4f}"
            )
        if not self.best_epoch:
            rate = self.training.learning_rate
            raise ValueError(f"training failed: no epoch gave a score, with a learning rate of {rate}")
        self.head.load_state_dict(self.best_weights)
        return self.best_epoch, self.best_value

    def train_epoch(self) -> list[float]:
        """Learn from every row once; the mean loss of each set."""
        losses: list[list[Tensor]] = [[] for _ in self.learned]
        # No DataLoader: it would draw from the caller's random numbers.
        for place, rows in epoch_batches(self.learned, self.training.batch, self._generator):
            self.optimizer.zero_grad()
            loss = self.loss(self.learned[place].rows(rows))
            loss.backward()
            self.optimizer.step()
            losses[place].append(loss.detach())
        return [torch.stack(own).mean().item() for own in losses]

    def loss(self, batch: Examples) -> Tensor:
        """The loss of rows of one set, by its kind."""
        scores = [self.head(inputs) for inputs in batch.inputs]
        if batch.kind == "opinion":
            return opinion_loss(scores[0], batch.target)
        if batch.kind == "rank":
            return ranking_loss(scores[0], batch.target, batch.series)
        sharpness = self.log_sharpness.exp()
        return choice_loss(sharpness * scores[0], sharpness * scores[1], batch.target)

    @torch.no_grad()
    def validate(self) -> list[float]:
        """How well the head agrees with each set that is kept to stop by, then the mean."""
        values = []
        for data, pairs in zip(self.inner, self._pairs, strict=True):
            scores = [self.head(inputs).double().numpy() for inputs in data.inputs]
            values.append(agreement(data, scores, pairs))
        return [*values, float(np.mean(values))]

    def state_dict(self) -> dict[str, Any]:
        """All that it takes to go on."""
        return {
            "epoch": self.epoch,
            "head": self.head.state_dict(),
            "log_sharpness": self.log_sharpness.detach(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "best": [self.best_epoch, float(self.best_value), dict(self.best_weights)],
            "log": self._log,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as if nothing had been."""
        self.head.load_state_dict(state["head"])
        self.log_sharpness.data.copy_(state["log_sharpness"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"])
        self.epoch, self._log = state["epoch"], state["log"]
        self.best_epoch, self.best_value, self.best_weights = state["best"]

    def _resume(self, folder: Path) -> None:
        """Take up what a folder holds."""
        make_folder(folder)
        last = folder / "last.ckpt"
        if last.is_file():
            try:
                self.load_state_dict(torch.load(last, weights_only=True, map_location="cpu"))
            except Exception as error:  # a damaged file fails in many ways
                raise ValueError(f"{last} cannot be read, delete it to train anew: {error}") from None
        self._write_log(folder)

    def _write_log(self, folder: Path) -> None:
        with (folder / "log.csv").open("w", newline="", encoding="utf-8") as log:
            csv.writer(log).writerows(self._log)

    def _new_optimizer(self) -> torch.optim.Optimizer:
        """AdamW. Decay draws each parameter to where it says nothing: taps to equal weights, the gate to 1/2.

        That of the network includes biases. The sharpness has none: 1 is as good as any other.
        """
        training = self.training
        gate_decay = training.gate_decay if isinstance(training, SpipsTraining) else 0.0
        gate, others = list[Tensor](), list[Tensor]()
        for name, weight in self.head.named_parameters():
            if weight.requires_grad:
                (gate if name.startswith("gate.") else others).append(weight)
        groups = [
            {"params": others, "weight_decay": training.weight_decay},
            {"params": gate, "weight_decay": gate_decay},
            {"params": [self.log_sharpness], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=training.learning_rate, fused=True)


def agreement(data: Examples, scores: Sequence[Floats], pairs: Integers | None) -> float:
    """SRCC of scores ``(n,)`` with opinions, their 2AFC score on choices, or the share of pairs of ranks in order.

    Scores are higher for worse images. NaN if one is not finite, or all are equal and there is no SRCC.
    """
    if not all(np.isfinite(version).all() for version in scores):
        return float("nan")
    if data.kind == "choice":
        return two_afc(scores[0], scores[1], data.target.numpy())
    if pairs is None:
        return srcc(scores[0], data.target.numpy()).value
    ahead = scores[0][pairs[:, 0]] - scores[0][pairs[:, 1]]
    return float(np.mean((ahead > 0) + (ahead == 0) / 2))


@contextmanager
def isolated() -> Iterator[None]:
    """Train in the open, and leave the caller's threads, random numbers and modes as they were.

    Whoever calls may be in inference mode, under autocast, with another default device: nothing of it reaches a head.
    """
    threads = torch.get_num_threads()
    # So small a network is quicker on one thread, and sums do not depend on how many there are.
    torch.set_num_threads(1)
    try:
        with (
            built_in_the_open(),
            torch.enable_grad(),
            torch.autocast("cpu", enabled=False),
            torch.random.fork_rng(devices=[]),
        ):
            yield
    finally:
        torch.set_num_threads(threads)
