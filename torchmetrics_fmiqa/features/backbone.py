"""Backbone: a frozen network read at its taps, on whatever device the images are.

It is no ``nn.Module`` and is never registered in one: absent from ``state_dict``, ``parameters()``, checkpoints and
optimizers, out of reach of ``.train()``, ``unfreeze()`` and averaging, shared by ``clone`` and ``deepcopy``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.features.building import copied_in_the_open
from torchmetrics_fmiqa.features.network import Network
from torchmetrics_fmiqa.features.tokens import Tokens, to_tokens
from torchmetrics_fmiqa.features.view import Outputs, View, Views

#: Mean and standard deviation of each channel.
MeanStd = tuple[Sequence[float], Sequence[float]]


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
        # Taps that a later layer writes into: a fact about the network, found out where it happens.
        self._overwritten: frozenset[int] = frozenset()
        self._tap_bytes: dict[tuple[int, int], int] = {}
        self._of(torch.device("cpu"), torch.float32)

    def __deepcopy__(self, memo: dict[int, Any]) -> Backbone:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Backbone, (self.network, self.taps, self.grad_checkpointing)

    def __call__(self, images: Tensor, mean_std: MeanStd | None = None) -> list[Tokens]:
        """Run images ``(N, 3, H, W)``, and return the tokens of each tap as the tap gave them.

        A tap that a later layer overwrites is copied. Threads may call it at once: nothing that a call collects is
        kept in the backbone.

        Args:
            images: stay as they are, whatever the network does to its input.
            mean_std: what each channel is shifted and scaled by first.

        Raises:
            ValueError: if a tap was never reached, or gives no tokens.
        """
        outputs = self._run(images, mean_std)
        if outputs.missing:
            tap = self.taps[min(outputs.missing)]
            raise ValueError(f"the forward pass of {self.network.name} never ran the tap {tap!r}")
        network, size = self.network, (images.shape[2], images.shape[3])
        found = []
        for output, tap in zip(outputs.values, self.taps, strict=True):
            found.append(to_tokens(output, tap, size, network.patch, network.prefix, network.channels_last))
        return found

    def _run(self, images: Tensor, mean_std: MeanStd | None) -> Outputs:
        views = self._of(images.device, images.dtype)
        if torch.compiler.is_compiling():  # no versions are counted there, and copies that nobody needs are dropped
            every = range(len(self.taps))
            if torch.compiler.is_dynamo_compiling():
                return views.first.run(_normalized(images, mean_std), every)
            with views.acquire() as view:
                return view.run(_normalized(images, mean_std), every)
        with views.acquire() as view, _counting_versions():
            while True:
                outputs = view.run(_normalized(images, mean_std), self._overwritten)
                overwritten = outputs.overwritten()
                if not overwritten:
                    return outputs
                self._overwritten |= overwritten

    def tap_bytes(self, height: int, width: int) -> int:
        """What all taps give of one image of that size, in bytes of float32; measured once a size."""
        found = self._tap_bytes.get((height, width))
        if found is None:
            with _trial():
                given = self._run(_black(height, width), None).values
            found = self._tap_bytes[height, width] = sum(one.nbytes for one in given if isinstance(one, Tensor))
        return found

    @cached_property
    def channels(self) -> dict[str, int]:
        """How many channels each tap has, by its name; measured once."""
        side = self.network.tile
        with _trial():
            return dict(zip(self.taps, (tokens.values.shape[2] for tokens in self(_black(side, side))), strict=True))

    @cached_property
    def least_side(self) -> int:
        """The smallest side, in pixels, that leaves the network something at its last tap; measured once."""
        least, enough = 0, self.network.minimum
        while enough - least > 1:
            side = (least + enough) // 2
            with _trial():
                try:
                    self._run(_black(side, side), None)
                except RuntimeError:  # an output of no pixels
                    least = side
                else:
                    enough = side
        return enough

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


@contextmanager
def _trial() -> Iterator[None]:
    """Run a network to find out about it, whatever the modes of the call that asks."""
    with copied_in_the_open(), torch.autocast("cpu", enabled=False):
        yield


def _black(height: int, width: int) -> Tensor:
    return torch.zeros(1, 3, height, width, dtype=torch.float32, device="cpu")


def _normalized(images: Tensor, mean_std: MeanStd | None) -> Tensor:
    """Images shifted and scaled, in memory of their own."""
    if mean_std is None:
        return images.clone()
    mean, std = (torch.tensor(values, dtype=images.dtype, device=images.device)[:, None, None] for values in mean_std)
    return (images - mean) / std


@contextmanager
def _counting_versions() -> Iterator[None]:
    """Leave inference mode, whose tensors do not tell when they are written into."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield
