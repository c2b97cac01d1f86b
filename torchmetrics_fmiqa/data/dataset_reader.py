"""What the readers of datasets share: look files up in any case, and turn the rows of a table into rated pairs."""

from __future__ import annotations

import os
from pathlib import Path

from torchmetrics_fmiqa.data.rated_pairs import Direction, RatedPair, RatedPairs, missing_file


class FolderListing:
    """Case-insensitive look-up of files in folders; each folder is listed once, at the first look-up in it.

    Datasets from Windows have ``I01.BMP`` in their tables and ``i01.bmp`` on disk. An exact name wins. A name in
    another case counts only if it is the only one.
    """

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[str]] | None] = {}

    def find(self, path: Path) -> Path | None:
        """The existing path that equals ``path`` up to case, or ``None``; of several, only an exact one counts."""
        folder = path.parent
        names = self._list(folder)
        if names is None:
            existing = None if folder == folder.parent else self.find(folder)
            names = None if existing is None or existing == folder else self._list(existing)
            if existing is None or names is None:
                return None
            folder = existing
        alike = names.get(path.name.casefold(), [])
        if path.name in alike:
            return folder / path.name
        return folder / alike[0] if len(alike) == 1 else None

    def names(self, folder: Path) -> list[str]:
        """The sorted names in a folder; empty if there is no such folder."""
        existing = self.find(folder) if self._list(folder) is None else folder
        names = None if existing is None else self._list(existing)
        return sorted(name for alike in (names or {}).values() for name in alike)

    def _list(self, folder: Path) -> dict[str, list[str]] | None:
        if folder not in self._folders:
            names: dict[str, list[str]] | None = {}
            try:
                for name in os.listdir(folder):
                    names.setdefault(name.casefold(), []).append(name)  # type: ignore[union-attr]
            except OSError:
                names = None
            self._folders[folder] = names
        return self._folders[folder]


def existing_file(folder: Path, name: str, dataset: str) -> Path:
    """The path of a file that a dataset must have; case does not matter.

    Raises:
        ValueError: if the file does not exist.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}")
    path = FolderListing().find(folder / name)
    if path is None:
        raise ValueError(f"{str(folder)!r} has no {name}: give the folder of {dataset} that has it")
    return path


class DatasetReader:
    """Builds the rated pairs of a dataset from the rows of its table.

    Args:
        name: name of the dataset.
        root: folder that the files are looked up in.
        table: file of the rows, for messages.
    """

    def __init__(self, name: str, root: Path, table: Path) -> None:
        self.name, self.root, self.table = name, root, table
        self.listing = FolderListing()
        self._pairs: list[RatedPair] = []
        self._missing: dict[Path, int] = {}  # absent file -> count of pairs that it is the reference of
        self._seen: dict[tuple[Path, Path], str] = {}

    def add(
        self,
        where: str,
        ref: Path,
        dist: Path,
        opinion: float,
        type: str = "",
        level: float | None = None,
        std: float | None = None,
    ) -> None:
        """Add a row; ``ref`` and ``dist`` are relative to ``root``, and their case does not matter.

        Raises:
            ValueError: if an earlier row has the same files.
        """
        ref, dist = self.root / ref, self.root / dist
        first = self._seen.setdefault((ref, dist), where)
        if first != where:
            raise ValueError(f"{where} has the images of {first}: {dist.name} against {ref.name}")
        ref_path, dist_path = self.listing.find(ref), self.listing.find(dist)
        if ref_path is None:
            self._missing[ref] = self._missing.get(ref, 0) + 1
        if dist_path is None:
            self._missing.setdefault(dist, 0)
        if ref_path is not None and dist_path is not None:
            self._pairs.append(RatedPair(ref_path, dist_path, opinion, type, level, std))

    def rated_pairs(self, higher_is_better: bool | None, direction: Direction, undistorted: int = 0) -> RatedPairs:
        """The pairs of all rows whose files exist, and the missing files.

        Raises:
            ValueError: if the table has no rows, or no pair has its files.
        """
        if not self._seen:
            raise ValueError(f"{str(self.table)!r} has no rows")
        if not self._pairs:
            raise ValueError(
                f"{str(self.table)!r} names {len(self._seen)} pairs, and no pair's images are there: "
                f"there is no file {str(next(iter(self._missing)))!r}"
            )
        missing = tuple(
            missing_file(path, self.root, "there is no such file", count) for path, count in self._missing.items()
        )
        return RatedPairs(
            self.name, tuple(self._pairs), higher_is_better, direction, missing, undistorted, root=self.root
        )
