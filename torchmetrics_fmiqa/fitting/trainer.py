"""The LightningModule that trains a head on numbers that were taken before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from torchmetrics_fmiqa.fitting.dataset import Examples, deal, ordered_pairs
from torchmetrics_fmiqa.fitting.losses import choice_loss, opinion_loss, ranking_loss
from torchmetrics_fmiqa.spips_model.fusion_head import FusionHead
from torchmetrics_fmiqa.spips_model.model import SpipsHead
from torchmetrics_fmiqa.statistics import srcc, two_afc
from torchmetrics_fmiqa.statistics.inputs import Floats, Integers

if TYPE_CHECKING:
    from torchmetrics_fmiqa.fitting.config import SpipsTraining


import copy
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from torchmetrics_fmiqa.features.building import built_in_the_open


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

        That of the network is as :class:`~torchmetrics_fmiqa.fitting.fit_table.Training` has it, biases too. The
        sharpness has none: 1 is as good as any other.
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
        pairs: of ranks, ``(P, 2)`` as by :func:`~torchmetrics_fmiqa.fitting.dataset.ordered_pairs`.

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


#: What Lightning warns of that does not hold here: a head is trained on the CPU, whatever else there is; and what it
#: makes of a newer torch is no concern of the caller's.
_ADVICE = (".*available but not used.*", ".*isinstance.treespec, LeafSpec.*")


def run(module: HeadModule, folder: Path | None, tell: Callable[[str], None] | None) -> tuple[int, float]:
    """Train a module's head, and leave it with the weights of its best epoch.

    Args:
        module: what is trained.
        folder: gets logs and, after each epoch, ``last.ckpt``, from which a run that was interrupted goes on; ``None``
            writes nothing.
        tell: is told each epoch. It takes the place of Lightning's own progress bar, which would fight with the
            caller's for the console.

    Returns:
        The best epoch, counted from 1, and its agreement on the inner validation.

    Raises:
        ValueError: if no epoch gave an agreement, and for a ``last.ckpt`` that cannot be read.
    """
    options = module.options
    last = None if folder is None else folder / "last.ckpt"
    best = BestEpoch(options.patience, options.epochs, last, tell)
    with _quiet(), _interruptible(), _brisk():
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            # The settings of a cluster's job are for the job, not for a head.
            plugins=[LightningEnvironment()],
            max_epochs=options.epochs,
            callbacks=[best],
            logger=False if folder is None else _loggers(folder),
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        trainer.fit(module, ckpt_path=None if last is None or not last.is_file() else _readable(last))
    if not best.epoch:
        raise ValueError(f"training failed: no epoch gave a score, with a learning rate of {options.learning_rate}")
    module.head.load_state_dict(best.weights)
    return best.epoch, best.value


class BestEpoch(Callback):
    """Keeps the weights of the best epoch, stops where there was none for long, and saves what it takes to go on.

    One callback for what Lightning has two for, so that the state of both is in each checkpoint.
    """

    def __init__(self, patience: int, epochs: int, last: Path | None, tell: Callable[[str], None] | None) -> None:
        self.patience, self.epochs, self.last, self.tell = patience, epochs, last, tell
        self.value, self.epoch, self.weights = -np.inf, 0, dict[str, torch.Tensor]()

    def on_train_start(self, trainer: Trainer, module: HeadModule) -> None:  # type: ignore[override]
        """A run that was interrupted after its last epoch has nothing left to do."""
        self._stop(trainer, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Trainer, module: HeadModule) -> None:  # type: ignore[override]
        """After the validation."""
        epoch = trainer.current_epoch + 1
        if module.validation > self.value:
            self.value, self.epoch = module.validation, epoch
            self.weights = copy.deepcopy(module.head.state_dict())
        self._stop(trainer, epoch)
        if self.last is not None:
            # In one stroke: an interruption while writing must not cost the checkpoint before.
            trainer.save_checkpoint(f"{self.last}.new")
            os.replace(f"{self.last}.new", self.last)
        if self.tell is not None:
            self.tell(f"epoch {epoch} of at most {self.epochs}: {module.validation:.4f}, best {self.value:.4f}")

    def state_dict(self) -> dict[str, Any]:
        """What goes into a checkpoint."""
        return {"value": self.value, "epoch": self.epoch, "weights": dict(self.weights)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.value, self.epoch, self.weights = (state_dict[name] for name in ("value", "epoch", "weights"))

    def _stop(self, trainer: Trainer, epoch: int) -> None:
        if epoch - self.epoch >= self.patience:
            trainer.should_stop = True


def _loggers(folder: Path) -> list[Logger]:
    """A table of each run, so that one that goes on keeps those before; for TensorBoard too where that is installed."""
    table = CSVLogger(folder, name="logs", flush_logs_every_n_steps=1)
    if find_spec("tensorboard") is None:
        return [table]
    return [table, TensorBoardLogger(folder, name="logs", version=table.version, default_hp_metric=False)]


def _readable(last: Path) -> Path:
    """A checkpoint, after a look that it holds tensors and numbers alone: Lightning would run what else is in it."""
    try:
        torch.load(last, weights_only=True, map_location="cpu")
    except Exception as error:
        raise ValueError(f"{last} cannot be read, delete it to train anew: {error}") from None
    return last


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep off the console what Lightning tells of machines and other products; its warnings pass, but for advice."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _ADVICE:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl+C be a KeyboardInterrupt: Lightning ends the process, and leaves it deaf to the next."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise KeyboardInterrupt from None
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


@contextmanager
def _brisk() -> Iterator[None]:
    """Undo what Lightning sets for forked processes: a search for a GPU's driver library at each step of an optimizer.

    For a head that search is a quarter of all time.
    """
    name = "PYTORCH_NVML_BASED_CUDA_CHECK"
    before = os.environ.pop(name, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[name] = before


@contextmanager
def apart() -> Iterator[None]:
    """Train in the open, and leave the caller's threads, random numbers and modes as they were.

    Whoever calls may be in inference mode, under autocast, with another default device: nothing of it reaches a head.
    """
    threads = torch.get_num_threads()
    strict = torch.get_deterministic_debug_mode()
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
        torch.set_deterministic_debug_mode(strict)  # a Trainer sets its own
