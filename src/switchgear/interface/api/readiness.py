"""Whether the server can take work now: each check on its own, each with the reason. Source: INTERFACES 2, I32."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from switchgear.domain.errors import Code, DatabaseUnreachable, NextAction, Why
from switchgear.interface.api.problems import code_of, said
from switchgear.interface.api.schemas.common import WhyView
from switchgear.interface.api.schemas.status import ReadinessCheck, ReadinessView
from switchgear.interface.api.services import Services
from switchgear.sdk.errors import SwitchgearError

Check = Callable[[Services], Awaitable[Why | None]]


async def readiness(app: Services, checks: Mapping[str, Check]) -> ReadinessView:
    """Run every check at once."""
    found = await asyncio.gather(*(check(app) for check in checks.values()))
    seen = [
        ReadinessCheck(name=name, ok=why is None, why=WhyView.of(why.as_json()) if why else None)
        for name, why in zip(checks, found, strict=True)
    ]
    return ReadinessView(ready=all(check.ok for check in seen), checks=seen)


async def _database(app: Services) -> Why | None:
    if app.trouble is not None:
        return Why(code_of(app.trouble), said(app.trouble))
    try:
        await app.database.ping()  # a fresh connection: an old session may outlive a dead server
    except SwitchgearError as error:
        return Why(code_of(error), said(error))
    return None


async def _storage(app: Services) -> Why | None:
    if (why := await app.artifact_folder.look()) is not None:
        return why
    for folder, what in ((app.settings.home, "home folder"), (app.settings.artifacts_dir, "folder of documents")):
        if (why := await asyncio.to_thread(_try_to_write, folder, what)) is not None:
            return why
    return None


def _try_to_write(folder: Path, what: str) -> Why | None:
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        action = NextAction(f"Make the {what} writable, or free some space", role="admin")
        return Why(Code.SYSTEM_READ_ONLY, f"The {what} cannot be written: {error.strerror}.", next_actions=[action])
    return None


async def _version(app: Services) -> Why | None:
    """A worker takes no runs of a version that it cannot load while another one can."""
    try:
        return None if app.trouble is not None or await app.loading.may_claim() else app.loading.refusal
    except DatabaseUnreachable:
        return None  # the check of the database says so


#: What a server needs to be ready.
CHECKS: Final[Mapping[str, Check]] = {"database": _database, "storage": _storage}
#: What a worker needs.
WORKER_CHECKS: Final[Mapping[str, Check]] = {**CHECKS, "version": _version}
