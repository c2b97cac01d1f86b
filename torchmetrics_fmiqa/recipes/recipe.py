"""Recipe: all settings that determine a score, in a frozen dataclass."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from torch import nn
from typing_extensions import Unpack

from torchmetrics_fmiqa.arguments import as_bool
from torchmetrics_fmiqa.distances import Distance
from torchmetrics_fmiqa.distances.joint import Combine, Joint
from torchmetrics_fmiqa.features.builders import UserModule
from torchmetrics_fmiqa.features.channel_weights import channel_weights_identity, checked_channel_weights
from torchmetrics_fmiqa.features.network import network_identity
from torchmetrics_fmiqa.features.tokens import TokenChoice
from torchmetrics_fmiqa.features.weights import PRETRAINED
from torchmetrics_fmiqa.recipes.backbone_defaults import own_fields, published_fields
from torchmetrics_fmiqa.recipes.fields import (
    Normalization,
    Pooling,
    Protocol,
    Resolution,
    TapReduction,
    Taps,
    callable_identity,
    check_choice,
    check_names,
    check_protocol,
    check_weighable,
    checked_backbone,
    checked_combine,
    checked_distance,
    checked_normalization,
    checked_pixels,
    checked_tap_weights,
    checked_taps,
    distance_name,
    plain_value,
    shown,
)
from torchmetrics_fmiqa.recipes.recipe_fields import RecipeFields
from torchmetrics_fmiqa.recipes.yaml_form import read_fields

# Part of every digest: increase it when the same fields give another score than before.
_VERSION = 1

# Fields that belong to a backbone; with another backbone they start from its defaults.
_BACKBONE_BOUND = (
    *("weights", "taps", "tap_weights", "channel_weights"),
    *("normalization", "resolution", "tile", "max_side", "pooling"),
)
# Fields that were added later, and their defaults. Without those, older recipes keep their digests.
_ADDED = {"pooling": "mean", "clamp_target": False, "combine": None, "channel_weights": None, "tap_reduction": "mean"}


@dataclass(frozen=True)
class Recipe:
    """All settings that determine a score. Equal recipes give equal scores on any machine.

    Args:
        backbone: ``"fmiqa/embedded"`` (part of this package), a timm model name, ``torchvision/NAME``, or a
            ``torch.nn.Module`` (copied and frozen).
        weights: ``"pretrained"`` (those of the model name, downloaded once through its hub), the path of a
            ``.safetensors`` or ``.pth`` file, or ``"random:SEED"``. Not used for a module, which has its own.
        taps: where features are read: ``"all"`` stages, or a list of stage indices (negative ones count from the end)
            and module names.
        tap_weights: weight of each tap by its index or name, ``None`` for equal weights.
        distance: a name, a callable ``(N, T, C), (N, T, C) -> (N,)``, a list of them (each gives a score), or a mapping
            of them to weights (joined to a single score). Names with maps are ``l2``, ``cosine``, ``angular``,
            ``normalized_l2``, ``jensen_shannon`` and ``symmetric_kl``; names without are ``wasserstein`` and
            ``sliced_wasserstein``. The ``zsiqa`` protocol has ``l2``, ``cos``, ``jsd``, ``skld``, ``wsd`` and ``swd``.
        tokens: ``"patch"`` positions, ``"prefix"`` tokens (CLS, registers) or ``"all"``.
        normalization: ``"model"`` for the network's own input mean and standard deviation, ``"none"`` for raw [0, 1],
            or a pair ``(mean, std)`` of three values each.
        resolution: ``"tile"`` (evenly spaced tiles that cover the image), ``"native"`` (the full image, mirrored up to
            a multiple of the network's patch or stride), ``"unpadded"`` (the full image as it is), ``"resize"`` (the
            image resized to a tile) or ``"auto"``: tile for transformers, whose cost is quadratic in pixels, native for
            convolutional networks.
        tile: side of a tile in pixels, ``None`` for the network's input size (mostly 224).
        max_side: shrink images whose longer side exceeds this (antialiased bicubic) before anything else.
        clamp_preds: clamp predictions to their range first.
        protocol: ``"fmiqa"``, or ``"zsiqa"`` for the published sums, windows and distances (:meth:`zsiqa`).
        pooling: how positions are averaged: plain ``"mean"``, or weighted by the ``"information"`` of the target at the
            position (:func:`~torchmetrics_fmiqa.comparator.preprocess.information`): a uniform sky counts less than a
            face. Distances without a map weight tiles instead. With ``"information"`` the score is not symmetric in
            preds and target.
        clamp_target: clamp references to their range first; for references that may leave it, such as reflectance
            slightly above 1 or the overshoot of a resize.
        combine: how a mapping of distances is joined at each tap, ``"mean"`` (the default for a mapping) or
            ``"geometric"``, see :class:`~torchmetrics_fmiqa.distances.joint.Joint`. Weights count in proportion.
        channel_weights: weights of the channels of each tap, at least 0, for ``l2``, ``normalized_l2``, ``cosine`` and
            ``angular``: a mapping of each tap, by index or name, to a weight for each channel; a ``.safetensors`` or
            ``.pth`` file of such tensors by name (or LPIPS' own, by layer); or ``"lpips"`` for the linear weights of
            LPIPS v0.1 that torchmetrics ships. Ones change nothing.
        tap_reduction: ``"mean"`` over taps, or their ``"sum"``, each times its tap weight, as in LPIPS.

    Raises:
        ValueError: for an invalid value; the message names the field and its valid values.

    >>> recipe = Recipe("vit_tiny_patch16_224", weights="random:0", distance="l2")
    >>> recipe.replace(taps=[0, 5, -1]).taps
    (0, 5, -1)
    >>> recipe.replace(distance={"cosine": 2, "symmetric_kl": 1}, combine="geometric").results
    ('cosine+symmetric_kl',)
    >>> recipe.digest == Recipe.from_yaml(recipe.to_yaml()).digest
    True
    """

    backbone: str | nn.Module | UserModule
    weights: str | Path = PRETRAINED
    taps: Taps = "all"
    tap_weights: Mapping[str | int, float] | None = None
    # The mapping comes before the callable, because jsonargparse reads a mapping as the arguments of a callable.
    distance: str | Mapping[str | Distance, float] | Sequence[str | Distance] | Distance = "cosine"
    tokens: TokenChoice = "patch"
    normalization: Normalization = "model"
    resolution: Resolution = "auto"
    tile: int | None = None
    max_side: int | None = None
    clamp_preds: bool = False
    protocol: Protocol = "fmiqa"
    pooling: Pooling = "mean"
    clamp_target: bool = False
    combine: Combine | None = None
    channel_weights: Mapping[str | int, Sequence[float]] | str | Path | None = None
    tap_reduction: TapReduction = "mean"

    def __post_init__(self) -> None:
        backbone, weights = checked_backbone(self.backbone, self.weights)
        self._set(backbone=backbone, weights=weights)
        check_choice("tokens", self.tokens, get_args(TokenChoice))
        check_choice("resolution", self.resolution, get_args(Resolution))
        check_choice("protocol", self.protocol, get_args(Protocol))
        check_choice("pooling", self.pooling, get_args(Pooling))
        check_choice("tap_reduction", self.tap_reduction, get_args(TapReduction))
        check_protocol(self.protocol, {name: getattr(self, name) for name in _ADDED}, _ADDED)
        self._set(
            tile=checked_pixels("tile", self.tile),
            max_side=checked_pixels("max_side", self.max_side),
            clamp_preds=as_bool(self.clamp_preds, "clamp_preds"),
            clamp_target=as_bool(self.clamp_target, "clamp_target"),
            taps=checked_taps(self.taps),
            tap_weights=checked_tap_weights(self.tap_weights),
            normalization=checked_normalization(self.normalization),
            distance=checked_distance(self.distance, self.protocol),
            channel_weights=checked_channel_weights(self.channel_weights),
        )
        if self.channel_weights is not None:
            check_weighable(self.distances)
        self._set(combine=checked_combine(self.combine, self.distance))

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Recipe:
        return self

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def distances(self) -> tuple[str | Distance, ...]:
        """The distances as a tuple, in every form of the field."""
        several = isinstance(self.distance, (Sequence, Mapping)) and not isinstance(self.distance, str)
        return tuple(self.distance) if several else (self.distance,)  # type: ignore[arg-type, return-value]

    @cached_property
    def joint(self) -> Joint | None:
        """How the distances are joined to a single score; ``None`` if each gives a score."""
        if not isinstance(self.distance, Mapping):
            return None
        total = sum(self.distance.values())
        weights = tuple(weight / total for weight in self.distance.values())
        return Joint(tuple(map(distance_name, self.distance)), weights, self.combine)  # type: ignore[arg-type]

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the scores, one for each distance, or that of the joint distance."""
        return tuple(map(distance_name, self.distances)) if self.joint is None else (self.joint.name,)

    @property
    def trunk(self) -> tuple[Any, ...]:
        """The fields that two recipes must share to share a forward pass."""
        weights = "" if isinstance(self.backbone, UserModule) else network_identity(self.backbone, str(self.weights))
        reading = (self.normalization, self.resolution, self.tile, self.max_side, self.clamp_preds, self.protocol)
        return (self.backbone, weights, *reading, self.pooling, self.clamp_target)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The fields as plain values that are equal for equal recipes. A file is identified by its content.

        Raises:
            ValueError: if ``weights`` is a file that does not exist.
        """
        fields = {**self.plain(), "version": _VERSION}
        fields = {name: value for name, value in fields.items() if name not in _ADDED or value != _ADDED[name]}
        if self.channel_weights is not None:
            fields["channel_weights"] = channel_weights_identity(self.channel_weights, self.backbone)  # type: ignore[arg-type]
        if isinstance(self.backbone, UserModule):
            fields["backbone"] = self.backbone.identity
        else:
            fields["weights"] = network_identity(self.backbone, str(self.weights))
        distances = [d if isinstance(d, str) else callable_identity(d) for d in self.distances]
        joint = self.joint
        fields["distance"] = distances if joint is None else dict(zip(distances, joint.weights, strict=True))
        return fields

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that are equal for equal recipes.

        Raises:
            ValueError: if ``weights`` is a file that does not exist.
        """
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:12]

    def plain(self) -> dict[str, Any]:
        """The fields as plain lists, numbers and strings, without a backbone that is a module."""
        return {
            field.name: plain_value(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if not isinstance(getattr(self, field.name), UserModule)
        }

    def replace(self, **overrides: Unpack[RecipeFields]) -> Recipe:
        """Return a copy with other fields.

        Another ``backbone`` resets the fields that belong to a backbone to its defaults. A ``distance`` that is not
        joined resets ``combine``.

        >>> Recipe("resnet18", weights="random:0", distance="l2").replace(backbone="vgg11")
        Recipe(backbone='vgg11', distance='l2')

        Raises:
            ValueError: for a name that is not a field; the message has the nearest one.
        """
        fields: dict[str, Any] = dict(overrides)
        check_names(fields, [field.name for field in dataclasses.fields(self)])
        if "backbone" in fields:
            old = own_fields(self.backbone)
            general = {field.name: field.default for field in dataclasses.fields(self) if field.name in old}
            reset = {name: default for name, default in general.items() if getattr(self, name) == old[name]}
            defaults = {**reset, **backbone_defaults(fields["backbone"])}
            if "distance" in fields:
                defaults.pop("combine", None)
            fields = {**defaults, **fields}
        if not isinstance(fields.get("distance", {}), Mapping):
            fields = {"combine": None, **fields}
        return dataclasses.replace(self, **fields)

    def to_yaml(self) -> str:
        """Return the recipe as YAML, with the fields that differ from the backbone's defaults.

        Raises:
            ValueError: if the backbone is a module or a distance is a callable.
        """
        import yaml

        if isinstance(self.backbone, UserModule):
            raise ValueError("a recipe with a module as backbone has no YAML form: give a timm or torchvision name")
        if any(not isinstance(distance, str) for distance in self.distances):
            raise ValueError("a recipe with a callable as distance has no YAML form: give the name of a distance")
        defaults = {field.name: field.default for field in dataclasses.fields(self)} | backbone_defaults(self.backbone)
        fields = {name: value for name, value in self.plain().items() if getattr(self, name) != defaults[name]}
        for name in fields.keys() & {"tap_weights", "channel_weights"}:
            weights = getattr(self, name)
            if isinstance(weights, Mapping):  # whose indices stay numbers
                fields[name] = {tap: plain_value(weight) for tap, weight in weights.items()}
        return str(yaml.safe_dump(fields, sort_keys=False))

    @classmethod
    def from_yaml(cls, source: str | Path) -> Recipe:
        """Read a recipe from a YAML file or text. ``recipe: NAME`` in it starts from a named recipe.

        A path in ``weights`` or ``channel_weights`` is relative to the file's folder.

        Raises:
            ValueError: for unknown fields, or a text that is not a YAML mapping.
        """
        fields = read_fields(source)
        start = named(fields.pop("recipe")) if "recipe" in fields else Recipe("placeholder")
        if start.backbone == "placeholder" and "backbone" not in fields:
            raise ValueError("a recipe names its `backbone`, or a `recipe` to start from")
        return start.replace(**fields)

    @classmethod
    def zsiqa(cls, backbone: str, distance: str = "l2", weights: str | None = None) -> Recipe:
        """Return the published ZS-IQA protocol (ICASSP 2025) for a backbone, quirks included.

        It has raw [0, 1] input, windows of 224 at stride 200, every block, all tokens, a plain sum over taps and a
        plain mean over windows. It is for parity with published scores; otherwise use an ordinary recipe.

        Args:
            backbone: a timm ViT, CLIP ResNet or ConvNeXt.
            distance: ``l2``, ``cos``, ``wsd``, ``jsd``, ``skld``, ``swd`` over the blocks, or ``embed_cos``. The
                latter, short ``embed``, is as published: the cosine of the image embedding for CLIP models, and for
                others the mean cosine of the tokens after the final norm, which is not an embedding.
            weights: as in :class:`Recipe`, ``None`` for ``"pretrained"``.

        Raises:
            ValueError: for a distance that the protocol does not have.
        """
        return cls(
            backbone=backbone,
            weights=PRETRAINED if weights is None else weights,
            **published_fields(backbone, distance),
        )

    def __repr__(self) -> str:
        arguments = [
            f"{field.name}={shown(field.name, getattr(self, field.name))}"
            for field in dataclasses.fields(self)
            if field.name == "backbone" or getattr(self, field.name) != field.default
        ]
        return f"Recipe({', '.join(arguments)})"


#: The named recipes; the registry fills this.
NAMED: dict[str, Recipe] = {}


def named(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        ValueError: for an unknown name; the message has the nearest names.
    """
    if not isinstance(name, str) or name not in NAMED:
        near = difflib.get_close_matches(str(name), NAMED, 3)
        hint = f"; close: {', '.join(near)}" if near else ""
        raise ValueError(
            f"there is no recipe {name!r}{hint} (`fmiqa recipes` lists them; a .yaml file or backbone=NAME works too)"
        )
    return NAMED[name]


def backbone_defaults(backbone: Any) -> dict[str, Any]:
    """Defaults of the fields that belong to a backbone."""
    general = {field.name: field.default for field in dataclasses.fields(Recipe) if field.name in _BACKBONE_BOUND}
    return general | own_fields(backbone)
