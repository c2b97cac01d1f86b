"""`fmiqa score`: score images against their references."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchmetrics_fmiqa.cli import options
from torchmetrics_fmiqa.cli.console import show_notes
from torchmetrics_fmiqa.cli.score_folder import FolderOptions, device_of_worker, folder_of, score_into_folder
from torchmetrics_fmiqa.cli.score_input import open_input
from torchmetrics_fmiqa.cli.score_table import score_to_table

if TYPE_CHECKING:
    from torchmetrics_fmiqa.scoring import PairScorer


def score(
    ref: Annotated[str | None, typer.Argument(help="Reference: a file, or a folder.")] = None,
    dist: Annotated[str | None, typer.Argument(help="Image under test: a file, or a folder of the same names.")] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="CSV table with the columns ref,dist instead of REF DIST. With --out FOLDER/ also a Parquet table of "
            "paths or images, a tar file of KEY.ref.png and KEY.dist.png, a folder of these, or a saved data set of "
            "Hugging Face's datasets. May be given as REF. CSV and Parquet may be URLs, and so may paths in them.",
        ),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Folder, or URL, that the table's paths count from; its own by default."),
    ] = None,
    recipe: options.RecipeOption = "default",
    overrides: options.SetOption = None,
    distance: options.DistanceOption = None,
    combine: options.CombineOption = None,
    layers: Annotated[bool, typer.Option("--layers", help="Give each tap's distance too.")] = False,
    spips: Annotated[
        bool, typer.Option("--spips", help="Score by SPIPS: the recipe's features and PSNR, SSIM and MS-SSIM in one.")
    ] = False,
    head: Annotated[
        Path | None, typer.Option(help="Of SPIPS: a head that `fmiqa fit` made for this recipe; else fixed weights.")
    ] = None,
    low_level: options.LowLevelOption = None,
    semantic: options.SemanticOption = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="Of SPIPS: distance (the default), or quality, 100 for equal images, of a head fitted to opinions."
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Write the scores to a .csv, .json or .parquet file; one that is there is replaced. FOLDER/ is "
            "written part by part, and a second start does what is missing.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="With --out FOLDER/: score share I of N, from 0; by default what torchrun or a Slurm array says.",
        ),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="With --out FOLDER/: try pairs again that could not be scored.")
    ] = False,
    rows: Annotated[int, typer.Option(min=1, help="With --out FOLDER/: pairs in a part.")] = 1000,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            help="With --out FOLDER/: processes of this machine; on a CPU they score, for a GPU they read images.",
        ),
    ] = 1,
    engine: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --out FOLDER/: ray scores by actors of Ray.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Of Ray: a cluster's, or auto; by default RAY_ADDRESS, else Ray is started here."),
    ] = None,
    actors: Annotated[
        int | None, typer.Option(min=1, help="Of Ray: processes that hold the network; by default one a CPU or GPU.")
    ] = None,
    gpus_per_actor: Annotated[
        float, typer.Option(min=0, help="Of Ray: GPUs of an actor, or a share of one; 0 computes on CPUs.")
    ] = 0,
    suffix: options.SuffixOption = "",
    crop_border: options.CropOption = 0,
    match: options.MatchOption = None,
    to_rgb: options.RgbOption = False,
    device: options.DeviceOption = "cpu",
    precision: options.PrecisionOption = "float32",
) -> None:
    """Score images against their references: lower is closer, 0 is equal.

    With --spips --output quality higher is better, and 100 is equal.

    Up to 20 images are printed one by one, more as a summary. An interrupted run writes what it has.

    With --out FOLDER/ any number of workers score one input (--shard); `fmiqa collect FOLDER` joins what they have.

    Exit status: 0, 1 if a pair could not be scored (the others are), 2 for wrong arguments, and for a file that cannot
    be written (the scores are printed then). With --out FOLDER/ failed pairs are rows, and the status is 0.
    """
    from torchmetrics_fmiqa.data.tables import check_table_path
    from torchmetrics_fmiqa.scoring import DistanceScorer, FusedScorer, ScorePairs, score_pairs
    from torchmetrics_fmiqa.spips_model.scorer import SpipsScorer

    folder = folder_of(out)
    in_parts = FolderOptions(shard, retry, rows, workers, engine, address, actors, gpus_per_actor)
    in_parts.check(folder, device)
    given = open_input(ref, dist, pairs, root, suffix, in_parts=folder is not None)
    matched = options.check_match(match)
    _check_spips(spips, {"--head": head, "--low-level": low_level, "--semantic": semantic, "--output": output}, layers)
    quality = output == "quality"
    overrides = options.with_distance(overrides, distance, combine)
    resolved = options.read_recipe(recipe, overrides)
    if folder is not None and given.source is not None:
        show_notes(given.notes)
        asked = options.read_spips_recipe(recipe, overrides, low_level, semantic) if spips else resolved
        how: Any = {"head": head, "quality": quality, "layers": layers, "precision": precision}
        on = in_parts.device or options.check_device(device_of_worker(device))
        by = ScorePairs(asked, crop_border=crop_border, match=matched, to_rgb=to_rgb, device=on, **how)
        score_into_folder(folder, given.source, given.problems, by, in_parts)
        return
    table = None if out is None else Path(out)
    if table is not None:
        images = (path for pair in given.pairs for path in (pair.ref_path, pair.dist_path))
        check_table_path(table, [ref, dist, pairs, head, *options.recipe_files(recipe, resolved), *images])
    scorer: PairScorer
    if spips:
        measured = options.read_spips_recipe(recipe, overrides, low_level, semantic)
        scorer = FusedScorer(SpipsScorer(measured, head, precision=precision), quality)  # type: ignore[arg-type]
        measured_by = f"SPIPS, {head or 'fixed weights'}, {measured.recipe}"
    else:
        comparator = options.load_comparator(resolved, precision)
        scorer, measured_by = DistanceScorer(comparator, layers), repr(comparator.recipes[0])
    results = score_pairs(scorer, given.pairs, options.check_device(device), crop_border, matched, to_rgb)
    score_to_table(results, given, scorer, table, quality, measured_by)


def _check_spips(spips: bool, options: dict[str, Any], layers: bool) -> None:
    """Check that options of SPIPS are used only with ``--spips``, and are valid.

    Raises:
        ValueError: naming the first bad option.
    """
    used = [option for option, value in options.items() if value is not None]
    if used and not spips:
        raise ValueError(f"`{used[0]}` is for SPIPS: give --spips too, or leave it out")
    if options["--output"] not in (None, "distance", "quality"):
        raise ValueError(f"`--output` must be distance or quality, got {options['--output']!r}")
    if spips and layers:
        raise ValueError("`--layers` gives each tap's distance, which SPIPS has not: leave out one of the two")
