"""How the images of a pair are read, a few pairs ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from torch import Tensor

from torchmetrics_fmiqa.data.rated_csv import RatedPair
from torchmetrics_fmiqa.memory import memory_of_a_pair


class Reader(Protocol):
    """How the images of a pair are read."""

    @property
    def identity(self) -> list[Any]:
        """What the images depend on beside the files, in values that JSON has."""

    def __call__(self, pair: RatedPair) -> tuple[Tensor, Tensor]:
        """Read a pair as ``(preds, target)``; a ValueError says why it cannot be."""


def read_ahead(
    pool: ThreadPoolExecutor, pairs: Sequence[RatedPair], reading: Reader
) -> Iterator[tuple[Tensor, Tensor] | str]:
    """Read pairs a few ahead of their use; the reason in place of one that cannot be read."""

    def load(pair: RatedPair) -> tuple[Tensor, Tensor] | str:
        try:
            with memory_of_a_pair():
                return reading(pair)
        except ValueError as error:
            return str(error)

    waiting: deque[Future[tuple[Tensor, Tensor] | str]] = deque()
    for pair in pairs:
        waiting.append(pool.submit(load, pair))
        if len(waiting) > 4:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
