"""LPIPS by the arguments of torchmetrics and of the lpips package: the same numbers, and what they do not have."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchmetrics.functional.image.lpips as of_torchmetrics
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity as Theirs
from torchmetrics.wrappers import FeatureShare

from tests.conftest import SQUEEZENET, make_pair, needs
from tests.lpips_trunks import NETS, trunks, weights_of  # noqa: F401
from torchmetrics_fmiqa import FeatureDistance, FeatureMetricCollection
from torchmetrics_fmiqa.compat import LPIPS, LearnedPerceptualImagePatchSimilarity

pytestmark = pytest.mark.usefixtures("trunks")


def of_package(net: str, **options: Any) -> nn.Module:
    """The lpips package's."""
    lpips = pytest.importorskip("lpips", reason="needs the lpips package (extra dev)")
    return lpips.LPIPS(net=net, verbose=False, **options)


def signed_pair(**options: Any) -> tuple[Tensor, Tensor]:
    """A pair in [-1, 1]."""
    preds, target = make_pair(**options)
    return 2 * preds - 1, 2 * target - 1


def gradients(value: Tensor, *images: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value.sum(), images)


# ---- torchmetrics


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("net", NETS)
def test_the_function_of_torchmetrics_gives_the_same_number_and_gradient(net: str, normalize: bool):
    images = make_pair(height=40, width=70) if normalize else signed_pair(height=40, width=70)
    ones, others = [[side.clone().requires_grad_() for side in images] for _ in range(2)]
    expected = of_torchmetrics.learned_perceptual_image_patch_similarity(*ones, net, "mean", normalize)
    found = LearnedPerceptualImagePatchSimilarity(net, "mean", normalize, weights_of(net))(*others)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    for own, theirs in zip(gradients(found, *others), gradients(expected, *ones), strict=True):
        torch.testing.assert_close(own, theirs, rtol=0, atol=1e-6)
        assert float(own.abs().max()) > 0


@pytest.mark.parametrize("reduction", ["mean", "sum", "none", None])
def test_batches_add_up_as_in_torchmetrics(reduction: Any):
    ours = LearnedPerceptualImagePatchSimilarity("squeeze", reduction, weights=weights_of("squeeze"))
    theirs = Theirs("squeeze", reduction)
    for seed in (0, 1):
        batch = signed_pair(n=3, seed=seed)
        torch.testing.assert_close(ours(*batch), theirs(*batch), rtol=0, atol=1e-6)
        ours.update(img1=batch[0], img2=batch[1])
        theirs.update(*batch)
    found = ours.compute()
    torch.testing.assert_close(found, theirs.compute(), rtol=0, atol=1e-6)
    assert found.shape == (() if reduction in ("mean", "sum") else (12,))
    ours.reset()
    ours.update(*batch)
    assert torch.equal(ours.compute(), ours(*batch))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"net_type": "resnet"}, "Argument `net_type` must be one .*"),
        ({"reduction": "median"}, "Argument `reduction` must be one .*"),
        ({"normalize": "yes"}, "Argument `normalize` should be"),
        ({"normalize": 1}, "Argument `normalize` should be"),
        ({"weights": "nowhere.pth"}, "nowhere.pth"),
        ({"nt_type": "vgg"}, "nt_type"),
    ],
)
def test_a_wrong_argument_is_an_error_as_in_torchmetrics(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        LearnedPerceptualImagePatchSimilarity(**{"net_type": "squeeze", "weights": "random:0", **arguments})


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("call", ["update", "forward"])
@pytest.mark.parametrize(
    ("make", "normalize"),
    [
        (lambda ok: ok[:, :1], True),
        (lambda ok: ok[0], True),
        (lambda ok: ok - 0.01, True),
        (lambda ok: ok + 0.01, True),
        (lambda ok: 4 * ok - 2, False),
        (lambda ok: 255 * ok, False),
        (lambda ok: ok.clone().index_fill_(3, torch.tensor([5]), torch.nan), False),
    ],
    ids=["grey", "one image", "below 0", "above 1", "below -1", "0 to 255", "nan"],
)
def test_images_out_of_range_are_an_error(make: Callable[[Tensor], Tensor], normalize: bool, call: str, swapped: bool):
    metric = LearnedPerceptualImagePatchSimilarity("squeeze", normalize=normalize, weights="random:0")
    fine = torch.linspace(0, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)
    pair = [fine, make(fine)]
    with pytest.raises(ValueError, match=r"Expected both input arguments to be normalized tensors"):
        getattr(metric, call)(*(reversed(pair) if swapped else pair))
    metric.update(fine, fine)  # and nothing was counted
    assert float(metric.compute()) == 0


def test_integers_have_the_range_of_their_type_and_what_holds_no_images_is_named():
    metric = LearnedPerceptualImagePatchSimilarity("squeeze", normalize=True, weights="random:0")
    distance = LPIPS(net="squeeze", weights="random:0")
    unit = torch.linspace(0, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)
    bytes_of = (255 * unit).round().to(torch.uint8)
    words_of = bytes_of.to(torch.uint16) * 257
    expected = metric(bytes_of / 255, bytes_of.flip(3) / 255)
    for images in (bytes_of, words_of):
        other = images.int().flip(3).to(images.dtype)
        torch.testing.assert_close(metric(images, other), expected)
        torch.testing.assert_close(distance(images, other).mean(), expected)
    for call in (metric, distance):
        for wrong, message in (
            (unit[:0], "holds no pixels"),
            (list(unit), "must be a tensor"),
            (unit.numpy(), "must be"),
        ):
            with pytest.raises(ValueError, match=message):
                call(wrong, wrong)


def test_half_precision_images_give_nearly_the_same():
    preds, target = signed_pair()
    metric = LearnedPerceptualImagePatchSimilarity("squeeze", weights=weights_of("squeeze"))
    exact = metric(preds, target)
    for dtype in (torch.float16, torch.bfloat16):
        found = metric.to(dtype)(preds.to(dtype), target.to(dtype))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, exact, rtol=0.05, atol=0)


def test_the_metric_is_a_good_citizen_of_torchmetrics():
    metric = LearnedPerceptualImagePatchSimilarity("squeeze", normalize=True, weights="random:0")
    assert (metric.is_differentiable, metric.higher_is_better, metric.full_state_update) == (True, False, False)
    assert not list(metric.parameters())
    assert not metric.state_dict()
    pair = make_pair()
    collection = MetricCollection({"lpips": metric, "psnr": PeakSignalNoiseRatio(data_range=1.0)})
    result = collection(*pair)
    collection.update(*pair)
    for other in (metric.clone(), copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert torch.equal(other.compute(), result["lpips"])
        assert other.comparator.backbone.network is metric.comparator.backbone.network
    assert torch.equal(collection.compute()["lpips"], result["lpips"])


def test_a_trained_model_gets_gradients_and_the_state_keeps_no_graph():
    metric = LearnedPerceptualImagePatchSimilarity("squeeze", "none", True, weights="random:0")
    preds, target = make_pair()
    image = preds.clone().requires_grad_()
    value = metric(image, target)
    value.sum().backward()
    assert image.grad is not None
    assert bool(image.grad.isfinite().all())
    assert float(image.grad.abs().max()) > 0
    assert not metric.compute().requires_grad
    with torch.no_grad():
        assert not metric(image, target).requires_grad


def test_a_mask_and_sample_ids_work_as_elsewhere():
    preds, target = make_pair(n=3)
    metric = LearnedPerceptualImagePatchSimilarity("squeeze", "none", True, weights="random:0")
    half = torch.zeros(3, 1, 64, 64)
    half[..., :32] = 1
    metric.update(preds, target, mask=half, sample_ids=[4, 2, 2 + 5])
    metric.update(preds, target, mask=half, sample_ids=[4, 2, 2 + 5])
    options = {"weights": "random:0", "reduction": "none"}
    expected = FeatureDistance("lpips-squeeze", **options)(preds, target, half)
    torch.testing.assert_close(metric.compute(), expected[[1, 0, 2]])  # in the order of their ids


def test_feature_share_runs_the_network_once(forwarded: list[int]):
    first, second = (
        LearnedPerceptualImagePatchSimilarity("squeeze", how, True, weights="random:0") for how in ("mean", "sum")
    )
    shared = FeatureShare({"mean": first, "sum": second})
    pair = make_pair(n=2)
    forwarded.clear()
    shared.update(*pair)
    assert forwarded == [4]
    result = shared.compute()
    torch.testing.assert_close(2 * result["mean"], result["sum"])


def test_feature_share_of_different_networks_is_an_error():
    with pytest.warns(UserWarning, match="not the same"):
        shared = FeatureShare(
            {
                net: LearnedPerceptualImagePatchSimilarity(net, normalize=True, weights="random:0")
                for net in ("alex", "squeeze")
            }
        )
    with pytest.raises(ValueError, match="cannot share the network"):
        shared.update(*make_pair())


def test_one_forward_serves_the_corridors_metrics_too(forwarded: list[int]):
    lpips = LearnedPerceptualImagePatchSimilarity("squeeze", normalize=True, weights="random:0")
    members = {
        "lpips": lpips,
        "cosine": FeatureDistance("lpips-squeeze", weights="random:0", distance="cosine", channel_weights=None),
    }
    alone = lpips(*make_pair())
    lpips.reset()
    collection = FeatureMetricCollection(members)
    collection.update(*make_pair())  # the first one makes what is shared
    collection.reset()
    forwarded.clear()
    collection.update(*make_pair())
    assert forwarded == [4]
    assert torch.equal(collection.compute()["lpips"], alone)


def test_plot():
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra plot)")
    metric = LearnedPerceptualImagePatchSimilarity("squeeze", normalize=True, weights="random:0")
    metric.update(*make_pair())
    _, axes = metric.plot()
    assert axes is not None


def test_a_checkpoint_of_torchmetrics_metric_loads():
    class Model(nn.Module):
        def __init__(self, lpips: nn.Module) -> None:
            super().__init__()
            self.layer, self.lpips = nn.Linear(2, 2), lpips

    old = Model(nn.ModuleDict({"net": of_torchmetrics._LPIPS(net="squeeze", pnet_rand=True)})).state_dict()
    assert len(old) > 30
    new = Model(LearnedPerceptualImagePatchSimilarity("squeeze", weights="random:0"))
    assert new.load_state_dict(old)  # strict
    assert torch.equal(new.layer.weight, old["layer.weight"])
    assert sorted(new.state_dict()) == ["layer.bias", "layer.weight"]


# ---- the lpips package


@pytest.mark.parametrize(
    ("net", "spatial", "normalize"),
    [("squeeze", spatial, normalize) for spatial in (False, True) for normalize in (False, True)]
    + [(net, spatial, spatial) for net in ("alex", "vgg") for spatial in (False, True)],
)
def test_the_package_gives_the_same_numbers_and_gradients(net: str, spatial: bool, normalize: bool):
    if net == "squeeze":
        needs(SQUEEZENET)
    images = make_pair(height=50, width=33) if normalize else signed_pair(height=50, width=33)
    theirs = of_package(net, spatial=spatial)
    ours = LPIPS(net=net, spatial=spatial, weights=weights_of(net))
    ones, others = [[side.clone().requires_grad_() for side in images] for _ in range(2)]
    expected, expected_layers = theirs(*ones, retPerLayer=True, normalize=normalize)
    found, layers = ours(*others, retPerLayer=True, normalize=normalize)
    assert found.shape == ((2, 1, 50, 33) if spatial else (2, 1, 1, 1))
    assert isinstance(layers, list)
    torch.testing.assert_close([found, *layers], [expected, *expected_layers], rtol=0, atol=1e-6)
    torch.testing.assert_close(ours(*others, normalize=normalize), found)
    scale = found.numel()  # of the gradient of a mean, as a training has it
    for own, other in zip(gradients(found, *others), gradients(expected, *ones), strict=True):
        torch.testing.assert_close(own / scale, other / scale, rtol=0, atol=1e-6)


def test_without_linear_weights_channels_are_added_up():
    pair = signed_pair()
    torch.testing.assert_close(
        LPIPS(net="squeeze", lpips=False, weights=weights_of("squeeze"))(*pair),
        of_package("squeeze", lpips=False)(*pair),
        rtol=0,
        atol=1e-5,
    )


def test_one_image_beside_many():
    preds, target = signed_pair(n=3)
    ours = LPIPS(net="squeeze", weights=weights_of("squeeze"))
    torch.testing.assert_close(ours(preds, target[:1]), of_package("squeeze")(preds, target[:1]), rtol=0, atol=1e-6)
    assert ours(target[:1], preds).shape == (3, 1, 1, 1)


def test_other_linear_weights_come_from_a_file(tmp_path):
    theirs = of_package("squeeze")
    for layer in theirs.lins:
        layer.model[1].weight.data.mul_(torch.rand(layer.model[1].weight.shape))
    file = tmp_path / "own.pth"
    torch.save({name: value for name, value in theirs.state_dict().items() if name.startswith("lin")}, file)
    pair = signed_pair()
    with pytest.raises(ValueError, match=r"lins\.0\.model\.1\.weight"):
        LPIPS(net="squeeze", model_path=file, weights="random:0")
    torch.save({name: value for name, value in theirs.state_dict().items() if re.match(r"lin\d", name)}, file)
    ours = LPIPS(net="squeeze", pretrained=False, model_path=file, weights=weights_of("squeeze"))
    torch.testing.assert_close(ours(*pair), theirs(*pair), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pretrained": "vgg"}, "got 'vgg'.*the network as `net`"),
        ({"pretrained": False}, "model_path"),
        ({"version": "0.0"}, "`version`"),
        ({"pnet_rand": True}, "random:0"),
        ({"pnet_tune": True}, "frozen"),
        ({"eval_mode": False}, "`eval_mode`"),
        ({"net": "resnet"}, "alex, vgg, squeeze"),
        ({"spatial": "yes"}, "`spatial`"),
        ({"model_path": "nowhere.pth"}, "nowhere.pth"),
    ],
)
def test_an_argument_that_has_no_meaning_here_is_an_error_with_the_fix(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        LPIPS(**{"net": "squeeze", "weights": "random:0", **arguments})


def test_images_in_another_unit_are_an_error_and_slightly_outside_are_not():
    distance = LPIPS(net="squeeze", weights="random:0")
    preds, target = signed_pair()
    assert bool((distance(1.1 * preds, 1.1 * target) > 0).all())
    for pair in ((127 * target + 127, target), (target, 127 * target + 127)):
        with pytest.raises(ValueError, match="data_range"):
            distance(*pair)
    with pytest.raises(ValueError, match=r"16x16.*|at least 17"):
        distance(preds[..., :16, :16], target[..., :16, :16])
    assert bool(distance(preds * torch.nan, target).isnan().all())


def test_a_training_step_of_float16_survives_infinite_predictions():
    distance = LPIPS(net="squeeze", weights="random:0")
    preds, target = signed_pair()
    preds[0, 0, 0, 0] = torch.inf
    assert not bool(distance(preds, target)[0].isfinite().all())


def test_equal_images_are_zero_with_a_finite_gradient():
    distance = LPIPS(net="squeeze", weights="random:0")
    for image in (torch.zeros(1, 3, 32, 32), -torch.ones(1, 3, 32, 32), signed_pair(n=1)[0]):
        one, other = image.clone().requires_grad_(), image.clone().requires_grad_()
        value = distance(one, other)
        assert float(value.abs().max()) < 1e-12
        assert all(bool(grad.isfinite().all()) for grad in gradients(value, one, other))


def test_the_module_holds_nothing_and_takes_an_old_checkpoint():
    class Model(nn.Module):
        def __init__(self, lpips: nn.Module) -> None:
            super().__init__()
            self.layer, self.loss = nn.Linear(2, 2), lpips

    old = Model(of_package("squeeze")).state_dict()
    new = Model(LPIPS(net="squeeze", weights="random:0"))
    new.load_state_dict(old)  # strict
    assert torch.equal(new.layer.weight, old["layer.weight"])
    assert sorted(new.state_dict()) == ["layer.bias", "layer.weight"]
    assert sum(1 for _ in new.loss.parameters()) == 0
    pair = signed_pair()
    again = pickle.loads(pickle.dumps(new.loss))
    assert torch.equal(again(*pair), copy.deepcopy(new).loss.train()(*pair))


def test_mixed_precision_runs_the_trunk_in_half_and_the_distance_in_full():
    distance = LPIPS(net="squeeze", weights=weights_of("squeeze"))
    pair = signed_pair()
    exact = distance(*pair)
    with torch.autocast("cpu", torch.bfloat16):
        found = distance(*pair)
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, rtol=0.1, atol=0)


def test_float64_stays_float64():
    one, other = (side.double() for side in signed_pair(n=1))
    value = LPIPS(net="squeeze", weights=weights_of("squeeze"))(one, other)
    assert value.dtype == torch.float64
    torch.testing.assert_close(value, of_package("squeeze").double()(one, other), rtol=0, atol=1e-6)
