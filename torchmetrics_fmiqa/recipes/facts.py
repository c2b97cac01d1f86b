"""Measured cost of the named recipes, and their agreement with people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Agreement(NamedTuple):
    """Agreement with people on a data set, with images shrunk to a longer side of at most 960.

    Args:
        srcc: Spearman's rank correlation over all images, in [-1, 1].
        low: lower end of its 95 % interval, by bootstrap over references.
        high: upper end of the interval.
        within: mean of the correlation within each reference.
    """

    srcc: float
    low: float
    high: float
    within: float


@dataclass(frozen=True)
class Facts:
    """Measured figures of a recipe; ``None`` if not measured.

    Args:
        gmacs: 10^9 multiply-accumulate operations for a pair of 512 x 512.
        people: agreement by data set: ``live58``, 58 images of LIVE Release 2 (blur, JPEG, noise; 5 references);
            ``live_dev``, 149 of it (blur, JPEG; 17 references); ``sr4kiqa``, 133 super-resolved images of SR4KIQA
            (7 references of 4K); ``srij``, 228 of SRIJ (12 references, grey).
        tid2013: SRCC on the 3,000 images of TID2013, of the published ZS-IQA scores for the network and the distance.
            These follow the ZS-IQA protocol, whatever the recipe's.
        live: the same on the 779 images of LIVE Release 2.
        memory: peak size of the features, in 10^6 bytes for each megapixel of a pair of 512 x 512, without the weights;
            computed from shapes.
    """

    gmacs: float
    people: Mapping[str, Agreement] = field(default_factory=dict)
    tid2013: float | None = None
    live: float | None = None
    memory: float | None = None


#: Data sets of ``people``, and the folders of ``FMIQA_ASSETS/iqa`` that they were measured on.
SETS = {"live58": "live58", "live_dev": "live_dev", "sr4kiqa": "sr4kiqa_dev", "srij": "srij_dev"}

#: Recipe -> facts. Costs are from ``benchmarks/recipe_costs.py``; ``people`` from
#: ``python -m train.embedded.evaluate``, of the networks whose weights were at hand; ``tid2013`` and ``live`` from
#: docs/published.
FACTS: dict[str, Facts] = {
    "embedded": Facts(
        2.6,
        people={
            "live58": Agreement(0.961, 0.925, 0.986, 0.967),
            "live_dev": Agreement(0.962, 0.949, 0.976, 0.979),
            "sr4kiqa": Agreement(0.948, 0.923, 0.968, 0.950),
            "srij": Agreement(0.822, 0.742, 0.890, 0.870),
        },
        memory=416,
    ),
    "clip-vit-b32": Facts(79.4, tid2013=0.758, live=0.965, memory=398),
    "openclip-vit-b32": Facts(79.4, memory=398),
    "vit-b16": Facts(316.1, tid2013=0.757, live=0.961),
    "dino-vit-b16": Facts(316.1, tid2013=0.786, live=0.965),
    "dinov2-vit-b14": Facts(416.9, tid2013=0.722, live=0.946),
    "clip-rn50": Facts(56.1, tid2013=0.658, live=0.959, memory=624),
    "openclip-convnext-b": Facts(160.4, tid2013=0.604, live=0.949),
    "dinov3-vit-b16": Facts(322.8),
    "siglip2-vit-b16": Facts(314.5),
    "dinov2-vit-s14": Facts(110.2, memory=803),
    "vit-tiny": Facts(
        7.9,
        people={
            "live58": Agreement(0.965, 0.947, 0.980, 0.963),
            "live_dev": Agreement(0.969, 0.959, 0.978, 0.981),
            "sr4kiqa": Agreement(0.913, 0.891, 0.950, 0.941),
            "srij": Agreement(0.804, 0.747, 0.874, 0.868),
        },
        memory=285,
    ),
    "squeezenet": Facts(
        1.4,
        people={
            "live58": Agreement(0.963, 0.940, 0.979, 0.971),
            "live_dev": Agreement(0.966, 0.955, 0.976, 0.976),
            "sr4kiqa": Agreement(0.952, 0.926, 0.966, 0.941),
            "srij": Agreement(0.848, 0.778, 0.911, 0.895),
        },
        memory=306,
    ),
    "vgg16": Facts(160.4, memory=1744),
    "lpips-squeeze": Facts(
        2.9,
        people={
            "live58": Agreement(0.921, 0.857, 0.963, 0.945),
            "live_dev": Agreement(0.929, 0.912, 0.946, 0.959),
            "sr4kiqa": Agreement(0.927, 0.903, 0.954, 0.942),
            "srij": Agreement(0.741, 0.676, 0.830, 0.877),
        },
        memory=528,
    ),
    "lpips-alex": Facts(7.3, memory=144),
    "lpips-vgg": Facts(160.4),
    "zsiqa-clip-vit-b32": Facts(79.4, tid2013=0.793, live=0.968),
    "zsiqa-clip-rn50": Facts(96.6),
    "zsiqa-openclip-vit-b32": Facts(79.4),
    "zsiqa-openclip-convnext-b": Facts(276.4),
    "zsiqa-vit-b16": Facts(316.1, tid2013=0.621, live=0.906),
    "zsiqa-dino-vit-b16": Facts(316.1, tid2013=0.792, live=0.964),
    "zsiqa-dinov2-vit-b14": Facts(416.9),
}
