"""Recipes: all that fixes a number, in one frozen object, and the table of named ones."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from torch import nn

from torchmetrics_fmiqa.distances import DISTRIBUTION, POINTWISE, Distance, zsiqa
from torchmetrics_fmiqa.features.embedded import EMBEDDED
from torchmetrics_fmiqa.features.identity import content_of
from torchmetrics_fmiqa.features.network import UserModule, network_identity
from torchmetrics_fmiqa.features.tokens import TokenChoice
from torchmetrics_fmiqa.features.weights import PRETRAINED
from torchmetrics_fmiqa.recipe_facts import FACTS, Facts

Resolution = Literal["auto", "tile", "native", "resize"]
Protocol = Literal["fmiqa", "zsiqa"]
Taps = str | Sequence[str | int]
Normalization = str | tuple[Sequence[float], Sequence[float]]

# Part of every digest: raise it when the same fields start to mean another number.
_VERSION = 1

# What other packages call things.
_ELSEWHERE = {
    "normalize": "give the range of the images as `data_range`, such as (-1, 1)",
    "net": "name the network as `backbone`, or a recipe that has it",
    "net_type": "name the network as `backbone`, or a recipe that has it",
}

# Fields that belong to a backbone; another backbone starts from its own.
_BACKBONE_BOUND = ("weights", "taps", "tap_weights", "normalization", "resolution", "tile", "max_side")


@dataclass(frozen=True)
class Recipe:
    """All that fixes a score. Equal recipes give equal numbers on any machine.

    Args:
        backbone: ``"fmiqa/embedded"`` (part of this package), a timm model name, ``torchvision/NAME``, or a
            ``torch.nn.Module`` (copied and frozen).
        weights: ``"pretrained"`` (the name's own, downloaded once through its hub), the path of a ``.safetensors`` or
            ``.pth`` file, or ``"random:SEED"``. Not used for a module, which has its own.
        taps: where features are read: ``"all"`` stages, or a list of stage indices (negative ones count from the end)
            and module names.
        tap_weights: weight of each tap by its index or name, ``None`` for equal weights.
        distance: a name, a callable ``(N, T, C), (N, T, C) -> (N,)``, or several of them. Names are ``l2``,
            ``cosine``, ``angular`` (pointwise, with a map), ``wasserstein``, ``sliced_wasserstein``,
            ``jensen_shannon`` and ``symmetric_kl``; under the ``zsiqa`` protocol ``l2``, ``cos``, ``jsd``, ``skld``,
            ``wsd`` and ``swd``.
        tokens: ``"patch"`` positions, ``"prefix"`` tokens (CLS, registers) or ``"all"``.
        normalization: ``"model"`` for the network's own input mean and standard deviation, ``"none"`` for raw [0, 1],
            or a pair ``(mean, std)`` of three values each.
        resolution: ``"tile"`` (evenly spaced tiles that cover the image), ``"native"`` (the whole image, mirrored up
            to the network's patch or stride), ``"resize"`` (the whole image squeezed to a tile) or ``"auto"``: tile
            for transformers, whose cost is quadratic in pixels, native for convolutional networks.
        tile: side of a tile in pixels, ``None`` for the network's own (224 nearly always).
        max_side: shrink images whose longer side exceeds this (antialiased bicubic) before anything else.
        clamp_preds: clamp predictions to their range first.
        protocol: ``"fmiqa"``, or ``"zsiqa"`` for the published sums, windows and distances (:meth:`zsiqa`).

    Raises:
        ValueError: for a value that no field takes, naming the field and what it takes.

    >>> recipe = Recipe("vit_tiny_patch16_224", weights="random:0", distance="l2")
    >>> recipe.replace(taps=[0, 5, -1]).taps
    (0, 5, -1)
    >>> recipe.digest == Recipe.from_yaml(recipe.to_yaml()).digest
    True
    """

    backbone: str | nn.Module | UserModule
    weights: str | Path = PRETRAINED
    taps: Taps = "all"
    tap_weights: Mapping[str | int, float] | None = None
    distance: str | Distance | Sequence[str | Distance] = "cosine"
    tokens: TokenChoice = "patch"
    normalization: Normalization = "model"
    resolution: Resolution = "auto"
    tile: int | None = None
    max_side: int | None = None
    clamp_preds: bool = False
    protocol: Protocol = "fmiqa"

    def __post_init__(self) -> None:
        if isinstance(self.backbone, nn.Module):
            self._set(backbone=UserModule(self.backbone))
        elif not isinstance(self.backbone, (str, UserModule)) or not self.backbone:
            raise ValueError(f"`backbone` must be a model name or a torch.nn.Module, got {self.backbone!r}")
        if isinstance(self.weights, Path):
            self._set(weights=str(self.weights))
        if not isinstance(self.weights, str):
            raise ValueError(f"`weights` must be 'pretrained', 'random:SEED' or a path, got {self.weights!r}")
        if isinstance(self.backbone, UserModule) and self.weights != PRETRAINED:
            raise ValueError(f"`weights={self.weights!r}` with a module as backbone: load them into the module instead")
        if not isinstance(self.taps, str):
            if not isinstance(self.taps, Sequence):
                raise ValueError(f"`taps` must be 'all' or a list of indices and module names, got {self.taps!r}")
            self._set(taps=tuple(self.taps))
        self._check_tap_weights()
        self._check_choice("tokens", get_args(TokenChoice))
        self._check_choice("resolution", get_args(Resolution))
        self._check_choice("protocol", get_args(Protocol))
        for name in ("tile", "max_side"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"`{name}` must be a positive number of pixels or None, got {value!r}")
        if not isinstance(self.clamp_preds, bool):
            raise ValueError(f"`clamp_preds` must be true or false, got {self.clamp_preds!r}")
        self._check_normalization()
        self._check_distance()

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            raise ValueError(f"`{name}` must be one of {', '.join(choices)}; got {getattr(self, name)!r}")

    def _check_tap_weights(self) -> None:
        if self.tap_weights is None:
            return
        if not isinstance(self.tap_weights, Mapping):
            raise ValueError(
                f"`tap_weights` must map each tap (index or name) to its weight, got {self.tap_weights!r}: "
                "weights bind by name, not by position"
            )
        try:
            weights = {key: float(value) for key, value in self.tap_weights.items()}
        except (TypeError, ValueError):
            raise ValueError(f"`tap_weights` must be numbers, got {dict(self.tap_weights)!r}") from None
        if not all(0 <= weight < float("inf") for weight in weights.values()) or not any(weights.values()):
            raise ValueError(f"`tap_weights` must be finite, at least 0 and not all 0, got {weights!r}")
        self._set(tap_weights=weights)

    def _check_normalization(self) -> None:
        if isinstance(self.normalization, str):
            self._check_choice("normalization", ("model", "none"))
            return
        try:
            mean, std = (tuple(float(value) for value in values) for values in self.normalization)
        except (TypeError, ValueError):
            mean, std = (), ()
        if len(mean) != 3 or len(std) != 3 or min(std, default=0) <= 0:
            raise ValueError(
                "`normalization` must be 'model', 'none' or (mean, std) with three values each and std above 0, "
                f"got {self.normalization!r}"
            )
        self._set(normalization=(mean, std))

    def _check_distance(self) -> None:
        if not isinstance(self.distance, str) and not callable(self.distance):
            given = tuple(self.distance) if isinstance(self.distance, Sequence) else (None,)
            if not all(isinstance(distance, str) or callable(distance) for distance in given):
                raise ValueError(f"`distance` must be a name, a callable or a list of them, got {self.distance!r}")
            self._set(distance=given)
        names = [distance_name(distance) for distance in self.distances]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"`distance` must name one or more different distances, got {names!r}")
        known = [*POINTWISE, *DISTRIBUTION] if self.protocol == "fmiqa" else [*zsiqa.PER_TAP, *zsiqa.STACKED]
        for distance in self.distances:
            if isinstance(distance, str) and distance not in known:
                raise ValueError(
                    f"`distance` {distance!r} is not known to the {self.protocol} protocol, "
                    f"which has {', '.join(known)}"
                    "; or give a callable (N, T, C), (N, T, C) -> (N,)"
                )
            if not isinstance(distance, str) and self.protocol == "zsiqa":
                raise ValueError("the zsiqa protocol takes its published distances by name, no callables")

    def __deepcopy__(self, memo: dict[int, Any]) -> Recipe:
        return self

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def distances(self) -> tuple[str | Distance, ...]:
        """The distances as a tuple, whether one was given or several."""
        several = isinstance(self.distance, Sequence) and not isinstance(self.distance, str)
        return tuple(self.distance) if several else (self.distance,)  # type: ignore[arg-type, return-value]

    @property
    def trunk(self) -> tuple[Any, ...]:
        """What two recipes must share for one forward pass to serve both."""
        weights = "" if isinstance(self.backbone, UserModule) else network_identity(self.backbone, str(self.weights))
        reading = (self.normalization, self.resolution, self.tile, self.max_side, self.clamp_preds, self.protocol)
        return (self.backbone, weights, *reading)

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that are equal for equal recipes: a file counts by its content, not its path.

        Raises:
            ValueError: if ``weights`` is a file that is not there.
        """
        fields = {**self._plain(), "version": _VERSION}
        if isinstance(self.backbone, UserModule):
            fields["backbone"] = self.backbone.identity
        else:
            fields["weights"] = network_identity(self.backbone, str(self.weights))
        fields["distance"] = [d if isinstance(d, str) else _callable_identity(d) for d in self.distances]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]

    def _plain(self) -> dict[str, Any]:
        """The fields as plain lists, numbers and strings."""

        def plain(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {str(key) if isinstance(key, int) else key: plain(item) for key, item in value.items()}
            if isinstance(value, (tuple, list)):
                return [plain(item) for item in value]
            return distance_name(value) if callable(value) else value

        return {
            field.name: plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if not isinstance(getattr(self, field.name), UserModule)
        }

    def replace(self, **overrides: Any) -> Recipe:
        """Return a copy with other fields. Another ``backbone`` resets whatever belongs to a backbone to its defaults.

        >>> Recipe("resnet18", weights="random:0", distance="l2").replace(backbone="vgg11")
        Recipe(backbone='vgg11', distance='l2')

        Raises:
            ValueError: for a name that is no field, with the nearest one.
        """
        names = [field.name for field in dataclasses.fields(self)]
        for name in overrides:
            if name not in names:
                if name in _ELSEWHERE:
                    raise ValueError(f"there is no `{name}` here: {_ELSEWHERE[name]}")
                near = difflib.get_close_matches(name, names, 1)
                hint = f": did you mean `{near[0]}`?" if near else ""
                raise ValueError(f"a recipe has no field `{name}`{hint} (fields: {', '.join(names)})")
        if "backbone" in overrides:
            overrides = {**_backbone_defaults(overrides["backbone"]), **overrides}
        return dataclasses.replace(self, **overrides)

    def to_yaml(self) -> str:
        """Return the recipe as YAML, with the fields that differ from the backbone's defaults.

        Raises:
            ValueError: if the backbone is a module or a distance is a callable, which YAML cannot hold.
        """
        import yaml

        if isinstance(self.backbone, UserModule):
            raise ValueError("a recipe with a module as backbone has no YAML form: give a timm or torchvision name")
        if any(not isinstance(distance, str) for distance in self.distances):
            raise ValueError("a recipe with a callable as distance has no YAML form: give the name of a distance")
        # What :meth:`from_yaml` starts from.
        defaults = {field.name: field.default for field in dataclasses.fields(self)} | _backbone_defaults(self.backbone)
        plain = {name: value for name, value in self._plain().items() if getattr(self, name) != defaults[name]}
        if self.tap_weights is not None:
            plain["tap_weights"] = dict(self.tap_weights)
        return str(yaml.safe_dump(plain, sort_keys=False))

    @classmethod
    def from_yaml(cls, source: str | Path) -> Recipe:
        """Read a recipe from a YAML file or text. ``recipe: NAME`` in it starts from a named recipe.

        A relative path in ``weights`` counts from the file's folder.

        Raises:
            ValueError: for unknown fields, or a text that is no YAML mapping.
        """
        import yaml

        path = Path(source) if _is_yaml_path(source) else None
        if path is not None and not path.is_file():
            raise ValueError(f"there is no recipe file {str(path)!r}")
        try:
            fields = yaml.safe_load(path.read_text() if path else str(source))
        except yaml.YAMLError as error:
            raise ValueError(f"the recipe {str(source)[:80]!r} is no YAML: {error}") from None
        if not isinstance(fields, dict):
            raise ValueError(f"a recipe is a mapping of fields, got {fields!r}")
        weights = fields.get("weights")
        if path is not None and isinstance(weights, str) and (path.parent / weights).is_file():
            fields["weights"] = str(path.parent / weights)
        base = named(fields.pop("recipe")) if "recipe" in fields else cls("placeholder")
        if base.backbone == "placeholder" and "backbone" not in fields:
            raise ValueError("a recipe names its `backbone`, or a `recipe` to start from")
        return base.replace(**{str(name): value for name, value in fields.items()})

    @classmethod
    def zsiqa(cls, backbone: str, distance: str = "l2", weights: str | None = None) -> Recipe:
        """Return the published ZS-IQA protocol (ICASSP 2025) for a backbone, quirks included.

        Raw [0, 1] input, windows of 224 at stride 200, every block, all tokens, plain sums over taps and a plain mean
        over windows. For parity with published scores; for use, take a plain recipe.

        Args:
            backbone: a timm ViT, CLIP ResNet or ConvNeXt.
            distance: ``l2``, ``cos``, ``wsd``, ``jsd``, ``skld``, ``swd`` over the blocks, or ``embed_cos``: for CLIP
                models the cosine of the image embedding, for others the mean cosine of the tokens after the final
                norm, as published (which is why its "embedding" is not one for DINO). ``embed`` is short for it.
            weights: as in :class:`Recipe`, ``None`` for ``"pretrained"``.

        Raises:
            ValueError: for a distance that the protocol does not have.
        """
        embedding = distance in ("embed", "embed_cos")
        clip = "clip" in backbone
        if embedding:
            taps: Taps = ["head"] if clip else ["norm"]
        else:
            taps = _published_taps(backbone)
        return cls(
            backbone=backbone,
            weights=PRETRAINED if weights is None else weights,
            taps=taps,
            distance="cos" if embedding else distance,
            tokens="all",
            normalization="none",
            resolution="tile",
            tile=224,
            protocol="zsiqa",
        )

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if field.name == "backbone" or getattr(self, field.name) != field.default
        ]
        return f"Recipe({', '.join(shown)})"


def _is_yaml_path(source: str | Path) -> bool:
    return isinstance(source, Path) or ("\n" not in source and source.endswith((".yaml", ".yml")))


def distance_name(distance: Any) -> str:
    """Name of a distance as it stands in columns and states."""
    return distance if isinstance(distance, str) else getattr(distance, "__name__", type(distance).__name__)


def _callable_identity(distance: Distance) -> str:
    """Digest of a user's distance: its code where it has some, else its pickled content."""
    try:
        content = content_of(distance)
    except Exception as error:
        raise ValueError(f"`distance` {distance!r} cannot be pickled, so it has no digest: give a function") from error
    return f"{distance_name(distance)}:{hashlib.sha256(content.encode()).hexdigest()}"


# ConvNeXt-Base has 3, 3, 27 and 3 blocks; the published code reads each of them.
_CONVNEXT_BASE_BLOCKS = tuple(f"stages.{s}.blocks.{b}" for s, n in enumerate((3, 3, 27, 3)) for b in range(n))


def _published_taps(backbone: str) -> Taps:
    if backbone.startswith("resnet50_clip"):
        return ("stem.pool", "stages.0", "stages.1", "stages.2", "stages.3")
    return _CONVNEXT_BASE_BLOCKS if backbone.startswith("convnext_base") else "all"


def _backbone_defaults(backbone: Any) -> dict[str, Any]:
    """The backbone-bound fields of a backbone: those of its named recipe where it has one, else the general ones."""
    general = {field.name: field.default for field in dataclasses.fields(Recipe) if field.name in _BACKBONE_BOUND}
    for entry in RECIPES.values():
        if entry.recipe.backbone == backbone and entry.recipe.protocol == "fmiqa":
            return {name: getattr(entry.recipe, name) for name in general}
    return general


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe of the table.

    Args:
        recipe: the recipe.
        parameters: parameters of its backbone in millions.
        licence: licence of its pretrained weights.
        note: what it is, in a few words.
        megabytes: what its weights take on disk, in 10^6 bytes.
        facts: what it costs, and how well it agrees with people.
    """

    recipe: Recipe
    parameters: float
    licence: str
    note: str
    megabytes: float
    facts: Facts


# Raw [0, 1] input: better than its own for ViT-Tiny, and all that is known of the published transformers
# (docs/findings.md).
_RAW = {"normalization": "none"}
# Weights are published in single precision; our own are stored in half.
_BYTES, _OUR_BYTES = 4, 2


def _table() -> dict[str, NamedRecipe]:
    rows: list[tuple[str, str, float, str, str, dict[str, Any]]] = [
        # name, backbone, millions of parameters, licence of the weights, note, fields
        # the two deep taps: the others cannot but see that an image was moved by some pixels (docs/embedded.md)
        ("embedded", EMBEDDED, 0.5, "apache-2.0", "part of this package", {"taps": (3, 4)}),
        *(
            (name, backbone, size, licence, note, _RAW)
            for name, backbone, size, licence, note in (
                ("clip-vit-b32", "vit_base_patch32_clip_quickgelu_224.openai", 87.8, "apache-2.0", "CLIP, OpenAI"),
                ("openclip-vit-b32", "vit_base_patch32_clip_224.laion2b", 87.8, "apache-2.0", "OpenCLIP, LAION-2B"),
                ("vit-b16", "vit_base_patch16_224.orig_in21k_ft_in1k", 86.6, "apache-2.0", "supervised, ImageNet"),
                ("dino-vit-b16", "vit_base_patch16_224.dino", 85.8, "apache-2.0", "DINO"),
                ("dinov2-vit-b14", "vit_base_patch14_dinov2.lvd142m", 86.6, "apache-2.0", "DINOv2"),
            )
        ),
        ("clip-rn50", "resnet50_clip.openai", 38.3, "mit", "CLIP ResNet-50, OpenAI", {}),
        ("openclip-convnext-b", "convnext_base.clip_laion2b", 88.2, "apache-2.0", "OpenCLIP, LAION-2B", {}),
        ("dinov3-vit-b16", "vit_base_patch16_dinov3.lvd1689m", 85.7, "dinov3-license", "DINOv3", {}),
        ("siglip2-vit-b16", "vit_base_patch16_siglip_224.v2_webli", 92.9, "apache-2.0", "SigLIP 2", {}),
        ("dinov2-vit-s14", "vit_small_patch14_dinov2.lvd142m", 22.1, "apache-2.0", "small DINOv2", {}),
        ("vit-tiny", "vit_tiny_patch16_224.augreg_in21k_ft_in1k", 5.7, "apache-2.0", "small and fast", _RAW),
        ("squeezenet", "torchvision/squeezenet1_1", 1.2, "bsd-3-clause", "LPIPS-squeeze's trunk", {}),
        ("vgg16", "torchvision/vgg16", 138.4, "bsd-3-clause", "LPIPS-vgg's trunk", {}),
    ]

    def entry(name: str, recipe: Recipe, parameters: float, licence: str, note: str) -> NamedRecipe:
        size = parameters * (_OUR_BYTES if recipe.backbone == EMBEDDED else _BYTES)
        return NamedRecipe(recipe, parameters, licence, note, size, FACTS[name])

    table = {
        name: entry(name, Recipe(backbone, **fields), parameters, licence, note)
        for name, backbone, parameters, licence, note, fields in rows
    }
    table = {"default": table["embedded"], "accurate": table["dino-vit-b16"], **table}
    published = ("clip-vit-b32", "clip-rn50", "openclip-vit-b32", "openclip-convnext-b")
    for name in (*published, "vit-b16", "dino-vit-b16", "dinov2-vit-b14"):
        like = table[name]
        recipe = Recipe.zsiqa(str(like.recipe.backbone))
        title = f"zsiqa-{name}"
        table[title] = entry(title, recipe, like.parameters, like.licence, "published ZS-IQA protocol, l2")
    return table


#: The named recipes. ``default`` is ``embedded``, which needs no download; ``accurate`` is DINO ViT-B/16.
RECIPES: dict[str, NamedRecipe] = _table()


def named(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        ValueError: if there is none, with the nearest names.
    """
    if not isinstance(name, str) or name not in RECIPES:
        near = difflib.get_close_matches(str(name), RECIPES, 3)
        hint = f"; close: {', '.join(near)}" if near else ""
        raise ValueError(
            f"there is no recipe {name!r}{hint} (`fmiqa recipes` lists them; a .yaml file or backbone=NAME works too)"
        )
    return RECIPES[name].recipe


def as_recipe(recipe: str | Path | Recipe = "default", **overrides: Any) -> Recipe:
    """Return the recipe that a door was given: a name, a YAML file or a recipe, with fields overridden.

    >>> as_recipe("vit-tiny", distance="l2").distance
    'l2'

    Raises:
        ValueError: for an unknown name, file or field.
    """
    if not isinstance(recipe, (str, Path, Recipe)):
        raise ValueError(
            f"`recipe` is a name, a YAML file or a Recipe, got a {type(recipe).__name__}; a network is `backbone=`"
        )
    if not isinstance(recipe, Recipe):
        recipe = Recipe.from_yaml(recipe) if _is_yaml_path(recipe) else named(str(recipe))
    return recipe.replace(**overrides) if overrides else recipe
