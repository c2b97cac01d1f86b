"""The known metrics that ours are measured beside: :func:`make_baseline` makes one by its name.

Formulas of torchmetrics and piq are in this file, below the functions that find them; networks are in
``network_baselines.py`` and ``pyiqa_baselines.py``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim
from torchmetrics.functional.image import structural_similarity_index_measure as ssim
from torchmetrics.functional.image import visual_information_fidelity

from torchmetrics_fmiqa.benchmark.metrics.metric import Metric, Scorer, Skipped, library_metric
from torchmetrics_fmiqa.benchmark.metrics.network_baselines import LPIPS, network_baseline
from torchmetrics_fmiqa.benchmark.metrics.pyiqa_baselines import PREFIX, pyiqa_baseline

# "lpips-alex" is "lpips": known by both names, listed by one.
_NETWORKS = (*LPIPS, "dists")
_ALIASES = {"lpips-alex": "lpips"}


def baseline_names() -> tuple[str, ...]:
    """Names of the baselines, beside ``pyiqa:NAME`` and ``lpips-alex``, which is ``lpips``.

    >>> baseline_names()[:4]
    ('psnr', 'ssim', 'psnr_y', 'ssim_y')
    """
    return tuple(name for name in (*FORMULAS, *_NETWORKS) if name not in _ALIASES)


def make_baseline(name: str, device: str | torch.device = "cpu") -> Metric | Skipped:
    """Make a baseline.

    ``psnr``, ``ssim``, ``ms_ssim``, ``vif``, ``lpips`` (AlexNet), ``lpips-vgg``, ``lpips-squeeze`` and ``dists`` are
    torchmetrics', save that the PSNR of equal images is 100 dB; ``psnr_y`` and ``ssim_y`` are of the luma that
    super-resolution is measured on (:func:`studio_luma`); ``fsim``, ``gmsd``, ``vsi``, ``mdsi`` and ``haarpsi``
    are piq's; ``pyiqa:NAME`` is any full-reference metric of pyiqa, if that is installed.

    The metric's value of an image does not depend on the others of a batch, and it raises ValueError for images it
    cannot take. If a package or weights are missing, it is skipped, with the reason. The device is where the images
    will be.

    Raises:
        ValueError: for an unknown name or device.

    >>> psnr = make_baseline("psnr")
    >>> grey = torch.full((1, 3, 8, 8), 0.5)
    >>> psnr.higher_is_better, psnr.score(grey + 0.5, grey)
    (True, tensor([6.0206]))
    """
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"`device` must be such as 'cpu' or 'cuda', got {device!r}") from error
    if name in FORMULAS:
        return formula_baseline(name, place)
    if name in _NETWORKS:
        return network_baseline(name, place)
    if name.startswith(PREFIX):
        return pyiqa_baseline(name, place)
    near = difflib.get_close_matches(name, (*FORMULAS, *_NETWORKS), 3)
    hint = f"close: {', '.join(near)}" if near else f"known: {', '.join(baseline_names())}, {PREFIX}NAME"
    raise ValueError(f"there is no baseline {name!r}; {hint}")


def baselines(names: Sequence[str], device: str | torch.device = "cpu") -> tuple[list[Metric], list[Skipped]]:
    """Make several baselines, see :func:`make_baseline`: those that run here, and those that do not.

    Raises:
        ValueError: for an unknown name, one that comes twice, or an unknown device.

    >>> made, skipped = baselines(["psnr", "ssim"])
    >>> [metric.name for metric in made], skipped
    (['psnr', 'ssim'], [])
    """
    known = [_ALIASES.get(name, name) for name in names]
    for name, meant in zip(names, known, strict=True):
        if known.count(meant) > 1:
            raise ValueError(f"the baseline {name!r} is given twice")
    made = [make_baseline(name, device) for name in names]
    skipped = [result for result in made if isinstance(result, Skipped)]
    return [result for result in made if isinstance(result, Metric)], skipped


#: PSNR of equal images, in dB, and the most that it can be: where it would be infinite, no statistic holds.
PSNR_MOST = 100.0


class _Formula(NamedTuple):
    """A formula: how to call it, and the facts of it."""

    load: Callable[[], Scorer]  # only then is a library imported that may be absent
    library: str
    higher_is_better: bool
    settings: str  # what its numbers depend on, beside the package's version
    minimum_side: int = 1
    differentiable: bool = True


def psnr(preds: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image over all its values, in dB; at most 100.

    torchmetrics gives infinity for equal images, and a gradient of NaN. Here the mean squared error counts for at least
    1e-10, which images of 8 bits undercut only if they are equal or differ by one grey level in fewer than one value
    in 150,000. Images are ``(N, 3, H, W)`` in [0, 1], the result ``(N,)``.

    >>> grey = torch.full((1, 3, 8, 8), 0.5)
    >>> psnr(grey, grey + 0.5), psnr(grey, grey)
    (tensor([6.0206]), tensor([100.]))
    """
    error = (preds - target).square().flatten(1).mean(1)
    return -10 * error.clamp(min=10 ** (-PSNR_MOST / 10)).log10()


def _unit(function: Callable[..., Any]) -> Scorer:
    return partial(function, data_range=1.0, reduction="none")


def _vif(preds: Tensor, target: Tensor) -> Tensor:
    # Its constant, a noise of variance 2, is meant for grey levels of 0 to 255.
    return visual_information_fidelity(255 * preds, 255 * target, reduction="none")


def studio_luma(images: Tensor) -> Tensor:
    """Luma of BT.601 in studio range, on which super-resolution is measured: 16 + 65.481 R + 128.553 G + 24.966 B.

    ``(N, 3, H, W)`` in [0, 1] give ``(N, 1, H, W)`` in [16, 235]. The images are rounded to 8 bits first, since
    published values are of files. Luma is not rounded. A grey image is treated as all others are. The MATLAB code of
    many papers takes grey files as they are: 1.32 dB less PSNR for them.

    >>> grey = torch.tensor([0.0, 0.5, 1.0])
    >>> studio_luma(grey.repeat(3, 1)[None, :, None])
    tensor([[[[ 16.0000, 125.9294, 235.0000]]]])
    """
    weights = images.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1)
    return 16 + ((255 * images).round() / 255 * weights).sum(1, keepdim=True)


def _psnr_y(preds: Tensor, target: Tensor) -> Tensor:
    return psnr(studio_luma(preds) / 255, studio_luma(target) / 255)


def _ssim_y(preds: Tensor, target: Tensor) -> Tensor:
    # In float32 the variances of 16 .. 235 lose digits, and SSIM is off by up to 4e-4; only MPS has no float64.
    dtype = torch.float32 if preds.device.type == "mps" else torch.float64
    luma, wanted = (studio_luma(images).to(dtype) for images in (preds, target))
    _, full = ssim(luma, wanted, data_range=255.0, reduction="none", return_full_image=True)
    # The original leaves out where the window of 11 x 11 sticks out, torchmetrics mirrors the image there.
    return full[..., 5:-5, 5:-5].flatten(1).mean(1).float()


def _piq(name: str) -> Scorer:
    import piq

    return _unit(getattr(piq, name))


_LUMA = "BT.601 luma 16 .. 235 of 8-bit values, data_range 255"

# The gradients are true ones, but not all of use in a loss. Those of FSIM, GMSD, VSI and MDSI take the root of squared
# edges and are not finite where an image is of one colour, such as clipped black; that of FSIM, which has a median in
# it, lies in a few pixels. Rounding to 8 bits leaves PSNR-Y and SSIM-Y none. That of VIF fails altogether, since
# torchmetrics overwrites tensors that it needs.
FORMULAS: dict[str, _Formula] = {
    "psnr": _Formula(lambda: psnr, "torchmetrics_fmiqa", True, f"data_range 1, at most {PSNR_MOST:g} dB"),
    "ssim": _Formula(lambda: _unit(ssim), "torchmetrics", True, "RGB, data_range 1", minimum_side=6),
    "psnr_y": _Formula(lambda: _psnr_y, "torchmetrics_fmiqa", True, f"{_LUMA}, at most {PSNR_MOST:g} dB", 1, False),
    "ssim_y": _Formula(lambda: _ssim_y, "torchmetrics", True, f"{_LUMA}, without the border of 5", 11, False),
    "ms_ssim": _Formula(lambda: _unit(ms_ssim), "torchmetrics", True, "RGB, data_range 1, relu", minimum_side=176),
    "vif": _Formula(lambda: _vif, "torchmetrics", True, "pixel domain, RGB of 0 to 255", 41, False),
    "fsim": _Formula(partial(_piq, "fsim"), "piq", True, "chromatic, data_range 1", minimum_side=2),
    "gmsd": _Formula(partial(_piq, "gmsd"), "piq", False, "luma, data_range 1"),
    "vsi": _Formula(partial(_piq, "vsi"), "piq", True, "data_range 1"),
    "mdsi": _Formula(partial(_piq, "mdsi"), "piq", False, "sum, data_range 1"),
    "haarpsi": _Formula(partial(_piq, "haarpsi"), "piq", True, "colour, data_range 1", minimum_side=16),
}


def formula_baseline(name: str, device: torch.device) -> Metric | Skipped:
    """Make a baseline of :data:`FORMULAS`.

    Images and target of one colour are beyond some of them: VIF of torchmetrics is 0/0 for such a target, HaarPSI
    infinite for two black images. These values are given as they are.
    """
    formula = FORMULAS[name]
    try:
        score = formula.load()
    except ImportError as error:
        return Skipped(name, f"{formula.library} cannot be imported ({error}): pip install 'torchmetrics-fmiqa[iqa]'")
    source = f"{formula.library} {import_module(formula.library).__version__}: {formula.settings}"
    facts = formula.minimum_side, formula.higher_is_better, formula.differentiable
    return library_metric(name, score, device, source, *facts)
