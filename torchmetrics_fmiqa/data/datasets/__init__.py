"""Readers of image quality datasets with opinion scores, in the layout in which each is published."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, overload

from torchmetrics_fmiqa.data.datasets.bapps import read_bapps_2afc, read_bapps_jnd
from torchmetrics_fmiqa.data.datasets.csiq import read_csiq
from torchmetrics_fmiqa.data.datasets.kadid import read_kadid10k
from torchmetrics_fmiqa.data.datasets.live import read_live
from torchmetrics_fmiqa.data.datasets.pipal import read_pipal
from torchmetrics_fmiqa.data.datasets.superres import read_qads, read_sr4kiqa
from torchmetrics_fmiqa.data.datasets.tid import read_tid2008, read_tid2013
from torchmetrics_fmiqa.data.rated_pairs import JndPairs, RatedPairs, Triplets

__all__ = [
    "DATASETS",
    "read_bapps_2afc",
    "read_bapps_jnd",
    "read_csiq",
    "read_dataset",
    "read_kadid10k",
    "read_live",
    "read_pipal",
    "read_qads",
    "read_sr4kiqa",
    "read_tid2008",
    "read_tid2013",
    "reader_of",
]

#: Name to reader.
DATASETS: dict[str, Callable[..., RatedPairs | Triplets | JndPairs]] = {
    "tid2013": read_tid2013,
    "tid2008": read_tid2008,
    "live": read_live,
    "csiq": read_csiq,
    "kadid10k": read_kadid10k,
    "pipal": read_pipal,
    "qads": read_qads,
    "sr4kiqa": read_sr4kiqa,
    "bapps_2afc": read_bapps_2afc,
    "bapps_jnd": read_bapps_jnd,
}

Rated = Literal["tid2013", "tid2008", "live", "csiq", "kadid10k", "pipal", "qads", "sr4kiqa"]


@overload
def read_dataset(name: Rated, data_dir: str | Path, **options: Any) -> RatedPairs: ...
@overload
def read_dataset(name: Literal["bapps_2afc"], data_dir: str | Path, **options: Any) -> Triplets: ...
@overload
def read_dataset(name: Literal["bapps_jnd"], data_dir: str | Path, **options: Any) -> JndPairs: ...
@overload
def read_dataset(name: str, data_dir: str | Path, **options: Any) -> RatedPairs | Triplets | JndPairs: ...
def read_dataset(name: str, data_dir: str | Path, **options: Any) -> RatedPairs | Triplets | JndPairs:
    """Read a dataset from its folder on disk; nothing is downloaded.

    A file of the dataset's table that does not exist is listed in ``missing`` and does not stop the reading. Files are
    only looked up, not opened; call ``verified()`` of the result to decode every image.

    Args:
        name: one of :data:`DATASETS`; case, hyphens and underscores do not matter.
        data_dir: folder of the dataset, laid out as published; see its reader, such as
            :func:`read_tid2013`.
        options: further arguments of the reader, such as ``realigned=True`` for ``live`` or ``split="train"`` for
            ``bapps_2afc``.

    Returns:
        :class:`~torchmetrics_fmiqa.data.rated_csv.RatedPairs`, or
        :class:`~torchmetrics_fmiqa.data.rated_csv.Triplets` for ``bapps_2afc`` and
        :class:`~torchmetrics_fmiqa.data.rated_csv.JndPairs` for ``bapps_jnd``.

    Raises:
        ValueError: for a name that is not known, and for what the reader raises.

    >>> read_dataset("imagenet", ".")
    Traceback (most recent call last):
    ...
    ValueError: there is no reader of 'imagenet': choose from tid2013, tid2008, live, csiq, kadid10k, pipal, qads, \
sr4kiqa, bapps_2afc, bapps_jnd, or make a table for read_rated_csv
    """
    return reader_of(name)(data_dir, **options)


def reader_of(name: str) -> Callable[..., RatedPairs | Triplets | JndPairs]:
    """The reader of a data set; case, hyphens and underscores in its name do not matter.

    Raises:
        ValueError: for a name that is not known.
    """
    readers = {_plain(known): reader for known, reader in DATASETS.items()}
    if _plain(name) not in readers:
        known = ", ".join(DATASETS)
        raise ValueError(f"there is no reader of {name!r}: choose from {known}, or make a table for read_rated_csv")
    return readers[_plain(name)]


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name.lower())


def reader_arguments(name: str, fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Of the fields of ``--data-option`` those that a data set's reader takes; and the names of all that it takes.

    Raises:
        ValueError: for a name that is not known, and for another value than true or false where it must be one.
    """
    parameters = dict(list(inspect.signature(reader_of(name)).parameters.items())[1:])  # the first is the folder
    own = {key: value for key, value in fields.items() if key in parameters}
    for key, value in own.items():
        if isinstance(parameters[key].default, bool) and not isinstance(value, bool):
            raise ValueError(f"`--data-option {key}` must be true or false, got {value!r}")
    return own, list(parameters)
