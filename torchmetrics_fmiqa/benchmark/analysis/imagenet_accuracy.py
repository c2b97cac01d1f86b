"""Is perceptual similarity explained by classification accuracy? Agreement against ImageNet top-1."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from torchmetrics_fmiqa.recipes import RECIPES
from torchmetrics_fmiqa.report.numbers import counted
from torchmetrics_fmiqa.statistics import interval

#: How an accuracy was come by: with labels from the start, after training on more data, by a linear layer on frozen
#: features, or by comparing with embedded class names.
Kind = Literal["supervised", "fine-tuned", "linear probe", "zero-shot"]

#: Fewer backbones than this give no correlation: of three, one order in six is perfect by chance.
FEWEST = 4


@dataclass(frozen=True)
class TopOne:
    """ImageNet-1k top-1 accuracy of a backbone."""

    top1: float  #: in per cent, on the validation set
    kind: Kind  #: how it was come by
    source: str  #: where the figure stands, and what to know of it


_TORCHVISION = "torchvision's own figure for {}_Weights.IMAGENET1K_V1"
_TIMM = "timm's results-imagenet.csv: {}"
_OPEN_CLIP = "open_clip's docs/openclip_results.csv: {}"
_DINOV2 = "facebookresearch/dinov2, README: {}, distilled"

#: By backbone; those that a recipe has bear its name.
TOP_ONE: dict[str, TopOne] = {
    "alexnet": TopOne(56.522, "supervised", _TORCHVISION.format("AlexNet")),
    "squeezenet": TopOne(58.178, "supervised", _TORCHVISION.format("SqueezeNet1_1")),
    "vgg16": TopOne(71.592, "supervised", _TORCHVISION.format("VGG16")),
    "efficientnet-b7": TopOne(84.122, "supervised", _TORCHVISION.format("EfficientNet_B7") + ", at 600 pixels"),
    "vit-tiny": TopOne(75.452, "fine-tuned", _TIMM.format("vit_tiny_patch16_224.augreg_in21k_ft_in1k")),
    "vit-b16": TopOne(81.782, "fine-tuned", _TIMM.format("vit_base_patch16_224.orig_in21k_ft_in1k")),
    "dino-vit-b16": TopOne(78.2, "linear probe", "facebookresearch/dino, README: ViT-B/16"),
    "dinov2-vit-s14": TopOne(81.1, "linear probe", _DINOV2.format("ViT-S/14")),
    "dinov2-vit-b14": TopOne(84.5, "linear probe", _DINOV2.format("ViT-B/14")),
    "dinov3-vit-b16": TopOne(
        85.0, "linear probe", "yberreby/dinov3-in1k-probes, at 512 pixels; the authors give no top-1, only ReaL (89.3)"
    ),
    "clip-rn50": TopOne(59.82, "zero-shot", _OPEN_CLIP.format("RN50, openai")),
    "clip-vit-b32": TopOne(63.32, "zero-shot", _OPEN_CLIP.format("ViT-B-32, openai")),
    "openclip-vit-b32": TopOne(66.56, "zero-shot", _OPEN_CLIP.format("ViT-B-32, laion2b_s34b_b79k")),
    "openclip-convnext-b": TopOne(70.78, "zero-shot", _OPEN_CLIP.format("convnext_base_w, laion2b_s13b_b82k")),
    "siglip2-vit-b16": TopOne(
        78.2, "zero-shot", "SigLIP 2 (arXiv 2502.14786), ViT-B/16 at 224 pixels; as others quote it, not read there"
    ),
}

# Names of metrics that were published elsewhere; the first that fits counts. ST-LPIPS and LPIPS on KADID train the
# network itself on people's opinions, TeCoA CLIP on attacked images: the accuracy of their start is not theirs, and
# nobody published their own.
_PUBLISHED: tuple[tuple[str, str | None], ...] = (
    (r"stlpips|.*_kadid|.*_tecoa", None),
    (r"openclip_vitb32_laion", "openclip-vit-b32"),
    (r"openclip_convnext_base", "openclip-convnext-b"),
    (r"clip_vitb32", "clip-vit-b32"),
    (r"clip_rn50", "clip-rn50"),
    (r"dinov1", "dino-vit-b16"),
    (r"dinov2_", "dinov2-vit-b14"),
    (r"imagenet_vit", "vit-b16"),
    (r"deep_[a-z]+_vgg$|dists$|lpips[-_]vgg(16)?$", "vgg16"),
    (r"deep_[a-z]+_eff$", "efficientnet-b7"),
    (r"lpips([-_]alex(net)?)?$", "alexnet"),
    (r"lpips[-_]squeeze(net)?$", "squeezenet"),
)

# A backbone's recipe of its own name comes before "default" and the published protocol. AlexNet has LPIPS' alone.
_OF_NETWORK = {str(RECIPES[name].recipe.backbone): name for name in TOP_ONE if name in RECIPES}
_OF_NETWORK[str(RECIPES["lpips-alex"].recipe.backbone)] = "alexnet"


def backbone_of(metric: str) -> str | None:
    """The backbone of a metric by its name: a recipe's, one of the published tables', or a timm model's.

    It is a name of :data:`TOP_ONE`, or ``None`` for no backbone (PSNR, SPIPS), an unknown one, or weights that are not
    those whose accuracy is known (random, or trained on people's opinions).

    >>> backbone_of("dinov1_l2"), backbone_of("embed_clip_rn50_cos"), backbone_of("psnr")
    ('dino-vit-b16', 'clip-rn50', None)
    >>> backbone_of("vit-tiny:distance=l2"), backbone_of("vit-tiny:weights=random:0"), backbone_of("spips")
    ('vit-tiny', None, None)
    """
    base, *overrides = re.split(r":(?=\w+=)", metric.removeprefix("pyiqa:"))
    base = base.partition("/")[0]
    fields = dict(override.split("=", 1) for override in overrides)
    if base == "spips" or fields.get("weights", "pretrained") != "pretrained":
        return None  # conventional measures have a part in SPIPS
    base = fields.get("backbone", base)
    if base in RECIPES:
        return _OF_NETWORK.get(str(RECIPES[base].recipe.backbone))
    if base in _OF_NETWORK:
        return _OF_NETWORK[base]
    if base in TOP_ONE:
        return base
    base = base.removeprefix("embed_")
    return next((backbone for pattern, backbone in _PUBLISHED if re.match(pattern, base)), None)


@dataclass(frozen=True)
class AccuracyFinding:
    """Rank correlation over backbones between ImageNet top-1 and a figure of their metrics."""

    what: str  #: the figure, such as ``"desirability"`` or ``"SRCC"``
    backbones: tuple[str, ...]  #: ``B`` names
    metrics: tuple[str, ...]  #: the metric that stands for each backbone: its best
    top1: tuple[float, ...]  #: ``(B,)`` ImageNet top-1 accuracy in per cent
    values: tuple[float, ...]  #: ``(B,)`` the figure
    rho: float  #: Spearman's rank correlation; NaN for fewer than 4 backbones
    p: float  #: two-sided permutation p-value of ``rho``
    interval: tuple[float, float]  #: 95 % interval of ``rho`` by bootstrap over backbones
    note: str  #: what to know: few backbones, kinds of accuracy that differ
    kinds: tuple[Kind, ...] = ()  #: ``(B,)`` how each accuracy was come by


def accuracy_finding(
    values: Mapping[str, float], what: str, permutations: int = 10_000, bootstrap: int = 2000, seed: int = 0
) -> AccuracyFinding:
    """Correlate a figure of metrics with the accuracy of their backbones.

    Khatami and Mahmoudi-Aznaveh (IPRIA 2023) say that perceptual similarity is not directly related to classification
    accuracy. The best metric stands for each backbone, so that one with many metrics counts once. Taking the best of
    many favours the backbones with many metrics; name one metric a backbone to leave that out. Metrics of one backbone
    also differ in what was learned on top of it: LPIPS and DISTS weigh its features by people's opinions.

    ``values`` are the figure by metric, whose name tells the backbone (:func:`backbone_of`); higher is better, NaN is
    none. ``permutations`` are of the accuracies among backbones: all, exactly, where there are no more than this.
    ``bootstrap`` resamples of the backbones give the interval, without those of fewer than two accuracies or values.

    >>> values = {"lpips": 0.77, "lpips_vgg": 0.68, "dinov1_l2": 0.79, "dinov1_cos": 0.78, "dinov2_cos": 0.72}
    >>> finding = accuracy_finding(values, "SRCC on TID2013")
    >>> finding.backbones, finding.metrics[2]
    (('alexnet', 'vgg16', 'dino-vit-b16', 'dinov2-vit-b14'), 'dinov1_l2')
    >>> round(finding.rho, 3), round(finding.p, 3)
    (0.0, 1.0)
    """
    best: dict[str, str] = {}
    left_out = []
    for metric, value in values.items():
        backbone = backbone_of(metric)
        if backbone is None or np.isnan(value):
            left_out.append(metric)
        elif backbone not in best or value > values[best[backbone]]:
            best[backbone] = metric
    names = tuple(sorted(best, key=lambda name: TOP_ONE[name].top1))
    top1 = tuple(TOP_ONE[name].top1 for name in names)
    figures = tuple(float(values[best[name]]) for name in names)
    kinds = tuple(TOP_ONE[name].kind for name in names)
    tested = _correlate(np.array(top1), np.array(figures), permutations, bootstrap, seed)
    metrics = tuple(best[name] for name in names)
    return AccuracyFinding(what, names, metrics, top1, figures, *tested, _note(kinds, left_out), kinds)


def _correlate(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], permutations: int, bootstrap: int, seed: int
) -> tuple[float, float, tuple[float, float]]:
    """Spearman's rho of ``(B,)`` and ``(B,)``, its p and its interval; NaN where there is none."""
    rho = float(_spearman(x, y)) if len(x) >= FEWEST else np.nan
    if np.isnan(rho):
        return np.nan, np.nan, (np.nan, np.nan)
    how = {"permutation_type": "pairings", "vectorized": True, "n_resamples": permutations, "batch": 1000}
    tested = stats.permutation_test(
        (x,), lambda shuffled, axis: _spearman(shuffled, y), rng=np.random.default_rng(seed), **how
    )
    drawn = np.random.default_rng(seed).integers(len(x), size=(bootstrap, len(x)))
    low, high = interval(_spearman(x[drawn], y[drawn]))
    return rho, float(tested.pvalue), (float(low), float(high))


def _spearman(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Spearman's rho along the last axis; NaN where a side is constant."""
    x, y = (stats.rankdata(side, axis=-1) - (side.shape[-1] + 1) / 2 for side in (x, y))
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = (x * y).sum(-1) / np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    # Rounding of the square root must not split what is tied among permutations.
    return np.asarray(np.round(np.clip(rho, -1, 1), 12))


def _note(kinds: tuple[str, ...], left_out: list[str]) -> str:
    parts = [counted(len(kinds), "backbone")]
    if len(kinds) < FEWEST:
        parts[0] += f": fewer than {FEWEST} tell nothing"
    elif len(kinds) < 15:
        parts[0] += ": few, so that only a strong relation would show"
    by_kind = Counter(kinds)
    if len(by_kind) > 1:
        shares = ", ".join(f"{number} {kind}" for kind, number in by_kind.most_common())
        parts.append(f"kinds of accuracy that are not comparable as they stand ({shares})")
    if left_out:
        parts.append(f"left out, with no value or no backbone of known accuracy: {', '.join(sorted(left_out))}")
    return "; ".join(parts)
