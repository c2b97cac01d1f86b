"""Lock a folder for a single run: two runs in the same folder would delete each other's files."""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torchmetrics_fmiqa.safe_write import WriteError, check_folder

# Files that a run has in its folder while it writes, or leaves when it is killed; none is a result.
_LOCK, _HOLDER = ".writer.lock", ".writer"
_LEFTOVER = re.compile(r"\.[0-9a-f]{12}\.tmp(\..*)?")


@contextmanager
def one_writer(folder: str | Path, wait: float = 0) -> Iterator[None]:
    """Lock a folder for writing. It is made if it does not exist, and removed if it stays empty.

    The lock belongs to the process, so a killed process holds none. On a network file system it is as reliable as the
    locks of that system.

    Args:
        folder: to write in.
        wait: seconds in which another run may end.

    Raises:
        ValueError: if another run writes there; the message names it.
        WriteError: if the system refuses to write there.

    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp()) / "results"
    >>> with one_writer(folder):
    ...     with one_writer(folder):
    ...         pass
    Traceback (most recent call last):
    ...
    ValueError: ...: wait until it has ended, or give another folder
    >>> folder.exists()
    False
    """
    from filelock import FileLock, Timeout

    folder = Path(folder)
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    check_folder(folder)
    lock = FileLock(folder / _LOCK, timeout=wait)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"{folder} is being written by {_holder(folder)}: wait until it has ended, or give another folder"
        ) from None
    except OSError as error:
        raise WriteError(f"cannot lock the folder {str(folder)!r}: {error.strerror or error}") from error
    try:
        for path in folder.iterdir():
            if _LEFTOVER.fullmatch(path.name) and path.is_file():
                path.unlink()
        with suppress(OSError):
            (folder / _HOLDER).write_text(_this_process(), encoding="utf-8", errors="replace")
        yield
    finally:
        # Before the release: afterwards these files may belong to another run.
        for name in (_HOLDER, _LOCK):
            with suppress(OSError):
                (folder / name).unlink()
        with suppress(OSError):
            lock.release()
        for path in new_folders:
            with suppress(OSError):
                path.rmdir()


def check_no_writer(folder: str | Path) -> None:
    """Check that no other run writes to a folder, which must exist.

    Raises:
        ValueError: if one does; the message names it.
    """
    from filelock import FileLock, Timeout

    path = Path(folder) / _LOCK
    if not path.exists():
        return
    lock = FileLock(path, timeout=1)  # others may be looking at this moment
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(f"{folder} is being written by {_holder(Path(folder))}: wait until it has ended") from None
    with suppress(OSError):
        path.unlink()
    lock.release()


def is_result(path: Path) -> bool:
    """Whether a file is a result, not a lock or temporary file of a run."""
    return path.name not in (_LOCK, _HOLDER) and not _LEFTOVER.fullmatch(path.name)


def _this_process() -> str:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return f"process {os.getpid()} on {socket.gethostname()} ({command[:200]})"


def _holder(folder: Path) -> str:
    with suppress(OSError):
        holder = (folder / _HOLDER).read_text(encoding="utf-8", errors="replace").strip()
        if holder:
            return holder
    return "another run"
