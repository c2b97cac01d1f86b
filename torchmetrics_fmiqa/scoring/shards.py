"""Which pairs a worker scores: shard i of n, by an option or by what a launcher says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """One of several workers that share the pairs of an input.

    Args:
        index: which, from 0.
        count: how many there are.

    Raises:
        ValueError: for an index outside ``0 ... count - 1``.

    >>> [list(Shard(index, 3).rows(10)) for index in range(3)]
    [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"shards count from 0: one of {self.count} is 0 to {self.count - 1}, got {self.index}")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def rows(self, total: int) -> range:
        """The rows of an input that are this worker's: neighbours, which lie in few files."""
        return range(self.index * total // self.count, (self.index + 1) * total // self.count)


#: All pairs are one worker's.
WHOLE = Shard()


def read_shard(text: str) -> Shard:
    """Parse ``i/n``.

    Raises:
        ValueError: for any other text.

    >>> read_shard("3/8")
    Shard(index=3, count=8)
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None:
        raise ValueError(f"`--shard` takes i/n, the first of 8 is 0/8; got {text!r}")
    return Shard(int(match[1]), int(match[2]))


def shard_of_environment(environment: Mapping[str, str]) -> Shard:
    """The shard that a launcher's variables say: ``torchrun``, a Slurm array, or one inside the other.

    Args:
        environment: with ``RANK`` and ``WORLD_SIZE``, or ``SLURM_ARRAY_TASK_ID`` and ``SLURM_ARRAY_TASK_COUNT``
            (``_MIN`` and ``_STEP`` too, where an array does not count from 0 by 1); without them, all is one shard.

    Raises:
        ValueError: for values that are no numbers.

    >>> shard_of_environment({"RANK": "1", "WORLD_SIZE": "4"}), shard_of_environment({})
    (Shard(index=1, count=4), Shard(index=0, count=1))
    >>> array = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "5"}
    >>> shard_of_environment(array)
    Shard(index=2, count=5)
    """

    def number(name: str, default: int) -> int:
        text = environment.get(name, str(default))
        if not text.isdecimal():
            raise ValueError(f"{name} is {text!r}, not a number: give --shard i/n")
        return int(text)

    rank, world = 0, 1
    if "RANK" in environment and "WORLD_SIZE" in environment:
        rank, world = number("RANK", 0), number("WORLD_SIZE", 1)
    task, tasks = 0, 1
    if "SLURM_ARRAY_TASK_ID" in environment and "SLURM_ARRAY_TASK_COUNT" in environment:
        first, step = number("SLURM_ARRAY_TASK_MIN", 0), max(1, number("SLURM_ARRAY_TASK_STEP", 1))
        task, tasks = (number("SLURM_ARRAY_TASK_ID", 0) - first) // step, number("SLURM_ARRAY_TASK_COUNT", 1)
    return Shard(task * world + rank, tasks * world)
