"""Tables of scores that were made before: a reference, an opinion, and one column per metric."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.benchmark.metrics.columns import NAMES, NO_METRICS, parse_column
from torchmetrics_fmiqa.data.csv_dialect import csv_records, plain_csv
from torchmetrics_fmiqa.data.opening import read_bytes
from torchmetrics_fmiqa.data.parquet import read_parquet_table
from torchmetrics_fmiqa.report.document import enumerate_names


@dataclass(frozen=True)
class ScoredTable:
    """Scores of ``n`` images by ``M`` metrics, beside what people said."""

    scores: dict[str, npt.NDArray[np.float64]]  #: by metric, ``(n,)``
    #: By change (``"translation"`` ...) and metric, the scores of the same images once changed.
    changed: dict[str, dict[str, npt.NDArray[np.float64]]]
    opinion: npt.NDArray[np.float64]  #: ``(n,)``
    reference: npt.NDArray[np.str_]  #: ``(n,)`` names of the references
    image: npt.NDArray[np.str_]  #: ``(n,)`` names of the images under test
    type: npt.NDArray[np.str_] | None  #: ``(n,)`` names of the distortions' types, or ``None``
    #: By metric and tap, the distances of one tap alone, shallow to deep.
    taps: dict[str, dict[str, npt.NDArray[np.float64]]] = field(default_factory=dict)
    std: npt.NDArray[np.float64] | None = None  #: ``(n,)`` standard deviations of the opinions, or ``None``
    #: By property and side (``"reference"``, ``"distorted"``, ``"difference"``), ``(n,)``.
    features: dict[tuple[str, str], npt.NDArray[np.float64]] = field(default_factory=dict)


def read_scored(
    path: Path,
    opinion: str,
    reference: str = "ref",
    image: str | None = None,
    type: str | None = None,
    type_from: str | None = None,
    metrics: Sequence[str] | None = None,
) -> ScoredTable:
    r"""Read a table of scores from a ``.csv``, ``.csv.gz`` or ``.parquet`` file.

    Names of references, images and types are text, whatever they look like: ``01`` is not ``1``, and ``NA`` is a name.

    Args:
        path: the file.
        opinion: column of the opinions.
        reference: column of the references.
        image: column of the images under test; by default ``dis``, ``dist`` or ``image``, where there is one.
        type: column of the distortions' types; by default ``type``, where there is one.
        type_from: or a regular expression whose first group (or whole match) in the image's name is its type.
        metrics: columns to take; by default every column of numbers that is none of these, nor called ``level``,
            ``std``, ``votes``, ``seconds`` or ``row``, nor as names are (``ref``, ``image`` ...). ``metric@tap`` is one
            tap's distance alone, ``metric|change`` the score of slightly changed images, and so are the published
            endings ``_tra-1``, ``_sca-1``, ``_rot-1``; ``#property#side`` is something measured of the images
            themselves.

    Raises:
        ValueError: for a file, column or expression that does not fit, and for values that are missing.

    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "scores.csv"
    >>> _ = path.write_text("ref,dis,mos,ours,ours_tra-1\na,a1,3.5,0.2,0.3\na,a2,1.5,0.9,0.8\n")
    >>> table = read_scored(path, "mos", type_from="[a-z]([0-9])")
    >>> list(table.scores), list(table.changed["translation"]), table.type.tolist()
    (['ours'], ['ours'], ['1', '2'])
    """
    # Numbers that were asked for are numbers even where they are called as names are.
    numeric = {*(metrics or ()), opinion}
    columns = _read(path, {name for name in (reference, image, type, *NAMES) if name is not None} - numeric)

    def column(name: str, what: str) -> list[Any]:
        if name not in columns:
            raise ValueError(
                f"{path} has no column {name!r} for the {what}: it has {''.join(enumerate_names(list(columns), 12))}"
            )
        return columns[name]

    if image is None:
        image = next((name for name in ("dis", "dist", "image") if name in columns), None)
    if image is None:
        images = list(map(str, range(len(column(opinion, "opinion")))))
    else:
        images = _names(column(image, "image"), image, path)
    if type is not None and type_from is not None:
        raise ValueError("give `type` (a column) or `type_from` (an expression), not both")
    types = None
    if type_from is not None:
        types = np.array([_type_of(name, type_from) for name in images], dtype=str)
    elif type is not None or "type" in columns:  # a cell may be empty: nothing was said of the image
        known = column(type or "type", "type")
        types = np.array(["" if value is None else str(value) for value in known], dtype=str)
    others = {opinion, reference, image, type, *NAMES, *NO_METRICS} - set(metrics or ())
    numbers = [name for name in columns if name not in others and _is_number(columns[name])]
    if metrics is not None:
        for name in metrics:
            column(name, "metric")
        numbers = [name for name in numbers if parse_column(name).metric in {"", *metrics}]
    table = ScoredTable(
        scores={},
        changed={},
        opinion=_opinions(column(opinion, "opinion"), opinion, path),
        reference=np.array(_names(column(reference, "reference"), reference, path), dtype=str),
        image=np.array(images, dtype=str),
        type=types,
        std=_opinions(columns["std"], "std", path) if "std" in columns and "std" in others else None,
    )
    for name in numbers:
        values = np.array(columns[name], dtype=np.float64)
        content = parse_column(name)
        if content.feature:
            table.features[content.feature, content.side] = values
        elif content.change:
            table.changed.setdefault(content.change, {})[content.metric] = values
        elif content.tap:
            table.taps.setdefault(content.metric, {})[content.tap] = values
        else:
            table.scores[content.metric] = values
    if not table.scores:
        raise ValueError(f"{path} has no column of scores beside {', '.join(filter(None, others & set(columns)))}")
    return table


def _read(path: Path, texts: Collection[str]) -> dict[str, list[Any]]:
    """The columns of a table; those called ``texts`` as they stand in the file, the others as what they look like."""
    table = read_parquet_table(path) if path.suffix == ".parquet" else _read_csv(path, texts)
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has two columns {twice[0]!r}: rename one")
    return dict(table.to_pydict())


def _read_csv(path: Path, texts: Collection[str]) -> Any:
    import pyarrow
    from pyarrow import csv

    try:
        content = read_bytes(path, "table")
        content = plain_csv(gzip.decompress(content) if path.suffix == ".gz" else content, str(path))
        # Told beforehand: once read as a number, 01 is 1, and nothing gives the zero back.
        _, header = next(csv_records(content.partition(b"\n")[0], str(path)), (1, []))
        as_text = {name: pyarrow.string() for name in header if name in texts}
        return csv.read_csv(pyarrow.BufferReader(content), convert_options=csv.ConvertOptions(column_types=as_text))
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is no table: {error}") from None


def _names(values: list[Any], name: str, path: Path) -> list[str]:
    """Names as text."""
    names = ["" if value is None else str(value) for value in values]
    if "" in names:
        raise ValueError(f"{path}: {name!r} of row {names.index('') + 2} is empty: give every image a name there")
    return names


def _is_number(values: list[Any]) -> bool:
    return all(value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in values)


def _opinions(values: list[Any], name: str, path: Path) -> npt.NDArray[np.float64]:
    if not _is_number(values) or any(value is None for value in values):
        row = next(i for i, value in enumerate(values) if value is None or not isinstance(value, (int, float)))
        raise ValueError(f"{path}: {name!r} of row {row + 2} is {values[row]!r}, not a number")
    return np.array(values, dtype=np.float64)


def _type_of(name: str, expression: str) -> str:
    try:
        match = re.search(expression, name)
    except re.error as error:
        raise ValueError(f"`type_from` {expression!r} is no regular expression: {error}") from None
    if match is None:
        raise ValueError(f"`type_from` {expression!r} finds nothing in {name!r}")
    return match[1] if match.re.groups else match[0]
