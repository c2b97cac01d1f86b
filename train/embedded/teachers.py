"""Networks that know photographs, and what they see where the embedded network has a tap.

A teacher's cells are not centred where ours are. So each tap is read from a pass of its own, over the image moved by so
many pixels that the centres lie within half a pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.embedded.photographs import ASSETS

#: ``(N, 3, H, W)`` in [0, 1], sides multiples of 16 -> what each of our blocks should see.
Teacher = Callable[[Tensor], list[Tensor]]


def squeezenet() -> Teacher:
    """SqueezeNet 1.1, BSD-3-Clause: its features.3, .4, .6, .7 and .9, at 1/4, 1/4, 1/8, 1/8 and 1/16 of the size."""
    from safetensors.torch import load_file
    from torchvision.models import squeezenet1_1

    network = squeezenet1_1()
    network.load_state_dict(load_file(ASSETS / "weights" / "squeezenet1_1.safetensors"))
    layers = network.features.eval().requires_grad_(False)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def seen(images: Tensor) -> list[Tensor]:
        images = (images - mean[:, None, None]) / std[:, None, None]
        # Cell j of the tap of stride s has its centre at pixel s * j + s - 1; ours at s * j + (s - 1) / 2.
        return [
            *_moved(layers, images, 4, (3, 4)),
            *_moved(layers, images, 8, (6, 7)),
            *_moved(layers, images, 16, (9,)),
        ]

    return seen


def _moved(layers: nn.Sequential, images: Tensor, stride: int, taps: Sequence[int]) -> list[Tensor]:
    height, width = (side // stride for side in images.shape[-2:])
    values = F.pad(images, (stride // 2, stride, stride // 2, stride), mode="reflect")
    # Channels last: pooling is several times as fast on a CPU.
    values = values.contiguous(memory_format=torch.channels_last)
    found = []
    for number, layer in enumerate(layers[: taps[-1] + 1]):
        values = layer(values)
        if number in taps:
            found.append(values[..., :height, :width])
    return found


#: Teachers by name.
TEACHERS: dict[str, Callable[[], Teacher]] = {"squeezenet": squeezenet}
