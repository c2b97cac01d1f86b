"""What the metric and the loss cost beyond the network itself, each ratio taken in one run.

    python benchmarks/overhead.py                      # CPU, about ten minutes on two cores
    python benchmarks/overhead.py --device cuda --precision bfloat16 --repeats 20

`update`: N pairs through the metric ÷ a bare forward of the same network on 2N images.
`loss`: forward + backward ÷ (the network's forward + backward on preds, forward on target).
`memory`: what `update` adds at its peak with all taps ÷ with the deepest tap alone, each in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys

import torch
from common import images, lpips_squeeze, seconds_of, timing_arguments

from torchmetrics_fmiqa import FeatureDistance, FeatureDistanceLoss


def main() -> None:
    parser = timing_arguments(str(__doc__), batch=8, size=224, repeats=7)
    parser.add_argument("--peak", choices=["all", "-1"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(peak_memory(options))
        return
    print(f"{options.backbone}, batch {options.batch}, {options.size}², {options.device}, {options.precision}")
    for name, ratio in {**ours(options), **others(options)}.items():
        print(f"{name:52s} {ratio:6.3f}", flush=True)
    deepest, every = (run_peak(options, taps) for taps in ("-1", "all"))
    print(f"{'memory: all taps ÷ deepest tap (peak of update)':52s} {every / deepest:6.3f}", flush=True)
    print(f"{'':52s} {every:.0f} and {deepest:.0f} MiB")


def ours(options: argparse.Namespace) -> dict[str, float]:
    fields = {"backbone": options.backbone, "weights": "random:0", "precision": options.precision}
    metric, loss = FeatureDistance(**fields).to(options.device), FeatureDistanceLoss(**fields)
    preds, target = images(options)
    net = metric.comparator.backbone.network.on(preds.device, torch.float32)
    both, learned = torch.cat([preds, target]), preds.clone().requires_grad_()
    half = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[options.precision]

    def autocast() -> torch.autocast:
        return torch.autocast(options.device, half or torch.bfloat16, enabled=half is not None)

    def bare() -> None:
        with torch.no_grad(), autocast():
            net.forward_features(both)

    def ideal() -> None:
        with torch.no_grad(), autocast():
            net.forward_features(target)
        with autocast():
            out = net.forward_features(learned)
        out.float().sum().backward()

    def step() -> None:
        loss(learned, target).backward()

    # Matching our own measure tile by tile, as the published code runs.
    def one_at_a_time() -> None:
        with torch.no_grad(), autocast():
            for image in both:
                net.forward_features(image[None])

    calls = {"bare": bare, "update": lambda: metric.update(preds, target), "ideal": ideal, "loss": step}
    seconds = seconds_of({**calls, "one": one_at_a_time}, options.repeats, options.device)
    return {
        "update ÷ bare forward on 2N images": seconds["update"] / seconds["bare"],
        "loss forward + backward ÷ ideal": seconds["loss"] / seconds["ideal"],
        "one image at a time, as published ÷ bare forward": seconds["one"] / seconds["bare"],
    }


def others(options: argparse.Namespace) -> dict[str, float]:
    import lpips

    preds, target = images(options)
    both, ratios = torch.cat([preds, target]), {}
    nets = {f"lpips {net}": lpips.LPIPS(net=net, pnet_rand=True, verbose=False) for net in ("squeeze", "vgg", "alex")}
    for name, net in {**nets, "torchmetrics LPIPS squeeze": lpips_squeeze(pretrained=False)}.items():
        net.to(options.device).eval()

        @torch.no_grad()
        def whole(net: torch.nn.Module = net) -> None:
            net(preds, target)

        @torch.no_grad()
        def trunk(net: torch.nn.Module = net) -> None:
            net.net(both)

        seconds = seconds_of({"whole": whole, "trunk": trunk}, 3 * options.repeats, options.device)
        ratios[f"{name} ÷ its bare trunk on 2N images"] = seconds["whole"] / seconds["trunk"]
    return ratios


def peak_memory(options: argparse.Namespace) -> float:
    """MiB that an update allocates at its peak, weights not counted: by torch's own account, not the process's."""
    taps = "all" if options.peak == "all" else [-1]
    metric = FeatureDistance(backbone=options.backbone, weights="random:0", precision=options.precision, taps=taps).to(
        options.device
    )
    pair = images(options)
    metric.update(*pair)  # weights on the device, buffers of the kernels
    if options.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        metric.update(*pair)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        metric.update(*pair)
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(held) / 2**20


def run_peak(options: argparse.Namespace, taps: str) -> float:
    same = [f"--{name}={getattr(options, name)}" for name in ("backbone", "batch", "size", "device", "precision")]
    done = subprocess.run(
        [sys.executable, __file__, *same, f"--peak={taps}"], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


if __name__ == "__main__":
    main()
