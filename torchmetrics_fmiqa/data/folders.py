"""What is in a folder of images: linked subfolders are followed, and nothing is left out without a word."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from torchmetrics_fmiqa.data.formats import SUFFIXES, is_image_name, is_unread_image_name
from torchmetrics_fmiqa.data.opening import check_file

# What systems leave in folders; hidden files too (.DS_Store, and ._a.png of macOS, which is no image).
_QUIET = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
# What people keep beside images, and nobody takes for one.
_QUIET_ENDINGS = frozenset(
    f".{ending}"
    for endings in (
        ("txt", "md", "rst", "csv", "tsv", "json", "jsonl", "yaml", "yml", "xml", "toml", "ini", "cfg", "log", "html"),
        ("pdf", "docx", "xlsx", "parquet", "npy", "npz", "mat", "zip", "py", "sh", "m", "pth", "pt", "safetensors"),
    )
    for ending in endings
)


@dataclass(frozen=True)
class Problem:
    """Something that could not be scored, and why."""

    name: str
    reason: str


@dataclass
class Folder:
    """What was found in a folder.

    Args:
        path: the folder.
        images: files with the ending of a format that is read, sorted by name.
        problems: images that cannot be had: in a format that is not read, no regular files, folders that cannot be
            listed.
        others: files with other endings, but those of texts, tables and the like; links back to a folder above them.
    """

    path: Path
    images: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)

    def stem(self, image: Path) -> str:
        """The path of an image within the folder, without its ending."""
        return str(image.relative_to(self.path).with_suffix(""))


def list_folder(path: Path) -> Folder:
    """The images of a folder and of those in it, linked ones too. Hidden files and folders do not count.

    Raises:
        ValueError: if there are no images.
    """
    found = Folder(path)
    _visit(path, frozenset(), found)
    if not found.images and not found.problems:
        raise ValueError(f"there are no images in {str(path)!r} ({', '.join(sorted(SUFFIXES))})")
    return found


def _visit(folder: Path, above: frozenset[tuple[int, int]], found: Folder) -> None:
    try:
        status = folder.stat()
        names = sorted(os.listdir(folder))
    except OSError as error:
        found.problems.append(Problem(str(folder), f"cannot be listed: {(error.strerror or str(error)).lower()}"))
        return
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link back; what is in it is listed already
        found.others.append(folder)
        return
    for name in names:
        path = folder / name
        if name.startswith(".") or name.lower() in _QUIET:
            continue
        if path.is_dir():
            _visit(path, above | {here}, found)
        elif is_image_name(name):
            try:
                check_file(path)
                found.images.append(path)
            except ValueError as error:
                found.problems.append(Problem(str(path), str(error)))
        elif is_unread_image_name(name):
            found.problems.append(Problem(str(path), f"{path.suffix} files are not read: convert it"))
        elif path.suffix.lower() not in _QUIET_ENDINGS:
            found.others.append(path)


def match_names(
    refs: Folder, dists: Folder, suffix: str = ""
) -> tuple[list[tuple[Path, Path]], list[Problem], list[Path]]:
    """Pair the images of two folders by their paths within them, without endings.

    Names that look alike and differ in Unicode form are one name, but where a folder has both.

    Args:
        refs: the references.
        dists: the images under test.
        suffix: what the name of an image under test has after that of its reference, such as ``"_x4"``.

    Returns:
        The pairs in the order of names; images that have no partner or several; images under test whose names do not
        end in ``suffix``.
    """
    groups: dict[str, tuple[list[Path], list[Path]]] = {}
    left: list[Path] = []
    for side, folder in enumerate((refs, dists)):
        for path in folder.images:
            stem = folder.stem(path)
            if side and not stem.endswith(suffix):
                left.append(path)
                continue
            stem = stem[: len(stem) - len(suffix)] if side else stem
            groups.setdefault(unicodedata.normalize("NFC", stem), ([], []))[side].append(path)
    pairs: list[tuple[Path, Path]] = []
    problems: list[Problem] = []
    for _, (ours, theirs) in sorted(groups.items()):
        for one, other in _by_form(refs, dists, suffix, ours, theirs):
            if len(one) == len(other) == 1:
                pairs.append((one[0], other[0]))
            else:
                problems += _unpaired(refs, dists, one, other, suffix)
    return pairs, problems, left


def _by_form(
    refs: Folder, dists: Folder, suffix: str, ours: list[Path], theirs: list[Path]
) -> Iterator[tuple[list[Path], list[Path]]]:
    """Images of one name, parted by Unicode form where that gives pairs, and by their ending last."""
    if len(ours) < 2 and len(theirs) < 2:
        yield ours, theirs
        return
    forms: dict[str, tuple[list[Path], list[Path]]] = {}
    for path in ours:
        forms.setdefault(refs.stem(path) + suffix, ([], []))[0].append(path)
    for path in theirs:
        forms.setdefault(dists.stem(path), ([], []))[1].append(path)
    if all(len(one) == len(other) == 1 for one, other in forms.values()):
        yield from forms.values()
    else:
        yield ours, theirs


def _unpaired(refs: Folder, dists: Folder, ours: list[Path], theirs: list[Path], suffix: str) -> Iterable[Problem]:
    for one, other, folder in ((ours, theirs, dists), (theirs, ours, refs)):
        if len(one) > 1:
            alike = len({path.with_suffix("") for path in one}) > 1
            reason = "have names that look alike and differ in Unicode form" if alike else "have one name"
            first, second = (_escaped(path) if alike else repr(str(path)) for path in one[:2])
            yield Problem(str(one[0]), f"{first} and {second} {reason}: give a table with --pairs")
        elif one and not other:
            ending = f" with {suffix!r} after its name" if suffix and folder is dists else ""
            yield Problem(str(one[0]), f"has no partner{ending} in {str(folder.path)!r}")


def _escaped(path: Path) -> str:
    return ascii(str(path))
