"""Turn memory errors into the errors of a pair, and measure the peak memory of a call."""

from __future__ import annotations

import errno
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Messages of torch, its libraries and devices that mean out of memory; some are plain RuntimeErrors.
_MESSAGES = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "alloc_failed",
    "could not create a memory object",
    "could not create a primitive",
)
_FIX = (
    "give resolution=tile or max_side=..., which take less and give another number "
    "(on the command line --set resolution=tile or --set max_side=1920)"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the memory of the machine or of a device ran out.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 8 GiB"))
    (True, True)
    >>> is_out_of_memory(RuntimeError("shapes differ"))
    False
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error).lower() for message in _MESSAGES)


@contextmanager
def memory_of_a_pair(sizes: Sequence[int] | None = None) -> Iterator[None]:
    """Turn an out-of-memory error into a ValueError, so that only the pair fails and the run goes on.

    This is only for loops over many pairs; other callers should see the original error. The tensors of the pair are
    freed when the handler of the ValueError ends.

    Args:
        sizes: height and width of the images, for the message.

    Raises:
        ValueError: naming the size and the fix.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        size = "" if sizes is None else f" of {sizes[-2]}x{sizes[-1]} pixels (H x W)"
        raise ValueError(f"there is not enough memory for a pair{size}: {_FIX}") from None


def peak_bytes(call: Callable[[], object]) -> int:
    """Peak bytes of the tensors that a call creates, counted from their shapes.

    It is equal on every machine and version, unlike the memory of a process. Workspace of kernels is not included.

    >>> peak_bytes(lambda: torch.zeros(100) + torch.zeros(100))
    1200
    """
    counter = _LiveBytes()
    with counter:
        call()
    return counter.peak


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages that operations of this thread create, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in self._known | inputs:  # not a view, and not written in place
                    self._add(storage)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, key, size).atexit = False

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size
