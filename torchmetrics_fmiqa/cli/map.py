"""`fmiqa map`: draw where an image differs from its reference, or all images of a folder from theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchmetrics_fmiqa.cli import options
from torchmetrics_fmiqa.cli.console import out_console, plain, report_problems, show_notes, track_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from torchmetrics_fmiqa.data.pairs import Pair, Problem

_PICTURES = (".png", ".pdf", ".svg")


def draw_map(
    ref: Annotated[Path, typer.Argument(help="Reference: a file, or a folder.")],
    dist: Annotated[Path, typer.Argument(help="Image under test: a file, or a folder of the same names.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Picture to write (.png, .pdf, .svg; map.png by default); of folders: the folder for them."),
    ] = None,
    recipe: options.RecipeOption = "default",
    overrides: options.SetOption = None,
    distance: options.DistanceOption = None,
    combine: options.CombineOption = None,
    suffix: options.SuffixOption = "",
    crop_border: options.CropOption = 0,
    match: options.MatchOption = None,
    to_rgb: options.RgbOption = False,
    device: options.DeviceOption = "cpu",
    precision: options.PrecisionOption = "float32",
) -> None:
    """Draw where an image differs from its reference, and at which depth of the network.

    Of folders each image has a picture in --out, with its name and at its place within DIST.

    Exit status: 0, 1 if a pair could not be drawn (the others are), 2 for wrong arguments.
    """
    from torchmetrics_fmiqa.data.images import match_sizes, read_image
    from torchmetrics_fmiqa.data.pairs import find_pairs
    from torchmetrics_fmiqa.features.image_checks import crop, to_unit
    from torchmetrics_fmiqa.plotting import comparison_figure, new_figure
    from torchmetrics_fmiqa.safe_write import atomic_write, check_folder, check_no_inputs, check_writable

    new_figure(1, 1)  # raises early if matplotlib is missing
    folders = ref.is_dir() and dist.is_dir()
    out = _picture_path(out, folders)
    pairs, problems, notes = find_pairs(ref, dist, suffix)
    match_mode = options.check_match(match)
    overrides = options.with_distance(overrides, distance, combine)
    resolved = options.read_recipe(recipe, overrides)
    pictures = [out / Path(pair.dist).with_suffix(".png") if folders else out for pair in pairs]
    images = (path for pair in pairs for path in (pair.ref_path, pair.dist_path))
    inputs: list[str | Path] = [*options.recipe_files(recipe, resolved), *images]
    check_no_inputs(pictures, inputs)
    check_folder(out) if folders else check_writable(out)
    comparator, torch_device = options.load_comparator(resolved, precision), options.check_device(device)

    def draw(pair: Pair, picture: Path) -> str:
        """Draw a pair; return a text with its score."""
        target, preds = (read_image(path, to_rgb) for path in (pair.ref_path, pair.dist_path))
        preds, target = match_sizes(preds, target, match_mode)
        maps_by_distance = comparator.maps(
            preds[None].to(torch_device), target[None].to(torch_device), crop_border=crop_border, per_layer=True
        )
        unit, maps = next(iter(maps_by_distance.items()))
        if len(maps_by_distance) > 1:
            names = ", ".join(maps_by_distance)
            raise ValueError(f"a picture shows one distance, got {names}: give --set distance={unit}")
        score = float(maps["score"].mean())
        target, preds = (crop(to_unit(image, 1.0, maps["score"].dtype, ""), crop_border) for image in (target, preds))
        per_tap = {tap: float(heat.mean()) for tap, heat in maps.items() if tap != "score"}
        name, against = Path(pair.dist_path).name, Path(pair.ref_path).name  # of a URL too
        title = f"{name} against {against}   ({resolved.backbone})"
        figure = comparison_figure(target, preds, maps["score"][0, 0], per_tap, score, title, unit)
        with atomic_write(picture) as draft:
            figure.savefig(draft, dpi=130, format=picture.suffix[1:].lower())
        return f"{unit} distance {score:.6g} (lower is closer)"

    if not folders:
        score_text = draw(pairs[0], out)
        out_console.say(f"{score_text}; picture in {plain(out)}")
        return
    done = _draw_all(pairs, pictures, draw, problems)
    out_console.say(f"{done} pictures in {plain(out)}")
    show_notes(notes)
    report_problems(problems)


def _picture_path(out: Path | None, folders: bool) -> Path:
    """Path of the picture, or of the folder for several; a ValueError if ``out`` is not such a path."""
    if folders:
        if out is None or out.suffix.lower() in _PICTURES or (out.exists() and not out.is_dir()):
            raise ValueError(f"of folders `--out` is the folder for the pictures, got {out and str(out)!r}")
        return out
    out = out or Path("map.png")
    if out.suffix.lower() not in _PICTURES:
        raise ValueError(f"`--out` must be a .png, .pdf or .svg file, got {str(out)!r}")
    return out


def _draw_all(
    pairs: Sequence[Pair], pictures: Sequence[Path], draw: Callable[[Pair, Path], Any], problems: list[Problem]
) -> int:
    """Draw pairs, add those that cannot be drawn to ``problems``, and return the number of pictures.

    Raises:
        WriteError: if the system refuses to write a picture, because it would refuse the next ones too.
    """
    from torchmetrics_fmiqa.data.pairs import Problem
    from torchmetrics_fmiqa.memory import memory_of_a_pair
    from torchmetrics_fmiqa.safe_write import WriteError, make_folder

    done = 0
    for pair, picture in track_pairs(zip(pairs, pictures, strict=True), len(pairs)):
        make_folder(picture.parent)
        try:
            with memory_of_a_pair():
                draw(pair, picture)
            done += 1
        except ValueError as error:
            if isinstance(error, WriteError):
                raise
            problems.append(Problem(f"{pair.dist} (reference {pair.ref})", str(error)))
    return done
