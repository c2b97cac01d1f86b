"""Made images of methods that differ in how noisy they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

#: Method -> standard deviation of its noise, in grey levels.
NOISE = {"weak": 4, "same": 4, "strong": 12}


def save(values: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.clip(0, 255).round().astype(np.uint8)).save(path)
    return path


def make_methods(folder: Path, count: int = 8, side: int = 32, suffix: str = "") -> Path:
    """Fill ``folder/ref`` and a folder for each method of :data:`NOISE` with ``count`` images."""
    rng = np.random.default_rng(0)
    for number in range(count):
        x, y = np.meshgrid(*[np.linspace(0, 3 + number, side)] * 2)
        clean = np.stack([128 + 90 * np.sin(x), 128 + 90 * np.cos(y), 128 + 60 * np.sin(x + y)], 2)
        save(clean, folder / "ref" / f"image{number}.png")
        for name, noise in NOISE.items():
            save(clean + noise * rng.normal(size=clean.shape), folder / name / f"image{number}{suffix}.png")
    return folder
