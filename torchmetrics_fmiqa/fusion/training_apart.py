"""The state that a head is trained in, whatever the caller's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from torchmetrics_fmiqa.features.building import built_in_the_open


@contextmanager
def apart() -> Iterator[None]:
    """Train in the open, and leave the caller's threads, random numbers and modes as they were.

    Whoever calls may be in inference mode, under autocast, with another default device: nothing of it reaches a head.
    """
    threads = torch.get_num_threads()
    strict = torch.get_deterministic_debug_mode()
    # So small a network is quicker on one thread, and sums do not depend on how many there are.
    torch.set_num_threads(1)
    try:
        with (
            built_in_the_open(),
            torch.enable_grad(),
            torch.autocast("cpu", enabled=False),
            torch.random.fork_rng(devices=[]),
        ):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(strict)  # a Trainer sets its own
