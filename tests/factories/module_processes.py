"""Real module processes, a desk to call them from, and modules that show or misuse what they see."""

import asyncio
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from factories.isolation import Level
from factories.plugin import MODULES, install, write_distribution
from switchgear.domain.configuration import canonical_json
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.domain.stage import Lack
from switchgear.ingestion.module_pool import Call, DocumentFile, ModulePools, ModuleUse, StageValue
from switchgear.sdk import Blob, Limits, StageLimits
from switchgear.sdk.values import Frozen

#: Many tests of processes look at /proc.
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the measures are Linux's; elsewhere some are missing")
SECRET = "canary-secret-5519"
BYTES = b"hello world, this is a document"


class Text(Frozen):
    """What the stage load gave."""

    text: str


#: A module that shows what it sees of its surroundings.
LIVELY = '''
import json, os, resource, sys
from pathlib import Path
from switchgear.sdk import Context, Module, module
from switchgear_tiny.contracts import Text, Upper

@module(stage="upper", contract="tiny-upper@1", version="1.0.0", guarantees={"is_upper", "keeps_length"})
class Lively(Module):
    """Looks around."""

    def run(self, text: Text, ctx: Context) -> Upper:
        ctx.log.info("looked.around", words=3)
        (Path(os.environ["TMPDIR"]) / "left.txt").write_text("left behind")
        kept = ctx.scratch / "page.png"
        kept.write_bytes(b"pixels")
        blob = ctx.save(kept, "image/png") if text.text == "save" else None
        status = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
        seen = {
            "environment": dict(os.environ),
            "data": resource.getrlimit(resource.RLIMIT_DATA)[0],
            "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
            "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "no_new_privs": status["NoNewPrivs"],
            "session": os.getsid(0) == os.getpid(),
            "stdin": os.readlink("/proc/self/fd/0"),
            "left": sorted(os.listdir(os.environ["TMPDIR"])),
            "blob": blob and blob.model_dump(),
            "remaining": ctx.remaining_s(),
            "decision": ctx.decision and ctx.decision.action,
            "key": ctx.idempotency_key("target"),
            "series": ctx.delivery_series("target"),
            "earlier": [len(item.result["text"]) for item in ctx.earlier],
            "run": [ctx.run_id, ctx.document_id, ctx.attempt],
            "pid": os.getpid(),
        }
        return Upper(text=json.dumps(seen))
'''

#: A module that starts a thread when it is imported, as native libraries do.
THREADS = '''
import threading, time
from switchgear.sdk import Module, module
from switchgear_tiny.contracts import Text, Upper
threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()

@module(stage="upper", contract="tiny-upper@1", version="1.0.0", guarantees={"is_upper", "keeps_length"})
class Threads(Module):
    """Capitals."""

    def run(self, text: Text) -> Upper:
        return Upper(text=text.text.upper())
'''


#: A module that was taken over and speaks to the engine itself.
LIAR = '''
import os
from switchgear.sdk import Context, Module, module
from switchgear.sdk.host import frames
from switchgear_tiny.contracts import Text, Upper

@module(stage="upper", contract="tiny-upper@1", version="1.0.0", guarantees={"is_upper", "keeps_length"})
class Liar(Module):
    """Answers by itself."""

    def run(self, text: Text, ctx: Context) -> Upper:
        pipe = ctx._connection
        if text.text == "large":
            frames.send(pipe, {"outcome": "succeeded"}, b"x" * (65 << 20))
        if text.text == "nonsense":
            pipe.sendall(b"\\xff" * 64)
        if text.text == "odd":
            frames.send(pipe, {"outcome": "no such outcome"})
        if text.text == "artifact":
            frames.send(pipe, {"save": "/etc/passwd", "media_type": "text/plain"})
            return Upper(text=frames.receive(pipe).header["message"])
        return Upper(text=text.text)
'''


@dataclass
class Desk:
    """Pools and what a test needs around them."""

    pools: ModulePools
    folder: Path
    document: DocumentFile
    level: Level
    logs: list[Mapping[str, Any]] = field(default_factory=list)
    artifacts: list[tuple[bytes, str]] = field(default_factory=list)
    recycled: list[tuple[str, str]] = field(default_factory=list)

    def call(self, text: str = "hello", *, timeout_s: float = 20.0, **more: Any) -> Call:
        inputs = {"text": StageValue(Text, model=Text(text=text))}
        return Call("run_1", "doc_1", 1, timeout_s, self.document, {**inputs, **more.pop("inputs", {})}, **more)

    def use(self, use: ModuleUse) -> ModuleUse:
        """The use at the level of this test, with what the modules of these tests declare."""
        if use.level == "L0":
            return use
        return replace(use, level=self.level, reads=("echo", "sleep"), writes=("$SWITCHGEAR_OUT",))

    async def run(self, use: ModuleUse, text: str = "hello", **more: Any) -> AttemptResult:
        return await self.pools.call(self.use(use), self.call(text, **more))

    async def warm(self, use: ModuleUse) -> Lack | None:
        return await self.pools.warm(self.use(use))

    @property
    def out(self) -> Path:
        """A folder that the modules may write."""
        return self.folder / "out"

    def processes(self) -> list[int]:
        """Every living process that was started below the pools, orphans included."""
        mark = f"TMPDIR={self.folder / 'scratch'}".encode()
        found: list[int] = []
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdigit() and mark in Path(f"/proc/{name}/environ").read_bytes():
                    found.append(int(name))
        return found

    def known(self) -> set[int]:
        """Process ids that the pools know: fork servers and workers."""
        pools = self.pools.describe()
        servers = {pool["server_pid"] for pool in pools}
        keepers = {pid for pid in self.processes() if _is_keeper(pid) and _parent(pid) in servers}
        return keepers | servers | {pid for pool in pools for pid in pool["pids"]}

    def starting(self) -> list[int]:
        """Workers that are being made in reserve while one looks."""
        servers = {pool["server_pid"] for pool in self.pools.describe()}
        return [pid for pid in self.processes() if _parent(pid) in servers]


def _is_keeper(pid: int) -> bool:
    """Whether it is the first process of a namespace of its own."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return any(line.startswith("NSpid:") and line.split()[2:] == ["1"] for line in lines)
    return False


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def use_of(module_id: str = "upper-faulty", *, limits: StageLimits | None = None, **settings: Any) -> ModuleUse:
    """The use of a module with these settings."""
    return ModuleUse(module_id, canonical_json(settings), limits or StageLimits())


async def until(condition: Callable[[], bool | Awaitable[bool]], within_s: float = 10.0) -> None:
    """Wait until *condition* says yes."""
    async with asyncio.timeout(within_s):
        while True:
            found = condition()
            if isinstance(found, bool):
                if found:
                    return
            elif await found:
                return
            await asyncio.sleep(0.01)


def output(result: AttemptResult) -> Any:
    """What a call that succeeded gave."""
    assert result.outcome is Outcome.SUCCEEDED, result
    assert isinstance(result.output, bytes)
    return json.loads(result.output)


def other_pools(desk: Desk, **others: Any) -> ModulePools:
    """Pools beside those of the desk, with other options; whoever makes them starts and closes them."""
    around = desk.pools.surroundings
    return ModulePools(
        folder=around.folder.parent,
        limits=around.limits,
        environment=around.environment,
        resolve_secret=around.resolve_secret,
        default_concurrency=2,
        **others,
    )


def install_showing(folder: Path) -> Path:
    """Install the tiny plug-in below *folder*, and the modules above; returns the folder for `sys.path`."""
    site = install(folder, modules=MODULES)
    (site / "lively.py").write_text(LIVELY)
    write_distribution(site, "lively", "1", {"upper-lively": "lively:Lively", "upper-threads": "threads:Threads"})
    (site / "liar.py").write_text(LIAR)
    write_distribution(site, "liar", "1", {"upper-liar": "liar:Liar"})
    (site / "threads.py").write_text(THREADS)
    return site


@asynccontextmanager
async def running_desk(folder: Path, level: Level) -> AsyncIterator[Desk]:
    """Started pools in *folder*; at their end no process of theirs may be left."""
    (folder / "out").mkdir()
    file = folder / "document.txt"
    file.write_bytes(BYTES)
    document = DocumentFile(file, hashlib.sha256(BYTES).hexdigest(), len(BYTES), "text/plain", "Letter.TXT")
    logs: list[Mapping[str, Any]] = []
    artifacts: list[tuple[bytes, str]] = []
    recycled: list[tuple[str, str]] = []

    def keep(path: Path, media_type: str) -> Blob:
        artifacts.append((path.read_bytes(), media_type))
        return Blob.from_bytes(path.read_bytes(), media_type=media_type)

    pools = ModulePools(
        folder=folder / "scratch",
        limits=Limits(),
        environment={
            **os.environ,
            "SWITCHGEAR_TINY_REGION": "north",
            "SWITCHGEAR_TOKEN": "not for modules",
            "SWITCHGEAR_OUT": str(folder / "out"),
        },
        resolve_secret=lambda reference: SECRET if reference == "env:SWITCHGEAR_SECRET_TINY" else None,
        default_concurrency=2,
        on_artifact=keep,
        on_log=logs.append,
        on_recycled=lambda module, reason: recycled.append((module, reason)),
        open_timeout_s=10,
    )
    await pools.start()
    made = Desk(pools, folder, document, level, logs, artifacts, recycled)
    yield made
    await pools.close()
    for _ in range(100):  # ten times the second of I25: whoever is killed needs a moment to be gone
        if not made.processes():
            break
        await asyncio.sleep(0.1)
    assert made.processes() == [], "a process outlived its pool"
