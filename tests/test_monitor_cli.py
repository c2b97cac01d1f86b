"""What LightningCLI writes of a monitor, a metric and a loss, it reads back."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from torch import Tensor

from torchmetrics_fmiqa import SPIPS, FeatureDistance, FeatureDistanceLoss, ImageQualityMonitor, SpipsLoss

jsonargparse = pytest.importorskip("jsonargparse")

PACKAGE = "torchmetrics_fmiqa"
L2 = {
    "class_path": f"{PACKAGE}.FeatureDistance",
    "init_args": {"recipe": {"backbone": "fmiqa/embedded", "distance": "l2"}},
}
JOINT = {"backbone": "fmiqa/embedded", "distance": {"cosine": 1.0, "symmetric_kl": 2.0}, "combine": "geometric"}
OPTIONS: dict[str, tuple[type, dict[str, Any]]] = {
    "name": (ImageQualityMonitor, {"metrics": "default", "preds": "sr", "cache_references": "1GiB"}),
    "list": (ImageQualityMonitor, {"metrics": ["default", L2], "target": 1, "stages": ["val"]}),
    "mapping": (ImageQualityMonitor, {"metrics": {"a": L2, "b": "default"}, "data_range": [-1, 1]}),
    "metric": (ImageQualityMonitor, {"metrics": L2}),
    "callables": (ImageQualityMonitor, {"preds": f"{__name__}.images", "predict": f"{__name__}.images"}),
    "distance": (FeatureDistance, {"data_range": [0, 255], **L2["init_args"]}),
    "joint": (FeatureDistance, {"recipe": JOINT}),
    "joint_loss": (FeatureDistanceLoss, {"recipe": JOINT}),
    "loss": (FeatureDistanceLoss, {"data_range": 255, "random_shift": True}),
    "spips": (SPIPS, {"low_level": [0], "parts": ["semantic", "low_level"]}),
    "spips_loss": (SpipsLoss, {"parts": "semantic"}),
}


def images(outputs: Any, batch: Any) -> Tensor:
    return batch[0]


@pytest.mark.parametrize("case", OPTIONS)
def test_a_saved_configuration_gives_the_same_object(case: str) -> None:
    kind, options = OPTIONS[case]
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(kind, "it")
    config = parser.parse_object({"it": {"class_path": f"{PACKAGE}.{kind.__name__}", "init_args": options}})
    saved = parser.dump(config)
    again = parser.parse_string(saved)
    assert parser.dump(again) == saved
    written = yaml.safe_load(saved)["it"]["init_args"]
    assert {name: type(written[name]) for name in options} == {name: type(value) for name, value in options.items()} | (
        {"data_range": float} if options.get("data_range") == 255 else {}
    )
    one, other = (_built(parser, it) for it in (config, again))
    if isinstance(one, ImageQualityMonitor):
        assert one.metrics.settings() == other.metrics.settings()
        assert (one.preds, one.target, one.predict, one.data_range) == (
            other.preds,
            other.target,
            other.predict,
            other.data_range,
        )
        assert (one.preds is images) == (case == "callables")
    else:
        assert one.recipe == other.recipe


def _built(parser: Any, config: Any) -> Any:
    build = getattr(parser, "instantiate", None) or parser.instantiate_classes
    return build(config).it
