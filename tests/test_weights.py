"""Weights: downloads that fail, files that do not fit, and files that would run code."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.conftest import SQUEEZENET, VIT_TINY, make_pair, needs
from torchmetrics_fmiqa import WeightsUnavailableError, feature_distance
from torchmetrics_fmiqa.features import builders
from torchmetrics_fmiqa.features import network as networks
from torchmetrics_fmiqa.features.network import load_network
from torchmetrics_fmiqa.features.weights import read_state_dict

VIT, SQUEEZE = "vit_tiny_patch16_224", "torchvision/squeezenet1_1"
HEADS = {VIT: "head.", SQUEEZE: "classifier."}
FIRST = {VIT: "patch_embed.proj.bias", SQUEEZE: "features.0.bias"}


def random_state(backbone: str, seed: int = 3) -> dict[str, Tensor]:
    """State dict of the network that ``random:SEED`` stands for."""
    net = load_network(backbone, f"random:{seed}").on(torch.device("cpu"), torch.float32)
    return {name: value.clone() for name, value in net.state_dict().items()}


def save(state: object, path: Path) -> str:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


def score(backbone: str, weights: str) -> Tensor:
    preds, target = make_pair(n=2)
    return feature_distance(preds, target, backbone=backbone, weights=weights, taps=[0, 2], reduction="none")


# ---- pretrained


@pytest.fixture
def offline(monkeypatch):
    """A hub that has an address, and whose downloads fail."""

    def set_error(error: Exception) -> None:
        def refuse(*_args, **_options):
            raise error

        from torchvision import models

        monkeypatch.setattr(builders, "check_reachable", lambda _: None)
        monkeypatch.setattr(timm, "create_model", refuse)
        monkeypatch.setattr(models, "get_model", refuse)

    return set_error


@pytest.mark.parametrize("backbone", [VIT, SQUEEZE])
@pytest.mark.parametrize(
    "error", [OSError("no such host\nand more"), ConnectionError("refused"), RuntimeError("hub is down")], ids=repr
)
def test_a_failed_download_is_one_line_that_says_how_to_give_a_file(offline, backbone, error):
    offline(error)
    with pytest.raises(WeightsUnavailableError, match="no pretrained weights") as caught:
        load_network(backbone, "pretrained")
    message = str(caught.value)
    assert backbone in message
    assert str(error).splitlines()[0] in message
    assert "weights='/path/to/model.safetensors'" in message
    assert "\n" not in message


def test_a_failed_download_is_tried_again_next_time(offline, monkeypatch):
    original = timm.create_model
    offline(OSError("no route"))
    with pytest.raises(WeightsUnavailableError):
        load_network(VIT, "pretrained")
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **options: original(name, **options))
    assert load_network(VIT, "pretrained").name == VIT


# ---- files that fit


@pytest.mark.parametrize("backbone", [VIT, SQUEEZE])
@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".pt", ".bin"])
def test_a_file_scores_as_the_network_it_was_saved_from(backbone, ending, tmp_path):
    path = save(random_state(backbone), tmp_path / f"weights{ending}")
    assert torch.equal(score(backbone, path), score(backbone, "random:3"))


@pytest.mark.parametrize("backbone", [VIT, SQUEEZE])
@pytest.mark.parametrize("head", ["ten classes", "none"])
def test_a_classifier_that_is_missing_or_of_other_classes_does_not_matter(backbone, head, tmp_path):
    state = random_state(backbone)
    for name in [name for name in state if name.startswith(HEADS[backbone])]:
        value = state.pop(name)
        if head == "ten classes":
            state[name] = torch.zeros(10, *value.shape[1:])
    path = save(state, tmp_path / "weights.safetensors")
    assert torch.equal(score(backbone, path), score(backbone, "random:3"))


@pytest.mark.parametrize("backbone", [VIT, SQUEEZE])
@pytest.mark.parametrize("wrap", ["state_dict", "model", "module."])
def test_the_wrapping_of_a_checkpoint_is_undone(backbone, wrap, tmp_path):
    state = random_state(backbone)
    wrapped = {f"module.{k}": v for k, v in state.items()} if wrap == "module." else {wrap: state, "epoch": 3}
    path = save(wrapped, tmp_path / "weights.pth")
    assert torch.equal(score(backbone, path), score(backbone, "random:3"))


def test_one_network_serves_two_paths_of_one_content(tmp_path):
    state = random_state(VIT)
    one, two = (load_network(VIT, save(state, tmp_path / name)) for name in ("one.safetensors", "two.safetensors"))
    assert one is two


# ---- files that do not


@pytest.mark.parametrize("backbone", [VIT, SQUEEZE])
@pytest.mark.parametrize("problem", ["missing", "unexpected", "shape"])
def test_keys_that_do_not_fit_are_named(backbone, problem, tmp_path):
    state, name = random_state(backbone), FIRST[backbone]
    if problem == "missing":
        del state[name]
    elif problem == "unexpected":
        name = "extra.weight"
        state[name] = torch.zeros(2)
    else:
        state[name] = torch.zeros(7)
    path = save(state, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"weights\.safetensors' does not fit") as caught:
        load_network(backbone, path)
    assert name in str(caught.value)


@pytest.mark.parametrize("backbone", [VIT, SQUEEZE])
def test_weights_of_another_network_do_not_fit(backbone, tmp_path):
    other = SQUEEZE if backbone == VIT else VIT
    path = save(random_state(other), tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="does not fit"):
        load_network(backbone, path)


class Trap:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("backbone", [VIT, SQUEEZE])
@pytest.mark.parametrize("how", ["torch.save", "pickle.dump"])
def test_pickled_code_is_refused_and_never_run(backbone, how, tmp_path):
    path, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    trap = {"state_dict": {"a": torch.zeros(1)}, "trap": Trap(sprung)}
    if how == "torch.save":
        torch.save(trap, path)
    else:
        path.write_bytes(pickle.dumps(trap))
    with pytest.raises(ValueError, match=r"weights\.pth.*never pickled code"):
        load_network(backbone, str(path))
    assert not sprung.exists()


@pytest.mark.parametrize("backbone", [VIT, SQUEEZE])
@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"garbage " * 50], ids=["empty", "garbage"])
def test_a_broken_file_is_a_value_error_that_names_it(backbone, ending, content, tmp_path):
    path = tmp_path / f"broken{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"broken\{ending}"):
        load_network(backbone, str(path))


@pytest.mark.parametrize("backbone", [VIT, SQUEEZE])
@pytest.mark.parametrize(
    "content", [{}, {"epoch": 3}, [1, 2], torch.zeros(3)], ids=["empty dict", "no tensors", "list", "tensor"]
)
def test_a_file_without_a_state_dict_is_an_error_and_no_download(backbone, content, tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("looked for pretrained weights on the hub")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", refuse)
    path = save(content, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth"):
        load_network(backbone, path)


def test_another_ending_is_refused(tmp_path):
    (tmp_path / "weights.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"\.safetensors or \.pth"):
        load_network(VIT, str(tmp_path / "weights.onnx"))


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match=r"`weights`.*nofile\.pth"):
        load_network(VIT, "nofile.pth")


@pytest.mark.parametrize("backbone", ["vit_tiny_patch16_225", "torchvision/squeeznet1_1"])
def test_an_unknown_backbone_names_a_close_one(backbone):
    with pytest.raises(ValueError, match=r"unknown backbone.*close: (vit_tiny_patch16_224|torchvision/squeezenet1_1)"):
        load_network(backbone, "random:0")


# ---- random


@pytest.mark.parametrize("backbone", [VIT, SQUEEZE])
def test_random_weights_leave_the_global_generator_alone(backbone):
    networks._networks.clear()
    before = torch.get_rng_state()
    load_network(backbone, "random:11")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("backbone", [VIT, SQUEEZE])
def test_random_weights_are_their_seed(backbone):
    torch.manual_seed(1)
    one = random_state(backbone, 5)
    torch.manual_seed(2)
    networks._networks.clear()
    again, other = random_state(backbone, 5), random_state(backbone, 6)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


# ---- the real ones


@pytest.mark.parametrize(("backbone", "path"), [(VIT, VIT_TINY), (SQUEEZE, SQUEEZENET)])
def test_the_real_files_load(backbone, path):
    state = read_state_dict(str(needs(path)))
    net = load_network(backbone, str(path)).on(torch.device("cpu"), torch.float32)
    own = dict(net.state_dict())
    assert torch.equal(own[FIRST[backbone]], state[FIRST[backbone]])
    assert (score(backbone, str(path)) > 0).all()


def test_without_a_network_a_download_fails_at_once_and_says_what_to_do(monkeypatch, tmp_path):
    from huggingface_hub import constants

    def no_address(*_):
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", no_address)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("timm.create_model", lambda *_, **__: pytest.fail("the hub was asked, and asked again"))
    with pytest.raises(WeightsUnavailableError, match=r"vit_base_patch16_224\.dino is not cached.*give a file"):
        load_network("vit_base_patch16_224.dino", "pretrained")
    (tmp_path / "models--timm--vit_base_patch16_224.dino").mkdir()
    with pytest.raises(pytest.fail.Exception):
        load_network("vit_base_patch16_224.dino", "pretrained")
