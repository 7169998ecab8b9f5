"""Accepts documents: durable first, then recorded, then answered. Source: DESIGN 5, RELIABILITY I12, I16, I31."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName
from switchgear.domain.access import Actor, Role
from switchgear.domain.errors import InvalidRequest
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.run_repository.records import AcceptedDocument

#: Longest name that is kept, in bytes of UTF-8.
LONGEST_NAME: Final = 255
_LONGEST_SUFFIX: Final = 20
_NO_NAME: Final = "document"
_UNKNOWN_TYPE: Final = "application/octet-stream"
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\Z")

log = get_logger()


class EmptyDocument(InvalidRequest):
    """The document has no bytes."""


class AcceptedDocuments(Protocol):
    """What intake asks of the run repository."""

    async def accept(
        self,
        *,
        sha256: str,
        size_bytes: int,
        name: str,
        media_type: str,
        actor: str,
        parent_id: str | None = None,
        again: bool = False,
    ) -> AcceptedDocument:
        """Record a document and queue its run, in one transaction."""


class Intake:
    """Stores originals and queues their runs.

    Args:
        artifacts: Where the bytes go.
        documents: Where they are recorded.
        max_bytes: Largest document, in bytes.
        wake: Tells workers of this process that there is something to do.
        admit: Raises `TooManyWaiting` while the queue is full.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        documents: AcceptedDocuments,
        *,
        max_bytes: int,
        wake: Callable[[], None] = lambda: None,
        admit: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._artifacts = artifacts
        self._documents = documents
        self._max_bytes = max_bytes
        self._wake = wake
        self._admit = admit

    @property
    def is_paused(self) -> bool:
        """Whether the disk has too little room, so that documents are refused and folders left alone."""
        return self._artifacts.is_low

    async def accept(
        self, stream: AsyncIterator[bytes], *, file_name: str, media_type: str, by: Actor, again: bool = False
    ) -> AcceptedDocument:
        """Store a document and queue its run; what is accepted survives a power cut.

        The same bytes are one document, however often and at whatever time they arrive.

        Args:
            stream: The bytes.
            file_name: As the sender gave it.
            media_type: As the sender gave it; never trusted.
            by: The verified sender.
            again: Whether known bytes get a new run. A sender that reads only its own runs gets one of its own.

        Raises:
            EmptyDocument: There are no bytes.
            TooLarge: There are too many.
            DiskLow: Too little space is free.
            TooManyWaiting: The queue is full.
            DatabaseUnreachable: Nothing was recorded; the sender may try again.
        """
        if self._admit is not None:
            await self._admit()
        stored = await self._artifacts.put(_not_empty(stream), max_bytes=self._max_bytes)
        actor = by.token_id or by.name
        record = partial(
            self._documents.accept,
            sha256=stored.sha256,
            size_bytes=stored.size_bytes,
            name=shown_name(file_name),
            media_type=plain_media_type(media_type),
            actor=actor,
        )
        accepted = await record(again=again)
        if by.role is Role.INGEST and accepted.run.actor != actor:  # it must not be handed somebody else's run
            accepted = replace(await record(again=True), duplicate=False)
        self._wake()
        log.info(
            EventName.DOCUMENT_ACCEPTED,
            document_id=accepted.document.id,
            run_id=accepted.run.id,
            size_bytes=stored.size_bytes,
            duplicate=accepted.duplicate,
            again=again,
        )
        return accepted


async def _not_empty(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    is_empty = True
    async for chunk in stream:
        is_empty = is_empty and not chunk
        yield chunk
    if is_empty:
        raise EmptyDocument("The document is empty: it has 0 bytes. Send the file again.")


def shown_name(name: str) -> str:
    """The sender's name for a document as it can be shown: one line, no folders, no hidden direction marks.

    It is never used as a path. What remains is NFC and at most 255 bytes long; the suffix is kept.
    """
    last = unicodedata.normalize("NFC", name.replace("\\", "/")).rsplit("/", 1)[-1]
    visible = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in last)
    plain = " ".join(visible.split())
    if not plain.strip(". "):
        return _NO_NAME
    return plain if len(plain.encode()) <= LONGEST_NAME else _shortened(plain)


def _shortened(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    ending = dot + suffix if stem and len(suffix.encode()) <= _LONGEST_SUFFIX else ""
    kept = name[: len(name) - len(ending)].encode()[: LONGEST_NAME - len(ending.encode())]
    return kept.decode(errors="ignore") + ending


def plain_media_type(media_type: str) -> str:
    """The declared type without parameters; what is no media type becomes `application/octet-stream`."""
    plain = media_type.split(";", 1)[0].strip().lower()
    return plain if _MEDIA_TYPE.match(plain) else _UNKNOWN_TYPE
