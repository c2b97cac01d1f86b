"""A command that a signal reaches in the middle of its work: ``python -m tests.interrupted SIGNAL COMMAND ...``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from torchmetrics_fmiqa.benchmark.scoring.pair_run import PairRun
from torchmetrics_fmiqa.fitting.trainer import HeadTrainer


@contextmanager
def struck(number: signal.Signals) -> Iterator[None]:
    """Send this process a signal when it has written the second part of its scores, or trains the third epoch."""
    write, step = PairRun._write, HeadTrainer.loss
    written: list[Any] = []

    def write_and_strike(run: PairRun, path: Any, rows: Any) -> None:
        write(run, path, rows)
        written.append(path)
        if len(written) == 2:
            os.kill(os.getpid(), number)

    def strike_and_step(trainer: HeadTrainer, batch: Any) -> Any:
        if trainer.epoch == 2:
            os.kill(os.getpid(), number)
        return step(trainer, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PairRun, "_write", write_and_strike)
        patch.setattr(HeadTrainer, "loss", strike_and_step)
        yield


if __name__ == "__main__":
    from torchmetrics_fmiqa.cli import main

    with struck(signal.Signals[sys.argv.pop(1)]):
        main()
