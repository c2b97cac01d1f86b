"""What the tests share: where the real weights and images are, and seeded pairs of images."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.browser import Browser
from torchmetrics_fmiqa.features.backbone import Backbone
from torchmetrics_fmiqa.features.tokens import Tokens
from torchmetrics_fmiqa.functional import clear_cache

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

ASSETS = Path(os.environ.get("FMIQA_ASSETS", Path(__file__).parents[1] / ".." / "shared" / "assets")).resolve()
VIT_TINY = ASSETS / "weights" / "vit_tiny_patch16_224.safetensors"
SQUEEZENET = ASSETS / "weights" / "squeezenet1_1.safetensors"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares two gloo processes, and then a browser, comes first: pytest-xdist gives it to one worker."""

    def place(item: pytest.Item) -> int:
        names = getattr(item, "fixturenames", ())
        if "outcome" in names:
            return 0
        if "browser" in names:
            return 1
        return 2 if item.get_closest_marker("slow") else 3  # a long one at the end would keep a single worker busy

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What was imported stays: the collector need not walk through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What two gloo processes found: all the work of the files that are run, in one pair of processes."""
    from tests.processes import run_in_processes  # which imports this file

    modules = dict.fromkeys(getattr(item, "module", None) for item in request.session.items)
    works = [work for module in modules for work in getattr(module, "WORKS", ())]
    return run_in_processes(works, tmp_path_factory.mktemp("processes"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium, started once."""
    with Browser() as one:
        yield one


@pytest.fixture(scope="module", autouse=True)
def let_go() -> Iterator[None]:
    """Let go of what a file leaves in memory: networks, compiled graphs, figures."""
    yield
    clear_cache()
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    gc.collect()


def needs(path: Path) -> Path:
    """Skip the test where a file of the assets is absent."""
    if not path.exists():
        pytest.skip(f"needs {path.name} of FMIQA_ASSETS, which is not at {path}")
    return path


@pytest.fixture
def vit_tiny() -> dict[str, str]:
    """The real ViT-Tiny, as keywords of a door."""
    return {"backbone": "vit_tiny_patch16_224", "weights": str(needs(VIT_TINY))}


#: A quick backbone for mechanics: random weights, its first two blocks.
RANDOM_VIT = {"backbone": "vit_tiny_patch16_224", "weights": "random:0", "taps": [0, 1]}


def make_pair(
    n: int = 2, height: int = 64, width: int = 64, seed: int = 0, noise: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Smooth random targets and noisy predictions, both in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 8, 8, generator=generator)
    target = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    preds = (target + noise * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    return preds, target


@pytest.fixture
def forwarded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of tiles in each forward pass."""
    seen: list[int] = []
    forward = Backbone.__call__

    def counted(self: Backbone, images: Tensor, mean_std: Any = None) -> list[Tokens]:
        seen.append(len(images))
        return forward(self, images, mean_std)

    monkeypatch.setattr(Backbone, "__call__", counted)
    return seen


def losses_of_training(loss: torch.nn.Module, preds: torch.Tensor, target: torch.Tensor) -> list[float]:
    """The values of a loss while an image that begins as ``preds`` is trained for 15 steps."""
    image = preds.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=0.02)
    values: list[float] = []
    for _ in range(15):
        optimizer.zero_grad()
        value = loss(image, target)
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values
