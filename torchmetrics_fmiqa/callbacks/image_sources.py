"""Find the images of a step in what the step returned and in its batch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from torchmetrics_fmiqa.comparator import Images
from torchmetrics_fmiqa.features.image_checks import check_lists, check_pair

#: A key, the index of a tuple batch, or a callable ``(outputs, batch) -> images``, which may be given by its import
#: path. LightningCLI takes the first kind that fits, and knows callables by ``...`` only.
Source = int | str | Callable[..., Any]


def check_source(source: Any, name: str) -> Source:
    """Return a source, a callable where its import path was given.

    Raises:
        ValueError: if it is no key, index or callable.
    """
    if isinstance(source, str) and "." in source:
        module, _, attribute = source.rpartition(".")
        with suppress(ImportError, AttributeError, ValueError):
            found = getattr(importlib.import_module(module), attribute)
            if callable(found):
                return found  # type: ignore[no-any-return]
    if (isinstance(source, (str, int)) and not isinstance(source, bool)) or callable(source):
        return source  # type: ignore[no-any-return]
    raise ValueError(f"`{name}` must be a key, an index or a callable (outputs, batch) -> images, got {source!r}")


def check_predict(predict: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """Return what predicts, if there is something.

    Raises:
        ValueError: if it is no callable.
    """
    if predict is not None and not callable(predict):
        raise ValueError(f"`predict` must be a callable (pl_module, batch) -> images, got {predict!r}")
    return predict


def find_images(source: Source, name: str, outputs: Any, batch: Any) -> Images:
    """Return the images of a step.

    A key is looked up in the outputs, then in the batch; an index in a batch that is a tuple or a list.

    Args:
        source: where to look.
        name: ``"preds"`` or ``"target"``, for the message.
        outputs: what the step returned.
        batch: what the step was given.

    Raises:
        ValueError: if nothing is there, with the keys that are, and the ways out.
    """
    found: Any
    if callable(source):
        found = source(outputs, batch)
    elif isinstance(source, str):
        places = [place for place in (outputs, batch) if isinstance(place, Mapping) and source in place]
        found = places[0][source] if places else None
    else:
        fits = isinstance(batch, (tuple, list)) and -len(batch) <= source < len(batch)
        found = batch[source] if fits else None
    if _are_images(found):
        return as_images(found, name)
    what = "nothing was found" if found is None else f"a {type(found).__name__} was found, which is no tensor,"
    raise ValueError(
        f"no images for `{name}={_shown(source)}`: {what} in the step's output, {describe(outputs)}, or its batch, "
        f"{describe(batch)}. {_ways_out(name)}"
    )


def as_images(found: Any, name: str) -> Images:
    """Return images that a callable gave: a tensor, or a list of tensors.

    Raises:
        ValueError: if they are neither.
    """
    if not _are_images(found):
        raise ValueError(f"`{name}` must give a tensor (N, 3, H, W) or a list of (3, H, W), got {describe(found)}")
    return found if isinstance(found, Tensor) else list(found)


def predict_images(predict: Callable[[Any, Any], Images], trainer: Any, pl_module: nn.Module, batch: Any) -> Images:
    """Let a callable predict: in evaluation mode, without gradient, under the trainer's own precision.

    Raises:
        ValueError: if it gives no images.
    """
    with _evaluating(pl_module), torch.no_grad(), trainer.precision_plugin.forward_context():
        found = predict(pl_module, batch)
    return as_images(found, "predict")


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and each of its parts back into its own mode afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def as_pair(preds: Images, target: Images) -> tuple[Images, Images]:
    """Return both sides, two tensors or two lists, the predictions without their graph.

    Raises:
        ValueError: if the sides do not fit each other.
    """
    preds = preds.detach() if isinstance(preds, Tensor) else [image.detach() for image in preds]
    if isinstance(preds, Tensor) and isinstance(target, Tensor):
        check_pair(preds, target)
    else:
        preds, target = (list(images) for images in (preds, target))
        check_lists(preds, target, None)
    return preds, target


def _are_images(found: Any) -> bool:
    several = isinstance(found, (list, tuple)) and all(isinstance(image, Tensor) for image in found)
    return isinstance(found, Tensor) or several


def _shown(source: Source) -> str:
    return getattr(source, "__name__", type(source).__name__) if callable(source) else repr(source)


def _ways_out(name: str) -> str:
    ways = [
        f"return {{'{name}': images, ...}} from the step",
        f"give {name}=KEY, {name}=INDEX of a tuple batch, or {name}=callable(outputs, batch)",
    ]
    if name == "preds":
        ways.append("give predict=callable(pl_module, batch), which computes them")
    else:
        ways.append("let the dataset give a dict with that key")
    return "Ways out: " + "; or ".join(ways)


def describe(value: Any) -> str:
    """What a step's output or batch holds, for a message.

    >>> describe({"lq": torch.zeros(1, 3, 8, 8), "name": ["a"]})
    "a dict with 'lq' (1, 3, 8, 8), 'name' list"
    """
    if value is None:
        return "None"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key!r} {_brief(item)}" for key, item in value.items())
        return f"a dict with {inner}" if inner else "an empty dict"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(f"[{place}] {_brief(item)}" for place, item in enumerate(value[:8]))
        return f"a {type(value).__name__} with {inner}"
    return f"a {type(value).__name__} {_brief(value)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _brief(item: Any) -> str:
    return str(tuple(item.shape)) if isinstance(item, Tensor) else type(item).__name__
