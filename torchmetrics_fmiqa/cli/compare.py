"""`fmiqa compare`: which of several methods gives the better images, and how sure that is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from torchmetrics_fmiqa.cli import options
from torchmetrics_fmiqa.cli.console import (
    TerminalProgress,
    err_console,
    hint_to_resume,
    one_line,
    out_console,
    plain,
    show_notes,
    this_command,
)

if TYPE_CHECKING:
    from torchmetrics_fmiqa.comparison.comparison import Comparison, LeftOut
    from torchmetrics_fmiqa.comparison.inputs import MethodImages

# Lines a method that name images left out; all are in left_out.csv.
_MOST_NAMED = 5
# Pairs of methods that are printed; all are in differences.csv.
_MOST_PAIRS = 15


def compare(
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the results. Those of an earlier comparison are replaced; an interrupted one goes on."
        ),
    ],
    references: Annotated[Path | None, typer.Argument(help="Folder of the references.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FOLDER", help="A method, and the folder of its images. Give it for each method."),
    ] = None,
    suffix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]TEXT",
            help="What follows the references' names in those of a method's images, such as ours=_x4; without NAME of "
            "all methods. Repeatable.",
        ),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Or a CSV or Parquet table ref,method,dist and perhaps group (scene, video).")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder that the paths in PAIRS count from.")] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            help="Recipes, spips, NAME:FIELD=VALUE, .yaml files of metrics, psnr, psnr_y, ssim, ssim_y, ms_ssim, "
            "lpips, lpips-squeeze, dists ..., comma-separated; repeatable. The first one decides the answer. "
            "default,psnr,ssim without it."
        ),
    ] = None,
    set_distances: Annotated[
        list[str] | None,
        typer.Option(
            "--set-distances",
            help="Distances between sets of thousands of images too: frechet (as FID, on the default network), kernel "
            "(as KID), either on another recipe as in frechet:vit-tiny, fd-dinov2, cmmd; comma-separated, repeatable.",
        ),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Exit with status 0 although images were left out.")
    ] = False,
    crop_border: options.CropOption = 0,
    match: options.MatchOption = None,
    to_rgb: options.RgbOption = False,
    image_files: Annotated[
        bool,
        typer.Option("--image-files", help="Keep the report's images as PNG files beside it: whole, and more of them."),
    ] = False,
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap over images, or over groups.")] = 4999,
    seed: Annotated[int, typer.Option(min=0, max=options.LARGEST_SEED, help="Of the bootstrap.")] = 0,
    device: options.DeviceOption = "cpu",
    precision: options.PrecisionOption = "float32",
) -> None:
    """Compare methods on the same references: which gives the better images, and is that settled?

    All figures are of the images that all methods have. Means and differences have 95 % intervals; two methods are tied
    unless their difference is settled, with a correction for all pairs and metrics. Writes report.html, table.md,
    table.tex, table.csv, differences.csv and scores.parquet to OUT.

    Exit status: 0, 1 if images were missing, without a reference or broken (the others are compared), 2 for wrong
    arguments.
    """
    from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading
    from torchmetrics_fmiqa.comparison.compare_methods import DEFAULT_METRICS, compare_images
    from torchmetrics_fmiqa.comparison.heat import metric_heat
    from torchmetrics_fmiqa.comparison.report import write_comparison_report
    from torchmetrics_fmiqa.comparison.set_distances import read_set_distances
    from torchmetrics_fmiqa.comparison.tables import write_tables
    from torchmetrics_fmiqa.comparison.unfinished import UNFINISHED
    from torchmetrics_fmiqa.one_writer import one_writer

    images = _read(references, method, suffix, pairs, root)
    _check_out(out, [references, *(Path(text.partition("=")[2]) for text in method or ())], images, pairs)
    reading = Reading(options.check_match(match), crop_border=crop_border, to_rgb=to_rgb)
    place = options.check_device(device)
    names = [name for text in metrics or DEFAULT_METRICS for name in options.split_names(text)]
    sets = read_set_distances([one for text in set_distances or () for one in options.split_names(text)], precision)  # type: ignore[arg-type]
    panel = options.load_panel(names, device, precision)
    show_notes(images.notes)
    with one_writer(out), hint_to_resume(out), TerminalProgress() as progress:
        comparison = compare_images(images, panel, reading, place, resamples, seed, progress, out, sets)
        write_tables(comparison, out)
        progress.status("writing the report")
        heat = metric_heat(panel, comparison.scores.metrics[0], place)
        write_comparison_report(comparison, out, command=this_command(), heat=heat, files=image_files, seed=seed)
        (out / UNFINISHED).unlink(missing_ok=True)
    _show(comparison, out)
    if comparison.left_out and not allow_missing:
        raise typer.Exit(1)


def _read(
    references: Path | None,
    method: Sequence[str] | None,
    suffix: Sequence[str] | None,
    pairs: Path | None,
    root: Path | None,
) -> MethodImages:
    """The images that the options name; a ValueError for options that do not fit together."""
    from torchmetrics_fmiqa.comparison.inputs import check_methods, read_folders, read_method_table

    if pairs is not None:
        if references is not None or method or suffix:
            raise ValueError("`--pairs` names all images: leave out REFERENCES, --method and --suffix")
        return read_method_table(pairs, root)
    if root is not None:
        raise ValueError("`--root` is for the paths of a table: give --pairs TABLE too")
    if references is None:
        raise ValueError("give REFERENCES and --method NAME=FOLDER for each method, or --pairs TABLE")
    given = [text.partition("=") for text in method or ()]
    for name, separator, folder in given:
        if not separator or not folder:
            raise ValueError(f"`--method` takes NAME=FOLDER, such as ours=outputs/ours, got {name + separator!r}")
    names = [name for name, _, _ in given]
    check_methods(names)
    suffixes: dict[str, str] = {}
    for text in suffix or ():
        name, separator, ending = text.partition("=")
        for one in [name] if separator else names:
            if suffixes.setdefault(one, ending if separator else text) != (ending if separator else text):
                raise ValueError(f"`--suffix` is given twice for {one!r}: leave one out")
    return read_folders(references, {name: Path(folder) for name, _, folder in given}, suffixes)


def _check_out(out: Path, folders: Sequence[Path | None], images: MethodImages, pairs: Path | None) -> None:
    """Refuse a folder that is, holds or is inside an input, or that holds other files than results."""
    from torchmetrics_fmiqa.comparison.tables import is_comparison
    from torchmetrics_fmiqa.one_writer import is_result
    from torchmetrics_fmiqa.safe_write import check_no_inputs

    for folder in folders:
        if folder is not None and options.overlap(out, folder):
            raise ValueError(f"`--out {out}` and the input {str(folder)!r} overlap: give a folder of its own")
    if out.is_dir():
        files = [path for path in out.iterdir() if is_result(path)]
        if files and not is_comparison(out):
            raise ValueError(
                f"{str(out)!r} holds files that are no comparison, such as {files[0].name!r}: give a new folder"
            )
        inputs = (path for image in images.images for path in (image.target, *image.preds.values()))
        check_no_inputs([path for path in files if path.is_file()], (pairs, *inputs))


def _show(comparison: Comparison, out: Path) -> None:
    """Print the answer, the means, the differences by the first metric, and what was left out."""
    from torchmetrics_fmiqa.comparison.marks import best_first
    from torchmetrics_fmiqa.comparison.mean_cells import mean_cells
    from torchmetrics_fmiqa.comparison.tables import images_compared

    scores = comparison.scores
    out_console.say(one_line(comparison.answer))
    out_console.print()
    cells = mean_cells(scores, comparison.statistics)
    arrows = [f"{plain(name)} {'↑' if name in scores.qualities else '↓'}" for name in scores.metrics]
    table = Table("", *arrows, box=None, pad_edge=False)
    marks = ("{}", "[bold]{}[/]", "[underline]{}[/]")
    widths = (max(len(one.mean) + len(one.interval) for one in column) for column in zip(*cells, strict=True))
    intervals = max(map(len, scores.methods)) + sum(width + 5 for width in widths) <= out_console.width
    for method, row in zip(scores.methods, cells, strict=True):
        texts = (
            f"{marks[one.place].format(one.mean)}{' ≈' * one.tied}{plain(f' {one.interval}') if intervals else ''}"
            for one in row
        )
        table.add_row(plain(method), *texts)
    out_console.print(table)
    shown = "mean and 95 % interval" if intervals else "mean"
    legend = f"{shown} of {images_compared(comparison)}; bold: best, underlined: second, ≈: tied with the best"
    out_console.say(legend, style="dim")
    out_console.print()
    order = best_first(comparison.statistics.mean[:, 0], scores.metrics[0] in scores.qualities)
    for pair in list(itertools.combinations([scores.methods[place] for place in order], 2))[:_MOST_PAIRS]:
        out_console.say(one_line(str(comparison.difference(*pair))))
    for sentence in (*comparison.lacking_images, *comparison.disagreements[:_MOST_PAIRS]):
        out_console.say(one_line("".join(sentence)))
    _show_sets(comparison)
    _list_left_out(comparison.left_out, out)
    out_console.say(f"report in {plain(out / 'report.html')}")


def _show_sets(comparison: Comparison) -> None:
    """Print the distances between sets, and that the images are too few for them."""
    if comparison.sets is None:
        return
    for name, reason in comparison.sets.skipped.items():
        err_console.say(f"[yellow]{plain(name)} left out: {one_line(reason)}[/]")
    table = Table("set distance ↓", "method", "value", "of infinitely many", "95 %", box=None, pad_edge=False)
    for row in comparison.sets.rows:
        table.add_row(plain(row.distance), plain(row.method), *map(plain, row.texts()))
    if comparison.sets.rows:
        out_console.print()
        out_console.print(table)
    if comparison.sets.warning:
        err_console.say(f"[yellow]{comparison.sets.warning}[/]")


def _list_left_out(left_out: Sequence[LeftOut], out: Path) -> None:
    """Print what is in no figure, the first images of each method and kind."""
    from torchmetrics_fmiqa.comparison.tables import LEFT_OUT

    groups: dict[tuple[str, str], list[LeftOut]] = {}
    for one in left_out:
        groups.setdefault((one.method, one.kind), []).append(one)
    for (method, kind), images in groups.items():
        err_console.print(f"[red]{plain(method or 'references')}: {len(images)} {kind}[/]", highlight=False)
        for one in images[:_MOST_NAMED]:
            err_console.say(f"  {plain(one.name)}: {one_line(one.reason)}")
        if len(images) > _MOST_NAMED:
            where = plain(out / LEFT_OUT)
            err_console.say(f"  and {len(images) - _MOST_NAMED} more, see {where}")
