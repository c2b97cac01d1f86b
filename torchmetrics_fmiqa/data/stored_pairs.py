"""Pairs by the million: named by columns of an Arrow table, their images read when it is their turn.

A source has ``names``: the columns ``id``, ``ref`` and ``dist``, as far as it has them as text. A pair is known by its
``id``, or by ``ref`` and ``dist``; these are its keys, and they are unique.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.data.images import StoredImage
from torchmetrics_fmiqa.data.pairs import Pair
from torchmetrics_fmiqa.data.parquet import open_parquet, read_parquet
from torchmetrics_fmiqa.data.remote import Place, absolute, join_place, shown, size_of
from torchmetrics_fmiqa.safe_write import printable

#: Rows that are read from a Parquet file at once; encoded images take 1 MB each, at most a few.
_BATCH = 64


@dataclass(frozen=True)
class StoredPair:
    """A pair of a source.

    Args:
        row: its place in the source.
        images: the reference, and the image under test.
    """

    row: int
    images: tuple[StoredImage | None, StoredImage | None]


class PairSource(Protocol):
    """Many pairs, by name and by place."""

    @property
    def names(self) -> Any:
        """A table of pyarrow with what names each pair: ``id``, or ``ref`` and ``dist``, or all three."""

    @property
    def identity(self) -> dict[str, Any]:
        """What the source is, in values that JSON has: its pairs by name, and where they are."""

    def pairs(self, rows: npt.NDArray[np.int64]) -> Iterator[StoredPair]:
        """The pairs of some rows, in increasing order."""


class ListedPairs:
    """Pairs of files, from two folders or a CSV table.

    Args:
        pairs: the pairs; they are known by their ids where each has one. Only names are kept, which take less memory.
        ref_root: folder that the names of references count from.
        dist_root: folder that those of images under test count from.

    Raises:
        ValueError: if there are none, for two pairs of one name, and for ids that only some have.
    """

    def __init__(self, pairs: Iterable[Pair], ref_root: Place, dist_root: Place) -> None:
        import pyarrow

        ids, refs, dists = list[str](), list[str](), list[str]()
        self._roots, self._odd = (absolute(ref_root), absolute(dist_root)), dict[int, tuple[Place, Place]]()
        for row, pair in enumerate(pairs):
            for column, text in ((ids, pair.id), (refs, pair.ref), (dists, pair.dist)):
                column.append(printable(text))
            if (refs[-1], dists[-1]) != (pair.ref, pair.dist):  # bytes that are no UTF-8
                self._odd[row] = absolute(pair.ref_path), absolute(pair.dist_path)
        if not refs:
            raise ValueError("there are no pairs: the table has no rows")
        without = ids.count("")
        if without not in (0, len(ids)):
            raise ValueError(f"{without} of {len(ids)} rows have no `id`: give each one")
        self.names = pyarrow.table({**({} if without else {"id": ids}), "ref": refs, "dist": dists})
        check_keys(keys_of(self.names))
        self.identity = {
            "pairs": digest_of(self.names),
            "places": [shown(root) for root in self._roots],
        }

    def pairs(self, rows: npt.NDArray[np.int64]) -> Iterator[StoredPair]:
        """The pairs of some rows."""
        for row in rows.tolist():
            paths = (
                join_place(root, self.names[side][row].as_py())
                for root, side in zip(self._roots, ("ref", "dist"), strict=True)
            )
            ref, dist = self._odd.get(row) or paths
            yield StoredPair(row, (ref, dist))


class ParquetPairs:
    """Pairs of Parquet files with the columns ``ref`` and ``dist``: paths, bytes of files, or Hugging Face's images.

    Args:
        files: the files, in order.
        root: folder that paths count from.

    Raises:
        ValueError: for a file that is no Parquet file, lacks a column or has one of another type; for images as bytes
            without a column ``id``; for names that are missing or twice.
    """

    def __init__(self, files: Sequence[Place], root: Place) -> None:
        import pyarrow

        self._files, self._root = [absolute(path) for path in files], absolute(root)
        try:
            tables = [_named(path) for path in files]
            named = pyarrow.concat_tables(tables)
        except pyarrow.ArrowException as error:
            raise ValueError(f"{str(files[0])!r} and other files have columns of two types: {error}") from None
        self._sizes = [table.num_rows for table in tables]
        self.names = named.combine_chunks()  # rows are taken of it a thousand times
        if not named.num_rows:
            raise ValueError(f"the table {str(files[0])!r} has no rows")
        check_keys(keys_of(self.names))
        paths = [[shown(path), size_of(path)] for path in files]
        self.identity = {"pairs": digest_of(named), "places": [shown(root), *paths]}

    def pairs(self, rows: npt.NDArray[np.int64]) -> Iterator[StoredPair]:
        """The pairs of some rows."""
        for start, batch in self._batches(rows):
            first, last = np.searchsorted(rows, (start, start + batch.num_rows))
            if first < last:
                columns = batch.take(rows[first:last] - start).to_pydict()
                for row, ref, dist in zip(rows[first:last].tolist(), columns["ref"], columns["dist"], strict=True):
                    yield StoredPair(row, (image_at(ref, self._root), image_at(dist, self._root)))

    def _batches(self, rows: npt.NDArray[np.int64]) -> Iterator[tuple[int, Any]]:
        """Batches of images with the place of their first row; files and row groups without wanted rows are skipped."""

        def are_wanted(start: int, count: int) -> bool:
            first, last = np.searchsorted(rows, (start, start + count))
            return bool(first < last)

        file_start = 0
        for path, size in zip(self._files, self._sizes, strict=True):
            if are_wanted(file_start, size):
                with open_parquet(path) as file:
                    start = file_start
                    for group in range(file.num_row_groups):
                        count = file.metadata.row_group(group).num_rows
                        if are_wanted(start, count):
                            for batch in file.iter_batches(_BATCH, [group], columns=["ref", "dist"]):
                                yield start, batch
                                start += batch.num_rows
                        else:
                            start += count
            file_start += size


def _named(path: Place) -> Any:
    """The columns of a Parquet file that are text, and ``id``."""
    import pyarrow

    try:
        with open_parquet(path) as file:
            schema = file.schema_arrow
        lacking = [name for name in ("ref", "dist") if name not in schema.names]
        if lacking:
            raise ValueError(f"it has no column {lacking[0]!r}; it has {', '.join(schema.names)}")
        texts = [name for name in ("ref", "dist") if _is_text(schema.field(name).type)]
        if len(texts) < 2 and "id" not in schema.names:
            raise ValueError("it holds images and nothing that names them: add a column `id`")
        return _decoded(read_parquet(path, [*(["id"] if "id" in schema.names else []), *texts]))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is no table of pairs: {error}") from None


def image_of_cell(value: Any) -> Any:
    """The image in a cell of a table; ``{"bytes": ..., "path": ...}`` is how Hugging Face's ``datasets`` keep it."""
    return (value.get("bytes") or value.get("path")) if isinstance(value, dict) else value


def image_at(value: Any, root: Place) -> StoredImage | None:
    """The image in a cell of a table whose paths count from a folder."""
    image: StoredImage | None = image_of_cell(value)
    return join_place(root, image) if isinstance(image, str) else image


def keys_of(names: Any) -> Any:
    """The columns of ``names`` that a pair is known by."""
    return names.select(["id"] if "id" in names.column_names else ["ref", "dist"])


def joined_keys(keys: Any) -> Any:
    """A text for each pair, from the one or two columns that name it."""
    import pyarrow
    from pyarrow import compute

    texts = [compute.cast(column, pyarrow.large_string()) for column in keys.columns]
    if len(texts) == 1:
        return texts[0].combine_chunks()
    return compute.binary_join_element_wise(*texts, pyarrow.scalar("\0", pyarrow.large_string())).combine_chunks()


def check_keys(keys: Any) -> None:
    """Check that each pair has a name of its own.

    Raises:
        ValueError: naming a column with an empty cell or of a type that is no text, or a name that is there twice.
    """
    from pyarrow import compute

    for name, column in zip(keys.column_names, keys.columns, strict=True):
        if column.null_count:
            raise ValueError(f"`{name}` of {column.null_count} rows is empty: each pair needs a name")
    try:
        joined = joined_keys(keys)
    except NotImplementedError:
        kinds = " and ".join(f"`{field.name}` of {field.type}" for field in keys.schema)
        raise ValueError(f"{kinds} names no pair: give texts or whole numbers") from None
    if len(compute.unique(joined)) < len(joined):
        counted = compute.value_counts(joined)
        twice = counted.filter(compute.greater(counted.field("counts"), 1))[0]["values"].as_py()
        shown = " and ".join(map(repr, twice.split("\0")))
        advice = "" if "id" in keys.column_names else ", or add a column `id`"
        raise ValueError(f"the pair {shown} is there twice: leave one out{advice}")


def digest_of(table: Any) -> str:
    """Digest of the texts of a table, whatever its chunks and its type of text."""
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"{name}\n".encode())
        for start in range(0, len(column), 10_000):
            digest.update("\n".join(map(repr, column.slice(start, 10_000).to_pylist())).encode())
    return digest.hexdigest()[:16]


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _decoded(table: Any) -> Any:
    """A table with plain values in place of categories, which pandas and polars write as dictionaries."""
    from pyarrow import types

    for place, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        if types.is_dictionary(column.type):
            table = table.set_column(place, name, column.cast(column.type.value_type))
    return table
