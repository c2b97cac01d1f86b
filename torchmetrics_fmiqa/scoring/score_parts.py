"""Score many pairs into a folder of parts, by one worker of several, so that nothing is lost and nothing done twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.data.run_folder import open_run_folder
from torchmetrics_fmiqa.data.stored_pairs import PairSource, StoredPair, keys_of
from torchmetrics_fmiqa.one_writer import check_no_writer, one_writer
from torchmetrics_fmiqa.safe_write import printable
from torchmetrics_fmiqa.scoring.parts import Parts
from torchmetrics_fmiqa.scoring.shards import WHOLE, Shard

#: Told how many pairs of this worker have a row, and how many it has.
Progress = Callable[[int, int], None]


class _Result(Protocol):
    """The result of a pair."""

    @property
    def pair(self) -> StoredPair: ...
    @property
    def values(self) -> dict[str, float]: ...
    @property
    def outside(self) -> float: ...
    @property
    def error(self) -> str: ...


class RowScorer(Protocol):
    """What scores pairs one after the other, as :class:`~torchmetrics_fmiqa.scoring.ScorePairs` does."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers."""

    @property
    def measured_by(self) -> str:
        """In words, for the note in each part."""

    def stream(self, pairs: Iterable[StoredPair]) -> Iterator[_Result]:
        """Score pairs in order."""


@dataclass(frozen=True)
class ShardOutcome:
    """What a worker has done.

    Args:
        scored: pairs that it scored now for the first time.
        retried: pairs that it tried again.
        failed: pairs of both that could not be scored.
        before: pairs of its share that had a row already.
    """

    scored: int
    retried: int
    failed: int
    before: int


def score_parts(
    source: PairSource,
    scorer: RowScorer,
    folder: Path,
    inputs: Mapping[str, Any],
    shard: Shard = WHOLE,
    rows: int = 1000,
    retry: bool = False,
    progress: Progress = lambda done, total: None,
) -> ShardOutcome:
    """Score what has no row yet of a worker's share of the pairs.

    Args:
        source: the pairs.
        scorer: scores them.
        folder: of the scores; it is made if it does not exist.
        inputs: what the scores depend on, in values that JSON has.
        shard: which share.
        rows: pairs in a part. A killed run loses the part that it was at; one that is interrupted loses nothing.
        retry: try pairs again that could not be scored.
        progress: told after each pair.

    Raises:
        ValueError: if the folder was made from other inputs or holds damaged parts, if this share is being scored by
            another run, or others are with another number of shards.
        WriteError: if the system refuses to write.
    """
    open_run_folder(folder, inputs)
    parts = Parts(folder, inputs)
    own = parts.shard(shard)
    with one_writer(own):
        others = [path for path in parts.shards() if not path.name.endswith(f"-of-{shard.count}")]
        for path in others:
            check_no_writer(path)
        worker = _Worker(source, scorer, parts, progress)
        share = np.array(shard.rows(source.names.num_rows), dtype=np.int64)
        todo = share[~parts.done(keys_of(source.names))[share]]
        worker.before, worker.total = len(share) - len(todo), len(share)
        progress(worker.before, worker.total)
        if retry:  # parts of an earlier number of shards are dealt out: no run of that number is at work
            for path in (own, *others[shard.index :: shard.count]):
                worker.retry(path)
        worker.score(todo, own, rows)
    return ShardOutcome(worker.scored, worker.retried, worker.failed, worker.before)


class _Worker:
    """One worker at its share."""

    def __init__(self, source: PairSource, scorer: RowScorer, parts: Parts, progress: Progress) -> None:
        self._source, self._scorer, self._parts, self._progress = source, scorer, parts, progress
        self.scored = self.retried = self.failed = self.before = self.total = 0

    def score(self, todo: npt.NDArray[np.int64], folder: Path, rows: int) -> None:
        """Score pairs into new parts; an interruption writes the last one shorter."""
        results: list[_Result] = []
        try:
            for result in self._scorer.stream(self._source.pairs(todo)):
                results.append(result)
                self.scored += 1
                self.failed += bool(result.error)
                if len(results) == rows:
                    self._write(folder, results)
                    results = []
                self._progress(self.before + self.scored, self.total)
        finally:
            if results:
                self._write(folder, results)

    def retry(self, folder: Path) -> None:
        """Score the failed pairs of the parts in a folder again, and put what comes out in their place."""
        import pyarrow
        from pyarrow import compute

        keys = keys_of(self._source.names)
        for path in self._parts.of(folder):
            part = self._parts.read(path)
            failed = compute.indices_nonzero(compute.not_equal(part.column("reason"), "")).to_numpy()
            if not len(failed):
                continue
            rows = self._parts.rows(part.take(failed).select(keys.column_names), keys)
            order = np.argsort(rows)
            results = list(self._scorer.stream(self._source.pairs(rows[order])))
            kept = part.filter(compute.equal(part.column("reason"), ""))
            self._parts.write(path, pyarrow.concat_tables([kept, self._table(results)]), self._about)
            self.retried += len(results)
            self.failed += sum(bool(result.error) for result in results)

    @property
    def _about(self) -> dict[str, Any]:
        return {"measured_by": self._scorer.measured_by}

    def _write(self, folder: Path, results: list[_Result]) -> None:
        path = folder / f"part-{results[0].pair.row:012d}.parquet"
        self._parts.write(path, self._table(results), self._about)

    def _table(self, results: list[_Result]) -> Any:
        """The rows of a part: what names each pair, its numbers, and why it has none."""
        import pyarrow

        named = self._source.names.take([result.pair.row for result in results])
        numbers = {name: [result.values.get(name) for result in results] for name in self._scorer.columns}
        columns = {
            **dict(zip(named.column_names, named.columns, strict=True)),
            **{name: pyarrow.array(values, pyarrow.float64()) for name, values in numbers.items()},
            "outside": pyarrow.array([result.outside for result in results], pyarrow.float64()),
            "reason": pyarrow.array([printable(result.error) for result in results], pyarrow.string()),
        }
        return pyarrow.table(columns)
