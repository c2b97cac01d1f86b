"""The parts that workers write: Parquet files of rows, each with a note of what its numbers depend on.

A folder of scores has ``inputs.json``, what it is made from, and ``parts/shard-I-of-N/part-ROW.parquet``. A part is
written whole or not at all, and is only replaced to try its failed pairs again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.data.parquet import read_parquet, write_parquet
from torchmetrics_fmiqa.data.stored_pairs import joined_keys
from torchmetrics_fmiqa.one_writer import check_no_writer, one_writer
from torchmetrics_fmiqa.safe_write import printable
from torchmetrics_fmiqa.scoring.shards import Shard

_NOTE = b"fmiqa"


def digest_of_inputs(inputs: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits for what scores depend on."""
    return hashlib.sha256(json.dumps(dict(inputs), sort_keys=True).encode()).hexdigest()[:12]


class PairResult(Protocol):
    """The result of a pair."""

    @property
    def values(self) -> dict[str, float]:
        """Its scores; empty if it failed."""

    @property
    def outside(self) -> float:
        """Share of values of the image under test outside [0, 1]."""

    @property
    def error(self) -> str:
        """Why it failed."""


class Parts:
    """The parts in a folder of scores.

    Args:
        folder: of the scores.
        inputs: what they depend on: parts of other inputs are errors.
    """

    def __init__(self, folder: Path, inputs: Mapping[str, Any]) -> None:
        self.folder, self.digest = folder / "parts", digest_of_inputs(inputs)

    def shard(self, shard: Shard) -> Path:
        """The folder that a worker writes to."""
        return self.folder / f"shard-{shard.index}-of-{shard.count}"

    @contextmanager
    def writing(self, shard: Shard) -> Iterator[tuple[Path, list[Path]]]:
        """The folder that a worker writes to, locked, and those of runs with another number of shards.

        Raises:
            ValueError: if another run has the same share, or another number of shards.
        """
        with one_writer(self.shard(shard)):
            others = [path for path in self.shards() if not path.name.endswith(f"-of-{shard.count}")]
            for path in others:
                check_no_writer(path)
            yield self.shard(shard), others

    def shards(self) -> list[Path]:
        """The folders of all workers, those of earlier runs too."""
        return sorted(path for path in self.folder.glob("shard-*-of-*") if path.is_dir())

    def __iter__(self) -> Iterator[Path]:
        """All parts."""
        return (path for shard in self.shards() for path in self.of(shard))

    @staticmethod
    def of(shard: Path) -> list[Path]:
        """The parts in a worker's folder."""
        return sorted(shard.glob("part-*.parquet"))

    def read(self, path: Path, columns: Sequence[str] | None = None) -> Any:
        """Read a part, or some of its columns.

        Raises:
            ValueError: for a damaged part, and one of other inputs; the message says what to do.
        """
        try:
            table = read_parquet(path, columns)
            note = json.loads((table.schema.metadata or {}).get(_NOTE, b"{}"))
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}): remove it, and its pairs are scored again") from None
        if note.get("inputs") != self.digest:
            raise ValueError(f"{path} was made from other inputs than {self.folder.parent}: move it elsewhere")
        return table

    def note(self, path: Path) -> dict[str, Any]:
        """What a part says of how it was made."""
        return dict(json.loads(self.read(path, []).schema.metadata[_NOTE]))

    def write(self, path: Path, table: Any, about: Mapping[str, Any]) -> None:
        """Write a part with a note."""
        note = json.dumps({**about, "inputs": self.digest})
        write_parquet(path, table.replace_schema_metadata({_NOTE: note}))

    def done(self, keys: Any) -> npt.NDArray[np.bool_]:
        """Which pairs have a row, ``(n,)``: an anti-join of what was asked for and what is there.

        Args:
            keys: table of what names each pair.

        Raises:
            ValueError: for parts with a pair that is not asked for, or twice there.
        """
        import pyarrow

        done = np.zeros(keys.num_rows, dtype=bool)
        found = [self.read(path, keys.column_names) for path in self]
        if not found:
            return done
        rows = self.rows(pyarrow.concat_tables(found), keys)
        times = np.bincount(rows, minlength=len(done))
        if times.max() > 1:
            raise ValueError(f"{self.folder} has {describe(keys, int(times.argmax()))} twice: {TWICE}")
        done[rows] = True
        return done

    def rows(self, named: Any, keys: Any) -> npt.NDArray[np.int64]:
        """Where the pairs of a part are among all.

        Args:
            named: table of what names the part's pairs.
            keys: table of what names each pair.

        Raises:
            ValueError: for a pair that is not there.
        """
        from pyarrow import compute

        places = compute.index_in(joined_keys(named), value_set=joined_keys(keys))
        if places.null_count:
            row = int(compute.index(compute.is_null(places), True).as_py())
            raise ValueError(f"{self.folder} has {describe(named, row)}, which is not in the input")
        return np.asarray(places.to_numpy(), dtype=np.int64)


#: How a pair can come to be there twice.
TWICE = "two runs with other numbers of shards were started at once; remove one of the parts that hold it"


def describe(keys: Any, row: int) -> str:
    """The name of a pair for messages."""
    return ", ".join(f"{name} {keys.column(name)[row].as_py()!r}" for name in keys.column_names)


def rows_of(named: Any, results: Sequence[PairResult], columns: Sequence[str]) -> Any:
    """The rows of a part: what names each pair, its numbers, and why it has none.

    Args:
        named: table of what names the pairs.
        results: of the same pairs.
        columns: names of the numbers.
    """
    import pyarrow

    numbers = {name: [result.values.get(name) for result in results] for name in columns}
    return pyarrow.table(
        {
            **dict(zip(named.column_names, named.columns, strict=True)),
            **{name: pyarrow.array(values, pyarrow.float64()) for name, values in numbers.items()},
            "outside": pyarrow.array([result.outside for result in results], pyarrow.float64()),
            "reason": pyarrow.array([printable(result.error) for result in results], pyarrow.string()),
        }
    )
