"""The one corridor: (preds, target) -> tiles -> frozen features -> one distance per image and tap.

Every door (metric, loss, functional, map, command line) calls a :class:`FeatureComparator` and adds no arithmetic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from torchmetrics_fmiqa.distances import POINTWISE, zsiqa
from torchmetrics_fmiqa.features.backbone import Backbone
from torchmetrics_fmiqa.features.cache import References, Shelf
from torchmetrics_fmiqa.features.images import (
    DataRange,
    check_lists,
    check_mask,
    check_mask_values,
    check_pair,
    check_values,
    crop,
    data_limits,
    group_by_size,
    to_unit,
)
from torchmetrics_fmiqa.features.network import Network, UserModule, load_network
from torchmetrics_fmiqa.features.sizes import resize, shrink_mask, stretch_map
from torchmetrics_fmiqa.features.tiles import (
    TilePlan,
    add_tiles,
    cut,
    paint,
    pixel_shares,
    plan_tiles,
)
from torchmetrics_fmiqa.features.tokens import Tokens
from torchmetrics_fmiqa.features.weighing import Weigher
from torchmetrics_fmiqa.jobs import ALL_TAPS, Distances, Job
from torchmetrics_fmiqa.recipes import Recipe, distance_name

#: A batch ``(N, 3, H, W)``, or images ``(3, H, W)`` of sizes of their own.
Images = Tensor | Sequence[Tensor]

Precision = Literal["float32", "float64", "bfloat16", "float16", "auto"]
_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_PRECISIONS = ("float32", "float64", "bfloat16", "float16", "auto")


class FeatureComparator:
    """Measures pairs of images by one recipe, or by several that share a forward pass. Immutable and shared.

    Args:
        recipes: a recipe, or several with one backbone, weights, input normalisation and resolution.
        precision: ``"float32"`` (the measure's own), ``"float64"``, ``"bfloat16"`` or ``"float16"`` (autocast over
            float32 weights: faster, and wrong at small distances), or ``"auto"``: the surrounding autocast where there
            is one, else float64 for float64 images and float32 for all others.
        grad_checkpointing: recompute stages in the backward pass to save memory.
        tile_batch: how much goes through the network at once, in tiles a side of the pair (of 224 x 224 pixels).

    Raises:
        ValueError: for recipes that do not share a forward pass, unknown taps, or options that do not exist.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.
    """

    def __init__(
        self,
        recipes: Recipe | Sequence[Recipe],
        precision: Precision = "float32",
        grad_checkpointing: bool = False,
        tile_batch: int = 32,
    ) -> None:
        if precision not in _PRECISIONS:
            raise ValueError(f"`precision` must be one of {', '.join(_PRECISIONS)}; got {precision!r}")
        if not isinstance(tile_batch, int) or tile_batch < 1:
            raise ValueError(f"`tile_batch` must be a whole number of at least 1, got {tile_batch!r}")
        self.recipes = (recipes,) if isinstance(recipes, Recipe) else tuple(recipes)
        first = self.recipes[0]
        for other in self.recipes[1:]:
            if other.trunk != first.trunk:
                raise ValueError(f"recipes with different forward passes cannot share one: {first} and {other}")
        self.precision: Precision = precision
        self.tile_batch = tile_batch
        self._options = (precision, grad_checkpointing, tile_batch)
        network = load_network(first.backbone, first.weights)  # type: ignore[arg-type]
        taps_of = [network.resolve(recipe.taps) for recipe in self.recipes]
        taps = tuple(dict.fromkeys(tap for taps in taps_of for tap in taps))
        self.backbone = Backbone(network, taps, grad_checkpointing)
        self._mean_std = _mean_std(first, network)
        self._tile = first.tile or network.tile
        self._resolution = first.resolution
        if self._resolution == "auto":
            self._resolution = "tile" if network.transformer else "native"
        if first.protocol == "fmiqa" and self._resolution == "tile" and self._tile % network.multiple:
            raise ValueError(f"`tile` must be a multiple of {network.multiple} for {network.name}, got {self._tile}")
        self._scope = hashlib.sha256(f"{_trunk_identity(first)}|{taps}|{precision}".encode()).hexdigest()[:16]
        self._jobs: list[Job] = []
        self._columns = [self._plan_jobs(recipe, names) for recipe, names in zip(self.recipes, taps_of, strict=True)]
        self._weights = [self._bind_weights(position, recipe) for position, recipe in enumerate(self.recipes)]

    def __deepcopy__(self, memo: dict[int, Any]) -> FeatureComparator:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.recipes, [recipe.digest for recipe in self.recipes], self._options)

    def _plan_jobs(self, recipe: Recipe, names: tuple[str, ...]) -> dict[str, tuple[tuple[str, ...], list[int]]]:
        """For each distance of a recipe the labels of its columns and the jobs that fill them."""
        columns = {}
        indices = tuple(self.backbone.taps.index(name) for name in names)
        if recipe.tokens == "prefix" and self.backbone.network.patch is not None and self.backbone.network.prefix == 0:
            raise ValueError(f"`tokens='prefix'` but {self.backbone.network.name} has no prefix tokens: take 'patch'")
        for distance in recipe.distances:
            stacked = recipe.protocol == "zsiqa" and distance in zsiqa.STACKED
            wanted = (
                [Job(indices, distance, recipe.tokens)]
                if stacked
                else [Job((index,), distance, recipe.tokens) for index in indices]
            )
            for job in wanted:
                if job not in self._jobs:
                    self._jobs.append(job)
            labels = (ALL_TAPS,) if stacked else names
            columns[distance_name(distance)] = (labels, [self._jobs.index(job) for job in wanted])
        return columns

    def labels(self, position: int = 0) -> dict[str, tuple[str, ...]]:
        """For each distance of a recipe, the names of its columns."""
        return {name: labels for name, (labels, _) in self._columns[position].items()}

    def weights(self, position: int = 0) -> dict[str, tuple[float, ...]]:
        """For each distance of a recipe, the weights that make its columns a score: they sum to 1, or are 1 each."""
        return self._weights[position]

    def _bind_weights(self, position: int, recipe: Recipe) -> dict[str, tuple[float, ...]]:
        given: dict[str, float] | None = None
        if recipe.tap_weights is not None:
            keys = self.backbone.network.resolve(list(recipe.tap_weights))
            given = dict(zip(keys, recipe.tap_weights.values(), strict=True))
        weights = {}
        for name, labels in self.labels(position).items():
            if given is not None and set(given) != set(labels):
                odd = sorted(set(given) ^ set(labels))
                raise ValueError(
                    f"`tap_weights` must name each tap once and no other; {odd[0]!r} is in only one of them"
                )
            own = [1.0 if given is None else given[label] for label in labels]
            total = sum(own) if recipe.protocol == "fmiqa" else 1.0
            weights[name] = tuple(weight / total for weight in own)
        return weights

    def __call__(
        self,
        preds: Images,
        target: Images,
        mask: Images | None = None,
        data_range: DataRange = 1.0,
        crop_border: int = 0,
        validate: bool = True,
        references: References | None = None,
    ) -> list[Distances]:
        """Measure a batch of pairs.

        One forward serves predictions and targets where no gradient is asked for; a tap's features are dropped as
        soon as its distances are taken. With a gradient, the targets' side runs without one.

        Args:
            preds: ``(N, 3, H, W)``, floating point in ``data_range``, uint8 or uint16; or a list of ``(3, H, W)``, each
                of its own size.
            target: likewise.
            mask: ``(N, 1, H, W)`` weights of pixels, for pointwise distances; with lists a list of ``(1, H, W)``.
            data_range: range of floating point images.
            crop_border: pixels to cut off each side first.
            validate: look at the values too, not just the shapes (on a GPU this waits for the device).
            references: where to find and keep the targets' features; not used where a gradient is asked for.

        Returns:
            For each recipe its distances, each ``(N, L)`` in float32 or float64.

        Raises:
            ValueError: for images or masks that do not fit, naming the value and the fix.
        """
        if not isinstance(preds, Tensor) or not isinstance(target, Tensor):
            return self._lists(preds, target, mask, data_range, crop_border, validate, references)
        if mask is not None and not isinstance(mask, Tensor):
            raise ValueError(f"`mask` must be a tensor (N, 1, H, W) beside tensors, got {type(mask).__name__}")
        dtype = self._backbone_dtype(preds)
        with _full_precision(preds):
            return self._batch(preds, target, mask, data_range, crop_border, validate, references, dtype)

    def _batch(
        self,
        preds: Tensor,
        target: Tensor,
        mask: Tensor | None,
        data_range: DataRange,
        border: int,
        validate: bool,
        references: References | None,
        dtype: torch.dtype | None,
    ) -> list[Distances]:
        # Features depend on these too where an image goes by its id.
        scope = (self._scope, dtype, preds.shape[2:], data_limits(data_range), border)
        preds, target, mask = self._prepare(preds, target, mask, data_range, border, validate)
        plan, sums = self._plan(preds), [preds.new_zeros(preds.shape[0]) for _ in self._jobs]
        known: dict[tuple[int, int], Tensor] = {}
        for picks in self._chunks(plan, preds.shape[0]):
            weigh = Weigher(plan, picks, mask, preds, known)

            def take(number: int, value: Tensor, tokens: Tokens, weigh: Weigher = weigh) -> None:
                job = self._jobs[number]
                value = weigh.positions(value, tokens, job.tokens) if value.ndim == 2 else weigh.tiles(value)
                sums[number] = sums[number] + weigh.to_images(value.to(preds.dtype))

            tiles = cut(target, plan, picks)
            shelf = None if references is None or _needs_grad(preds) else references.shelf(scope, tiles, picks)
            self._measure(cut(preds, plan, picks), tiles, dtype, take, shelf)
        return [
            Distances(
                {name: torch.stack([sums[job] for job in jobs], 1) for name, (_, jobs) in columns.items()},
                self.labels(position),
                self.weights(position),
            )
            for position, columns in enumerate(self._columns)
        ]

    def _lists(
        self,
        preds: Images,
        target: Images,
        mask: Images | None,
        data_range: DataRange,
        border: int,
        validate: bool,
        references: References | None,
    ) -> list[Distances]:
        """Measure images of different sizes: those of one size together, the results in the order given."""
        check_lists(preds, target, mask)
        groups = group_by_size(list(preds), list(target))
        parts = [
            self(
                torch.stack([preds[i] for i in group]),
                torch.stack([target[i] for i in group]),
                None if mask is None else torch.stack([mask[i] for i in group]),
                data_range,
                border,
                validate,
                None if references is None else references.pick(group),
            )
            for group in groups
        ]
        places = [i for group in groups for i in group]
        order = sorted(range(len(places)), key=places.__getitem__)
        return [
            Distances(
                {name: torch.cat([part.per_tap[name] for part in same])[order] for name in same[0].per_tap},
                same[0].labels,
                same[0].weights,
            )
            for same in zip(*parts, strict=True)
        ]

    @property
    def has_maps(self) -> bool:
        """Whether the first recipe's distances have maps."""
        try:
            self._check_mappable()
        except ValueError:
            return False
        return True

    def _check_mappable(self) -> None:
        recipe = self.recipes[0]
        for distance in recipe.distances:
            if recipe.protocol != "fmiqa" or not isinstance(distance, str) or distance not in POINTWISE:
                raise ValueError(
                    f"the {recipe.protocol} distance {distance_name(distance)!r} has no map: "
                    f"take distance={' or '.join(map(repr, POINTWISE))}"
                )
        if recipe.tokens == "prefix":
            raise ValueError("prefix tokens have no place in the image, so no map: take tokens='patch'")

    def maps(
        self,
        preds: Tensor,
        target: Tensor,
        data_range: DataRange = 1.0,
        crop_border: int = 0,
        validate: bool = True,
        per_layer: bool = False,
    ) -> dict[str, dict[str, Tensor]]:
        """Measure where a batch of pairs differs, by the first recipe's pointwise distances of patch tokens.

        Returns:
            For each distance, maps ``(N, 1, H, W)`` by label: ``"score"``, and each tap with ``per_layer``. The mean
            of a map is the score, or the tap's distance, of patch tokens.

        Raises:
            ValueError: for images that do not fit and for distances without a map.
        """
        self._check_mappable()
        dtype = self._backbone_dtype(preds)
        with _full_precision(preds):
            pair = self._prepare(preds, target, None, data_range, crop_border, validate)[:2]
            size = (preds.shape[-2] - 2 * crop_border, preds.shape[-1] - 2 * crop_border)
            return self._draw(*pair, size, dtype, per_layer)

    def _draw(
        self, preds: Tensor, target: Tensor, size: tuple[int, int], dtype: torch.dtype | None, per_layer: bool
    ) -> dict[str, dict[str, Tensor]]:
        recipe = self.recipes[0]
        plan, weights = self._plan(preds), self.weights()
        shares = pixel_shares(plan, preds)
        blank = preds.new_zeros(preds.shape[0], *preds.shape[-2:])
        canvas = {
            name: dict.fromkeys(("score", *(labels if per_layer else ())), blank)
            for name, (labels, _) in self._columns[0].items()
        }
        for picks in self._chunks(plan, preds.shape[0]):

            def take(number: int, value: Tensor, tokens: Tokens, picks: list[tuple[int, int]] = picks) -> None:
                name = distance_name(self._jobs[number].distance)
                labels, jobs = self._columns[0][name]
                column = jobs.index(number)
                if tokens.grid == (0, 0):
                    raise ValueError(
                        f"tap {labels[column]!r} is a pooled embedding and has no map: leave it out of `taps`"
                    )
                patches = value[:, tokens.prefix :] if recipe.tokens == "all" else value
                painted = paint(patches.to(preds.dtype), plan, tokens.grid)
                painted = painted * shares[[tile for _, tile in picks]]
                maps = canvas[name]
                maps["score"] = add_tiles(maps["score"], painted * weights[name][column], plan, picks)
                if per_layer:
                    maps[labels[column]] = add_tiles(maps[labels[column]], painted, plan, picks)

            self._measure(cut(preds, plan, picks), cut(target, plan, picks), dtype, take)
        return {
            name: {label: stretch_map(drawn, size)[:, None] for label, drawn in maps.items()}
            for name, maps in canvas.items()
        }

    def _prepare(
        self, preds: Tensor, target: Tensor, mask: Tensor | None, data_range: DataRange, border: int, validate: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Bring images from the user's unit to [0, 1] at the working size, checking them on the way."""
        check_pair(preds, target)
        check_mask(mask, preds)
        dtype = self._dtype(preds)
        preds, target = crop(preds, border), crop(target, border)
        preds = to_unit(preds, data_range, dtype, "preds")
        with torch.no_grad():
            target = to_unit(target, data_range, dtype, "target")
            if validate and not torch.compiler.is_compiling():
                check_values(preds, target, data_range)
        if self.recipes[0].clamp_preds:
            preds = preds.clamp(0, 1)
        size = self._working_size(preds.shape[-2], preds.shape[-1])
        if mask is not None:
            self._check_maskable()
            mask = crop(mask, border).to(dtype)
            if validate and not torch.compiler.is_compiling():
                check_mask_values(mask)
            mask = shrink_mask(mask, size)
        return resize(preds, size), resize(target, size), mask

    def _dtype(self, preds: Tensor) -> torch.dtype:
        if self.precision == "float64":
            return torch.float64
        return torch.float64 if self.precision == "auto" and preds.dtype == torch.float64 else torch.float32

    def _working_size(self, height: int, width: int) -> tuple[int, int]:
        if self._resolution == "resize":
            return self._tile, self._tile
        limit, longer = self.recipes[0].max_side, max(height, width)
        if limit is None or longer <= limit:
            return height, width
        return max(1, round(height * limit / longer)), max(1, round(width * limit / longer))

    def _check_maskable(self) -> None:
        for job in self._jobs:
            if not job.pointwise or self.recipes[0].protocol != "fmiqa":
                raise ValueError(
                    f"`mask` weighs positions, which {distance_name(job.distance)!r} does not keep: "
                    f"take distance={' or '.join(map(repr, POINTWISE))}"
                )

    def _plan(self, images: Tensor) -> TilePlan:
        height, width = images.shape[-2:]
        network, published = self.backbone.network, self.recipes[0].protocol == "zsiqa"
        tile = self._tile if self._resolution == "tile" else None
        spacing: Literal["even", "published"] = "published" if published else "even"
        return plan_tiles(height, width, tile, network.multiple, network.minimum, spacing)

    def _chunks(self, plan: TilePlan, images: int) -> Iterator[list[tuple[int, int]]]:
        """Pairs (image, tile) in portions that fit in memory."""
        picks = [(image, tile) for tile in range(len(plan.corners)) for image in range(images)]
        size = max(1, self.tile_batch * 224 * 224 // (plan.rows.padded * plan.cols.padded))
        for start in range(0, len(picks), size):
            yield picks[start : start + size]

    def _measure(
        self,
        preds: Tensor,
        target: Tensor,
        dtype: torch.dtype | None,
        take: Callable[[int, Tensor, Tokens], None],
        shelf: Shelf | None = None,
    ) -> None:
        """Run both sides through the network and hand over each job's distances as soon as its taps exist."""
        if _needs_grad(preds):
            reference: dict[int, Tokens] = {}
            with torch.no_grad():
                self._run(target, dtype, lambda index, tokens: reference.__setitem__(index, tokens.detach()))
            self._run(preds, dtype, self._consumer(take, lambda index, tokens: (tokens, reference.pop(index))))
            return
        with torch.no_grad():
            take = _exact_zero(preds, target, take)
            if shelf is None:
                self._run(torch.cat([preds, target]), dtype, self._consumer(take, lambda _, tokens: tokens.chunk()))
            else:
                self._measure_known(preds, target, dtype, take, shelf)

    def _measure_known(
        self,
        preds: Tensor,
        target: Tensor,
        dtype: torch.dtype | None,
        take: Callable[[int, Tensor, Tokens], None],
        shelf: Shelf,
    ) -> None:
        """Run predictions, and of the targets those whose features are not on the shelf."""

        def pair(index: int, tokens: Tokens) -> tuple[Tokens, Tokens]:
            ours, fresh = tokens.split(len(preds))
            return ours, ours._replace(values=shelf.references(index, fresh))

        images = torch.cat([preds, target[shelf.missing]]) if shelf.missing else preds
        self._run(images, dtype, self._consumer(take, pair))
        shelf.close()

    def _consumer(
        self,
        take: Callable[[int, Tensor, Tokens], None],
        pair: Callable[[int, Tokens], tuple[Tokens, Tokens]],
    ) -> Callable[[int, Tokens], None]:
        waiting: dict[int, tuple[Tokens, Tokens]] = {}  # features that a distance over several taps still needs
        stacked = {index for job in self._jobs if len(job.taps) > 1 for index in job.taps}
        protocol = self.recipes[0].protocol

        def consume(index: int, tokens: Tokens) -> None:
            sides = pair(index, tokens)
            if index in stacked:
                waiting[index] = sides
            for number, job in enumerate(self._jobs):
                if len(job.taps) > 1:
                    if index in job.taps and all(tap in waiting for tap in job.taps):
                        preds, target = zip(*(waiting[tap] for tap in job.taps), strict=True)
                        take(number, job.measure(preds, target, protocol), sides[0])
                elif job.taps[0] == index:
                    self._check_tokens(job, sides[0], index)
                    take(number, job.measure([sides[0]], [sides[1]], protocol), sides[0])

        return consume

    def _check_tokens(self, job: Job, tokens: Tokens, index: int) -> None:
        name, patches = self.backbone.taps[index], tokens.grid != (0, 0)
        if job.tokens == "prefix" and tokens.prefix == 0:
            raise ValueError(f"`tokens='prefix'` but the tap {name!r} has no prefix tokens: take 'patch' or 'all'")
        if job.tokens == "patch" and not patches:
            raise ValueError(f"`tokens='patch'` but the tap {name!r} is a pooled embedding: take 'all'")

    def _run(self, images: Tensor, dtype: torch.dtype | None, consume: Callable[[int, Tokens], None]) -> None:
        if self._mean_std is not None:
            mean, std = (
                torch.tensor(v, dtype=images.dtype, device=images.device)[:, None, None] for v in self._mean_std
            )
            images = (images - mean) / std
        if dtype is None:
            self.backbone(images, consume)
            return

        def consume_outside(index: int, tokens: Tokens) -> None:
            with _full_precision(images):  # the hooks run inside the backbone's autocast
                consume(index, tokens)

        with torch.autocast(images.device.type, dtype):
            self.backbone(images, consume_outside)

    def _backbone_dtype(self, images: Tensor) -> torch.dtype | None:
        """What the backbone computes in under autocast, ``None`` for full precision."""
        device = images.device.type
        if self.precision == "auto" and torch.is_autocast_enabled(device):
            return torch.get_autocast_dtype(device)
        return _AUTOCAST.get(self.precision)


def _needs_grad(preds: Tensor) -> bool:
    return torch.is_grad_enabled() and preds.requires_grad


def _full_precision(images: Tensor) -> torch.autocast:
    """Everything but the backbone computes in the dtype that it is given."""
    return torch.autocast(images.device.type, enabled=False)


def _exact_zero(
    preds: Tensor, target: Tensor, take: Callable[[int, Tensor, Tokens], None]
) -> Callable[[int, Tensor, Tokens], None]:
    """Make equal tiles 0 to the last digit: some processors round a row of a matrix by its place in the batch."""
    differ = (preds != target).flatten(1).any(1)

    def taken(number: int, value: Tensor, tokens: Tokens) -> None:
        take(number, torch.where(differ.view(-1, *[1] * (value.ndim - 1)), value, 0.0), tokens)

    return taken


def _trunk_identity(recipe: Recipe) -> tuple[Any, ...]:
    module = recipe.backbone
    return (module.identity if isinstance(module, UserModule) else module, *recipe.trunk[1:])


def _mean_std(recipe: Recipe, network: Network) -> tuple[Sequence[float], Sequence[float]] | None:
    if recipe.normalization == "none":
        return None
    if recipe.normalization != "model":
        return recipe.normalization  # type: ignore[return-value]
    if network.mean is None or network.std is None:
        raise ValueError(
            f"`normalization='model'` is not known for {network.name}: give normalization='none', "
            "or (mean, std) with three values each"
        )
    return network.mean, network.std


def _rebuild(recipes: tuple[Recipe, ...], digests: list[str], options: tuple[Any, ...]) -> FeatureComparator:
    """Unpickle a comparator, unless the weights file it was made from has other content now."""
    for recipe, digest in zip(recipes, digests, strict=True):
        found = recipe.replace().digest
        if found != digest:
            raise ValueError(f"{recipe} had the digest {digest} when it was saved and has {found} here: another file")
    return FeatureComparator(recipes, *options)
