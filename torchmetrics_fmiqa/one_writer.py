"""One writer a folder: two runs at once in one folder would take each other's files away."""

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

#: Files that a run has in its folder while it writes there, or that it left when it was killed; none is a result.
_LOCK, _HOLDER = ".writer.lock", ".writer"
_LEFTOVER = re.compile(r"\.[0-9a-f]{12}\.tmp(\..*)?")


@contextmanager
def one_writer(folder: str | Path) -> Iterator[None]:
    """Be the only run that writes in a folder, which is made if it is not there, and removed if it stays empty.

    The lock belongs to the process: one that was killed holds nothing. On a network file system it is as good as that
    system's own locks.

    Raises:
        ValueError: if another run writes there, saying which.
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
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    check_folder(folder)
    lock = FileLock(folder / _LOCK, timeout=0)
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
        # While the lock is held: afterwards they may be another run's.
        for name in (_HOLDER, _LOCK):
            with suppress(OSError):
                (folder / name).unlink()
        with suppress(OSError):
            lock.release()
        for one in made:
            with suppress(OSError):
                one.rmdir()


def is_result(path: Path) -> bool:
    """Whether a file in a folder is more than what a run has there while it writes."""
    return path.name not in (_LOCK, _HOLDER) and not _LEFTOVER.fullmatch(path.name)


def _this_process() -> str:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return f"process {os.getpid()} on {socket.gethostname()} ({command[:200]})"


def _holder(folder: Path) -> str:
    with suppress(OSError):
        said = (folder / _HOLDER).read_text(encoding="utf-8", errors="replace").strip()
        if said:
            return said
    return "another run"
