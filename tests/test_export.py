"""The loss as an exported program, whose batch, height and width are free."""

from __future__ import annotations

import pytest
import torch
from packaging.version import Version
from torch.export import Dim, export

from tests.conftest import make_pair
from torchmetrics_fmiqa import FeatureDistanceLoss, SpipsLoss


@pytest.mark.slow
@pytest.mark.skipif(
    Version(torch.__version__) < Version("2.13"),
    reason="torch.export before 2.13 asks for sides that are multiples of 16",
)
def test_an_exported_loss_gives_its_number_for_any_batch_and_size() -> None:
    loss = FeatureDistanceLoss(reduction="none").eval()
    free = {0: Dim("batch", min=1, max=64), 2: Dim("height", min=33, max=1024), 3: Dim("width", min=33, max=1024)}
    program = export(loss, make_pair(2, 64, 96), dynamic_shapes=(free, free)).module()
    for count, height, width in ((2, 64, 96), (5, 64, 96), (1, 97, 50), (2, 34, 130)):
        preds, target = make_pair(count, height, width, seed=3)
        torch.testing.assert_close(program(preds, target), loss(preds, target), atol=1e-6, rtol=1e-5)


@pytest.mark.slow
def test_an_exported_loss_of_spips_gives_its_number_for_any_batch() -> None:
    loss = SpipsLoss(reduction="none").eval()
    free = {0: Dim("batch", min=1, max=64)}
    program = export(loss, make_pair(2, 33, 47), dynamic_shapes=(free, free)).module()
    for count in (2, 1, 5):
        preds, target = make_pair(count, 33, 47, seed=3)
        torch.testing.assert_close(program(preds, target), loss(preds, target), atol=1e-6, rtol=1e-5)
