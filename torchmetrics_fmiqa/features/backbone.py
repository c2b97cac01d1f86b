"""Backbone: a frozen network read at its taps, on whatever device the images are.

It is no ``nn.Module`` and is never registered in one: absent from ``state_dict``, ``parameters()``, checkpoints and
optimizers, out of reach of ``.train()``, ``unfreeze()`` and averaging, shared by ``clone`` and ``deepcopy``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.network import Network
from torchmetrics_fmiqa.features.tokens import Tokens, to_tokens
from torchmetrics_fmiqa.features.view import View, Views

#: Called with the index of a tap and its tokens, as soon as they exist.
Consumer = Callable[[int, Tokens], None]


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
        self._views: dict[tuple[torch.device, torch.dtype], Views] = {}
        self._lock = threading.Lock()
        self._of(torch.device("cpu"), torch.float32)

    def __deepcopy__(self, memo: dict[int, Any]) -> Backbone:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Backbone, (self.network, self.taps, self.grad_checkpointing)

    def __call__(self, images: Tensor, consume: Consumer) -> None:
        """Run normalised images ``(N, 3, H, W)``, handing over each tap's tokens as soon as they exist.

        Threads may call it at once: nothing that a call collects is kept in the backbone.

        Raises:
            ValueError: if a tap was never reached, or gives no tokens.
        """
        views = self._of(images.device, images.dtype)
        network, size = self.network, (images.shape[2], images.shape[3])

        def take(index: int, output: Tensor) -> None:
            tap = self.taps[index]
            consume(index, to_tokens(output, tap, size, network.patch, network.prefix, network.channels_last))

        if torch.compiler.is_dynamo_compiling():
            seen = views.first.run(images, take)
        else:
            with views.lend() as view:
                seen = view.run(images, take)
        if len(seen) < len(self.taps):
            missed = [tap for index, tap in enumerate(self.taps) if index not in seen]
            raise ValueError(f"the forward pass of {network.name} never ran the tap {missed[0]!r}")

    def _of(self, device: torch.device, dtype: torch.dtype) -> Views:
        views = self._views.get((device, dtype))
        if views is None:
            views = self._make_views(device, dtype)
        return views

    @torch.compiler.disable
    def _make_views(self, device: torch.device, dtype: torch.dtype) -> Views:
        with self._lock:
            key = (device, dtype)
            if key not in self._views:  # another thread may have made them meanwhile
                views = Views(lambda: View(self.network.on(*key), self.network, self.taps, self.grad_checkpointing))
                # One device beside the CPU: a metric that moves on leaves no weights behind on the old one.
                kept = {other: held for other, held in self._views.items() if other[0].type == "cpu" or held.in_use}
                self._views = {**kept, key: views}
            return self._views[key]
