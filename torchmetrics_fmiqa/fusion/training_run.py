"""Driving a training by Lightning's Trainer: quietly, apart from the caller's own state, and so that it can go on."""

from __future__ import annotations

import copy
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from torchmetrics_fmiqa.fusion.training_module import HeadModule

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
