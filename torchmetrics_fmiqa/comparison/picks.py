"""Which images of a comparison are worth looking at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from torchmetrics_fmiqa.comparison.advantages import scored_images
from torchmetrics_fmiqa.comparison.scores import MethodScores
from torchmetrics_fmiqa.comparison.wording import decimals
from torchmetrics_fmiqa.report.document import Name, Text
from torchmetrics_fmiqa.report.numbers import number

#: Images of each kind: where the methods differ most, where a method does worst, and drawn at random.
DIFFERING, WORST, RANDOM = 6, 2, 4


DIFFER, AT_RANDOM = "The methods differ most", "At random"


class Pick(NamedTuple):
    """An image to show: its place among the images, the kind it is of, and why it is shown."""

    place: int
    kind: str
    why: Text


def pick_images(scores: MethodScores, seed: int = 0) -> list[Pick]:
    """Choose images to look at, each once, the most telling first.

    The kinds take turns: an image where the methods differ most by the first metric, one where each method does
    worst, one at random, and again. An image without a score by that metric can be drawn at random only.

    Args:
        scores: of all images.
        seed: of what is drawn at random.

    >>> from pathlib import Path
    >>> from torchmetrics_fmiqa.comparison.scores import ComparedImage
    >>> image = ComparedImage("a", Path("a.png"), {"x": Path("x/a.png"), "y": Path("y/a.png")}, "a")
    >>> scores = MethodScores(("x", "y"), ("psnr",), frozenset({"psnr"}), (image,), np.array([[[31.0]], [[30.5]]]))
    >>> pick = pick_images(scores)[0]
    >>> pick.kind, "".join(pick.why)
    ('The methods differ most', 'psnr goes from 30.50 (y) to 31.00 (x)')
    """
    metric, values = scores.metrics[0], scores.values[:, 0]
    loss = -values if metric in scores.qualities else values
    digits = decimals(values)
    known = scored_images(scores, 0)

    def score(method: int, place: int) -> Text:
        return (f"{number(float(values[method, place]), digits)} (", Name(scores.methods[method]), ")")

    def differing(place: int) -> Text:
        low, high = int(values[:, place].argmin()), int(values[:, place].argmax())
        return (f"{metric} goes from ", *score(low, place), " to ", *score(high, place))

    def worst(method: int, place: int) -> Text:
        mean = number(float(values[method, known].mean()), digits)
        return (f"{metric} is ", *score(method, place), f", {mean} in the mean")

    apart = np.ptp(values[:, known], axis=0)
    kinds = [(DIFFER, known[np.argsort(-apart, kind="stable")][: np.count_nonzero(apart)], DIFFERING)]
    for method, name in enumerate(scores.methods):
        kinds.append((f"{name} does worst", known[np.argsort(-loss[method, known], kind="stable")], WORST))
    kinds.append((AT_RANDOM, np.random.default_rng(seed).permutation(len(scores.images)), RANDOM))
    picked: dict[int, Pick] = {}
    for turn in range(max(DIFFERING, WORST, RANDOM)):
        for queue, (kind, order, most) in enumerate(kinds):
            place = next((int(one) for one in order if one not in picked), None) if turn < most else None
            if place is not None:
                last = queue == len(kinds) - 1
                why = ("drawn from all images",) if last else worst(queue - 1, place) if queue else differing(place)
                picked[place] = Pick(place, kind, why)
    return list(picked.values())
