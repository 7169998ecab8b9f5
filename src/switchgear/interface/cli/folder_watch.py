"""`watch DIR`: the folder source of the server, with the API in the place of its intake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from switchgear.core.logging import configure_logging
from switchgear.domain.access import SYSTEM, Actor
from switchgear.domain.errors import InvalidRequest
from switchgear.ingestion.sources.folder import FolderSource, Taken
from switchgear.interface.cli.client import Api
from switchgear.interface.cli.errors import ProblemAnswer

if TYPE_CHECKING:
    from switchgear.ingestion.intake import Intake

#: Pause between two looks, in seconds.
LOOK_S: Final = 1.0
#: Answers that stay the same however often the document is sent; after any other the file is tried again.
_FINAL: Final = frozenset({400, 413, 415, 422})


class _RestIntake:
    """Takes documents like the server's intake, and sends them there."""

    is_paused = False

    def __init__(self, api: Api) -> None:
        self._api = api

    async def accept(
        self, stream: AsyncIterator[bytes], *, file_name: str, media_type: str, by: Actor, again: bool = False
    ) -> Any:
        """Send one document; a refusal that is final becomes `InvalidRequest`."""
        try:
            answer = await self._api.send_document(stream, file_name, again=again)
        except ProblemAnswer as refused:
            if refused.status in _FINAL:
                raise InvalidRequest(refused.message) from refused
            raise
        return SimpleNamespace(
            document=SimpleNamespace(id=answer["document"]["id"]),
            run=SimpleNamespace(id=answer["run"]["id"]),
            duplicate=bool(answer.get("duplicate_of")),
        )


class FolderWatch:
    """One folder, looked at again and again."""

    def __init__(self, api: Api, folder: Path, done: Path | None, failed: Path | None) -> None:
        configure_logging(level="error")
        self._api = api
        self._source = FolderSource(cast("Intake", _RestIntake(api)), by=SYSTEM, path=folder, done=done, failed=failed)
        self.done = self._source.done
        self.failed = self._source.failed

    def look(self) -> list[Taken]:
        """Take what is complete.

        Raises:
            CommandFailed: The server does not take documents now; the files stay.
        """
        return list(self._api.run(self._source.look()))

    def is_empty(self) -> bool:
        """Whether no file is left to be taken; links and what cannot be read never are."""
        return self._api.run(self._source.is_empty())
