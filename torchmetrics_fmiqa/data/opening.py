"""Open files by a path from the user: only regular files, because a pipe or a device could hang the run."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from torchmetrics_fmiqa.data.remote import is_url, read_url

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_BLOCK = 1 << 22


def check_file(path: str | Path, what: str = "file") -> None:
    """Check that a path is a readable regular file, without opening it.

    Args:
        path: a file or a link to a file.
        what: name of the file's kind for the error message.

    Raises:
        ValueError: if it is not; the message names the path and what it is instead.

    >>> check_file("/dev/null")
    Traceback (most recent call last):
    ValueError: '/dev/null' is a device, not a file
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise ValueError(_cannot_open(path, error, what)) from error
    _check_mode(path, mode)
    if not os.access(path, os.R_OK):
        raise ValueError(f"{_quoted(path)} cannot be read: permission denied")


def open_file(path: str | Path, what: str = "file") -> BinaryIO:
    """Open a regular file to read its bytes. What a URL names is read as a whole, by fsspec.

    Args:
        path: a file, a link to a file, or a URL.
        what: name of the file's kind for the error message.

    Raises:
        ValueError: if the path is absent, unreadable, or a folder, pipe, socket or device.
    """
    if isinstance(path, str) and is_url(path):
        return io.BytesIO(read_url(path))
    check_file(path, what)
    try:
        # O_NONBLOCK: if a pipe has replaced the file since the check, opening it does not wait for a writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise ValueError(_cannot_open(path, error, what)) from error
    try:
        _check_mode(path, os.fstat(handle).st_mode)
    except ValueError:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def read_bytes(path: str | Path, what: str = "file") -> bytes:
    """All bytes of a regular file.

    Raises:
        ValueError: as :func:`open_file` does, and if the system fails to read it.
    """
    try:
        with open_file(path, what) as file:
            return file.read()
    except OSError as error:
        raise ValueError(_cannot_open(path, error, what)) from error


def read_text(path: str | Path, what: str = "file") -> str:
    """All text of a regular UTF-8 file, without a byte order mark; every line ends in a line feed.

    Raises:
        ValueError: as :func:`read_bytes` does, and if the file is not UTF-8.
    """
    try:
        text = read_bytes(path, what).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read {_quoted(path)} as text in UTF-8: {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def file_digest(path: str | Path, what: str = "file") -> str:
    """SHA-256 of a regular file's bytes, in hexadecimal, computed block by block.

    Raises:
        ValueError: as :func:`read_bytes` does.
    """
    digest = hashlib.sha256()
    try:
        with open_file(path, what) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise ValueError(_cannot_open(path, error, what)) from error
    return digest.hexdigest()


def _check_mode(path: str | Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "no regular file")
        raise ValueError(f"{_quoted(path)} is {kind}, not a file")


def _cannot_open(path: str | Path, error: Exception, what: str) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        if os.path.islink(path):
            return (
                f"there is no {what} {_quoted(path)}: it is a link to {_quoted(os.readlink(path))}, which is not there"
            )
        return f"there is no {what} {_quoted(path)}"
    reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
    return f"{_quoted(path)} cannot be read: {reason}"


def _quoted(path: str | Path) -> str:
    return repr(str(path))
