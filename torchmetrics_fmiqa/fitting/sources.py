"""The data sets that a head learns from or is tested on, before anything is measured: tables, folders, photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.data.datasets import DATASETS, read_dataset, reader_arguments
from torchmetrics_fmiqa.data.folders import list_folder
from torchmetrics_fmiqa.data.pairs import Problem
from torchmetrics_fmiqa.data.rated_csv import JndPairs, OpinionIs, RatedPair, RatedPairs, Triplets, read_rated_csv
from torchmetrics_fmiqa.fitting.dataset import Kind
from torchmetrics_fmiqa.fitting.graded_photographs import graded_versions
from torchmetrics_fmiqa.yaml_text import read_fields


@dataclass(frozen=True)
class Row:
    """A row of a :class:`~torchmetrics_fmiqa.fitting.dataset.MeasuredSet` to be."""

    pairs: tuple[RatedPair, ...]  #: what is measured for it: a pair, or both versions of a choice.
    target: float  #: an opinion, the share of people who found the second version closer, or a severity.
    part: str = ""  #: the type of distortion, or the part of the data set.
    std: float | None = None  #: standard deviation of the opinions, where it is known.


@dataclass(frozen=True)
class SetPlan:
    """A data set to be measured, whose files are named from its ``root``; those of ``missing`` are not there."""

    name: str
    kind: Kind
    rows: tuple[Row, ...]
    root: Path | None = None
    higher_is_better: bool = True
    missing: tuple[Problem, ...] = ()


def read_photographs(folder: str | Path, name: str | None = None) -> SetPlan:
    """Find the photographs of a folder and the folders in it; the set is called as the folder by default.

    Raises:
        ValueError: if there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}")
    listed = list_folder(folder)
    if listed.problems:
        raise ValueError(f"{listed.problems[0].name!r}: {listed.problems[0].reason}")
    versions = [version for photograph in sorted(listed.images) for version in graded_versions(photograph)]
    rows = tuple(Row((version,), float(version.level or 0), version.type) for version in versions)
    return SetPlan(name or folder.absolute().name, "rank", rows, folder)


def plan_set(source: RatedPairs | Triplets, root: Path | None = None) -> SetPlan:
    """Plan what is measured of a data set; files are named from the root where the source does not say.

    Raises:
        ValueError: for opinions whose direction nobody tells.
    """
    if isinstance(source, Triplets):
        choices = tuple(
            Row(tuple(RatedPair(own.ref, version, 0.0) for version in (own.p0, own.p1)), own.judge, own.type or "all")
            for own in source.triplets
        )
        return SetPlan(source.name, "choice", choices, root, missing=source.missing)
    if source.higher_is_better is None:
        raise ValueError(
            f"nothing says whether a higher opinion of {source.name} is better or worse: give --opinion-is"
        )
    # Types say nothing of what is measured: they stay with the row.
    rated = tuple(
        Row((RatedPair(pair.ref, pair.dist, 0.0),), pair.opinion, pair.type, pair.std) for pair in source.pairs
    )
    return SetPlan(source.name, "opinion", rated, source.root or root, source.higher_is_better, source.missing)


@dataclass(frozen=True)
class SourceOptions:
    """Where data sets are: what the options of `fmiqa fit` of these names say.

    Each reader of ``data`` takes those of ``data_option`` that it knows; ``opinion_is=None`` asks the column's name.
    """

    pairs: Sequence[str] = ()
    data: Sequence[str] = ()
    graded: Sequence[str] = ()
    test: Sequence[str] = ()
    data_option: Sequence[str] = ()
    opinion: str | None = None
    opinion_is: OpinionIs | None = None


def read_sets(given: SourceOptions) -> tuple[list[SetPlan], list[SetPlan]]:
    """Read data sets, and plan what is measured of them: the sets to train on, and those to test on.

    Raises:
        ValueError: for what the readers raise, opinions whose direction nobody tells, options that would do nothing,
            and sets of one name.
    """

    def table(text: str) -> SetPlan:
        name, path = _named(text)
        return plan_set(read_rated_csv(path, None, given.opinion, given.opinion_is, name))

    tables = [text for text in given.test if not _is_folder(text)]
    folders = [text for text in given.test if _is_folder(text)]
    if not (given.pairs or tables):
        for option, value in (("--opinion", given.opinion), ("--opinion-is", given.opinion_is)):
            if value is not None:
                raise ValueError(f"`{option}` is for tables of pairs, and there is none: leave it out")
    trained = [table(text) for text in given.pairs]
    trained += _datasets(given.data, read_fields("--data-option", given.data_option))
    for text in given.graded:
        name, path = _named(text)
        trained.append(read_photographs(path, name))
    tested = [*(table(text) for text in tables), *_datasets(folders, {}, "--test")]
    names = [plan.name for plan in (*trained, *tested)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(
            f"two sets are called {twice[0]!r}: rename one, as in --pairs NAME=TABLE.csv or --data LABEL=NAME=FOLDER"
        )
    return trained, tested


def _datasets(texts: Sequence[str], options: dict[str, Any], option: str = "--data") -> list[SetPlan]:
    """Data sets in their published layout; each reader gets the options that it takes."""
    plans, used = [], set[str]()
    for text in texts:
        label, name, folder = _labelled(text, option)
        own, _ = reader_arguments(name, options)
        used |= set(own)
        source = read_dataset(name, folder, **own)
        if isinstance(source, JndPairs):
            raise ValueError(
                f"{name} tells whether people saw a difference: a head is trained and tested on opinions, choices "
                "(bapps_2afc) or graded photographs"
            )
        plans.append(plan_set(replace(source, name=label or source.name), Path(folder)))
    unknown = sorted(set(options) - used)
    if unknown:
        whose = " or ".join(_labelled(text, option)[1] for text in texts)
        raise ValueError(f"`--data-option {unknown[0]}` means nothing to {whose or 'tables: give --data'}")
    return plans


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
