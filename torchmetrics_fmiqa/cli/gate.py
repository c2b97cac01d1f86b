"""`fmiqa gate`: keep outputs from getting worse: record golden images, and check new outputs against them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchmetrics_fmiqa.cli.command import Command, Group
from torchmetrics_fmiqa.cli.console import (
    err_console,
    one_line,
    out_console,
    plain,
    report_problems,
    show_notes,
    track_pairs,
)
from torchmetrics_fmiqa.cli.options import RecipeOption, SetOption, overlap, read_recipe, split_names

if TYPE_CHECKING:
    from torchmetrics_fmiqa.gate.golden import Golden

_WORSE = 3

gate = typer.Typer(cls=Group, no_args_is_help=True, help="Keep outputs from getting worse: golden images and bounds.")


@gate.command(name="record", cls=Command)
def record_golden(
    golden: Annotated[Path, typer.Argument(help="Folder for the golden images and golden.json.")],
    outputs: Annotated[Path, typer.Option("--from", help="Folder of outputs that look as they should.")],
    repeat: Annotated[
        list[Path] | None,
        typer.Option(help="Outputs of the same names from another run: how far runs differ is harmless. Repeatable."),
    ] = None,
    harmless: Annotated[
        str,
        typer.Option(
            help="Changes that pass, comma-separated: noise (1/255), jpeg (quality 95), shift (1 px); or none."
        ),
    ] = "noise,jpeg,shift",
    margin: Annotated[
        float, typer.Option(min=1.0, help="A difference may be so many times what harmless ones do.")
    ] = 1.5,
    update: Annotated[bool, typer.Option("--update", help="Replace what was recorded, and say what changed.")] = False,
    recipe: RecipeOption = "default",
    overrides: SetOption = None,
) -> None:
    """Record how outputs should look.

    The outputs are copied to GOLDEN/images. What harmless changes and repeated runs do to each of them is measured, and
    written to GOLDEN/golden.json with the recipe. Look at the images before you commit them.

    Exit status: 0, 1 if an image could not be recorded (the others are), 2 for wrong arguments.
    """
    from torchmetrics_fmiqa.gate.check import record
    from torchmetrics_fmiqa.gate.golden import Golden, is_golden, read_golden, write_golden
    from torchmetrics_fmiqa.gate.harmless import check_harmless
    from torchmetrics_fmiqa.one_writer import is_result, one_writer

    before = None
    if is_golden(golden):
        if not update:
            raise ValueError(f"{str(golden)!r} holds golden results: give --update to replace them")
        before = read_golden(golden, other_recipe=True)
    elif golden.is_dir() and any(map(is_result, golden.iterdir())):
        raise ValueError(f"{str(golden)!r} is not empty and holds no golden results: give a new folder")
    _check_apart(golden, [outputs, *(repeat or ())])
    for folder in repeat or ():
        if folder.exists() and outputs.exists() and folder.samefile(outputs):
            raise ValueError(f"`--repeat {folder}` is the folder of `--from`: give the outputs of another run")
    names = [] if harmless == "none" else split_names(harmless)
    if not names and not repeat:
        raise ValueError("bounds are measured on harmless changes or repeated runs: give --harmless or --repeat")
    chosen = read_recipe(recipe, overrides)
    empty = Golden(golden, chosen, check_harmless(names), margin, len(repeat or ()))
    with one_writer(golden):
        recorded, problems = record(empty, outputs, repeat or (), lambda pairs: track_pairs(pairs, len(pairs)))
        if not recorded.images:
            raise ValueError(
                f"no image of {str(outputs)!r} could be recorded: {problems[0].name}: {problems[0].reason}"
            )
        changes = [] if before is None else _changes(before, recorded)
        write_golden(recorded)
        if before is not None:
            _remove_stale(before, recorded)
    count = len(recorded.images)
    images = f"{count} golden image{'s' if count > 1 else ''}"
    out_console.say(f"{images} in {plain(golden)}; {plain(chosen)}")
    for line in changes:
        out_console.say(f"  {one_line(line)}")
    report_problems(problems)


@gate.command(name="check", cls=Command)
def check_golden(
    golden: Annotated[Path, typer.Argument(help="Folder that `fmiqa gate record` made.")],
    outputs: Annotated[Path, typer.Argument(help="Folder of outputs, with the names of the golden images.")],
    report: Annotated[
        Path | None, typer.Option(help="Folder for report.html, junit.xml and a picture of each image out of bounds.")
    ] = None,
) -> None:
    """Check that outputs still look as they were recorded.

    Exit status: 0 if all do, 3 if an image is worse, missing or cannot be read, 2 for wrong arguments.
    """
    from torchmetrics_fmiqa.gate.check import check
    from torchmetrics_fmiqa.gate.golden import read_golden
    from torchmetrics_fmiqa.gate.report import answer, check_report, write_report

    known = read_golden(golden)
    if report is not None:
        _check_apart(report, [golden, outputs])
        check_report(report)
    result = check(known, outputs, lambda pairs: track_pairs(pairs, len(pairs)))
    files = write_report(result, known, report) if report is not None else []
    out_console.say(one_line(answer(result)))
    for failure in result.failures:
        out_console.say(f"  {plain(failure.name)}: {one_line(failure.reason)}")
    for problem in result.problems:
        out_console.say(f"  {plain(problem.name)}: {one_line(problem.reason)}")
    show_notes(result.notes)
    if files:
        err_console.say(f"report in {plain(files[0])}")
    if not result.holds:
        raise typer.Exit(_WORSE)


def _check_apart(folder: Path, inputs: list[Path]) -> None:
    """Refuse to write into a folder that is read, holds one or is inside one: pictures would become outputs."""
    for path in inputs:
        if overlap(folder, path):
            raise ValueError(f"{str(folder)!r} and the input {str(path)!r} overlap: give another folder")


def _changes(before: Golden, after: Golden) -> list[str]:
    """What a new recording changed, a line each."""
    old, new = before.images, after.images
    lines = [f"added: {name}" for name in sorted(new.keys() - old.keys())]
    lines += [f"removed: {name}" for name in sorted(old.keys() - new.keys())]
    lines += [
        f"another image: {name}" for name in sorted(old.keys() & new.keys()) if old[name].digest != new[name].digest
    ]
    if before.recipe.digest != after.recipe.digest:
        lines.append(f"another recipe: {before.recipe} became {after.recipe}")
    settings: dict[str, tuple[Any, Any]] = {
        "harmless changes": (", ".join(before.harmless), ", ".join(after.harmless)),
        "margin": (before.margin, after.margin),
    }
    lines += [f"{name}: {was or 'none'} became {now or 'none'}" for name, (was, now) in settings.items() if was != now]
    return lines or ["nothing changed"]


def _remove_stale(before: Golden, after: Golden) -> None:
    """Remove golden images that are not recorded any more."""
    kept = {after.path(image) for image in after.images.values()}
    for path in {before.path(image) for image in before.images.values()} - kept:
        path.unlink(missing_ok=True)
