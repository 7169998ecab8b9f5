"""Listens to one module's processes: answers, log events, saved files, printed text; keeps secrets out of all.

Source: DESIGN 5, invariant 10, RELIABILITY I23.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from switchgear.domain.run import AttemptResult, Outcome
from switchgear.ingestion.module_pool.pipe import Printed
from switchgear.ingestion.module_pool.redaction import LEAKING_FILE, LEAKING_OUTPUT, Redactor
from switchgear.ingestion.module_pool.values import Call, KeepArtifact, Surroundings
from switchgear.ingestion.module_pool.worker import WorkerProcess
from switchgear.sdk.host.frames import Frame
from switchgear.sdk.values import Blob


class Listener:
    """What all workers of one pool say goes through here."""

    def __init__(self, module_id: str, surroundings: Surroundings) -> None:
        self._module_id = module_id
        self._around = surroundings
        self.redactor = Redactor()

    async def next_answer(self, worker: WorkerProcess, call: Call | None) -> Frame | None:
        """Wait for the answer; serve what the module asks for meanwhile."""
        while (frame := await worker.pipe.receive()) is not None:
            if "log" in frame.header:
                fields = self.redactor.plain(frame.header.get("fields") or {})
                event = self.redactor.text(str(frame.header.get("event")))
                self.log(str(frame.header["log"]), event, call, fields=fields)
            elif "save" in frame.header:
                await worker.pipe.send(await self._save(worker, frame.header))
            else:
                return frame
        return None

    async def _save(self, worker: WorkerProcess, order: Mapping[str, Any]) -> dict[str, Any]:
        path = Path(str(order["save"]))
        keep = self._around.on_artifact
        if keep is None:
            return {"message": "this server keeps no artifacts"}
        try:
            loop = asyncio.get_running_loop()
            media_type = str(order.get("media_type"))
            blob = await loop.run_in_executor(None, self._keep_file, keep, worker.scratch, path, media_type)
        except OSError as error:
            return {"message": error.strerror or type(error).__name__}
        return {"blob": blob.model_dump(mode="json")}

    def _keep_file(self, keep: KeepArtifact, scratch: Path, path: Path, media_type: str) -> Blob:
        if not path.resolve().is_relative_to(scratch.resolve()) or not path.is_file():
            raise OSError(errno.EPERM, "the file is outside the scratch folder")
        if self.redactor.finds_in_file(path):
            raise OSError(errno.EPERM, LEAKING_FILE)
        return keep(path, media_type)

    def checked(self, result: AttemptResult) -> AttemptResult:
        """Keep resolved secrets out of what leaves the pool."""
        if isinstance(result.output, bytes) and self.redactor.finds_in(result.output):
            return AttemptResult(Outcome.CONTRACT_VIOLATION, "secret_in_output", LEAKING_OUTPUT)
        if result.message or result.facts:
            return replace(result, message=self.redactor.text(result.message), facts=self.redactor.plain(result.facts))
        return result

    def log(self, level: str, event: str, call: Call | None = None, **fields: Any) -> None:
        """Hand a record to the server's log."""
        who = {"run_id": call.run_id, "document_id": call.document_id} if call else {}
        self._around.on_log({"level": level, "event": event, "module": self._module_id, **who, **fields})

    def say_printed(self, printed: Printed, call: Call | None) -> None:
        """Log what the process printed since the last time."""
        text, was_cut = printed.take()
        if text:
            self.log("info", "module.printed", call, text=self.redactor.text(text), was_cut=was_cut)
