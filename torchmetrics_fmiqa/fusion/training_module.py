"""The LightningModule that trains a head on numbers that were taken before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from torchmetrics_fmiqa.fusion.head import FusionHead
from torchmetrics_fmiqa.fusion.objectives import choice_loss, opinion_loss, ranking_loss
from torchmetrics_fmiqa.fusion.streams import SpipsHead
from torchmetrics_fmiqa.fusion.training_examples import Examples, deal, ordered_pairs
from torchmetrics_fmiqa.statistics import srcc, two_afc
from torchmetrics_fmiqa.statistics.inputs import Floats, Integers

if TYPE_CHECKING:
    from torchmetrics_fmiqa.fusion.training import SpipsTraining


class HeadModule(LightningModule):
    """Trains a head, in place, on sets held in memory.

    Args:
        head: with its inputs fitted.
        learned: rows to learn from, a set each.
        inner: rows to stop early by, a set each.
        training: how.
    """

    def __init__(
        self,
        head: SpipsHead | FusionHead,
        learned: Sequence[Examples],
        inner: Sequence[Examples],
        training: SpipsTraining,
    ) -> None:
        super().__init__()
        self.head, self.learned, self.inner, self.options = head, learned, inner, training
        # How sure people are of a choice, for a difference of scores; of the training, not of the head.
        self.log_sharpness = nn.Parameter(torch.zeros(()))
        self._batches = torch.Generator().manual_seed(training.seed)
        self._pairs = [_pairs(one) for one in inner]
        self._losses: list[list[Tensor]] = [[] for _ in learned]
        self._found: list[float] = []
        self.validation = np.nan

    def train_dataloader(self) -> _Epoch:
        """Batches of an epoch: the place of a set, and rows of it."""
        return _Epoch(self.learned, self.options, self._batches)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note how batches go on."""
        checkpoint["batches"] = self._batches.get_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Deal as if nothing had been."""
        self._batches.set_state(checkpoint["batches"])

    def val_dataloader(self) -> range:
        """Places of the sets to stop early by: each is one batch."""
        return range(len(self.inner))

    def training_step(self, batch: tuple[int, Tensor], batch_idx: int) -> Tensor:
        """The loss of a batch, by the kind of its set."""
        place, rows = batch
        part = self.learned[place].rows(rows)
        scores = [self.head(one) for one in part.inputs]
        if part.kind == "opinion":
            loss = opinion_loss(scores[0], part.target)
        elif part.kind == "rank":
            loss = ranking_loss(scores[0], part.target, part.series)
        else:
            sharpness = self.log_sharpness.exp()
            loss = choice_loss(sharpness * scores[0], sharpness * scores[1], part.target)
        self._losses[place].append(loss.detach())
        return loss

    def validation_step(self, place: int, batch_idx: int) -> None:
        """How well the head agrees with one set."""
        part = self.inner[place]
        scores = [self.head(one).double().numpy() for one in part.inputs]
        found = agreement(part, scores, self._pairs[place])
        self.log(f"validation/{part.name}", found, batch_size=1)
        self._found.append(found)

    def on_validation_epoch_end(self) -> None:
        """Take the mean over sets; log it, and the mean losses: to log those of each step would cost as much as it."""
        self.validation = float(np.mean(self._found))
        self._found.clear()
        self.log("validation", self.validation)
        for part, losses in zip(self.learned, self._losses, strict=True):
            self.log(f"loss/{part.name}", torch.stack(losses).mean())
            losses.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW. Decay draws each parameter to where it says nothing: taps to equal weights, the gate to 1/2.

        That of the network is as :class:`~torchmetrics_fmiqa.fusion.fitting.Training` has it, biases too. The sharpness
        has none: 1 is as good as any other.
        """
        options = self.options
        named = [(name, one) for name, one in self.head.named_parameters() if one.requires_grad]
        groups = [
            {"params": [one for name, one in named if not _of_gate(name)], "weight_decay": options.weight_decay},
            {"params": [one for name, one in named if _of_gate(name)], "weight_decay": options.gate_decay},
            {"params": [self.log_sharpness], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=options.learning_rate, fused=True)


class _Epoch:
    """Batches that are dealt anew each time; no DataLoader, which would draw from the caller's random numbers."""

    def __init__(self, learned: Sequence[Examples], options: SpipsTraining, generator: torch.Generator) -> None:
        self.learned, self.options, self.generator = learned, options, generator
        self.count = len(self._deal(torch.Generator()))

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        yield from self._deal(self.generator)

    def _deal(self, generator: torch.Generator) -> list[tuple[int, Tensor]]:
        return deal(self.learned, self.options.batch, self.options.balance, generator)


def agreement(part: Examples, scores: Sequence[Floats], pairs: Integers | None) -> float:
    """How well scores agree with what is known: SRCC of opinions, 2AFC score of choices, share of pairs in order.

    Args:
        part: what is known.
        scores: ``(n,)``, higher is worse; for choices of both versions.
        pairs: of ranks, ``(P, 2)`` as by :func:`~torchmetrics_fmiqa.fusion.training_examples.ordered_pairs`.

    Returns:
        At most 1; NaN if a score is not finite, or all are equal and there is no SRCC.
    """
    if not all(np.isfinite(one).all() for one in scores):
        return np.nan
    if part.kind == "choice":
        return two_afc(scores[0], scores[1], part.target.numpy())
    if pairs is None:
        return srcc(scores[0], part.target.numpy()).value
    ahead = scores[0][pairs[:, 0]] - scores[0][pairs[:, 1]]
    return float(np.mean((ahead > 0) + (ahead == 0) / 2))


def _pairs(one: Examples) -> Integers | None:
    return None if one.series is None else ordered_pairs(one.target.double().numpy(), one.series.numpy())


def _of_gate(name: str) -> bool:
    return name.startswith("gate.")
