"""`fmiqa video`: score a clip against its reference."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from torchmetrics_fmiqa.cli import options
from torchmetrics_fmiqa.cli.console import err_console, out_console, plain, track_pairs

if TYPE_CHECKING:
    from torchmetrics_fmiqa.scoring.video import ScoredFrame


def video(
    ref: Annotated[Path, typer.Argument(help="Reference: a folder of frames, or a video (needs torchcodec).")],
    dist: Annotated[Path, typer.Argument(help="Clip under test: likewise, of as many frames.")],
    recipe: options.RecipeOption = "default",
    overrides: options.SetOption = None,
    distance: options.DistanceOption = None,
    combine: options.CombineOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write a row for each frame to a .csv, .json or .parquet file; one there is replaced."),
    ] = None,
    crop_border: options.CropOption = 0,
    to_rgb: options.RgbOption = False,
    device: options.DeviceOption = "cpu",
    precision: options.PrecisionOption = "float32",
) -> None:
    """Score a clip against its reference: lower is closer, 0 is equal.

    frames is the distance of frames, temporal that of what changes from a frame to the next: flicker, and frozen,
    dropped or swapped frames, raise it. Frames of a folder are taken in the order of the numbers in their names.

    Exit status: 0, 2 for wrong arguments, and for clips of two lengths, frames that cannot be read and the like.
    """
    from torchmetrics_fmiqa.comparator.video import ClipComparator
    from torchmetrics_fmiqa.data.clips import open_clip
    from torchmetrics_fmiqa.data.tables import check_table_path, write_table
    from torchmetrics_fmiqa.scoring.video import score_clip

    resolved = options.read_recipe(recipe, options.with_distance(overrides, distance, combine))
    if out is not None:
        if any(folder.resolve() in out.resolve().parents for folder in (ref, dist)):
            raise ValueError(f"`--out` {str(out)!r} lies in a folder of frames: give another place")
        check_table_path(out, [ref, dist, *options.recipe_files(recipe, resolved)])
    of_reference, under_test = open_clip(ref, to_rgb), open_clip(dist, to_rgb)
    comparator = ClipComparator(resolved, precision)  # type: ignore[arg-type]
    frames = score_clip(comparator, of_reference, under_test, options.check_device(device), crop_border)
    scored = list(track_pairs(frames, len(under_test.names)))
    if out is not None:
        write_table(out, [frame._asdict() for frame in scored], ["ref", "dist", "distance", "change"])
        err_console.say(f"{len(scored)} frames in {plain(out)}")
    _print(scored)
    out_console.say(f"lower is closer, 0 is equal; {plain(repr(resolved))}", style="dim")


def _print(scored: list[ScoredFrame]) -> None:
    """Print the means, and where the worst frame and the worst change are."""
    table = Table("", "frames", "mean", "worst", box=None, pad_edge=False)
    table.add_column("worst frame", overflow="fold")
    for name, column, first in (("frames", "distance", 0), ("temporal", "change", 1)):
        values = [getattr(frame, column) for frame in scored[first:]]
        worst = scored[first + values.index(max(values))]
        table.add_row(
            name, str(len(values)), f"{statistics.fmean(values):.6g}", f"{max(values):.6g}", plain(worst.dist)
        )
    out_console.print(table)
