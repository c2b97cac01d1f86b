"""What the names of metrics on a command line stand for: baselines, recipes and SPIPS, with fields, and YAML files."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchmetrics_fmiqa.comparator import Precision
from torchmetrics_fmiqa.data.opening import read_text
from torchmetrics_fmiqa.recipes import RECIPES, Recipe, Taps, as_recipe
from torchmetrics_fmiqa.spips_model.model import check_parts
from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe, plain_recipe
from torchmetrics_fmiqa.spips_model.scorer import SpipsScorer
from torchmetrics_fmiqa.yaml_text import NoYamlError, read_yaml

#: Name of the metric that fuses features.
SPIPS = "spips"

# Fields of SPIPS; all others are the recipe's.
_OWN = ("head", "low_level", "semantic", "parts")

# SPIPS joins taps in its own way, and always takes patches.
_SETTLED = ("tap_weights", "tokens")


@dataclass(frozen=True)
class SpipsSpec:
    """All that fixes the numbers of SPIPS. No network is loaded yet, whose weights may be out of reach.

    Raises:
        ValueError: for a head that is no file, taps that are no list, and parts that do not exist.

    >>> spec = SpipsSpec.of({"recipe": "vit-tiny", "distance": "l2", "semantic": [10, 11]})
    >>> spec.recipe.distance, spec.semantic
    ('l2', (10, 11))
    """

    recipe: Recipe  #: what to measure with
    head: str | None = None  #: a trained head's file, or ``None`` for fixed weights
    low_level: Taps | None = None  #: taps of the low-level stream; ``None`` for the first half of the recipe's taps
    semantic: Taps | None = None  #: taps of the semantic stream; ``None`` for the rest
    #: Which of :data:`~torchmetrics_fmiqa.spips_model.model.PARTS` the fixed weights use; ``None`` for all.
    parts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.head is not None and not (isinstance(self.head, str) and Path(self.head).is_file()):
            raise ValueError(f"there is no head {self.head!r}: give a .safetensors file that `fmiqa fit` made")
        for name in ("low_level", "semantic"):
            taps = getattr(self, name)
            if not isinstance(taps, (list, tuple, type(None))):
                raise ValueError(f"`{name}` must be a list of indices and module names, such as [0, 1]; got {taps!r}")
            object.__setattr__(self, name, None if taps is None else tuple(taps))
        if self.parts is not None:
            object.__setattr__(self, "parts", check_parts(self.parts))

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> SpipsSpec:
        """Read fields of this class and of its recipe. ``recipe`` is a name or a YAML file, by default ``"default"``.

        Raises:
            ValueError: for unknown fields, with the nearest one, and for values that do not fit.
        """
        name = fields.get("recipe", "default")
        if not isinstance(name, str):
            raise ValueError(f"`recipe` must be the name of a recipe or a YAML file, got {name!r}")
        return cls(plain_recipe(name)).replace(**{key: value for key, value in fields.items() if key != "recipe"})

    def replace(self, **fields: Any) -> SpipsSpec:
        """Return a copy with other fields, of this or of the recipe.

        Raises:
            ValueError: as :meth:`of`.
        """
        of_recipe = [field.name for field in dataclasses.fields(Recipe) if field.name not in _SETTLED]
        known = [*_OWN, *of_recipe]
        for name in [name for name in fields if name not in known]:
            near = difflib.get_close_matches(name, known, 1)
            hint = f": did you mean `{near[0]}`?" if near else ""
            raise ValueError(f"{SPIPS} has no field `{name}`{hint} (fields: recipe, {', '.join(known)})")
        own = {name: fields.pop(name) for name in _OWN if name in fields}
        return dataclasses.replace(self, recipe=as_recipe(self.recipe, **fields), **own)

    def scorer(self, precision: Precision) -> SpipsScorer:
        """Load the network and the head.

        Raises:
            ValueError: for a recipe, taps or a head that do not fit.
            WeightsUnavailableError: if pretrained weights cannot be downloaded.
        """
        return SpipsScorer(SpipsRecipe(self.recipe, self.low_level, self.semantic), self.head, self.parts, precision)


#: What a name stands for: a recipe, SPIPS, or a baseline's own name.
MetricSpec = Recipe | SpipsSpec | str

#: Characters that a metric's name cannot have, since columns of scores are built with them.
_RESERVED = ",@|"


def parse_metrics(names: Sequence[str], baselines: Sequence[str]) -> dict[str, MetricSpec]:
    """Return what each name stands for: a recipe, SPIPS, or a baseline's own name.

    A name is a baseline (``psnr``), a named recipe (``vit-tiny``), ``spips``, either of the two with fields
    (``vit-tiny:distance=l2:taps=[2, 5]``, ``spips:recipe=vit-tiny:head=head.safetensors``, values in YAML), or a
    ``.yaml`` file: one metric, called by the file's name, or a mapping of names to metrics. In a file a metric is a
    recipe, or SPIPS where it says ``metric: spips``; its paths count from the file's folder.

    Where a baseline and a recipe have one name, it is the baseline alone and the recipe with fields:
    ``lpips-squeeze`` is torchmetrics', ``lpips-squeeze:weights=squeezenet.safetensors`` the recipe.

    Raises:
        ValueError: for a name that is unknown or comes twice, or a file that is no metric.

    >>> specs = parse_metrics(["psnr", "vit-tiny:distance=l2", "spips:parts=[semantic]"], ["psnr", "ssim"])
    >>> specs["psnr"], specs["vit-tiny:distance=l2"].distance, specs["spips:parts=[semantic]"].parts
    ('psnr', 'l2', ('semantic',))
    """
    specs: dict[str, MetricSpec] = {}
    for name in names:
        for label, spec in _specs(name, baselines):
            if label in specs:
                raise ValueError(f"the metric {label!r} is given twice; a .yaml file of metrics can name each of them")
            if set(label) & set(_RESERVED):
                raise ValueError(f"the metric {label!r} must be named without any of {' '.join(_RESERVED)}")
            specs[label] = spec
    if not specs:
        known = ", ".join([*baselines, SPIPS, *RECIPES])
        raise ValueError(f"give at least one metric: {known}, or a .yaml file of metrics")
    return specs


def _specs(name: str, baselines: Sequence[str]) -> list[tuple[str, MetricSpec]]:
    base, *parts = re.split(r":(?=\w+=)", name)
    fields: dict[str, Any] = {}
    for part in parts:
        key, value = _field(part, name)
        if key in fields:
            raise ValueError(f"the metric {name!r} gives {key!r} twice")
        fields[key] = value
    if base.endswith((".yaml", ".yml")):
        return [(label, spec.replace(**fields) if fields else spec) for label, spec in _file(Path(base))]
    if base in baselines or base.startswith("pyiqa:"):
        if not fields:
            return [(name, name)]
        if base not in RECIPES:
            fix = f"give {base!r} alone"
            if base == "lpips":  # by AlexNet; of the recipes each says its network
                fix += f", or the recipe {':'.join(['lpips-alex', *parts])!r}"
            field = next(iter(fields))
            raise ValueError(f"the metric {name!r}: {base!r} is no recipe and has no field {field!r}; {fix}")
    elif base == SPIPS:
        return [(_label(base, parts), SpipsSpec.of(fields))]
    elif base not in RECIPES:
        known = [*baselines, SPIPS, *RECIPES]
        near = difflib.get_close_matches(base, known, 3)
        hint = f"; close: {', '.join(near)}" if near else ""
        others = f"baselines: {', '.join(baselines)}; {SPIPS}; `fmiqa recipes`"
        raise ValueError(f"there is no metric {base!r}{hint} ({others})")
    return [(_label(base, parts, baselines), as_recipe(base, **fields))]


def _label(base: str, parts: Sequence[str], baselines: Sequence[str] = ()) -> str:
    """What a metric is called: as it was given, without the paths, which are nobody's name."""
    shown = [base]
    for part in parts:
        key, _, value = part.partition("=")
        if key == "head":
            # Every head that `fmiqa fit` makes is called "head", in a folder of its own.
            path = Path(value).resolve()
            shown.append(f"head={path.parent.name if path.stem == 'head' else path.stem}")
        elif key == "recipe":
            shown.append(f"recipe={Path(value).stem if value.endswith(('.yaml', '.yml')) else value}")
        elif key != "weights" or value.startswith("random"):  # random weights are another metric
            shown.append(part)
        elif base in baselines:  # which has the name already
            shown.append(f"weights={Path(value).stem}")
    return re.sub(r",\s*", " ", ":".join(shown)).replace("|", "-")


def _field(part: str, name: str) -> tuple[str, Any]:
    key, _, text = part.partition("=")
    try:
        return key, read_yaml(text, f"{key!r} of the metric {name!r}")
    except NoYamlError:
        raise ValueError(f"the metric {name!r} gives {key!r} as {text!r}, which is no YAML value") from None


def _file(path: Path) -> list[tuple[str, Recipe | SpipsSpec]]:
    content = read_yaml(read_text(path, "recipe file"), repr(str(path)))
    if not isinstance(content, dict):
        return [(path.stem, Recipe.from_yaml(path))]
    if not all(isinstance(fields, dict) for fields in content.values()):
        return [(path.stem, _entry(path.stem, content, path))]
    return [(str(label), _entry(str(label), fields, path)) for label, fields in content.items()]


def _entry(label: str, fields: dict[str, Any], path: Path) -> Recipe | SpipsSpec:
    """One metric of a file."""
    import yaml

    fields = {str(key): value for key, value in fields.items()}
    for key in ("weights", "head", "recipe"):
        value = fields.get(key)
        named = key == "recipe" and not str(value).endswith((".yaml", ".yml"))
        if isinstance(value, str) and not named and (path.parent / value).is_file():
            fields[key] = str((path.parent / value).resolve())
    try:
        metric = fields.pop("metric", None)
        if metric is None:
            return Recipe.from_yaml(yaml.safe_dump(fields) + "\n")
        if metric != SPIPS:
            raise ValueError(f"`metric` is {SPIPS}, or left out for a recipe; got {metric!r}")
        return SpipsSpec.of(fields)
    except ValueError as error:
        raise ValueError(f"{label!r} in {str(path)!r}: {error}") from None
