"""compare: which of several methods gives the better images, measured and tested on the same references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from torchmetrics_fmiqa.benchmark.metrics.panel import Panel
from torchmetrics_fmiqa.benchmark.metrics.read_panel import read_panel
from torchmetrics_fmiqa.benchmark.progress import Progress, SilentProgress
from torchmetrics_fmiqa.benchmark.scoring.score_dataset import Reading
from torchmetrics_fmiqa.comparator import Precision
from torchmetrics_fmiqa.comparison.comparison import Comparison, LeftOut
from torchmetrics_fmiqa.comparison.inputs import MethodImages, check_sizes, read_folders, read_method_table
from torchmetrics_fmiqa.comparison.score_methods import score_methods
from torchmetrics_fmiqa.comparison.scores import ComparedImage, MethodScores
from torchmetrics_fmiqa.comparison.set_distances import SetMetrics, measure_sets, read_set_distances
from torchmetrics_fmiqa.comparison.unfinished import Unfinished
from torchmetrics_fmiqa.data.images import Match
from torchmetrics_fmiqa.statistics.inputs import Floats
from torchmetrics_fmiqa.statistics.paired import compare_paired

#: What is measured where nothing else is asked for: the first answers, and nothing is downloaded.
DEFAULT_METRICS = ("default", "psnr", "ssim")


def compare(
    references: str | Path | None = None,
    methods: Mapping[str, str | Path] | None = None,
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    pairs: str | Path | None = None,
    root: str | Path | None = None,
    suffixes: Mapping[str, str] | None = None,
    match: Match | None = None,
    crop_border: int = 0,
    to_rgb: bool = False,
    device: str | torch.device = "cpu",
    precision: Precision = "float32",
    resamples: int = 4999,
    seed: int = 0,
    progress: Progress | None = None,
    set_distances: Sequence[str] = (),
) -> Comparison:
    """Compare methods on the same references: means, paired differences, and which of them are significant.

    Only images that all methods have and that can be read are counted; the others are in the result's ``left_out``.

    Args:
        references: folder of the references.
        methods: name -> folder of its images, which are paired with the references by path without ending.
        metrics: names of recipes, ``spips``, baselines (``psnr``, ``psnr_y``, ``lpips-squeeze``, ...) or YAML files;
            the first one decides the answer.
        pairs: instead of folders, a CSV or Parquet table with the columns ``ref``, ``method``, ``dist`` and perhaps
            ``group``; images of one group, such as a scene, are drawn together in the bootstrap.
        root: folder that the table's paths count from; by default the table's.
        suffixes: method -> text that follows the reference's name in the names of its images, such as ``"_x4"``.
        match: for images that differ in size from their reference: ``"crop"`` to what the reference and all methods
            have, or ``"resize"`` to the reference.
        crop_border: pixels to cut off each side first.
        to_rgb: take grey, opaque RGBA, CMYK and Lab files too.
        device: where to measure.
        precision: of the feature metrics.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        progress: shows what is being done.
        set_distances: distances between sets of thousands of images to measure too, in the result's ``sets``:
            ``frechet``, ``kernel``, either of them on a recipe as in ``frechet:vit-tiny``, ``fd-dinov2``, ``cmmd``.

    Returns:
        A :class:`~torchmetrics_fmiqa.comparison.Comparison` with the ``answer`` in a sentence, ``table()``,
        ``difference(a, b)``, plots, and the ``scores`` of each image.

    Raises:
        ValueError: for what is no folder or table, fewer than two methods, methods without a common image, sizes that
            differ without ``match``, an unknown metric, and if no metric can run here.

    >>> from tempfile import mkdtemp
    >>> from PIL import Image
    >>> folder, noise = Path(mkdtemp()), np.random.default_rng(0)
    >>> for name, strength in (("reference", 0), ("weak", 4), ("strong", 40)):
    ...     (folder / name).mkdir()
    ...     for number in range(6):
    ...         image = 128 + strength * noise.normal(size=(16, 16, 3))
    ...         Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")
    >>> found = compare(folder / "reference", {"weak": folder / "weak", "strong": folder / "strong"}, ["psnr"])
    >>> print(found.answer)
    weak is better than strong on 6 images, by the metric psnr (mean 35.98, higher is better).
    >>> found.difference("weak", "strong").better
    'weak'
    """
    if isinstance(metrics, str):
        raise ValueError(f"`metrics` must be a list of names such as ['default', 'psnr'], got {metrics!r}")
    if methods is not None and not isinstance(methods, Mapping):
        raise ValueError(f"`methods` must say the folder of each name, such as {{'ours': 'out/ours'}}, got {methods!r}")
    if match not in (None, "crop", "resize"):
        raise ValueError(f"`match` must be 'crop', 'resize' or None, got {match!r}")
    if (pairs is None) == (references is None or methods is None):
        raise ValueError("give `references` and `methods`, or `pairs` with a table")
    if pairs is not None:
        if references is not None or methods is not None or suffixes:
            raise ValueError("`pairs` names all images: leave out `references`, `methods` and `suffixes`")
        images = read_method_table(Path(pairs), None if root is None else Path(root))
    else:
        if root is not None:
            raise ValueError("`root` is for the paths of a table: give `pairs` too, or leave it out")
        folders = {name: Path(folder) for name, folder in (methods or {}).items()}
        images = read_folders(Path(str(references)), folders, suffixes)
    panel = read_panel(metrics, device, precision)
    reading = Reading(match, crop_border=crop_border, to_rgb=to_rgb)
    sets = read_set_distances(set_distances, precision)
    return compare_images(images, panel, reading, device, resamples, seed, progress, sets=sets)


def compare_images(
    images: MethodImages,
    panel: Panel,
    reading: Reading,
    device: str | torch.device = "cpu",
    resamples: int = 4999,
    seed: int = 0,
    progress: Progress | None = None,
    folder: Path | None = None,
    sets: SetMetrics | None = None,
) -> Comparison:
    """Score the images of a comparison, and test the differences.

    Args:
        images: what to score.
        panel: the metrics.
        reading: how files are read.
        device: where to measure.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        progress: shows what is being done.
        folder: where scores are kept until the run is finished; a run that was interrupted there goes on.
        sets: distances between sets to measure too; they are measured anew in each run.

    Raises:
        ValueError: as :func:`compare`.
    """
    progress = SilentProgress() if progress is None else progress
    if resamples < 1 or seed < 0:  # before hours of scoring
        raise ValueError(f"`resamples` must be at least 1 and `seed` at least 0, got {resamples} and {seed}")
    if not panel.names:
        left_out = "; ".join(f"{metric.name}: {metric.reason}" for metric in panel.skipped)
        raise ValueError(f"no metric can run here: {left_out}")
    progress.status("reading the sizes of the images")
    images = images.without(found for found in check_sizes(images.images, reading.match) if found is not None)
    run = _Run(images, panel, reading, device, folder)
    try:
        for _ in progress.pairs(run, len(images.methods) * len(images.images)):
            pass
    finally:
        run.keep(now=True)  # also of a finished run, until its results are written
    images = images.without(run.broken)
    if not images.images:
        first = images.left_out[-1]
        raise ValueError(f"no image could be scored: {first.name}: {first.reason}")
    progress.status("testing the differences")
    scores = run.scores()
    statistics = compare_paired(
        scores.values,
        [metric in scores.qualities for metric in scores.metrics],
        [image.group for image in scores.images] if images.grouped else None,
        resamples=resamples,
        seed=seed,
    )
    measured = None
    if sets is not None and (sets.metrics or sets.skipped):
        progress.status("measuring the sets of images")
        measured = measure_sets(scores.images, images.methods, sets, reading, device)
    return Comparison(
        scores,
        statistics,
        images.references,
        images.left_out,
        {metric.name: metric.reason for metric in panel.skipped},
        panel.identities,
        reading.crop_border,
        images.grouped,
        reading.match,
        measured,
    )


class _Run:
    """The scores of a comparison as they come; walking over it scores what is not scored yet."""

    def __init__(
        self, images: MethodImages, panel: Panel, reading: Reading, device: str | torch.device, folder: Path | None
    ) -> None:
        self._images, self._panel, self._reading, self._device = images, panel, reading, device
        self._values = np.full((len(images.methods), len(panel.order), len(images.images)), np.nan)
        self._scored = np.zeros(len(images.images), dtype=bool)
        self.broken: list[tuple[ComparedImage, LeftOut]] = []
        identities = [[name, panel.identities[name]] for name in panel.order]
        inputs = {"methods": images.methods, "metrics": identities, "reading": reading.identity, "device": str(device)}
        self._unfinished = None if folder is None else Unfinished(folder, inputs)

    def __iter__(self) -> Iterator[int]:
        """Yield how many images of methods are done: those of an earlier run, and after each image."""
        if self._unfinished is not None:
            for place, values in self._unfinished.read(self._images.images).items():
                self._take(place, values)
        yield self._done()
        todo = np.flatnonzero(~self._scored).tolist()
        images = [self._images.images[place] for place in todo]
        results = score_methods(images, self._panel, self._reading, self._device)
        for place, (image, result) in zip(todo, results, strict=True):
            if isinstance(result, LeftOut):
                self.broken.append((image, result))
            else:
                self._take(place, result)
            self.keep()
            yield self._done()

    def keep(self, now: bool = False) -> None:
        """Keep the scores so far for a later run, if that was not done for a while; or ``now`` in any case."""
        if self._unfinished is not None and self._scored.any():
            self._unfinished.keep(self.scores, now)

    def _take(self, place: int, values: Floats) -> None:
        self._values[:, :, place], self._scored[place] = values, True

    def _done(self) -> int:
        return len(self._images.methods) * (int(self._scored.sum()) + len(self.broken))

    def scores(self) -> MethodScores:
        """The scores so far."""
        kept = tuple(image for image, known in zip(self._images.images, self._scored, strict=True) if known)
        qualities = frozenset(self._panel.qualities)
        return MethodScores(self._images.methods, self._panel.order, qualities, kept, self._values[:, :, self._scored])
