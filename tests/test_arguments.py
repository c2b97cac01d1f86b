"""Numbers of any kind are taken, what is none is refused by name, and no message grows with the input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from tests.conftest import make_pair
from torchmetrics_fmiqa import (
    SPIPS,
    FeatureDistance,
    FeatureDistanceLoss,
    FeatureMetricCollection,
    Recipe,
    feature_distance,
)
from torchmetrics_fmiqa.cli import app, main
from torchmetrics_fmiqa.features.image_checks import data_limits
from torchmetrics_fmiqa.metrics.synced_state import whole_numbers
from torchmetrics_fmiqa.yaml_text import read_yaml

PREDS, TARGET = make_pair(1, 32, 32)


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        (np.float32(2), (0, 2)),
        (np.int64(255), (0, 255)),
        (torch.tensor(1.0), (0, 1)),
        (torch.tensor(255), (0, 255)),
        (np.array(255), (0, 255)),
        ([-1, 1], (-1, 1)),
        (np.array([-1.0, 1.0]), (-1, 1)),
        (torch.tensor([0, 4]), (0, 4)),
        ((np.float64(0), torch.tensor(4)), (0, 4)),
    ],
)
def test_a_range_may_be_any_kind_of_number(given: Any, limits: tuple[float, float]) -> None:
    assert data_limits(given) == limits
    low, high = limits
    preds, target = (images * (high - low) + low for images in (PREDS, TARGET))
    metrics = FeatureMetricCollection({"a": FeatureDistance(data_range=given), "b": SPIPS(data_range=given)})
    found = metrics(preds, target)
    plain = FeatureDistance(data_range=limits)
    assert torch.allclose(found["a"], plain(preds, target))
    assert set(metrics["a"].state_dict()) == set(plain.state_dict())
    assert torch.allclose(FeatureDistanceLoss(data_range=given)(preds, target), found["a"])


@pytest.mark.parametrize(
    "given", [None, "255", True, np.True_, 0, -1, float("nan"), float("inf"), 1e400, [0], [0, 1, 2], [1, 0], ["a", 1]]
)
def test_what_is_no_range_is_refused_by_name_where_it_is_given(given: Any) -> None:
    for door in (FeatureDistance, FeatureDistanceLoss, SPIPS):
        with pytest.raises(ValueError, match="`data_range`"):
            door(data_range=given)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, torch.tensor])
def test_whole_numbers_of_any_kind(kind: Any) -> None:
    one = kind(1)
    assert Recipe("fmiqa/embedded", taps=[kind(0), one], tap_weights={kind(0): kind(2), one: 1}, max_side=kind(64)) == (
        Recipe("fmiqa/embedded", taps=[0, 1], tap_weights={0: 2, 1: 1}, max_side=64)
    )
    assert FeatureDistance(crop_border=one, tile_batch=one).crop_border == 1
    loss = FeatureDistanceLoss(crop_border=one, random_shift=one, tile_batch=one)
    assert (loss.crop_border, loss.random_shift) == (1, 1)
    assert feature_distance(PREDS, TARGET, crop_border=one, taps=np.arange(2)) == feature_distance(
        PREDS, TARGET, crop_border=1, taps=(0, 1)
    )


@pytest.mark.parametrize("value", [1.5, "1", None, -1, np.float64(1), torch.tensor(1.0), torch.ones(2), [1]])
@pytest.mark.parametrize("name", ["crop_border", "tile_batch", "random_shift"])
def test_what_is_no_whole_number_is_refused_by_name(name: str, value: Any) -> None:
    for door in (FeatureDistanceLoss,) if name == "random_shift" else (FeatureDistance, FeatureDistanceLoss):
        with pytest.raises(ValueError, match=f"`{name}`"):
            door(**{name: value})


@pytest.mark.parametrize(
    "fields",
    [
        {"tap_weights": {0: float("nan"), 1: 1}},
        {"tap_weights": {0: "heavy"}},
        {"tap_weights": {0: 1e400}},
        {"tap_weights": {1.5: 1}},
        {"normalization": [[float("nan"), 0, 0], [1, 1, 1]]},
        {"normalization": [[0, 0, 0], [1, 1, float("inf")]]},
        {"normalization": [[0, 0, 0], [1, 1, 0]]},
        {"normalization": [[0, 0, 0], [1, 1, 1e-30]]},
        {"taps": [1.5]},
        {"taps": [None]},
        {"tile": 1.5},
        {"max_side": "large"},
        {"max_side": True},
        {"clamp_target": "yes"},
        {"clamp_preds": 1},
        {"tokens": ["patch"]},
        {"distance": {"cosine": 1}},
        {"weights": 5},
    ],
)
def test_fields_of_wrong_kinds_are_refused_by_name(fields: dict[str, Any]) -> None:
    (name,) = fields
    with pytest.raises(ValueError, match=f"`{name}`"):
        Recipe("fmiqa/embedded", **fields)


@pytest.mark.parametrize(
    "ids",
    [
        [3, 1],
        (3, np.int8(1)),
        [torch.tensor(3), torch.tensor(1)],
        *(np.array([3, 1], dtype=kind) for kind in ("uint8", "int16", "uint32", "uint64", ">i4")),
        *(torch.tensor([3, 1], dtype=kind) for kind in (torch.uint8, torch.int16, torch.int32, torch.int64)),
        *(torch.tensor([3, 1]).to(kind) for kind in (torch.uint16, torch.uint32, torch.uint64)),
    ],
)
def test_sample_ids_are_whole_numbers_of_any_kind(ids: Any) -> None:
    found = whole_numbers(ids, "sample_ids", 2, torch.device("cpu"))
    assert (found.dtype, found.tolist()) == (torch.int64, [3, 1])


@pytest.mark.parametrize(
    "ids",
    [
        ["a", "b"],
        np.array(["a", "b"]),
        [1.0, 2.0],
        [True, False],
        torch.tensor([1.0, 2.0]),
        torch.tensor([True, False]),
        [-1, 0],
        [2**63, 0],
        [2**70, 0],
        np.array([2**63, 1], dtype=np.uint64),
        torch.tensor([1, -1]).to(torch.uint64),
        [1],
        [[1], [2]],
        [[1], [1, 2]],
        [None, 1],
        7,
        "ab",
        {1: 2, 3: 4},
    ],
)
def test_other_sample_ids_are_refused_by_name(ids: Any) -> None:
    with pytest.raises(ValueError, match="`sample_ids`"):
        whole_numbers(ids, "sample_ids", 2, torch.device("cpu"))


class Weighted(nn.Module):
    """A network with one weight, and a mask as attention has it."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
        with torch.no_grad():
            self.conv.weight[0, 0, 0, 0] = weight

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(images)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = {"taps": ["conv"], "normalization": "none"}
    for weight in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(ValueError, match=r"NaN or infinite.*'conv.weight'"):
            FeatureDistance(Recipe(Weighted(weight), **fields))
    assert FeatureDistance(Recipe(Weighted(1.0), **fields))(PREDS, TARGET).isfinite()
    from torchmetrics_fmiqa.features.embedded import load_embedded

    state = {name: value.clone().contiguous() for name, value in load_embedded().state_dict().items()}
    name = next(name for name, value in state.items() if value.is_floating_point() and value.ndim == 4)
    state[name][0] = float("nan")
    save_file(state, tmp_path / "broken.safetensors")
    with pytest.raises(ValueError, match="NaN or infinite"):
        feature_distance(PREDS, TARGET, backbone="fmiqa/embedded", weights=str(tmp_path / "broken.safetensors"))


def bomb() -> str:
    """Nine levels of nine references each: 9**8 names in half a kilobyte."""
    lines = ["a: &a [x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join(lines)


def test_numbers_as_python_writes_them_are_numbers_in_yaml() -> None:
    assert read_yaml("[1e3, 1e-05, -.5E+2, 1.e2]", "numbers") == [1000, 1e-05, -50, 100]
    assert read_yaml("[1e3a, e3, 1e, 0x1e3]", "words") == ["1e3a", "e3", "1e", 0x1E3]
    recipe = Recipe.from_yaml("recipe: default\ndistance: {cosine: 1e-05, l2: 1}")
    assert recipe.distance == {"cosine": 1e-05, "l2": 1}
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe


def test_yaml_that_unfolds_is_refused(tmp_path: Path) -> None:
    for text, why in ((bomb(), "unfolds to more than"), ("a: &a [*a]", "refers to itself")):
        with pytest.raises(ValueError, match=why) as error:
            Recipe.from_yaml(text)
        assert len(str(error.value)) < 500
    assert read_yaml("taps: &t [0, 1]\nothers: [*t, *t]", "text") == {"taps": [0, 1], "others": [[0, 1], [0, 1]]}
    (tmp_path / "recipe.yaml").write_bytes(b"backbone: \xff\xfe")
    broken = ["- " * 1500 + "\n", "[" * 1500, "taps: [0]\ntaps: [1]", "5\n", "a: [\n"]
    for source in (str(tmp_path / "recipe.yaml"), *broken):
        with pytest.raises(ValueError, match="recipe") as error:
            Recipe.from_yaml(source)
        assert len(str(error.value)) < 700
    assert read_yaml("weights: '*'", "text") == {"weights": "*"}


def test_messages_stay_short() -> None:
    long = ["x" * 10**5] * 100
    for name in ("taps", "tokens", "distance", "normalization", "tile"):
        with pytest.raises(ValueError, match=name) as error:
            Recipe("fmiqa/embedded", **{name: {"a": long} if name == "taps" else long})
        assert len(str(error.value)) < 2000
    with pytest.raises(ValueError, match="data_range") as error:
        data_limits(long)  # type: ignore[arg-type]
    assert len(str(error.value)) < 1000


def test_the_command_line_refuses_them_with_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    import sys

    for field in ("normalization=[[.nan, 0, 0], [1, 1, 1]]", "taps=[&a 0, *a]", "tile=1.5"):
        monkeypatch.setattr(sys, "argv", ["fmiqa", "score", __file__, __file__, "--set", field])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 2
        assert len(capsys.readouterr().err.strip().splitlines()) <= 2


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["score", "", __file__], "an argument is empty"),
        (["score", __file__, ""], f"after {__file__!r} is empty"),
        (["benchmark", "--scores", __file__, "--opinion", "mos", "--out", ""], "'--out' is empty"),
        (
            ["benchmark", "--scores", __file__, "--opinion", "mos", "--out", "o", "--other-set", ""],
            "'--other-set' is empty",
        ),
        (["fit", "--pairs", "", "--out", "o"], "'--pairs' is empty"),
        (["map", __file__, __file__, "--out="], "'--out' is empty"),
    ],
)
def test_an_empty_path_is_not_the_current_folder(
    command: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["fmiqa", *command])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", str(2**63)])
@pytest.mark.parametrize("command", ["benchmark", "fuse"])
def test_a_seed_that_no_generator_takes_is_refused_before_the_work(command: str, seed: str) -> None:
    found = CliRunner().invoke(app, [command, "--scores", __file__, "--out", "o", "--seed", seed])
    assert found.exit_code == 2
    assert "--seed" in found.output


def test_a_message_about_a_wide_table_stays_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wide.csv").write_text(",".join(f"column{number}" for number in range(5000)) + "\n")
    monkeypatch.setattr("sys.argv", ["fmiqa", "score", "--pairs", str(tmp_path / "wide.csv")])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().err
    assert "no column `ref`" in told
    assert len(told) < 3000


def test_weights_of_a_mask_count_against_each_other_whatever_their_size() -> None:
    mask = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)) + 0.1
    expected = FeatureDistance()(PREDS, TARGET, mask=mask)
    for scale in (1e37, 1e-37):
        assert torch.allclose(FeatureDistance()(PREDS, TARGET, mask=mask * scale), expected)
        assert torch.allclose(SPIPS()(PREDS, TARGET, mask=mask * scale), SPIPS()(PREDS, TARGET, mask=mask))


def test_sparse_tensors_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"`preds` must be a dense tensor: give preds.to_dense\(\)"):
        feature_distance(PREDS.to_sparse(), TARGET)
