"""The corridor: preprocess, forward pass, distance terms, accumulator; and maps of the same distances."""

from torchmetrics_fmiqa.comparator.comparator import FeatureComparator, Images, Request
from torchmetrics_fmiqa.comparator.precision import Precision

__all__ = ["FeatureComparator", "Images", "Precision", "Request"]
