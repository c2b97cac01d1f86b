"""Baselines of pyiqa, called ``pyiqa:NAME``, where the user has installed it: it has a licence of its own."""

from __future__ import annotations

import contextlib
import difflib
import sys
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.benchmark.metrics.metric import Metric, Scorer, Skipped, library_metric
from torchmetrics_fmiqa.features.building import built_in_the_open
from torchmetrics_fmiqa.features.weights import check_reachable

PREFIX = "pyiqa:"

# The sides that are tried for the least that a metric takes; pyiqa does not tell it.
_SIDES = (16, 32, 64, 128, 256)


def pyiqa_baseline(name: str, device: torch.device) -> Metric | Skipped:
    """Make a full-reference metric of pyiqa (pyiqa's licence, PolyForm Noncommercial, holds for its use).

    What pyiqa does not tell is found by trying the metric on noise: the least side that it takes, from 16 pixels, and
    whether a gradient flows that is finite and not zero. It is skipped if pyiqa is absent, or its weights cannot be
    downloaded.

    Raises:
        ValueError: if pyiqa has no such metric, or one that takes no reference.
    """
    try:
        import pyiqa
    except Exception as error:  # its many packages, of whatever versions, fail in many ways
        return Skipped(name, f"pyiqa cannot be imported ({_first_line(error)}): pip install pyiqa")
    theirs = name.removeprefix(PREFIX)
    _check_name(theirs, pyiqa.list_models(), pyiqa.list_models("FR"))
    try:
        # pyiqa announces downloads on standard output; as a loss it lets gradients through.
        with (
            contextlib.redirect_stdout(sys.stderr),
            _failing_at_once(),
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),  # the user's seed stays
            built_in_the_open(),
        ):
            metric = pyiqa.create_metric(theirs, as_loss=True, loss_reduction="none", device=device)
        metric.requires_grad_(False)
        score = _one_by_one(metric)
        least = _least_side(score, device)
    except Exception as error:  # whatever a network of a hundred authors raises, the others are to be measured
        return Skipped(name, f"pyiqa cannot make it: {_first_line(error)}")
    differentiable = _has_gradient(score, max(least, 64), device)
    source = f"pyiqa {pyiqa.__version__}: {theirs}"
    return library_metric(name, score, device, source, least, not metric.lower_better, differentiable, metric.net)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _check_name(theirs: str, known: list[str], full_reference: list[str]) -> None:
    if theirs in full_reference:
        return
    if theirs in known:
        others = f"those with one: {', '.join(full_reference)}"
        raise ValueError(f"pyiqa's {theirs!r} scores an image without its reference; {others}")
    near = difflib.get_close_matches(theirs, full_reference, 3)
    others = f"close: {', '.join(near)}" if near else f"it has: {', '.join(full_reference)}"
    raise ValueError(f"pyiqa has no metric {theirs!r}; {others}")


@contextlib.contextmanager
def _failing_at_once() -> Iterator[None]:
    """Tell Hugging Face's hub when it cannot be reached: it would try each of many files for half a minute."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    try:
        check_reachable("pyiqa/none")  # no such repository is cached, so that the network itself is asked for
    except OSError:
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _one_by_one(metric: Any) -> Scorer:
    """Score each image alone: some of pyiqa's metrics give one value for a batch."""

    def score(preds: Tensor, target: Tensor) -> Tensor:
        return torch.stack(
            [metric(image[None], reference[None]).reshape(()) for image, reference in zip(preds, target, strict=True)]
        )

    return score


def _noise(side: int, device: torch.device) -> Tensor:
    """Two unequal images, ``(2, 1, 3, side, side)``."""
    return torch.rand(2, 1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)


def _least_side(score: Scorer, device: torch.device) -> int:
    """The least side, from the first of the tried ones, at which a metric gives a finite score.

    Raises:
        Exception: the metric's own, if it takes not even the largest.
    """
    if not _is_finite(score, _SIDES[-1], device):
        raise ValueError(f"its score of noise of {_SIDES[-1]} pixels is not finite")
    takes = next((side for side in _SIDES if _takes(score, side, device)), _SIDES[-1])
    fails = max((side for side in _SIDES if side < takes), default=takes - 1)
    # The first side between both that it takes.
    return fails + 1 + bisect_left(range(fails + 1, takes), True, key=lambda side: _takes(score, side, device))


def _takes(score: Scorer, side: int, device: torch.device) -> bool:
    with contextlib.suppress(Exception):  # any, as above
        return _is_finite(score, side, device)
    return False


@torch.no_grad()
def _is_finite(score: Scorer, side: int, device: torch.device) -> bool:
    return bool(score(*_noise(side, device)).isfinite().all())


def _has_gradient(score: Scorer, side: int, device: torch.device) -> bool:
    preds, target = _noise(side, device)
    preds.requires_grad_(True)
    try:
        with torch.enable_grad():
            score(preds, target).sum().backward()
    except RuntimeError:  # no graph, or one that was overwritten
        return False
    return preds.grad is not None and bool(preds.grad.isfinite().all()) and bool(preds.grad.any())
