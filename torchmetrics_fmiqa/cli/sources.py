"""Where `fmiqa benchmark` takes its images or scores from, and which options mean something there."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from torchmetrics_fmiqa.cli.fields import read_fields

if TYPE_CHECKING:
    from torchmetrics_fmiqa.data.rated import JndPairs, RatedPairs, Triplets

#: A table of pairs, a data set of opinions, a data set of choices, or a table of scores.
Source = Literal["pairs", "data", "choices", "scores"]

_CALLED: dict[Source, str] = {
    "pairs": "--pairs",
    "data": "--data with opinions",
    "choices": "--data with choices (bapps_2afc, bapps_jnd)",
    "scores": "--scores",
}
_IMAGES: tuple[Source, ...] = ("pairs", "data", "choices")
_OPINIONS: tuple[Source, ...] = ("pairs", "data", "scores")

# The sources that an option is for, where it is not for all.
_FOR: dict[str, tuple[Source, ...]] = {
    "data_option": ("data", "choices"),
    "root": ("pairs",),
    "opinion": ("pairs", "scores"),
    "opinion_is": ("pairs", "scores"),
    "ref": ("scores",),
    "image": ("scores",),
    "type_column": ("scores",),
    "type_from": _OPINIONS,
    "higher_is_better": ("scores",),
    "other_set": _OPINIONS,
    "worst": _OPINIONS,
    "changes": ("pairs", "data"),
    "attacked": ("pairs", "data"),
    "match": _IMAGES,
    "max_side": _IMAGES,
    "crop_border": _IMAGES,
    "to_rgb": _IMAGES,
    "batch": _IMAGES,
    "device": _IMAGES,
    "precision": _IMAGES,
}
# Values that only say what holds anyway where there is no such thing.
_OFF = {"changes": "none", "attacked": 0}


def refuse_ignored(context: typer.Context, source: Source) -> None:
    """Refuse options that would do nothing with a source.

    Args:
        context: of the command.
        source: where the images or scores come from.

    Raises:
        ValueError: for an option that was given and is for other sources, naming it.
    """
    for option in context.command.params:
        name = str(option.name)
        sources = _FOR.get(name, (source,))
        given = context.get_parameter_source(name)
        if source in sources or given is None or given.name == "DEFAULT":
            continue
        if name not in _OFF or context.params[name] != _OFF[name]:
            said = " and ".join(_CALLED[one] for one in sources)
            raise ValueError(
                f"`{option.opts[0]}` is for {said}; with {_CALLED[source]} it would do nothing: leave it out"
            )


def read_source(
    context: typer.Context,
    pairs: Path | None,
    data: str | None,
    data_options: Sequence[str] | None,
    root: Path | None,
    opinion: str | None,
    opinion_is: str,
) -> tuple[RatedPairs | Triplets | JndPairs, Path | None]:
    """Read a table of pairs, or a data set; refuse options that would do nothing with it.

    Args:
        context: of the command.
        pairs: the table, or ``None`` for a data set.
        data: ``NAME=FOLDER`` of the data set.
        data_options: of its reader, each ``KEY=VALUE``.
        root: folder that the table's paths count from.
        opinion: the table's column of opinions.
        opinion_is: what a higher opinion means, or ``"infer"``.

    Returns:
        What was read, and the folder it is in.

    Raises:
        ValueError: for options that do not fit, and for what the readers raise.
    """
    from torchmetrics_fmiqa.data.datasets import read_dataset
    from torchmetrics_fmiqa.data.rated import RatedPairs, read_rated_csv

    if pairs is not None:
        refuse_ignored(context, "pairs")
        direction: Any = None if opinion_is == "infer" else opinion_is
        rated = read_rated_csv(pairs, root, opinion, direction)
        return rated, rated.root
    name, separator, folder = str(data).partition("=")
    if not separator:
        raise ValueError(f"`--data` takes NAME=FOLDER, such as tid2013=TID2013, got {data!r}")
    found = read_dataset(name, folder, **_reader_options(name, data_options))
    refuse_ignored(context, "data" if isinstance(found, RatedPairs) else "choices")
    return found, Path(folder)


def _reader_options(name: str, given: Sequence[str] | None) -> dict[str, Any]:
    """What to give to the reader of a data set, checked against what it takes."""
    from torchmetrics_fmiqa.data.datasets import reader_of

    fields = read_fields("--data-option", given)
    # The first is the folder.
    takes = dict(list(inspect.signature(reader_of(name)).parameters.items())[1:])
    for key, value in fields.items():
        if key not in takes:
            known = f"its reader takes {', '.join(takes)}" if takes else "its reader takes none"
            raise ValueError(f"`--data-option {key}` means nothing to {name}: {known}")
        if isinstance(takes[key].default, bool) and not isinstance(value, bool):
            raise ValueError(f"`--data-option {key}` must be true or false, got {value!r}")
    return fields
