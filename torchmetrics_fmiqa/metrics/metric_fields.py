"""Keyword arguments of metrics: fields of the recipe, and options of ``torchmetrics.Metric``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchmetrics_fmiqa.recipes.recipe_fields import RecipeFields


class MetricFields(RecipeFields, total=False):
    """Fields of a :class:`~torchmetrics_fmiqa.Recipe` and options of ``torchmetrics.Metric``, documented there."""

    compute_on_cpu: bool
    dist_sync_on_step: bool
    process_group: Any
    dist_sync_fn: Callable[..., Any] | None
    distributed_available_fn: Callable[[], bool] | None
    sync_on_compute: bool
    compute_with_cache: bool


_OPTIONS = MetricFields.__annotations__.keys() - RecipeFields.__annotations__.keys()


def split_fields(kwargs: MetricFields) -> tuple[dict[str, Any], RecipeFields]:
    """Split keyword arguments into the options of ``torchmetrics.Metric`` and the fields of the recipe."""
    options = {name: value for name, value in kwargs.items() if name in _OPTIONS}
    return options, {name: value for name, value in kwargs.items() if name not in _OPTIONS}  # type: ignore[return-value]
