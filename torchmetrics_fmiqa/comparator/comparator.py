"""The one path: (preds, target) -> tiles -> frozen features -> one distance per image and tap.

Every caller (metric, loss, function, map, command line) uses a :class:`FeatureComparator` and adds no arithmetic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchmetrics_fmiqa.arguments import as_bool, whole_number
from torchmetrics_fmiqa.comparator.accumulator import Accumulator
from torchmetrics_fmiqa.comparator.distance_terms import (
    DistanceTerm,
    Scoring,
    bind_weights,
    check_maskable,
    differing,
    plan_terms,
    zero_where_equal,
)
from torchmetrics_fmiqa.comparator.forward_pass import ForwardPass, full_precision, input_normalization, needs_grad
from torchmetrics_fmiqa.comparator.maps import Canvas, check_mappable
from torchmetrics_fmiqa.comparator.piecewise import Pieces, PiecewiseForward
from torchmetrics_fmiqa.comparator.pooled_features import PooledFeatures, PooledPlan, PooledRequest, PooledSums
from torchmetrics_fmiqa.comparator.precision import Precision, backbone_dtype, check_precision, image_dtype
from torchmetrics_fmiqa.comparator.preprocess import Preprocess, portions
from torchmetrics_fmiqa.comparator.tap_statistics import TapStatisticsPlan, TapStatisticsRequest, plan_tap_statistics
from torchmetrics_fmiqa.features.backbone import Backbone
from torchmetrics_fmiqa.features.builders import UserModule
from torchmetrics_fmiqa.features.image_checks import DataRange, check_lists, check_mask, data_limits, group_by_size
from torchmetrics_fmiqa.features.network import load_network
from torchmetrics_fmiqa.features.reference_cache import CachedTiles, References
from torchmetrics_fmiqa.features.tiles import TilePlan, cut
from torchmetrics_fmiqa.features.tokens import Tokens
from torchmetrics_fmiqa.recipes import Recipe

#: What can be asked for: distances, or more.
Request = Recipe | TapStatisticsRequest | PooledRequest

#: A batch ``(N, 3, H, W)``, or images ``(3, H, W)`` of sizes of their own.
Images = Tensor | Sequence[Tensor]

# Bytes for what the taps give of both sides of a portion: ViT-B's 12 blocks of 32 tiles are 0.47 GB. It keeps 4K at
# 3 GiB, and fewer tiles than this holds are no faster and no slower a tile.
_BUDGET = 512 * 2**20
# Pixels a side that go at once whatever the network: the largest taps (ViT-g's, VGG's) take 2.5 kB a pixel of a pair.
_SMALL = 200_000


class FeatureComparator:
    """Measures pairs of images by one recipe, or by several that share a forward pass. Immutable and shared.

    Args:
        recipes: a recipe, or several with one backbone, weights, input normalisation and resolution; or requests
            for tap statistics or pooled features.
        precision: ``"float32"`` (the measure's own), ``"float64"``, ``"bfloat16"`` or ``"float16"`` (autocast over
            float32 weights: faster, and wrong at small distances), or ``"auto"``: the surrounding autocast where there
            is one, else float64 for float64 images and float32 for all others.
        grad_checkpointing: recompute stages in the backward pass to save memory.
        tile_batch: tiles of preds (of 224 x 224 pixels), and as many of target, in a forward pass.

    Raises:
        ValueError: for recipes that do not share a forward pass, unknown taps, or options that do not exist.
        WeightsUnavailableError: if pretrained weights cannot be downloaded.
    """

    def __init__(
        self,
        recipes: Request | Sequence[Request],
        precision: Precision = "float32",
        grad_checkpointing: bool = False,
        tile_batch: int = 32,
    ) -> None:
        check_precision(precision)
        tile_batch = whole_number(tile_batch, "tile_batch", 1)
        grad_checkpointing = as_bool(grad_checkpointing, "grad_checkpointing")
        self.requests = (recipes,) if isinstance(recipes, Request) else tuple(recipes)
        self.recipes = tuple(each if isinstance(each, Recipe) else each.recipe for each in self.requests)
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
        mean_std = input_normalization(first, network)
        self.preprocess = Preprocess(first, self.backbone)
        self._scope = hashlib.sha256(f"{_trunk_identity(first)}|{taps}|{precision}".encode()).hexdigest()[:16]
        self._terms: list[DistanceTerm] = []
        self._plans: list[Scoring | TapStatisticsPlan | PooledPlan] = []
        for request, names in zip(self.requests, taps_of, strict=True):
            if isinstance(request, TapStatisticsRequest):
                self._plans.append(plan_tap_statistics(request, names, self.backbone, self._terms))
            elif isinstance(request, PooledRequest):
                self._plans.append(PooledPlan(taps.index(names[0]), names[0], request.pool, request.unit))
            else:
                columns = plan_terms(request, names, self.backbone, self._terms)
                self._plans.append(Scoring(columns, bind_weights(request, network, columns), request.joint))
        self.forward_pass = ForwardPass(self.backbone, mean_std)
        self._piecewise = PiecewiseForward(self.forward_pass, self._terms)
        #: What is pooled for distances between sets.
        self.pooled = tuple(each for each in self._plans if isinstance(each, PooledPlan))

    def __deepcopy__(self, memo: dict[int, Any]) -> FeatureComparator:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.requests, [request.digest for request in self.requests], self._options)

    def labels(self, position: int = 0) -> dict[str, tuple[str, ...]]:
        """For each distance of a recipe, the names of its columns."""
        return self._scoring(position).labels

    def weights(self, position: int = 0) -> dict[str, tuple[float, ...]]:
        """For each distance of a recipe, the weights that make its columns a score: they sum to 1, or are 1 each."""
        return self._scoring(position).weights

    def _scoring(self, position: int) -> Scoring:
        plan = self._plans[position]
        if not isinstance(plan, Scoring):
            raise ValueError(f"request {position} is not for scores: ask a comparator of its recipe")
        return plan

    def __call__(
        self,
        preds: Images,
        target: Images,
        mask: Images | None = None,
        data_range: DataRange = 1.0,
        crop_border: int = 0,
        validate: bool = True,
        references: References | None = None,
    ) -> list[Any]:
        """Measure a batch of pairs.

        One forward pass serves predictions and targets where no gradient is asked for. With a gradient, the targets'
        side runs without one. Tiles go through the network in portions; the features of one live at a time.

        Args:
            preds: ``(N, 3, H, W)``, floating point in ``data_range``, uint8 or uint16; or a list of ``(3, H, W)``, each
                of its own size.
            target: likewise.
            mask: ``(N, 1, H, W)`` weights of pixels, for distances with maps; with lists a list of ``(1, H, W)``.
            data_range: range of floating point images.
            crop_border: pixels to cut off each side first.
            validate: look at the values too, not just the shapes (on a GPU this waits for the device).
            references: where to find and keep the targets' features; not used where a gradient is asked for.

        Returns:
            For each recipe its :class:`~torchmetrics_fmiqa.comparator.distance_terms.Distances`, each ``(N, L)`` in
            float32 or float64; for other requests
            :class:`~torchmetrics_fmiqa.comparator.tap_statistics.TapStatistics`.

        Raises:
            ValueError: for images or masks that do not fit, naming the value and the fix.
        """
        if not isinstance(preds, Tensor) or not isinstance(target, Tensor):
            return self._lists(preds, target, mask, data_range, crop_border, validate, references)
        if mask is not None and not isinstance(mask, Tensor):
            raise ValueError(f"`mask` must be a tensor (N, 1, H, W) beside tensors, got {type(mask).__name__}")
        dtype = backbone_dtype(self.precision, preds)
        with full_precision(preds):
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
    ) -> list[Any]:
        # Features depend on these too where an image goes by its id.
        scope = (self._scope, dtype, preds.shape[2:], data_limits(data_range), border)
        given, of_images = preds, image_dtype(self.precision, preds)
        preds, target = self.preprocess.pair(preds, target, of_images, data_range, border, validate)
        if mask is not None:
            check_mask(mask, given)
            check_maskable(self._terms)
            mask = self.preprocess.mask(mask, of_images, border, validate)
        weights = self.preprocess.weights(target, mask)
        plan = self.preprocess.plan(preds)
        statistics = [each for each in self._plans if isinstance(each, TapStatisticsPlan)]
        patches = {place for each in statistics for places in each.positions for place in places}
        last = {each.last for each in statistics}
        measured = Accumulator(plan, preds, weights, self._terms, patches, last)
        pooled, pieces = [PooledSums(plan, preds, self.pooled) for _ in range(2)], self.pieces(plan, preds)
        with torch.set_grad_enabled(needs_grad(preds)):
            for portion in portions(plan, preds.shape[0], 1 if pieces else self.at_once(plan, preds.shape[0])):
                tiles = cut(preds, plan, portion), cut(target, plan, portion)
                cached = None
                if references is not None and pieces is None and not needs_grad(preds):
                    cached = references.of_portion(scope, tiles[1], portion)
                values, sides = self._distances(*tiles, dtype, pieces, cached)
                measured.add(portion, values, sides[1])
                pooled[0].add(portion, sides[0])
                pooled[1].add(portion, sides[1])
                del values, sides  # before those of the next portion come
        return [
            PooledFeatures(*(sums.result(requested) for sums in pooled))
            if isinstance(requested, PooledPlan)
            else requested.result(measured.sums)
            if isinstance(requested, Scoring)
            else requested.result(measured, preds, target, mask)
            for requested in self._plans
        ]

    def _distances(
        self,
        preds: Tensor,
        target: Tensor,
        dtype: torch.dtype | None,
        pieces: Pieces | None,
        cached: CachedTiles | None = None,
    ) -> tuple[list[Tensor], tuple[list[Tokens], list[Tokens]]]:
        """What each term measures of tiles ``(K, 3, h, w)``, and the tokens of both sides at each tap."""
        if pieces is not None:
            return self._piecewise(preds, target, dtype, pieces)
        preds_tokens, target_tokens = self.forward_pass(preds, target, dtype, cached)
        differ, values = None if needs_grad(preds) else differing(preds, target), []
        for term in self._terms:
            value = term.measure(preds_tokens, target_tokens)
            values.append(value if differ is None else zero_where_equal(value, differ))
        return values, (preds_tokens, target_tokens)

    def pieces(self, plan: TilePlan, preds: Tensor) -> Pieces | None:
        """The pieces that large tiles go through the network in, or ``None`` where tiles go as they are."""
        return None if needs_grad(preds) else self._piecewise.pieces(plan)

    def at_once(self, plan: TilePlan, images: int) -> int:
        """How many tiles a side go through the network at once."""
        if torch.compiler.is_exporting():
            return self.tile_batch  # a single tile of each image: nothing is parted, and the sizes are not known
        height, width = plan.rows.padded, plan.cols.padded
        count = max(1, self.tile_batch * 224 * 224 // (height * width))
        if torch.compiler.is_compiling():
            return count
        several = min(count, images * len(plan.corners))
        if several == 1 or several * height * width <= _SMALL:
            return count
        return max(1, min(count, _BUDGET // (2 * self.backbone.tap_bytes(height, width))))

    def _lists(
        self,
        preds: Images,
        target: Images,
        mask: Images | None,
        data_range: DataRange,
        border: int,
        validate: bool,
        references: References | None,
    ) -> list[Any]:
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
                None if references is None else references.select(group),
            )
            for group in groups
        ]
        places = [i for group in groups for i in group]
        order = sorted(range(len(places)), key=places.__getitem__)
        return [same[0].joined(same[1:], order) for same in zip(*parts, strict=True)]

    @property
    def has_maps(self) -> bool:
        """Whether the first recipe's distances have maps; tap statistics have none."""
        if not isinstance(self._plans[0], Scoring):
            return False
        try:
            check_mappable(self.recipes[0])
        except ValueError:
            return False
        return True

    def maps(
        self,
        preds: Tensor,
        target: Tensor,
        data_range: DataRange = 1.0,
        crop_border: int = 0,
        validate: bool = True,
        per_layer: bool = False,
        bilinear: bool = False,
    ) -> dict[str, dict[str, Tensor]]:
        """Measure where a batch of pairs differs, by the first recipe's distances of patch tokens.

        With ``bilinear`` values are interpolated from place to place, of whole images only: as in the maps of LPIPS,
        whose mean is not the score.

        Returns:
            For each distance, maps ``(N, 1, H, W)`` by label: ``"score"``, and each tap with ``per_layer``. The mean
            of a map is the score, or the tap's distance, of patch tokens. Joint distances have a map by their own rule,
            see :meth:`~torchmetrics_fmiqa.distances.joint.Joint.factors`.

        Raises:
            ValueError: for images that do not fit and for distances without a map.
        """
        check_mappable(self.recipes[0])
        dtype, given = backbone_dtype(self.precision, preds), preds
        with full_precision(preds):
            preds, target = self.preprocess.pair(
                preds, target, image_dtype(self.precision, preds), data_range, crop_border, validate
            )
            plan = self.preprocess.plan(preds)
            pixels = self.preprocess.weights(target)
            canvas = Canvas(plan, preds, self._scoring(0), self._terms, pixels, per_layer, bilinear)
            pieces = self.pieces(plan, preds)
            with torch.set_grad_enabled(needs_grad(preds)):
                for portion in portions(plan, preds.shape[0], 1 if pieces else self.at_once(plan, preds.shape[0])):
                    tiles = cut(preds, plan, portion), cut(target, plan, portion)
                    values, sides = self._distances(*tiles, dtype, pieces)
                    canvas.add(portion, values, sides[1])
                    del values, sides
            return canvas.stretched((given.shape[-2] - 2 * crop_border, given.shape[-1] - 2 * crop_border))


def _trunk_identity(recipe: Recipe) -> tuple[Any, ...]:
    module = recipe.backbone
    return (module.identity if isinstance(module, UserModule) else module, *recipe.trunk[1:])


def _rebuild(
    kind: type[FeatureComparator], requests: tuple[Request, ...], digests: list[str], options: tuple[Any, ...]
) -> FeatureComparator:
    """Unpickle a comparator, unless the weights file it was made from has other content now."""
    for request, digest in zip(requests, digests, strict=True):
        found = request.replace().digest
        if found != digest:
            raise ValueError(f"{request} had the digest {digest} when it was saved and has {found} here: another file")
    return kind(requests, *options)
