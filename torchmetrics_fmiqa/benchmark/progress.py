"""How a long run says what it does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Progress(Protocol):
    """Shows what a run does, such as a bar on the terminal."""

    def status(self, text: str) -> None:
        """Say what is being done now."""

    def pairs(self, done: Iterable[int], total: int) -> Iterable[int]:
        """Pass on the numbers of pairs done, and show how many of how many they are."""


class SilentProgress:
    """Shows nothing."""

    def status(self, text: str) -> None:
        """Say nothing."""

    def pairs(self, done: Iterable[int], total: int) -> Iterable[int]:
        """Pass on the numbers of pairs done."""
        return done
