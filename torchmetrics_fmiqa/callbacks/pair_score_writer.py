"""Scores of what a model predicts, part by part, from `Trainer.predict`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import BasePredictionWriter
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch import Tensor

from torchmetrics_fmiqa.callbacks.distributed_samples import flatten_loaders
from torchmetrics_fmiqa.data.run_folder import open_run_folder
from torchmetrics_fmiqa.scoring import ScorePairs
from torchmetrics_fmiqa.scoring.batches import Loaded, Scored
from torchmetrics_fmiqa.scoring.parts import Parts, rows_of
from torchmetrics_fmiqa.scoring.shards import Shard

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from torchmetrics_fmiqa.recipes import Recipe
    from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe


class PairScoreWriter(BasePredictionWriter):
    """Scores what ``Trainer.predict`` predicts, and writes the folder that ``fmiqa score --out FOLDER/`` writes.

    ``predict_step`` gives a mapping with ``preds`` and ``target``, ``(N, 3, H, W)`` in [0, 1], and the names of the
    images as ``id``. Each rank writes its own parts; ``Trainer.predict`` gives each image to one rank, without the
    repeats of a ``DistributedSampler``. Then ``fmiqa collect FOLDER`` joins them, checks that each is there once, and
    prints means with intervals. A second start scores what has no row yet; images are predicted again.

    An image that cannot be scored, because it is not finite or differs in size, is a row with its reason.

    Args:
        folder: for the scores.
        recipe: as in :class:`~torchmetrics_fmiqa.scoring.ScorePairs`.
        rows: images in a part.
        options: further ones of ``ScorePairs``: ``head``, ``quality``, ``layers``, ``precision``, ``crop_border``.

    Raises:
        ValueError: at the start, if the folder has other scores or another run writes there; for predictions without
            these names or of unequal length, and for an id that comes twice.

    >>> from tempfile import mkdtemp
    >>> writer = PairScoreWriter(mkdtemp(), "default", rows=100)
    >>> # Trainer(callbacks=[writer]).predict(module, dataloaders, return_predictions=False)
    """

    def __init__(
        self, folder: str | Path, recipe: Recipe | SpipsRecipe | str = "default", *, rows: int = 1000, **options: Any
    ) -> None:
        super().__init__("batch")
        self._folder, self._recipe, self._rows, self._options = Path(folder), recipe, rows, options
        ScorePairs(recipe, **options)  # refuses options before the run

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the folder, and see what is there."""
        self._scorer = ScorePairs(self._recipe, device=pl_module.device, **self._options)
        inputs = {**self._scorer.identity, "count": _images(trainer)}
        open_run_folder(self._folder, inputs)
        self._parts, self._stack, self._waiting = Parts(self._folder, inputs), ExitStack(), list[Scored[str]]()
        self._own, _ = self._stack.enter_context(self._parts.writing(Shard(trainer.global_rank, trainer.world_size)))
        ids = (name for path in self._parts for name in self._parts.read(path, ["id"]).column("id").to_pylist())
        self._done, self._seen = set(ids), set[str]()
        if self._done:
            rank_zero_warn(
                f"{len(self._done)} images have a row in {self._folder} and are not scored again: what another model "
                "predicts belongs in another folder"
            )

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Score the images of a batch; write a part if there are enough."""
        if not isinstance(prediction, Mapping) or not {"id", "preds", "target"} <= {*prediction}:
            got = ", ".join(prediction) if isinstance(prediction, Mapping) else type(prediction).__name__
            raise ValueError(f"`predict_step` must give a mapping with id, preds and target, got {got}")
        ids = [str(name.item() if isinstance(name, Tensor) else name) for name in prediction["id"]]
        for name in ids:
            if name in self._seen:
                raise ValueError(f"the id {name!r} came twice: give each image of all dataloaders an id of its own")
            self._seen.add(name)
        rows = zip(ids, prediction["preds"], prediction["target"], strict=True)
        new = (_loaded(*row) for row in rows if row[0] not in self._done)
        for result in self._scorer.score_loaded(new):
            self._waiting.append(result)
            if len(self._waiting) >= self._rows:
                self._write()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is left."""
        self._finish()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write what there is."""
        if hasattr(self, "_stack"):
            self._finish()

    def _finish(self) -> None:
        with self._stack:
            if self._waiting:
                self._write()

    def _write(self) -> None:
        import pyarrow

        numbers = [int(re.sub(r"\D", "", path.stem)) for path in self._parts.of(self._own)]
        table = rows_of(pyarrow.table({"id": [one.pair for one in self._waiting]}), self._waiting, self._scorer.columns)
        path = self._own / f"part-{max(numbers, default=-1) + 1:012d}.parquet"
        self._parts.write(path, table, {"measured_by": self._scorer.measured_by})
        self._waiting = []


def _loaded(name: str, preds: Any, target: Any) -> Any:
    if preds.shape != target.shape:
        sizes = f"{tuple(preds.shape)} and {tuple(target.shape)}"
        return Scored(name, {}, error=f"preds and target differ in size, {sizes}")
    return Loaded(name, preds, target)


def _images(trainer: Trainer) -> int:
    """The number of images of all ranks."""
    try:
        return sum(len(loader.dataset) for loader in flatten_loaders(trainer.predict_dataloaders))
    except (TypeError, AttributeError):
        raise ValueError("PairScoreWriter needs to know how many images there are: give the dataset a length") from None
