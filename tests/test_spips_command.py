"""SPIPS wherever pairs are measured by name: in the panel of a benchmark, its command, and `fmiqa score`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pyarrow import parquet

from tests.conftest import make_pair
from tests.test_benchmark_scores import refusal
from tests.test_benchmark_scoring import MSE, dataset, run_to_end
from tests.test_cli import fmiqa, picture, save
from torchmetrics_fmiqa import FeatureComparator, Recipe, SpipsRecipe, feature_distance, spips
from torchmetrics_fmiqa.benchmark.distortions import parse_changes
from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
from torchmetrics_fmiqa.benchmark.metrics.spec import SpipsSpec, parse_metrics
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import ScoreOptions, ScoreRun
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.data.rated_csv import read_rated_csv
from torchmetrics_fmiqa.features.weights import WeightsUnavailableError
from torchmetrics_fmiqa.spips_model.checkpoint import save_head, save_spips
from torchmetrics_fmiqa.spips_model.fusion_head import FusionHead, OpinionScale
from torchmetrics_fmiqa.spips_model.model import SpipsHead
from torchmetrics_fmiqa.spips_model.recipe import plain_recipe

BASELINES = ("psnr", "ssim")
VIT = plain_recipe("vit-tiny", weights="random:0", taps=[0, 1, 2, 3], tile=32)
FIELDS = {"recipe": "vit-tiny", "weights": "random:0", "taps": [0, 1, 2, 3], "tile": 32}
NAME = "spips:recipe=vit-tiny:weights=random:0:taps=[0,1,2,3]:tile=32"
LABEL = "spips:recipe=vit-tiny:weights=random:0:taps=[0 1 2 3]:tile=32"


def make_head(
    path: Path, recipe: SpipsRecipe | None = None, seed: int = 0, opinions: bool = False, parts: Any = None
) -> Path:
    """A head that nobody trained, with the sizes of real inputs."""
    recipe = recipe or SpipsRecipe(VIT)
    options = {} if parts is None else {"parts": parts}
    head = SpipsHead(recipe.low_level, recipe.semantic, 192, seed=seed, made_for=recipe.digest, **options)
    sides = [make_pair(2, 48, 48, seed=level, noise=0.05 * level) for level in range(1, 5)]
    preds, target = (torch.cat(side) for side in zip(*sides, strict=True))
    measured = FeatureComparator(recipe.statistics_request)(preds, target)[0]
    head.fit_inputs(measured)
    if opinions:  # a gentle curve, so that no quality is rounded to 0 or 100
        head.fusion.curve.copy_(torch.tensor([0.7, 0.2]))
        head.fusion.scale = OpinionScale(mean=3.0, std=1.0, worst=1.0, best=5.0, higher_is_better=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_spips(head, path, recipe)
    return path


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_head(tmp_path_factory.mktemp("heads") / "mine" / "head.safetensors")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head that was fitted to opinions."""
    return make_head(tmp_path_factory.mktemp("heads") / "judged.safetensors", opinions=True)


# names


def test_a_name_is_the_default_recipe_with_fixed_weights() -> None:
    assert parse_metrics(["spips"], BASELINES) == {"spips": SpipsSpec(plain_recipe())}


def test_fields_of_a_name_are_of_spips_or_of_the_recipe(head: Path) -> None:
    name = f"{NAME}:head={head}:low_level=[0,1]:semantic=[2, 3]:parts=[low_level, semantic]:distance=l2"
    ((label, asked),) = parse_metrics([name], BASELINES).items()
    assert label == f"{LABEL}:head=mine:low_level=[0 1]:semantic=[2 3]:parts=[low_level semantic]:distance=l2"
    assert asked == SpipsSpec(VIT.replace(distance="l2"), str(head), (0, 1), (2, 3), ("semantic", "low_level"))
    assert parse_metrics([f"{NAME}:parts=semantic"], BASELINES)[f"{LABEL}:parts=semantic"].parts == ("semantic",)


def test_paths_are_nobodys_name_but_heads_are_told_apart(tmp_path: Path) -> None:
    recipe = tmp_path / "own.yaml"
    recipe.write_text("recipe: vit-tiny\nweights: random:1\n")
    weights = tmp_path / "w.safetensors"
    heads = [tmp_path / "one" / "head.safetensors", tmp_path / "two" / "head.safetensors", tmp_path / "b.safetensors"]
    for path in (weights, *heads):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    names = [f"spips:recipe={recipe}:weights={weights}", *(f"spips:head={path}" for path in heads)]
    found = parse_metrics(names, BASELINES)
    assert list(found) == ["spips:recipe=own", "spips:head=one", "spips:head=two", "spips:head=b"]
    assert found["spips:recipe=own"].recipe.weights == str(weights)
    with pytest.raises(ValueError, match=r"given twice; a \.yaml file"):
        parse_metrics([f"spips:head={heads[0]}", f"spips:head={heads[0]}"], BASELINES)


def test_files_name_spips_beside_recipes_and_paths_count_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    for name in ("w.safetensors", "head.safetensors"):
        (folder / name).write_bytes(b"x")
    (folder / "base.yaml").write_text("recipe: vit-tiny\ndistance: l2\n")
    entries = {
        "plain": {"recipe": "vit-tiny", "weights": "w.safetensors"},
        "trained": {"metric": "spips", "recipe": "base.yaml", "weights": "w.safetensors", "head": "head.safetensors"},
        "early": {"metric": "spips", "low_level": [0], "semantic": [1], "parts": ["semantic"]},
    }
    (folder / "set.yaml").write_text(yaml.safe_dump(entries, sort_keys=False))
    (folder / "alone.yaml").write_text("metric: spips\nrecipe: vit-tiny\nhead: head.safetensors\n")
    monkeypatch.chdir(tmp_path)
    found = parse_metrics(["metrics/set.yaml", "metrics/alone.yaml"], BASELINES)
    assert list(found) == ["plain", "trained", "early", "alone"]
    assert isinstance(found["plain"], Recipe)
    assert found["trained"].recipe.distance == "l2"
    assert Path(found["trained"].recipe.weights) == folder / "w.safetensors"
    assert Path(found["trained"].head) == Path(found["alone"].head) == folder / "head.safetensors"
    assert found["early"] == SpipsSpec(plain_recipe(), None, (0,), (1,), ("semantic",))


def test_fields_beside_a_file_are_for_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "set.yaml"
    path.write_text("a: {recipe: vit-tiny}\nb: {metric: spips, recipe: vit-tiny, parts: [semantic]}\n")
    found = parse_metrics([f"{path}:weights=random:3"], BASELINES)
    assert found["a"].weights == found["b"].recipe.weights == "random:3"
    assert found["b"].parts == ("semantic",)
    path.write_text("a: {metric: spips, parts: [semantic]}\n")
    assert parse_metrics([f"{path}:parts=[low_level]"], BASELINES)["a"].parts == ("low_level",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spip", "close: spips"),
        ("spips:hed=x.safetensors", "did you mean `head`"),
        ("spips:tokens=all", "spips has no field `tokens`"),
        ("spips:tap_weights={0: 1}", "spips has no field `tap_weights`"),
        ("spips:recipe=vit-tny", "close: vit-tiny"),
        ("spips:recipe=3", "`recipe` must be the name of a recipe or a YAML file, got 3"),
        ("spips:recipe=nowhere.yaml", "no recipe file 'nowhere.yaml'"),
        ("spips:head=nowhere.safetensors", "no head 'nowhere.safetensors'.*fmiqa fit"),
        ("spips:head=3", "no head 3"),
        ("spips:low_level=0", r"`low_level` must be a list .* got 0"),
        ("spips:semantic=all", r"`semantic` must be a list .* got 'all'"),
        ("spips:parts=[semantics]", r"`parts` must be one or more of semantic, low_level, conventional.*semantics"),
        ("spips:parts=[]", "`parts` must be one or more"),
        ("spips:distance=l2:distance=cosine", "gives 'distance' twice"),
    ],
)
def test_wrong_names_are_errors(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_metrics([name], BASELINES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {metric: spip}", "'a' in .*`metric` is spips, or left out for a recipe; got 'spip'"),
        ("metric: psnr", "'set' in .*`metric` is spips"),
        ("a: {metric: spips, hed: x}", "'a' in .*did you mean `head`"),
        ("a: {recipe: vit-tiny, head: x}", "'a' in .*a recipe has no field `head`"),
        ("a: {metric: spips, head: nowhere.safetensors}", "'a' in .*no head"),
    ],
)
def test_wrong_entries_of_a_file_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "set.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        parse_metrics([str(path)], BASELINES)


# panel


def panel(head: Path) -> Panel:
    features = {
        "vit": VIT,
        "fixed": SpipsSpec(VIT),
        "split": SpipsSpec(VIT, None, (0,), (3, 2), ("semantic", "low_level")),
        "trained": SpipsSpec(VIT, str(head)),
    }
    return Panel(features, [MSE])


def expected(preds: torch.Tensor, target: torch.Tensor, head: Path) -> dict[str, torch.Tensor]:
    split: Any = {"low_level": [0], "semantic": [3, 2], "parts": ("semantic", "low_level")}
    return {
        "vit": feature_distance(preds, target, VIT, reduction="none"),
        "fixed": spips(preds, target, VIT, reduction="none"),
        "split": spips(preds, target, VIT, reduction="none", **split),
        "trained": spips(preds, target, VIT, head, reduction="none"),
    }


def test_a_panel_gives_the_numbers_of_each_door_with_one_forward_pass(head: Path, forwarded: list[int]) -> None:
    preds, target = make_pair(2, 48, 64)
    found = panel(head).score(preds, target)
    assert forwarded == [16]  # 2 pairs of 2 x 2 tiles, once for all four
    alone = expected(preds, target, head)
    assert len({tuple(values.tolist()) for values in alone.values()}) == 4
    for name, values in alone.items():
        assert found[name].shape == (2,)
        torch.testing.assert_close(found[name], values, rtol=1e-5, atol=1e-7)
    equal = panel(head).score(target, target)
    assert all(float(equal[name].abs().max()) == 0 for name in alone)


def test_another_trunk_has_a_forward_pass_of_its_own(forwarded: list[int]) -> None:
    other = VIT.replace(weights="random:1")
    preds, target = make_pair(1, 32, 32)
    found = Panel({"vit": VIT, "other": SpipsSpec(other), "same": SpipsSpec(VIT)}).score(preds, target)
    assert len(forwarded) == 2
    torch.testing.assert_close(found["other"], spips(preds, target, other, reduction="none"))
    torch.testing.assert_close(found["same"], spips(preds, target, VIT, reduction="none"))


def test_only_recipes_have_taps_and_maps(head: Path) -> None:
    made = panel(head)
    assert made.taps == {"vit": ("blocks.0", "blocks.1", "blocks.2", "blocks.3")}
    assert made.columns[:5] == ("vit", "fixed", "split", "trained", "mse") == made.names
    assert all(column.startswith("vit@") for column in made.columns[5:])
    assert set(made.score(*make_pair(1, 32, 32))) == set(made.columns)
    assert made.comparator("trained") is made.comparator("mse") is None
    assert made.comparator("vit").has_maps
    assert made.qualities == ()


def test_measures_equal_their_columns_and_have_gradients(head: Path) -> None:
    made = panel(head)
    preds, target = make_pair(2, 32, 32)
    found = made.score(preds, target)
    measures = {one.name: one for one in made.metrics()}
    assert list(measures) == list(made.names)
    for name, measure in measures.items():
        assert measure.identity == made.identities[name]
        moved = preds.clone().requires_grad_()
        score = measure.score(moved, target)
        torch.testing.assert_close(score.detach(), found[name], rtol=1e-5, atol=1e-7)
        (gradient,) = torch.autograd.grad(score.sum(), moved)
        assert gradient.isfinite().all()
        assert gradient.any()
    assert measures["trained"].parameters == measures["vit"].parameters > 5


def test_identities_change_with_what_the_numbers_depend_on_and_with_nothing_else(head: Path, tmp_path: Path) -> None:
    def identity(asked: SpipsSpec, precision: Any = "float32") -> str:
        return Panel({"any name": asked}, precision=precision).identities["any name"]

    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes(head.read_bytes())
    same = identity(SpipsSpec(VIT, str(head)))
    assert same == identity(SpipsSpec(VIT, str(moved)))
    other = make_head(tmp_path / "other.safetensors", seed=1)
    distinct = [
        same,
        identity(SpipsSpec(VIT, str(head)), "float64"),
        identity(SpipsSpec(VIT, str(other))),
        identity(SpipsSpec(VIT)),
        identity(SpipsSpec(VIT, parts=("semantic",))),
        identity(SpipsSpec(VIT, low_level=(0,))),
        identity(SpipsSpec(VIT.replace(distance="l2"))),
    ]
    assert len(set(distinct)) == len(distinct)


def test_what_cannot_be_downloaded_is_left_out_with_its_whole_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchmetrics_fmiqa.spips_model import recipe as module

    whole = module.load_network

    def unavailable(backbone: Any, weights: str) -> Any:
        if weights == "pretrained":
            raise WeightsUnavailableError("no network")
        return whole(backbone, weights)

    monkeypatch.setattr(module, "load_network", unavailable)
    names = ["spips", "default", NAME, "spips:parts=semantic"]
    made = Panel(parse_metrics(names, BASELINES), [MSE])
    assert made.names == (LABEL, "mse")
    left_out = {one.name: one.reason for one in made.skipped}
    assert left_out == dict.fromkeys(["spips", "default", "spips:parts=semantic"], "no network")


def test_heads_and_recipes_that_do_not_fit_are_errors_that_name_the_metric(head: Path, tmp_path: Path) -> None:
    fusion = tmp_path / "fusion.safetensors"
    save_head(FusionHead(["near", "far"]), fusion)
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    wrong = {
        "was trained for": SpipsSpec(VIT.replace(distance="l2"), str(head)),
        "holds a fusion head": SpipsSpec(VIT, str(fusion)),
        "is no .safetensors file": SpipsSpec(VIT, str(tmp_path / "broken.safetensors")),
        "leave out `parts`": SpipsSpec(VIT, str(head), parts=("semantic",)),
        "in both streams": SpipsSpec(VIT, None, (0, 1), (1, 2)),
        "out of range": SpipsSpec(VIT, None, (99,)),
        "'wasserstein'": SpipsSpec(VIT.replace(distance="wasserstein")),
        "one `distance`": SpipsSpec(VIT.replace(distance=["l2", "cosine"])),
        "by the fmiqa protocol": SpipsSpec(Recipe.zsiqa("vit_tiny_patch16_224", weights="random:0")),
    }
    for message, asked in wrong.items():
        with pytest.raises(ValueError) as caught:
            Panel({"mine": asked})
        assert "the metric 'mine': " in str(caught.value)
        assert message in str(caught.value)


# benchmark


def test_references_run_once_for_the_changes_as_they_do_for_recipes(tmp_path: Path, forwarded: list[int]) -> None:
    rated = read_rated_csv(dataset(tmp_path / "one", references=1, levels=1, size=32))
    made = Panel({"fixed": SpipsSpec(VIT.replace(tile=48))})
    changes = "shift-1px,rotate-1"
    (row,) = run_to_end(ScoreRun(rated, made, tmp_path / "out", ScoreOptions(changes=changes))).to_pylist()
    assert forwarded == [2, 1, 1]  # both sides, then the changed image alone
    preds, target = (read_image(path)[None].float() / 255 for path in (rated.pairs[0].dist, rated.pairs[0].ref))
    for name, change in parse_changes(changes).items():
        alone = spips(change(preds), target, VIT.replace(tile=48))
        assert row[f"fixed|{name}"] == pytest.approx(float(alone), rel=1e-4)


QUICK = ("--attacked", "1", "--resamples", "50", "--changes", "rotate-1")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A data set, a file of metrics with its head, and the folder of their benchmark."""
    folder = tmp_path_factory.mktemp("benchmark")
    pairs = dataset(folder / "data", references=5, levels=4)
    make_head(folder / "metrics" / "head.safetensors")
    entries = {"fixed": {"metric": "spips", **FIELDS}, "trained": {"metric": "spips", **FIELDS}}
    entries["trained"]["head"] = "head.safetensors"
    (folder / "metrics" / "set.yaml").write_text(yaml.safe_dump(entries))
    metrics = folder / "metrics" / "set.yaml"
    fmiqa("benchmark", "--pairs", pairs, "--metrics", f"{metrics},psnr", "--out", folder / "out", *QUICK)
    return pairs, metrics, folder / "out"


def test_a_benchmark_scores_spips_and_tells_all_that_it_tells_of_recipes(made: tuple[Path, Path, Path]) -> None:
    pairs, metrics, out = made
    scores = parquet.read_table(out / "scores.parquet").to_pylist()
    for row in scores[::5]:
        preds, target = (read_image(pairs.parent / row[side])[None] for side in ("dist", "ref"))
        head = metrics.parent / "head.safetensors"
        assert row["fixed"] == pytest.approx(float(spips(preds, target, VIT)), rel=1e-4)
        assert row["trained"] == pytest.approx(float(spips(preds, target, VIT, head)), rel=1e-4)
    assert not any("@" in column for column in scores[0])
    for name in ("agreement", "attacks", "usefulness", "cost"):
        assert {row["metric"] for row in read(out / f"{name}.csv")} == {"fixed", "trained", "psnr"}, name
    use = {row["metric"]: row for row in read(out / "usefulness.csv")}
    for name in ("fixed", "trained"):
        assert float(use[name]["finite_gradient"]) == float(use[name]["identity"]) == 1
    assert "fixed" in (out / "report.md").read_text()
    assert "trained" in (out / "report.html").read_text()


def test_another_head_in_the_same_file_is_another_benchmark(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    pairs, metrics, out = made
    arguments = ("benchmark", "--pairs", pairs, "--metrics", f"{metrics},psnr", "--out", out, *QUICK)
    before = (out / "scores.parquet").read_bytes()
    fmiqa(*arguments)  # nothing to do
    head = metrics.parent / "head.safetensors"
    kept = head.read_bytes()
    try:
        make_head(head, seed=1)
        assert "metrics" in refusal(*arguments)
    finally:
        head.write_bytes(kept)
    assert (out / "scores.parquet").read_bytes() == before


def test_spips_goes_beside_the_recipe_whose_forward_pass_it_shares(tmp_path: Path, forwarded: list[int]) -> None:
    pairs = dataset(tmp_path / "data", references=3, levels=3, size=32)
    names = f"{NAME},{NAME.replace('spips:recipe=', '')},psnr"
    arguments = ("--metrics", names, "--changes", "none", "--attacked", "0", "--resamples", "50", "--batch", "9")
    fmiqa("benchmark", "--pairs", pairs, "--out", tmp_path / "out", *arguments)
    assert {row["metric"] for row in read(tmp_path / "out" / "layers.csv")} == {LABEL.replace("spips:recipe=", "")}
    scores = parquet.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    preds, target = (read_image(tmp_path / "data" / scores[0][side])[None] for side in ("dist", "ref"))
    assert scores[0][LABEL] == pytest.approx(float(spips(preds, target, VIT)), rel=1e-4)
    # Both sides of six pairs of one tile, and of three of two tiles; then what the study does with single images.
    assert forwarded[:3] == [2 * 6, 2 * 3 * 2, 1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spips:head=nowhere.safetensors", "no head"),
        (f"{NAME}:low_level=[0]:semantic=[0]", "in both streams"),
        (f"{NAME}:distance=wasserstein", "wasserstein"),
    ],
)
def test_a_benchmark_refuses_before_any_work(tmp_path: Path, name: str, message: str) -> None:
    pairs = dataset(tmp_path / "data", references=2, levels=2)
    assert message in refusal("benchmark", "--pairs", pairs, "--metrics", f"psnr,{name}", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# score

SET = [text for name, value in FIELDS.items() if name != "recipe" for text in ("--set", f"{name}={value}")]
TINY = ["--recipe", "vit-tiny", *SET]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return save(tmp_path / "ref.png", picture()), save(tmp_path / "dist.png", picture(noise=20))


def scored(out: Path, *arguments: object) -> tuple[dict[str, str], str]:
    result = fmiqa("score", *arguments, "--out", out, *TINY)
    (row,) = read(out)
    return row, result.stdout


def images(pair: tuple[Path, Path]) -> tuple[torch.Tensor, torch.Tensor]:
    return read_image(pair[1])[None], read_image(pair[0])[None]


def test_score_gives_the_numbers_of_spips(pair: tuple[Path, Path], head: Path, tmp_path: Path) -> None:
    preds, target = images(pair)
    cases: dict[tuple[object, ...], dict[str, Any]] = {
        (): {},
        ("--head", head, "--output", "distance"): {"head": head},
        ("--low-level", "0", "--semantic", "[3,2]"): {"low_level": [0], "semantic": [3, 2]},
        ("--semantic", "blocks.1,-1"): {"semantic": ["blocks.1", -1]},
        ("--crop-border", 4): {"crop_border": 4},
    }
    found = []
    for arguments, options in cases.items():
        row, shown = scored(tmp_path / "out.csv", *pair, "--spips", *arguments)
        assert list(row) == ["ref", "dist", "spips"]
        assert float(row["spips"]) == pytest.approx(float(spips(preds, target, VIT, **options)), rel=1e-6)
        assert "lower is closer, 0 is equal; SPIPS" in shown
        found.append(row["spips"])
    assert len(set(found)) == len(cases)
    row, _ = scored(tmp_path / "out.csv", pair[0], pair[0], "--spips", "--head", head)
    assert float(row["spips"]) == 0


def test_score_gives_a_quality_and_tells_its_direction(pair: tuple[Path, Path], judged: Path, tmp_path: Path) -> None:
    for index, noise in enumerate((40, 5, 15)):
        save(tmp_path / "dist" / f"{index}.png", picture(noise=noise))
        save(tmp_path / "ref" / f"{index}.png", picture())
    out = tmp_path / "out.csv"
    arguments = (tmp_path / "ref", tmp_path / "dist", "--spips", "--head", judged)
    result = fmiqa("score", *arguments, "--output", "quality", "--out", out, *TINY)
    quality = {row["dist"]: float(row["quality"]) for row in read(out)}
    fmiqa("score", *arguments, "--out", out, *TINY)
    distance = {row["dist"]: float(row["spips"]) for row in read(out)}
    assert sorted(quality, key=quality.__getitem__, reverse=True) == sorted(distance, key=distance.__getitem__)
    assert all(0 < value < 100 for value in quality.values())
    assert "higher is better, 100 is equal; SPIPS" in result.stdout
    lines = [line for line in result.stdout.splitlines() if line.startswith("quality")]
    line = lines[-1]  # the summary stands below the scores of the few images
    assert line.split()[-1] == min(quality, key=quality.__getitem__)
    assert float(line.split()[-2]) == pytest.approx(min(quality.values()), rel=1e-5)
    assert float(line.split()[-3]) == pytest.approx(max(quality.values()), rel=1e-5)
    row, _ = scored(out, pair[0], pair[0], "--spips", "--head", judged, "--output", "quality")
    assert float(row["quality"]) == pytest.approx(100)


def test_a_pair_that_fails_stops_no_other(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "garbage.png").write_bytes(b"garbage")
    table = tmp_path / "pairs.csv"
    table.write_text("ref,dist\nref.png,dist.png\nref.png,garbage.png\n")
    out = tmp_path / "out.csv"
    result = fmiqa("score", "--pairs", table, "--spips", "--out", out, *TINY, status=1)
    assert [row["dist"] for row in read(out)] == ["dist.png"]
    assert "garbage.png" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--head", "HEAD"], "`--head` is for SPIPS"),
        (["--low-level", "0"], "`--low-level` is for SPIPS"),
        (["--semantic", "1"], "`--semantic` is for SPIPS"),
        (["--output", "distance"], "`--output` is for SPIPS"),
        (["--spips", "--layers"], "`--layers`"),
        (["--spips", "--output", "both"], "`--output` must be distance or quality, got 'both'"),
        (["--spips", "--output", "quality"], "needs a head that was fitted to opinions"),
        (["--spips", "--head", "HEAD", "--output", "quality"], "needs a head that was fitted to opinions"),
        (["--spips", "--head", "nowhere.safetensors"], "no head 'nowhere.safetensors'"),
        (["--spips", "--head", "HEAD", "--low-level", "0"], "was trained for"),
        (["--spips", "--low-level", "[]"], "`--low-level` takes indices and module names such as 0,1,2; got '[]'"),
        (["--spips", "--low-level", "99"], "tap 99 is out of range"),
        (["--spips", "--semantic", "blocks.x"], "'blocks.x'"),
        (["--spips", "--set", "distance=wasserstein"], "wasserstein"),
        (["--spips", "--set", "distance"], "KEY=VALUE"),
    ],
)
def test_score_refuses_what_does_not_fit(
    pair: tuple[Path, Path], head: Path, arguments: list[str], message: str, tmp_path: Path
) -> None:
    given = [head if argument == "HEAD" else argument for argument in arguments]
    assert message in refusal("score", *pair, *TINY, *given, "--out", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
