"""Record golden results, and check outputs against them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from torchmetrics_fmiqa.comparator import FeatureComparator
from torchmetrics_fmiqa.data.images import read_image
from torchmetrics_fmiqa.data.opening import file_digest
from torchmetrics_fmiqa.data.pairs import Pair, Problem, find_pairs
from torchmetrics_fmiqa.features.image_checks import to_unit
from torchmetrics_fmiqa.gate.differences import NAMES, Differences, aligned, measure
from torchmetrics_fmiqa.gate.golden import IMAGES, Golden, GoldenImage, check_unchanged
from torchmetrics_fmiqa.gate.harmless import HARMLESS
from torchmetrics_fmiqa.memory import memory_of_a_pair
from torchmetrics_fmiqa.recipes import Recipe
from torchmetrics_fmiqa.safe_write import atomic_write, make_folder

#: What each difference is called in messages.
TITLES = {
    "score": "the whole image",
    "place": "its worst place",
    "tone": "the colours of a region",
    "pattern": "a pattern of 8 x 8 pixels",
}


@dataclass(frozen=True)
class ImageCheck:
    """What was found of an output.

    Args:
        name: of the image.
        differences: how far it is from its golden image.
        bounds: the most that each may be.
        panels: golden image and output ``(3, H, W)`` in [0, 1], shifted back where a shift passes, and the map
            ``(H, W)`` of the distance; ``None`` where the image passes, since a long check must not hold them all.
    """

    name: str
    differences: Differences
    bounds: dict[str, float]
    panels: tuple[Tensor, Tensor, Tensor] | None = field(default=None, repr=False)

    @property
    def exceeded(self) -> list[str]:
        """Names of the differences that are out of bounds, in the order of :data:`TITLES`."""
        return [name for name, value in self.differences.items().items() if value > self.bounds[name]]

    @property
    def reason(self) -> str:
        """Why it does not pass, in words; empty where it does."""
        values = self.differences.items()
        return "; ".join(
            f"{TITLES[name]} differs by {values[name]:.4g}, at most {self.bounds[name]:.4g} is fine"
            for name in self.exceeded
        )


@dataclass(frozen=True)
class GateResult:
    """What a check found.

    Args:
        images: of each output that could be measured.
        problems: outputs that are missing or cannot be read or measured: each fails the gate.
        notes: files that were left out by their names, and outputs that have no golden image.
        mean_bound: the most that the mean score may be.
    """

    images: tuple[ImageCheck, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    mean_bound: float

    @property
    def mean(self) -> float:
        """The mean score over images."""
        return sum(image.differences.score for image in self.images) / max(1, len(self.images))

    @property
    def mean_exceeded(self) -> bool:
        """Whether the images together are farther off than they may be, though each may pass alone."""
        return bool(self.images) and self.mean > self.mean_bound

    @property
    def failures(self) -> list[ImageCheck]:
        """Images out of bounds, those that exceed them most first."""
        failed = [image for image in self.images if image.exceeded]
        return sorted(failed, key=lambda image: -excess(image))

    @property
    def holds(self) -> bool:
        """Whether everything is as it should be."""
        return not (self.failures or self.problems or self.mean_exceeded)


def excess(image: ImageCheck) -> float:
    """How many times its bound the worst difference of an image is."""
    values = image.differences.items()
    return max(values[name] / max(image.bounds[name], 1e-12) for name in NAMES)


@lru_cache(maxsize=1)
def _comparator(recipe: Recipe) -> FeatureComparator:
    return FeatureComparator(recipe)


def gate_comparator(recipe: Recipe) -> FeatureComparator:
    """What measures by a recipe; the last one is kept.

    Raises:
        ValueError: for a recipe without maps, or with several scores.
    """
    comparator = _comparator(recipe)
    if len(recipe.results) != 1 or not comparator.has_maps:
        raise ValueError(f"a gate needs a recipe with one distance that has maps, got {recipe.distance!r}")
    return comparator


def load(path: Path) -> Tensor:
    """An image file as ``(3, H, W)`` in [0, 1]; grey images and opaque alpha channels are taken too."""
    return to_unit(read_image(path, to_rgb=True), 1.0, torch.float32, str(path))


def compare(
    comparator: FeatureComparator, output: Tensor, golden: Tensor, shift: int
) -> tuple[Differences, Tensor, Tensor, Tensor]:
    """Measure an output, shifted back where that is closer; gives ``(differences, output, golden, heat)``.

    Raises:
        ValueError: for two sizes.
    """
    if output.shape != golden.shape:
        ours, wanted = (f"{image.shape[1]}x{image.shape[2]}" for image in (output, golden))
        raise ValueError(f"the size is {ours} and was {wanted}")
    output, golden = aligned(output, golden, shift)
    differences, heat = measure(comparator, output, golden)
    return differences, output, golden, heat


def floor_of(golden: Golden, image: Tensor, repeats: Iterable[Tensor] = ()) -> Differences:
    """What repeated runs and harmless changes do to an image: the most of each difference.

    Args:
        golden: whose harmless changes count.
        image: ``(3, H, W)`` in [0, 1].
        repeats: the same image of other runs.
    """
    comparator = gate_comparator(golden.recipe)
    changed = [change(image) for name in golden.harmless for change in HARMLESS[name]]
    measured = [measure(comparator, other, image)[0] for other in changed]
    measured += [compare(comparator, other, image, golden.shift)[0] for other in repeats]
    return Differences(
        **{name: max((getattr(difference, name) for difference in measured), default=0.0) for name in NAMES}
    )


def record(
    golden: Golden, outputs: Path, repeats: Sequence[Path] = (), progress: Callable[[list[Pair]], Iterable[Pair]] = iter
) -> tuple[Golden, list[Problem]]:
    """Copy outputs into a folder of golden results, and measure their floors.

    Args:
        golden: where and how; without images.
        outputs: folder of images that look as they should.
        repeats: folders of the same images from other runs.
        progress: shows the pairs as they are taken.

    Returns:
        The golden results, not written yet; images that cannot be recorded.
    """
    pairs, problems, _ = find_pairs(outputs, outputs)
    problems = list(dict.fromkeys(problems))  # an image is on both sides
    measured: list[tuple[Pair, Differences]] = []
    others: list[dict[str, Path]] = []
    for folder in repeats:
        same, lost, _ = find_pairs(outputs, folder)
        problems += lost
        others.append({pair.ref: Path(pair.dist_path) for pair in same})
    for pair in progress(pairs):
        try:
            with memory_of_a_pair():
                again = [load(paths[pair.ref]) for paths in others if pair.ref in paths]
                floor = floor_of(golden, load(Path(pair.ref_path)), again)
        except ValueError as error:
            problems.append(Problem(pair.ref, str(error)))
            continue
        measured.append((pair, floor))
    # Only now, so that what was recorded before stays whole in a run that is interrupted.
    for pair, floor in measured:
        golden = golden.with_image(*store(golden, pair.ref, Path(pair.ref_path), floor))
    return golden, problems


def store(golden: Golden, file: str, source: Path, floor: Differences) -> tuple[str, GoldenImage]:
    """Copy an image into a folder of golden results, byte for byte; gives its name and what is known of it."""
    target = golden.folder / IMAGES / file
    make_folder(target.parent)
    with atomic_write(target) as draft:
        shutil.copyfile(source, draft)
    return str(Path(file).with_suffix("")), GoldenImage(file, file_digest(target), floor)


def check_image(golden: Golden, name: str, output: Tensor) -> ImageCheck:
    """Check one output ``(3, H, W)`` in [0, 1] against its golden image.

    Raises:
        ValueError: for a name without golden image, and another size.
    """
    if name not in golden.images:
        raise ValueError(f"there is no golden image {name!r} in {str(golden.folder)!r}")
    image = golden.images[name]
    check_unchanged(golden, image)
    target = load(golden.path(image))
    differences, output, target, heat = compare(gate_comparator(golden.recipe), output, target, golden.shift)
    result = ImageCheck(name, differences, golden.bounds(image))
    return replace(result, panels=(target, output, heat)) if result.exceeded else result


def check(golden: Golden, outputs: Path, progress: Callable[[list[Pair]], Iterable[Pair]] = iter) -> GateResult:
    """Check a folder of outputs.

    Args:
        golden: what they should look like.
        outputs: the folder; names are those of the golden images, endings may differ.
        progress: shows the pairs as they are taken.
    """
    pairs, problems, notes = find_pairs(golden.folder / IMAGES, outputs)
    lacking = f"has no partner in {str(golden.folder / IMAGES)!r}"
    extra = [problem for problem in problems if problem.reason == lacking]
    problems = [problem for problem in problems if problem not in extra]
    notes += [f"{problem.name} has no golden image: it was not checked" for problem in extra]
    problems += [
        Problem(name, f"the golden image {str(golden.path(image))!r} is missing: bring it back, or record anew")
        for name, image in golden.images.items()
        if not golden.path(image).is_file()
    ]
    checks: list[ImageCheck] = []
    for pair in progress(pairs):
        name = str(Path(pair.ref).with_suffix(""))
        try:
            with memory_of_a_pair():
                checks.append(check_image(golden, name, load(Path(pair.dist_path))))
        except ValueError as error:
            problems.append(Problem(pair.dist, str(error)))
    return GateResult(tuple(checks), tuple(problems), tuple(notes), golden.mean_bound)
