"""A scorer that notes each pair it scores, in whatever process: a byte in the file that ``SCORED_LOG`` names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torchmetrics_fmiqa.scoring
from torchmetrics_fmiqa.cli import main as fmiqa
from torchmetrics_fmiqa.scoring import Scored, ScorePairs
from torchmetrics_fmiqa.scoring.batches import AnyPair, Reader


class CountedPairs(ScorePairs):
    """``ScorePairs`` that counts; it pickles as itself, into workers and actors."""

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(CountedPairs, **self._arguments), ()

    def stream(self, pairs: Iterable[AnyPair], read: Reader | None = None) -> Iterator[Scored[AnyPair]]:
        with open(os.environ["SCORED_LOG"], "ab", buffering=0) as log:
            for result in super().stream(pairs, read):
                log.write(b".")
                yield result


if __name__ == "__main__":
    from benchmarks import counted_pairs  # by its name, so that it pickles

    torchmetrics_fmiqa.scoring.ScorePairs = counted_pairs.CountedPairs
    fmiqa()
