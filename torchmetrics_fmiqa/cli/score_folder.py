"""`fmiqa score --out FOLDER/`: score into parts, by one of several workers."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torchmetrics_fmiqa.cli.console import err_console, hint_to_resume, one_line, pairs_bar, plain, show_notes

if TYPE_CHECKING:
    from torchmetrics_fmiqa.data.pairs import Problem
    from torchmetrics_fmiqa.data.stored_pairs import PairSource
    from torchmetrics_fmiqa.scoring import ScorePairs
    from torchmetrics_fmiqa.scoring.score_parts import Engine
    from torchmetrics_fmiqa.scoring.shards import Shard


@dataclass(frozen=True)
class FolderOptions:
    """Options that only a folder of scores has."""

    shard: str | None = None  #: value of ``--shard``; by default what a launcher says
    retry: bool = False  #: try pairs again that could not be scored
    rows: int = 1000  #: pairs in a part
    workers: int = 1  #: processes of this machine
    engine: str | None = None  #: ``ray``, or ``None`` for this machine
    address: str | None = None  #: of a cluster of Ray
    actors: int | None = None  #: of Ray
    gpus_per_actor: float = 0  #: of Ray

    def check(self, folder: Path | None, device: str) -> None:
        """Check that there is a folder where one of them is given, and that they go together.

        Raises:
            ValueError: naming the option.
        """
        given = [option.name for option in fields(self) if getattr(self, option.name) != option.default]
        options = [f"`--{name.replace('_', '-')}`" for name in given]
        if folder is None and given:
            raise ValueError(f"{options[0]} is for a folder of scores: give --out FOLDER/, with the slash")
        if self.engine not in (None, "ray"):
            raise ValueError(f"`--engine` must be ray, or be left out; got {self.engine!r}")
        of_ray = [one for one in options if one in ("`--address`", "`--actors`", "`--gpus-per-actor`")]
        if self.engine is None and of_ray:
            raise ValueError(f"{of_ray[0]} is for Ray: give --engine ray too, or leave it out")
        if self.engine == "ray" and self.workers > 1:
            raise ValueError("`--workers` is for this machine; with --engine ray give --actors")
        if self.engine == "ray" and device != "cpu":
            raise ValueError("`--device` is for this machine; with --engine ray give --gpus-per-actor")

    @property
    def share(self) -> Shard:
        """Which share of the pairs is this worker's."""
        from torchmetrics_fmiqa.scoring.shards import read_shard, shard_of_environment

        return read_shard(self.shard) if self.shard is not None else shard_of_environment(os.environ)

    @property
    def device(self) -> str | None:
        """What computes, where the engine says it."""
        return None if self.engine is None else "cuda" if self.gpus_per_actor else "cpu"

    def open_engine(self) -> Engine:
        """Where the pairs are scored.

        Raises:
            ModuleNotFoundError: for Ray where it is not installed.
        """
        from torchmetrics_fmiqa.scoring.score_parts import in_process

        if self.engine == "ray":
            from torchmetrics_fmiqa.scoring.ray import RayEngine, need_ray

            need_ray()
            return RayEngine(self.address, self.actors, self.gpus_per_actor)
        if self.workers > 1:
            from torchmetrics_fmiqa.scoring.workers import score_by_workers

            return partial(score_by_workers, workers=self.workers)
        return in_process


def folder_of(out: str | None) -> Path | None:
    """The folder that ``--out`` names: it ends in a slash, or is a folder of scores; ``None`` for a file.

    Raises:
        ValueError: for a URL: files there are not renamed and locked as these must be.
    """
    from torchmetrics_fmiqa.data.remote import is_url

    if out is not None and is_url(out):
        raise ValueError(f"`--out {out}` is a URL, and scores are written on this machine: copy them there at the end")
    if out is None or not (out.endswith(("/", os.sep)) or (Path(out) / "inputs.json").is_file()):
        return None
    return Path(out)


def device_of_worker(device: str) -> str:
    """``cuda`` as the device of this worker on its machine, where a launcher says which."""
    local = os.environ.get("LOCAL_RANK", "")
    return f"cuda:{local}" if device == "cuda" and local.isdecimal() else device


def score_into_folder(
    folder: Path, source: PairSource, unpaired: list[Problem], scorer: ScorePairs, options: FolderOptions
) -> None:
    """Score a worker's share of the pairs, and say what was done.

    Args:
        folder: of the scores.
        source: the pairs.
        unpaired: images without a partner; they go to ``unpaired.csv``.
        scorer: scores pairs.
        options: of the folder.
    """
    from torchmetrics_fmiqa.data.run_folder import open_run_folder
    from torchmetrics_fmiqa.data.tables import write_table
    from torchmetrics_fmiqa.scoring.score_parts import score_parts

    share, engine = options.share, options.open_engine()
    with err_console.status("loading the network ..."):
        inputs = {**scorer.identity, **source.identity, "count": source.names.num_rows}
    open_run_folder(folder, inputs)
    if not unpaired:
        (folder / "unpaired.csv").unlink(missing_ok=True)
    else:
        rows = [{"name": problem.name, "reason": problem.reason} for problem in unpaired]
        write_table(folder / "unpaired.csv", rows, ["name", "reason"])
        show_notes([f"{len(unpaired)} images have no partner or cannot be read: {folder / 'unpaired.csv'}"])
    with hint_to_resume(folder), pairs_bar(one_line(f"shard {share}")) as bar:
        task = bar.add_task("", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        done = score_parts(source, scorer, folder, inputs, share, options.rows, options.retry, progress, engine)
    again = f", {done.retried} tried again" if options.retry else ""
    failed = f"; {done.failed} of them could not be scored" if done.failed else ""
    err_console.say(
        f"shard {share}: {done.before} pairs were there, {done.scored} scored now{again}{failed}. "
        f"`fmiqa collect {plain(folder)}` joins all shards"
    )
