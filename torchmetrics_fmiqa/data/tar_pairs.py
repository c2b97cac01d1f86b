"""Pairs in tar files as WebDataset keeps them: ``KEY.ref.png`` and ``KEY.dist.png``."""

from __future__ import annotations

import re
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torchmetrics_fmiqa.data.folders import Problem
from torchmetrics_fmiqa.data.opening import open_file
from torchmetrics_fmiqa.data.stored_pairs import StoredPair, check_keys, digest_of
from torchmetrics_fmiqa.safe_write import printable

_MEMBER = re.compile(r"(?:\./)?(.+)\.(ref|dist)\.[^./]+", re.DOTALL)
#: File, and for either image its offset and its size.
_FIELDS = 5


class TarPairs:
    """Pairs of tar files; members of other names are not looked at. Only headers are read until a pair's turn.

    Attributes:
        unpaired: images whose partner is not in the same file.

    Args:
        files: the files, in order, not compressed.

    Raises:
        ValueError: for a file that is no such tar file, files without pairs, and keys that are twice there.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        import pyarrow

        self._files, self.unpaired = [path.absolute() for path in files], list[Problem]()
        keys: list[str] = []
        places = array("q")
        for number, path in enumerate(files):
            sides: dict[str, dict[str, tuple[int, int]]] = {}
            for key, side, place in _members(path):
                if side in sides.setdefault(key, {}):
                    raise ValueError(f"{str(path)!r} has two images {key}.{side}.*: leave one out")
                sides[key][side] = place
            for key, found in sides.items():
                if len(found) == 2:
                    keys.append(printable(key))
                    places.extend((number, *found["ref"], *found["dist"]))
                else:
                    other = "dist" if "ref" in found else "ref"
                    self.unpaired.append(Problem(f"{path}: {key}", f"has no {key}.{other}.*"))
        if not keys:
            raise ValueError(f"{str(files[0])!r} has no pairs: images are named KEY.ref.png and KEY.dist.png")
        self._places: npt.NDArray[np.int64] = np.frombuffer(places, dtype=np.int64).reshape(-1, _FIELDS)
        self.names = pyarrow.table({"id": keys})
        check_keys(self.names)
        paths = [[str(path.absolute()), path.stat().st_size] for path in files]
        self.identity: dict[str, Any] = {"pairs": digest_of(self.names), "places": paths}

    def pairs(self, rows: npt.NDArray[np.int64]) -> Iterator[StoredPair]:
        """The pairs of some rows."""
        for number in np.unique(self._places[rows, 0]).tolist():
            with open_file(self._files[number]) as file:
                for row in rows[self._places[rows, 0] == number].tolist():
                    _, *places = self._places[row].tolist()
                    images = []
                    for offset, size in (places[:2], places[2:]):
                        file.seek(offset)
                        images.append(file.read(size))
                    yield StoredPair(row, (images[0], images[1]))


def _members(path: Path) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """Key, side and place (offset and size) of each image of a tar file."""
    try:
        with open_file(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # else it keeps a kilobyte for each
                match = _MEMBER.fullmatch(member.name)
                if match is not None and member.isreg():
                    yield match[1], match[2], (member.offset_data, member.size)
    except tarfile.TarError as error:
        raise ValueError(f"{str(path)!r} is no tar file without compression: {error}") from None
