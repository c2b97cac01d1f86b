"""The published scores of TID2013, analysed once for all tests of a process: it takes seconds."""

from __future__ import annotations

import functools

from tests.conftest import ASSETS, needs
from torchmetrics_fmiqa.benchmark.analysis.agreement import Analysis, analyse
from torchmetrics_fmiqa.benchmark.scoring.score_table import ScoredTable, read_scored


@functools.cache
def tid2013() -> tuple[ScoredTable, Analysis]:
    """42 metrics over 3,000 images of 24 types, and their agreement; opinions are turned by PSNR."""
    path = needs(ASSETS / "published" / "zsiqa_tid2013.csv.gz")
    table = read_scored(path, "mos", type_from=r"_(\d\d)_")
    return table, analyse(table, "worse", ["psnr"], resamples=20)
