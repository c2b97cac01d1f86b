"""The command line: what it scores, writes, reports and refuses."""

from __future__ import annotations

import csv
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from typer.testing import CliRunner

from tests.conftest import RANDOM_VIT
from torchmetrics_fmiqa import RECIPES, FeatureDistance, Recipe, __version__, feature_distance
from torchmetrics_fmiqa.cli import app, main
from torchmetrics_fmiqa.data.images import read_image

VIT = [
    *("--set", "backbone=vit_tiny_patch16_224"),
    *("--set", "weights=random:0"),
    *("--set", "taps=[0,1]"),
]
SCRIPT = [sys.executable, "-c", "from torchmetrics_fmiqa.cli import main; main()"]


def picture(seed: int = 0, noise: int = 0, height: int = 32, width: int = 40, channels: int = 3) -> np.ndarray:
    """Smooth uint8 pixels, the same for one seed, and noise on top."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(30, 225, (4, 5, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    pixels = np.asarray(coarse).astype(int) + noise * np.random.default_rng(99).integers(-1, 2, (height, width, 1))
    pixels = pixels.clip(0, 255).astype(np.uint8)
    if channels == 1:
        return pixels[..., 0]
    return np.concatenate([pixels, np.full((height, width, 1), 255, np.uint8)], 2) if channels == 4 else pixels


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def save_png16(path: Path, pixels: np.ndarray) -> Path:
    """A PNG of 16 bits, which PIL does not write."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    return path


def fmiqa(*arguments: object, status: int = 0):
    """Run the command in this process and check its exit status."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def scores(folder: Path, *arguments: object, status: int = 0) -> list[dict[str, str]]:
    """Score and read the table that was written."""
    out = folder / "scores.csv"
    fmiqa("score", *arguments, "--out", out, *VIT, status=status)
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def refused(monkeypatch, capfd):
    """Run ``main`` on arguments that are wrong: exit status 2, one line on standard error, nothing else."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["fmiqa", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        output = capfd.readouterr()
        assert end.value.code == 2
        assert output.out == ""
        assert output.err.startswith("error: ")
        assert len(output.err.strip().splitlines()) == 1, output.err
        return output.err

    return run


@pytest.fixture
def pair(tmp_path) -> tuple[Path, Path]:
    return save(tmp_path / "ref.png", picture()), save(tmp_path / "dist.png", picture(noise=20))


# ---- pairs


def test_two_files_are_scored_as_feature_distance_scores_them(pair, tmp_path):
    (row,) = scores(tmp_path, *pair)
    preds, target = read_image(pair[1])[None], read_image(pair[0])[None]
    assert row["ref"] == str(pair[0])
    assert row["dist"] == str(pair[1])
    assert float(row["score"]) == pytest.approx(float(feature_distance(preds, target, **RANDOM_VIT)), rel=1e-6)


def test_an_identical_pair_is_0(pair, tmp_path):
    (row,) = scores(tmp_path, pair[0], pair[0])
    assert float(row["score"]) == 0


def test_folders_match_by_path_without_ending_and_report_the_rest(tmp_path):
    for name in ("a.png", "deep/down/b.png", "only_ref.png", "c.with.dots.png"):
        save(tmp_path / "ref" / name, picture(len(name)))
    for name in ("a.jpg", "deep/down/b.BMP", "c.with.dots.tif", "only_dist.png"):
        save(tmp_path / "dist" / name, picture(len(name), noise=15))
    (tmp_path / "ref" / "notes.txt").write_text("no image")
    out = tmp_path / "scores.csv"
    result = fmiqa("score", tmp_path / "ref", tmp_path / "dist", "--out", out, *VIT, status=1)
    rows = list(csv.DictReader(out.open(newline="")))
    found = [(row["ref"], row["dist"]) for row in rows]
    deep = str(Path("deep/down/b"))
    assert found == [("a.png", "a.jpg"), ("c.with.dots.png", "c.with.dots.tif"), (f"{deep}.png", f"{deep}.BMP")]
    assert "2 could not be scored" in result.stderr
    assert all(name in result.stderr for name in ("only_ref.png", "only_dist.png"))
    assert "notes" not in result.output


@pytest.mark.parametrize("rooted", [True, False])
def test_a_table_counts_its_paths_from_root_or_its_own_folder(rooted, tmp_path):
    images = tmp_path / "images"
    save(images / "r.png", picture())
    for index in range(3):
        save(images / f"d{index}.png", picture(noise=10 * index))
    table = (tmp_path if rooted else images) / "pairs.csv"
    table.write_text("name,ref,dist\n" + "".join(f"x,r.png,d{index}.png\n" for index in range(3)))
    rows = scores(tmp_path, "--pairs", table, *(("--root", images) if rooted else ()))
    assert [row["dist"] for row in rows] == ["d0.png", "d1.png", "d2.png"]
    values = [float(row["score"]) for row in rows]
    assert values[0] == 0 < values[1] < values[2]


def test_layers_and_several_distances_have_columns_of_their_own(pair, tmp_path):
    rows = scores(tmp_path, *pair, "--layers", "--set", "distance=[l2,cosine]")
    labels = [f"{name}/blocks.{tap}" for name in ("l2", "cosine") for tap in (0, 1)]
    assert list(rows[0]) == ["ref", "dist", "score_l2", "score_cosine", *labels]
    for name in ("l2", "cosine"):
        taps = [float(rows[0][f"{name}/blocks.{tap}"]) for tap in (0, 1)]
        assert float(rows[0][f"score_{name}"]) == pytest.approx(sum(taps) / 2)


def test_layers_of_one_distance_are_named_by_tap(pair, tmp_path):
    assert list(scores(tmp_path, *pair, "--layers")[0]) == ["ref", "dist", "score", "blocks.0", "blocks.1"]


def test_a_batch_scores_as_its_pairs_alone(tmp_path):
    for index in range(6):  # two sizes in turn, so that groups end
        height = 32 if index % 3 else 48
        save(tmp_path / "ref" / f"{index}.png", picture(index, height=height))
        save(tmp_path / "dist" / f"{index}.png", picture(index, noise=5 + index, height=height))
    rows = scores(tmp_path, tmp_path / "ref", tmp_path / "dist")
    assert [row["ref"] for row in rows] == [f"{index}.png" for index in range(6)]
    for row in rows:
        preds, target = (read_image(tmp_path / side / row[side])[None] for side in ("dist", "ref"))
        alone = float(feature_distance(preds, target, **RANDOM_VIT))
        assert float(row["score"]) == pytest.approx(alone, rel=1e-4)


# ---- tables of results


def test_csv_json_and_parquet_hold_the_same(pair, tmp_path):
    for ending in ("csv", "json", "parquet"):
        fmiqa("score", *pair, "--layers", "--out", tmp_path / f"out.{ending}", *VIT)
    from_json = json.loads((tmp_path / "out.json").read_text())
    from_csv = list(csv.DictReader((tmp_path / "out.csv").open(newline="")))
    from_parquet = parquet.read_table(tmp_path / "out.parquet")
    assert from_json == from_parquet.to_pylist()
    assert list(from_csv[0]) == list(from_json[0]) == from_parquet.column_names
    assert from_parquet.column_names[:3] == ["ref", "dist", "score"]
    for text, value in zip(from_csv[0].values(), from_json[0].values(), strict=True):
        assert text == value or float(text) == value


@pytest.mark.parametrize("out", ["scores.txt", "scores", "nowhere/scores.csv"])
def test_a_table_that_cannot_be_written_is_refused_before_the_work(out, pair, tmp_path, refused, monkeypatch):
    monkeypatch.setattr(
        "torchmetrics_fmiqa.cli.options.load_comparator", lambda *_: pytest.fail("the network was loaded")
    )
    assert Path(out).name in refused("score", *pair, "--out", tmp_path / out, *VIT)


def test_what_was_scored_before_an_interruption_is_written(tmp_path, monkeypatch):
    from torchmetrics_fmiqa import scoring

    for index in range(4):
        for side in ("ref", "dist"):
            save(tmp_path / side / f"{index}.png", picture(index, noise=10 * (side == "dist")))
    whole = scoring.score_pairs

    def interrupted(*arguments, **options):
        for count, result in enumerate(whole(*arguments, **options)):
            if count == 2:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(scoring, "score_pairs", interrupted)
    out = tmp_path / "scores.csv"
    result = CliRunner().invoke(app, ["score", str(tmp_path / "ref"), str(tmp_path / "dist"), "--out", str(out), *VIT])
    assert result.exit_code not in (0, 2)
    assert [row["ref"] for row in csv.DictReader(out.open(newline=""))] == ["0.png", "1.png"]


# ---- files that cannot be scored


def test_bad_files_are_reported_by_name_and_the_others_scored(tmp_path):
    ref = save(tmp_path / "ref.png", picture())
    whole = ref.read_bytes()
    save(tmp_path / "good.png", picture(noise=10))
    (tmp_path / "garbage.png").write_bytes(b"garbage " * 30)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    save(tmp_path / "photo.jpg", picture())
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "photo.jpg").read_bytes()[:500])
    save(tmp_path / "grey.png", picture(channels=1))
    save(tmp_path / "alpha.png", picture(channels=4))
    save(tmp_path / "large.png", picture(height=48))
    save(tmp_path / "also_good.png", picture(noise=20))
    bad = ["garbage.png", "empty.png", "cut.png", "cut.jpg", "missing.png", "grey.png", "alpha.png", "large.png"]
    table = tmp_path / "pairs.csv"
    names = ["good.png", *bad, "also_good.png"]
    table.write_text("ref,dist\n" + "".join(f"ref.png,{name}\n" for name in names) + "gone.png,good.png\n")
    out = tmp_path / "scores.csv"
    result = fmiqa("score", "--pairs", table, "--out", out, *VIT, status=1)
    assert [row["dist"] for row in csv.DictReader(out.open(newline=""))] == ["good.png", "also_good.png"]
    assert f"{len(bad) + 1} could not be scored" in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("  ")]
    assert len(lines) == len(bad) + 1
    assert all(line.startswith(f"  {name} (reference ref.png)") for line, name in zip(lines, bad, strict=False))
    reasons = dict(zip(bad, lines, strict=False))
    assert "no file" in reasons["missing.png"]
    assert "grey" in reasons["grey.png"]
    assert "alpha" in reasons["alpha.png"]
    assert "32x40 and 48x40" in reasons["large.png"]
    assert "gone.png" in lines[-1]


def test_reasons_name_no_source_file_of_the_decoder(tmp_path):
    (tmp_path / "garbage.png").write_bytes(b"garbage " * 30)
    with pytest.raises(ValueError) as caught:
        read_image(tmp_path / "garbage.png")
    assert ".cpp" not in str(caught.value)


def test_a_status_of_1_needs_no_pair_that_worked(pair, tmp_path):
    (tmp_path / "garbage.png").write_bytes(b"garbage")
    result = fmiqa("score", pair[0], tmp_path / "garbage.png", "--out", tmp_path / "scores.csv", *VIT, status=1)
    assert "garbage.png" in result.stderr


@pytest.mark.parametrize("channels", [1, 4], ids=["grey", "opaque RGBA"])
def test_to_rgb_takes_grey_and_opaque_rgba(channels, tmp_path):
    ref, dist = (save(tmp_path / f"{n}.png", picture(noise=n, channels=channels)) for n in (0, 20))
    (row,) = scores(tmp_path, ref, dist, "--to-rgb")
    assert float(row["score"]) > 0
    pixels = np.asarray(Image.open(dist).convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(read_image(dist, to_rgb=True).numpy(), pixels)


@pytest.mark.parametrize("how", [[], ["--to-rgb"]])
def test_rgba_that_is_not_opaque_is_refused_all_the_same(how, pair, tmp_path):
    pixels = picture(channels=4)
    pixels[3, 3, 3] = 254
    result = fmiqa("score", pair[0], save(tmp_path / "glass.png", pixels), *how, *VIT, status=1)
    assert "glass.png" in result.stderr
    assert ("opaque" if how else "alpha") in result.stderr


@pytest.mark.parametrize(("match", "larger"), [("crop", (36, 44)), ("crop", (28, 50)), ("resize", (64, 80))])
def test_match_scores_pairs_of_two_sizes(match, larger, tmp_path):
    ref = save(tmp_path / "ref.png", picture())
    dist = save(tmp_path / "dist.png", picture(noise=10, height=larger[0], width=larger[1]))
    assert "32x40" in fmiqa("score", ref, dist, *VIT, status=1).stderr
    (row,) = scores(tmp_path, ref, dist, "--match", match)
    target, preds = read_image(ref)[None], read_image(dist)[None]
    if match == "crop":
        height, width = min(32, larger[0]), min(40, larger[1])
        preds, target = preds[..., :height, :width], target[..., :height, :width]
    else:
        size = {"size": (32, 40), "mode": "bicubic", "antialias": True}
        preds = torch.nn.functional.interpolate(preds.float() / 255, **size)
    assert float(row["score"]) == pytest.approx(float(feature_distance(preds, target, **RANDOM_VIT)), rel=1e-5)


def test_crop_border_cuts_what_differs(pair, tmp_path):
    pixels = picture()
    pixels[:4], pixels[-4:], pixels[:, :4], pixels[:, -4:] = 0, 0, 0, 0
    framed = save(tmp_path / "framed.png", pixels)
    assert float(scores(tmp_path, pair[0], framed)[0]["score"]) > 0
    assert float(scores(tmp_path, pair[0], framed, "--crop-border", 4)[0]["score"]) == 0


def test_a_border_that_leaves_nothing_is_the_fault_of_the_pair(pair):
    assert "crop_border" in fmiqa("score", *pair, "--crop-border", 16, *VIT, status=1).stderr


# ---- kinds of files


def test_a_png_of_16_bits_keeps_them_and_scores_like_its_8_bits(pair, tmp_path):
    wide = picture(noise=20).astype(int) * 257 + np.arange(-20, 20)[:, None]  # what 8 bits cannot hold
    wide = wide.clip(0, 65535).astype(np.uint16)
    path = save_png16(tmp_path / "wide.png", wide)
    image = read_image(path)
    assert image.dtype == torch.uint16
    assert np.array_equal(image.numpy(), wide.transpose(2, 0, 1))
    (eight,), (sixteen,) = scores(tmp_path, *pair), scores(tmp_path, pair[0], path)
    assert float(sixteen["score"]) == pytest.approx(float(eight["score"]), rel=0.01)
    assert float(scores(tmp_path, path, path)[0]["score"]) == 0


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_to_rgb_takes_16_bits_too(channels, tmp_path):
    wide = picture(channels=4).astype(np.uint16)[..., -channels:] * 257
    path = save_png16(tmp_path / "wide.png", wide)
    image = read_image(path, to_rgb=True)
    assert image.dtype == torch.uint16
    assert image.shape == (3, 32, 40)
    if channels > 1:
        wide[1, 1, -1] = 65534
        with pytest.raises(ValueError, match="not opaque"):
            read_image(save_png16(path, wide), to_rgb=True)


@pytest.mark.parametrize("ending", [".bmp", ".tif", ".tiff", ".ppm", ".webp", ".PNG"])
def test_a_lossless_file_of_any_format_is_the_same_image(ending, pair, tmp_path):
    path = tmp_path / f"same{ending}"
    Image.fromarray(picture()).save(path, **({"lossless": True} if ending == ".webp" else {}))
    assert float(scores(tmp_path, pair[0], path)[0]["score"]) == 0


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
def test_a_palette_is_looked_up_and_never_taken_for_grey(ending, tmp_path):
    paletted = Image.fromarray(picture()).quantize(16)
    paletted.save(tmp_path / f"palette{ending}")
    expected = np.asarray(paletted.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(read_image(tmp_path / f"palette{ending}", to_rgb=True).numpy(), expected)


def test_a_tiff_of_several_pages_is_refused_and_not_cut_to_its_first(tmp_path):
    one, two = (Image.fromarray(picture(seed)) for seed in (0, 1))
    one.save(tmp_path / "pages.tif", save_all=True, append_images=[two])
    with pytest.raises(ValueError, match="2 frames"):
        read_image(tmp_path / "pages.tif")


# ---- wrong arguments

WRONG = {
    "REF without DIST": (["score", "REF"], "give REF and DIST"),
    "nothing": (["score"], "give REF and DIST"),
    "REF and a table": (["score", "REF", "DIST", "--pairs", "PAIRS"], "give REF and DIST"),
    "root without a table": (["score", "REF", "DIST", *VIT, "--root", "FOLDER"], "--root"),
    "no such file": (["score", "REF", "nofile.png"], "nofile.png"),
    "file and folder": (["score", "REF", "FOLDER"], "two files or two folders"),
    "empty folder": (["score", "EMPTY", "EMPTY"], "no images"),
    "no common name": (["score", "FOLDER", "OTHER"], "--pairs"),
    "no such table": (["score", "--pairs", "no.csv"], "no table"),
    "no such root": (["score", "--pairs", "PAIRS", "--root", "nowhere"], "nowhere"),
    "no column": (["score", "--pairs", "NO_DIST"], "no column `dist`; it has ref, score"),
    "no rows": (["score", "--pairs", "NO_ROWS"], "no rows"),
    "empty table": (["score", "--pairs", "EMPTY_TABLE"], "no column `ref`"),
    "short row": (["score", "--pairs", "SHORT_ROW"], "line 3"),
    "binary table": (["score", "--pairs", "REF"], "no CSV table"),
    "unknown recipe": (["score", "REF", "DIST", "--recipe", "vit-tny"], "vit-tiny"),
    "no such recipe file": (["score", "REF", "DIST", "--recipe", "no.yaml"], "no.yaml"),
    "unknown field": (["score", "REF", "DIST", "--set", "distnce=l2"], "did you mean `distance`"),
    "no value": (["score", "REF", "DIST", "--set", "distance"], "KEY=VALUE"),
    "a field twice": (["score", "REF", "DIST", "--set", "tile=64", "--set", "tile=32"], "twice"),
    "bad value": (["score", "REF", "DIST", "--set", "tile=0"], "`tile`"),
    "number for a distance": (["score", "REF", "DIST", *VIT, "--set", "distance=5"], "`distance`"),
    "nothing for taps": (["score", "REF", "DIST", *VIT[:4], "--set", "taps=null"], "`taps`"),
    "unknown backbone": (["score", "REF", "DIST", "--set", "backbone=vit_tny_patch16_224", *VIT[2:]], "vit_tiny"),
    "unknown tap": (["score", "REF", "DIST", *VIT[:4], "--set", "taps=[99]"], "99"),
    "unknown weights": (["score", "REF", "DIST", *VIT[:2], "--set", "weights=no.pth"], "no.pth"),
    "device": (["score", "REF", "DIST", *VIT, "--device", "nonsense"], "--device nonsense"),
    "device without data": (["score", "REF", "DIST", *VIT, "--device", "meta"], "--device meta"),
    "precision": (["score", "REF", "DIST", *VIT, "--precision", "nonsense"], "nonsense"),
    "match": (["score", "REF", "DIST", *VIT, "--match", "stretch"], "crop or resize"),
    "map without a map": (["map", "REF", "DIST", *VIT, "--set", "distance=wasserstein"], "wasserstein"),
    "map of two distances": (["map", "REF", "DIST", *VIT, "--set", "distance=[l2,cosine]"], "one distance"),
    "map ending": (["map", "REF", "DIST", *VIT, "--out", "map.txt"], "map.txt"),
    "map folder": (["map", "REF", "DIST", *VIT, "--out", "nowhere/map.png"], "nowhere"),
    "map of two sizes": (["map", "REF", "LARGE", *VIT], "32x40 and 48x40"),
    "recipe to print": (["recipes", "vit-tny"], "vit-tiny"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_one_line_and_status_2(case, tmp_path, refused, monkeypatch):
    files = {
        "REF": save(tmp_path / "folder" / "ref.png", picture()),
        "DIST": save(tmp_path / "other" / "dist.png", picture(noise=10)),
        "LARGE": save(tmp_path / "large.png", picture(height=48)),
        "FOLDER": tmp_path / "folder",
        "OTHER": tmp_path / "other",
        "EMPTY": tmp_path / "empty",
    }
    files["EMPTY"].mkdir()
    tables = {
        "PAIRS": "ref,dist\nref.png,dist.png\n",
        "NO_DIST": "ref,score\na,1\n",
        "NO_ROWS": "ref,dist\n",
        "EMPTY_TABLE": "",
        "SHORT_ROW": "ref,dist\na,b\na\n",
    }
    for name, text in tables.items():
        files[name] = tmp_path / f"{name}.csv"
        files[name].write_text(text)
    monkeypatch.chdir(tmp_path)
    arguments, message = WRONG[case]
    assert message in refused(*(files.get(argument, argument) for argument in arguments))


def test_two_images_of_one_stem_are_refused(tmp_path, refused):
    for name in ("a.png", "a.bmp"):
        save(tmp_path / "ref" / name, picture())
    assert "one name" in refused("score", tmp_path / "ref", tmp_path / "ref", *VIT)


# ---- map and recipes


@pytest.mark.parametrize("ending", [".png", ".pdf"])
def test_map_draws_a_picture_and_says_the_score(ending, pair, tmp_path):
    out = tmp_path / f"map{ending}"
    result = fmiqa("map", *pair, "--out", out, *VIT)
    assert out.stat().st_size > 10_000
    preds, target = read_image(pair[1])[None], read_image(pair[0])[None]
    assert f"cosine distance {float(feature_distance(preds, target, **RANDOM_VIT)):.4g}"[:-1] in result.output


def test_recipes_cites_a_recipe_as_the_metric_does(tmp_path):
    line = fmiqa("recipes", "--cite", "default").output.strip()
    assert line == FeatureDistance().cite()
    digest = RECIPES["embedded"].recipe.digest
    assert line == (
        f"torchmetrics_fmiqa {__version__}, recipe embedded (digest {digest}), "
        "distance cosine+symmetric_kl, lower is closer"
    )
    recipe = RECIPES["embedded"].recipe.replace(distance=["l2", "cosine"])
    (tmp_path / "mine.yaml").write_text(recipe.to_yaml())
    cited = fmiqa("recipes", "--cite", tmp_path / "mine.yaml").output.strip()
    assert cited == FeatureDistance(recipe).cite()
    assert f"recipe fmiqa/embedded (digest {recipe.digest}), distance l2 and cosine, " in cited


def test_recipes_lists_every_recipe():
    lines = fmiqa("recipes").output.splitlines()
    for name, entry in RECIPES.items():
        assert any(line.split()[:2] == [name, str(entry.recipe.backbone)] for line in lines), name


def test_recipes_go_whole_into_a_pipe_and_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "torchmetrics_fmiqa", "recipes"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names[1:-1] == list(RECIPES)  # between the heads of the columns and the note


@pytest.mark.parametrize("name", ["default", "vit-tiny", "zsiqa-openclip-convnext-b"])
def test_a_printed_recipe_reads_back_equal(name):
    assert Recipe.from_yaml(fmiqa("recipes", name).output) == RECIPES[name].recipe


def test_the_recipe_of_a_file_is_printed_whole(tmp_path):
    recipe = Recipe.from_yaml("recipe: default\ndistance: {cosine: 1, jensen_shannon: 2}\ncombine: geometric")
    path = tmp_path / "own.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert Recipe.from_yaml(fmiqa("recipes", path).output) == recipe


def test_a_recipe_file_scores_as_its_fields(pair, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("backbone: vit_tiny_patch16_224\nweights: random:0\ntaps: [0, 1]\n")
    fmiqa("score", *pair, "--recipe", file, "--out", tmp_path / "file.json")
    (row,) = json.loads((tmp_path / "file.json").read_text())
    assert row["score"] == float(scores(tmp_path, *pair)[0]["score"])


# ---- the real console script


@pytest.mark.parametrize(("dist", "status"), [("dist.png", 0), ("garbage.png", 1), ("missing.png", 2)])
def test_the_console_script_ends_with_the_status_that_help_promises(dist, status, pair, tmp_path):
    (tmp_path / "garbage.png").write_bytes(b"garbage " * 30)
    command = [*SCRIPT, "score", "ref.png", dist, "--out", "scores.json", *VIT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    if status < 2:  # a table of an earlier run must not pass for this one's
        assert len(json.loads((tmp_path / "scores.json").read_text())) == (status == 0)
    assert status < 2 or not (tmp_path / "scores.json").exists()
    if status:
        assert dist in done.stderr
        assert done.stdout == ""
    if status == 2:
        assert len(done.stderr.strip().splitlines()) == 1
