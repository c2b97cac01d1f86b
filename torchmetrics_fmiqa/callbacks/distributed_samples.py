"""Which samples of a batch are real, and which of the dataset they are: what the dataloader's sampler tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import BatchSampler, DistributedSampler, SequentialSampler


def running_loaders(trainer: Any, stage: str) -> tuple[list[Any], bool]:
    """The dataloaders that an evaluation runs over now, and whether they step together as one stream.

    In the order of ``dataloader_idx``. Loaders step together in every mode of a ``CombinedLoader`` but "sequential".

    Args:
        trainer: whose evaluation it is.
        stage: ``"val"`` or ``"test"``.
    """
    if stage == "test":
        loop, given = trainer.test_loop, trainer.test_dataloaders
    else:
        fitting = trainer.state.fn == "fit"
        loop, given = trainer.fit_loop.epoch_loop.val_loop if fitting else trainer.validate_loop, None
    # After a fit `trainer.val_dataloaders` gives the loaders of the fit, whatever is validated now. Lightning has no
    # public name for the running ones, nor for their mode.
    combined = getattr(loop, "_combined_loader", None)
    if combined is None:
        return flatten_loaders(trainer.val_dataloaders if given is None else given), False
    loaders = list(combined.flattened)
    return loaders, len(loaders) > 1 and getattr(combined, "_mode", "sequential") != "sequential"


def flatten_loaders(loaders: Any) -> list[Any]:
    """Dataloaders in the order of ``dataloader_idx``, whatever they were given in."""
    if loaders is None:
        return []
    if isinstance(loaders, Mapping):
        return [loader for part in loaders.values() for loader in flatten_loaders(part)]
    if isinstance(loaders, (list, tuple)):
        return [loader for part in loaders for loader in flatten_loaders(part)]
    return [loaders]


def joined_samples(loaders: list[Any], world_size: int) -> DistributedSamples:
    """The samples of loaders that step together: known as those of one loader where all are dealt out alike."""
    several = [DistributedSamples(loader, world_size) for loader in loaders]
    kinds = {(one.batch_size, one.sampler and len(one.sampler), one.real, one.certain) for one in several}
    samples = several[0] if len(kinds) == 1 else DistributedSamples(None, world_size)
    samples.has_indices = False  # the loaders may be of different data
    return samples


class DistributedSamples:
    """The samples that a rank gets from a dataloader during one epoch.

    A ``DistributedSampler`` that does not drop the last pads: of N samples on W ranks, rank r's first
    ``len(range(r, N, W))`` are real, and the rest repeats others. That holds for any batch size, shuffled or not.

    Args:
        loader: the dataloader, or any iterable of batches.
        world_size: ranks that share the work.
    """

    def __init__(self, loader: Any, world_size: int) -> None:
        self.sampler = _sampler(loader)
        # Not the loader's, which has none where it was given a batch sampler.
        self.batch_size = None if self.sampler is None else loader.batch_sampler.batch_size
        self.has_indices = True
        self._order: list[int] | None = None
        sampler = self.sampler
        self.real: int | None = None
        if isinstance(sampler, DistributedSampler) and _known(sampler):
            if not sampler.drop_last:
                self.real = len(range(sampler.rank, len(sampler.dataset), sampler.num_replicas))  # type: ignore[arg-type]
            self.certain = True
        else:
            self.certain = world_size == 1

    def take(self, batch_idx: int, count: int) -> tuple[int, list[int] | None]:
        """How many of a batch's samples are real (they come first), and the dataset's index of each, if it is known.

        Args:
            batch_idx: number of the batch on this rank.
            count: images in the batch.
        """
        first = batch_idx * (self.batch_size or 0)
        if self.sampler is None or count != min(self.batch_size, len(self.sampler) - first):  # type: ignore[type-var]
            # The step left samples out or added some, so nobody can say which ones these are.
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
            return None  # asking another one for its order may draw random numbers that training relies on
        if self._order is None:
            self._order = list(sampler)
        return self._order[first : first + count]


def _sampler(loader: Any) -> Any:
    """The sampler that decides the order of samples, or ``None`` where a batch sampler of its own kind does."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    if batch_sampler is None:
        return None
    sampler = batch_sampler.sampler if type(batch_sampler) is BatchSampler else None
    return sampler if hasattr(sampler, "__len__") else None  # a stream of samples has no end to count to


def _known(sampler: DistributedSampler[Any]) -> bool:
    """Whether the sampler deals samples out as torch does: torch's own, and Lightning's wrappers around it."""
    return type(sampler).__module__.split(".")[0] in ("torch", "lightning", "pytorch_lightning")
