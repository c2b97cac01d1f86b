"""Score many pairs into a folder of parts, by one worker of several, so that nothing is lost and nothing done twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.data.run_folder import open_run_folder
from torchmetrics_fmiqa.data.stored_pairs import PairSource, StoredPair, keys_of
from torchmetrics_fmiqa.scoring.parts import PairResult, Parts, rows_of
from torchmetrics_fmiqa.scoring.shards import WHOLE, Shard

#: Told how many pairs of this worker have a row, and how many it has.
Progress = Callable[[int, int], None]


class Result(PairResult, Protocol):
    """The result of a pair of a source."""

    @property
    def pair(self) -> StoredPair:
        """The pair, by its row in the source."""


class RowScorer(Protocol):
    """What scores pairs one after the other, as :class:`~torchmetrics_fmiqa.scoring.ScorePairs` does."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers."""

    @property
    def measured_by(self) -> str:
        """In words, for the note in each part."""

    def stream(self, pairs: Iterable[StoredPair]) -> Iterator[Result]:
        """Score pairs in order."""


class Engine(Protocol):
    """Scores pairs of a source somewhere, and gives the results here."""

    def __call__(self, scorer: Any, source: PairSource, rows: npt.NDArray[np.int64], /) -> Iterator[Result]:
        """The results of some rows, which increase; the results may come in any order."""


def in_process(scorer: RowScorer, source: PairSource, rows: npt.NDArray[np.int64]) -> Iterator[Result]:
    """Score in this process."""
    return scorer.stream(source.pairs(rows))


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
    engine: Engine = in_process,
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
        engine: where the pairs are scored.

    Raises:
        ValueError: if the folder was made from other inputs or holds damaged parts, if this share is being scored by
            another run, or others are with another number of shards.
        WriteError: if the system refuses to write.
    """
    open_run_folder(folder, inputs)
    parts = Parts(folder, inputs)
    with parts.writing(shard) as (own, others):
        worker = _Worker(source, scorer, parts, progress, engine)
        share = np.array(shard.rows(source.names.num_rows), dtype=np.int64)
        todo = share[~parts.done(keys_of(source.names))[share]]
        worker.before, worker.total = len(share) - len(todo), len(share)
        progress(worker.before, worker.total)
        if retry:  # parts of an earlier number of shards are dealt out: no run of that number is at work
            worker.retry([path for one in (own, *others[shard.index :: shard.count]) for path in parts.of(one)])
        worker.score(todo, own, rows)
    return ShardOutcome(worker.scored, worker.retried, worker.failed, worker.before)


class _Worker:
    """One worker at its share."""

    def __init__(self, source: PairSource, scorer: RowScorer, parts: Parts, progress: Progress, engine: Engine) -> None:
        self._source, self._scorer, self._parts, self._progress = source, scorer, parts, progress
        self._engine = engine
        self.scored = self.retried = self.failed = self.before = self.total = 0

    def _score(self, rows: npt.NDArray[np.int64]) -> Iterator[Result]:
        return self._engine(self._scorer, self._source, rows) if len(rows) else iter(())

    def score(self, todo: npt.NDArray[np.int64], folder: Path, rows: int) -> None:
        """Score pairs into new parts; an interruption writes the last one shorter."""
        results: list[Result] = []
        try:
            for result in self._score(todo):
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

    def retry(self, paths: Sequence[Path]) -> None:
        """Score the failed pairs of parts again, and put what comes out in their place, a part at a time."""
        failed = self._failed(paths)
        part_of = {row: path for path, rows in failed.items() for row in rows}
        found: dict[Path, list[Result]] = {path: [] for path in failed}
        for result in self._score(np.array(sorted(part_of), dtype=np.int64)):
            path = part_of[result.pair.row]
            found[path].append(result)
            if len(found[path]) == len(failed[path]):
                self._replace(path, found.pop(path))

    def _failed(self, paths: Sequence[Path]) -> dict[Path, list[int]]:
        """For each part the rows of the source that it has no scores of."""
        import pyarrow
        from pyarrow import compute

        keys = keys_of(self._source.names)
        read = [self._parts.read(path, [*keys.column_names, "reason"]) for path in paths]
        tables = [table.filter(compute.not_equal(table.column("reason"), "")) for table in read]
        if not tables:
            return {}
        rows = self._parts.rows(pyarrow.concat_tables(tables).select(keys.column_names), keys)  # one look for all
        ends = np.cumsum([table.num_rows for table in tables])
        return {path: own.tolist() for path, own in zip(paths, np.split(rows, ends[:-1]), strict=True)}

    def _replace(self, path: Path, results: list[Result]) -> None:
        """Write a part again, with new results in place of the failed ones."""
        import pyarrow
        from pyarrow import compute

        part = self._parts.read(path)
        kept = part.filter(compute.equal(part.column("reason"), ""))
        self._parts.write(path, pyarrow.concat_tables([kept, self._table(results)]), self._about)
        self.retried += len(results)
        self.failed += sum(bool(result.error) for result in results)

    @property
    def _about(self) -> dict[str, Any]:
        return {"measured_by": self._scorer.measured_by}

    def _write(self, folder: Path, results: list[Result]) -> None:
        path = folder / f"part-{results[0].pair.row:012d}.parquet"
        self._parts.write(path, self._table(results), self._about)

    def _table(self, results: list[Result]) -> Any:
        return rows_of(self._source.names.take([one.pair.row for one in results]), results, self._scorer.columns)
