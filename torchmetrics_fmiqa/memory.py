"""Memory that runs out, and how much of it a call takes."""

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

# How torch, its libraries and the devices say it; some of them in a plain RuntimeError.
_SAID = (
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
    """Whether an error says that memory ran out, of the machine or of a device.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 8 GiB"))
    (True, True)
    >>> is_out_of_memory(RuntimeError("shapes differ"))
    False
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error).lower() for said in _SAID)


@contextmanager
def memory_of_a_pair(sizes: Sequence[int] | None = None) -> Iterator[None]:
    """Turn memory that runs out on a pair into a ValueError, so that it is that pair's error and the run goes on.

    Only for loops over many pairs: who measures one pair, or searches a batch size, wants the error as it is. What the
    pair holds is freed once the handler of the ValueError is left.

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
    """The most bytes of tensors that live at once of all that a call makes, counted from their shapes.

    Equal on every machine and version, unlike the memory of a process: what kernels take for themselves is not in it.

    >>> peak_bytes(lambda: torch.zeros(100) + torch.zeros(100))
    1200
    """
    counter = _LiveBytes()
    with counter:
        call()
    return counter.peak


class _LiveBytes(TorchDispatchMode):
    """Counts the storages that operations make, until they are freed. Of this thread alone."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        before = {one.untyped_storage()._cdata for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        for one in tree_leaves(result):
            if isinstance(one, Tensor):
                storage = one.untyped_storage()
                if storage._cdata not in self._known | before:  # no view, and not written in place
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
