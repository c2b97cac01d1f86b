"""compare(): which images are paired and left out, what is measured, and what the tables say."""

from __future__ import annotations

import csv
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet
from torch import Tensor

import torchmetrics_fmiqa
from tests.method_images import NOISE, make_methods, save
from torchmetrics_fmiqa.benchmark.metrics.baselines import make_baseline
from torchmetrics_fmiqa.benchmark.metrics.metric import Metric
from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
from torchmetrics_fmiqa.benchmark.metrics.read_panel import read_panel
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading
from torchmetrics_fmiqa.comparison import Comparison, compare, score_methods
from torchmetrics_fmiqa.comparison.compare_methods import compare_images
from torchmetrics_fmiqa.comparison.findings import Findings
from torchmetrics_fmiqa.comparison.inputs import MethodImages, read_folders, read_method_table
from torchmetrics_fmiqa.comparison.mean_cells import mean_cells
from torchmetrics_fmiqa.comparison.picks import pick_images
from torchmetrics_fmiqa.comparison.scores import ComparedImage, MethodScores
from torchmetrics_fmiqa.comparison.sections import facts
from torchmetrics_fmiqa.comparison.tables import FILES, LEFT_OUT, latex, markdown, write_tables
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.statistics.paired import compare_paired


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_methods(tmp_path_factory.mktemp("images"))


@pytest.fixture
def own(tmp_path: Path, images: Path) -> Path:
    """A copy of the images that a test may change."""
    shutil.copytree(images, tmp_path / "own")
    return tmp_path / "own"


def folders(root: Path) -> dict[str, Path]:
    return {name: root / name for name in NOISE}


def psnr(preds: Tensor, target: Tensor) -> float:
    return -10 * float((preds - target).square().mean().log10())


def of_scores(values: np.ndarray, metrics: dict[str, bool], methods: tuple[str, ...] = ("a", "b", "c")) -> Comparison:
    """A comparison of made scores ``(methods, metrics, images)``; ``metrics`` says which are qualities."""
    paths = {name: Path(name) for name in methods}
    compared = tuple(ComparedImage(str(k), Path("ref"), paths, str(k)) for k in range(values.shape[2]))
    qualities = frozenset(name for name, quality in metrics.items() if quality)
    scores = MethodScores(methods, tuple(metrics), qualities, compared, values)
    return Comparison(scores, compare_paired(values, list(metrics.values())), values.shape[2])


# What is measured


def test_the_scores_are_those_of_each_pair_alone_and_the_answer_is_right(images: Path) -> None:
    found = compare(images / "ref", folders(images), ["psnr", "default", "ssim"])
    assert found.scores.metrics == ("psnr", "default", "ssim")  # as they were given
    assert found.scores.qualities == {"psnr", "ssim"}
    assert found.references == len(found.scores.images) == 8
    assert not found.left_out
    for k, name in enumerate(("psnr", "ssim")):
        metric = make_baseline(name)
        assert isinstance(metric, Metric)
        for row, method in enumerate(found.scores.methods):
            for place, image in enumerate(found.scores.images):
                pair = (read_image(path)[None] / 255 for path in (image.preds[method], image.target))
                assert found.scores.values[row, 2 * k, place] == pytest.approx(float(metric.score(*pair)), rel=1e-5)
    default = torchmetrics_fmiqa.FeatureDistance("default")
    image = found.scores.images[3]
    alone = default(*(read_image(path)[None] / 255 for path in (image.preds["strong"], image.target)))
    assert found.scores.values[2, 1, 3] == pytest.approx(float(alone), rel=1e-4)
    assert (
        found.answer.startswith("weak has the best mean on 8 images, by the metric psnr (mean ")
        or "same has the best" in found.answer
    )
    assert "tied with" in found.answer
    assert "is better than strong" in found.answer
    assert found.difference("weak", "strong").better == "weak"
    assert found.difference("strong", "weak", "ssim").better == "weak"
    assert found.difference("strong", "weak", "default").value > 0
    assert found.difference("strong", "weak", "default").won == 0
    assert found.difference("weak", "same").better is None
    assert torchmetrics_fmiqa.compare is compare


def test_sizes_may_differ_from_image_to_image(own: Path) -> None:
    for name in ("ref", *NOISE):
        for number, size in ((1, (40, 28)), (5, (20, 36))):
            path = own / name / f"image{number}.png"
            Image.open(path).resize(size).save(path)
    found = compare(own / "ref", folders(own), ["psnr"])
    target, preds = (read_image(own / name / "image5.png") / 255 for name in ("ref", "strong"))
    assert found.scores.values[2, 0, 5] == pytest.approx(psnr(preds, target), rel=1e-5)


def test_the_border_is_cut_for_every_metric(images: Path) -> None:
    found = compare(images / "ref", folders(images), ["psnr", "ssim"], crop_border=4)
    image = found.scores.images[0]
    target, preds = (read_image(path)[:, 4:-4, 4:-4] / 255 for path in (image.target, image.preds["weak"]))
    assert found.scores.values[0, 0, 0] == pytest.approx(
        -10 * np.log10(float((preds - target).square().mean())), rel=1e-5
    )
    assert found.crop_border == 4


def test_cropping_measures_all_methods_on_the_same_pixels(own: Path) -> None:
    for path in (own / "strong").iterdir():
        Image.open(path).crop((0, 0, 30, 29)).save(path)
    with pytest.raises(ValueError, match=r"sizes differ: '.*image0.png' \(strong\) is 29x30, its reference 32x32"):
        compare(own / "ref", folders(own), ["psnr"])
    found = compare(own / "ref", folders(own), ["psnr"], match="crop")
    image = found.scores.images[0]
    target, preds = (read_image(path)[:, :29, :30] / 255 for path in (image.target, image.preds["weak"]))
    assert found.scores.values[0, 0, 0] == pytest.approx(
        -10 * np.log10(float((preds - target).square().mean())), rel=1e-5
    )


def test_feature_metrics_run_the_references_once_for_all_methods(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caches = []
    score = Panel.score

    def watched(self: Panel, *arguments: Any, **options: Any) -> Any:
        caches.append(arguments[2])
        return score(self, *arguments, **options)

    monkeypatch.setattr(Panel, "score", watched)
    compare(images / "ref", folders(images), ["default"])
    assert len({id(cache) for cache in caches}) < len(caches)
    assert caches[0].report()["hit_rate"] == pytest.approx(2 / 3)


def test_as_many_images_are_held_however_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_methods, "_PIXELS", 4 * 32 * 32)
    make_methods(tmp_path, count=1)
    held = most = 0
    fit = Reading.fit

    def counted(self: Reading, image: Tensor) -> Tensor:
        nonlocal held, most
        fitted = fit(self, image).clone()
        held += 1
        most = max(most, held)
        weakref.finalize(fitted, let_go)
        return fitted

    def let_go() -> None:
        nonlocal held
        held -= 1

    monkeypatch.setattr(Reading, "fit", counted)
    one = read_folders(tmp_path / "ref", folders(tmp_path)).images[0]
    images = MethodImages(tuple(NOISE), (one,) * 60, 60)
    compare_images(images, read_panel(["psnr"]), Reading(), resamples=99)
    # A batch of 4, the next image, 4 read ahead and 2 being read, of 4 files each.
    assert 4 * 4 <= most <= 4 * (4 + 1 + 4 + 2)


# What is left out


def test_missing_extra_and_broken_images_are_named_by_method(own: Path) -> None:
    (own / "weak" / "image1.png").unlink()
    (own / "same" / "image2.png").write_bytes((own / "same" / "image2.png").read_bytes()[:700])
    save(np.zeros((32, 32, 3)), own / "strong" / "other.png")
    (own / "ref" / "image3.png").write_text("no image")
    found = compare(own / "ref", folders(own), ["psnr"])
    assert [(one.method, one.name, one.kind) for one in found.left_out] == [
        ("weak", "image1.png", "missing"),
        ("strong", "other.png", "extra"),
        ("", "image3", "broken"),
        ("same", "image2", "broken"),
    ]
    assert [image.name for image in found.scores.images] == ["image0", "image4", "image5", "image6", "image7"]
    assert found.references == 8
    assert "5 images that all methods have, of 8" in markdown(found)
    assert all(one.reason for one in found.left_out)


def test_names_may_have_suffixes_subfolders_and_other_endings(tmp_path: Path) -> None:
    make_methods(tmp_path, count=4, suffix="_x4")
    for name in ("ref", *NOISE):
        (tmp_path / name / "day").mkdir()
        for path in list((tmp_path / name).glob("image[01]*")):
            path.rename(tmp_path / name / "day" / path.name)
    Image.open(tmp_path / "weak" / "image2_x4.png").save(tmp_path / "weak" / "image2_x4.webp", lossless=True)
    (tmp_path / "weak" / "image2_x4.png").unlink()
    with pytest.raises(ValueError, match="give --suffix _x4"):
        read_folders(tmp_path / "ref", folders(tmp_path))
    found = read_folders(tmp_path / "ref", folders(tmp_path), dict.fromkeys(NOISE, "_x4"))
    assert [image.name for image in found.images] == ["day/image0", "day/image1", "image2", "image3"]
    assert found.images[2].preds["weak"].name == "image2_x4.webp"
    assert not found.left_out


def test_files_without_the_suffix_are_noted_not_counted(tmp_path: Path) -> None:
    make_methods(tmp_path, count=2, suffix="_x4")
    save(np.zeros((32, 32, 3)), tmp_path / "weak" / "image0_x2.png")
    found = read_folders(tmp_path / "ref", folders(tmp_path), dict.fromkeys(NOISE, "_x4"))
    assert not found.left_out
    assert any("image0_x2.png" in note for note in found.notes)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_gives_the_same_and_may_have_groups(images: Path, tmp_path: Path, ending: str) -> None:
    rows = [
        {"Ref": f"ref/image{k}.png", "Method": name, "Dist": f"{name}/image{k}.png", "Group": f"scene{k // 2}"}
        for k in range(8)
        for name in NOISE
        if (k, name) != (7, "same")
    ]
    table = tmp_path / f"pairs{ending}"
    if ending == ".csv":
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    found = compare(pairs=table, root=images, metrics=["psnr"])
    plain = compare(images / "ref", folders(images), ["psnr"])
    np.testing.assert_array_equal(found.scores.values, plain.scores.values[:, :, :7])
    assert found.grouped
    assert "drawn by 4 groups" in markdown(found)
    assert [image.group for image in found.scores.images] == [f"scene{k // 2}" for k in range(7)]
    assert [(one.method, one.name, one.kind) for one in found.left_out] == [("same", "ref/image7.png", "missing")]
    same = compare_paired(found.scores.values, [True], [image.group for image in found.scores.images])
    np.testing.assert_array_equal(found.statistics.low, same.low)
    assert (found.statistics.low != compare_paired(found.scores.values, [True]).low).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ref,dist\na,b\n", "has no column `method`"),
        ("ref,method,dist\n", "has no rows"),
        ("ref,method,dist\na,m,b\na,m,c\n", "line 3 of .*: 'm' has two images for 'a'"),
        ("ref,method,dist\na,,b\n", "line 2 of .* lacks `method`"),
        ("ref,method,dist,group\na,m,b,1\na,n,b,2\n", "'a' is in two groups, '1' and '2'"),
        ("ref,method,dist,group\na,m,b,1\na,n,b,\n", "line 3 of .* lacks `group`"),
        ("ref,method,dist,group\na,m,b,1\na,n,b,1\n", "has one group for all references"),
        ("ref,method,dist\na,m,b\n", "at least two methods to compare, got m"),
        ("ref,method,dist\na,m,b\nc,n,d\n", "no reference has an image of every method; m: c has no row"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_method_table(table)


def test_a_table_may_count_from_zero_and_name_a_file_in_two_ways(tmp_path: Path) -> None:
    rows = [
        {"ref": f"{'./' * method}{k}.png", "method": method, "dist": f"{method}/{k}.png", "group": k}
        for k in range(3)
        for method in range(2)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    found = read_method_table(tmp_path / "pairs.parquet")
    assert found.methods == ("0", "1")
    assert [(image.name, image.group) for image in found.images] == [("0.png", "0"), ("1.png", "1"), ("2.png", "2")]


def test_arguments_that_do_not_fit_are_refused(images: Path, tmp_path: Path) -> None:
    weak, strong = images / "weak", images / "strong"
    for arguments, message in (
        ({"references": images, "methods": {}, "metrics": "psnr"}, "`metrics` must be a list of names"),
        ({}, "give `references` and `methods`, or `pairs`"),
        ({"references": images, "methods": [weak, strong]}, "`methods` must say the folder of each name"),
        ({"references": images, "methods": {1: weak, 2: strong}}, "the name of a method must be a text, got 1"),
        ({"references": images, "methods": {"a": weak, "b": strong}, "match": "fit"}, "`match` must be 'crop'"),
        (
            {"references": images / "ref", "methods": {"a": weak, "b": strong}, "metrics": ["psnr"], "resamples": 0},
            "`resamples` must be at least 1",
        ),
        ({"references": images}, "give `references` and `methods`, or `pairs`"),
        ({"pairs": "a.csv", "suffixes": {"a": "_x4"}}, "leave out `references`, `methods` and `suffixes`"),
        (
            {"references": images, "methods": {"a": weak, "b": strong}, "root": "x"},
            "`root` is for the paths of a table",
        ),
        ({"references": images / "ref", "methods": {"a": weak, "b": weak}}, "a and b are one folder"),
        ({"references": weak, "methods": {"a": weak, "b": strong}}, "the references and a are one folder"),
        ({"references": images / "ref", "methods": {"a": weak}}, "at least two methods to compare, got a"),
        (
            {"references": images / "ref", "methods": {"a": weak, "b": strong}, "suffixes": {"c": "_"}},
            "a suffix is given for 'c', which is no method: a, b",
        ),
        ({"references": images / "ref", "methods": {"a": weak, "b": tmp_path}}, "there are no images in"),
        ({"references": images / "ref", "methods": {"a": weak, "b": tmp_path / "no"}}, "there is no folder"),
        ({"references": images / "ref", "methods": {"a": weak, "b": strong}, "metrics": ["psmr"]}, "no metric 'psmr'"),
    ):
        with pytest.raises(ValueError, match=message):
            compare(**arguments)


def test_a_border_that_leaves_nothing_is_every_images_error(images: Path) -> None:
    with pytest.raises(ValueError, match="no image could be scored: image7: `crop_border` 20 leaves nothing"):
        compare(images / "ref", folders(images), ["psnr"], crop_border=20)


# What is said


def test_the_answer_tells_better_from_tied_and_who_says_otherwise() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(30, 3, size=(1, 2, 30)) + 0.3 * rng.normal(size=(3, 2, 30))
    better = base.copy()
    better[0, 0] += 2
    better[1, 1] -= 2
    found = of_scores(better, {"psnr": True, "lpips": False})
    assert found.answer.startswith("a is better than b and c on 30 images, by the metric psnr (mean ")
    assert found.answer.endswith(", higher is better); lpips says otherwise.")
    assert ["".join(one) for one in found.disagreements] == ["a is better than b by psnr, and worse by lpips."]
    tied = of_scores(base, {"psnr": True, "lpips": False})
    assert tied.answer.count(" and ") == 1
    assert " are tied on 30 images, by the metric psnr: no difference from the best mean is settled." in tied.answer
    assert str(tied.difference("a", "b")).startswith("a and b are tied by the metric psnr: a minus b is ")
    assert str(found.difference("b", "a")).startswith("a is better than b by the metric psnr: b minus a is −2.0")
    with pytest.raises(ValueError, match="no method 'd' in this comparison: a, b, c"):
        found.difference("a", "d")
    with pytest.raises(ValueError, match="no metric 'ssim' in this comparison"):
        found.difference("a", "b", "ssim")


def test_a_metric_that_takes_no_image_has_no_answer(images: Path) -> None:
    found = compare(images / "ref", folders(images), ["ms_ssim", "psnr"])  # 32 pixels are too few for MS-SSIM
    assert found.answer == "ms_ssim has no score of these images by all methods: no answer."
    assert mean_cells(found.scores, found.statistics)[0][0].mean == "—"
    assert "`ms_ssim` has a score by all methods of 0 of the 8 images." in markdown(found)
    assert found.difference("weak", "strong", "psnr").better == "weak"


def test_one_image_settles_nothing_and_is_no_tie() -> None:
    found = of_scores(np.array([[[30.0]], [[28.0]], [[20.0]]]), {"psnr": True})
    assert found.answer == (
        "a has the best mean on 1 image, by the metric psnr (mean 30.00, higher is better), but one image or one group "
        "settles nothing."
    )
    assert "tied" not in str(found.difference("a", "b"))
    assert not any(cell.tied for row in mean_cells(found.scores, found.statistics) for cell in row)
    assert [row["tied_with_best"] for row in found.rows()] == [True, False, False]  # the best itself
    assert "| not known |" in markdown(found)


def test_a_metric_without_scores_prints_no_numbers() -> None:
    found = of_scores(np.full((2, 1, 4), np.nan), {"ms_ssim": True}, ("a", "b"))
    assert str(found.difference("a", "b")) == "a and b have no image with a score of both by the metric ms_ssim"
    assert "nan" not in markdown(found) + latex(found)
    assert [row["rank"] for row in found.rows()] == [None, None]


def test_equal_methods_are_said_to_be_equal() -> None:
    found = of_scores(np.arange(12.0).reshape(1, 1, 12).repeat(2, 0), {"psnr": True}, ("a", "b"))
    assert str(found.difference("a", "b")) == "a and b are tied by the metric psnr: they are equal on every image"
    assert {pick.kind for pick in pick_images(found.scores)} == {"a does worst", "b does worst", "At random"}
    shown = "".join("".join(words) for _, words in facts(Findings(found)))
    assert "equal on 100.0\u00a0% of the images" in shown


def test_marks_are_best_second_and_tied() -> None:
    values = np.random.default_rng(1).normal(0.5, 0.1, size=(1, 1, 40)) + np.array([0.2, 0.0, 0.0])[:, None, None]
    values = values + 0.01 * np.random.default_rng(2).normal(size=(3, 1, 40))
    found = of_scores(values, {"d": False})
    cells = [row[0] for row in mean_cells(found.scores, found.statistics)]
    assert cells[0].place == 0
    assert sorted(cell.place for cell in cells) == [0, 1, 2]
    assert [cell.tied for cell in cells] == [False, *(cell.place == 2 for cell in cells[1:])]


def test_tables_hold_the_numbers_and_their_marks(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(25, 3, size=(1, 2, 40)) + np.array([2.0, 1.0, 1.0])[:, None, None]
    values = values + 0.1 * np.random.default_rng(2).normal(size=(3, 2, 40))
    values[:, 1] /= 100
    found = of_scores(values, {"psnr_y": True, "lpips|x": False}, ("our_s", "b*", "c"))
    write_tables(found, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    text = (tmp_path / "table.md").read_text()
    assert text.startswith("our\\_s" if "our\\_s" in text else "our_s")
    assert f"**{found.statistics.mean[0, 0]:.2f}**" in text
    assert "lpips\\|x ↓" in text
    assert "b\\*" in text
    tex = (tmp_path / "table.tex").read_text()
    assert rf"our\_s & \textbf{{{found.statistics.mean[0, 0]:.2f}}}" in tex
    assert r"psnr\_y $\uparrow$" in tex
    assert r"\underline{" in tex
    assert r"$^{\approx}$" in tex
    assert f"{found.statistics.mean[0, 1]:.4f}" in tex  # with its leading zero
    rows = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert [float(row["mean"]) for row in rows] == found.statistics.mean.T.ravel().tolist()
    assert found.table().column("mean").to_pylist() == found.statistics.mean.T.ravel().tolist()
    gaps = list(csv.DictReader((tmp_path / "differences.csv").open()))
    assert [row["better"] for row in gaps if row["metric"] == "psnr_y"] == ["our_s", "our_s", "tied"]
    scores = parquet.read_table(tmp_path / "scores.parquet")
    assert scores.column("psnr_y").to_pylist() == values[:, 0].ravel().tolist()
    assert scores.column("method").to_pylist()[::40] == ["our_s", "b*", "c"]
    assert "—" not in latex(found)


def test_left_out_images_have_a_table_that_goes_when_all_are_there(own: Path, tmp_path: Path) -> None:
    (own / "weak" / "image1.png").unlink()
    write_tables(compare(own / "ref", folders(own), ["psnr"]), tmp_path)
    rows = list(csv.DictReader((tmp_path / LEFT_OUT).open()))
    assert [(row["method"], row["name"], row["kind"]) for row in rows] == [("weak", "image1.png", "missing")]
    (own / "ref" / "image1.png").unlink()
    for name in ("same", "strong"):
        (own / name / "image1.png").unlink()
    write_tables(compare(own / "ref", folders(own), ["psnr"]), tmp_path)
    assert not (tmp_path / LEFT_OUT).exists()


def test_a_notebook_shows_answer_and_table() -> None:
    values = np.random.default_rng(0).normal(30, 1, size=(2, 1, 10))
    found = of_scores(values, {"psnr": True}, ("<b>", "b"))
    page = found._repr_html_()
    assert "<p>" in page
    assert "&lt;b&gt;" in page
    assert "<b>30" in page or "<b>29" in page
    assert repr(found) == f"<Comparison: {found.answer}>"
    assert found.plot_plane is not None
