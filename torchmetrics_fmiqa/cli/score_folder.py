"""`fmiqa score --out FOLDER/`: score into parts, by one of several workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchmetrics_fmiqa.cli.console import err_console, hint_to_resume, one_line, plain, show_notes

if TYPE_CHECKING:
    from torchmetrics_fmiqa.data.pairs import Problem
    from torchmetrics_fmiqa.data.stored_pairs import PairSource
    from torchmetrics_fmiqa.scoring import ScorePairs
    from torchmetrics_fmiqa.scoring.score_parts import Progress
    from torchmetrics_fmiqa.scoring.shards import Shard


def folder_of(out: str | None) -> Path | None:
    """The folder that ``--out`` names: it ends in a slash, or is a folder of scores; ``None`` for a file."""
    if out is None or not (out.endswith(("/", os.sep)) or (Path(out) / "inputs.json").is_file()):
        return None
    return Path(out)


def device_of_worker(device: str) -> str:
    """``cuda`` as the device of this worker on its machine, where a launcher says which."""
    local = os.environ.get("LOCAL_RANK", "")
    return f"cuda:{local}" if device == "cuda" and local.isdecimal() else device


def score_into_folder(
    folder: Path, source: PairSource, unpaired: list[Problem], scorer: ScorePairs, shard: str | None, **how: Any
) -> None:
    """Score a worker's share of the pairs, and say what was done.

    Args:
        folder: of the scores.
        source: the pairs.
        unpaired: images without a partner; they go to ``unpaired.csv``.
        scorer: scores pairs.
        shard: value of ``--shard``; by default what a launcher says.
        how: further arguments of :func:`~torchmetrics_fmiqa.scoring.score_parts.score_parts`.
    """
    from torchmetrics_fmiqa.data.run_folder import open_run_folder
    from torchmetrics_fmiqa.data.tables import write_table
    from torchmetrics_fmiqa.scoring.score_parts import score_parts
    from torchmetrics_fmiqa.scoring.shards import read_shard, shard_of_environment

    share = read_shard(shard) if shard is not None else shard_of_environment(os.environ)
    with err_console.status("loading the network ..."):
        inputs = {**scorer.identity, **source.identity, "count": source.names.num_rows}
    open_run_folder(folder, inputs)
    if not unpaired:
        (folder / "unpaired.csv").unlink(missing_ok=True)
    else:
        rows = [{"name": problem.name, "reason": problem.reason} for problem in unpaired]
        write_table(folder / "unpaired.csv", rows, ["name", "reason"])
        show_notes([f"{len(unpaired)} images have no partner or cannot be read: {folder / 'unpaired.csv'}"])
    with hint_to_resume(folder), _bar(share) as progress:
        done = score_parts(source, scorer, folder, inputs, share, progress=progress, **how)
    again = f", {done.retried} tried again" if how["retry"] else ""
    failed = f"; {done.failed} of them could not be scored" if done.failed else ""
    err_console.print(
        f"shard {share}: {done.before} pairs were there, {done.scored} scored now{again}{failed}. "
        f"`fmiqa collect {plain(folder)}` joins all shards",
        soft_wrap=True,
        highlight=False,
    )


@contextmanager
def _bar(share: Shard) -> Iterator[Progress]:
    """A bar of pairs done on the terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(one_line(f"shard {share}")), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err_console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
