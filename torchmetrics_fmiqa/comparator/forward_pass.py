"""Both sides of a portion of tiles through the network, each distance taken as soon as its taps exist."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator.distance_terms import Job
from torchmetrics_fmiqa.features.backbone import Backbone, Consumer
from torchmetrics_fmiqa.features.network import Network
from torchmetrics_fmiqa.features.reference_cache import Shelf
from torchmetrics_fmiqa.features.tokens import Tokens
from torchmetrics_fmiqa.recipes import Recipe

#: Called with the number of a job, its distances and the tokens of the predictions that they were taken of.
Take = Callable[[int, Tensor, Tokens], None]

#: Called with the index of a tap and the tokens of the targets there.
See = Callable[[int, Tokens], None]

#: Called with the index of a tap and its tokens, gives those that count.
Inner = Callable[[int, Tokens], Tokens]

#: Mean and standard deviation of each channel.
MeanStd = tuple[Sequence[float], Sequence[float]]


class Forward:
    """Measures tiles of predictions against tiles of targets.

    Args:
        backbone: the network, with the taps of all jobs.
        jobs: the distances to take.
        mean_std: the network's input normalisation, or ``None``.
        protocol: of the recipes.
    """

    def __init__(self, backbone: Backbone, jobs: Sequence[Job], mean_std: MeanStd | None, protocol: str) -> None:
        self.backbone, self.jobs, self.mean_std, self.protocol = backbone, jobs, mean_std, protocol

    def of(self, jobs: Sequence[Job]) -> Forward:
        """The same for other jobs of the same taps."""
        return Forward(self.backbone, jobs, self.mean_std, self.protocol)

    def __call__(
        self,
        preds: Tensor,
        target: Tensor,
        dtype: torch.dtype | None,
        take: Take,
        shelf: Shelf | None = None,
        see: See | None = None,
        inner: Inner | None = None,
    ) -> None:
        """Run both sides through the network and hand over each job's distances as soon as its taps exist.

        Args:
            preds: ``(K, 3, h, w)`` in [0, 1].
            target: likewise.
            dtype: what the network computes in under autocast, ``None`` for full precision.
            take: gets the distances, ``(K, T)`` or ``(K,)``.
            shelf: features of targets that are known; not used where a gradient is asked for.
            see: is shown the targets' features too, without a graph.
            inner: picks the tokens that count, without a gradient and a shelf.

        Raises:
            ValueError: if a tap lacks the tokens that are asked for.
        """
        if needs_grad(preds):
            kept = _Kept()
            with torch.no_grad():
                self._run(target, dtype, kept.keep)
            kept.finish()
            self._run(preds, dtype, self._consumer(take, see, kept.pair))
            return
        with torch.no_grad():
            take = exact_zero(preds, target, take)
            if shelf is None:
                whole = inner or (lambda _, tokens: tokens)
                both = self._consumer(take, see, lambda index, tokens: whole(index, tokens).chunk())
                self._run(torch.cat([preds, target]), dtype, both)
            else:
                self._with_known(preds, target, dtype, take, shelf, see)

    def _with_known(
        self, preds: Tensor, target: Tensor, dtype: torch.dtype | None, take: Take, shelf: Shelf, see: See | None
    ) -> None:
        """Run predictions, and of the targets those whose features are not on the shelf."""

        def pair(index: int, tokens: Tokens) -> tuple[Tokens, Tokens]:
            ours, fresh = tokens.split(len(preds))
            return ours, ours._replace(values=shelf.references(index, fresh))

        images = torch.cat([preds, target[shelf.missing]]) if shelf.missing else preds
        self._run(images, dtype, self._consumer(take, see, pair))
        shelf.close()

    def _consumer(self, take: Take, see: See | None, pair: Callable[[int, Tokens], tuple[Tokens, Tokens]]) -> Consumer:
        waiting: dict[int, tuple[Tokens, Tokens]] = {}  # features that a distance over several taps still needs
        stacked = {index for job in self.jobs if len(job.taps) > 1 for index in job.taps}

        def consume(index: int, tokens: Tokens) -> None:
            sides = pair(index, tokens)
            if see is not None:
                see(index, sides[1])
            if index in stacked:
                # A later layer may overwrite what waits. With a gradient it has been seen to already.
                waiting[index] = sides if sides[0].values.requires_grad else (sides[0].copy(), sides[1].copy())
            for number, job in enumerate(self.jobs):
                if len(job.taps) > 1:
                    if index in job.taps and all(tap in waiting for tap in job.taps):
                        preds, target = zip(*(waiting[tap] for tap in job.taps), strict=True)
                        take(number, job.measure(preds, target, self.protocol), sides[0])
                elif job.taps[0] == index:
                    self._check_tokens(job, sides[0], index)
                    take(number, job.measure([sides[0]], [sides[1]], self.protocol), sides[0])

        return consume

    def _check_tokens(self, job: Job, tokens: Tokens, index: int) -> None:
        name, patches = self.backbone.taps[index], tokens.grid != (0, 0)
        if job.tokens == "prefix" and tokens.prefix == 0:
            raise ValueError(f"`tokens='prefix'` but the tap {name!r} has no prefix tokens: take 'patch' or 'all'")
        if job.tokens == "patch" and not patches:
            raise ValueError(f"`tokens='patch'` but the tap {name!r} is a pooled embedding: take 'all'")

    def _run(self, images: Tensor, dtype: torch.dtype | None, consume: Consumer) -> None:
        if self.mean_std is not None:
            mean, std = (
                torch.tensor(v, dtype=images.dtype, device=images.device)[:, None, None] for v in self.mean_std
            )
            images = (images - mean) / std
        else:
            images = images.clone()  # a network may write into its input, which is the caller's
        if dtype is None:
            self.backbone(images, consume)
            return

        def consume_outside(index: int, tokens: Tokens) -> None:
            with full_precision(images):  # the hooks run inside the backbone's autocast
                consume(index, tokens)

        with torch.autocast(images.device.type, dtype):
            self.backbone(images, consume_outside)


class _Kept:
    """The targets' tokens until the predictions' exist: copies, since a later layer may overwrite what it is given."""

    def __init__(self) -> None:
        self._copies: dict[int, Tokens] = {}
        self._read: list[tuple[int, Tensor, int]] = []
        self._overwritten: set[int] = set()
        # No versions are counted there, and the compiler drops copies that nobody needs.
        self._all = torch.compiler.is_compiling()

    def keep(self, index: int, tokens: Tokens) -> None:
        """Keep the tokens of a tap."""
        self._copies[index] = tokens.detach().copy()
        if not self._all:
            self._read.append((index, tokens.values, tokens.values._version))

    def finish(self) -> None:
        """Note, once the network has run, which taps were overwritten after they had been read."""
        self._overwritten = {index for index, values, version in self._read if values._version != version}
        self._read.clear()

    def pair(self, index: int, tokens: Tokens) -> tuple[Tokens, Tokens]:
        """The predictions' tokens, safe for the backward pass, and the targets'."""
        copied = self._all or index in self._overwritten
        return tokens.copy() if copied else tokens, self._copies.pop(index)


def input_normalization(recipe: Recipe, network: Network) -> MeanStd | None:
    """What the network wants its input shifted and scaled by.

    Raises:
        ValueError: if the recipe leaves it to a network that does not say.
    """
    if recipe.normalization == "none":
        return None
    if recipe.normalization != "model":
        return recipe.normalization  # type: ignore[return-value]
    if network.mean is None or network.std is None:
        raise ValueError(
            f"`normalization='model'` is not known for {network.name}: give normalization='none', "
            "or (mean, std) with three values each"
        )
    return network.mean, network.std


def needs_grad(preds: Tensor) -> bool:
    """Whether a gradient is asked for."""
    return torch.is_grad_enabled() and preds.requires_grad


def full_precision(images: Tensor) -> torch.autocast:
    """Everything but the backbone computes in the dtype that it is given."""
    return torch.autocast(images.device.type, enabled=False)


def exact_zero(preds: Tensor, target: Tensor, take: Take) -> Take:
    """Make equal tiles 0 to the last digit: some processors round a row of a matrix by its place in the batch."""
    differ = (preds != target).flatten(1).any(1)

    def taken(number: int, value: Tensor, tokens: Tokens) -> None:
        take(number, torch.where(differ.view(-1, *[1] * (value.ndim - 1)), value, 0.0), tokens)

    return taken
