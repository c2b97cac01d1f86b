"""A folder of golden results: images as they should look, the recipe that compares, and how far off is still fine."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.data.opening import file_digest, read_text
from torchmetrics_fmiqa.gate.differences import NAMES, Differences
from torchmetrics_fmiqa.gate.harmless import check_harmless
from torchmetrics_fmiqa.recipes import Recipe
from torchmetrics_fmiqa.safe_write import write_text

_FORMAT = 1
_FILE = "golden.json"
#: Folder of the images, below that of the golden results.
IMAGES = "images"


@dataclass(frozen=True)
class GoldenImage:
    """A golden image.

    Args:
        file: path below ``images/``.
        digest: of the file's content.
        floor: what repeated runs and harmless changes did to it, the most of each difference.
    """

    file: str
    digest: str
    floor: Differences


@dataclass(frozen=True)
class Golden:
    """Golden results.

    Args:
        folder: where they are.
        recipe: what compares.
        harmless: names of the changes that pass.
        margin: how many times its floor a difference may be.
        repeats: how many repeated runs the floors were measured on.
        images: by name: the path below ``images/`` without its ending.

    Raises:
        ValueError: for a margin by which nothing or everything would pass.
    """

    folder: Path
    recipe: Recipe
    harmless: tuple[str, ...]
    margin: float
    repeats: int = 0
    images: Mapping[str, GoldenImage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.margin < math.inf:
            raise ValueError(f"`margin` must be a finite number above 0, such as 1.5, got {self.margin}")

    @property
    def shift(self) -> int:
        """Pixels that an output may be shifted by."""
        return 1 if "shift" in self.harmless else 0

    def path(self, image: GoldenImage) -> Path:
        """Where a golden image is."""
        return self.folder / IMAGES / image.file

    def bounds(self, image: GoldenImage) -> dict[str, float]:
        """The most that each difference of an output may be."""
        return {name: self.margin * value for name, value in image.floor.items().items()}

    @property
    def mean_bound(self) -> float:
        """The most that the mean score over images may be."""
        scores = [image.floor.score for image in self.images.values()]
        return self.margin * sum(scores) / len(scores) if scores else 0.0

    def with_image(self, name: str, image: GoldenImage) -> Golden:
        """The same with an image added or replaced."""
        return replace(self, images={**self.images, name: image})


def write_golden(golden: Golden) -> None:
    """Write ``golden.json``; the images are there already."""
    content = {
        "format": _FORMAT,
        "recipe": golden.recipe.to_yaml(),
        "digest": golden.recipe.digest,
        "harmless": list(golden.harmless),
        "margin": golden.margin,
        "repeats": golden.repeats,
        "images": {name: asdict(image) for name, image in sorted(golden.images.items())},
    }
    write_text(golden.folder / _FILE, json.dumps(content, indent=1) + "\n")


def is_golden(folder: Path) -> bool:
    """Whether a folder holds golden results."""
    return (folder / _FILE).is_file()


def read_golden(folder: Path, other_recipe: bool = False) -> Golden:
    """Read golden results.

    Args:
        folder: where they are.
        other_recipe: read them even where their recipe gives other numbers here, to replace them.

    Raises:
        ValueError: for a folder without them, a file that is damaged or of another version, and a recipe that
            gives other numbers here than where it was recorded.
    """
    if not is_golden(folder):
        raise ValueError(f"there are no golden results in {str(folder)!r}: make them with `fmiqa gate record`")
    path = folder / _FILE
    try:
        content = json.loads(read_text(path, "file of golden results"))
        if content["format"] != _FORMAT:
            raise ValueError(f"it has format {content['format']}, and this version reads {_FORMAT}")
        recipe = Recipe.from_yaml(content["recipe"])
        images = {name: _image(entry) for name, entry in content["images"].items()}
        harmless, margin, repeats = content["harmless"], float(content["margin"]), int(content["repeats"])
        golden = Golden(folder, recipe, check_harmless(harmless), margin, repeats, images)
        digest = content["digest"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{str(path)!r} cannot be used: {error}; record it anew") from None
    if recipe.digest != digest and not other_recipe:
        raise ValueError(
            f"{str(path)!r} was recorded by a recipe of another version (digest {digest}, here {recipe.digest}): "
            "record it anew with --update, or install the version that made it"
        )
    return golden


def check_unchanged(golden: Golden, image: GoldenImage) -> None:
    """Check that a golden image is what was recorded.

    Raises:
        ValueError: if it is missing, or was changed by hand.
    """
    path = golden.path(image)
    if not path.is_file():
        raise ValueError(f"the golden image {str(path)!r} is missing: bring it back, or record anew")
    if file_digest(path) != image.digest:
        raise ValueError(f"the golden image {str(path)!r} is not what was recorded: bring it back, or record anew")


def _image(entry: Mapping[str, Any]) -> GoldenImage:
    floor, file = {name: float(entry["floor"][name]) for name in NAMES}, str(entry["file"])
    if not all(0 <= value < math.inf for value in floor.values()):
        raise ValueError(f"the floor of {file!r} is {floor}")
    if Path(file).is_absolute() or ".." in Path(file).parts:  # of a stranger's folder: files are read, and removed
        raise ValueError(f"the image {file!r} is outside its folder")
    return GoldenImage(file, str(entry["digest"]), Differences(**floor))
