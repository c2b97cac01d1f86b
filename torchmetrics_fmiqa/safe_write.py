"""Write files atomically: to a temporary file beside the target, which is then renamed to it."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Prefixes of paths that mean an open stream, even if that stream is a file.
_STREAMS = ("/dev/std", "/dev/fd/", "/proc/")


class WriteError(OSError, ValueError):
    """The system refuses to write a file or to make a folder; the message names it and the reason."""


def check_writable(path: str | Path, inputs: Iterable[str | Path | None] = ()) -> None:
    """Check that a file can be written, before any work is done for it. Nothing is left behind.

    Args:
        path: the file, which may exist.
        inputs: input files, which ``path`` must not replace; ``None`` is ignored.

    Raises:
        ValueError: if the path is a folder, or an input by any name.
        WriteError: if the system refuses: no such folder, a read-only file or folder, a full disk, a name too long.

    >>> check_writable("scores.csv")
    >>> check_writable("missing/scores.csv")
    Traceback (most recent call last):
    ...
    torchmetrics_fmiqa.safe_write.WriteError: cannot write 'missing/scores.csv': there is no folder 'missing'
    """
    path = Path(path)
    check_no_inputs([path], inputs)
    with _os_errors_as_write_errors(path):
        if path.is_dir():
            raise ValueError(f"{str(path)!r} is a folder: give the name of a file")
        if _is_stream(path):
            return
        _check_target(path)
        _try_writing(Path(os.path.realpath(path)).parent)


def check_no_inputs(outputs: Iterable[str | Path], inputs: Iterable[str | Path | None]) -> None:
    """Check that no output is an input, also through links.

    Raises:
        ValueError: naming output and input.
    """
    existing = {file: path for path in outputs if (file := _file_identity(path)) is not None}
    if not existing:
        return
    for path in inputs:
        file = None if path is None else _file_identity(path)
        if file is not None and file in existing:
            raise ValueError(
                f"{str(existing[file])!r} is an input ({str(path)!r}), which would be lost: write to another file"
            )


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which is renamed to ``path`` at the end, or removed after an error.

    An older file is kept until then, and the new one gets its permissions. Links are followed. A path that is not a
    regular file (a pipe, ``/dev/stdout``) gets the content at the end.

    Raises:
        ValueError: if the path is a folder.
        WriteError: if the system refuses, inside the ``with`` too.

    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "table.csv"
    >>> with atomic_write(path) as draft:
    ...     _ = draft.write_text("a,b")
    ...     path.exists()
    False
    >>> path.read_text()
    'a,b'
    """
    path = Path(path)
    with _os_errors_as_write_errors(path):
        if path.is_dir():
            raise ValueError(f"{str(path)!r} is a folder: give the name of a file")
        if _is_stream(path):
            with tempfile.TemporaryDirectory() as folder:
                draft = Path(folder) / f"draft{path.suffix}"
                yield draft
                with draft.open("rb") as content, path.open("wb") as stream:
                    shutil.copyfileobj(content, stream)
            return
        _check_target(path)
        real = Path(os.path.realpath(path))
        draft = _new_draft(real.parent, real.suffix)
        try:
            yield draft
            _flush_to_disk(draft)
            _keep_permissions(path, draft)
            os.replace(draft, real)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise
        if os.name == "posix":
            with suppress(OSError):  # some file systems flush no folders
                _flush_to_disk(draft.parent)


def write_text(path: str | Path, text: str) -> None:
    """Write a :func:`printable` text as UTF-8, atomically.

    Raises:
        ValueError: if the path is a folder.
        WriteError: if the system refuses.
    """
    write_bytes(path, printable(text).encode())


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write bytes atomically; raises as :func:`write_text` does."""
    with atomic_write(path) as draft:
        draft.write_bytes(content)


def make_folder(path: str | Path) -> None:
    """Make a folder and its parents, if they do not exist.

    Raises:
        WriteError: if the system refuses, or the path is a file.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise WriteError(f"cannot make the folder {str(path)!r}: there is a file of that name") from None
    except OSError as error:
        raise WriteError(f"cannot make the folder {str(path)!r}: {_reason(error)}") from error


def check_folder(path: str | Path) -> None:
    """Check that files can be written in a folder, which is made if it does not exist.

    Raises:
        WriteError: if they cannot.
    """
    make_folder(path)
    try:
        _try_writing(Path(path))
    except OSError as error:
        raise WriteError(f"cannot write to the folder {str(path)!r}: {_reason(error)}") from error


def printable(text: str) -> str:
    r"""Make a text valid UTF-8: bytes of a file name that are not UTF-8 become ``\udc..``.

    >>> print(printable("caf" + chr(0xDCE9)))
    caf\udce9
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def _os_errors_as_write_errors(path: Path) -> Iterator[None]:
    """Turn OSErrors into WriteErrors that name the file."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        parent = Path(os.path.realpath(path)).parent
        missing = error.errno == errno.ENOENT and not parent.is_dir()
        reason = f"there is no folder {str(path.parent)!r}" if missing else _reason(error)
        raise WriteError(f"cannot write {str(path)!r}: {reason}") from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _is_stream(path: Path) -> bool:
    """Whether a path is a pipe or a device, which cannot be replaced."""
    if os.path.abspath(path).startswith(_STREAMS):
        return True
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def _check_target(path: Path) -> None:
    """Raise an OSError for a file that cannot be replaced."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not mode & 0o222:  # root could write it, but should respect the owner's wish
        raise PermissionError(errno.EACCES, "the file is read-only")
    with path.open("r+b"):  # fails if another program has locked it
        pass


def _new_draft(folder: Path, ending: str = "") -> Path:
    ending = ending if len(ending) < 20 else ""  # some writers choose the format by it
    draft = folder / f".{secrets.token_hex(6)}.tmp{ending}"
    # `tempfile` would make a file that only its owner may read.
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return draft


def _try_writing(folder: Path) -> None:
    draft = _new_draft(folder)
    try:
        draft.write_bytes(bytes(4096))  # on a full disk an empty file can be created, but not content
    finally:
        draft.unlink()


def _keep_permissions(path: Path, draft: Path) -> None:
    with suppress(FileNotFoundError):
        old = path.stat()
        os.chmod(draft, stat.S_IMODE(old.st_mode))
        if os.name == "posix" and old.st_uid != os.geteuid():
            with suppress(OSError):
                os.chown(draft, old.st_uid, old.st_gid)


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _file_identity(path: str | Path) -> tuple[int, int] | None:
    """Device and inode of a file, equal for all its names; ``None`` if it does not exist."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
