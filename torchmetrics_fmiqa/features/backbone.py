"""Backbone: a frozen network read at its taps, on whatever device the images are.

It is no ``nn.Module`` and is never registered in one: absent from ``state_dict``, ``parameters()``, checkpoints and
optimizers, out of reach of ``.train()``, ``unfreeze()`` and averaging, shared by ``clone`` and ``deepcopy``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from torchmetrics_fmiqa.features.network import Network
from torchmetrics_fmiqa.features.tokens import Tokens, to_tokens
from torchmetrics_fmiqa.features.weights import built_in_the_open

#: Called with the index of a tap and its tokens, as soon as they exist.
Consumer = Callable[[int, Tokens], None]


class _AllTapsReadError(BaseException):
    """Ends a forward pass after its last tap; a ``BaseException``, so that no network's own ``except`` swallows it."""


class _Reader:
    """What the hooks of a view write to. Holds no module, so a view dies without the garbage collector."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.seen: list[int] = []
        self.consume: Callable[[int, Tensor], None] | None = None

    def read(self, index: int, module: nn.Module, args: Any, output: Tensor) -> None:
        if self.consume is None or index in self.seen:  # a module that runs again is read at its first run
            return
        self.seen.append(index)
        self.consume(index, output)
        # A compiled graph drops what nobody uses by itself, and could not hold the exception.
        if len(self.seen) == self.count and not torch.compiler.is_compiling():
            raise _AllTapsReadError


class _View:
    """A private module tree over the shared tensors of a network: hooks and patches on it touch nobody else's."""

    def __init__(self, net: nn.Module, network: Network, taps: tuple[str, ...], grad_checkpointing: bool) -> None:
        self.net = net  # keeps the registry's weak entry alive
        with built_in_the_open():
            shared = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
            self.module: Any = copy.deepcopy(net, shared)
        self.reader = _Reader(len(taps))
        # The features alone where the taps allow it: a head may not take every size, and compiled code traces it all.
        only_features = set(taps) <= set(network.stages) and hasattr(self.module, "forward_features")
        self.forward: Any = self.module.forward_features if only_features else self.module
        if grad_checkpointing:
            for name in (*network.stages, *taps):
                # A tap inside a checkpointed module would be read again when that module is recomputed.
                if not any(tap.startswith(f"{name}.") for tap in taps):
                    _checkpoint(self.module.get_submodule(name))
        for index, tap in enumerate(taps):
            self.module.get_submodule(tap).register_forward_hook(partial(self.reader.read, index))


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


class Backbone:
    """A frozen network, run no further than its last tap.

    Args:
        network: from :func:`~torchmetrics_fmiqa.features.network.load_network`.
        taps: module names, as :meth:`Network.resolve` gives them.
        grad_checkpointing: recompute the stages in the backward pass: less memory, one more forward of time.
    """

    def __init__(self, network: Network, taps: tuple[str, ...], grad_checkpointing: bool = False) -> None:
        self.network = network
        self.taps = taps
        self.grad_checkpointing = grad_checkpointing
        self._views: dict[tuple[torch.device, torch.dtype], _View] = {}
        self._view(torch.device("cpu"), torch.float32)

    def __deepcopy__(self, memo: dict[int, Any]) -> Backbone:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Backbone, (self.network, self.taps, self.grad_checkpointing)

    def __call__(self, images: Tensor, consume: Consumer) -> None:
        """Run normalised images ``(N, 3, H, W)``, handing over each tap's tokens as soon as they exist.

        Raises:
            ValueError: if a tap was never reached, or gives no tokens.
        """
        view = self._view(images.device, images.dtype)
        network, size = self.network, (images.shape[2], images.shape[3])

        def take(index: int, output: Tensor) -> None:
            tap = self.taps[index]
            consume(index, to_tokens(output, tap, size, network.patch, network.prefix, network.channels_last))

        reader = view.reader
        reader.seen, reader.consume = [], take
        try:
            view.forward(images)
        except _AllTapsReadError:
            pass
        finally:
            reader.consume = None
        if len(reader.seen) < len(self.taps):
            missed = [tap for index, tap in enumerate(self.taps) if index not in reader.seen]
            raise ValueError(f"the forward pass of {network.name} never ran the tap {missed[0]!r}")

    def _view(self, device: torch.device, dtype: torch.dtype) -> _View:
        view = self._views.get((device, dtype))
        if view is None:
            view = self._make_view(device, dtype)
        return view

    @torch.compiler.disable
    def _make_view(self, device: torch.device, dtype: torch.dtype) -> _View:
        view = _View(self.network.on(device, dtype), self.network, self.taps, self.grad_checkpointing)
        # One view beside the CPU's: a metric that moves on leaves no weights behind on the old device.
        self._views = {key: kept for key, kept in self._views.items() if key[0].type == "cpu"}
        self._views[device, dtype] = view
        return view
