"""What SPIPS costs beside FeatureDistance on the same backbone, each ratio taken in one run.

    python benchmarks/spips.py                                    # CPU, ViT-B/16 with random weights, minutes
    python benchmarks/spips.py --backbone vit_tiny_patch16_224 --repeats 5
    python benchmarks/spips.py --device cuda --precision bfloat16 --repeats 20

`update`: a batch of pairs through the metric; `loss`: forward and backward. `both`: FeatureDistance and SPIPS in a
FeatureMetricCollection, which share one forward pass, and in a plain MetricCollection, which do not.
"""

from __future__ import annotations

from common import images, seconds_of, timing_arguments
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from torchmetrics_fmiqa import SPIPS, FeatureDistance, FeatureDistanceLoss, FeatureMetricCollection, SpipsLoss
from torchmetrics_fmiqa.spips_model.model import SpipsHead


def main() -> None:
    options = timing_arguments(str(__doc__), batch=1, size=512, repeats=3).parse_args()
    print(f"{options.backbone}, batch {options.batch}, {options.size}², {options.device}, {options.precision}")
    preds, target = images(options)
    given = {"backbone": options.backbone, "weights": "random:0"}
    plain: dict[str, Metric] = {
        "FeatureDistance": FeatureDistance(**given, precision=options.precision),
        "SPIPS": SPIPS(**given, precision=options.precision),
    }
    recipe = plain["SPIPS"].recipe
    channels = SPIPS(**given).scorer.comparator(preds[:1], target[:1])[0].reference.shape[1]
    head = SpipsHead(recipe.low_level, recipe.semantic, channels, made_for=recipe.digest)
    metrics: dict[str, Metric | MetricCollection] = {
        **plain,
        "SPIPS with a head": SPIPS(**given, head=head, precision=options.precision),
        "both, FeatureMetricCollection": FeatureMetricCollection(dict(plain)),
        "both, MetricCollection": MetricCollection(dict(plain), compute_groups=False),
    }
    losses = {
        "FeatureDistance loss": FeatureDistanceLoss(**given, precision=options.precision),
        "SPIPS loss": SpipsLoss(**given, precision=options.precision),
    }
    calls = {name: lambda metric=metric: metric.update(preds, target) for name, metric in metrics.items()}
    calls |= {name: lambda loss=loss: step(loss, preds, target) for name, loss in losses.items()}
    for one in (*metrics.values(), *losses.values()):
        one.to(options.device)
    seconds = seconds_of(calls, options.repeats, options.device)
    for name, taken in seconds.items():
        base = seconds["FeatureDistance loss" if name.endswith("loss") else "FeatureDistance"]
        print(f"{name:32s} {taken:8.3f} s {taken / base:8.3f} of FeatureDistance", flush=True)


def step(loss: nn.Module, preds: Tensor, target: Tensor) -> None:
    loss(preds.clone().requires_grad_(), target).backward()


if __name__ == "__main__":
    main()
