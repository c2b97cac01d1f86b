"""`fmiqa map`: draw where an image differs from its reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from torchmetrics_fmiqa.cli.console import out_console
from torchmetrics_fmiqa.cli.options import (
    DeviceOption,
    MatchOption,
    PrecisionOption,
    RecipeOption,
    RgbOption,
    SetOption,
    check_device,
    check_match,
    load_comparator,
    read_recipe,
)


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
    preds, target = match_sizes(preds, target, check_match(match))
    chosen = read_recipe(recipe, overrides)
    comparator, where = load_comparator(chosen, precision), check_device(device)
    drawn = comparator.maps(preds[None].to(where), target[None].to(where), crop_border=crop_border, per_layer=True)
    unit, maps = next(iter(drawn.items()))
    if len(drawn) > 1:
        raise ValueError(f"a picture shows one distance, got {', '.join(drawn)}: give --set distance={unit}")
    score = float(maps["score"].mean())
    shown = [crop(to_unit(image, 1.0, maps["score"].dtype, ""), crop_border) for image in (target, preds)]
    per_tap = {tap: float(heat.mean()) for tap, heat in maps.items() if tap != "score"}
    title = f"{dist.name} against {ref.name}   ({chosen.backbone})"
    comparison_figure(shown[0], shown[1], maps["score"][0, 0], per_tap, score, title, unit).savefig(out, dpi=130)
    out_console.print(
        f"{unit} distance {score:.6g} (lower is closer); picture in {out}", soft_wrap=True, highlight=False
    )
