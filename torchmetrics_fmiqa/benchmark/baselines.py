"""The known metrics that ours are measured beside, by name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import torch

from torchmetrics_fmiqa.benchmark.formula_baselines import FORMULAS, formula_baseline
from torchmetrics_fmiqa.benchmark.measures import Measure, Skipped
from torchmetrics_fmiqa.benchmark.network_baselines import LPIPS, network_baseline
from torchmetrics_fmiqa.benchmark.pyiqa_baselines import PREFIX, pyiqa_baseline

# "lpips-alex" is "lpips": known by both names, listed by one.
_NETWORKS = (*LPIPS, "dists")
_ALIASES = {"lpips-alex": "lpips"}


def baseline_names() -> tuple[str, ...]:
    """Names of the baselines, beside ``pyiqa:NAME`` and ``lpips-alex``, which is ``lpips``.

    >>> baseline_names()[:4]
    ('psnr', 'ssim', 'ms_ssim', 'vif')
    """
    return tuple(name for name in (*FORMULAS, *_NETWORKS) if name not in _ALIASES)


def make_baseline(name: str, device: str | torch.device = "cpu") -> Measure | Skipped:
    """Make a baseline.

    ``psnr``, ``ssim``, ``ms_ssim``, ``vif``, ``lpips`` (AlexNet), ``lpips-vgg``, ``lpips-squeeze`` and ``dists`` are
    torchmetrics', save that the PSNR of equal images is 100 dB; ``fsim``, ``gmsd``, ``vsi``, ``mdsi`` and ``haarpsi``
    are piq's; ``pyiqa:NAME`` is any full-reference metric of pyiqa, if that is installed.

    Args:
        name: one of :func:`baseline_names`, or ``pyiqa:NAME``.
        device: where the images will be.

    Returns:
        The metric, whose value of an image does not depend on the others of a batch and which raises ValueError for
        images it cannot take; or, if a package or weights are missing, why it is skipped.

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


def baselines(names: Sequence[str], device: str | torch.device = "cpu") -> tuple[list[Measure], list[Skipped]]:
    """Make several baselines.

    Args:
        names: see :func:`make_baseline`.
        device: where the images will be.

    Returns:
        Those that run here, and those that do not.

    Raises:
        ValueError: for an unknown name, one that comes twice, or an unknown device.

    >>> made, skipped = baselines(["psnr", "ssim"])
    >>> [one.name for one in made], skipped
    (['psnr', 'ssim'], [])
    """
    known = [_ALIASES.get(name, name) for name in names]
    for name, meant in zip(names, known, strict=True):
        if known.count(meant) > 1:
            raise ValueError(f"the baseline {name!r} is given twice")
    made = [make_baseline(name, device) for name in names]
    return [one for one in made if isinstance(one, Measure)], [one for one in made if isinstance(one, Skipped)]
