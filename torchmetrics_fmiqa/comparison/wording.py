"""What a comparison found, in words: who is better, who is tied, and which metrics disagree."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.comparison.marks import best_first
from torchmetrics_fmiqa.comparison.scores import MethodScores
from torchmetrics_fmiqa.report.document import Name, Text, enumerate_names
from torchmetrics_fmiqa.report.numbers import counted, number
from torchmetrics_fmiqa.statistics.paired import PairedStatistics


def decimals(values: npt.ArrayLike) -> int:
    """Decimals that a metric is printed with: 2 as PSNR, 4 as SSIM, 6 of small distances.

    >>> decimals([26.1, 9.7]), decimals([0.71]), decimals([0.0004]), decimals([])
    (2, 4, 6, 4)
    """
    known = np.abs(np.asarray(values, dtype=np.float64))
    most = float(known[np.isfinite(known)].max(initial=0.0))
    return 2 if most >= 10 else 6 if 0 < most < 0.01 else 4


def difference_decimals(means: npt.ArrayLike, low: float, high: float) -> int:
    """Decimals that a difference is printed with: those of the means, and more where its interval needs them.

    >>> difference_decimals([26.1, 25.9], -0.3, -0.1), difference_decimals([0.71], 0.00001, 0.00003)
    (2, 5)
    """
    half = (high - low) / 2
    needed = -math.floor(math.log10(half)) if math.isfinite(half) and half > 0 else 0
    return max(decimals(means), min(needed, 8))


def best_method(scores: MethodScores, statistics: PairedStatistics, metric: int) -> int | None:
    """Index of the method with the best mean by a metric; ``None`` where no method has one."""
    means = statistics.mean[:, metric]
    best = best_first(means, scores.metrics[metric] in scores.qualities)[0]
    return None if np.isnan(means[best]) else best


def is_tied(statistics: PairedStatistics, first: int, second: int, metric: int) -> bool:
    """Whether two methods were tested, and their difference is not settled; one image or group tests nothing."""
    at = first, second, metric
    return not math.isnan(statistics.p_holm[at]) and int(statistics.settled[at]) == 0


def answer_text(scores: MethodScores, statistics: PairedStatistics) -> Text:
    """The answer in a sentence: by the first metric, and whether the others say otherwise."""
    metric = scores.metrics[0]
    best = best_method(scores, statistics, 0)
    images = counted(int(statistics.images[0]), "image")
    if best is None:
        return (Name(metric), " has no score of these images by all methods: no answer.")
    settled = statistics.settled[best, :, 0]
    others = [place for place in range(len(scores.methods)) if place != best]
    worse = enumerate_names([scores.methods[place] for place in others if settled[place] > 0])
    as_good = [scores.methods[place] for place in others if settled[place] == 0]
    tied = enumerate_names(as_good)
    digits = decimals(statistics.mean[:, 0])
    direction = "higher" if metric in scores.qualities else "lower"
    by: Text = (f" on {images}, by the metric ", Name(metric))
    mean = f" (mean {number(float(statistics.mean[best, 0]), digits)}, {direction} is better)"
    name = Name(scores.methods[best])
    if np.isnan(statistics.p_holm[best, others, 0]).all():
        said: Text = (name, " has the best mean", *by, mean, ", but one image or one group settles nothing")
    elif not tied:
        said = (name, " is better than ", *worse, *by, mean)
    elif worse:
        said = (name, " has the best mean", *by, mean, ", but is tied with ", *tied, "; it is better than ", *worse)
    else:
        all_tied = enumerate_names([scores.methods[best], *as_good])
        said = (*all_tied, " are tied", *by, ": no difference from the best mean is settled")
    contrary = [other for place, other in enumerate(scores.metrics) if (statistics.settled[best, :, place] < 0).any()]
    if contrary:
        said = (*said, "; ", *enumerate_names(contrary), f" {'says' if len(contrary) == 1 else 'say'} otherwise")
    return (*said, ".")


def disagreements(scores: MethodScores, statistics: PairedStatistics) -> list[Text]:
    """A sentence for each pair of methods that metrics settle in opposite ways."""
    found: list[Text] = []
    for first, one in enumerate(scores.methods):
        for second in range(first + 1, len(scores.methods)):
            other = scores.methods[second]
            settled = statistics.settled[first, second]
            for_one, for_other = (
                [metric for metric, sign in zip(scores.metrics, settled, strict=True) if sign == wanted]
                for wanted in (1, -1)
            )
            if for_one and for_other:
                words = (
                    Name(one),
                    " is better than ",
                    Name(other),
                    " by ",
                    *enumerate_names(for_one),
                    ", and worse by ",
                )
                found.append((*words, *enumerate_names(for_other), "."))
    return found


def lacking_images(scores: MethodScores, statistics: PairedStatistics) -> list[Text]:
    """A sentence for each metric that has no score of some of the images, such as those that are too small for it."""
    count = len(scores.images)
    return [
        (Name(metric), f" has a score by all methods of {int(known):,} of the {counted(count, 'image')}.")
        for metric, known in zip(scores.metrics, statistics.images, strict=True)
        if known < count
    ]
