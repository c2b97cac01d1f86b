"""How fast the embedded network scores a pair, beside ViT-Tiny in tiles and LPIPS-squeeze, all in one run.

    python benchmarks/embedded.py                      # CPU, a minute
    python benchmarks/embedded.py --device cuda --repeats 50

Ratios of least seconds; the measures take turns. Weights do not matter for the time and are random where none are at
hand. `start`: seconds from a fresh process to the first number of `FeatureDistance()`, and to `import torchmetrics`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from functools import partial

import torch
from common import least, lpips_squeeze, seconds_of

from torchmetrics_fmiqa import FeatureDistance

_IMPORT = "import torchmetrics"
_FIRST = """
import torch
from torchmetrics_fmiqa import FeatureDistance
print(float(FeatureDistance()(torch.zeros(1, 3, 224, 224), torch.ones(1, 3, 224, 224))))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(1, 3, options.side, options.side, generator=generator)
    preds = (target + 0.05 * torch.randn(target.shape, generator=generator)).clamp(0, 1).to(options.device)
    target = target.to(options.device)
    metrics = {
        "embedded": FeatureDistance(),
        "vit-tiny, tiles": FeatureDistance("vit-tiny", weights="random:0"),
        "squeezenet": FeatureDistance("squeezenet", weights="random:0"),
    }
    lpips = lpips_squeeze(pretrained=False).to(options.device).eval()

    def scored(metric: FeatureDistance) -> None:
        metric.update(preds, target)

    def torchmetrics_lpips() -> None:
        with torch.no_grad():
            lpips(preds, target)

    calls = {name: partial(scored, metric.to(options.device)) for name, metric in metrics.items()}
    seconds = seconds_of({**calls, "torchmetrics LPIPS-squeeze": torchmetrics_lpips}, options.repeats, options.device)
    print(f"a pair of {options.side}², {options.device}, {torch.get_num_threads()} threads")
    for name, value in seconds.items():
        print(f"{name:28s} {1000 * value:7.1f} ms   {value / seconds['embedded']:5.2f} of embedded")
    # The first has cold files; the two take turns.
    start = least({"import": partial(started, _IMPORT), "first": partial(started, _FIRST)}, repeats=3)
    imported, first = start["import"][0], start["first"][0]
    print(f"start: import torchmetrics {imported:.2f} s, first number of FeatureDistance() {first:.2f} s")


def started(code: str) -> list[float]:
    """Seconds that a fresh process takes for it."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True)
    return [time.perf_counter() - start]


if __name__ == "__main__":
    main()
