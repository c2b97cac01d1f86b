"""Heads on disk: one ``.safetensors`` file each, whose metadata says what it is and what it was made for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from torchmetrics_fmiqa.data.opening import check_file
from torchmetrics_fmiqa.recipes import Recipe
from torchmetrics_fmiqa.safe_write import write_bytes
from torchmetrics_fmiqa.spips_model.fusion_head import FusionHead, OpinionScale
from torchmetrics_fmiqa.spips_model.model import SpipsHead
from torchmetrics_fmiqa.spips_model.recipe import SpipsRecipe

_FUSION, _SPIPS = "fmiqa_fusion_head", "fmiqa_spips_head"
_COMMON = ("hidden", "made_for", "opinion")
_FIELDS = {
    _FUSION: (*_COMMON, "names", "anchored"),
    _SPIPS: (*_COMMON, "low_level", "semantic", "channels", "parts", "recipe", "yaml"),
}
_CALLED = {_FUSION: "fusion head", _SPIPS: "SPIPS head"}
# Raise it when the same fields start to mean another number.
_VERSION = 1


def save_head(head: FusionHead, path: str | Path) -> None:
    """Write a fusion head to ``path``.

    Raises:
        ValueError: for a path that does not end in ``.safetensors``, and for what the system refuses to write.

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
    about = {"names": head.names, "anchored": head.anchored}
    _write(head, head, about, path, _FUSION)


def save_spips(head: SpipsHead, path: str | Path, recipe: SpipsRecipe) -> None:
    """Write a SPIPS head to ``path``: its weights, and which recipe it was trained for. No backbone.

    Args:
        head: trained for ``recipe``.
        path: ends in ``.safetensors``.
        recipe: what measures its inputs; its digest binds, its words are for people.

    Raises:
        ValueError: for another ending, for a head that was made for another recipe, and for what the system refuses to
            write.

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
    about = {
        "low_level": head.low_level,
        "semantic": head.semantic,
        "channels": head.channels,
        "parts": head.parts,
        "recipe": repr(recipe.recipe),
        "yaml": _yaml(recipe),
    }
    _write(head, head.fusion, about, path, _SPIPS)


def load_head(path: str | Path, names: Sequence[str] | None = None, made_for: str | None = None) -> FusionHead:
    """Read a fusion head, in eval mode and on the CPU.

    Args:
        path: the file.
        names: the inputs that it will be given, in order; ``None`` takes what it has.
        made_for: what will compute them; ``None`` does not ask.

    Raises:
        ValueError: for a file that is not there or no such head, for one of a newer version, and for a head with other
            inputs or made for something else, naming what differs.
    """
    about, tensors = _read(path, _FUSION)
    if names is not None and list(names) != about["names"]:
        raise ValueError(f"{path} takes the inputs {', '.join(about['names'])}; got {', '.join(names)}")
    if made_for is not None and made_for != about["made_for"]:
        raise ValueError(f"{path} was made for {about['made_for']!r}, not for {made_for!r}: train a head for that")
    hidden = about["hidden"]
    head = FusionHead(about["names"], hidden, not hidden, about["anchored"], made_for=about["made_for"])
    _fill(head, head, about, tensors, path)
    return head


def load_spips(path: str | Path, recipe: SpipsRecipe) -> SpipsHead:
    """Read a SPIPS head, in eval mode and on the CPU.

    Args:
        path: the file.
        recipe: what will measure its inputs.

    Raises:
        ValueError: for a file that is not there or no such head, for one of a newer version, and for a head that was
            trained for another recipe: another backbone, weights, distance, input normalisation, size or split.
    """
    about, tensors = _read(path, _SPIPS)
    if about["made_for"] != recipe.digest:
        raise ValueError(
            f"{path} was trained for {_told(about)}, not for {_told(_about_recipe(recipe))}: "
            "give the recipe it was trained with, or train a head for this one"
        )
    hidden = about["hidden"]
    streams = (about["low_level"], about["semantic"], about["channels"], about["parts"])
    head = SpipsHead(*streams, hidden, not hidden, made_for=about["made_for"])
    _fill(head, head.fusion, about, tensors, path)
    return head


def recipe_of(path: str | Path) -> tuple[Recipe, tuple[Sequence[str], Sequence[str]]]:
    """What a SPIPS head was trained for, as its file tells it: the recipe, and the low-level and the semantic taps.

    Raises:
        ValueError: for a file that is not there or no such head, and for a recipe that a file cannot hold.
    """
    about, _ = _read(path, _SPIPS)
    if about["yaml"] is None:
        raise ValueError(f"{path} was trained for {about['recipe']}, which a file cannot hold: give it as `recipe`")
    return Recipe.from_yaml(about["yaml"] + "\n"), (about["low_level"], about["semantic"])


def _yaml(recipe: SpipsRecipe) -> str | None:
    try:
        return recipe.recipe.to_yaml()
    except ValueError:
        return None  # a module or a callable has no text


def _about_recipe(recipe: SpipsRecipe) -> dict[str, Any]:
    streams = {"low_level": recipe.low_level, "semantic": recipe.semantic}
    return {"recipe": repr(recipe.recipe), "made_for": recipe.digest, **streams}


def _told(about: dict[str, Any]) -> str:
    split = "+".join(str(len(about[stream])) for stream in ("low_level", "semantic"))
    return f"{about['recipe']} ({split} taps, digest {about['made_for']})"


def _write(head: nn.Module, fusion: FusionHead, about: dict[str, Any], path: str | Path, key: str) -> None:
    from safetensors.torch import save

    if Path(path).suffix != ".safetensors":
        raise ValueError(f"a head is saved as .safetensors, got {str(path)!r}")
    opinion = None if fusion.scale is None else dataclasses.asdict(fusion.scale)
    about |= {"version": _VERSION, "hidden": fusion.hidden, "made_for": fusion.made_for, "opinion": opinion}
    tensors = {name: value.detach().contiguous().cpu() for name, value in head.state_dict().items()}
    write_bytes(path, save(tensors, {key: json.dumps(about, sort_keys=True)}))


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
        others = [called for other, called in _CALLED.items() if other in metadata]
        found = f"a {others[0]}" if others else "tensors"
        raise ValueError(f"{path} holds {found}, but no {_CALLED[key]}: give a file that `fmiqa fit` made for this")
    try:
        about: dict[str, Any] = json.loads(metadata[key])
        version = about["version"]
        missing = [name for name in _FIELDS[key] if name not in about]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is damaged: its metadata cannot be read; train it anew") from None
    if version != _VERSION:
        raise ValueError(f"{path} is a head of version {version}, this package reads {_VERSION}: train it anew")
    if missing:
        raise ValueError(f"{path} is damaged: its metadata lacks {missing[0]!r}; train it anew")
    return about, tensors


def _fill(
    head: nn.Module, fusion: FusionHead, about: dict[str, Any], tensors: dict[str, Tensor], path: str | Path
) -> None:
    """Give a head the weights and the scale of a file, and freeze it."""
    try:
        head.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold what its metadata says: {error}") from None
    for name, value in head.state_dict().items():
        # The curve of a head that was not fitted to opinions is NaN.
        if not value.isfinite().all() and not (name.endswith("curve") and about["opinion"] is None):
            raise ValueError(f"{path} is damaged: {name!r} is not finite; train it anew")
    if about["opinion"] is not None:
        try:
            fusion.scale = OpinionScale(**about["opinion"])
        except TypeError:
            raise ValueError(
                f"{path} is damaged: {about['opinion']!r} is no scale of opinions; train it anew"
            ) from None
    head.eval().requires_grad_(False)
