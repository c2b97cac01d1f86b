"""The data sets that a head is trained on: tables of pairs, data sets in their published layout, and photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.data.datasets import DATASETS, check_option, read_dataset, reader_takes
from torchmetrics_fmiqa.data.rated_csv import JndPairs, OpinionIs, read_rated_csv
from torchmetrics_fmiqa.fitting.graded_photographs import read_photographs
from torchmetrics_fmiqa.fitting.measure_plan import SetPlan, plan_set
from torchmetrics_fmiqa.yaml_text import read_fields


def read_sets(
    pairs: Sequence[str] = (),
    data: Sequence[str] = (),
    graded: Sequence[str] = (),
    test: Sequence[str] = (),
    data_option: Sequence[str] = (),
    opinion: str | None = None,
    opinion_is: OpinionIs | None = None,
) -> tuple[list[SetPlan], list[SetPlan]]:
    """Read data sets, and plan what is measured of them.

    Args:
        pairs: tables of pairs, each ``TABLE.csv`` or ``NAME=TABLE.csv``.
        data: data sets in their published layout, each ``NAME=FOLDER``, or ``LABEL=NAME=FOLDER`` to rename it.
        graded: folders of photographs, each ``FOLDER`` or ``NAME=FOLDER``.
        test: tables or data sets to test on alone.
        data_option: ``KEY=VALUE`` for the readers of ``data``; each takes those that it knows.
        opinion: the tables' column of opinions.
        opinion_is: what a higher opinion in the tables means; ``None`` asks the column's name.

    Returns:
        The sets to train on, and those to test on.

    Raises:
        ValueError: for what the readers raise, opinions whose direction nobody tells, options that would do nothing,
            and sets of one name.
    """

    def table(text: str) -> SetPlan:
        name, path = _named(text)
        return plan_set(read_rated_csv(path, None, opinion, opinion_is, name))

    tables, folders = [text for text in test if not _is_folder(text)], [text for text in test if _is_folder(text)]
    if not (pairs or tables):
        for option, said in (("--opinion", opinion), ("--opinion-is", opinion_is)):
            if said is not None:
                raise ValueError(f"`{option}` is for tables of pairs, and there is none: leave it out")
    options = read_fields("--data-option", data_option)
    trained = [table(text) for text in pairs]
    trained += _datasets(data, options)
    for text in graded:
        name, path = _named(text)
        trained.append(plan_set(read_photographs(path, name)))
    tested = [*(table(text) for text in tables), *_datasets(folders, {}, "--test")]
    names = [one.name for one in (*trained, *tested)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(
            f"two sets are called {twice[0]!r}: rename one, as in --pairs NAME=TABLE.csv or --data LABEL=NAME=FOLDER"
        )
    return trained, tested


def _datasets(texts: Sequence[str], options: dict[str, Any], option: str = "--data") -> list[SetPlan]:
    """Data sets in their published layout; each reader gets the options that it takes."""
    found, used = [], set[str]()
    for text in texts:
        label, name, folder = _labelled(text, option)
        takes = reader_takes(name)
        own = {key: value for key, value in options.items() if key in takes}
        for key, value in own.items():
            check_option(key, value, takes[key])
        used |= set(own)
        source = read_dataset(name, folder, **own)
        if isinstance(source, JndPairs):
            raise ValueError(
                f"{name} tells whether people saw a difference: a head is trained and tested on opinions, choices "
                "(bapps_2afc) or graded photographs"
            )
        found.append(plan_set(replace(source, name=label or source.name), Path(folder)))
    unknown = sorted(set(options) - used)
    if unknown:
        whose = " or ".join(_labelled(text, option)[1] for text in texts)
        raise ValueError(f"`--data-option {unknown[0]}` means nothing to {whose or 'tables: give --data'}")
    return found


def _named(text: str) -> tuple[str | None, Path]:
    """``PATH`` or ``NAME=PATH``; a path that is there may hold a sign of equality itself."""
    name, separator, path = text.partition("=")
    return (name, Path(path)) if separator and not Path(text).exists() else (None, Path(text))


def _is_folder(text: str) -> bool:
    return _named(text)[1].is_dir() or text.count("=") > 1


def _labelled(text: str, option: str) -> tuple[str | None, str, str]:
    """``NAME=FOLDER`` or ``LABEL=NAME=FOLDER``."""
    first, separator, rest = text.partition("=")
    if not separator:
        raise ValueError(f"`{option}` takes NAME=FOLDER, such as tid2013=TID2013, got {text!r}")
    name, separator, folder = rest.partition("=")
    return (first, name, folder) if separator and name in DATASETS else (None, first, rest)
