"""Checks before reading, and writes that either finish or leave nothing behind."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mediakit.errors import MediaError

StrPath = str | os.PathLike[str]

_ADVICE = {
    errno.ENOSPC: "Free some space or choose another disk; nothing was left behind.",
    errno.EDQUOT: "Your quota is used up: free some space or choose another disk; nothing was left behind.",
    errno.EFBIG: "The file system or a limit (`ulimit -f`) forbids so large a file; nothing was left behind.",
    errno.EACCES: "Choose a folder that you may write to, or change its permissions.",
    errno.EPERM: "Choose a folder that you may write to, or change its permissions.",
    errno.EROFS: "The disk is mounted read-only: choose another folder.",
    errno.ENOENT: "Create its folder first.",
    errno.ENOTDIR: "A part of its path is a file, not a folder.",
    errno.EISDIR: "Name a file inside it.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EINVAL: "Name an ordinary file.",
}


def check_readable(path: StrPath) -> Path:
    """Returns ``path`` as a `~pathlib.Path` if it is a file with content that may be read.

    Args:
        path: A file.

    Raises:
        MediaError: It does not exist, is a URL or a folder, may not be read, or has zero bytes.
    """
    name = os.fspath(path)
    if not name:
        raise MediaError('""', "the name of the file to read is empty", "Name a file.")
    path = Path(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise MediaError(path, "is a folder, not a file", "Name a file inside it.")
        if not stat.S_ISREG(mode):
            raise MediaError(path, "is a device or a pipe, not a file", "Save its content to a file first.")
        with path.open("rb") as file:
            if not file.read(1):
                raise MediaError(path, "is empty (zero bytes)", "The copy or download failed: fetch it again.")
    except FileNotFoundError as error:
        if re.match(r"[A-Za-z][\w+.-]+:/", name):
            raise MediaError(
                name, "is a URL, and URLs are not read", "Download it first, then name the file."
            ) from error
        raise MediaError(path, "does not exist", f"Check the spelling; the current folder is {Path.cwd()}.") from error
    except PermissionError as error:
        raise MediaError(path, "may not be read (permission denied)", "Change its permissions or its owner.") from error
    except OSError as error:
        raise MediaError(path, f"cannot be read ({error.strerror})") from error
    return path


def sha256(path: StrPath) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits; reads it in pieces, so its size does not matter.

    Raises:
        MediaError: As `check_readable`.
    """
    path = check_readable(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def cannot_write(path: StrPath, error: OSError) -> MediaError:
    """Says why ``path`` cannot be written and what to do about it."""
    reason = error.strerror or str(error)
    return MediaError(path, f"cannot be written ({reason})", _ADVICE.get(error.errno or 0, ""))


def destination(path: StrPath) -> tuple[Path, int | None]:
    """The file that writing to ``path`` replaces, and its permissions (None if it is not there yet).

    Raises:
        MediaError: ``path`` is empty or ``-``, or what is there can take no file's place: a folder, a device, a pipe.
    """
    name = os.fspath(path)
    if not name:
        raise MediaError('""', "the name of the file to write is empty", "Name a file.")
    if name == "-":
        raise MediaError(name, "standard output is not supported", "Name a file.")
    path = Path(path)
    try:
        target = path.resolve()  # a link stays a link; what it points to is replaced
        mode = path.stat().st_mode  # of what an open pipe's link points to, resolving gives no path
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a device or a pipe, which cannot be replaced")
    except FileNotFoundError:
        return target, None
    except OSError as error:
        raise cannot_write(path, error) from error
    return target, stat.S_IMODE(mode)


@contextmanager
def atomic_path(path: StrPath, *, suffix: str | None = None) -> Iterator[Path]:
    """Gives a temporary path to write to; the finished file takes the place of ``path`` in one step.

    The temporary file lies hidden in the same folder, so that the last step is a rename, and ends like ``path``, so
    that encoders guess the same format. If the block raises anything, the temporary file goes and an earlier file at
    ``path`` stays as it was. Permissions are those of the earlier file, else of any newly created one.

    Args:
        path: The file to write or replace.
        suffix: The ending of the temporary file, if not that of ``path``: ``".mp4"``.

    Yields:
        The path to write to (an empty file is there already).

    Raises:
        MediaError: The disk is full, the folder is missing or closed to us, ``path`` is a folder, and so on. Every
            `OSError` in the block counts as a failure to write ``path``.
    """
    target, mode = destination(path)
    path = Path(path)
    temporary: Path | None = None
    try:
        temporary = _create_beside(target, path.suffix if suffix is None else suffix)
        yield temporary
        if mode is not None:
            temporary.chmod(mode)
        os.replace(temporary, target)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def check_writable(path: StrPath) -> None:
    """Fails now where `atomic_path` would fail after hours of work; leaves no trace.

    Raises:
        MediaError: As `atomic_path`.
    """
    target, _ = destination(path)
    try:
        _create_beside(target, ".tmp").unlink()
    except OSError as error:
        raise cannot_write(path, error) from error


def _create_beside(target: Path, suffix: str) -> Path:
    """An empty hidden file of an unused name in the folder of ``target``."""
    name = target.with_name(f".{secrets.token_hex(8)}{suffix}")
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return name


def write_bytes(path: StrPath, data: bytes) -> None:
    """Writes ``data`` to ``path``, whole or not at all.

    Raises:
        MediaError: As `atomic_path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: StrPath, text: str) -> None:
    """Writes ``text`` to ``path`` in UTF-8, whole or not at all.

    Raises:
        MediaError: As `atomic_path`.
    """
    write_bytes(path, text.encode("utf-8"))


def read_text(path: Path) -> str:
    """Text of a file in UTF-8, or in UTF-16 with its byte-order mark, as spreadsheets write it.

    Raises:
        MediaError: The file cannot be read, is empty or is in another encoding; the message names the line.
    """
    data = check_readable(path).read_bytes()
    name = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "UTF-8"
    try:
        text = data.decode(name).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise MediaError(path, f"is not text in {name} (line {line})", "Save it as UTF-8.") from error
    if not text.strip():
        raise MediaError(path, "is empty", "Put the rows of the table there, or remove it.")
    return text
