"""Build and copy networks independently of the modes, default dtype and random state of the calling context."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes


@contextmanager
def copied_in_the_open() -> Iterator[None]:
    """Switch off the modes of the calling context, to copy a network or to make a tensor that is kept.

    A network first used in ``trainer.validate`` would otherwise have inference tensors, and could not be used in a
    loss. One first used in ``torch.export`` or ``torch.func.grad`` would have tensors without values.
    """
    with (
        _disable_current_modes(),
        temporarily_clear_interpreter_stack(),
        torch.inference_mode(False),
        torch.no_grad(),
        torch._C.DisableTorchFunction(),
    ):
        yield


@contextmanager
def built_in_the_open() -> Iterator[None]:
    """As :func:`copied_in_the_open`, with float32 as default dtype, to build a network.

    Lightning's ``init_module`` (meta device, half default dtype, skipped initialisation) would otherwise apply.
    """
    _float32.enter()
    try:
        with copied_in_the_open():
            yield
    finally:
        _float32.leave()


class _Float32ByDefault:
    """Sets the default dtype of the process: the first thread that builds sets it, the last one restores it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._building = 0
        self._dtype_before = torch.float32

    def enter(self) -> None:
        with self._lock:
            if self._building == 0:
                self._dtype_before = torch.get_default_dtype()
                if self._dtype_before != torch.float32:
                    torch.set_default_dtype(torch.float32)
            self._building += 1

    def leave(self) -> None:
        with self._lock:
            self._building -= 1
            if self._building == 0 and self._dtype_before != torch.float32:
                torch.set_default_dtype(self._dtype_before)


_float32 = _Float32ByDefault()


class OwnRandomNumbers(TorchDispatchMode):
    """Draw random numbers from private generators, as after ``torch.manual_seed(seed)``.

    The generators of the process are not used, because another thread may draw from them at the same time.

    >>> with OwnRandomNumbers(0):
    ...     drawn = torch.rand(2)
    >>> bool((drawn == torch.rand(2, generator=torch.Generator().manual_seed(0))).all())
    True
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator; give it a private generator if it draws random numbers."""
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None:
            overload, device = _with_generator(func), _device(args, kwargs)
            if overload is not None and device.type != "meta":
                return overload(*args, **{**kwargs, "generator": self._generator(device)})
        return func(*args, **kwargs)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]


def _with_generator(func: Any) -> Any:
    """The overload of an operator that takes a generator, or ``None``."""
    if any(argument.name == "generator" for argument in func._schema.arguments):
        return func
    names = ("generator", f"{func._overloadname}_generator")
    overloads = [getattr(func.overloadpacket, name) for name in names if name in func.overloadpacket.overloads()]
    return overloads[0] if overloads else None


def _device(args: Any, kwargs: Any) -> torch.device:
    tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
    return tensors[0].device if tensors else torch.device(kwargs.get("device") or "cpu")
