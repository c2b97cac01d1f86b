"""Tables of pairs by their kind: CSV, Parquet, tar files, or a folder of these."""

from __future__ import annotations

from pathlib import Path

from torchmetrics_fmiqa.data.folders import Problem
from torchmetrics_fmiqa.data.pairs import each_pair
from torchmetrics_fmiqa.data.stored_pairs import ListedPairs, PairSource, ParquetPairs
from torchmetrics_fmiqa.data.tar_pairs import TarPairs

_TEXT, _PARTS = (".csv", ".tsv", ".txt"), (".parquet", ".tar")


def is_pair_table(path: Path) -> bool:
    """Whether a path has the name of a table of pairs, or is a folder of Parquet or tar files."""
    return path.suffix.lower() in (*_TEXT, *_PARTS) or bool(_parts(path))


def open_pair_table(path: Path, root: Path | None = None) -> tuple[PairSource, list[Problem]]:
    """The pairs of a table, and images that have no partner.

    Args:
        path: a CSV or Parquet table, a tar file, or a folder of Parquet files or of tar files.
        root: folder that paths in a table count from; by default the table's folder.

    Raises:
        ValueError: as the readers do, for a folder that holds both kinds, and for ``root`` with tar files.
    """
    files = _parts(path) or [path]
    kinds = {file.suffix.lower() for file in files}
    if len(kinds) > 1:
        raise ValueError(f"{str(path)!r} holds {' and '.join(sorted(kinds))} files: give a folder of one kind")
    if root is not None and not root.is_dir():
        raise ValueError(f"there is no folder {str(root)!r} (--root)")
    folder = root or files[0].parent
    if kinds == {".tar"}:
        if root is not None:
            raise ValueError("`--root` is for the paths of a table, and tar files hold the images: leave it out")
        tar = TarPairs(files)
        return tar, tar.unpaired
    if kinds == {".parquet"}:
        return ParquetPairs(files, folder), []
    return ListedPairs(each_pair(path, root), folder, folder), []


def _parts(path: Path) -> list[Path]:
    """The Parquet and tar files of a folder, by name."""
    if not path.is_dir():
        return []
    return sorted(file for file in path.iterdir() if file.suffix.lower() in _PARTS and not file.name.startswith("."))
