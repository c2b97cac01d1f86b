"""What `fmiqa score --out FOLDER/` reads beside files: URLs by fsspec, and saved data sets."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import fsspec
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from tests.test_cli import VIT, fmiqa, picture, refused, save
from tests.test_score_parts import RECIPE
from torchmetrics_fmiqa.data.pair_tables import open_pair_table
from torchmetrics_fmiqa.data.remote import as_place, join_place
from torchmetrics_fmiqa.scoring import ScorePairs
from torchmetrics_fmiqa.scoring.collect import collect

__all__ = ["refused"]  # a fixture
needs_datasets = pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None, reason="datasets is not installed: pip install datasets"
)
NAMES = {side: [f"{side}/{n}.png" for n in range(5)] for side in ("ref", "dist")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Images by ``ref/N.png`` and ``dist/N.png``; one is broken."""
    folder = tmp_path_factory.mktemp("images")
    for seed in range(5):
        save(folder / "ref" / f"{seed}.png", picture(seed))
        save(folder / "dist" / f"{seed}.png", picture(seed, noise=4 * seed))
    (folder / "dist" / "3.png").write_bytes(b"broken")
    return folder


@pytest.fixture(scope="module")
def expected(folder) -> list[float]:
    rows = ScorePairs(RECIPE)({side: [str(folder / name) for name in names] for side, names in NAMES.items()})
    return [float(score) for score in rows["score"] if score == score]


@pytest.fixture
def bucket(folder):
    """The same images, a CSV and a Parquet table of them, by URL."""
    memory = fsspec.filesystem("memory")
    for name in (name for names in NAMES.values() for name in names):
        memory.pipe(f"/bucket/{name}", (folder / name).read_bytes())
    lines = [f"{ref},{dist}\n" for ref, dist in zip(*NAMES.values(), strict=True)]
    memory.pipe("/bucket/pairs.csv", "".join(["ref,dist\n", *lines]).encode())
    with memory.open("/bucket/tables/a.parquet", "wb") as file:
        whole = {side: [f"memory://bucket/{name}" for name in names] for side, names in NAMES.items()}
        parquet.write_table(pyarrow.table({"id": list("abcde"), **whole}), file)
    with memory.open("/bucket/bytes.parquet", "wb") as file:
        data = {side: [(folder / name).read_bytes() for name in names] for side, names in NAMES.items()}
        parquet.write_table(pyarrow.table({"id": range(5), **data}), file, row_group_size=2)
    yield "memory://bucket"
    memory.rm("/bucket", recursive=True)


def scored(out: Path, *arguments: object) -> list[float]:
    fmiqa("score", *arguments, "--out", f"{out}/", *VIT)
    found = collect(out)
    assert found.failed.num_rows == 1
    return found.numbers()[:, 0].tolist()


def test_tables_and_images_come_by_url(bucket, expected, folder, tmp_path):
    assert scored(tmp_path / "csv", f"{bucket}/pairs.csv") == expected
    assert scored(tmp_path / "parquet", f"{bucket}/tables/a.parquet") == expected
    assert scored(tmp_path / "folder", f"{bucket}/tables/") == expected
    assert scored(tmp_path / "bytes", f"{bucket}/bytes.parquet") == expected
    (tmp_path / "here.csv").write_text("ref,dist\n" + "".join(f"ref/{n}.png,dist/{n}.png\n" for n in range(5)))
    assert scored(tmp_path / "root", tmp_path / "here.csv", "--root", bucket) == expected
    as_file = (folder / "pairs.csv").as_uri()
    (folder / "pairs.csv").write_text((tmp_path / "here.csv").read_text())
    assert scored(tmp_path / "file", as_file) == expected
    again = fmiqa("score", f"{bucket}/pairs.csv", "--out", tmp_path / "csv", *VIT)
    assert "5 pairs were there, 0 scored now" in again.stderr


def test_a_url_that_cannot_be_read_is_told_in_a_line(bucket, tmp_path, refused):
    out = ("--out", f"{tmp_path}/scores/")
    assert "there is no file 'memory://bucket/no.csv'" in refused("score", f"{bucket}/no.csv", *out)
    assert "is no table of pairs: there is no file" in refused("score", f"{bucket}/no.parquet", *out)
    assert "Protocol not known: nowhere" in refused("score", "nowhere://x/pairs.csv", *out)
    assert "tar files are read from this machine" in refused("score", f"{bucket}/pairs.tar", *out)
    assert "give a table that names the pairs" in refused("score", f"{bucket}/ref", f"{bucket}/dist", *out)
    assert "`--out memory://x/` is a URL" in refused("score", f"{bucket}/pairs.csv", "--out", "memory://x/")
    row = ScorePairs(RECIPE)({"ref": [f"{bucket}/ref/0.png"], "dist": [f"{bucket}/gone.png"]})
    assert row["reason"][0] == "there is no file 'memory://bucket/gone.png'"


def test_a_missing_driver_is_told(monkeypatch, tmp_path, refused):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    told = refused("score", "s3://bucket/pairs.csv", "--out", f"{tmp_path}/scores/")
    assert "cannot be read without its driver" in told
    assert "s3fs" in told


@pytest.mark.parametrize(
    ("folder", "name", "place"),
    [
        (Path("a"), "b.png", Path("a/b.png")),
        (Path("a"), "/b.png", Path("/b.png")),
        (Path("a"), "s3://c/b.png", "s3://c/b.png"),
        ("s3://c/", "d/b.png", "s3://c/d/b.png"),
        ("s3://c", "file:///b%20.png", Path("/b .png")),
        ("s3://c", "gs://d/b.png", "gs://d/b.png"),
    ],
)
def test_places_join(folder, name, place):
    assert join_place(folder, name) == place


def test_a_drive_is_no_url():
    assert isinstance(as_place("C://images"), Path)


@needs_datasets
def test_a_saved_data_set_has_the_same_scores(folder, expected, tmp_path, refused):
    import datasets

    image = datasets.Image()
    paths = {side: [str(folder / name) for name in names] for side, names in NAMES.items()}
    data = {side: [{"bytes": Path(p).read_bytes(), "path": None} for p in column] for side, column in paths.items()}
    features = datasets.Features({"id": datasets.Value("int64"), "ref": image, "dist": image})
    images = datasets.Dataset.from_dict({"id": list(range(5)), **data}, features=features)
    images.save_to_disk(tmp_path / "images", num_shards=2)
    assert scored(tmp_path / "a", tmp_path / "images") == expected
    datasets.Dataset.from_dict(NAMES).save_to_disk(tmp_path / "paths")
    assert scored(tmp_path / "b", tmp_path / "paths", "--root", folder) == expected
    by_path = datasets.Dataset.from_dict({"id": list(range(5)), **paths}).cast_column("ref", image)
    by_path.save_to_disk(tmp_path / "linked")
    assert scored(tmp_path / "c", tmp_path / "linked") == expected
    source, _ = open_pair_table(tmp_path / "images")
    assert [pair.row for pair in source.pairs(np.array([1, 4]))] == [1, 4]
    out = ("--out", f"{tmp_path}/d/")
    datasets.DatasetDict({"test": images}).save_to_disk(tmp_path / "splits")
    assert "has the splits test: give one" in refused("score", tmp_path / "splits", *out)
    images.remove_columns("id").save_to_disk(tmp_path / "unnamed")
    assert "add a column `id`" in refused("score", tmp_path / "unnamed", *out)
    images.remove_columns("dist").save_to_disk(tmp_path / "half")
    assert "has no column 'dist'" in refused("score", tmp_path / "half", *out)


def test_without_datasets_the_package_is_named(tmp_path, refused, monkeypatch):
    (tmp_path / "saved").mkdir()
    for name in ("state.json", "dataset_info.json"):
        (tmp_path / "saved" / name).write_text("{}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    told = refused("score", tmp_path / "saved", "--out", f"{tmp_path}/out/")
    assert "pip install 'torchmetrics-fmiqa[datasets]'" in told
