"""Where commands take their images or scores from, and which options are refused for which source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from torchmetrics_fmiqa.yaml_text import read_fields

if TYPE_CHECKING:
    from torchmetrics_fmiqa.data.rated_csv import JndPairs, RatedPairs, Triplets


@dataclass(frozen=True)
class Sources:
    """The sources of a command.

    Args:
        called: what each is called in messages.
        only: the sources that an option is for, where it is not for all.
        off: values that only say what holds anyway where there is no such thing.
    """

    called: Mapping[str, str]
    only: Mapping[str, Sequence[str]]
    off: Mapping[str, Any] = field(default_factory=dict)


_IMAGES = ("pairs", "data", "choices")
_OPINIONS = ("pairs", "data", "scores")

#: Of `fmiqa benchmark`: a table of pairs, a data set of opinions, one of choices, or a table of scores.
BENCHMARK = Sources(
    called={
        "pairs": "--pairs",
        "data": "--data with opinions",
        "choices": "--data with choices (bapps_2afc, bapps_jnd)",
        "scores": "--scores",
    },
    only={
        "data_option": ("data", "choices"),
        "root": ("pairs",),
        **dict.fromkeys(("opinion", "opinion_is"), ("pairs", "scores")),
        **dict.fromkeys(("ref", "image", "type_column", "higher_is_better"), ("scores",)),
        **dict.fromkeys(("type_from", "other_set", "worst"), _OPINIONS),
        **dict.fromkeys(("changes", "attacked"), ("pairs", "data")),
        **dict.fromkeys(("match", "max_side", "crop_border", "to_rgb", "batch", "device", "precision"), _IMAGES),
    },
    off={"changes": "none", "attacked": 0},
)


def given(context: typer.Context, name: str) -> bool:
    """Whether an option was given, rather than left at its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def refuse_ignored(context: typer.Context, source: str, sources: Sources = BENCHMARK) -> None:
    """Refuse options that would do nothing with a source.

    Args:
        context: of the command.
        source: where the images or scores come from.
        sources: those of the command.

    Raises:
        ValueError: for an option that was given and is for other sources, naming it.
    """
    for option in context.command.params:
        name = str(option.name)
        meant = sources.only.get(name, (source,))
        if source in meant or not given(context, name):
            continue
        if name not in sources.off or context.params[name] != sources.off[name]:
            others = " and ".join(sources.called[other] for other in meant)
            raise ValueError(
                f"`{option.opts[0]}` is for {others}; with {sources.called[source]} it would do nothing: leave it out"
            )


@dataclass(frozen=True)
class ImageSource:
    """What the options of `fmiqa benchmark` say of where the images are.

    Args:
        pairs: a table of pairs, or ``None`` for a data set.
        data: ``NAME=FOLDER`` of the data set.
        data_options: of its reader, each ``KEY=VALUE``.
        root: folder that the table's paths count from.
        opinion: the table's column of opinions.
        opinion_is: what a higher opinion means, or ``"infer"``.
    """

    pairs: Path | None
    data: str | None
    data_options: Sequence[str] | None
    root: Path | None
    opinion: str | None
    opinion_is: str


def read_source(context: typer.Context, source: ImageSource) -> tuple[RatedPairs | Triplets | JndPairs, Path | None]:
    """Read a table of pairs, or a data set; refuse options that would do nothing with it.

    Args:
        context: of the command.
        source: where the images are.

    Returns:
        What was read, and the folder it is in.

    Raises:
        ValueError: for options that do not fit, and for what the readers raise.
    """
    from torchmetrics_fmiqa.data.datasets import read_dataset
    from torchmetrics_fmiqa.data.rated_csv import RatedPairs, read_rated_csv

    if source.pairs is not None:
        refuse_ignored(context, "pairs")
        direction: Any = None if source.opinion_is == "infer" else source.opinion_is
        rated = read_rated_csv(source.pairs, source.root, source.opinion, direction)
        return rated, rated.root
    name, separator, folder = str(source.data).partition("=")
    if not separator:
        raise ValueError(f"`--data` takes NAME=FOLDER, such as tid2013=TID2013, got {source.data!r}")
    dataset = read_dataset(name, folder, **_read_data_options(name, source.data_options))
    refuse_ignored(context, "data" if isinstance(dataset, RatedPairs) else "choices")
    return dataset, Path(folder)


def _read_data_options(name: str, values: Sequence[str] | None) -> dict[str, Any]:
    """The options of a data set's reader, checked against its parameters."""
    from torchmetrics_fmiqa.data.datasets import check_option, reader_options

    fields = read_fields("--data-option", values)
    parameters = reader_options(name)
    for key, value in fields.items():
        if key not in parameters:
            known = f"its reader takes {', '.join(parameters)}" if parameters else "its reader takes none"
            raise ValueError(f"`--data-option {key}` means nothing to {name}: {known}")
        check_option(key, value, parameters[key])
    return fields
