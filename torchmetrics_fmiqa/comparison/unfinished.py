"""Scores of a run that is not finished: kept now and then, so that the same command goes on where it stopped."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchmetrics_fmiqa.comparison.scores import ComparedImage, MethodScores
from torchmetrics_fmiqa.data.parquet import read_parquet, write_parquet
from torchmetrics_fmiqa.safe_write import printable
from torchmetrics_fmiqa.statistics.inputs import Floats

#: Name of the file, which is there only until a run is finished.
UNFINISHED = "scores.unfinished.parquet"
_KEY = b"inputs"


class Unfinished:
    """The scores of a run so far, in a file of its folder.

    Args:
        folder: of the results.
        inputs: what scores depend on beside the images, in values that JSON has; scores of other inputs are not used.
        every: seconds between two times that the file is written.
    """

    def __init__(self, folder: Path, inputs: Mapping[str, Any], every: float = 60.0) -> None:
        self.path, self._every = folder / UNFINISHED, every
        self._inputs = json.dumps(dict(inputs), sort_keys=True).encode()
        self._written = time.monotonic()
        self._files: dict[str, str] = {}

    def read(self, images: Sequence[ComparedImage]) -> dict[int, Floats]:
        """Scores of an earlier run by place in ``images``, ``(methods, metrics)``, where the files are unchanged."""
        for image in images:
            self._files_of(image)
        if not self.path.is_file():
            return {}
        try:
            table = read_parquet(self.path)
            shape = tuple(table.schema.field("scores").metadata[b"shape"].decode().split("x"))
            columns = table.select(["files", "scores"]).to_pydict()
        except (ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{self.path} is damaged ({error}): all images are scored again", stacklevel=2)
            return {}
        if (table.schema.metadata or {}).get(_KEY) != self._inputs:
            return {}
        known = dict(zip(columns["files"], columns["scores"], strict=True))
        methods, metrics = map(int, shape)
        found = ((place, known.get(self._files_of(image))) for place, image in enumerate(images))
        return {place: np.reshape(scores, (methods, metrics)) for place, scores in found if scores is not None}

    def keep(self, so_far: Callable[[], MethodScores], now: bool = False) -> None:
        """Write the scores so far, if that was not done for a while.

        Args:
            so_far: gives them.
            now: write them in any case.
        """
        if not now and time.monotonic() - self._written < self._every:
            return
        import pyarrow

        scores = so_far()
        methods, metrics, count = scores.values.shape
        rows = scores.values.transpose(2, 0, 1).reshape(count, -1).tolist()
        field = pyarrow.field("scores", pyarrow.list_(pyarrow.float64()), metadata={"shape": f"{methods}x{metrics}"})
        schema = pyarrow.schema([("files", pyarrow.string()), field], metadata={_KEY: self._inputs})
        files = [self._files_of(image) for image in scores.images]
        write_parquet(self.path, pyarrow.table({"files": files, "scores": rows}, schema))
        self._written = time.monotonic()

    def _files_of(self, image: ComparedImage) -> str:
        """The files of an image as they are when it is first met: paths, sizes and times of change."""
        if image.name not in self._files:
            parts = []
            for method, path in {"": image.target, **image.preds}.items():
                try:
                    status = path.stat()
                    state = [status.st_size, status.st_mtime_ns]
                except OSError:  # it cannot be scored either, which is said then
                    state = []
                parts.append([method, str(path.absolute()), *state])
            self._files[image.name] = printable(json.dumps(parts))
        return self._files[image.name]
