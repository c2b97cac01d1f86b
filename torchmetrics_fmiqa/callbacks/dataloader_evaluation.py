"""The evaluation of one dataloader in one stage, with what is known of its samples."""

from __future__ import annotations

import torch

from torchmetrics_fmiqa.callbacks.distributed_samples import DistributedSamples
from torchmetrics_fmiqa.comparator import Images
from torchmetrics_fmiqa.features.reference_cache import ReferenceCache
from torchmetrics_fmiqa.monitoring.batch import Batch
from torchmetrics_fmiqa.monitoring.evaluation import Evaluation
from torchmetrics_fmiqa.monitoring.options import EvaluationOptions


class DataloaderEvaluation(Evaluation):
    """Measures the pairs of one dataloader that are no padding.

    Args:
        options: what is measured.
        cache: features of references, or ``None``.
        version: version that names a reference in the cache, with its dataloader and index; ``None`` to look up by
            pixels.
        place: stage and index of the dataloader, which name its samples in the cache.
    """

    def __init__(
        self, options: EvaluationOptions, cache: ReferenceCache | None, version: str | None, place: tuple[str, int]
    ) -> None:
        super().__init__(options, cache)
        self.version, self.place = version, place
        self.samples = DistributedSamples(None, 1)  # replaced by start_epoch()

    def start_epoch(self, samples: DistributedSamples, device: torch.device) -> None:
        """Start an epoch."""
        self.samples = samples
        self.start(device)

    def add_batch(self, preds: Images, target: Images, batch_idx: int) -> None:
        """Measure the samples of a batch that are neither padding nor left out as not finite."""
        count, indices = self.samples.real_samples(batch_idx, len(preds))
        if count == 0:
            return
        if indices is None:
            names = [f"{batch_idx}-{i}" for i in range(count)]
            batch = Batch(names, [f"batch {name}" for name in names])
        else:
            keys = None if self.version is None else [(self.version, self.place, index) for index in indices]
            batch = Batch(indices, [f"index {index}" for index in indices], keys=keys)
        self.add(preds[:count], target[:count], batch)
