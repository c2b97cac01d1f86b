"""The one path from images to distances: preprocess, forward pass, distance terms, accumulator; and their maps."""

from torchmetrics_fmiqa.comparator.comparator import FeatureComparator, Images, Request
from torchmetrics_fmiqa.comparator.precision import Precision

__all__ = ["FeatureComparator", "Images", "Precision", "Request"]
