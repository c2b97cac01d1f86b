"""Look files up by name, whatever their case, with one listing a folder and no question for each file."""

from __future__ import annotations

import os
from pathlib import Path


class Listing:
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
