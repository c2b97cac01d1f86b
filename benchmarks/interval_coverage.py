"""How often the intervals of `fmiqa compare` cover the truth, and how often chance alone settles two methods.

    python benchmarks/interval_coverage.py

Prints the table of docs/how-to/compare.md. Takes about three minutes on one thread.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from torchmetrics_fmiqa.statistics.bootstrap_t import bootstrap_t
from torchmetrics_fmiqa.statistics.paired import compare_paired

RUNS, TESTED_RUNS = 5000, 2000
COUNTS = (5, 14, 25, 100)
#: Name -> how to draw values, and their true mean.
SCORES: dict[str, tuple[Callable[[np.random.Generator, tuple[int, int]], np.ndarray], float]] = {
    "normal": (lambda rng, shape: rng.normal(size=shape), 0.0),
    "heavy tails (Student's t, 3 degrees)": (lambda rng, shape: rng.standard_t(3, size=shape), 0.0),
    "skewed (gamma 2)": (lambda rng, shape: rng.gamma(2.0, size=shape), 2.0),
    "very skewed (exponential)": (lambda rng, shape: rng.exponential(size=shape), 1.0),
    "extreme (log-normal)": (lambda rng, shape: rng.lognormal(size=shape), float(np.exp(0.5))),
}


def coverage(values: np.ndarray, truth: float) -> tuple[float, float]:
    """Share of columns whose interval covers the truth: ours, and by percentiles of resampled means."""
    found = bootstrap_t(values)
    means = np.random.default_rng(0).multinomial(len(values), np.full(len(values), 1 / len(values)), size=4999)
    low, high = np.quantile(means @ values / len(values), [0.025, 0.975], axis=0)
    ours = (found.low < truth) & (truth < found.high)
    return float(ours.mean()), float(((low < truth) & (truth < high)).mean())


def settled(count: int, skewed: bool) -> float:
    """Share of runs in which any two of three equal methods are settled by any of two metrics."""
    hits = 0
    for run in range(TESTED_RUNS):
        rng = np.random.default_rng(run)
        noise = rng.normal(size=(3, 2, count))
        if skewed:
            noise[0] = rng.exponential(size=(2, count)) - 1
        scores = rng.normal(0, 3, size=(1, 2, count)) + noise
        hits += bool(compare_paired(scores, [True, True], resamples=999, seed=run).settled.any())
    return hits / TESTED_RUNS


def main() -> None:
    """Print both tables."""
    print("| scores | " + " | ".join(f"{count} images" for count in COUNTS) + " |")
    for name, (draw, truth) in SCORES.items():
        shares = [coverage(draw(np.random.default_rng(count), (count, RUNS)), truth) for count in COUNTS]
        print(f"| {name} | " + " | ".join(f"{100 * ours:.1f} ({100 * other:.1f})" for ours, other in shares) + " |")
    for skewed in (False, True):
        shares = [settled(count, skewed) for count in COUNTS]
        print(f"any settled, {'skewed' if skewed else 'normal'}: " + ", ".join(f"{100 * one:.1f} %" for one in shares))


if __name__ == "__main__":
    main()
