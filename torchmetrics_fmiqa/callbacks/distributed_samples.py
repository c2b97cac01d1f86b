"""Tell the samples of a batch from padding, and find their indices in the dataset, from the dataloader's sampler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import BatchSampler, DistributedSampler, SequentialSampler


def running_loaders(trainer: Any, stage: str) -> tuple[list[Any], bool]:
    """The dataloaders of the running evaluation, and whether they step together.

    They are in the order of ``dataloader_idx``. They step together in every mode of a ``CombinedLoader`` except
    "sequential".

    Args:
        trainer: the trainer that evaluates.
        stage: ``"val"`` or ``"test"``.
    """
    if stage == "test":
        loop, loaders = trainer.test_loop, trainer.test_dataloaders
    else:
        fitting = trainer.state.fn == "fit"
        loop, loaders = trainer.fit_loop.epoch_loop.val_loop if fitting else trainer.validate_loop, None
    # After a fit, `trainer.val_dataloaders` gives the loaders of the fit even in a later validation. Lightning has no
    # public name for the running ones or for their mode.
    combined = getattr(loop, "_combined_loader", None)
    if combined is None:
        return flatten_loaders(trainer.val_dataloaders if loaders is None else loaders), False
    flat = list(combined.flattened)
    return flat, len(flat) > 1 and getattr(combined, "_mode", "sequential") != "sequential"


def flatten_loaders(loaders: Any) -> list[Any]:
    """All dataloaders of nested mappings and lists, in the order of ``dataloader_idx``."""
    if loaders is None:
        return []
    if isinstance(loaders, Mapping):
        return [loader for part in loaders.values() for loader in flatten_loaders(part)]
    if isinstance(loaders, (list, tuple)):
        return [loader for part in loaders for loader in flatten_loaders(part)]
    return [loaders]


def joined_samples(loaders: list[Any], world_size: int) -> DistributedSamples:
    """The samples of loaders that step together; padding is known only if all loaders are sampled alike."""
    per_loader = [DistributedSamples(loader, world_size) for loader in loaders]
    kinds = {(each.batch_size, each.sampler and len(each.sampler), each.real, each.certain) for each in per_loader}
    samples = per_loader[0] if len(kinds) == 1 else DistributedSamples(None, world_size)
    samples.has_indices = False  # the loaders may have different datasets
    return samples


class DistributedSamples:
    """The samples that a rank gets from a dataloader during one epoch.

    A ``DistributedSampler`` with ``drop_last=False`` pads. Of N samples on W ranks, the first ``len(range(r, N, W))``
    of rank r are real, and the rest are repetitions. This holds for any batch size, shuffled or not.

    Args:
        loader: the dataloader, or any iterable of batches.
        world_size: number of ranks.
    """

    def __init__(self, loader: Any, world_size: int) -> None:
        self.sampler = _sampler(loader)
        # `loader.batch_size` is None if the loader was given a batch sampler.
        self.batch_size = None if self.sampler is None else loader.batch_sampler.batch_size
        self.has_indices = True
        self._order: list[int] | None = None
        sampler = self.sampler
        self.real: int | None = None
        if isinstance(sampler, DistributedSampler) and _samples_as_torch(sampler):
            if not sampler.drop_last:
                self.real = len(range(sampler.rank, len(sampler.dataset), sampler.num_replicas))  # type: ignore[arg-type]
            self.certain = True
        else:
            self.certain = world_size == 1

    def real_samples(self, batch_idx: int, count: int) -> tuple[int, list[int] | None]:
        """The count of real samples in a batch (they come first), and their indices in the dataset if known.

        Args:
            batch_idx: index of the batch on this rank.
            count: number of images in the batch.
        """
        first = batch_idx * (self.batch_size or 0)
        if self.sampler is None or count != min(self.batch_size, len(self.sampler) - first):  # type: ignore[type-var]
            # The step left samples out or added some, so their indices are unknown.
            self.certain = self.certain and self.real is None
            return count, None
        kept = count if self.real is None else max(0, min(count, self.real - first))
        return kept, self._indices(first, kept)

    def _indices(self, first: int, count: int) -> list[int] | None:
        sampler = self.sampler
        if not self.has_indices:
            return None
        if type(sampler) is SequentialSampler:
            return list(range(first, first + count))
        if type(sampler) is not DistributedSampler:
            return None  # iterating another sampler may draw random numbers that training depends on
        if self._order is None:
            self._order = list(sampler)
        return self._order[first : first + count]


def _sampler(loader: Any) -> Any:
    """The sampler that orders the samples; ``None`` for a custom batch sampler."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    if batch_sampler is None:
        return None
    sampler = batch_sampler.sampler if type(batch_sampler) is BatchSampler else None
    return sampler if hasattr(sampler, "__len__") else None  # the length of a stream is unknown


def _samples_as_torch(sampler: DistributedSampler[Any]) -> bool:
    """Whether the sampler is torch's own or Lightning's wrapper of it."""
    return type(sampler).__module__.split(".")[0] in ("torch", "lightning", "pytorch_lightning")
