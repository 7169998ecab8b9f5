"""Files that survive a power cut, and what a disk says when it cannot keep one. Everything here blocks. I12"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from switchgear.core.database import DiskFull, ReadOnly

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_LOCKED: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
#: A mount that went away.
_GONE: Final = frozenset({errno.ENOENT, errno.ESTALE, errno.ENOTCONN})
#: Local file systems of Linux, by their number in statfs(2), that keep every file once they are synced as a whole: ext,
#: XFS, Btrfs, F2FS, tmpfs, overlay. FUSE and SMB do not pass it on to where the bytes are.
_SYNCED_WHOLE: Final = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994, 0x794C7630})
_STATFS_BYTES: Final = 256  #: more than the structure has


def sync_folder(folder: Path) -> None:
    """Let the names in *folder* survive a power cut."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def replace_durably(path: Path, text: str) -> None:
    """Write *path* whole or not at all, for its owner only; it survives a power cut when this returns."""
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def try_out(temporary: Path, folder: Path) -> None:
    """Do with a file what keeping one needs: write and sync it in *temporary*, rename it over another in *folder*.

    Raises:
        OSError: The file system refuses one of these.
    """
    name = f".trial-{os.urandom(8).hex()}"
    source, target = temporary / name, folder / name
    try:
        for text in ("first", "second"):
            replace_durably(source, text)
            source.replace(target)
            sync_folder(folder)
        if target.read_text() != "second":
            raise OSError(errno.EIO, "a file does not hold what was written last")
    finally:
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)


class WholeSync:
    """One sync for everything that is written below a folder while this is open: a sync for each file takes longer.

    Open it before the first file: the kernel tells of each write that fails from then on, and of none before.

    Attributes:
        is_possible: Whether it can be relied on here; else each file has to be synced by itself.
    """

    def __init__(self, folder: Path) -> None:
        self._number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.is_possible = hasattr(self._libc, "syncfs") and self._kind() in _SYNCED_WHOLE

    def _kind(self) -> int | None:
        buffer = ctypes.create_string_buffer(_STATFS_BYTES)
        if self._libc.fstatfs(self._number, buffer) != 0:
            return None
        return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF  # the first member

    def sync(self) -> None:
        """Return when everything is on the disk.

        Raises:
            OSError: Something could not be written.
        """
        if self.is_possible and self._libc.syncfs(self._number) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def close(self) -> None:
        """End it."""
        os.close(self._number)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn what the disk says into what callers act on.

    Raises:
        DiskFull: There is no room left.
        ReadOnly: The folder cannot be written, or is not there any more.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull("The disk is full; nothing was kept. Free some space and try again.") from error
        if error.errno in _LOCKED:
            raise ReadOnly("The folder of documents cannot be written. Make it writable and try again.") from error
        if error.errno in _GONE:
            raise ReadOnly("The folder of documents is not there. Mount it again and try again.") from error
        raise
