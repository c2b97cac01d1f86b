"""The command line: ``fmiqa score | map | benchmark | recipes``."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from torchmetrics_fmiqa.comparator import FeatureComparator
    from torchmetrics_fmiqa.data.images import Match
    from torchmetrics_fmiqa.data.pairs import Problem
    from torchmetrics_fmiqa.recipes import Recipe
    from torchmetrics_fmiqa.scoring import Scored

app = typer.Typer(
    help="Score images against their references with the features of frozen foundation models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out, _err = Console(), Console(stderr=True)

RecipeOption = Annotated[str, typer.Option("--recipe", help="Name of a recipe (`fmiqa recipes`) or a YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a field of the recipe; the value is YAML. Repeatable."),
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps ...")]
PrecisionOption = Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")]
MatchOption = Annotated[
    str | None, typer.Option(help="For pairs of two sizes: crop (to the common top left part) or resize (DIST).")
]
RgbOption = Annotated[bool, typer.Option("--to-rgb", help="Take grey and opaque RGBA files too.")]


def main() -> None:
    """Run the command line; errors are one line on standard error, and exit status 2."""
    try:
        app()
    except (ValueError, ModuleNotFoundError) as error:
        _fail(str(error))
    except RuntimeError as error:
        from torchmetrics_fmiqa.features.weights import WeightsUnavailableError  # loads torch: not for --help

        if not isinstance(error, WeightsUnavailableError):
            raise
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    _err.print(f"[red]error:[/] {escape(message)}", soft_wrap=True)
    sys.exit(2)


@app.command()
def score(
    ref: Annotated[Path | None, typer.Argument(help="Reference: a file, or a folder.")] = None,
    dist: Annotated[
        Path | None, typer.Argument(help="Image under test: a file, or a folder of the same names.")
    ] = None,
    pairs: Annotated[Path | None, typer.Option(help="CSV table with the columns ref,dist instead of REF DIST.")] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder that the table's paths count from; its own by default.")
    ] = None,
    recipe: RecipeOption = "default",
    overrides: SetOption = None,
    layers: Annotated[bool, typer.Option("--layers", help="Give each tap's distance too.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the scores to a .csv, .json or .parquet file.")] = None,
    crop_border: Annotated[int, typer.Option(min=0, help="Pixels to cut off each side first.")] = 0,
    match: MatchOption = None,
    to_rgb: RgbOption = False,
    device: DeviceOption = "cpu",
    precision: PrecisionOption = "float32",
) -> None:
    """Score images against their references: lower is closer, 0 is equal.

    Exit status: 0, 1 if a pair could not be scored (the others are), 2 for wrong arguments.
    """
    from torchmetrics_fmiqa.data.pairs import Problem, find_pairs, read_pairs
    from torchmetrics_fmiqa.scoring import columns, score_pairs
    from torchmetrics_fmiqa.tables import check_table_path, write_table

    if out is not None:
        check_table_path(out)
    if root is not None and pairs is None:
        raise ValueError("`--root` is for the paths of a table: give --pairs TABLE.csv too")
    if pairs is not None and ref is None:
        found, problems = read_pairs(pairs, root), list[Problem]()
    elif ref is not None and dist is not None and pairs is None:
        found, problems = find_pairs(ref, dist)
    else:
        raise ValueError("give REF and DIST, or --pairs TABLE.csv with --root FOLDER")
    _match(match)
    comparator = _comparator(_recipe(recipe, overrides), precision)
    names = columns(comparator, layers)
    done: list[Scored] = []
    try:
        results = score_pairs(comparator, found, _device(device), crop_border, _match(match), to_rgb, layers)
        for result in _with_progress(results, len(found)):
            if result.error:
                problems.append(Problem(f"{result.pair.dist} (reference {result.pair.ref})", result.error))
            else:
                done.append(result)
    finally:  # what was scored before an interruption is not lost
        if out is not None:
            rows = [{"ref": one.pair.ref, "dist": one.pair.dist, **one.values} for one in done]
            write_table(out, rows, ["ref", "dist", *names])
    _summarise(done, columns(comparator, False), comparator.recipes[0])
    if out is not None and done:
        _out.print(f"{len(done)} scores in {out}", soft_wrap=True, highlight=False)
    _report(problems)


@app.command(name="map")
def draw_map(
    ref: Annotated[Path, typer.Argument(help="Reference file.")],
    dist: Annotated[Path, typer.Argument(help="File under test.")],
    out: Annotated[Path, typer.Option(help="Picture to write (.png, .pdf, .svg).")] = Path("map.png"),
    recipe: RecipeOption = "default",
    overrides: SetOption = None,
    crop_border: Annotated[int, typer.Option(min=0, help="Pixels to cut off each side first.")] = 0,
    match: MatchOption = None,
    to_rgb: RgbOption = False,
    device: DeviceOption = "cpu",
    precision: PrecisionOption = "float32",
) -> None:
    """Draw where an image differs from its reference, and at which depth of the network."""
    from torchmetrics_fmiqa.data.images import match_sizes, read_image
    from torchmetrics_fmiqa.features.images import crop, to_unit
    from torchmetrics_fmiqa.figures import comparison_figure, new_figure

    new_figure(1, 1)  # without matplotlib, say so before the work
    if out.suffix.lower() not in {".png", ".pdf", ".svg"} or not out.resolve().parent.is_dir():
        raise ValueError(f"`--out` must be a .png, .pdf or .svg file in a folder that exists, got {str(out)!r}")
    target, preds = (read_image(path, to_rgb) for path in (ref, dist))
    preds, target = match_sizes(preds, target, _match(match))
    chosen = _recipe(recipe, overrides)
    comparator, where = _comparator(chosen, precision), _device(device)
    drawn = comparator.maps(preds[None].to(where), target[None].to(where), crop_border=crop_border, per_layer=True)
    unit, maps = next(iter(drawn.items()))
    if len(drawn) > 1:
        raise ValueError(f"a picture shows one distance, got {', '.join(drawn)}: give --set distance={unit}")
    score = float(maps["score"].mean())
    shown = [crop(to_unit(image, 1.0, maps["score"].dtype, ""), crop_border) for image in (target, preds)]
    per_tap = {tap: float(heat.mean()) for tap, heat in maps.items() if tap != "score"}
    title = f"{dist.name} against {ref.name}   ({chosen.backbone})"
    comparison_figure(shown[0], shown[1], maps["score"][0, 0], per_tap, score, title, unit).savefig(out, dpi=130)
    _out.print(f"{unit} distance {score:.6g} (lower is closer); picture in {out}", soft_wrap=True, highlight=False)


@app.command()
def benchmark(
    scores: Annotated[Path, typer.Option(help="Table of scores: .csv, .csv.gz or .parquet, one column a metric.")],
    opinion: Annotated[str, typer.Option(help="Its column of human opinions, such as mos or dmos.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    ref: Annotated[str, typer.Option(help="Its column of references.")] = "ref",
    image: Annotated[str | None, typer.Option(help="Its column of images; dis, dist or image by default.")] = None,
    type_column: Annotated[str | None, typer.Option("--type", help="Its column of types of distortion.")] = None,
    type_from: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Or: the type's place in the image's name.")
    ] = None,
    metrics: Annotated[str | None, typer.Option(help="Columns to take, comma-separated; all by default.")] = None,
    higher_is_better: Annotated[
        str | None,
        typer.Option(help="Metrics that are qualities, comma-separated; by default those that run against the others."),
    ] = None,
    opinion_is: Annotated[
        str, typer.Option(help="What a higher opinion means: better, worse, or infer from the metrics.")
    ] = "infer",
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap over references.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Compare metrics, by scores that were made before, with human opinion.

    Writes agreement.csv (one row a metric), beats.csv (who beats whom), types.csv and report.md.
    """
    from torchmetrics_fmiqa.benchmark.analysis import analyse
    from torchmetrics_fmiqa.benchmark.folder import claim, content
    from torchmetrics_fmiqa.benchmark.markdown import write_page
    from torchmetrics_fmiqa.benchmark.scored import read_scored
    from torchmetrics_fmiqa.tables import write_table

    if opinion_is not in ("better", "worse", "infer"):
        raise ValueError(f"`--opinion-is` must be better, worse or infer, got {opinion_is!r}")
    chosen = None if metrics is None else _names(metrics)
    qualities = None if higher_is_better is None else _names(higher_is_better)
    inputs = {
        "scores": content(scores),
        "columns": [opinion, ref, image, type_column, type_from, chosen],
        "directions": [opinion_is, qualities],
        "bootstrap": [resamples, seed],
    }
    table = read_scored(scores, opinion, ref, image, type_column, type_from, chosen)
    claim(out, inputs)
    with _err.status(f"analysing {len(table.scores)} metrics on {len(table.opinion)} images ..."):
        found = analyse(table, opinion_is, qualities, resamples, seed)  # type: ignore[arg-type]
    rows = found.rows()
    write_table(out / "agreement.csv", rows, list(rows[0]))
    types = list(found.agreements[0].by_type)
    if types:
        by_type = [{"metric": one.metric, **one.by_type} for one in found.agreements]
        write_table(out / "types.csv", by_type, ["metric", *types])
    if found.comparison is not None:
        beats = [
            {"metric": name, **dict(zip(found.comparison.metrics, row.tolist(), strict=True))}
            for name, row in zip(found.comparison.metrics, found.comparison.beats, strict=True)
        ]
        write_table(out / "beats.csv", beats, ["metric", *found.comparison.metrics])
    command = f"fmiqa benchmark --scores {scores.name} --opinion {opinion} --out {out.name}"
    if type_from is not None:
        command += f" --type-from '{type_from}'"
    (out / "report.md").write_text(write_page(found, scores.name, command), encoding="utf-8")
    shown = Table("metric", "SRCC", "95 %", "KRCC", "PLCC", "within ref", box=None, pad_edge=False)
    for row in rows:
        span = f"{row['srcc_low']:.4f} .. {row['srcc_high']:.4f}"
        figures = (row["srcc"], row["krcc"], row["plcc"], row["within_reference"])
        srcc, *others = (f"{value:.4f}" for value in figures)
        shown.add_row(escape(row["metric"]), srcc, span, *others)
    _out.print(shown)
    _out.print(f"{found.direction}; results in {out}", soft_wrap=True, highlight=False)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe as YAML, to start one of your own.")] = None,
) -> None:
    """List the named recipes: backbone, size and licence of its weights."""
    from torchmetrics_fmiqa.recipes import RECIPES, named

    if name is not None:
        _out.print(named(name).to_yaml(), end="", highlight=False, soft_wrap=True)
        return
    table = Table("recipe", "backbone", "M params", "licence of weights", "distance", "what", box=None, pad_edge=False)
    for title, entry in RECIPES.items():
        distance = ", ".join(map(str, entry.recipe.distances))
        backbone = str(entry.recipe.backbone)
        table.add_row(title, backbone, f"{entry.parameters:.1f}", entry.licence, distance, entry.note)
    wide = Console(width=max(_out.width, 160)) if not _out.is_terminal else _out
    wide.print(table)


def _recipe(name: str, overrides: Sequence[str] | None) -> Recipe:
    import yaml

    from torchmetrics_fmiqa.recipes import as_recipe

    fields: dict[str, Any] = {}
    for item in overrides or ():
        key, separator, text = item.partition("=")
        if not separator or not key:
            raise ValueError(f"`--set` takes KEY=VALUE, got {item!r}")
        if key in fields:
            raise ValueError(f"`--set {key}` is given twice")
        try:
            fields[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            fields[key] = text
    return as_recipe(name, **fields)


def _comparator(recipe: Recipe, precision: str) -> FeatureComparator:
    from torchmetrics_fmiqa.comparator import FeatureComparator

    with _err.status(f"loading {escape(str(recipe.backbone))} ..."):
        return FeatureComparator(recipe, precision=precision)  # type: ignore[arg-type]


def _device(name: str) -> Any:
    import torch

    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"`--device {name}` cannot be used: {str(error).splitlines()[0]}") from error
    return device


def _match(match: str | None) -> Match | None:
    if match not in (None, "crop", "resize"):
        raise ValueError(f"`--match` must be crop or resize, got {match!r}")
    return cast("Match | None", match)


def _with_progress(results: Any, total: int) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = (
        TextColumn("scoring"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("pairs, time left"),
        TimeRemainingColumn(),
    )
    with Progress(*bar, console=_err, transient=True) as progress:
        yield from progress.track(results, total=total)


def _summarise(done: list[Scored], scores: list[str], recipe: Recipe) -> None:
    if not done:
        return
    table = Table("", "pairs", "mean", "median", "closest", "farthest", "farthest image", box=None, pad_edge=False)
    for name in scores:
        values = [one.values[name] for one in done]
        worst = done[values.index(max(values))].pair.dist
        figures = (statistics.fmean(values), statistics.median(values), min(values), max(values))
        table.add_row(name, str(len(values)), *(f"{value:.6g}" for value in figures), escape(worst))
    _out.print(table)
    _out.print(f"lower is closer, 0 is equal; {escape(repr(recipe))}", style="dim", soft_wrap=True, highlight=False)
    beyond = [one for one in done if one.outside]
    if beyond:
        most = max(beyond, key=lambda one: one.outside)
        _out.print(
            f"{len(beyond)} images leave [0, 1], at most in {most.outside:.2%} of values ({escape(most.pair.dist)})",
            soft_wrap=True,
            highlight=False,
        )


def _report(problems: list[Problem]) -> None:
    if not problems:
        return
    _err.print(f"[red]{len(problems)} could not be scored:[/]")
    for problem in problems:
        _err.print(f"  {escape(problem.name)}: {escape(problem.reason)}", soft_wrap=True, highlight=False)
    raise typer.Exit(1)
