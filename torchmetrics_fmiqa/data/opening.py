"""Open files that somebody else named: regular files alone, so that no pipe, device or folder can hang or end a run."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_BLOCK = 1 << 22


def check_file(path: str | Path, what: str = "file") -> None:
    """Check that a path is a regular file that may be read, without opening it.

    Args:
        path: a file, or a link to one.
        what: what it should be, for the message that it is not there.

    Raises:
        ValueError: naming the path, and what it is instead.

    >>> check_file("/dev/null")
    Traceback (most recent call last):
    ValueError: '/dev/null' is a device, not a file
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise ValueError(_why_not(path, error, what)) from error
    _check_mode(path, mode)
    if not os.access(path, os.R_OK):
        raise ValueError(f"{_shown(path)} cannot be read: permission denied")


def open_file(path: str | Path, what: str = "file") -> BinaryIO:
    """Open a regular file to read its bytes.

    Args:
        path: a file, or a link to one.
        what: what it should be, for the message that it is not there.

    Raises:
        ValueError: naming the path, if it is not there, may not be read, or is a folder, pipe, socket or device.
    """
    check_file(path, what)
    try:
        # Should a pipe have come in its place since, opening it does not wait for a writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise ValueError(_why_not(path, error, what)) from error
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
        raise ValueError(_why_not(path, error, what)) from error


def read_text(path: str | Path, what: str = "file") -> str:
    """All text of a regular file in UTF-8, without a byte order mark; every line ends in a line feed.

    Raises:
        ValueError: as :func:`read_bytes` does, and if it is no such text.
    """
    try:
        text = read_bytes(path, what).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read {_shown(path)} as text in UTF-8: {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def file_digest(path: str | Path, what: str = "file") -> str:
    """SHA-256 of a regular file's bytes, in hexadecimal; the file is never in memory whole.

    Raises:
        ValueError: as :func:`read_bytes` does.
    """
    digest = hashlib.sha256()
    try:
        with open_file(path, what) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise ValueError(_why_not(path, error, what)) from error
    return digest.hexdigest()


def _check_mode(path: str | Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "no regular file")
        raise ValueError(f"{_shown(path)} is {kind}, not a file")


def _why_not(path: str | Path, error: Exception, what: str) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        if os.path.islink(path):
            return f"there is no {what} {_shown(path)}: it is a link to {_shown(os.readlink(path))}, which is not there"
        return f"there is no {what} {_shown(path)}"
    reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
    return f"{_shown(path)} cannot be read: {reason}"


def _shown(path: str | Path) -> str:
    return repr(str(path))
