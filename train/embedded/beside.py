"""Put an untrained trunk beside trained weights that have none, as the weights in the package have it.

    python -m train.embedded.beside runs/L3/weights.safetensors --labelled runs/labelled --out embedded.safetensors

Weights that ``train.embedded.train`` writes today have theirs; those in the package were trained before there was one.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from safetensors import safe_open

from torchmetrics_fmiqa.features.embedded import EmbeddedNetwork
from torchmetrics_fmiqa.features.weights import parse_weights, read_state_dict
from train.embedded.labelled import Labelled
from train.embedded.train import centre
from train.embedded.weights import commit, save_weights


def beside(trained: Path, labelled: Path, seed: int) -> EmbeddedNetwork:
    """Return the network of the trained weights, with an untrained trunk that is centred on crops of made images.

    Args:
        trained: weights of a network of the usual widths.
        labelled: folder of labelled batches, for their crops.
        seed: of the trunk.

    Raises:
        ValueError: for weights that have one already, are another network's, or cannot be read.
    """
    parse_weights(str(trained))  # a file that is there
    network, kept = EmbeddedNetwork(seed), read_state_dict(str(trained))
    lacking = network.state_dict().keys() - kept.keys()
    others = kept.keys() - network.state_dict().keys()
    if others or not all(name.startswith("untrained.") for name in lacking):
        raise ValueError(f"{str(trained)!r} holds another network's weights")
    if not lacking:
        raise ValueError(f"{str(trained)!r} has an untrained trunk already")
    network.load_state_dict(kept, strict=False)
    batches = Labelled(labelled)
    centre(network, lambda step: batches.batch(0, step, 0.0)[0])
    return network


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("weights", type=Path, help="of train.embedded.train")
    parser.add_argument("--labelled", type=Path, required=True, help="folder of labelled batches")
    parser.add_argument("--seed", type=int, default=0, help="of the trunk")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    try:
        network = beside(options.weights, options.labelled, options.seed)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    with safe_open(options.weights, "pt") as file:
        facts = file.metadata() or {}
    command = shlex.join(["python", "-m", "train.embedded.beside", *sys.argv[1:]])
    save_weights(network, options.out, {**facts, "beside_command": command, "beside_commit": commit()})


if __name__ == "__main__":
    main()
