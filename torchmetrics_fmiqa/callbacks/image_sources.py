"""Find the images of a step in its output or its batch, or predict them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from torchmetrics_fmiqa.comparator import Images

#: A key, the index of a tuple batch, or a callable ``(outputs, batch) -> images`` or its import path. LightningCLI
#: takes the first type that fits, and supports callables only as ``...``.
Source = int | str | Callable[..., Any]


def check_source(source: Any, name: str) -> Source:
    """Return a source; the import path of a callable is resolved.

    Raises:
        ValueError: if it is not a key, index or callable.
    """
    if isinstance(source, str) and "." in source:
        module, _, attribute = source.rpartition(".")
        with suppress(ImportError, AttributeError, ValueError):
            imported = getattr(importlib.import_module(module), attribute)
            if callable(imported):
                return imported  # type: ignore[no-any-return]
    if (isinstance(source, (str, int)) and not isinstance(source, bool)) or callable(source):
        return source  # type: ignore[no-any-return]
    raise ValueError(f"`{name}` must be a key, an index or a callable (outputs, batch) -> images, got {source!r}")


def check_predict(predict: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """Return the callable that predicts, or ``None``.

    Raises:
        ValueError: if it is neither.
    """
    if predict is not None and not callable(predict):
        raise ValueError(f"`predict` must be a callable (pl_module, batch) -> images, got {predict!r}")
    return predict


def find_images(source: Source, name: str, outputs: Any, batch: Any) -> Images:
    """Return the images of a step.

    A key is looked up in the outputs, then in the batch. An index is looked up in a batch that is a tuple or a list.

    Args:
        source: key, index or callable.
        name: ``"preds"`` or ``"target"``, for the message.
        outputs: output of the step.
        batch: input of the step.

    Raises:
        ValueError: if there are no images; the message lists the available keys and the fixes.
    """
    value: Any
    if callable(source):
        value = source(outputs, batch)
    elif isinstance(source, str):
        mappings = [mapping for mapping in (outputs, batch) if isinstance(mapping, Mapping) and source in mapping]
        value = mappings[0][source] if mappings else None
    else:
        in_range = isinstance(batch, (tuple, list)) and -len(batch) <= source < len(batch)
        value = batch[source] if in_range else None
    if _are_images(value):
        return as_images(value, name)
    result = "nothing was found" if value is None else f"a {type(value).__name__} was found, which is no tensor,"
    raise ValueError(
        f"no images for `{name}={_source_name(source)}`: {result} in the step's output, {describe(outputs)}, "
        f"or its batch, {describe(batch)}. {_fixes(name)}"
    )


def as_images(value: Any, name: str) -> Images:
    """Return images: a tensor or a list of tensors.

    Raises:
        ValueError: if the value is neither.
    """
    if not _are_images(value):
        raise ValueError(f"`{name}` must give a tensor (N, 3, H, W) or a list of (3, H, W), got {describe(value)}")
    return value if isinstance(value, Tensor) else list(value)


def predict_images(predict: Callable[[Any, Any], Images], trainer: Any, pl_module: nn.Module, batch: Any) -> Images:
    """Call `predict` in evaluation mode, without gradient, under the trainer's precision.

    Raises:
        ValueError: if it returns no images.
    """
    with _evaluating(pl_module), torch.no_grad(), trainer.precision_plugin.forward_context():
        images = predict(pl_module, batch)
    return as_images(images, "predict")


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and restore the mode of each submodule afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _are_images(value: Any) -> bool:
    is_list = isinstance(value, (list, tuple)) and all(isinstance(image, Tensor) for image in value)
    return isinstance(value, Tensor) or is_list


def _source_name(source: Source) -> str:
    return getattr(source, "__name__", type(source).__name__) if callable(source) else repr(source)


def _fixes(name: str) -> str:
    fixes = [
        f"return {{'{name}': images, ...}} from the step",
        f"give {name}=KEY, {name}=INDEX of a tuple batch, or {name}=callable(outputs, batch)",
    ]
    if name == "preds":
        fixes.append("give predict=callable(pl_module, batch), which computes them")
    else:
        fixes.append("let the dataset give a dict with that key")
    return "Ways out: " + "; or ".join(fixes)


def describe(value: Any) -> str:
    """Describe a step's output or batch for a message.

    >>> describe({"lq": torch.zeros(1, 3, 8, 8), "name": ["a"]})
    "a dict with 'lq' (1, 3, 8, 8), 'name' list"
    """
    if value is None:
        return "None"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key!r} {_brief(item)}" for key, item in value.items())
        return f"a dict with {inner}" if inner else "an empty dict"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(f"[{index}] {_brief(item)}" for index, item in enumerate(value[:8]))
        return f"a {type(value).__name__} with {inner}"
    return f"a {type(value).__name__} {_brief(value)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _brief(item: Any) -> str:
    return str(tuple(item.shape)) if isinstance(item, Tensor) else type(item).__name__
