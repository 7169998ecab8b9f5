"""Which files `ingest` sends for the paths that it is given, and what it leaves out of folders, with the reason."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from switchgear.interface.cli.errors import WrongUse
from switchgear.interface.cli.output import printable

_MOST_NAMED: Final = 3


class LeftOut(Enum):
    """Why something in a folder is not sent: what one is called, and what many are."""

    HIDDEN_FILE = ("hidden file", "hidden files")
    HIDDEN_FOLDER = ("hidden folder", "hidden folders")
    LINKED_FOLDER = ("linked folder", "linked folders")
    BROKEN_LINK = ("link that leads nowhere", "links that lead nowhere")
    SPECIAL = ("pipe, socket or device", "pipes, sockets or devices")


#: They are sent when they are named themselves.
_SENT_BY_NAME: Final = (LeftOut.HIDDEN_FILE, LeftOut.HIDDEN_FOLDER, LeftOut.LINKED_FOLDER)


@dataclass(slots=True)
class DocumentFiles:
    """What was found.

    Attributes:
        files: What is sent, in order.
        unreadable: Folders that could not be read, and why: nobody knows what is in them.
    """

    files: list[Path] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    _passed: dict[LeftOut, list[Path]] = field(default_factory=dict)

    @property
    def left_out(self) -> list[tuple[LeftOut, list[Path]]]:
        """What is not sent, by kind; each in order."""
        return [(kind, sorted(self._passed[kind])) for kind in LeftOut if kind in self._passed]

    def leave_out(self, kind: LeftOut, path: Path) -> None:
        """Keep that *path* is not sent."""
        self._passed.setdefault(kind, []).append(path)

    def sentences(self) -> Iterator[str]:
        """Say what is not sent, first what can be sent all the same."""
        by_name = [_counted(*item) for item in self.left_out if item[0] in _SENT_BY_NAME]
        never = [_counted(*item) for item in self.left_out if item[0] not in _SENT_BY_NAME]
        if by_name:
            yield f"Left out: {', '.join(by_name)}. Name what is hidden or linked itself to send it."
        if never:
            yield f"Left out: {', '.join(never)}."


def _counted(kind: LeftOut, paths: list[Path]) -> str:
    named = ", ".join(printable(path) for path in paths[:_MOST_NAMED])
    more = ", ..." if len(paths) > _MOST_NAMED else ""
    return f"{len(paths)} {kind.value[0 if len(paths) == 1 else 1]} ({named}{more})"


def find_documents(paths: Iterable[Path]) -> DocumentFiles:
    """Find the files at *paths*: each file that is named, and what is in folders, in the order of their names.

    Hidden files are left out of folders, as other tools do: they are notes of editors, versions, what a system keeps
    for itself. So are folders that are links, which may lead back up.

    Raises:
        WrongUse: A path does not exist, or is a device, a pipe or the like.
    """
    found = DocumentFiles()
    for path in paths:
        if path.is_dir():
            below: list[Path] = []
            _look_into(path, below, found)
            found.files += sorted(below)
        elif path.is_file():
            found.files.append(path)
        elif path.exists():
            raise WrongUse(f"{path} is neither a file nor a folder.")
        else:
            raise WrongUse(f"{path} does not exist.")
    return found


def _look_into(top: Path, files: list[Path], found: DocumentFiles) -> None:
    folders = [top]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            found.unreadable.append((folder, error.strerror or str(error)))
            continue
        for entry in entries:
            path, is_folder = folder / entry.name, entry.is_dir(follow_symlinks=False)
            kind = _left_out(entry, path, is_folder=is_folder)
            if kind is not None:
                found.leave_out(kind, path)
            else:
                (folders if is_folder else files).append(path)


def _left_out(entry: os.DirEntry[str], path: Path, *, is_folder: bool) -> LeftOut | None:
    """Why an entry of a folder is not sent; None when it is."""
    if entry.name.startswith("."):
        return LeftOut.HIDDEN_FOLDER if is_folder else LeftOut.HIDDEN_FILE
    try:
        if is_folder or path.is_file():
            return None
        if path.is_dir():
            return LeftOut.LINKED_FOLDER
        return LeftOut.SPECIAL if path.exists() else LeftOut.BROKEN_LINK
    except OSError:
        return None  # a link to where nobody may look: sending it fails with the reason
