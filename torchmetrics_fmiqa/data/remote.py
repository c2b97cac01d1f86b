"""Files on other machines by their URL, read by fsspec: s3://, gs://, https:// and whatever it has a driver for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

#: A file or folder: of this machine, or a URL.
Place = Path | str

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[A-Za-z0-9+.-]+)*://")  # of two letters or more: C:// is a drive


def is_url(place: Place) -> bool:
    """Whether a file is named by a URL.

    >>> is_url("s3://bucket/a.png"), is_url("a.png"), is_url(Path("a.png"))
    (True, False, False)
    """
    return isinstance(place, str) and _URL.match(place) is not None


def as_place(text: str) -> Place:
    """A URL as it is, and anything else as a path; ``file://`` is a path of this machine.

    >>> as_place("s3://bucket/a.png"), as_place("file:///a.png").name
    ('s3://bucket/a.png', 'a.png')
    """
    if text.startswith("file://"):
        return Path(unquote(urlsplit(text).path))
    return text if is_url(text) else Path(text)


def join_place(folder: Place, name: str) -> Place:
    """A file in a folder; a name that is a URL or an absolute path stands for itself.

    >>> join_place("s3://bucket/images", "a.png"), join_place(Path("x"), "s3://bucket/a.png")
    ('s3://bucket/images/a.png', 's3://bucket/a.png')
    """
    if "://" not in name and isinstance(folder, Path):  # a table has millions
        return folder / name
    place = as_place(name)
    if isinstance(place, str) or isinstance(folder, Path):
        return place if isinstance(place, str) else Path(folder) / place
    return place if place.is_absolute() else f"{folder.rstrip('/')}/{name}"


def parent_of(file: Place) -> Place:
    """The folder that a file is in."""
    return file.parent if isinstance(file, Path) else file.rpartition("/")[0]


def suffix_of(file: Place) -> str:
    """The ending of a file's name, in lower case."""
    return Path(urlsplit(file).path if isinstance(file, str) else file).suffix.lower()


def absolute(place: Place) -> Place:
    """A place that is the same from every folder: a process of Ray may have another one."""
    return place.absolute() if isinstance(place, Path) else place


def shown(place: Place) -> str:
    """A place as the note of a run has it: paths are absolute."""
    return str(absolute(place))


def size_of(file: Place) -> int:
    """Bytes of a file.

    Raises:
        ValueError: as :func:`open_url` does.
    """
    if isinstance(file, Path):
        return file.stat().st_size
    with _errors_of(file):
        return int(_driver(file).size(file))


def open_url(url: str) -> BinaryIO:
    """Open a file by its URL to read parts of it.

    Raises:
        ValueError: where there is no such file or driver, or the driver fails; in one line, with the reason.
    """
    with _errors_of(url):
        stream: BinaryIO = _driver(url).open(url, "rb")
        return stream


def read_url(url: str) -> bytes:
    """All bytes of a file; raises as :func:`open_url` does."""
    with _errors_of(url), open_url(url) as file:
        return file.read()


def list_url(url: str) -> list[str]:
    """The files in a folder by their URLs, sorted; raises as :func:`open_url` does."""
    with _errors_of(url):
        driver = _driver(url)
        files = [one["name"] for one in driver.ls(url, detail=True) if one["type"] == "file"]
        return sorted(str(driver.unstrip_protocol(file)) for file in files)


def _driver(url: str) -> Any:
    from fsspec.core import url_to_fs

    return url_to_fs(url)[0]


@contextmanager
def _errors_of(url: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(f"{url!r} is read by fsspec: pip install fsspec ({error})") from None
    except ImportError as error:  # fsspec says which package has the driver
        raise ValueError(f"{url!r} cannot be read without its driver: {_first_line(error)}") from None
    except FileNotFoundError:
        raise ValueError(f"there is no file {url!r}") from None
    except Exception as error:  # drivers raise errors of any class
        if str(error).startswith((repr(url), f"there is no file {url!r}")):  # told already
            raise
        raise ValueError(f"{url!r} cannot be read: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
