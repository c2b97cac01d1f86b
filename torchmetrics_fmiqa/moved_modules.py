"""Old paths of modules that moved in 0.2.0: importing one gives the module where it is now, and a warning."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_PACKAGE = "torchmetrics_fmiqa."

#: Old path -> new one, both below ``torchmetrics_fmiqa``.
MOVED = {
    "benchmark.accuracy": "benchmark.analysis.imagenet_accuracy",
    "benchmark.asked_spips": "benchmark.metrics.spec",
    "benchmark.attacks": "benchmark.analysis.attacks",
    "benchmark.baselines": "benchmark.metrics.baselines",
    "benchmark.build": "benchmark.build_study",
    "benchmark.changes": "benchmark.distortions",
    "benchmark.checked": "benchmark.metrics.metric",
    "benchmark.choices": "benchmark.analysis.preference",
    "benchmark.choices_report": "benchmark.sections.preference",
    "benchmark.choices_run": "benchmark.benchmark",
    "benchmark.columns": "benchmark.metrics.columns",
    "benchmark.cost": "benchmark.analysis.cost",
    "benchmark.desirability": "benchmark.analysis.desirability",
    "benchmark.folder": "data.run_folder",
    "benchmark.formula_baselines": "benchmark.metrics.baselines",
    "benchmark.graded": "benchmark.distortions",
    "benchmark.image_features": "benchmark.analysis.image_properties",
    "benchmark.layers": "benchmark.analysis.layers",
    "benchmark.markdown": "report.markdown",
    "benchmark.markdown_table": "report.markdown",
    "benchmark.measured": "fitting.measure",
    "benchmark.measured_graded": "fitting.graded_photographs",
    "benchmark.measured_panel": "fitting.measure",
    "benchmark.measures": "benchmark.metrics.metric",
    "benchmark.members": "benchmark.metrics.panel",
    "benchmark.names": "benchmark.metrics.spec",
    "benchmark.network_baselines": "benchmark.metrics.network_baselines",
    "benchmark.outliers": "benchmark.analysis.outliers",
    "benchmark.page": "report.html",
    "benchmark.pair_run": "benchmark.scoring.pair_run",
    "benchmark.panel": "benchmark.metrics.panel",
    "benchmark.pyiqa_baselines": "benchmark.metrics.pyiqa_baselines",
    "benchmark.results": "benchmark.write_results",
    "benchmark.run": "benchmark.benchmark",
    "benchmark.scored": "benchmark.scoring.score_table",
    "benchmark.scores": "benchmark.scoring.score_dataset",
    "benchmark.usefulness": "benchmark.analysis.loss_suitability",
    "callbacks.account": "callbacks.dataloader_evaluation",
    "callbacks.finding": "callbacks.image_sources",
    "callbacks.loggers": "monitoring.writers",
    "callbacks.members": "monitoring.metric_arguments",
    "callbacks.metric_arguments": "monitoring.metric_arguments",
    "callbacks.pictures": "monitoring.drawing",
    "callbacks.ranks": "monitoring.ranks",
    "callbacks.sampling": "callbacks.distributed_samples",
    "callbacks.showing": "callbacks.image_logging",
    "callbacks.worst": "monitoring.worst_images",
    "callbacks.worst_images": "monitoring.worst_images",
    "data.gathering": "data.dataset_reader",
    "data.listing": "data.dataset_reader",
    "data.opinions": "data.rated_pairs",
    "data.rated": "data.rated_csv",
    "features.cache": "features.reference_cache",
    "features.hub": "features.weights",
    "features.identity": "features.content_hash",
    "features.images": "features.image_checks",
    "features.information": "comparator.preprocess",
    "features.sizes": "features.tiles",
    "features.stages": "features.embedded",
    "features.weighing": "comparator.accumulator",
    "figures": "plotting",
    "forward": "comparator.forward_pass",
    "intake": "comparator.preprocess",
    "jobs": "comparator.distance_terms",
    "maps": "comparator.maps",
    "piecewise": "comparator.piecewise",
    "pooling": "comparator.pooling",
    "profiles": "comparator.tap_statistics",
    "tables": "data.tables",
    "tally": "comparator.accumulator",
    "metrics.agreement": "metrics.human_agreement",
    "metrics.finite": "metrics.image_pair_metric",
    "metrics.pairs": "metrics.image_pair_metric",
    "metrics.states": "metrics.synced_state",
    "recipes.asked": "recipes.load",
    "recipes.backbones": "recipes.backbone_defaults",
    "recipes.published": "recipes.backbone_defaults",
    "recipes.table": "recipes.registry",
}


class MovedModules(MetaPathFinder, Loader):
    """Finds a moved module by its old path. Old paths end with version 0.3."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A specification for old paths; ``None`` for all others."""
        return ModuleSpec(name, self) if name.removeprefix(_PACKAGE) in MOVED and name.startswith(_PACKAGE) else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of the new path in the place of the empty one."""
        new = _PACKAGE + MOVED[module.__name__.removeprefix(_PACKAGE)]
        warnings.warn(f"{module.__name__} moved to {new}; the old path goes with 0.3", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = importlib.import_module(new)
