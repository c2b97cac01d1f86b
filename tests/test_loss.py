"""The loss: the metric's number, gradients to preds only and finite everywhere, in every precision, compiled too."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import RANDOM_VIT, losses_of_training, make_pair
from torchmetrics_fmiqa import FeatureDistance, FeatureDistanceLoss, Recipe, feature_distance

DISTANCES = ["l2", "cosine", "angular", "wasserstein", "sliced_wasserstein", "jensen_shannon", "symmetric_kl"]


def gradient(loss: FeatureDistanceLoss, preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    preds = preds.clone().requires_grad_()
    value = loss(preds, target)
    value.backward()
    assert preds.grad is not None
    return value.detach(), preds.grad


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_loss_is_the_metric(distance: str) -> None:
    preds, target = make_pair(2, 70, 50)
    value, grad = gradient(FeatureDistanceLoss(**RANDOM_VIT, distance=distance), preds, target)
    metric = FeatureDistance(**RANDOM_VIT, distance=distance)
    torch.testing.assert_close(value, metric(preds, target), rtol=1e-5, atol=1e-8)
    assert grad.abs().sum() > 0


def test_gradients_reach_preds_only() -> None:
    preds, target = make_pair(1)
    preds.requires_grad_()
    target.requires_grad_()
    FeatureDistanceLoss(**RANDOM_VIT)(preds, target).backward()
    assert preds.grad is not None
    assert target.grad is None


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", ["equal", "black", "constant", "one pixel"])
def test_gradients_are_finite_where_features_tie(distance: str, dtype: torch.dtype | None, case: str) -> None:
    target = make_pair(1, 32, 32)[1]
    if case == "black":
        target = torch.zeros_like(target)
    if case == "constant":
        target = torch.full_like(target, 0.5)
    preds = target.clone()
    if case == "one pixel":
        preds[0, 0, 3, 4] += 0.1
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        value, grad = gradient(FeatureDistanceLoss(**RANDOM_VIT, distance=distance), preds, target)
    assert value.isfinite()
    assert grad.isfinite().all()
    if case != "one pixel":
        assert value == 0


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradcheck_in_double(distance: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(4, 5, 3, padding=1)).double()
    recipe = Recipe(net, taps=["0", "2"], distance=distance, normalization="none", resolution="native")
    loss = FeatureDistanceLoss(recipe, validate=False)
    preds, target = (images.double()[..., :6, :6] for images in make_pair(1, 8, 8))
    assert loss(preds, target).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda x: loss(x, target), preds.clone().requires_grad_())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_reaches_the_backbone_and_not_the_distance(dtype: torch.dtype) -> None:
    preds, target = make_pair(1)
    exact, exact_grad = gradient(FeatureDistanceLoss(**RANDOM_VIT), preds, target)
    with torch.autocast("cpu", dtype):
        value, grad = gradient(FeatureDistanceLoss(**RANDOM_VIT), preds, target)
        fixed, _ = gradient(FeatureDistanceLoss(**RANDOM_VIT, precision="float32"), preds, target)
    assert value.dtype == grad.dtype == torch.float32
    assert value != exact
    assert value == pytest.approx(exact.item(), rel=0.1)
    assert fixed == exact
    assert nn.functional.cosine_similarity(grad.flatten(), exact_grad.flatten(), 0) > 0.9


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_distance_is_given_half_features_in_float32_and_no_autocast(dtype: torch.dtype) -> None:
    seen: list[tuple[torch.dtype, bool, bool]] = []

    def distance(preds: Tensor, target: Tensor) -> Tensor:
        autocast = torch.is_autocast_enabled("cpu")
        seen.extend((side.dtype, torch.equal(side, side.to(dtype).float()), autocast) for side in (preds, target))
        return (preds - target).abs().mean((1, 2))

    loss = FeatureDistanceLoss(Recipe("fmiqa/embedded", weights="random:0", taps=[0], distance=distance))
    preds, target = make_pair(1, 32, 32)
    with torch.autocast("cpu", dtype):
        loss(preds, target)
        gradient(loss, preds, target)
    assert seen == 4 * [(torch.float32, True, False)]


def test_half_images_are_raised() -> None:
    preds, target = make_pair(1)
    value, grad = gradient(FeatureDistanceLoss(**RANDOM_VIT), preds.bfloat16(), target.bfloat16())
    assert (value.dtype, grad.dtype) == (torch.float32, torch.bfloat16)


@pytest.mark.parametrize(
    "backbone",
    [{"taps": [1, 3]}, {"backbone": "convnext_atto", "taps": ["stages.2.blocks.1", 3]}, {"backbone": "resnet18"}],
)
def test_checkpointing_changes_nothing_but_memory(backbone: dict[str, object]) -> None:
    fields = {"backbone": "vit_tiny_patch16_224", "weights": "random:0", **backbone}
    preds, target = make_pair(1)
    plain = gradient(FeatureDistanceLoss(**fields), preds, target)
    checkpointed = gradient(FeatureDistanceLoss(**fields, grad_checkpointing=True), preds, target)
    for one, other in zip(plain, checkpointed, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-9)


def test_checkpointing_recomputes_the_blocks() -> None:
    preds, target = make_pair(1)
    ran: list[int] = []
    loss = FeatureDistanceLoss(**RANDOM_VIT, grad_checkpointing=True)
    view = loss.comparator.backbone._of(torch.device("cpu"), torch.float32).first.module
    view.blocks[0].attn.register_forward_hook(lambda *_: ran.append(0))
    gradient(loss, preds, target)
    assert len(ran) == 3, "targets, predictions, and predictions again in the backward pass"


def test_a_random_shift_moves_both_images_alike_and_only_in_training() -> None:
    preds, target = make_pair(1)
    loss = FeatureDistanceLoss(**RANDOM_VIT, random_shift=True)
    assert loss.random_shift == 8
    assert loss(target, target) == 0
    torch.manual_seed(0)
    training = {round(loss(preds, target).item(), 9) for _ in range(6)}
    assert len(training) > 1
    loss.eval()
    assert loss(preds, target) == FeatureDistanceLoss(**RANDOM_VIT)(preds, target)
    with pytest.raises(ValueError, match="half a patch"):
        FeatureDistanceLoss(**RANDOM_VIT, random_shift=9)


def test_the_shift_is_a_mirrored_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchmetrics_fmiqa.losses import _shifted

    image = torch.arange(5.0).expand(1, 1, 5, 5)
    assert _shifted(image, torch.tensor([0, 2]))[0, 0, 0].tolist() == [2, 3, 4, 3, 2]
    assert _shifted(image, torch.tensor([0, -2]))[0, 0, 0].tolist() == [2, 1, 0, 1, 2]


def test_a_mask_moves_with_its_images() -> None:
    from torchmetrics_fmiqa.losses import _shifted

    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :20, :30] = 1
    images = (*make_pair(1), mask)
    loss = FeatureDistanceLoss(**RANDOM_VIT, random_shift=True)
    torch.manual_seed(0)
    value = loss(*images)
    torch.manual_seed(0)
    shift = torch.ops.torchmetrics_fmiqa.draw_shift(mask, loss.random_shift)
    assert shift.all()
    assert value == loss.eval()(*(_shifted(one, shift) for one in images))


@pytest.mark.slow
def test_a_compiled_step_is_one_graph_and_gives_the_same() -> None:
    preds, target = make_pair(1, 64, 64)
    net = nn.Conv2d(3, 3, 3, padding=1)
    loss = FeatureDistanceLoss(**RANDOM_VIT, random_shift=4)
    loss.eval()

    def step(images: Tensor) -> Tensor:
        value: Tensor = loss(net(images), target)
        return value

    step(preds).backward()
    expected = net.weight.grad.clone()  # type: ignore[union-attr]
    net.zero_grad()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    value = compiled(preds)
    value.backward()
    torch.testing.assert_close(value, step(preds), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(net.weight.grad, expected, rtol=1e-4, atol=1e-7)
    loss.train()
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
        torch.manual_seed(0)
        drawn = {round(compiled(preds).item(), 9) for _ in range(6)}
    assert len(drawn) > 1, "the shift is drawn at each call, not frozen in the graph"


def test_a_backbone_first_used_in_inference_mode_serves_the_loss() -> None:
    preds, target = make_pair(1)
    fields = {"backbone": "vit_tiny_patch16_224", "weights": "random:41", "taps": [0]}
    with torch.inference_mode():
        metric = FeatureDistance(**fields)
        metric.update(preds, target)
    gradient(FeatureDistanceLoss(**fields), preds, target)
    metric.update(preds, target)
    assert metric.compute() == pytest.approx(feature_distance(preds, target, **fields).item())


def test_training_with_the_loss_lowers_it_and_leaves_the_backbone_alone() -> None:
    preds, target = make_pair(1)
    loss = FeatureDistanceLoss(**RANDOM_VIT)
    before = [p.clone() for p in loss.comparator.backbone.network.on(torch.device("cpu"), torch.float32).parameters()]
    values = losses_of_training(loss, preds, target)
    assert values[-1] < 0.6 * values[0]
    after = loss.comparator.backbone.network.on(torch.device("cpu"), torch.float32).parameters()
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_several_distances_and_bad_values_are_errors() -> None:
    with pytest.raises(ValueError, match="one `distance`"):
        FeatureDistanceLoss(**RANDOM_VIT, distance=["l2", "cosine"])
    loss = FeatureDistanceLoss(**RANDOM_VIT)
    preds, target = make_pair(1)
    with pytest.raises(ValueError, match="data_range=255"):
        loss(preds * 255, target * 255)
    with pytest.raises(ValueError, match="NaN"):
        loss(preds * float("nan"), target)
    assert loss(preds * 1.06 - 0.03, target).isfinite()
    assert loss(preds, target, torch.ones(1, 1, 64, 64)) == pytest.approx(loss(preds, target).item(), rel=1e-5)
