"""List the images of folders and pair them by name; whatever is left out is reported."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from torchmetrics_fmiqa.data.formats import SUFFIXES, is_image_name, is_unread_image_name
from torchmetrics_fmiqa.data.opening import check_file

# Files that operating systems create. Hidden files (.DS_Store, ._a.png of macOS) are ignored too.
_IGNORED_NAMES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
# Endings of files that are commonly kept beside images; they are ignored without a note.
_IGNORED_ENDINGS = frozenset(
    f".{ending}"
    for endings in (
        ("txt", "md", "rst", "csv", "tsv", "json", "jsonl", "yaml", "yml", "xml", "toml", "ini", "cfg", "log", "html"),
        ("pdf", "docx", "xlsx", "parquet", "npy", "npz", "mat", "zip", "py", "sh", "m", "pth", "pt", "safetensors"),
    )
    for ending in endings
)


@dataclass(frozen=True)
class Problem:
    """An image, pair or folder that could not be scored, and the reason."""

    name: str
    reason: str


@dataclass
class Folder:
    """The content of a folder and of its subfolders.

    Args:
        path: the folder.
        images: files with the ending of a supported format, sorted by name.
        problems: images of an unsupported format, images that are not regular files, folders that cannot be listed.
        others: files that are not images, except texts, tables and the like; links back to a parent folder.
    """

    path: Path
    images: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)

    def stem(self, image: Path) -> str:
        """The path of an image within the folder, without its ending."""
        return str(image.relative_to(self.path).with_suffix(""))


def list_folder(path: Path) -> Folder:
    """List the images of a folder and of its subfolders, following links; hidden files and folders are skipped.

    Raises:
        ValueError: if there are no images.
    """
    listing = Folder(path)
    _visit(path, frozenset(), listing)
    if not listing.images and not listing.problems:
        raise ValueError(f"there are no images in {str(path)!r} ({', '.join(sorted(SUFFIXES))})")
    return listing


def _visit(folder: Path, parents: frozenset[tuple[int, int]], listing: Folder) -> None:
    try:
        status = folder.stat()
        names = sorted(os.listdir(folder))
    except OSError as error:
        listing.problems.append(Problem(str(folder), f"cannot be listed: {(error.strerror or str(error)).lower()}"))
        return
    identity = (status.st_dev, status.st_ino)
    if identity in parents:  # a link back to a parent, which is being listed already
        listing.others.append(folder)
        return
    for name in names:
        path = folder / name
        if name.startswith(".") or name.lower() in _IGNORED_NAMES:
            continue
        if path.is_dir():
            _visit(path, parents | {identity}, listing)
        elif is_image_name(name):
            try:
                check_file(path)
                listing.images.append(path)
            except ValueError as error:
                listing.problems.append(Problem(str(path), str(error)))
        elif is_unread_image_name(name):
            listing.problems.append(Problem(str(path), f"{path.suffix} files are not read: convert it"))
        elif path.suffix.lower() not in _IGNORED_ENDINGS:
            listing.others.append(path)


def match_names(
    refs: Folder, dists: Folder, suffix: str = ""
) -> tuple[list[tuple[Path, Path]], list[Problem], list[Path]]:
    """Pair the images of two folders by their paths within the folders, without endings.

    Names that differ in Unicode form alone count as equal, unless a folder has both forms.

    Args:
        refs: the references.
        dists: the images under test.
        suffix: text that follows the reference's name in the name of an image under test, such as ``"_x4"``.

    Returns:
        The pairs in the order of names; the images without a partner or with several; the images under test whose
        names do not end in ``suffix``.
    """
    groups: dict[str, tuple[list[Path], list[Path]]] = {}
    without_suffix: list[Path] = []
    for side, folder in enumerate((refs, dists)):
        for path in folder.images:
            stem = folder.stem(path)
            if side and not stem.endswith(suffix):
                without_suffix.append(path)
                continue
            stem = stem[: len(stem) - len(suffix)] if side else stem
            groups.setdefault(unicodedata.normalize("NFC", stem), ([], []))[side].append(path)
    pairs: list[tuple[Path, Path]] = []
    problems: list[Problem] = []
    for _, (ref_images, dist_images) in sorted(groups.items()):
        for ref_paths, dist_paths in _by_form(refs, dists, suffix, ref_images, dist_images):
            if len(ref_paths) == len(dist_paths) == 1:
                pairs.append((ref_paths[0], dist_paths[0]))
            else:
                problems += _unpaired(refs, dists, ref_paths, dist_paths, suffix)
    return pairs, problems, without_suffix


def _by_form(
    refs: Folder, dists: Folder, suffix: str, ref_paths: list[Path], dist_paths: list[Path]
) -> Iterator[tuple[list[Path], list[Path]]]:
    """Split images of equal name by Unicode form if every form then is a pair; else give them together."""
    if len(ref_paths) < 2 and len(dist_paths) < 2:
        yield ref_paths, dist_paths
        return
    forms: dict[str, tuple[list[Path], list[Path]]] = {}
    for path in ref_paths:
        forms.setdefault(refs.stem(path) + suffix, ([], []))[0].append(path)
    for path in dist_paths:
        forms.setdefault(dists.stem(path), ([], []))[1].append(path)
    if all(len(form_refs) == len(form_dists) == 1 for form_refs, form_dists in forms.values()):
        yield from forms.values()
    else:
        yield ref_paths, dist_paths


def _unpaired(
    refs: Folder, dists: Folder, ref_paths: list[Path], dist_paths: list[Path], suffix: str
) -> Iterable[Problem]:
    """Problems of the images of one name that are not exactly one reference and one image under test."""
    for paths, partners, partner_folder in ((ref_paths, dist_paths, dists), (dist_paths, ref_paths, refs)):
        if len(paths) > 1:
            differ_in_form = len({path.with_suffix("") for path in paths}) > 1
            reason = "have names that look alike and differ in Unicode form" if differ_in_form else "have one name"
            first, second = (_escaped(path) if differ_in_form else repr(str(path)) for path in paths[:2])
            yield Problem(str(paths[0]), f"{first} and {second} {reason}: give a table with --pairs")
        elif paths and not partners:
            ending = f" with {suffix!r} after its name" if suffix and partner_folder is dists else ""
            yield Problem(str(paths[0]), f"has no partner{ending} in {str(partner_folder.path)!r}")


def _escaped(path: Path) -> str:
    return ascii(str(path))
