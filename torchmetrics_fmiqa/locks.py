"""A lock that can be copied and pickled with its owner: the copy has a new lock."""

from __future__ import annotations

import threading
from typing import Any


class CopiedLock:
    """A reentrant lock; ``copy``, ``deepcopy`` and ``pickle`` make a new, free one.

    >>> import copy
    >>> lock = CopiedLock()
    >>> with lock, copy.deepcopy(lock):
    ...     pass
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return CopiedLock, ()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
