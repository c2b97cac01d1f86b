"""Networks are built and copied untouched by the context that they happen to be first used in, and leave no trace."""

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
    """Copy a network, or make any tensor that is kept, untouched by the modes of the call that needs it.

    A network first used in ``trainer.validate`` would otherwise be made of inference tensors and never serve a loss,
    one first used in ``torch.export`` or ``torch.func.grad`` of tensors without values.
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
    """Build a network untouched by the context: as :func:`copied_in_the_open`, and in float32 by default.

    Lightning's ``init_module`` (meta device, half default dtype, skipped initialisation) would otherwise leak in.
    """
    _float32.enter()
    try:
        with copied_in_the_open():
            yield
    finally:
        _float32.leave()


class _Float32ByDefault:
    """The default dtype is the process's: the first thread that builds sets it, the last one sets it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._building = 0
        self._found = torch.float32

    def enter(self) -> None:
        with self._lock:
            if self._building == 0:
                self._found = torch.get_default_dtype()
                if self._found != torch.float32:
                    torch.set_default_dtype(torch.float32)
            self._building += 1

    def leave(self) -> None:
        with self._lock:
            self._building -= 1
            if self._building == 0 and self._found != torch.float32:
                torch.set_default_dtype(self._found)


_float32 = _Float32ByDefault()


class OwnRandomNumbers(TorchDispatchMode):
    """Random numbers from generators of one's own, as ``torch.manual_seed(seed)`` would give them.

    The generators of the process are left alone: another thread may draw from them at the same time.

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
        """Run an operator of torch; one that draws random numbers, with an own generator."""
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None:
            drawing, device = _with_generator(func), _device(args, kwargs)
            if drawing is not None and device.type != "meta":
                return drawing(*args, **{**kwargs, "generator": self._of(device)})
        return func(*args, **kwargs)

    def _of(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]


def _with_generator(func: Any) -> Any:
    """The overload of an operator that takes a generator, ``None`` where there is none."""
    if any(argument.name == "generator" for argument in func._schema.arguments):
        return func
    names = ("generator", f"{func._overloadname}_generator")
    found = [getattr(func.overloadpacket, name) for name in names if name in func.overloadpacket.overloads()]
    return found[0] if found else None


def _device(args: Any, kwargs: Any) -> torch.device:
    tensors = [one for one in args if isinstance(one, torch.Tensor)]
    return tensors[0].device if tensors else torch.device(kwargs.get("device") or "cpu")
