"""Views: private module trees over the shared tensors of a network, one for each call that runs at once."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules
from torch.utils.checkpoint import checkpoint

from torchmetrics_fmiqa.features.building import copied_in_the_open
from torchmetrics_fmiqa.features.network import Network

# Views that wait for the next call. More calls at once than this make views of their own.
_KEPT = 8


class _AllTapsReadError(BaseException):
    """Ends a forward pass after its last tap; a ``BaseException``, so that no network's own ``except`` swallows it."""


class Outputs:
    """What the taps gave in one call.

    Args:
        count: how many taps there are.
        copied: indices of the taps whose output is copied, since a later layer overwrites it.
    """

    def __init__(self, count: int, copied: Collection[int]) -> None:
        self.values: list[Any] = [None] * count
        self.missing = set(range(count))
        self._copied = copied
        self._versions: dict[int, int] = {}
        self.entered: list[nn.Module] = []

    def add(self, index: int, output: Any) -> None:
        """Keep the output of a tap."""
        self.missing.discard(index)
        if isinstance(output, Tensor) and index in self._copied:
            output = output.clone()
        elif isinstance(output, Tensor) and not torch.compiler.is_compiling():  # which counts no versions
            self._versions[index] = output._version
        self.values[index] = output

    def overwritten(self) -> frozenset[int]:
        """Indices of the taps that were written into after they had been read."""
        return frozenset(index for index, version in self._versions.items() if self.values[index]._version != version)


class _Call(threading.local):
    """Where the hooks of a view find the outputs of the call that is running.

    A call has a view to itself, but for compiled ones, which share the first: hence each thread has its own. Holds no
    module, so a view dies without the garbage collector.
    """

    outputs: Outputs | None = None

    def read(self, index: int, module: nn.Module, args: Any, output: Any) -> None:
        outputs = self.outputs
        if outputs is None or index not in outputs.missing:  # a module that runs again is read at its first run
            return
        outputs.add(index, output)
        # A compiled graph drops what nobody uses by itself, and could not hold the exception.
        if not outputs.missing and not torch.compiler.is_compiling():
            if torch_modules._global_forward_hooks:
                outputs.entered = _entered_modules()
            raise _AllTapsReadError


class View:
    """A private module tree over the shared tensors of a network: hooks and patches on it touch nobody else's.

    Args:
        net: the network on the device and in the dtype of the view.
        network: the facts about it.
        taps: names of the modules to read.
        grad_checkpointing: recompute the stages in the backward pass.
    """

    def __init__(self, net: nn.Module, network: Network, taps: tuple[str, ...], grad_checkpointing: bool) -> None:
        self.net = net  # keeps the registry's weak entry alive
        with copied_in_the_open():
            shared = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
            self.module: Any = copy.deepcopy(net, shared)
        self._call = _Call()
        self._count = len(taps)
        # The features alone where the taps allow it: a head may not take every size, and compiled code traces it all.
        only_features = set(taps) <= set(network.stages) and hasattr(self.module, "forward_features")
        self._forward: Any = self.module.forward_features if only_features else self.module
        if grad_checkpointing:
            for name in (*network.stages, *taps):
                # A tap inside a checkpointed module would be read again when that module is recomputed.
                if not any(tap.startswith(f"{name}.") for tap in taps):
                    _checkpoint(self.module.get_submodule(name))
        for index, tap in enumerate(taps):
            self.module.get_submodule(tap).register_forward_hook(partial(self._call.read, index))

    def run(self, images: Tensor, copied: Collection[int] = ()) -> Outputs:
        """Run the network no further than its last tap.

        Args:
            images: ``(N, 3, H, W)``, normalised; the network may write into them.
            copied: indices of the taps whose output is copied as soon as it exists.
        """
        outputs = self._call.outputs = Outputs(self._count, copied)
        try:
            self._forward(images)
        except _AllTapsReadError:
            _leave(outputs.entered)
        finally:
            self._call.outputs = None
        outputs.entered = []
        return outputs


class Views:
    """The views of one device and dtype. A call has one to itself: some networks keep things while they run.

    Args:
        make: makes a view.
    """

    def __init__(self, make: Callable[[], View]) -> None:
        self._make = make
        #: What compiled code runs: a graph holds no state, so that many threads may share it.
        self.first = make()
        self._idle = [self.first]
        self._lock = threading.Lock()
        self._lent = 0

    @property
    def in_use(self) -> bool:
        """Whether a call has a view at the moment."""
        return self._lent > 0

    @contextmanager
    def acquire(self) -> Iterator[View]:
        """A view for one call."""
        with self._lock:
            self._lent += 1
            view = self._idle.pop() if self._idle else None
        try:
            view = view or self._make()
            yield view
        finally:
            with self._lock:
                self._lent -= 1
                if view is not None and len(self._idle) < _KEPT:
                    self._idle.append(view)


def _checkpoint(module: nn.Module) -> None:
    """Recompute a module in the backward pass. Its hooks stay outside, so a tap is read once."""
    if "forward" in vars(module):
        return
    forward = module.forward

    def recomputed(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    module.forward = recomputed


def _entered_modules() -> list[nn.Module]:
    """The modules of a view that are running, innermost first, without the tap that has just run."""
    found: list[nn.Module] = []
    frame = sys._getframe()
    while frame is not None and frame.f_code is not View.run.__code__:
        if frame.f_code is nn.Module._call_impl.__code__:
            found.append(frame.f_locals["self"])
        frame = frame.f_back  # type: ignore[assignment]
    return found[1:]


def _leave(modules: list[nn.Module]) -> None:
    """Run the hooks that stand behind every module for those that were left early, as torch does where one fails.

    ``FlopCounterMode`` would otherwise count what runs later as part of this network.
    """
    for module in modules:
        for number, hook in list(torch_modules._global_forward_hooks.items()):
            call: Callable[..., Any] = hook
            keywords: list[Any] = [{}] if number in torch_modules._global_forward_hooks_with_kwargs else []
            with suppress(Exception):
                call(module, (), *keywords, None)
