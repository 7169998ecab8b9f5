"""Module processes and a registry that do what a test says."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from switchgear.core.breaker_service import Admission
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.domain.stage import Lack, ModuleDescription, PipelineDescription, Snapshot
from switchgear.ingestion.module_pool import Call, ModulePools, ModuleUse
from switchgear.sdk import Limits


class FakePools:
    """Answers with what a test prepared for each module, in order; the last answer stays.

    An answer is a result, an exception to raise, or a function that gets the call and returns either.
    """

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = {name.replace("_", "-"): deque(given) for name, given in answers.items()}
        self.calls: list[tuple[str, Call]] = []
        self.lacks: dict[str, Lack] = {}
        self.warmed: list[str] = []
        self.kept: list[str] = []
        self.gate: asyncio.Event | None = None  #: what `warm` waits for

    async def call(self, use: ModuleUse, call: Call) -> AttemptResult:
        self.calls.append((use.module_id, call))
        prepared = self.answers[use.module_id]
        answer = prepared.popleft() if len(prepared) > 1 else prepared[0]
        if isinstance(answer, Callable):  # type: ignore[arg-type]
            answer = await answer(call)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, AttemptResult)
        return answer

    async def warm(self, use: ModuleUse) -> Lack | None:
        self.warmed.append(use.module_id)
        if self.gate is not None:
            await self.gate.wait()
        return self.lacks.get(use.module_id)

    async def keep(self, uses: Any) -> None:
        self.kept = sorted(use.module_id for use in uses)

    def called(self) -> list[str]:
        """Which modules were called, in order."""
        return [name for name, _ in self.calls]


class FakeBreakers:
    """Lets every call pass, but for the modules in `lacks`; remembers how calls ended."""

    def __init__(self) -> None:
        self.lacks: dict[str, Lack] = {}
        self.probing: set[str] = set()
        self.recorded: list[tuple[str, bool, Outcome]] = []

    async def admit(self, module_id: str, settings_digest: str, *, timeout_s: float) -> Admission:
        return Admission(self.lacks.get(module_id), probe=1 if module_id in self.probing else None)

    async def record(
        self, module_id: str, settings_digest: str, admission: Admission, outcome: Outcome, detail: str, message: str
    ) -> None:
        self.recorded.append((module_id, admission.probe is not None, outcome))


class FakeRegistry:
    """Knows every module as available, but for *changes*; remembers what was reported."""

    def __init__(self, *names: str, **changes: ModuleDescription) -> None:
        self.modules = {
            name: ModuleDescription(id=name, version="1.0", code_digest=f"code of {name}") for name in names
        }
        self.modules.update({module.id: module for module in changes.values()})
        self.reported: list[tuple[str, Lack]] = []

    def current(self) -> Snapshot:
        return Snapshot(0, PipelineDescription("any", (), "any", (), {}), self.modules)

    def report_unavailable(
        self, module_id: str, settings_digest: str, lack: Lack, settings: Mapping[str, object] | None = None
    ) -> None:
        self.reported.append((module_id, lack))


def enclosing_pools(home: Path) -> ModulePools:
    """Real module processes of an installation at ``home``: its folder is private, its results may be written."""
    return ModulePools(
        folder=home / "scratch",
        limits=Limits(),
        environment={**os.environ, "SWITCHGEAR_OUT": str(home / "out")},
        resolve_secret=lambda reference: None,
        default_concurrency=1,
        private=(home,),
        results=(home / "out", home / "spool"),
    )
