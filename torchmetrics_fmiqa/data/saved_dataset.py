"""Pairs of a data set of Hugging Face's `datasets` that was saved on disk. Needs the extra `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.data.remote import Place, absolute, shown
from torchmetrics_fmiqa.data.stored_pairs import StoredPair, check_keys, digest_of, image_at, keys_of

_SPLITS, _ONE = "dataset_dict.json", "state.json"
#: Rows that are read at once.
_BATCH = 64


def is_saved_dataset(path: Path) -> bool:
    """Whether ``save_to_disk`` of ``datasets`` wrote a folder."""
    return (path / _SPLITS).is_file() or ((path / _ONE).is_file() and (path / "dataset_info.json").is_file())


class SavedDatasetPairs:
    """Pairs of a saved ``Dataset`` with the columns ``ref`` and ``dist``: ``datasets.Image``, paths or bytes of files.

    Args:
        folder: that ``save_to_disk`` wrote.
        root: folder that paths count from.

    Raises:
        ValueError: for several splits, for a data set without these columns, for images without a column ``id``, and
            for names that are missing or twice.
        ModuleNotFoundError: without ``datasets``.
    """

    def __init__(self, folder: Path, root: Place) -> None:
        try:
            import datasets
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"{str(folder)!r} was saved by datasets, which is not installed ({error}): "
                "pip install 'torchmetrics-fmiqa[datasets]'"
            ) from None
        if (folder / _SPLITS).is_file():
            splits = sorted(one.name for one in folder.iterdir() if is_saved_dataset(one))
            raise ValueError(f"{str(folder)!r} has the splits {', '.join(splits)}: give one, {folder / splits[0]}")
        data = datasets.load_from_disk(str(folder.absolute()))
        lacking = [name for name in ("ref", "dist") if name not in data.column_names]
        if lacking:
            has = ", ".join(data.column_names)
            raise ValueError(f"{str(folder)!r} is no table of pairs: it has no column {lacking[0]!r}; it has {has}")
        for name in ("ref", "dist"):
            if isinstance(data.features[name], datasets.Image):  # as it is stored, not as pixels
                data = data.cast_column(name, datasets.Image(decode=False))
        texts = [
            name for name in ("ref", "dist") if getattr(data.features[name], "dtype", "") in ("string", "large_string")
        ]
        if len(texts) < 2 and "id" not in data.column_names:
            raise ValueError(f"{str(folder)!r} holds images and nothing that names them: add a column `id`")
        named = [*(["id"] if "id" in data.column_names else []), *texts]
        self._data, self._root = data.select_columns(["ref", "dist"]).with_format(None), absolute(root)
        self.names = data.select_columns(named).with_format("arrow")[:].combine_chunks()
        if not self.names.num_rows:
            raise ValueError(f"{str(folder)!r} has no rows")
        check_keys(keys_of(self.names))
        self.identity: dict[str, Any] = {"pairs": digest_of(self.names), "places": [shown(root), shown(folder)]}

    def pairs(self, rows: npt.NDArray[np.int64]) -> Iterator[StoredPair]:
        """The pairs of some rows."""
        for start in range(0, len(rows), _BATCH):
            some = rows[start : start + _BATCH].tolist()
            columns = self._data[some]
            for row, ref, dist in zip(some, columns["ref"], columns["dist"], strict=True):
                yield StoredPair(row, (image_at(ref, self._root), image_at(dist, self._root)))
