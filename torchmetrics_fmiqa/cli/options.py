"""Options that commands share, and the parsing of their values."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from torchmetrics_fmiqa.cli.console import err_console, one_line, plain
from torchmetrics_fmiqa.yaml_text import read_fields

if TYPE_CHECKING:
    from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
    from torchmetrics_fmiqa.comparator import FeatureComparator
    from torchmetrics_fmiqa.data.images import Match
    from torchmetrics_fmiqa.recipes import Recipe
    from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe


#: Largest seed that all random number generators accept.
LARGEST_SEED = 2**63 - 1

RecipeOption = Annotated[str, typer.Option("--recipe", help="Name of a recipe (`fmiqa recipes`) or a YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a field of the recipe; the value is YAML. Repeatable."),
]
DistanceOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Distance of the recipe: l2, several (l2,cosine), or several joined by weights (cosine=1,symmetric_kl=2).",
    ),
]
CombineOption = Annotated[str | None, typer.Option(help="How distances are joined: mean or geometric.")]
LowLevelOption = Annotated[
    str | None,
    typer.Option(
        metavar="TAPS", help="Taps of the low-level stream of SPIPS: 0,1,2; by default the first half of the recipe's."
    ),
]
SemanticOption = Annotated[
    str | None, typer.Option(metavar="TAPS", help="Taps of the semantic stream of SPIPS: 10,11; by default the rest.")
]
OutFolderOption = Annotated[
    Path, typer.Option("--out", help="Folder for the results; an interrupted run goes on in it.")
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Argument of the reader of --data, such as split=train; the value is YAML. Repeatable.",
    ),
]
CropOption = Annotated[int, typer.Option("--crop-border", min=0, help="Pixels to cut off each side first.")]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps ...")]
PrecisionOption = Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")]
MatchOption = Annotated[
    str | None, typer.Option(help="For pairs of two sizes: crop (to the common top left part) or resize (DIST).")
]
RgbOption = Annotated[bool, typer.Option("--to-rgb", help="Take grey, opaque RGBA, CMYK and Lab files too.")]
FoldsOption = Annotated[int, typer.Option(help="Of references, which are held out in turn.")]
HiddenOption = Annotated[str | None, typer.Option(help="Widths of the hidden layers, comma-separated: 32,16.")]
LinearOption = Annotated[bool, typer.Option("--linear", help="No hidden layer: a weighted sum.")]
EpochsOption = Annotated[int, typer.Option(min=1, help="At most.")]
PatienceOption = Annotated[int, typer.Option(min=1, help="Epochs without a better inner validation.")]
LearningRateOption = Annotated[float, typer.Option(help="Of AdamW.")]
ResamplesOption = Annotated[int, typer.Option(min=1, help="Of the bootstrap over references.")]
SeedOption = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, help="Of everything random: folds, weights, batches, intervals.")
]
SuffixOption = Annotated[
    str, typer.Option(metavar="TEXT", help="Of folders: DIST's names have this after those of REF, such as _x4.")
]


def read_recipe(name: str, overrides: Sequence[str] | None) -> Recipe:
    """The recipe of a name or a file, with fields overridden by ``KEY=VALUE``.

    Raises:
        ValueError: for a malformed override, an unknown recipe, or an invalid field.
    """
    from torchmetrics_fmiqa.recipes import as_recipe

    return as_recipe(name, **read_fields("--set", overrides))


def with_distance(overrides: Sequence[str] | None, distance: str | None, combine: str | None) -> list[str]:
    """The overrides of ``--set``, with those of ``--distance`` and ``--combine`` added.

    Raises:
        ValueError: if a value has no names or weights for only some of them, or ``--set`` has the same field.

    >>> with_distance(None, "cosine=1,symmetric_kl=2", "geometric")
    ['distance={"cosine": 1.0, "symmetric_kl": 2.0}', 'combine="geometric"']
    """
    added = {}
    if distance is not None:
        added["distance"] = _read_distance(distance)
    if combine is not None:
        added["combine"] = combine
    for key in added:
        if any(item.partition("=")[0] == key for item in overrides or ()):
            raise ValueError(f"`--{key}` and `--set {key}` say the same: leave out one of them")
    return [*(overrides or ()), *(f"{key}={json.dumps(value)}" for key, value in added.items())]


def _read_distance(text: str) -> str | list[str] | dict[str, float]:
    pairs = [name.partition("=") for name in split_names(text)]
    names = [name.strip() for name, _, _ in pairs]
    if not names or not all(names) or len(set(names)) < len(names):
        raise ValueError(f"`--distance` takes one or more different names such as l2 or cosine=1,l2=2; got {text!r}")
    if not any(separator for _, separator, _ in pairs):
        return names[0] if len(names) == 1 else names
    try:
        return {name: float(weight) for name, (_, _, weight) in zip(names, pairs, strict=True)}
    except ValueError:
        raise ValueError(f"`--distance` takes a number as weight of each name or of none; got {text!r}") from None


def recipe_files(name: str, recipe: Recipe) -> list[str]:
    """Possible input files of a recipe: its own name and its weights, any of which may not be a file."""
    return [name, *(weights for weights in (recipe.weights, recipe.channel_weights) if isinstance(weights, str))]


def load_comparator(recipe: Recipe, precision: str) -> FeatureComparator:
    """Load the network of a recipe."""
    from torchmetrics_fmiqa.comparator import FeatureComparator

    with err_console.status(f"loading {plain(str(recipe.backbone))} ..."):
        return FeatureComparator(recipe, precision=precision)  # type: ignore[arg-type]


def read_spips_recipe(
    name: str, overrides: Sequence[str] | None, low_level: str | None, semantic: str | None
) -> SpipsRecipe:
    """Load the network of a recipe of SPIPS, with the taps of both streams.

    Raises:
        ValueError: for an invalid recipe or invalid taps.
    """
    from torchmetrics_fmiqa.spips_model.recipe import as_spips_recipe

    fields = read_fields("--set", overrides)
    taps = read_taps("--low-level", low_level), read_taps("--semantic", semantic)
    with err_console.status("loading the network ..."):
        return as_spips_recipe(name, *taps, **fields)


def load_panel(names: Sequence[str], device: str, precision: str) -> Panel:
    """Load the metrics of a benchmark or a comparison, and print those that cannot run here."""
    from torchmetrics_fmiqa.benchmark.metrics.read_panel import read_panel

    with err_console.status("loading metrics ..."):
        panel = read_panel(names, device, precision)  # type: ignore[arg-type]
    for metric in panel.skipped:
        err_console.say(f"[yellow]without {plain(metric.name)}:[/] {one_line(metric.reason)}")
    return panel


def read_taps(option: str, text: str | None) -> tuple[str | int, ...] | None:
    """The taps that an option gives: indices and module names between commas, in brackets or not; or ``None``.

    Raises:
        ValueError: for a text without taps.

    >>> read_taps("--semantic", "[-2, -1]"), read_taps("--semantic", "norm,11"), read_taps("--semantic", None)
    ((-2, -1), ('norm', 11), None)
    """
    if text is None:
        return None
    names = split_names(text.strip().removeprefix("[").removesuffix("]"))
    if not names:
        raise ValueError(f"`{option}` takes indices and module names such as 0,1,2; got {text!r}")
    return tuple(int(name) if re.fullmatch(r"-?\d+", name) else name for name in names)


def check_device(name: str) -> Any:
    """The torch device of a name; a ValueError if it cannot be used here."""
    import torch

    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"`--device {name}` cannot be used: {str(error).splitlines()[0]}") from error
    return device


def check_opinion_is(opinion_is: str) -> Any:
    """The value of ``--opinion-is``; a ValueError if it is none."""
    if opinion_is not in ("better", "worse", "infer"):
        raise ValueError(f"`--opinion-is` must be better, worse or infer, got {opinion_is!r}")
    return opinion_is


def read_hidden(hidden: str | None, linear: bool) -> tuple[int, ...]:
    """The widths that ``--hidden`` names; a ValueError for a text that names none, and beside ``--linear``."""
    if hidden is None:
        return (32, 16)
    if linear:
        raise ValueError("`--linear` has no hidden layers: give it or --hidden, not both")
    widths = split_names(hidden)
    if not widths or not all(width.isdecimal() and int(width) > 0 for width in widths):
        raise ValueError(f"`--hidden` takes widths such as 32,16, got {hidden!r}")
    return tuple(map(int, widths))


def check_match(match: str | None) -> Match | None:
    """The value of ``--match``; a ValueError if it is none."""
    if match not in (None, "crop", "resize"):
        raise ValueError(f"`--match` must be crop or resize, got {match!r}")
    return cast("Match | None", match)


def split_names(text: str) -> list[str]:
    """Split a text at commas, except those within brackets and braces.

    >>> split_names("psnr, vit-tiny:distance={l2: 1, cosine: 2}, vit-tiny:taps=[2, 5]")
    ['psnr', 'vit-tiny:distance={l2: 1, cosine: 2}', 'vit-tiny:taps=[2, 5]']
    """
    return [name.strip() for name in re.split(r",(?![^\[]*\])(?![^{]*\})", text) if name.strip()]


def overlap(folder: Path, other: Path) -> bool:
    """Whether two folders are one, or one of them is inside the other."""
    here, there = folder.resolve(), other.resolve()
    return here in (there, *there.parents) or there in here.parents
