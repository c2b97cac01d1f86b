"""From the rows of a dataset's table to the pairs whose files are there."""

from __future__ import annotations

import os
from pathlib import Path

from torchmetrics_fmiqa.data.rated_pairs import Direction, RatedPair, RatedPairs, lost


class DatasetReader:
    """Collects the rows of a dataset's table, and looks their files up.

    Args:
        name: name of the dataset.
        root: folder that the files are looked up in.
        table: where the rows come from, for messages.
    """

    def __init__(self, name: str, root: Path, table: Path) -> None:
        self.name, self.root, self.table = name, root, table
        self.listing = FolderListing()
        self._pairs: list[RatedPair] = []
        self._uses: dict[Path, int] = {}
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
        """Take a row; ``ref`` and ``dist`` count from ``root``, in any case.

        Raises:
            ValueError: if a row before it has the same files.
        """
        ref, dist = self.root / ref, self.root / dist
        first = self._seen.setdefault((ref, dist), where)
        if first != where:
            raise ValueError(f"{where} has the images of {first}: {dist.name} against {ref.name}")
        found = [self.listing.find(path) for path in (ref, dist)]
        if found[0] is None:
            self._uses[ref] = self._uses.get(ref, 0) + 1
        if found[1] is None:
            self._uses.setdefault(dist, 0)
        if found[0] is not None and found[1] is not None:
            self._pairs.append(RatedPair(found[0], found[1], opinion, type, level, std))

    def done(self, higher_is_better: bool | None, direction: Direction, undistorted: int = 0) -> RatedPairs:
        """What was gathered.

        Raises:
            ValueError: if the table has no rows, or no pair's files are there.
        """
        if not self._seen:
            raise ValueError(f"{str(self.table)!r} has no rows")
        if not self._pairs:
            raise ValueError(
                f"{str(self.table)!r} names {len(self._seen)} pairs, and no pair's images are there: "
                f"there is no file {str(next(iter(self._uses)))!r}"
            )
        missing = tuple(lost(path, self.root, "there is no such file", count) for path, count in self._uses.items())
        return RatedPairs(
            self.name, tuple(self._pairs), higher_is_better, direction, missing, undistorted, root=self.root
        )


def existing_file(folder: Path, name: str, dataset: str) -> Path:
    """A file that a dataset must have.

    Raises:
        ValueError: if it is not there.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}")
    found = FolderListing().find(folder / name)
    if found is None:
        raise ValueError(f"{str(folder)!r} has no {name}: give the folder of {dataset} that has it")
    return found


class FolderListing:
    """What is in the folders of a dataset; each folder is listed once, when something is first looked up in it.

    Datasets that were made on Windows say ``I01.BMP`` in their tables and ``i01.bmp`` on disk. A name that is there as
    it is written comes first; another case of it is taken only where there is one.
    """

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[str]] | None] = {}

    def find(self, path: Path) -> Path | None:
        """Where a file or folder is, ``None`` if it is not there or two names differ from it in case only."""
        folder = path.parent
        names = self._list(folder)
        if names is None:
            found = None if folder == folder.parent else self.find(folder)
            names = None if found is None or found == folder else self._list(found)
            if found is None or names is None:
                return None
            folder = found
        alike = names.get(path.name.casefold(), [])
        if path.name in alike:
            return folder / path.name
        return folder / alike[0] if len(alike) == 1 else None

    def names(self, folder: Path) -> list[str]:
        """Names in a folder, sorted; none where there is no such folder."""
        found = self.find(folder) if self._list(folder) is None else folder
        names = None if found is None else self._list(found)
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
