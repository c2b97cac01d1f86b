"""Scores by Ray: actors that hold the network, on a cluster or on one machine. Needs the extra ``ray``.

On CPUs an actor reads what it scores. With GPUs tasks on CPUs read images, and the actors only score them: reading
takes longer than scoring there.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from torchmetrics_fmiqa.data.stored_pairs import PairSource, StoredPair
from torchmetrics_fmiqa.scoring.batches import AnyPair, Loaded, Scored
from torchmetrics_fmiqa.scoring.table_rows import ScorePairs, objects

if TYPE_CHECKING:
    from pathlib import Path

    from ray.data import Dataset

    from torchmetrics_fmiqa.recipes import Recipe
    from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe

#: Images that were read, and why they could not be; names that no user's column has.
_REF, _DIST, _ERROR = "__fmiqa_ref", "__fmiqa_dist", "__fmiqa_error"
_ROWS = 32  # in a block of the command: what a killed actor does again


def score(
    dataset: Dataset,
    recipe: Recipe | SpipsRecipe | str | Path = "default",
    *,
    actors: int = 1,
    gpus_per_actor: float = 0,
    batch_size: int = 32,
    rows_per_block: int | None = 256,
    **options: Any,
) -> Dataset:
    """Score the rows of a Ray ``Dataset``: columns with images in, the same columns with scores out.

    Rows, columns and numbers are those of :class:`~torchmetrics_fmiqa.scoring.ScorePairs`; a pair that fails has its
    ``reason``. Nothing runs until the result is used. A killed actor or task is started again by Ray.

    Args:
        dataset: with the columns ``ref`` and ``dist``: paths that all machines see, bytes of files, or pixels.
        recipe: as in ``ScorePairs``.
        actors: processes that hold the network. On CPUs each takes one; leave one of the cluster for other tasks, or
            nothing ever starts.
        gpus_per_actor: GPUs of each, or a share of one, such as .25; 0 computes on CPUs.
        batch_size: rows that an actor takes at once.
        rows_per_block: blocks are made of this many rows first. A table of paths is one block, however long: no
            two actors would share it, and a killed run would keep nothing. ``None`` leaves blocks as they are.
        options: further ones of ``ScorePairs``: ``head``, ``layers``, ``match``, ``ref``, ``dist`` ...

    Raises:
        ValueError: for arguments that ``ScorePairs`` refuses, and for ``device``, which ``gpus_per_actor`` says.
        ModuleNotFoundError: without Ray.
    """
    data = need_ray().data
    if "device" in options:
        raise ValueError("`device` is what `gpus_per_actor` says: leave it out")
    scorer = ScorePairs(recipe, device="cuda" if gpus_per_actor else "cpu", **options)
    if rows_per_block is not None:
        dataset = dataset.repartition(target_num_rows_per_block=rows_per_block)
    how: dict[str, Any] = {"batch_size": batch_size, "compute": data.ActorPoolStrategy(size=actors)}
    if not gpus_per_actor:
        return dataset.map_batches(_ScoreCells, fn_constructor_kwargs={"scorer": scorer}, num_cpus=1, **how)
    read = dataset.map_batches(_read_cells, fn_kwargs={"scorer": scorer}, batch_size=batch_size, num_cpus=1)
    return read.map_batches(
        _ScoreReadCells, fn_constructor_kwargs={"scorer": scorer}, num_gpus=gpus_per_actor, num_cpus=0, **how
    )


class _ScoreCells:
    """An actor that reads and scores."""

    def __init__(self, scorer: ScorePairs) -> None:
        self._scorer = scorer

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return self._scorer(batch)


def _read_cells(batch: dict[str, Any], scorer: ScorePairs) -> dict[str, Any]:
    """A task that reads."""
    columns = scorer.columns_of(batch)
    return {**scorer.without_images(columns), **_read(scorer, scorer.pairs_of(columns))}


class _ScoreReadCells(_ScoreCells):
    """An actor that scores what tasks have read."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        kept = {name: values for name, values in batch.items() if name not in (_REF, _DIST, _ERROR)}
        self._scorer.check_names(kept)
        return {**kept, **self._scorer.results_of(_score_read(self._scorer, range(len(batch[_REF])), batch))}


def _read(scorer: ScorePairs, pairs: Iterable[AnyPair]) -> dict[str, Any]:
    """Columns with the images of pairs as bytes: whatever size and type they are of, they are one type of column."""
    loaded = [scorer.load(pair) for pair in pairs]
    empty = torch.empty(0)
    images = [(one.target, one.preds) if isinstance(one, Loaded) else (empty, empty) for one in loaded]
    return {
        _REF: objects([_as_bytes(target) for target, _ in images]),
        _DIST: objects([_as_bytes(preds) for _, preds in images]),
        _ERROR: objects([one.error if isinstance(one, Scored) else "" for one in loaded]),
    }


def _score_read(scorer: ScorePairs, pairs: Iterable[Any], batch: Mapping[str, Any]) -> list[Scored[Any]]:
    read = zip(pairs, batch[_REF], batch[_DIST], batch[_ERROR], strict=True)
    return list(
        scorer.score_loaded(
            Scored(pair, {}, error=error) if error else Loaded(pair, _as_tensor(preds), _as_tensor(target))
            for pair, target, preds, error in read
        )
    )


def _as_bytes(image: torch.Tensor) -> bytes:
    stream = io.BytesIO()
    np.save(stream, image.numpy())
    return stream.getvalue()


def _as_tensor(content: bytes) -> torch.Tensor:
    return torch.from_numpy(np.load(io.BytesIO(content)))


@dataclass(frozen=True)
class RayEngine:
    """Scores pairs of a source by Ray, for :func:`~torchmetrics_fmiqa.scoring.score_parts.score_parts`.

    Only the numbers of rows and their scores pass through this process: actors, or tasks, read the images from where
    the source says, which all machines must see.

    Args:
        address: of a cluster, ``"auto"`` for the one of this machine; by default ``RAY_ADDRESS``, else Ray is started
            here for the time of the run.
        actors: processes that hold the network; by default one for each GPU (or share of one), or for each CPU.
        gpus_per_actor: GPUs of each, or a share of one; 0 computes on CPUs.
    """

    address: str | None = None
    actors: int | None = None
    gpus_per_actor: float = 0

    def __call__(
        self, scorer: ScorePairs, source: PairSource, rows: npt.NDArray[np.int64]
    ) -> Iterator[Scored[StoredPair]]:
        """The results of some rows, as they come."""
        import pyarrow

        ray = need_ray()
        with _connected(ray, self.address):
            # Blocks made here: a task that makes them would wait for a CPU, which actors may hold all.
            blocks = [pyarrow.table({"row": rows[start : start + _ROWS]}) for start in range(0, len(rows), _ROWS)]
            dataset = ray.data.from_arrow(blocks)
            shared = {"scorer": scorer, "source": ray.put(source)}
            size = min(self.actors or self._all_actors(ray.cluster_resources()), len(blocks))
            how: dict[str, Any] = {"batch_size": _ROWS, "compute": ray.data.ActorPoolStrategy(size=size)}
            if self.gpus_per_actor:
                dataset = dataset.map_batches(_read_rows, fn_kwargs=shared, batch_size=_ROWS, num_cpus=1)
                how |= {"num_gpus": self.gpus_per_actor, "num_cpus": 0}
                dataset = dataset.map_batches(_ScoreReadRows, fn_constructor_kwargs={"scorer": scorer}, **how)
            else:
                dataset = dataset.map_batches(_ScoreRows, fn_constructor_kwargs=shared, num_cpus=1, **how)
            for batch in dataset.iter_batches(batch_size=None, batch_format="numpy"):
                for place, row in enumerate(batch["row"].tolist()):
                    error = str(batch["reason"][place])
                    values = {} if error else {name: float(batch[name][place]) for name in scorer.columns}
                    yield Scored(StoredPair(row, (None, None)), values, float(batch["outside"][place]), error)

    def _all_actors(self, resources: Mapping[str, float]) -> int:
        have, each = ("GPU", self.gpus_per_actor) if self.gpus_per_actor else ("CPU", 1)
        count = int(resources.get(have, 0) / each)
        if not count:
            raise ValueError(f"the cluster has {resources.get(have, 0):g} {have}s, and an actor takes {each:g}")
        return count


class _ScoreRows:
    """An actor that reads and scores rows of a source."""

    def __init__(self, scorer: ScorePairs, source: Any) -> None:
        self._scorer, self._source = scorer, _source(source)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        scored = list(self._scorer.stream(self._source.pairs(batch["row"])))
        return {"row": batch["row"], **self._scorer.results_of(scored)}


def _read_rows(batch: dict[str, Any], scorer: ScorePairs, source: Any) -> dict[str, Any]:
    """A task that reads rows of a source."""
    return {"row": batch["row"], **_read(scorer, _source(source).pairs(batch["row"]))}


class _ScoreReadRows(_ScoreCells):
    """An actor that scores what tasks have read."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"row": batch["row"], **self._scorer.results_of(_score_read(self._scorer, batch["row"], batch))}


def _source(reference: Any) -> PairSource:
    import ray

    source: PairSource = ray.get(reference)
    return source


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Ray as it is; or connected to a cluster, or started, for the time of the run and without notes and bars."""
    if ray.is_initialized():
        yield
        return
    at_sigterm = signal.getsignal(signal.SIGTERM)
    quiet: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # on what Ray itself will change
            if address is None and "RAY_ADDRESS" not in os.environ:
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
                ray.init("local", include_dashboard=False, **quiet)
            else:
                ray.init(address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ValueError(f"cannot connect to Ray at {address or 'local'!r}: {str(error).splitlines()[0]}") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, at_sigterm)  # Ray has put its own there
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def need_ray() -> Any:
    """The package Ray with its part for data.

    Raises:
        ModuleNotFoundError: with the command that installs it.
    """
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"Ray is not installed ({error}): pip install 'torchmetrics-fmiqa[ray]'") from None
    return ray
