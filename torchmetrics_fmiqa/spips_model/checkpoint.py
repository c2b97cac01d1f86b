"""Save and load heads as ``.safetensors`` files, whose metadata has the head's fields and recipe."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from torchmetrics_fmiqa.data.opening import check_file
from torchmetrics_fmiqa.recipes import Recipe
from torchmetrics_fmiqa.safe_write import write_bytes
from torchmetrics_fmiqa.spips_model.fusion_head import FusionHead, OpinionScale
from torchmetrics_fmiqa.spips_model.model import SpipsHead, fusion_of
from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe

_FUSION, _SPIPS = "fmiqa_fusion_head", "fmiqa_spips_head"
_COMMON = ("hidden", "made_for", "opinion")
_FIELDS = {
    _FUSION: (*_COMMON, "names", "anchored"),
    _SPIPS: (*_COMMON, "low_level", "semantic", "channels", "parts", "recipe", "yaml"),
}
_NAMES = {_FUSION: "fusion head", _SPIPS: "SPIPS head"}
# Increase it when the same fields give other scores than before.
_VERSION = 1


def save_head(head: FusionHead, path: str | Path) -> None:
    """Write a fusion head to ``path``.

    Raises:
        ValueError: for a path that does not end in ``.safetensors``, and if the system refuses to write it.

    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "head.safetensors"
    >>> save_head(FusionHead(["near", "far"], made_for="recipe 1"), path)
    >>> load_head(path, names=["near", "far"], made_for="recipe 1").names
    ('near', 'far')
    >>> load_head(path, made_for="recipe 2")
    Traceback (most recent call last):
    ...
    ValueError: ...head.safetensors was made for 'recipe 1', not for 'recipe 2': train a head for that
    """
    _write(head, {"names": head.names, "anchored": head.anchored}, path, _FUSION)


def save_spips(head: SpipsHead, path: str | Path, recipe: SpipsRecipe) -> None:
    """Write a SPIPS head to ``path``: its weights, and the recipe that it was trained for, without a backbone.

    Args:
        head: a head trained for ``recipe``.
        path: a file name that ends in ``.safetensors``.
        recipe: recipe that measures the inputs. Loading checks its digest; its text is for people.

    Raises:
        ValueError: for another ending, for a head that was made for another recipe, and if the system refuses to write
            the file.

    >>> from tempfile import mkdtemp
    >>> recipe = SpipsRecipe(Recipe("vit_tiny_patch16_224", weights="random:0", taps=[0, 1]))
    >>> head = SpipsHead(recipe.low_level, recipe.semantic, channels=192, made_for=recipe.digest)
    >>> path = Path(mkdtemp()) / "head.safetensors"
    >>> save_spips(head, path, recipe)
    >>> load_spips(path, recipe).taps
    ('blocks.0', 'blocks.1')
    >>> load_spips(path, SpipsRecipe(Recipe("vit_tiny_patch16_224", weights="random:1", taps=[0, 1])))
    Traceback (most recent call last):
    ...
    ValueError: ...head.safetensors was trained for Recipe(...weights='random:0'...), not for ...: ...
    """
    if head.made_for != recipe.digest:
        raise ValueError(f"this head was made for {head.made_for!r}, and cannot be saved for {recipe.digest!r}")
    fields = {name: getattr(head, name) for name in ("low_level", "semantic", "channels", "parts")}
    try:
        yaml = recipe.recipe.to_yaml()
    except ValueError:
        yaml = None  # a module or a callable cannot be written as YAML
    _write(head, {**fields, "recipe": repr(recipe.recipe), "yaml": yaml}, path, _SPIPS)


def load_head(path: str | Path, names: Sequence[str] | None = None, made_for: str | None = None) -> FusionHead:
    """Read a fusion head, in eval mode and on the CPU.

    Args:
        path: the file.
        names: expected inputs, in order; ``None`` for no check.
        made_for: expected source of the inputs; ``None`` for no check.

    Raises:
        ValueError: for a file that does not exist, is no fusion head or has another version, and for a head with other
            inputs or another source.
    """
    fields, tensors = _read(path, _FUSION)
    if names is not None and list(names) != fields["names"]:
        raise ValueError(f"{path} takes the inputs {', '.join(fields['names'])}; got {', '.join(names)}")
    if made_for is not None and made_for != fields["made_for"]:
        raise ValueError(f"{path} was made for {fields['made_for']!r}, not for {made_for!r}: train a head for that")
    hidden = fields["hidden"]
    head = FusionHead(fields["names"], hidden, not hidden, fields["anchored"], made_for=fields["made_for"])
    _fill(head, fields, tensors, path)
    return head


def load_spips(path: str | Path, recipe: SpipsRecipe) -> SpipsHead:
    """Read a SPIPS head, in eval mode and on the CPU.

    Args:
        path: the file.
        recipe: recipe that will measure the inputs.

    Raises:
        ValueError: for a file that does not exist, is no SPIPS head or has another version, and for a head that was
            trained for another recipe: another backbone, weights, distance, input normalisation, size or split.
    """
    fields, tensors = _read(path, _SPIPS)
    if fields["made_for"] != recipe.digest:
        wanted = {"low_level": recipe.low_level, "semantic": recipe.semantic, "made_for": recipe.digest}
        raise ValueError(
            f"{path} was trained for {_description(fields)}, not for "
            f"{_description({**wanted, 'recipe': repr(recipe.recipe)})}: "
            "give the recipe it was trained with, or train a head for this one"
        )
    hidden = fields["hidden"]
    streams = (fields["low_level"], fields["semantic"], fields["channels"], fields["parts"])
    head = SpipsHead(*streams, hidden, not hidden, made_for=fields["made_for"])
    _fill(head, fields, tensors, path)
    return head


def recipe_of(path: str | Path) -> tuple[Recipe, tuple[Sequence[str], Sequence[str]]]:
    """The recipe, the low-level taps and the semantic taps that the SPIPS head of a file was trained for.

    Raises:
        ValueError: for a file that does not exist or is no SPIPS head, and for a recipe that a file cannot hold.
    """
    fields, _ = _read(path, _SPIPS)
    if fields["yaml"] is None:
        raise ValueError(f"{path} was trained for {fields['recipe']}, which a file cannot hold: give it as `recipe`")
    return Recipe.from_yaml(fields["yaml"] + "\n"), (fields["low_level"], fields["semantic"])


def _description(fields: dict[str, Any]) -> str:
    split = "+".join(str(len(fields[stream])) for stream in ("low_level", "semantic"))
    return f"{fields['recipe']} ({split} taps, digest {fields['made_for']})"


def _write(head: SpipsHead | FusionHead, fields: dict[str, Any], path: str | Path, key: str) -> None:
    from safetensors.torch import save

    fusion = fusion_of(head)
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"a head is saved as .safetensors, got {str(path)!r}")
    opinion = None if fusion.scale is None else dataclasses.asdict(fusion.scale)
    fields |= {"version": _VERSION, "hidden": fusion.hidden, "made_for": fusion.made_for, "opinion": opinion}
    tensors = {name: value.detach().contiguous().cpu() for name, value in head.state_dict().items()}
    write_bytes(path, save(tensors, {key: json.dumps(fields, sort_keys=True)}))


def _read(path: str | Path, key: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    check_file(path, "head")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise ValueError(f"{path} is no .safetensors file: {error}") from None
    if key not in metadata:
        other_heads = [name for other_key, name in _NAMES.items() if other_key in metadata]
        content = f"a {other_heads[0]}" if other_heads else "tensors"
        raise ValueError(f"{path} holds {content}, but no {_NAMES[key]}: give a file that `fmiqa fit` made for this")
    try:
        fields: dict[str, Any] = json.loads(metadata[key])
        version = fields["version"]
        missing = [name for name in _FIELDS[key] if name not in fields]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is damaged: its metadata cannot be read; train it anew") from None
    if version != _VERSION:
        raise ValueError(f"{path} is a head of version {version}, this package reads {_VERSION}: train it anew")
    if missing:
        raise ValueError(f"{path} is damaged: its metadata lacks {missing[0]!r}; train it anew")
    return fields, tensors


def _fill(head: SpipsHead | FusionHead, fields: dict[str, Any], tensors: dict[str, Tensor], path: str | Path) -> None:
    """Load the weights and the scale of a file into a head, and freeze it."""
    try:
        head.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold what its metadata says: {error}") from None
    for name, value in head.state_dict().items():
        # The curve of a head that was not fitted to opinions is NaN.
        if not value.isfinite().all() and not (name.endswith("curve") and fields["opinion"] is None):
            raise ValueError(f"{path} is damaged: {name!r} is not finite; train it anew")
    if fields["opinion"] is not None:
        try:
            fusion_of(head).scale = OpinionScale(**fields["opinion"])
        except TypeError:
            raise ValueError(
                f"{path} is damaged: {fields['opinion']!r} is no scale of opinions; train it anew"
            ) from None
    head.eval().requires_grad_(False)
