"""`fmiqa fuse`: heads on tables of scores, the folder, refusals, and published scores."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from tests.conftest import ASSETS, needs
from tests.test_benchmark_scores import refusal
from tests.test_cli import fmiqa
from torchmetrics_fmiqa.fitting.config import HeadTraining
from torchmetrics_fmiqa.fitting.cross_validation import CrossValidation, check_sets, cross_validate, fit_head
from torchmetrics_fmiqa.fitting.dataset import MeasuredSet
from torchmetrics_fmiqa.fitting.heads import TableSpec
from torchmetrics_fmiqa.fitting.splits import grouped_folds
from torchmetrics_fmiqa.spips_model.checkpoint import load_head

NAMES = ["blur", "noise", "psnr"]

SEMANTIC = (
    "embed_dinov1_cos,embed_dinov2_cos,embed_clip_vitb32_cos,embed_clip_rn50_cos,"
    "embed_openclip_convnext_base_cos,embed_openclip_vitb32_laion_tecoa4_cos"
)
LOW_LEVEL = (
    "dinov1_l2,dinov1_cos,clip_vitb32_l2,clip_vitb32_cos,dinov2_cos,clip_rn50_cos,"
    "openclip_convnext_base_cos,imagenet_vit_cos,deep_wsd_vgg,deep_wsd_eff"
)
CONVENTIONAL = "psnr,msssim,fsim"


def made_up(n: int = 300, references: int = 15, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs ``(n, 3)``, a DMOS that is the larger of the first two, and references."""
    rng = np.random.default_rng(seed)
    blur, noise = rng.exponential(size=(2, n))
    dmos = np.maximum(blur, noise) + 0.05 * rng.normal(size=n)
    psnr = 30 - 3 * (blur + noise) + rng.normal(size=n)
    return np.stack([blur, noise, psnr], axis=1), 10 + 20 * dmos, np.arange(n) % references


def write(path: Path, **changed: object) -> Path:
    inputs, dmos, reference = made_up()
    columns: dict[str, object] = {
        "ref": [f"r{one:02}" for one in reference],
        "dist": [f"d{one}.png" for one in range(len(dmos))],
        "dmos": dmos,
        **dict(zip(NAMES, inputs.T, strict=True)),
        **changed,
    }
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# The functions


def as_set(inputs: np.ndarray, opinion: np.ndarray, reference: np.ndarray) -> MeasuredSet:
    images = np.arange(len(opinion)).astype(str)
    return MeasuredSet("table", "opinion", (torch.from_numpy(inputs),), opinion, reference, images, False)


def test_hidden_layers_learn_what_a_weighted_sum_cannot() -> None:
    inputs, dmos, reference = made_up(600)

    def mean_srcc(found: CrossValidation) -> float:
        own = found.predictions["table"]
        folds = [own.fold == fold for fold in range(3)]
        return np.mean([stats.spearmanr(own.opinion[rows], dmos[rows]).statistic for rows in folds])

    network, linear = (
        cross_validate(
            [as_set(inputs, dmos, reference)], TableSpec(tuple(NAMES), HeadTraining(linear=linear, epochs=40)), 3
        )
        for linear in (False, True)
    )
    best = max(abs(stats.spearmanr(column, dmos).statistic) for column in inputs.T)
    assert mean_srcc(network) > mean_srcc(linear) + 0.02 > best
    assert all(fitted.head.linear for fitted in linear.fits)


def test_an_anchored_head_is_trained_too() -> None:
    inputs, opinion, reference = made_up()
    spec = TableSpec(tuple(NAMES[:2]), HeadTraining(hidden=(16,), epochs=30), anchored=True)
    fitted = fit_head([as_set(inputs[:, :2], opinion, reference)], spec)
    none = fitted.head(torch.zeros(1, 2))
    assert none.item() == 0
    assert fitted.head.quality(none).item() == 100
    scores = fitted.head(torch.from_numpy(inputs[:, :2]).float())
    assert stats.spearmanr(scores, opinion).statistic > 0.95


def test_columns_that_do_not_fit_are_refused() -> None:
    data = as_set(*made_up())
    with pytest.raises(ValueError, match="wanted 2 columns, one for each name"):
        check_sets([data], TableSpec(("blur", "noise")))
    data.measured[0][7, 1] = torch.nan
    with pytest.raises(ValueError, match="table: 'noise' is nan for '7', and not finite for 1 of 300"):
        check_sets([data], TableSpec(tuple(NAMES)))


# The command

ARGUMENTS = ("--features", ",".join(NAMES), "--opinion", "dmos", "--epochs", "25", "--hidden", "8", "--resamples", "50")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("fit")
    table = write(folder / "scores.csv")
    fmiqa("fuse", "--scores", table, "--out", folder / "out", *ARGUMENTS, "--folds", "3")
    return table, folder / "out"


def test_the_folder_agrees_with_scipy(made: tuple[Path, Path]) -> None:
    table, out = made
    assert {path.name for path in out.iterdir()} == {
        *("agreement.csv", "predictions.csv", "head.safetensors", "report.md", "inputs.json")
    }
    given, predictions = read(table), read(out / "predictions.csv")
    assert list(predictions[0]) == ["ref", "dist", "fold", "opinion", "prediction"]
    assert [(row["ref"], row["dist"], row["dmos"]) for row in given] == [
        (row["ref"], row["dist"], row["opinion"]) for row in predictions
    ]
    folds = {row["ref"]: {other["fold"] for other in predictions if other["ref"] == row["ref"]} for row in predictions}
    assert all(len(own) == 1 for own in folds.values())
    opinion, fold = (np.array([float(row[name]) for row in predictions]) for name in ("opinion", "fold"))
    columns = {"fused": np.array([float(row["prediction"]) for row in predictions])}
    columns |= {name: np.array([float(row[name]) for row in given]) for name in NAMES}
    agreement = read(out / "agreement.csv")
    assert list(agreement[0])[:6] == ["metric", "srcc", "krcc", "plcc", "plcc_raw", "rmse"]
    assert agreement[0]["metric"] == "fused"
    assert {row["metric"] for row in agreement} == set(columns)
    for row in agreement:
        values = columns[row["metric"]] * (-1 if row["metric"] == "psnr" else 1)
        assert float(row["srcc"]) == pytest.approx(stats.spearmanr(values, opinion).statistic, abs=1e-12)
        assert float(row["plcc_raw"]) == pytest.approx(stats.pearsonr(values, opinion).statistic, abs=1e-9)
        own = [stats.spearmanr(values[fold == one], opinion[fold == one]).statistic for one in range(3)]
        assert [float(row[f"srcc_fold_{one}"]) for one in range(3)] == pytest.approx(own, abs=1e-12)
        assert float(row["srcc_fold_mean"]) == pytest.approx(np.mean(own), abs=1e-12)
    fused, *features = agreement
    assert all(float(fused["srcc"]) > float(row["srcc"]) for row in features)
    assert all(float(row["fused_ahead_low"]) < float(row["fused_ahead_high"]) for row in features)


def test_the_head_in_the_folder_has_seen_all_and_scores_by_name(made: tuple[Path, Path]) -> None:
    table, out = made
    head = load_head(out / "head.safetensors", NAMES, "a table of scores")
    rows = read(table)
    values = {name: torch.tensor([float(row[name]) for row in rows]) for name in reversed(NAMES)}
    dmos = np.array([float(row["dmos"]) for row in rows])
    assert stats.spearmanr(head(head.gather(values)), dmos).statistic > 0.95
    assert head.scale.mean == pytest.approx(dmos.mean())
    assert not head.scale.higher_is_better


def test_the_report_says_what_was_found(made: tuple[Path, Path]) -> None:
    report = (made[1] / "report.md").read_text()
    fused = read(made[1] / "agreement.csv")[0]
    assert f"**{float(fused['srcc_fold_mean']):.4f}**".replace("0.", ".", 1) in report
    assert "mean over 3 folds" in report
    assert "300 images of 15 references" in report
    assert "Directions: a higher opinion is taken for worse: 2 of 3 features say so" in report
    assert "taken for qualities, as they run the other way: psnr" in report


def test_the_same_again_changes_nothing_and_other_inputs_are_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    table, out = made
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    fmiqa("fuse", "--scores", table, "--out", out, *ARGUMENTS, "--folds", "3")
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}
    common = ("fuse", "--out", out, *ARGUMENTS)
    assert "seed" in refusal(*common, "--scores", table, "--folds", "3", "--seed", "1")
    assert "folds" in refusal(*common, "--scores", table, "--folds", "4")
    assert "opinion_is" in refusal(*common, "--scores", table, "--folds", "3", "--opinion-is", "worse")
    other = write(tmp_path / "scores.csv", noise=np.arange(300.0))
    assert "scores" in refusal(*common, "--scores", other, "--folds", "3")
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}


def test_a_score_that_runs_against_people_is_not_turned_round(tmp_path: Path) -> None:
    # Opinions of one fold are turned, so that what is learned on the other is wrong: the fused score may not be taken
    # for a quality because it runs against people.
    _, dmos, reference = made_up()
    table = write(tmp_path / "scores.csv", dmos=np.where(grouped_folds(reference, 2) == 0, dmos, 150 - dmos))
    said = ("--higher-is-better", "psnr", "--opinion-is", "worse")
    fmiqa("fuse", "--scores", table, "--out", tmp_path / "out", *ARGUMENTS, "--folds", "2", *said)
    assert "Directions: a higher opinion is worse, as was said." in (tmp_path / "out" / "report.md").read_text()
    assert json.loads((tmp_path / "out" / "inputs.json").read_text())["higher_is_better"] == ["psnr"]
    fused = read(tmp_path / "out" / "agreement.csv")[0]
    predictions = read(tmp_path / "out" / "predictions.csv")
    own = stats.spearmanr(*([float(row[name]) for row in predictions] for name in ("prediction", "opinion"))).statistic
    assert own < 0
    assert float(fused["srcc"]) == pytest.approx(own, abs=1e-12)


@pytest.mark.parametrize(
    ("changed", "arguments", "message"),
    [
        ({"noise": [*[0.5] * 7, "", *[0.6] * 292]}, [], "'noise' is nan for 'd7.png'"),
        ({"noise": [*[0.5] * 7, "inf", *[0.6] * 292]}, [], "'noise' is inf for 'd7.png'"),
        ({"noise": [0.5] * 300}, [], "'noise' is constant"),
        ({"noise": ["much"] * 300}, [], "no column of scores 'noise'"),
        ({"ref": ["r"] * 300}, [], "one reference, 'r'"),
        ({"ref": ["r", "s", "t"] * 100}, [], "3 references for 5 folds"),
        ({"dmos": [3.0] * 300}, [], "`opinion` must differ"),
        ({"dmos": [*[3.0] * 299, ""]}, [], "'dmos' of row 301"),
        ({}, ["--features", "lpips"], "no column of scores 'lpips'"),
        ({}, ["--features", "noise"], "'noise' twice"),
        ({}, ["--features", "dmos"], "'dmos', the opinion"),
        ({}, ["--features", "ref"], "'ref', the group"),
        ({}, ["--features", "fused"], "'fused', the name"),
        ({}, ["--group", "scene"], "no column 'scene' for the reference"),
        ({}, ["--opinion", "mos"], "no column 'mos' for the opinion"),
        ({}, ["--folds", "1"], "`folds` must be at least 2"),
        ({}, ["--hidden", "8,many"], "8,many"),
        ({}, ["--linear"], "`--linear`"),
        ({}, ["--opinion-is", "good"], "'good'"),
        ({}, ["--higher-is-better", "ssim"], "'ssim', which is no feature"),
    ],
)
def test_bad_input_is_an_error_before_any_work(
    tmp_path: Path, changed: dict[str, object], arguments: list[str], message: str
) -> None:
    table = write(tmp_path / "scores.csv", **changed)
    assert message in refusal("fuse", "--scores", table, "--out", tmp_path / "out", *ARGUMENTS, *arguments)
    assert not (tmp_path / "out").exists()


def test_one_feature_is_nothing_to_fuse(tmp_path: Path) -> None:
    table = write(tmp_path / "scores.csv")
    arguments = ("--scores", table, "--out", tmp_path / "out", "--features", "psnr", "--opinion", "dmos")
    assert "at least two" in refusal("fuse", *arguments)


# Published scores: numbers that were reached, with room for another machine's rounding


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "epochs", "least", "best"), [("tid2013", "20", 0.9, "fsim"), ("live", "60", 0.965, "clip_vitb32_l2")]
)
def test_fusion_of_published_scores(tmp_path: Path, name: str, epochs: str, least: float, best: str) -> None:
    table = needs(ASSETS / "published" / f"zsiqa_{name}.csv.gz")
    features = ",".join((SEMANTIC, LOW_LEVEL, CONVENTIONAL))
    arguments = ("--features", features, "--opinion", "mos", "--resamples", "50", "--epochs", epochs, "--folds", "3")
    fmiqa("fuse", "--scores", table, "--out", tmp_path / "out", *arguments)
    fused, *single = read(tmp_path / "out" / "agreement.csv")
    assert float(fused["srcc_fold_mean"]) >= least
    assert single[0]["metric"] == best
    assert all(row["fused_beats"] == "1" for row in single)
    assert float(fused["srcc"]) > float(single[0]["srcc"])
