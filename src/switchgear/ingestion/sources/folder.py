"""Takes documents from a folder: what has been still for two seconds is accepted, then moved. Source: INTERFACES 3.

A file is moved only after it was accepted; when the process dies in between, it is taken again, and the same bytes are
the same document. A file that is refused for good goes to the folder of failures with the reason beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import os
import shutil
import stat
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName
from switchgear.domain.access import Actor
from switchgear.domain.errors import Code, DatabaseUnreachable, DomainError, InvalidRequest, Why
from switchgear.ingestion.artifact_store import TooLarge
from switchgear.ingestion.backpressure import TooManyWaiting
from switchgear.ingestion.intake import Intake
from switchgear.ingestion.run_repository.records import AcceptedDocument

#: A file whose size and time have not changed for so long is complete, in seconds.
STABLE_S: Final = 2.0
_CHUNK: Final = 1 << 20
_MOST_AT_ONCE: Final = 100
#: A file that could not be read or moved is tried again when it changes, and after so long, in seconds.
_LEFT_S: Final = 60.0
_MOST_NAMED: Final = 5
#: Suffixes of files that other programs are still writing.
UNFINISHED: Final = (".part", ".tmp", ".crdownload", ".filepart")

log = get_logger()


class FileLeft(DomainError):
    """A file cannot be read or moved, or is none: it stays where it is, and the others go on."""

    code = Code.SYSTEM_SOURCE_UNREADABLE


@dataclass(frozen=True, slots=True)
class Taken:
    """A file that was looked at: accepted, refused for good with a reason, or left where it is (`FileLeft`)."""

    path: Path
    accepted: AcceptedDocument | None
    refusal: DomainError | None = None


@dataclass(slots=True)
class _Seen:
    size: int
    changed_ns: int
    status_ns: int  #: also changes with owner and mode
    mode: int
    since_s: float


@dataclass(slots=True)
class _Left:
    why: FileLeft
    seen: _Seen
    again_s: float


class FolderSource:
    """One folder that is watched.

    Args:
        intake: Where documents go.
        by: In whose name.
        path: The folder.
        done: Where accepted files are moved; None = `done` below the folder.
        failed: Where refused files are moved; None = `failed` below the folder.
        monotonic: Seconds; for tests.
        again: Whether known bytes get a new run.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        by: Actor,
        path: Path,
        done: Path | None = None,
        failed: Path | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        again: bool = False,
    ) -> None:
        self._intake = intake
        self._by = by
        self.path = path
        self.done = done or path / "done"
        self.failed = failed or path / "failed"
        self._monotonic = monotonic
        self._again = again
        self._seen: dict[Path, _Seen] = {}
        self._left: dict[Path, _Left] = {}
        self.trouble: Why | None = None  #: why nothing can be taken at all, as `follow` saw it last

    async def follow(self) -> None:
        """Look once, and remember when the folder cannot be read; that is logged when it begins.

        Raises:
            DatabaseUnreachable: Try again later.
        """
        try:
            await self.look()
        except OSError as error:
            known, self.trouble = self.trouble, self._unreadable(error)
            if known != self.trouble:
                log.warning(EventName.FOLDER_UNREADABLE, folder=str(self.path), summary=self.trouble.summary)
        else:
            self.trouble = None

    def _unreadable(self, error: OSError) -> Why:
        reason = f"The folder {self.path}, a source of documents, cannot be read: {error.strerror}."
        return Why(Code.SYSTEM_SOURCE_UNREADABLE, f"{reason} Make or mount it, or take it out of switchgear.toml.")

    def left(self) -> list[str]:
        """Sentences about what stays because it cannot be read or moved, or is no file; a few, and how many more."""
        found = [item.why.message for item in self._left.values()]
        more = len(found) - _MOST_NAMED
        return [*found[:_MOST_NAMED], *([f"{more} more files stay in {self.path}."] if more > 0 else [])]

    async def is_empty(self) -> bool:
        """Whether nothing is there that will still be taken."""
        return not (await asyncio.to_thread(self._present)).keys() - self._left.keys()

    async def look(self) -> Sequence[Taken]:
        """Look once: take what is complete. Call it about once a second.

        Nothing is taken while the disk is low, the queue full or the database away: files stay where they are.

        Raises:
            OSError: The folder cannot be read.
            DatabaseUnreachable: Try again later.
        """
        complete = await asyncio.to_thread(self._complete)
        taken: list[Taken] = []
        for path in complete:
            if await asyncio.to_thread(lambda: self._intake.is_paused):
                break
            try:
                result = await self._take(path)
            except FileLeft as reason:
                result = self._leave(path, reason)
            except TooManyWaiting:
                break  # the files stay and are met again
            except (DatabaseUnreachable, OSError):
                if not taken:
                    raise
                break  # the next look meets it again; what was taken is told now
            if result is not None:
                taken.append(result)
        return taken

    def _leave(self, path: Path, reason: FileLeft) -> Taken | None:
        """Remember a file that cannot be taken; it is named once, and again when it has changed."""
        known, seen = self._left.get(path), self._seen[path]
        self._left[path] = _Left(reason, seen, self._monotonic() + _LEFT_S)
        if known is not None and known.seen == seen:
            return None
        log.warning(EventName.FILE_LEFT, folder=str(self.path), code=str(reason.code), reason=reason.message)
        return Taken(path, None, reason)

    def _complete(self) -> list[Path]:
        """Files that have not changed since they were first seen like this, oldest first."""
        now = self._monotonic()
        self._seen = seen = self._present()
        self._left = {path: item for path, item in self._left.items() if path in seen}
        still = [path for path, item in seen.items() if now - item.since_s >= STABLE_S and not self._stays(path, now)]
        return sorted(still, key=lambda path: (seen[path].changed_ns, path.name))[:_MOST_AT_ONCE]

    def _stays(self, path: Path, now: float) -> bool:
        left = self._left.get(path)
        return left is not None and left.seen == self._seen[path] and now < left.again_s

    def _present(self) -> dict[Path, _Seen]:
        """Files that are there, and since when each has been as it is."""
        now = self._monotonic()
        seen: dict[Path, _Seen] = {}
        for entry in os.scandir(self.path):
            if entry.name.startswith(".") or entry.name.lower().endswith(UNFINISHED):
                continue
            with contextlib.suppress(FileNotFoundError):
                info, path = entry.stat(follow_symlinks=False), Path(entry.path)
                if not stat.S_ISREG(info.st_mode) and _is_folder(path):
                    continue
                before = self._seen.get(path)
                fresh = _Seen(info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_mode, now)
                is_same = before is not None and replace(fresh, since_s=before.since_s) == before
                seen[path] = before if before and is_same else fresh
        return seen

    async def _take(self, path: Path) -> Taken | None:
        _need_file(path, self._seen[path].mode)
        try:
            accepted = await self._intake.accept(
                _read(path),
                file_name=path.name,
                media_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
                by=self._by,
                again=self._again,
            )
        except (InvalidRequest, TooLarge) as refusal:
            await asyncio.to_thread(self._move_failed, path, refusal)
            log.warning(EventName.FILE_REFUSED, folder=str(self.path), code=str(refusal.code), reason=refusal.message)
            return Taken(path, None, refusal)
        except FileNotFoundError:
            return None  # somebody took it away
        await asyncio.to_thread(self._put, path, self.done)
        self._forget(path)
        log.info(
            EventName.FILE_TAKEN,
            folder=str(self.path),
            document_id=accepted.document.id,
            run_id=accepted.run.id,
            duplicate=accepted.duplicate,
        )
        return Taken(path, accepted)

    def _move_failed(self, path: Path, refusal: DomainError) -> None:
        moved = self._put(path, self.failed)
        self._forget(path)
        if moved is not None:
            with contextlib.suppress(OSError):
                moved.with_name(f"{moved.name}.why.txt").write_text(f"{refusal.code}: {refusal.message}\n")

    def _forget(self, path: Path) -> None:
        self._seen.pop(path, None)
        self._left.pop(path, None)

    @staticmethod
    def _put(path: Path, folder: Path) -> Path | None:
        """Move a file as `_move` does; raises `FileLeft` when that cannot be done."""
        try:
            return _move(path, folder)
        except OSError as error:
            raise FileLeft(
                f"{path} was looked at and cannot be moved to {folder}: {error.strerror or error}. It stays."
            ) from error


def _is_folder(path: Path) -> bool:
    """Whether it is a folder, or a link to one."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _need_file(path: Path, mode: int) -> None:
    """Refuse what only looks like a file, once and with the reason; raises `FileLeft`."""
    if stat.S_ISLNK(mode):
        raise FileLeft(f"{path} is a link, and links are not followed. It stays; put the file itself there.")
    if not stat.S_ISREG(mode):
        raise FileLeft(f"{path} is no file but a pipe, a socket or a device. It stays.")


async def _read(path: Path) -> AsyncIterator[bytes]:
    """The file's bytes; a link is not followed. Raises `FileLeft`, and `FileNotFoundError` when it is gone."""
    try:
        number = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unread(path, error) from error
    with os.fdopen(number, "rb") as file:
        while chunk := await asyncio.to_thread(_chunk, path, file):
            yield chunk


def _chunk(path: Path, file: IO[bytes]) -> bytes:
    try:
        return file.read(_CHUNK)
    except OSError as error:
        raise _unread(path, error) from error


def _unread(path: Path, error: OSError) -> FileLeft:
    return FileLeft(f"{path} cannot be read: {error.strerror}. It stays; the other files of the folder go on.")


def _move(path: Path, folder: Path) -> Path | None:
    """Move a file, never over another one; returns where it is now, None when it is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(10_000):
        name = path.name if number == 0 else f"{path.stem}-{number}{path.suffix}"
        target = folder / name
        try:
            os.link(path, target, follow_symlinks=False)
        except FileExistsError:
            continue
        except FileNotFoundError:
            return None
        except OSError:  # another disk, or one without links
            if target.exists():
                continue
            path.rename(target) if folder.stat().st_dev == path.parent.stat().st_dev else _copy(path, target)
            return target
        path.unlink()
        return target
    raise FileExistsError(f"{folder} has ten thousand files named like {path.name}")


def _copy(path: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.part")
    shutil.copy2(path, temporary)
    temporary.rename(target)
    path.unlink()
