"""Tables of pairs by their kind: CSV, Parquet, tar files, or a folder of these."""

from __future__ import annotations

from pathlib import Path

from torchmetrics_fmiqa.data.folders import Problem
from torchmetrics_fmiqa.data.pairs import each_pair
from torchmetrics_fmiqa.data.remote import Place, list_url, parent_of, suffix_of
from torchmetrics_fmiqa.data.saved_dataset import SavedDatasetPairs, is_saved_dataset
from torchmetrics_fmiqa.data.stored_pairs import ListedPairs, PairSource, ParquetPairs
from torchmetrics_fmiqa.data.tar_pairs import TarPairs

_TEXT, _PARTS = (".csv", ".tsv", ".txt"), (".parquet", ".tar")


def is_pair_table(path: Place) -> bool:
    """Whether a path has the name of a table of pairs, or is a folder of Parquet or tar files, or a saved data set."""
    return suffix_of(path) in (*_TEXT, *_PARTS) or bool(_parts(path)) or _is_saved(path)


def open_pair_table(path: Place, root: Place | None = None) -> tuple[PairSource, list[Problem]]:
    """The pairs of a table, and images that have no partner.

    Args:
        path: a CSV or Parquet table, a tar file, a folder of Parquet files or of tar files, or what ``save_to_disk`` of
            Hugging Face's ``datasets`` wrote. Tables of text and Parquet may be URLs.
        root: folder that paths in a table count from; by default the table's folder.

    Raises:
        ValueError: as the readers do, for a folder that holds both kinds, for ``root`` with tar files, and for tar
            files by URL.
    """
    if isinstance(root, Path) and not root.is_dir():
        raise ValueError(f"there is no folder {str(root)!r} (--root)")
    if isinstance(path, Path) and _is_saved(path):
        return SavedDatasetPairs(path, root or path), []
    files = _parts(path) or [path]
    kinds = {suffix_of(file) for file in files}
    if len(kinds) > 1:
        raise ValueError(f"{str(path)!r} holds {' and '.join(sorted(kinds))} files: give a folder of one kind")
    folder = root or parent_of(files[0])
    if kinds == {".tar"}:
        if root is not None:
            raise ValueError("`--root` is for the paths of a table, and tar files hold the images: leave it out")
        here = [file for file in files if isinstance(file, Path)]
        if len(here) < len(files):
            raise ValueError(f"{str(path)!r} is a URL, and tar files are read from this machine: copy it")
        tar = TarPairs(here)
        return tar, tar.unpaired
    if kinds == {".parquet"}:
        return ParquetPairs(files, folder), []
    return ListedPairs(each_pair(path, root), folder, folder), []


def _is_saved(path: Place) -> bool:
    return isinstance(path, Path) and is_saved_dataset(path)


def _parts(path: Place) -> list[Place]:
    """The Parquet and tar files of a folder, by name; a URL of a folder ends in a slash."""
    if isinstance(path, str):
        return [file for file in list_url(path) if suffix_of(file) in _PARTS] if path.endswith("/") else []
    if not path.is_dir():
        return []
    return sorted(file for file in path.iterdir() if file.suffix.lower() in _PARTS and not file.name.startswith("."))
