"""How the columns of a table of scores are named: ``metric``, ``metric@tap``, ``metric|change``, ``#property#side``."""

from __future__ import annotations

from typing import NamedTuple

#: Endings of the columns that were published with ZS-IQA: scores of images that were moved, scaled, turned.
PUBLISHED_CHANGES = {"_tra-1": "translation", "_sca-1": "scale", "_rot-1": "rotation"}

#: Columns of numbers beside the scores.
NO_METRICS = ("level", "std", "votes", "seconds", "row")

#: Columns of names, which are text even where they consist of digits.
NAMES = ("ref", "dis", "dist", "image", "type")


class Column(NamedTuple):
    """What a column holds: scores of a metric, of one of its taps, or of changed images; or a property of images."""

    metric: str
    tap: str = ""
    change: str = ""
    feature: str = ""
    side: str = ""


def tap_column(metric: str, tap: str) -> str:
    """Name of the column of one tap of a metric, such as ``vit-tiny@blocks.3``."""
    return f"{metric}@{tap}"


def change_column(metric: str, change: str) -> str:
    """Name of the column of a metric's scores of changed images, such as ``psnr|shift-1px``."""
    return f"{metric}|{change}"


def feature_column(feature: str, side: str) -> str:
    """Name of the column of a property of the images, such as ``#colourfulness#reference``."""
    return f"#{feature}#{side}"


def parse_column(name: str) -> Column:
    """Tell what a column holds.

    >>> parse_column("vit-tiny@blocks.3").tap, parse_column("fsim_rot-1").change
    ('blocks.3', 'rotation')
    >>> parse_column("psnr|shift-1px").change, parse_column("#colourfulness#reference").side
    ('shift-1px', 'reference')
    """
    if name.startswith("#"):
        _, feature, side = name.split("#", 2)
        return Column("", feature=feature, side=side)
    for ending, change in PUBLISHED_CHANGES.items():
        if name.endswith(ending):
            return Column(name.removesuffix(ending), change=change)
    if "|" in name:
        metric, _, change = name.rpartition("|")
        return Column(metric, change=change)
    metric, _, tap = name.partition("@")
    return Column(metric, tap=tap)
