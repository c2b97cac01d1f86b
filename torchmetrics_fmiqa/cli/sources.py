"""Where `fmiqa benchmark` takes its images or scores from, and which options are refused for which source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from torchmetrics_fmiqa.yaml_text import read_fields

if TYPE_CHECKING:
    from torchmetrics_fmiqa.data.rated_csv import JndPairs, RatedPairs, Triplets

# What each source is called in messages.
_CALLED = {
    "pairs": "--pairs",
    "data": "--data with opinions",
    "choices": "--data with choices (bapps_2afc, bapps_jnd)",
    "scores": "--scores",
}
_IMAGES = ("pairs", "data", "choices")
_OPINIONS = ("pairs", "data", "scores")
# The sources that an option is for, where it is not for all.
_ONLY: dict[str, Sequence[str]] = {
    "data_option": ("data", "choices"),
    "root": ("pairs",),
    **dict.fromkeys(("opinion", "opinion_is"), ("pairs", "scores")),
    **dict.fromkeys(("ref", "image", "type_column", "higher_is_better"), ("scores",)),
    **dict.fromkeys(("type_from", "other_set", "worst"), _OPINIONS),
    **dict.fromkeys(("changes", "attacked"), ("pairs", "data")),
    **dict.fromkeys(("match", "max_side", "crop_border", "to_rgb", "batch", "device", "precision"), _IMAGES),
}
# Values that only say what holds anyway where there is no such thing.
_OFF = {"changes": "none", "attacked": 0}


def given(context: typer.Context, name: str) -> bool:
    """Whether an option was given, rather than left at its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def refuse_ignored(context: typer.Context, source: str) -> None:
    """Refuse options that would do nothing with a source: ``"pairs"``, ``"data"``, ``"choices"`` or ``"scores"``.

    Raises:
        ValueError: for an option that was given and is for other sources, naming it.
    """
    for option in context.command.params:
        name = str(option.name)
        meant = _ONLY.get(name, (source,))
        if source in meant or not given(context, name):
            continue
        if name not in _OFF or context.params[name] != _OFF[name]:
            others = " and ".join(_CALLED[other] for other in meant)
            raise ValueError(
                f"`{option.opts[0]}` is for {others}; with {_CALLED[source]} it would do nothing: leave it out"
            )


def read_data(text: str, options: Sequence[str] | None) -> tuple[RatedPairs | Triplets | JndPairs, Path]:
    """Read the data set that ``--data NAME=FOLDER`` names; its reader's options are those of ``--data-option``.

    Returns:
        What was read, and the folder it is in.

    Raises:
        ValueError: for options that do not fit, and for what the readers raise.
    """
    from torchmetrics_fmiqa.data.datasets import read_dataset, reader_arguments

    name, separator, folder = text.partition("=")
    if not separator:
        raise ValueError(f"`--data` takes NAME=FOLDER, such as tid2013=TID2013, got {text!r}")
    fields = read_fields("--data-option", options)
    arguments, known = reader_arguments(name, fields)
    for key in fields:
        if key not in arguments:
            taken = f"its reader takes {', '.join(known)}" if known else "its reader takes none"
            raise ValueError(f"`--data-option {key}` means nothing to {name}: {taken}")
    return read_dataset(name, folder, **arguments), Path(folder)
