"""Seconds for a large table of agreement: 23,200 images of 200 references, 42 metrics, 1000 resamples.

    python benchmarks/agreement_speed.py                   # about a minute on one core
    python benchmarks/agreement_speed.py --metrics 5       # a smaller one

The data are made up, of the size of PIPAL's training part: smooth scores, a third of them rounded so that they tie.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from torchmetrics_fmiqa.statistics import agreement, compare, fit_logistic, resample


def made_up(references: int, versions: int, metrics: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    reference = np.repeat(np.arange(references), versions)
    count = len(reference)
    quality = rng.normal(size=count) + 0.3 * rng.normal(size=references)[reference]
    opinion = 50 + 15 * np.tanh(quality) + 3 * rng.normal(size=count)
    scores = {}
    for place in range(metrics):
        score = quality + rng.uniform(0.2, 1.5) * rng.normal(size=count) + 0.3 * rng.normal(size=references)[reference]
        scores[f"metric_{place}"] = np.round(score, 2) if place % 3 == 0 else np.exp(score)
    return scores, opinion, reference


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--references", type=int, default=200)
    parser.add_argument("--versions", type=int, default=116)
    parser.add_argument("--metrics", type=int, default=42)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    scores, opinion, reference = made_up(options.references, options.versions, options.metrics)
    print(f"{len(opinion)} images, {len(scores)} metrics, {options.resamples} resamples")

    start = begin = time.perf_counter()
    fitted = np.stack([fit_logistic(one, opinion).fitted for one in scores.values()], axis=1)
    print(f"logistic fits for the resamples  {time.perf_counter() - start:6.1f} s", flush=True)
    start = time.perf_counter()
    drawn = resample(scores, opinion, reference, fitted, options.resamples)
    print(f"resamples                        {time.perf_counter() - start:6.1f} s", flush=True)
    start = time.perf_counter()
    types = np.arange(len(opinion)) % options.versions // 5
    table = agreement(scores, opinion, reference, types, drawn=drawn)
    print(f"point estimates (fits once more) {time.perf_counter() - start:6.1f} s", flush=True)
    start = time.perf_counter()
    wins = int((compare(scores, opinion, reference, drawn=drawn).beats == 1).sum())
    print(f"all pairs compared               {time.perf_counter() - start:6.1f} s", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"together                         {time.perf_counter() - begin:6.1f} s, peak memory {peak:.0f} MiB")
    best = max(table, key=lambda row: row.srcc)
    print(f"best: {best.metric}, SRCC {best.srcc:.4f} {best.intervals['srcc']}; {wins} of the pairs are settled")
