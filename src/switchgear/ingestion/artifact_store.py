"""Keeps documents and large outputs on disk under the digest of their bytes. Source: DESIGN 5, RELIABILITY I12.

A file is written beside its place, synced, renamed, and its folder synced: after a power cut it is there whole or not
at all. Files are read-only and never changed. The name that a sender gave is never part of a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

from switchgear.core.database import ReadOnly
from switchgear.domain.errors import Code, DomainError, NotFound
from switchgear.ingestion.durable_files import disk_errors, sync_folder, try_out
from switchgear.sdk.values import Blob

#: Bytes that are collected before a thread writes them.
_CHUNK: Final = 1 << 20
#: A file of at most so many bytes is read without a thread.
_SMALL: Final = 1 << 16
_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")
_TEMPORARY: Final = "tmp"


class TooLarge(DomainError):
    """More bytes than allowed; nothing was kept."""

    code = Code.REQUEST_TOO_LARGE


class DiskLow(DomainError):
    """Less space is free than must stay free; nothing was kept."""

    code = Code.SYSTEM_DISK_LOW


@dataclass(frozen=True, slots=True)
class Stored:
    """A kept file: hexadecimal SHA-256, length in bytes, and where it stands."""

    sha256: str
    size_bytes: int
    path: Path


class Adopted(StrEnum):
    """What became of a file that was to be copied from another store."""

    COPIED = "copied"
    KNOWN = "known"  #: it was there
    MISSING = "missing"  #: the other store does not have it
    DAMAGED = "damaged"  #: its bytes there are not those that were stored; nothing was kept


class ArtifactStore:
    """A folder of files by digest: `ab/cd/<sha256>`.

    Args:
        folder: Its root.
        min_free_bytes: What must stay free on the disk; below it `put` refuses new documents.
        free_bytes: Says how many bytes are free; for tests.
    """

    def __init__(
        self, folder: Path, *, min_free_bytes: int = 0, free_bytes: Callable[[Path], int] | None = None
    ) -> None:
        self.folder = folder
        self.syncs_each = True  #: whoever sets it to False syncs all files in the end
        self._min_free_bytes = min_free_bytes
        self._durable: set[Path] = set()  #: folders whose names are known to survive a power cut
        self._free_bytes = free_bytes or (lambda path: shutil.disk_usage(path).free)

    async def start(self) -> None:
        """Make the folders, and see that files can be kept in them.

        Raises:
            ReadOnly: They cannot; the sentence says why.
        """
        await asyncio.to_thread(self._make)

    def _make(self) -> None:
        temporary = self.folder / _TEMPORARY
        try:
            temporary.mkdir(parents=True, exist_ok=True, mode=0o700)
            try_out(temporary, self.folder)
        except OSError as error:
            raise ReadOnly(
                f"The folder of documents {self.folder} cannot be used: {error.strerror}. Let this user write there, "
                "on one file system that renames and syncs files, or let ARTIFACTS_DIR name another folder."
            ) from error

    def free_bytes(self) -> int:
        """Bytes that are free on the store's disk."""
        return self._free_bytes(self.folder)

    @property
    def is_low(self) -> bool:
        """Whether new documents are refused until space is freed."""
        return self.free_bytes() < self._min_free_bytes

    # --- keeping ---

    async def put(self, stream: AsyncIterator[bytes], *, max_bytes: int) -> Stored:
        """Keep a new document durably; when this returns it survives a power cut.

        Raises:
            TooLarge: The stream has more than *max_bytes* bytes.
            DiskLow: Too little space is free.
            DiskFull: There was no room left.
            ReadOnly: The folder cannot be written.
        """
        if await asyncio.to_thread(lambda: self.is_low):
            raise DiskLow(
                f"Less than {self._min_free_bytes} bytes are free, so no document is taken. "
                "Free some space on the disk of HOME, or lower MIN_FREE_BYTES.",
                free_bytes=self.free_bytes(),
            )
        writer = _Writer(self.folder, self._durable, syncs=self.syncs_each)
        try:
            async for chunk in _collected(stream):
                if writer.size_bytes + len(chunk) > max_bytes:
                    raise TooLarge(f"The document is larger than {max_bytes} bytes.", max_bytes=max_bytes)
                await asyncio.to_thread(writer.write, chunk)
            return await asyncio.to_thread(writer.finish)
        finally:
            writer.discard()

    async def put_bytes(self, data: bytes) -> Stored:
        """Keep a large output; running work may still write when little space is free. Raises as `put`."""
        return await asyncio.to_thread(self._put_all, data)

    def _put_all(self, data: bytes) -> Stored:
        writer = _Writer(self.folder, self._durable, syncs=self.syncs_each)
        try:
            writer.write(data)
            return writer.finish()
        finally:
            writer.discard()

    def put_file(self, path: Path, media_type: str) -> Blob:
        """Keep a copy of a module's file; blocks, so call it in a thread. Raises as `put`."""
        writer = _Writer(self.folder, self._durable, syncs=self.syncs_each)
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    writer.write(chunk)
            stored = writer.finish()
        finally:
            writer.discard()
        return Blob(sha256=stored.sha256, size_bytes=stored.size_bytes, media_type=media_type, file_name=path.name)

    def adopt(self, sha256: str, other: ArtifactStore) -> Adopted:
        """Keep a copy of another store's file, never a link to it; blocks, so call it in a thread.

        Raises:
            DiskFull: There was no room left.
            ReadOnly: The folder cannot be written.
        """
        if self.path(sha256).exists():
            return Adopted.KNOWN
        writer = _Writer(self.folder, self._durable, syncs=self.syncs_each)
        try:
            with other.open(sha256) as file:
                while chunk := file.read(_CHUNK):
                    writer.write(chunk)
            if writer.sha256 != sha256:
                return Adopted.DAMAGED
            writer.finish()
        except NotFound:
            return Adopted.MISSING
        finally:
            writer.discard()
        return Adopted.COPIED

    # --- reading ---

    def path(self, sha256: str) -> Path:
        """Where the file with this digest stands, whether or not it is there.

        Raises:
            NotFound: That is no digest.
        """
        if not _DIGEST.match(sha256):
            raise NotFound("That is no SHA-256 digest.")
        return _place(self.folder, sha256)

    def open(self, sha256: str) -> BufferedReader:
        """Open it for reading.

        Raises:
            NotFound: It is not there.
        """
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError:
            raise NotFound(f"The file {sha256} is missing from the store.", sha256=sha256) from None

    async def read(self, sha256: str) -> bytes:
        """Read it whole, and check that it is what was stored.

        Raises:
            NotFound: It is not there.
            CorruptArtifact: Its bytes are other ones.
        """

        def read() -> bytes:
            with self.open(sha256) as file:
                data = file.read()
            if hashlib.sha256(data).hexdigest() != sha256:
                raise CorruptArtifact(f"The stored file {sha256} has been changed or damaged.", sha256=sha256)
            return data

        return await asyncio.to_thread(read)

    async def verify(self, sha256: str, size_bytes: int | None = None) -> bool:
        """Whether the file is there and its bytes are those that were stored.

        Args:
            sha256: Its digest.
            size_bytes: Its length, when it is known: a small file is read at once, which takes less than a thread does.
        """

        try:
            if size_bytes is None or size_bytes > _SMALL:
                return await asyncio.to_thread(self._verify, sha256)
            descriptor = os.open(self.path(sha256), os.O_RDONLY | os.O_CLOEXEC)
            try:
                return hashlib.sha256(os.read(descriptor, size_bytes + 1)).hexdigest() == sha256
            finally:
                os.close(descriptor)
        except (NotFound, OSError):
            return False

    def _verify(self, sha256: str) -> bool:
        with self.open(sha256) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256

    def size_of(self, sha256: str) -> int:
        """Length in bytes; 0 when it is not there; blocks."""
        with contextlib.suppress(FileNotFoundError):
            return self.path(sha256).stat().st_size
        return 0

    def text_of(self, sha256: str) -> str:
        """The text of a kept output, unchecked, to look for something in it; blocks. Raises as `open`."""
        with self.open(sha256) as file:
            return file.read().decode(errors="replace")

    # --- removing ---

    def older_than(self, age_s: float) -> Iterator[list[str]]:
        """Yield digests of files that were kept longer ago, a few folders at a time; blocks."""
        until = time.time() - age_s
        for folder in sorted(self.folder.glob("[0-9a-f][0-9a-f]")):
            found = []
            for path in folder.glob("[0-9a-f][0-9a-f]/*"):
                with contextlib.suppress(FileNotFoundError):
                    if _DIGEST.match(path.name) and path.stat().st_mtime < until:
                        found.append(path.name)
            if found:
                yield found

    def drop(self, sha256: str, age_s: float) -> int:
        """Remove a file that no row names, and return its length; blocks.

        One that was kept less than *age_s* seconds ago stays, and 0 is returned: whoever sends the same bytes again has
        them in place before a row names them. So that none comes in between, it is taken aside and looked at then.
        """
        place, aside = self.path(sha256), self.folder / _TEMPORARY / sha256
        try:
            if time.time() - place.stat().st_mtime < age_s:
                return 0
            place.rename(aside)
        except FileNotFoundError:
            return 0
        found = aside.stat()
        if time.time() - found.st_mtime < age_s:
            aside.rename(place)
            return 0
        aside.unlink()
        return found.st_size

    async def sweep_temporary(self, max_age_s: float = 3600.0) -> int:
        """Remove what interrupted uploads left behind; returns how many files."""
        return await asyncio.to_thread(self._sweep, max_age_s)

    def _sweep(self, max_age_s: float) -> int:
        removed = 0
        for path in (self.folder / _TEMPORARY).glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if _DIGEST.match(path.name) and not self.path(path.name).exists():
                    path.rename(self.path(path.name))  # whoever took it aside was killed before it was looked at
                elif time.time() - path.stat().st_mtime >= max_age_s:
                    path.unlink()
                    removed += 1
        return removed


class CorruptArtifact(DomainError):
    """A stored file is not what was stored."""

    code = Code.PARKED_CORRUPT_ARTIFACT


def _place(folder: Path, sha256: str) -> Path:
    return folder / f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


async def _collected(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join small chunks, so that a small document costs one write."""
    waiting = bytearray()
    async for chunk in stream:
        waiting += chunk
        if len(waiting) >= _CHUNK:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


class _Writer:
    """One file on its way into the store; every method blocks."""

    def __init__(self, folder: Path, durable: set[Path], *, syncs: bool) -> None:
        self._folder = folder
        self._syncs = syncs
        self._durable = durable
        self._temporary = folder / _TEMPORARY / os.urandom(16).hex()
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, chunk: bytes) -> None:
        with disk_errors():
            if self._file is None:
                self._file = self._temporary.open("xb")
            self._file.write(chunk)
        self._digest.update(chunk)
        self.size_bytes += len(chunk)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def finish(self) -> Stored:
        sha256 = self.sha256
        place = _place(self._folder, sha256)
        with disk_errors():
            if self._file is None:
                self._file = self._temporary.open("xb")
            self._file.flush()
            os.fchmod(self._file.fileno(), 0o400)
            if self._syncs:
                os.fsync(self._file.fileno())
            self._file.close()
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._temporary.replace(place)
            if self._syncs:
                self._sync_names(place)
        return Stored(sha256, self.size_bytes, place)

    def _sync_names(self, place: Path) -> None:
        sync_folder(place.parent)
        for folder in (place.parent, place.parent.parent):  # whoever made it may not have synced it yet
            if folder not in self._durable:
                sync_folder(folder.parent)
                self._durable.add(folder)

    def discard(self) -> None:
        """Remove what is left of it; nothing after `finish`."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # on a full disk what is buffered fails a second time; it is not wanted
                self._file.close()
            self._temporary.unlink(missing_ok=True)
