"""Teach the embedded network what a network sees that knows photographs. No human score takes part.

    python -m train.embedded.lessons runs/lessons
    python -m train.embedded.distil --lessons runs/lessons --minutes 60 --out runs/first

Interrupt it whenever you like: the same command goes on where it was. OUT gets weights.safetensors (half precision),
checkpoint.pt and log.csv.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchmetrics_fmiqa.distances import Distance, cosine, symmetric_kl
from torchmetrics_fmiqa.features.embedded import CHANNELS, MEAN, SQUEEZED, STD, EmbeddedNetwork, Layer
from train.embedded.teachers import TEACHERS
from train.embedded.weights import CHECKPOINT, save_run

# Cells at the border of a crop that are not compared: the teacher sees the edge otherwise.
_BORDER = 1
# What a logarithm of a distance is taken of is at least so much.
_LEAST = 1e-4


@dataclass(frozen=True)
class Settings:
    """What a run depends on.

    Args:
        lessons: folder of :mod:`train.embedded.lessons`.
        minutes: of learning.
        teacher: one of ``TEACHERS``.
        features: weight of what the teacher sees in each cell.
        distances: weight of the teacher's distances between a crop and its copies.
        channels: of the first layer and of each stage, with commas between.
        squeezed: channels that blocks squeeze to, with commas between.
        rate: highest learning rate.
        seed: of the first weights and of the order.
    """

    lessons: str
    minutes: float
    teacher: str = "squeezenet"
    features: float = 1.0
    distances: float = 0.3
    channels: str = ",".join(map(str, CHANNELS))
    squeezed: str = ",".join(map(str, SQUEEZED))
    rate: float = 3e-3
    seed: int = 0


class Pupil(EmbeddedNetwork):
    """The network with batch normalisation before each threshold, which is taken into the weights at the end."""

    def __init__(self, seed: int, channels: Sequence[int], squeezed: Sequence[int]) -> None:
        super().__init__(seed, channels, squeezed)
        self.widths = channels, squeezed
        self.names = [name for name, module in self.named_modules() if isinstance(module, Layer)]
        self.norms = nn.ModuleList(_Scaled(len(self.get_submodule(name).bias)) for name in self.names)
        for name, norm in zip(self.names, self.norms, strict=True):
            layer = self.get_submodule(name)
            layer.bias.requires_grad_(False).zero_()
            layer.register_forward_hook(lambda layer, inputs, _, norm=norm: F.relu(norm(layer.convolve(inputs[0]))))

    def blocks(self, images: Tensor) -> list[Tensor]:
        """What each block gives, shallow to deep; the last of a stage is its tap."""
        values, found = self.stem(images), []
        for stage in self.stages:
            found += stage.blocks(F.max_pool2d(values, 2))
            values = found[-1]
        return found

    def scale_to(self, sizes: Sequence[Tensor]) -> None:
        """Let each block start at the size of what it should give: steps are too small to grow tenfold."""
        norms = dict(zip(self.names, self.norms, strict=True))
        layers = iter([norm for name, norm in norms.items() if name.startswith("stages.")])
        for _, narrow, wide, size in zip(layers, layers, layers, sizes, strict=True):
            for half, scale in zip((narrow, wide), (size + 1e-3).sqrt().chunk(2), strict=True):
                half.scale.copy_(scale)

    def folded(self) -> EmbeddedNetwork:
        """The network without normalisation, of equal results in evaluation."""
        state = {name: value.clone() for name, value in self.state_dict().items() if not name.startswith("norms.")}
        for name, norm in zip(self.names, self.norms, strict=True):
            factor = norm.weight / (norm.running_var + norm.eps).sqrt()
            state[f"{name}.weight"] *= (norm.scale * factor)[:, None, None, None]
            state[f"{name}.bias"] = norm.scale * (norm.bias - norm.running_mean * factor)
        plain = EmbeddedNetwork(0, *self.widths)
        plain.load_state_dict({name: value.detach() for name, value in state.items()})
        return plain


class _Scaled(nn.BatchNorm2d):
    """Batch normalisation, times a constant of each channel."""

    scale: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("scale", torch.ones(channels))

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values) * self.scale[:, None, None]


class Run:
    """A run in its folder, which goes on from its last checkpoint if there is one.

    Raises:
        ValueError: if the folder holds a run with other settings, or there are no lessons.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        kept = folder / "settings.json"
        if kept.is_file() and json.loads(kept.read_text()) != asdict(settings):
            raise ValueError(f"{folder} holds a run with other settings: give another --out")
        self.lessons = sorted(Path(settings.lessons).glob("*.npy"))
        if not self.lessons:
            raise ValueError(f"no lessons in {settings.lessons}: make them with `python -m train.embedded.lessons`")
        self.teacher = TEACHERS[settings.teacher]()
        self.pupil = Pupil(settings.seed, _numbers(settings.channels), _numbers(settings.squeezed))
        self.size = self._sizes()
        self.pupil.scale_to(self.size)
        learning = [parameter for parameter in self.pupil.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(learning, settings.rate, weight_decay=1e-3)
        self.step, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(asdict(settings), indent=1) + "\n")
        if self._checkpoint.is_file():
            state = torch.load(self._checkpoint, weights_only=True)
            self.pupil.load_state_dict(state["pupil"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]

    @property
    def _checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    @torch.no_grad()
    def _sizes(self) -> list[Tensor]:
        """Mean square of each of the teacher's channels."""
        seen = [self.teacher(_images(np.load(path))) for path in self.lessons[:12]]
        return [torch.stack([tap.square().mean((0, 2, 3)) for tap in taps]).mean(0) for taps in zip(*seen, strict=True)]

    @torch.no_grad()
    def _wanted(self, path: Path, images: Tensor) -> list[Tensor]:
        """What the teacher sees, kept beside the lesson: seeing costs as much as learning."""
        kept = path.with_suffix(f".{self.settings.teacher}.pt")
        if not kept.exists():
            fresh = kept.with_suffix(f".{os.getpid()}")
            torch.save([tap.half() for tap in self.teacher(images)], fresh)
            fresh.replace(kept)
        return [tap.float() for tap in torch.load(kept, weights_only=True)]

    def learn(self, command: str) -> None:
        """To the end; a line of the log and a checkpoint every 100 steps."""
        sums: dict[str, float] = {}
        with (self.folder / "log.csv").open("a", newline="") as file:
            log = csv.writer(file)
            while self.seconds < 60 * self.settings.minutes:
                start = time.process_time()
                for name, value in self.learn_step().items():
                    sums[name] = sums.get(name, 0.0) + value / 100
                self.seconds += time.process_time() - start  # of the processor: it may be shared
                if self.step % 100 == 0:
                    log.writerow([self.step, f"{self.seconds:.0f}", *(f"{key}={sums[key]:.4f}" for key in sums)])
                    file.flush()
                    sums = {}
                    self.save(command)
        self.save(command)

    def learn_step(self) -> dict[str, float]:
        """One lesson; what it lost."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        path = self._next_lesson()
        lesson = np.load(path)
        images = _images(lesson)
        wanted = self._wanted(path, images)
        seen = self.pupil.blocks((images - MEAN) / STD)
        found = {"features": torch.zeros(()), "distances": torch.zeros(())}
        inner = slice(_BORDER, -_BORDER)
        for number, (size, one, other) in enumerate(zip(self.size, seen, wanted, strict=True)):
            one, other = one[..., inner, inner], other[..., inner, inner]
            wrong = (one - other).square().mean((0, 2, 3)) / (size + 1e-3)
            turned = 1 - F.cosine_similarity(one, other, dim=1, eps=1e-6)
            found["features"] = found["features"] + wrong.mean() + turned.mean()
            if number == self.step % len(seen):  # one tap a step: distances cost as much as the network
                found["distances"] = _distances_apart(one, other, lesson.shape[:2])
        weights = {"features": self.settings.features, "distances": self.settings.distances}
        loss = torch.stack([weights[name] * value for name, value in found.items()]).sum()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.pupil.parameters(), 2.0)
        self.optimizer.step()
        self.step += 1
        return {name: value.item() for name, value in found.items()}

    def _rate(self) -> float:
        """Grows for 50 steps, then falls along a cosine to a hundredth."""
        done = min(1.0, self.seconds / (60 * self.settings.minutes))
        falling = 0.01 + 0.495 * (1 + math.cos(math.pi * done))
        return self.settings.rate * min(1.0, (self.step + 1) / 50) * falling

    def _next_lesson(self) -> Path:
        """All of them in one order, then all in another."""
        turn, place = divmod(self.step, len(self.lessons))
        order = np.random.default_rng([self.settings.seed, turn]).permutation(len(self.lessons))
        return self.lessons[order[place]]

    def save(self, command: str) -> None:
        """Write the checkpoint and the weights so far."""
        state = {
            "pupil": self.pupil.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        save_run(self.folder, state, self.pupil.folded(), command, self.step, asdict(self.settings))


def _numbers(words: str) -> list[int]:
    return [int(word) for word in words.split(",")]


def _images(lesson: np.ndarray) -> Tensor:
    return torch.from_numpy(lesson).flatten(0, 1).float() / 255


def _distances_apart(pupil: Tensor, teacher: Tensor, shape: tuple[int, ...]) -> Tensor:
    """How far the logarithms of distances from each crop to its copies lie from the teacher's."""
    total = torch.zeros(())
    for distance in (cosine, symmetric_kl):
        one, other = (_of_copies(features, shape, distance) for features in (pupil, teacher))
        total = total + F.smooth_l1_loss((one + _LEAST).log(), (other + _LEAST).log())
    return total


def _of_copies(features: Tensor, shape: tuple[int, ...], distance: Distance) -> Tensor:
    tokens = features.flatten(2).transpose(1, 2).unflatten(0, shape)
    crops, copies = tokens[:, :1].expand_as(tokens[:, 1:]), tokens[:, 1:]
    return distance(copies.flatten(0, 1), crops.flatten(0, 1))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for field in fields(Settings):
        kinds = {"str": str, "float": float, "int": int}
        default = {} if field.name in ("lessons", "minutes") else {"default": field.default}
        parser.add_argument(f"--{field.name}", type=kinds[str(field.type)], required=not default, **default)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    given = vars(parser.parse_args())
    out = given.pop("out")
    torch.set_num_threads(1)
    try:
        run = Run(Settings(**given), out)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    run.learn(shlex.join(["python", "-m", "train.embedded.distil", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
