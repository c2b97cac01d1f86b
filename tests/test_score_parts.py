"""Scores in parts: shards, resumed runs, retries, inputs of every kind, and what collect finds in them."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from tests.test_cli import VIT, fmiqa, picture, refused, save
from torchmetrics_fmiqa import Recipe, SpipsRecipe
from torchmetrics_fmiqa.cli.score_input import open_input
from torchmetrics_fmiqa.data.pair_tables import open_pair_table
from torchmetrics_fmiqa.data.pairs import Pair
from torchmetrics_fmiqa.data.stored_pairs import ListedPairs, StoredPair
from torchmetrics_fmiqa.one_writer import one_writer
from torchmetrics_fmiqa.scoring import Scored, ScorePairs
from torchmetrics_fmiqa.scoring.collect import collect
from torchmetrics_fmiqa.scoring.score_parts import score_parts
from torchmetrics_fmiqa.scoring.shards import Shard, shard_of_environment

__all__ = ["refused"]  # a fixture
RECIPE = Recipe("vit_tiny_patch16_224", weights="random:0", taps=[0, 1])
COUNT = 11


class Numbers:
    """Scores a pair by its row, without a look at its images; some fail, and it may be stopped."""

    columns = ("score",)
    measured_by = "its row"

    def __init__(self, fail: tuple[int, ...] = (), stop_after: int | None = None) -> None:
        self.fail, self.stop_after, self.seen = fail, stop_after, list[int]()

    def stream(self, pairs: Iterable[StoredPair]) -> Iterator[Scored[StoredPair]]:
        for pair in pairs:
            if len(self.seen) == self.stop_after:
                raise KeyboardInterrupt
            self.seen.append(pair.row)
            failed = pair.row in self.fail
            yield Scored(pair, {} if failed else {"score": float(pair.row)}, error="out of luck" if failed else "")


def listed(count: int = COUNT) -> ListedPairs:
    return ListedPairs([Pair(f"{n}.png", f"{n}.png", Path("r"), Path("d")) for n in range(count)], Path(), Path())


INPUTS = {"count": COUNT, "quality": False}


def run(folder: Path, scorer: Numbers, shard: Shard = Shard(), **options: object):  # noqa: B008
    return score_parts(listed(), scorer, folder, INPUTS, shard, rows=4, **options)


def sizes(folder: Path) -> list[int]:
    return sorted(parquet.read_metadata(path).num_rows for path in folder.rglob("part-*.parquet"))


# ---- parts, shards and second starts


def test_shards_together_score_each_pair_once(tmp_path):
    scorers = [Numbers() for _ in range(3)]
    for index, scorer in enumerate(scorers):
        run(tmp_path, scorer, Shard(index, 3))
    assert sorted(row for scorer in scorers for row in scorer.seen) == list(range(COUNT))
    found = collect(tmp_path)
    assert found.missing == 0
    assert sorted(found.numbers()[:, 0]) == list(range(COUNT))


def test_a_second_start_does_what_is_missing_also_with_other_shards(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Numbers(stop_after=6))
    assert sizes(tmp_path) == [2, 4]  # the part it was at is kept too
    for index in range(2):
        again = Numbers()
        outcome = run(tmp_path, again, Shard(index, 2))
        assert set(again.seen) == set(Shard(index, 2).rows(COUNT)) - set(range(6))
        assert outcome.scored == len(again.seen)
        assert outcome.before == len(Shard(index, 2).rows(COUNT)) - len(again.seen)
    assert collect(tmp_path).missing == 0
    idle = Numbers()
    run(tmp_path, idle)
    assert not idle.seen


def test_retry_puts_new_rows_in_the_place_of_failed_ones(tmp_path):
    run(tmp_path, Numbers(fail=(2, 3, 9)))
    still = run(tmp_path, idle := Numbers())
    assert (still.scored, still.retried, idle.seen) == (0, 0, [])
    found = collect(tmp_path)
    assert found.failed.to_pylist() == [
        {"ref": f"{row}.png", "dist": f"{row}.png", "reason": "out of luck"} for row in (2, 3, 9)
    ]
    assert found.scores.num_rows == COUNT - 3
    outcomes = [run(tmp_path, Numbers(fail=(9,)), Shard(index, 2), retry=True) for index in range(2)]
    assert [outcome.retried for outcome in outcomes] == [3, 0]
    found = collect(tmp_path)
    assert found.failed.column("dist").to_pylist() == ["9.png"]
    assert sorted(found.numbers()[:, 0]) == [row for row in range(COUNT) if row != 9]


def test_other_inputs_damaged_parts_and_doubled_pairs_are_errors(tmp_path):
    run(tmp_path / "a", Numbers())
    with pytest.raises(ValueError, match=r"other inputs \(quality differ"):
        score_parts(listed(), Numbers(), tmp_path / "a", {**INPUTS, "quality": True})
    first, second, _ = sorted((tmp_path / "a").rglob("part-*.parquet"))
    twice = first.parent.parent / "shard-0-of-2" / first.name
    twice.parent.mkdir()
    twice.write_bytes(first.read_bytes())
    for look in (lambda: run(tmp_path / "a", Numbers()), lambda: collect(tmp_path / "a")):
        with pytest.raises(ValueError, match=r"'0.png'.* twice"):
            look()
    twice.unlink()
    second.write_bytes(second.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"is damaged .*: remove it, and its pairs are scored again"):
        run(tmp_path / "a", Numbers())
    second.unlink()
    run(tmp_path / "a", again := Numbers())
    assert again.seen == [4, 5, 6, 7]
    run(tmp_path / "b", Numbers(stop_after=None))
    other = Numbers()
    score_parts(listed(), other, tmp_path / "c", {**INPUTS, "match": "crop"})
    stranger = next((tmp_path / "c").rglob("part-*.parquet"))
    next((tmp_path / "b").rglob("part-*0.parquet")).write_bytes(stranger.read_bytes())
    with pytest.raises(ValueError, match="made from other inputs"):
        collect(tmp_path / "b")


def test_a_share_has_one_worker_and_all_workers_one_count(tmp_path):
    run(tmp_path, Numbers(), Shard(0, 2))
    with one_writer(tmp_path / "parts" / "shard-0-of-2"):
        for shard in (Shard(0, 2), Shard(1, 3)):
            with pytest.raises(ValueError, match="shard-0-of-2 is being written by process"):
                run(tmp_path, Numbers(), shard)
        run(tmp_path, Numbers(), Shard(1, 2))
    assert collect(tmp_path).missing == 0


def test_an_unfinished_folder_says_so(tmp_path):
    with pytest.raises(ValueError, match="no folder of scores"):
        collect(tmp_path)
    run(tmp_path / "a", Numbers(), Shard(0, 2))
    result = fmiqa("collect", tmp_path / "a", status=1)
    assert "6 of 11 pairs are not scored yet" in result.stderr


@pytest.mark.parametrize(
    ("said", "shard"),
    [
        ({}, Shard(0, 1)),
        ({"RANK": "3"}, Shard(0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8"}, Shard(3, 8)),
        ({"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "1"}, None),
        (
            {
                **{"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "1"},
                **{"SLURM_ARRAY_TASK_STEP": "2", "RANK": "1", "WORLD_SIZE": "2"},
            },
            Shard(7, 8),
        ),
    ],
)
def test_launchers_say_which_shard(said, shard):
    if shard is None:
        with pytest.raises(ValueError, match="count from 0"):
            shard_of_environment(said)
    else:
        assert shard_of_environment(said) == shard


@pytest.mark.parametrize("total", [0, 1, 7, 1000])
def test_shards_cover_all_rows_once(total):
    for count in (1, 2, 3, 8):
        assert [row for index in range(count) for row in Shard(index, count).rows(total)] == list(range(total))


# ---- the command


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("images")
    for seed in range(7):
        save(folder / "ref" / f"{seed}.png", picture(seed))
        save(folder / "dist" / f"{seed}.png", picture(seed, noise=4 * seed))
    (folder / "dist" / "5.png").write_bytes(b"broken")
    save(folder / "dist" / "alone.png", picture())
    return folder / "ref", folder / "dist"


def table_of(folder: Path) -> list[dict[str, object]]:
    out = folder.parent / f"{folder.name}.parquet"
    fmiqa("collect", folder, "--out", out, status=1)
    return parquet.read_table(out).to_pylist()


@pytest.fixture(scope="module")
def plain(folders, tmp_path_factory) -> list[dict[str, object]]:
    """The scores of one worker, which all others are compared to."""
    out = tmp_path_factory.mktemp("plain") / "scores"
    fmiqa("score", *folders, "--out", f"{out}/", *VIT)
    return table_of(out)


def test_a_folder_has_the_scores_of_a_file_and_the_reasons(folders, plain, tmp_path):
    out = tmp_path / "scores.parquet"
    fmiqa("score", *folders, "--out", out, *VIT, status=1)
    rows = parquet.read_table(out).to_pylist()
    assert [(row["ref"], row["dist"]) for row in rows] == [(row["ref"], row["dist"]) for row in plain]
    assert [row["score"] for row in plain] == pytest.approx([row["score"] for row in rows], rel=1e-5)
    assert len(plain) == 6


def test_shards_and_threads_change_no_bit(folders, plain, tmp_path, monkeypatch):
    out = tmp_path / "scores"
    threads = torch.get_num_threads()
    fmiqa("score", *folders, "--out", f"{out}/", *VIT, "--shard", "0/2", "--rows", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    torch.set_num_threads(2)
    try:
        result = fmiqa("score", *folders, "--out", f"{out}/", *VIT)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert "1 of them could not be scored" in result.stderr
    assert table_of(out) == plain
    found = fmiqa("collect", out, status=1)
    assert "5.png" in found.stderr
    assert "alone.png" in found.stderr
    assert "95 % interval" in found.stdout
    farthest = found.stdout.splitlines()[found.stdout.splitlines().index("farthest:") + 1]
    assert farthest.endswith(str(max(plain, key=lambda row: float(str(row["score"])))["dist"]))


def test_another_recipe_and_options_without_a_folder_are_refused(folders, tmp_path, refused):
    out = f"{tmp_path}/scores/"
    fmiqa("score", *folders, "--out", out, *VIT)
    assert "(recipe differ)" in refused("score", *folders, "--out", out, *VIT, "--distance", "l2")
    assert "(places differ)" in refused("score", *[folders[0]] * 2, "--out", out, *VIT)
    for options in (["--shard", "0/2"], ["--retry"], ["--rows", "7"]):
        assert "give --out FOLDER/" in refused("score", *folders, *options)
    assert "--shard` takes i/n" in refused("score", *folders, "--out", out, *VIT, "--shard", "two")
    assert "count from 0" in refused("score", *folders, "--out", out, *VIT, "--shard", "2/2")
    assert "no results of this command" in refused("score", *folders, "--out", f"{folders[0]}/", *VIT)
    assert "a table ends in" in refused("score", *folders, "--out", folders[0], *VIT)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are texts here")
def test_names_that_are_no_utf8_are_scored_and_told(folders, tmp_path):
    for side in folders:
        save(tmp_path / side.name / "caf\udce9.png", picture())
    (tmp_path / "ref" / "bad\udce9.png").write_bytes(b"broken")
    save(tmp_path / "dist" / "bad\udce9.png", picture())
    out = tmp_path / "scores"
    fmiqa("score", tmp_path / "ref", tmp_path / "dist", "--out", f"{out}/", *VIT)
    found = collect(out)
    assert found.scores.column("dist").to_pylist() == ["caf\\udce9.png"]
    assert "bad\\udce9.png" in found.failed.column("reason")[0].as_py()


def test_every_input_gives_the_same_scores(folders, plain, tmp_path):
    names = [path.name for path in sorted(folders[0].iterdir())]
    data = {side.name: [(side / name).read_bytes() for name in names] for side in folders}
    ids = [int(name[0]) for name in names]
    paths = {side.name: [f"{side.name}/{name}" for name in names] for side in folders}
    parquet.write_table(pyarrow.table(paths), folders[0].parent / "paths.parquet")
    images = tmp_path / "images"
    images.mkdir()
    for number, rows in enumerate((slice(0, 3), slice(3, 7))):
        table = pyarrow.table({"id": ids[rows], **{name: cells[rows] for name, cells in data.items()}})
        parquet.write_table(table, images / f"{number}.parquet", row_group_size=2)
    as_datasets = {name: [{"bytes": cell, "path": None} for cell in cells] for name, cells in data.items()}
    parquet.write_table(pyarrow.table({"id": ids, **as_datasets}), tmp_path / "datasets.parquet")
    with tarfile.open(tmp_path / "pairs.tar", "w") as tar:
        for place, key in enumerate(ids):
            for side, cells in data.items():
                member = tarfile.TarInfo(f"deep/{key}.{side}.png")
                member.size = len(cells[place])
                tar.addfile(member, io.BytesIO(cells[place]))
        tar.addfile(tarfile.TarInfo("deep/lonely.ref.png"), io.BytesIO())
    csv = folders[0].parent / "ids.csv"
    csv.write_text(
        "id,ref,dist\n" + "".join(f"{n},ref/{name},dist/{name}\n" for n, name in zip(ids, names, strict=True))
    )
    expected = [row["score"] for row in plain]
    for table in (
        folders[0].parent / "paths.parquet",
        images,
        tmp_path / "datasets.parquet",
        tmp_path / "pairs.tar",
        csv,
    ):
        out = tmp_path / f"of-{table.name}"
        for shard in ("0/2", "1/2"):
            fmiqa("score", table, "--out", f"{out}/", *VIT, "--shard", shard)
        rows = table_of(out)
        assert [row["score"] for row in rows] == expected, table
    assert rows[0]["id"] == "0"
    assert "lonely" in fmiqa("collect", tmp_path / "of-pairs.tar", status=1).stderr


def test_tables_that_do_not_name_their_pairs_are_refused(tmp_path, refused):
    paths = {"ref": ["a.png", "b.png", "a.png"], "dist": ["c.png", "c.png", "c.png"]}
    cases = {
        "'a.png' and 'c.png' is there twice": paths,
        "add a column `id`": {side: [b"a", b"b", b"c"] for side in paths},
        "`id` of 1 rows is empty": {"id": [1, None, 2], **paths},
        "pair '1' is there twice": {"id": [1, 1, 2], **paths},
        "has no column 'dist'": {"ref": ["a.png"]},
    }
    for reason, columns in cases.items():
        table = tmp_path / "pairs.parquet"
        parquet.write_table(pyarrow.table(columns), table)
        assert reason in refused("score", table, "--out", f"{tmp_path}/out/", *VIT), reason
    assert "part by part: give --out FOLDER/" in refused("score", table, *VIT)
    table.write_bytes(b"no table")
    assert "is no table of pairs" in refused("score", table, "--out", f"{tmp_path}/out/", *VIT)
    (tmp_path / "pairs.tar").write_bytes(b"no tar file" * 100)
    assert "is no tar file" in refused("score", tmp_path / "pairs.tar", "--out", f"{tmp_path}/out/", *VIT)


def test_names_may_be_categories_and_must_be_texts_or_numbers(tmp_path):
    names = {side: pyarrow.array([f"{side}/{n}.png" for n in range(3)]) for side in ("ref", "dist")}
    identities = []
    for columns in (names, {side: column.dictionary_encode() for side, column in names.items()}):
        parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
        source, _ = open_pair_table(tmp_path / "t.parquet")
        identities.append(source.identity["pairs"])
        assert [pair.images for pair in source.pairs(np.arange(3))] == [
            (tmp_path / f"ref/{n}.png", tmp_path / f"dist/{n}.png") for n in range(3)
        ]
    assert len(set(identities)) == 1
    parquet.write_table(pyarrow.table({"id": [[1], [2], [3]], **names}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"`id` of list<.*> names no pair: give texts or whole numbers"):
        open_pair_table(tmp_path / "t.parquet")


def test_rows_of_a_source_come_by_their_numbers(tmp_path):
    table = pyarrow.table({"id": range(300), "ref": [bytes([n % 256]) for n in range(300)], "dist": [b""] * 300})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=170)
    source, _ = open_pair_table(tmp_path / "t.parquet")
    for rows in ([0], [299], [5, 63, 64, 169, 170, 171, 298], list(range(300)), []):
        pairs = list(source.pairs(np.array(rows, dtype=np.int64)))
        assert [pair.row for pair in pairs] == rows
        assert [pair.images[0] for pair in pairs] == [bytes([row % 256]) for row in rows]


def test_a_source_finds_its_images_from_every_folder(folders, tmp_path, monkeypatch):
    """As processes of a cluster do, which were started elsewhere."""
    monkeypatch.chdir(folders[0].parent)
    names = sorted(path.name for path in folders[0].iterdir())
    rows = {side.name: [f"{side.name}/{name}" for name in names] for side in folders}
    parquet.write_table(pyarrow.table(rows), "relative.parquet")
    lines = [f"{ref},{dist}\n" for ref, dist in zip(*rows.values(), strict=True)]
    Path("relative.csv").write_text("".join(["ref,dist\n", *lines]))
    sources = [open_pair_table(Path(name))[0] for name in ("relative.parquet", "relative.csv")]
    sources.append(open_input(*(side.name for side in folders), None, None, "", in_parts=True).source)
    sources.append(open_input(rows["ref"][0], rows["dist"][0], None, None, "", in_parts=True).source)
    monkeypatch.chdir(tmp_path)
    for source in sources:
        for pair in source.pairs(np.arange(source.names.num_rows)):
            assert all(Path(str(image)).is_file() for image in pair.images)


def test_pairs_of_one_reference_count_together_whatever_names_the_pairs(tmp_path):
    pairs = [Pair(f"{n % 4}.png", f"{n}.png", Path("r"), Path("d")) for n in range(COUNT)]
    with_ids = [replace(pair, id=f"{n}") for n, pair in enumerate(pairs)]
    alone = [replace(pair, ref=pair.dist) for pair in with_ids]
    means = []
    for name, one in (("a", pairs), ("b", with_ids), ("c", alone)):
        score_parts(ListedPairs(one, Path(), Path()), Numbers(), tmp_path / name, INPUTS)
        means.append(collect(tmp_path / name).means())
    assert means[0] == means[1] != means[2]


def test_many_failures_are_counted_and_some_listed(tmp_path, monkeypatch):
    monkeypatch.setattr("torchmetrics_fmiqa.cli.collect._MOST", 2)
    run(tmp_path, Numbers(fail=(1, 2, 3, 4, 5)))
    lines = fmiqa("collect", tmp_path, status=1).stderr.splitlines()
    assert lines[0] == "5 could not be scored:"
    assert lines[-1].strip() == "and 3 more"
    assert len(lines) == 4


# ---- kill and SIGTERM


def interrupted(folders: tuple[Path, Path], out: Path, how: signal.Signals) -> int:
    """Start a run, strike it once it has some parts, and give its exit status."""
    command = [sys.executable, "-m", "torchmetrics_fmiqa", "score", *map(str, folders), "--out", f"{out}/", *VIT]
    process = subprocess.Popen([*command, "--rows", "1"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.rglob("part-*.parquet")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(how)
    return process.wait(60)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "SIGTERM"])
def test_a_struck_run_goes_on(folders, plain, tmp_path, how):
    out = tmp_path / "scores"
    status = interrupted(folders, out, how)
    assert status in ((-9, 0) if how == signal.SIGKILL else (128 + 15, 0))
    fmiqa("score", *folders, "--out", f"{out}/", *VIT)
    assert table_of(out) == plain


# ---- ScorePairs


@pytest.fixture(scope="module")
def batch(folders) -> dict[str, list[object]]:
    names = [path.name for path in sorted(folders[0].iterdir())]
    return {"id": list(range(len(names))), **{side.name: [str(side / name) for name in names] for side in folders}}


def test_rows_come_with_scores_and_reasons(batch, plain):
    rows = ScorePairs(RECIPE)(batch)
    assert list(rows) == ["id", "ref", "dist", "score", "outside", "reason"]
    assert [bool(reason) for reason in rows["reason"]] == [n == 5 for n in range(7)]
    assert np.isnan(rows["score"]).tolist() == [n == 5 for n in range(7)]
    assert [score for score in rows["score"] if score == score] == [row["score"] for row in plain]


def test_paths_bytes_and_pixels_give_the_same(batch):
    expected = ScorePairs(RECIPE)(batch)["score"]
    score = pickle.loads(pickle.dumps(ScorePairs(RECIPE)))
    data = {side: [Path(str(path)).read_bytes() for path in batch[side]] for side in ("ref", "dist")}
    found = score({"id": batch["id"], **data})
    assert list(found) == ["id", "score", "outside", "reason"]
    np.testing.assert_array_equal(found["score"], expected)
    whole = [n for n in range(7) if n != 5]
    pixels = {side: [np.asarray(Image.open(io.BytesIO(data[side][n]))) for n in whole] for side in data}
    for form in (pixels, {side: np.stack(images) for side, images in pixels.items()}):
        np.testing.assert_array_equal(score(form)["score"], expected[whole])
    one = score({"id": 1, "ref": batch["ref"][1], "dist": batch["dist"][1]})
    assert (one["id"].tolist(), one["score"][0]) == ([1], expected[1])


def test_odd_cells_are_the_problem_of_their_row(batch):
    odd = [None, 3.5, np.zeros((4, 4), np.float32), np.zeros((4, 4, 3), np.float32), {"bytes": None, "path": None}, "x"]
    column = np.empty(len(odd), dtype=object)
    column[:] = odd
    reasons = ScorePairs(RECIPE)({"ref": [batch["ref"][0]] * len(odd), "dist": column})["reason"]
    words = ["got nothing", "got a float", "got float32", "got float32", "got nothing", "no file"]
    assert [word in reason for word, reason in zip(words, reasons, strict=True)] == [True] * len(odd)


def test_a_row_may_hold_pixels_or_a_cell_of_datasets(batch):
    expected = float(ScorePairs(RECIPE)(batch)["score"][1])
    paths = {side: Path(str(batch[side][1])) for side in ("ref", "dist")}
    pixels = {side: np.asarray(Image.open(path)) for side, path in paths.items()}
    cells = {side: {"bytes": path.read_bytes(), "path": None} for side, path in paths.items()}
    for row in (pixels, cells):
        found = ScorePairs(RECIPE)({"id": 7, "tags": ["a", "b"], **row})
        assert (found["id"].tolist(), found["tags"].tolist(), found["score"].tolist()) == (
            [7],
            [["a", "b"]],
            [expected],
        )
    missing = ScorePairs(RECIPE)({"id": 7, "ref": str(paths["ref"]), "dist": None})
    assert "got nothing" in missing["reason"][0]


def test_other_columns_come_back_whatever_they_hold(batch):
    names = {"ref": [*batch["ref"][:1], None], "dist": batch["dist"][:2]}
    lists = {"tags": [["a", "b"], ["c", "d"]], "one": [[5], [6]], "box": [np.zeros(4), np.ones(4)]}
    found = ScorePairs(RECIPE)({**lists, **names})
    assert list(found) == ["tags", "one", "box", "ref", "dist", "score", "outside", "reason"]
    assert {name: found[name].tolist() for name in ("tags", "one", "ref", "dist")} == {
        "tags": lists["tags"],
        "one": lists["one"],
        **names,
    }
    assert [box.tolist() for box in found["box"]] == [[0.0] * 4, [1.0] * 4]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"ref": ["a"]}, "no column 'dist'"),
        ({"ref": ["a"], "dist": ["a", "b"]}, "'dist' has 2 rows"),
        ({"ref": ["a"], "dist": ["a"], "score": [1.0]}, "has a column 'score'"),
    ],
)
def test_batches_that_do_not_fit_are_errors(columns, reason):
    with pytest.raises(ValueError, match=reason):
        ScorePairs(RECIPE)(columns)


def test_spips_has_its_own_column_and_options_that_do_nothing_are_errors(batch):
    spips = ScorePairs(SpipsRecipe(Recipe("vit_tiny_patch16_224", weights="random:0", taps=[0, 1])))
    rows = pickle.loads(pickle.dumps(spips))({side: batch[side][:2] for side in ("ref", "dist")})
    assert rows["spips"][0] == pytest.approx(0, abs=1e-6)
    assert rows["spips"][1] > 0
    with pytest.raises(ValueError, match="`quality` is for SPIPS"):
        ScorePairs(RECIPE, quality=True)
    with pytest.raises(ValueError, match="`layers` is for"):
        ScorePairs(SpipsRecipe(RECIPE), layers=True)


def test_the_note_of_a_folder_says_what_it_was_made_from(folders, tmp_path):
    fmiqa("score", *folders, "--out", f"{tmp_path}/s/", *VIT, "--crop-border", "2")
    note = json.loads((tmp_path / "s" / "inputs.json").read_text())
    assert note["recipe"] == RECIPE.digest
    assert note["crop_border"] == 2
    assert note["places"] == [str(folder) for folder in folders]
    assert os.listdir(tmp_path / "s" / "parts") == ["shard-0-of-1"]
