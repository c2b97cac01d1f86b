"""The registries of BasicSR, traiNNer-redux and pyiqa: by the real package where it is installed, else by contract."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import make_pair
from torchmetrics_fmiqa import RECIPES, feature_distance
from torchmetrics_fmiqa import FeatureDistanceLoss as Loss
from torchmetrics_fmiqa.integrations.weighted_loss import FeatureDistanceLoss


class Registry:
    """What BasicSR and traiNNer-redux have in common: an object goes by its name, twice is an error."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def register(self, obj: Any) -> None:
        assert obj.__name__ not in self.known
        self.known[obj.__name__] = obj

    def build(self, type: str, **options: Any) -> Any:
        return self.known[type](**options)


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Registries of a stand-in for BasicSR, in which importing the integration has registered."""
    fake = types.ModuleType("basicsr.utils.registry")
    fake.LOSS_REGISTRY, fake.METRIC_REGISTRY = Registry(), Registry()
    name = "torchmetrics_fmiqa.integrations.basicsr"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda package: package == "basicsr" or None)
    for module in ("basicsr", "basicsr.utils"):
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    monkeypatch.setitem(sys.modules, "basicsr.utils.registry", fake)
    importlib.import_module(name)
    monkeypatch.undo()
    sys.modules.pop(name, None)
    return types.SimpleNamespace(losses=fake.LOSS_REGISTRY, metrics=fake.METRIC_REGISTRY)


def check_losses(build: Any) -> None:
    """What a training asks of the losses of a configuration."""
    preds, target = make_pair()
    image = preds.clone().requires_grad_()
    pixel = build({"type": "FeatureDistanceLoss", "loss_weight": 0.03, "reduction": "mean"})
    value = pixel(image, target)
    torch.testing.assert_close(value, 0.03 * feature_distance(preds, target))
    value.backward()
    assert float(image.grad.abs().max()) > 0
    options = {"recipe": "lpips-squeeze", "weights": "random:0"}
    perceptual = build({"type": "PerceptualFeatureDistanceLoss", "perceptual_weight": 2.0, **options})
    loss, style = perceptual(image, target)
    assert style is None
    torch.testing.assert_close(loss, 2 * feature_distance(preds, target, **options))
    assert not list(perceptual.parameters())
    assert not perceptual.state_dict()


def check_metric(calculate: Any) -> None:
    """What a validation asks of the metric: two images as OpenCV reads them."""
    preds, target = ((255 * side).round().to(torch.uint8) for side in make_pair(n=1))
    img, img2 = (side[0].permute(1, 2, 0).numpy()[..., ::-1] for side in (preds, target))
    expected = float(feature_distance(preds, target, crop_border=4))
    assert calculate({"img": img, "img2": img2}, {"type": "calculate_fmiqa", "crop_border": 4}) == pytest.approx(
        expected
    )
    channels_first = {"img": img.transpose(2, 0, 1), "img2": img2.transpose(2, 0, 1)}
    options = {"type": "calculate_fmiqa", "crop_border": 4, "input_order": "CHW"}
    assert calculate(channels_first, options) == pytest.approx(expected)
    as_floats = {"img": img.astype(np.float32), "img2": img2.astype(np.float32)}
    assert calculate(as_floats, {"type": "calculate_fmiqa", "crop_border": 4}) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="`input_order`"):
        calculate(channels_first, {"type": "calculate_fmiqa", "input_order": "WHC"})


def test_the_contract_of_basicsr_and_trainner(registries: types.SimpleNamespace):
    check_losses(lambda options: registries.losses.build(**options))
    check_metric(lambda data, options: registries.metrics.build(**options, **data))


def test_basicsr_itself(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("cv2", reason="needs BasicSR, which needs OpenCV")
    if importlib.util.find_spec("basicsr") is None:
        pytest.skip("needs BasicSR, which is not installed")
    # BasicSR 1.4.2 imports one function of a module that torchvision has renamed since; its users mend that too.
    renamed = "torchvision.transforms.functional_tensor"
    monkeypatch.setitem(sys.modules, renamed, importlib.import_module("torchvision.transforms._functional_tensor"))
    from basicsr.losses import build_loss
    from basicsr.metrics import calculate_metric

    importlib.import_module("torchmetrics_fmiqa.integrations.basicsr")
    check_losses(build_loss)
    check_metric(calculate_metric)


def test_without_a_framework_there_is_nothing_to_register_in(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    monkeypatch.delitem(sys.modules, "torchmetrics_fmiqa.integrations.basicsr", raising=False)
    with pytest.raises(ModuleNotFoundError, match="neither basicsr nor traiNNer"):
        importlib.import_module("torchmetrics_fmiqa.integrations.basicsr")


@pytest.mark.parametrize("weight", ["much", None, float("nan"), float("inf"), True])
def test_a_weight_is_a_finite_number(weight: Any):
    with pytest.raises(ValueError, match="`loss_weight`"):
        FeatureDistanceLoss(loss_weight=weight)


def test_a_mask_goes_by_the_name_of_the_frameworks():
    preds, target = make_pair()
    half = torch.zeros(2, 1, 64, 64)
    half[..., :32] = 1
    torch.testing.assert_close(FeatureDistanceLoss(2.0)(preds, target, weight=half), 2 * Loss()(preds, target, half))


# ---- pyiqa


@pytest.fixture
def pyiqa() -> Any:
    """pyiqa, with our names registered."""
    module = pytest.importorskip("pyiqa", reason="needs pyiqa")
    importlib.import_module("torchmetrics_fmiqa.integrations.pyiqa")
    return module


def test_a_metric_of_pyiqa(pyiqa: Any):
    preds, target = make_pair()
    metric = pyiqa.create_metric("fmiqa", device="cpu")
    assert metric.lower_better
    assert metric.metric_mode == "FR"
    found = metric(preds, target)
    assert found.shape == (2, 1)
    torch.testing.assert_close(found[:, 0], feature_distance(preds, target, reduction="none"))
    assert not found.requires_grad
    lpips = pyiqa.create_metric("fmiqa-lpips-squeeze", device="cpu", weights="random:0")
    options = {"recipe": "lpips-squeeze", "weights": "random:0", "reduction": "none"}
    torch.testing.assert_close(lpips(preds, target)[:, 0], feature_distance(preds, target, **options))
    assert {f"fmiqa-{name}" for name in RECIPES if name != "default"} <= set(pyiqa.list_models("FR"))


def test_a_loss_of_pyiqa(pyiqa: Any):
    preds, target = make_pair()
    image = preds.clone().requires_grad_()
    value = pyiqa.create_metric("fmiqa", as_loss=True, device="cpu")(image, target)
    torch.testing.assert_close(value, feature_distance(preds, target))
    value.backward()
    assert float(image.grad.abs().max()) > 0
    from pyiqa.losses import build_loss

    loss: nn.Module = build_loss({"type": "FeatureDistanceLoss", "loss_weight": 0.5})
    torch.testing.assert_close(loss(preds, target), 0.5 * feature_distance(preds, target))


def test_pyiqa_finds_it_by_its_entry_points():
    pytest.importorskip("pyiqa", reason="needs pyiqa")
    from importlib.metadata import entry_points

    if "fmiqa" not in {one.name for one in entry_points(group="pyiqa.archs")}:
        pytest.skip("needs this package installed, with its entry points")
    # A process of its own: entry points are read once in each.
    code = """
import pyiqa
from pyiqa.archs import build_network
from pyiqa.losses import build_loss
build_network({"type": "FeatureDistanceNet", "recipe": "default"})
assert build_loss({"type": "FeatureDistanceLoss", "loss_weight": 0.5}).loss_weight == 0.5
print(pyiqa.create_metric("fmiqa", device="cpu").metric_name)
"""
    done = subprocess.run([sys.executable, "-W", "error::RuntimeWarning", "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["fmiqa"], done.stderr
