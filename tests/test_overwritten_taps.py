"""Networks that write in place: into a tap, into a view of one, into their input, into what was checkpointed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conftest import make_pair
from torchmetrics_fmiqa import FeatureDistance, FeatureDistanceLoss, Recipe, feature_distance

PAIR = make_pair(2, 32, 32)


def _add(x: Tensor, tap: Tensor) -> Tensor:
    tap += x
    return tap


def _through_a_view(x: Tensor, tap: Tensor) -> Tensor:
    tap[:, :2].flatten(2).mul_(0)
    return tap


WRITES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "adds a shortcut": _add,
    "method": lambda x, tap: tap.add_(1).mul_(x),
    "functional": lambda x, tap: F.relu_(tap) + x,
    "argument": lambda x, tap: torch.add(tap, x, out=tap) if not tap.requires_grad else tap.add_(x),
    "view": _through_a_view,
    "copy": lambda x, tap: tap.copy_(x),
}


class Writer(nn.Module):
    """A tap ``conv``, and code behind it that writes where it should not."""

    def __init__(self, write: str) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.stem, self.conv, self.last = (nn.Conv2d(c, 6, 3, padding=1) for c in (3, 6, 6))
        for parameter in self.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        self.write = write

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images)
        return self.last(WRITES[self.write](stem, self.conv(stem)))


class WritesItsInput(Writer):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.mul_(2).sub_(1))


def oracle(net: Writer, images: Tensor) -> dict[str, Tensor]:
    """Features, each copied as it came."""
    found: dict[str, Tensor] = {}
    handles = [
        getattr(net, name).register_forward_hook(lambda m, a, out, name=name: found.__setitem__(name, out.clone()))
        for name in ("conv", "last")
    ]
    net(images.clone())
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("net_class", [Writer, WritesItsInput])
def test_metric_loss_and_gradient_see_what_the_tap_gave(write: str, net_class: type[Writer]) -> None:
    net = net_class(write)
    recipe = Recipe(net, taps=["conv", "last"], normalization="none", distance="l2")
    preds, target = (one.clone() for one in PAIR)
    preds.requires_grad_()
    ours, theirs = oracle(net, preds), oracle(net, target)
    each = [(ours[name] - theirs[name].detach()).square().mean((1, 2, 3)) for name in ours]
    expected = torch.stack(each).mean()
    (gradient,) = torch.autograd.grad(expected, preds)
    loss = FeatureDistanceLoss(recipe)
    value = loss(preds, target)
    value.backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(preds.grad, gradient)
    torch.testing.assert_close(FeatureDistance(recipe)(preds.detach(), target), expected.detach())
    with torch.inference_mode():
        torch.testing.assert_close(feature_distance(*PAIR, recipe=recipe), expected.detach())
    assert float(loss(target.clone().requires_grad_(), target).detach()) == 0
    assert torch.equal(target, PAIR[1]), "the caller's images stay as they are"
    assert torch.equal(preds.detach(), PAIR[0])


def test_a_compiled_loss_sees_what_the_tap_gave() -> None:
    torch.compiler.reset()
    loss = FeatureDistanceLoss(backbone=WritesItsInput("adds a shortcut"), taps=["conv", "last"], normalization="none")
    expected = loss(PAIR[0].clone().requires_grad_(), PAIR[1])
    value = torch.compile(loss, fullgraph=True, backend="aot_eager")(PAIR[0].clone().requires_grad_(), PAIR[1])
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("inference", [False, True])
def test_a_distance_of_all_taps_at_once_waits_with_copies(inference: bool) -> None:
    """The published distances stack the taps, and wait for the last of them."""
    taps = {"backbone": "vit_tiny_patch16_224", "weights": "random:0", "taps": ["blocks.0.mlp", "blocks.0", "blocks.1"]}
    recipe = Recipe.zsiqa("vit_tiny_patch16_224", distance="jsd").replace(**taps)
    preds, target = make_pair(1, 224, 224)
    loss, metric = FeatureDistanceLoss(recipe), FeatureDistance(recipe)
    with torch.inference_mode(inference):
        clean = metric(preds, target)
    for comparator in (loss.comparator, metric.comparator):
        block = comparator.backbone._of(torch.device("cpu"), torch.float32).first.module.blocks[1]
        forward = block.forward
        block.forward = lambda x, forward=forward: forward(x.clone()) + x.zero_()
    with torch.inference_mode(inference):
        torch.testing.assert_close(metric(preds, target), clean)
    torch.testing.assert_close(loss(preds.clone().requires_grad_(), target).detach(), clean.detach())
