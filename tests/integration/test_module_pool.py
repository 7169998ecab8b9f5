"""Module processes against the fault matrix (RELIABILITY 3, rows 1 to 16): real processes, generous times."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from factories.isolation import Level, highest_level, needs_level
from factories.plugin import MODULES, install, write_distribution
from switchgear.domain.configuration import canonical_json
from switchgear.domain.errors import Code
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.domain.stage import Lack
from switchgear.ingestion.module_pool import Call, DocumentFile, ModulePools, ModuleUse, StageValue
from switchgear.ingestion.module_pool.redaction import Redactor
from switchgear.sdk import Blob, Decision, Limits, StageLimits
from switchgear.sdk.host.context import delivery_key, delivery_series
from switchgear.sdk.host.worker import MAX_CALLS
from switchgear.sdk.values import Earlier, Frozen

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="the measures are Linux's; elsewhere some are missing"),
]

SECRET = "canary-secret-5519"
BYTES = b"hello world, this is a document"


class Text(Frozen):
    """What the stage load gave."""

    text: str


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = install(tmp_path_factory.mktemp("pool"), modules=MODULES)
    (folder / "lively.py").write_text(LIVELY)
    write_distribution(folder, "lively", "1", {"upper-lively": "lively:Lively", "upper-threads": "threads:Threads"})
    (folder / "liar.py").write_text(LIAR)
    write_distribution(folder, "liar", "1", {"upper-liar": "liar:Liar"})
    (folder / "threads.py").write_text(THREADS)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


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


@pytest.fixture
def level(request: pytest.FixtureRequest) -> Level:
    """The highest level of this machine; a test may demand another one."""
    wanted: Level | Literal["highest"] = getattr(request, "param", "highest")
    if wanted == "highest":
        return highest_level()
    needs_level(wanted)
    return wanted


def at_levels(*levels: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("level", levels, indirect=True)


@pytest.fixture
async def desk(site: Path, tmp_path: Path, level: Level) -> AsyncIterator[Desk]:
    (tmp_path / "out").mkdir()
    file = tmp_path / "document.txt"
    file.write_bytes(BYTES)
    document = DocumentFile(file, hashlib.sha256(BYTES).hexdigest(), len(BYTES), "text/plain", "Letter.TXT")
    logs: list[Mapping[str, Any]] = []
    artifacts: list[tuple[bytes, str]] = []
    recycled: list[tuple[str, str]] = []

    def keep(path: Path, media_type: str) -> Blob:
        artifacts.append((path.read_bytes(), media_type))
        return Blob.from_bytes(path.read_bytes(), media_type=media_type)

    pools = ModulePools(
        folder=tmp_path / "scratch",
        limits=Limits(),
        environment={
            **os.environ,
            "SWITCHGEAR_TINY_REGION": "north",
            "SWITCHGEAR_TOKEN": "not for modules",
            "SWITCHGEAR_OUT": str(tmp_path / "out"),
        },
        resolve_secret=lambda reference: SECRET if reference == "env:SWITCHGEAR_SECRET_TINY" else None,
        default_concurrency=2,
        on_artifact=keep,
        on_log=logs.append,
        on_recycled=lambda module, reason: recycled.append((module, reason)),
        open_timeout_s=10,
    )
    await pools.start()
    made = Desk(pools, tmp_path, document, level, logs, artifacts, recycled)
    yield made
    await pools.close()
    for _ in range(100):  # ten times the second of I25: whoever is killed needs a moment to be gone
        if not made.processes():
            break
        await asyncio.sleep(0.1)
    assert made.processes() == [], "a process outlived its pool"


def use_of(module_id: str = "upper-faulty", *, limits: StageLimits | None = None, **settings: Any) -> ModuleUse:
    return ModuleUse(module_id, canonical_json(settings), limits or StageLimits())


async def until(condition: Callable[[], bool | Awaitable[bool]], within_s: float = 10.0) -> None:
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
    assert result.outcome is Outcome.SUCCEEDED, result
    assert isinstance(result.output, bytes)
    return json.loads(result.output)


# --- good calls ---


async def test_a_module_reads_the_document_and_its_output_comes_back_as_bytes(desk: Desk) -> None:
    result = await desk.run(use_of("load-text"))

    assert output(result) == {"text": BYTES.decode(), "loaded_by": "load-text"}
    assert result.duration_us > 0


async def test_a_module_that_needs_a_path_gets_a_private_copy(desk: Desk) -> None:
    assert output(await desk.run(use_of("load-other")))["text"] == BYTES.decode()
    assert desk.document.path.stat().st_nlink == 1


async def test_calls_share_a_process_until_it_is_recycled(desk: Desk) -> None:
    use = use_of("upper-lively", limits=StageLimits(concurrency=1))
    pids = {json.loads(output(await desk.run(use))["text"])["pid"] for _ in range(6)}

    assert len(pids) <= 2  # the one that was warm, and the one in reserve


async def test_as_many_calls_run_at_once_as_the_limit_says(desk: Desk) -> None:
    gate, counter = desk.out / "gate", desk.out / "counter"
    use = use_of(limits=StageLimits(concurrency=2), mode="wait", file=str(gate), counter=str(counter))
    calls = [asyncio.create_task(desk.run(use)) for _ in range(4)]

    await until(lambda: counter.exists() and counter.stat().st_size == 2)
    await asyncio.sleep(0.2)
    assert counter.stat().st_size == 2
    gate.touch()
    assert [result.outcome for result in await asyncio.gather(*calls)] == [Outcome.SUCCEEDED] * 4


async def test_a_call_that_finds_no_free_process_in_time_says_so(desk: Desk) -> None:
    gate = desk.out / "gate"
    use = use_of(limits=StageLimits(concurrency=1), mode="wait", file=str(gate), only_if="slow")
    first = asyncio.create_task(desk.run(use, "slow"))
    await until(lambda: any(pool["busy"] for pool in desk.pools.describe()))

    second = await desk.run(use, timeout_s=0.3)
    gate.touch()

    assert (second.outcome, second.detail) == (Outcome.TIMEOUT, "no_free_worker")
    assert (await first).outcome is Outcome.SUCCEEDED


async def test_a_module_sees_what_the_context_promises_and_no_more(desk: Desk) -> None:
    decision = Decision(action="release", actor="ada", message="fine")
    use = use_of("upper-lively", limits=StageLimits(memory_mb=512))
    seen = json.loads(output(await desk.run(use, decision=decision, delivery_base="bytes\0result"))["text"])
    again = json.loads(output(await desk.run(use))["text"])

    allowed = {"PATH", "LANG", "SWITCHGEAR_OUT", "TMPDIR", "LC_CTYPE"}
    threads = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}
    assert set(seen["environment"]) - {name for name in os.environ if name.startswith("LC_")} <= allowed | threads
    assert seen["data"] == 512 << 20
    assert (seen["core"], seen["no_new_privs"], seen["session"]) == (0, "1", True)
    assert seen["files"] <= 512
    assert seen["stdin"] == "/dev/null"
    assert 0 < seen["remaining"] <= 20
    assert seen["decision"] == "release"
    assert seen["key"] == delivery_key("bytes\0result", "target")
    assert seen["series"] == delivery_series("bytes\0another result", "target")
    assert seen["run"] == ["run_1", "doc_1", 1]
    assert again["left"] == ["left.txt"], "temporary files of an earlier call were still there"
    assert [record["event"] for record in desk.logs if record["event"] == "looked.around"] == ["looked.around"] * 2


async def test_a_variable_that_the_module_asked_for_is_handed_over(desk: Desk) -> None:
    use = ModuleUse("upper-environment", "{}", StageLimits(), environment=("SWITCHGEAR_TINY_REGION",))

    assert output(await desk.run(use))["text"] == "HELLO NORTH"


async def test_a_saved_file_becomes_an_artifact(desk: Desk) -> None:
    seen = json.loads(output(await desk.run(use_of("upper-lively"), "save"))["text"])

    assert desk.artifacts == [(b"pixels", "image/png")]
    assert seen["blob"]["sha256"] == hashlib.sha256(b"pixels").hexdigest()


async def test_a_large_output_and_a_large_input_pass_the_pipe(desk: Desk) -> None:
    text = "abc " * 1_000_000

    assert output(await desk.run(use_of("upper-text"), text))["text"] == text.upper()


async def test_large_results_of_earlier_documents_pass_the_pipe(desk: Desk) -> None:
    earlier = [Earlier(document_id=f"doc_{number}", result={"text": "ä" * (3 << 20)}) for number in range(2)]

    seen = json.loads(output(await desk.run(use_of("upper-lively"), earlier=earlier))["text"])

    assert seen["earlier"] == [3 << 20] * 2


async def test_a_module_that_starts_threads_at_import_is_imported_in_each_process(desk: Desk) -> None:
    use = use_of("upper-threads")

    assert await desk.warm(use) is None
    assert output(await desk.run(use))["text"] == "HELLO"


# --- what modules say on purpose ---


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("retryable", {"outcome": Outcome.ERROR, "retryable": True, "after_s": 0.01}),
        ("retryable_later", {"outcome": Outcome.ERROR, "retryable": True, "after_s": 60}),
        ("unavailable", {"outcome": Outcome.UNAVAILABLE, "facts": {"fix": "renew-licence tiny"}}),
        ("reject", {"outcome": Outcome.BAD_INPUT, "detail": "encrypted", "message": "The document is encrypted."}),
        ("not_applicable", {"outcome": Outcome.NOT_APPLICABLE}),
        ("review", {"needs_review": True, "message": "somebody has to look", "facts": {"words": 3}}),
        ("low_confidence", {"outcome": Outcome.SUCCEEDED}),
    ],
)
@pytest.mark.parametrize("module_id", ["upper-faulty", "upper-faulty-inline"])
async def test_what_a_module_says_on_purpose_is_understood(
    desk: Desk, module_id: str, mode: str, expected: dict[str, Any]
) -> None:
    level = "L0" if module_id.endswith("inline") else "L1"
    use = ModuleUse(module_id, canonical_json({"mode": mode}), StageLimits(), level=level)  # type: ignore[arg-type]
    result = await desk.run(use)

    assert {name: getattr(result, name) for name in expected} == expected


# --- the fault matrix ---


@dataclass(frozen=True)
class Fault:
    """One row, at the highest level that the machine has; below it too where the level decides the outcome."""

    row: int
    mode: str
    outcome: Outcome
    detail: str
    timeout_s: float = 20.0
    levels: tuple[str, ...] = ("highest",)


FAULTS = [
    Fault(1, "raise", Outcome.ERROR, "ValueError"),
    Fault(2, "hang", Outcome.TIMEOUT, "", 0.5),
    Fault(3, "hang_in_c", Outcome.TIMEOUT, "", 0.5, levels=("highest", "L1", "L2")),
    Fault(3, "ignore_sigterm", Outcome.TIMEOUT, "", 0.5),
    Fault(4, "wrong_type", Outcome.CONTRACT_VIOLATION, "wrong_type"),
    Fault(4, "none", Outcome.CONTRACT_VIOLATION, "wrong_type"),
    Fault(4, "not_serialisable", Outcome.CONTRACT_VIOLATION, "wrong_type"),
    Fault(6, "segv", Outcome.CRASH, "signal:SEGV", levels=("highest", "L1")),
    Fault(6, "abort", Outcome.CRASH, "signal:ABRT", levels=("highest", "L1", "L2")),
    Fault(7, "alloc", Outcome.CRASH, "memory_limit", levels=("highest", "L1", "L2")),
    Fault(7, "shared_memory", Outcome.CRASH, "memory_limit", levels=("highest", "L1")),
    Fault(8, "setsid_child", Outcome.SUCCEEDED, "", levels=("highest", "L1", "L2")),
    Fault(8, "fork_bomb", Outcome.TIMEOUT, "", 0.5, levels=("highest", "L1")),
    Fault(10, "exit0", Outcome.CRASH, "exit:0"),
    Fault(10, "os_exit", Outcome.CRASH, "exit:0", levels=("highest", "L1")),
    Fault(11, "close_fds", Outcome.CRASH, "exit:1", levels=("highest", "L1", "L2")),
    # At L2 a kernel with version 6 of Landlock refuses the signal.
    Fault(11, "kill_parent", Outcome.CRASH, "signal:KILL", levels=("L1", "L3")),
    Fault(12, "huge", Outcome.CONTRACT_VIOLATION, "output_too_large"),
    Fault(15, "thread", Outcome.SUCCEEDED, ""),
]


@pytest.mark.parametrize(
    ("fault", "level"),
    [(fault, level) for fault in FAULTS for level in fault.levels],
    ids=lambda value: value if isinstance(value, str) else f"row{value.row}-{value.mode}",
    indirect=["level"],
)
async def test_a_fault_is_an_outcome_and_the_next_call_is_good(desk: Desk, fault: Fault) -> None:
    use = use_of(mode=fault.mode, only_if="POISON")
    neighbour = use_of("upper-text")
    assert output(await desk.run(neighbour))["text"] == "HELLO"
    assert output(await desk.run(use))["text"] == "HELLO"
    memory_before = _resident_mib(os.getpid())

    began = time.monotonic()
    result = await desk.run(use, "POISON", timeout_s=fault.timeout_s)
    took_s = time.monotonic() - began

    assert (result.outcome, result.detail) == (fault.outcome, fault.detail), result
    assert took_s < (fault.timeout_s + 10 if fault.outcome is Outcome.TIMEOUT else 15)
    assert "Traceback" not in result.message
    assert output(await desk.run(use, "after"))["text"] == "AFTER"
    assert output(await desk.run(neighbour))["text"] == "HELLO"
    assert _resident_mib(os.getpid()) < memory_before + 250
    await until(lambda: set(desk.processes()) == _own(desk))


# The server's loop is uvloop where it is installed, which says otherwise than asyncio's that a socket is closed.
@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"])
async def test_a_process_that_ends_between_two_of_its_messages_has_its_own_outcome(desk: Desk) -> None:
    def pids() -> set[int]:
        return {pid for pool in pools.describe() for pid in pool["pids"]}

    def keep_after_its_end(path: Path, media_type: str) -> Blob:
        killed = pids()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        while killed & pids():
            time.sleep(0.01)
        return Blob.from_bytes(path.name.encode(), media_type=media_type)

    pools = other_pools(desk, on_artifact=keep_after_its_end)
    await pools.start()
    result = await pools.call(desk.use(use_of("upper-lively", limits=StageLimits(concurrency=1))), desk.call("save"))
    await pools.close()

    assert (result.outcome, result.detail) == (Outcome.CRASH, "signal:KILL"), result


def _own(desk: Desk) -> set[int]:
    """Process ids that the pools know: fork servers and workers."""
    pools = desk.pools.describe()
    servers = {pool["server_pid"] for pool in pools}
    keepers = {pid for pid in desk.processes() if _is_keeper(pid) and _parent(pid) in servers}
    return keepers | servers | {pid for pool in pools for pid in pool["pids"]}


def _is_keeper(pid: int) -> bool:
    """Whether it is the first process of a namespace of its own."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return any(line.startswith("NSpid:") and line.split()[2:] == ["1"] for line in lines)
    return False


def _resident_mib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


@at_levels("L1", "L2", "L3")
async def test_nothing_that_a_good_call_started_is_left_when_it_returns(desk: Desk) -> None:
    use = use_of(mode="many_children")
    await desk.warm(use)
    server = desk.pools.describe()[0]["server_pid"]

    result = await desk.run(use)
    left = set(desk.processes()) - _own(desk) - set(_starting(desk))

    assert output(result)["text"] == "HELLO"
    assert left == set()
    assert desk.recycled == [("upper-faulty", "processes")]
    assert desk.pools.describe()[0]["server_pid"] == server, "it cost more than the worker"
    assert output(await desk.run(use, "again"))["text"] == "AGAIN"
    assert desk.pools.describe()[0]["server_pid"] == server


def _starting(desk: Desk) -> list[int]:
    """Workers that are being made in reserve while one looks."""
    servers = {pool["server_pid"] for pool in desk.pools.describe()}
    return [pid for pid in desk.processes() if _parent(pid) in servers]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


async def test_what_a_module_prints_is_captured_and_cut_and_the_protocol_stays_whole(desk: Desk) -> None:
    assert output(await desk.run(use_of(mode="print")))["text"] == "HELLO"

    printed = [record for record in desk.logs if record["event"] == "module.printed"]
    assert sum(len(record["text"]) for record in printed) <= 64 * 1024
    assert any(record["was_cut"] for record in printed)


async def test_the_traceback_of_a_bug_goes_to_the_module_log_only(desk: Desk) -> None:
    result = await desk.run(use_of(mode="raise"))

    assert result.message == "the module is broken"
    assert any("Traceback" in record.get("text", "") for record in desk.logs)


async def test_a_changed_input_is_changed_for_nobody_else(desk: Desk) -> None:
    value = StageValue(Text, model=Text(text="hello"))
    await desk.run(use_of(mode="mutate"), inputs={"text": value})

    assert json.loads(value.raw)["text"] == "hello"
    assert output(await desk.run(use_of("upper-text"), inputs={"text": value}))["text"] == "HELLO"


async def test_a_process_that_leaks_descriptors_is_replaced_and_counted(desk: Desk) -> None:
    use = use_of(limits=StageLimits(concurrency=1), mode="leak_fds")
    for _ in range(24):
        assert (await desk.run(use)).outcome is Outcome.SUCCEEDED

    assert desk.pools.describe()[0]["recycled"].get("descriptors", 0) >= 1


async def test_a_process_that_leaks_memory_is_replaced_and_counted(desk: Desk) -> None:
    use = use_of(limits=StageLimits(concurrency=1, memory_mb=256), mode="leak_memory")
    for _ in range(8):
        assert (await desk.run(use)).outcome is Outcome.SUCCEEDED

    assert desk.recycled == [("upper-faulty", "memory")]


async def test_a_process_is_replaced_after_its_number_of_calls(desk: Desk) -> None:
    use = use_of("upper-lively", limits=StageLimits(concurrency=1))
    pids = [json.loads(output(await desk.run(use))["text"])["pid"] for _ in range(MAX_CALLS + 1)]

    assert desk.recycled == [("upper-lively", "calls")]
    assert pids[-1] not in pids[:-1]


async def test_a_process_that_ran_out_of_memory_is_not_trusted_with_another_call(desk: Desk) -> None:
    use = use_of(limits=StageLimits(concurrency=1), mode="alloc", only_if="POISON")
    await desk.warm(use)
    before = desk.pools.describe()[0]["pids"]
    await desk.run(use, "POISON")

    assert output(await desk.run(use))["text"] == "HELLO"
    assert desk.recycled == [("upper-faulty", "memory")]
    assert not set(before) & set(desk.pools.describe()[0]["pids"])


@at_levels("L1", "highest")
async def test_the_memory_of_what_a_module_started_is_its_own(desk: Desk) -> None:
    use = use_of(limits=StageLimits(memory_mb=512), mode="memory_of_children")
    result = await desk.run(use)

    assert (result.outcome, result.detail) == (Outcome.CRASH, "memory_limit"), result


async def test_memory_that_a_child_shares_with_the_module_counts_once(desk: Desk) -> None:
    use = use_of(limits=StageLimits(memory_mb=512), mode="shared_with_children")

    assert output(await desk.run(use))["text"] == "HELLO"


@pytest.mark.parametrize("open_", ["alloc", "shared_memory"])
async def test_a_module_that_opens_with_too_much_memory_says_why(desk: Desk, open_: str) -> None:
    lack = await desk.warm(use_of(open=open_))

    assert lack is not None
    assert lack.code is Code.MODULE_PROBE_FAILED
    assert ("MemoryError" if open_ == "alloc" else "more than its 1024 MiB") in lack.message


async def test_a_thread_that_goes_on_costs_the_process_its_place(desk: Desk) -> None:
    use = use_of(mode="thread")
    await desk.run(use)

    assert desk.pools.describe()[0]["recycled"] == {"threads": 1}
    assert desk.recycled == [("upper-faulty", "threads")]


@pytest.mark.parametrize(
    ("text", "detail"), [("large", "output_too_large"), ("nonsense", "protocol"), ("odd", "protocol")]
)
async def test_a_module_that_speaks_for_its_process_gains_nothing(desk: Desk, text: str, detail: str) -> None:
    memory_before = _resident_mib(os.getpid())
    result = await desk.run(use_of("upper-liar"), text)

    assert (result.outcome, result.detail) == (Outcome.CONTRACT_VIOLATION, detail), result
    assert _resident_mib(os.getpid()) < memory_before + 30
    assert output(await desk.run(use_of("upper-liar"), "after"))["text"] == "after"


async def test_a_module_gets_no_file_of_the_server_as_an_artifact(desk: Desk) -> None:
    said = output(await desk.run(use_of("upper-liar"), "artifact"))["text"]

    assert (said, desk.artifacts) == ("the file is outside the scratch folder", [])


async def test_an_invalid_output_is_handed_on_for_the_contract_to_refuse(desk: Desk) -> None:
    assert output(await desk.run(use_of(mode="invalid")))["text"] == 7


# --- making ready ---


@pytest.mark.parametrize(
    ("use", "code", "words"),
    [
        (use_of("upper-importerror"), Code.MODULE_IMPORT_ERROR, "switchgear_no_such_package"),
        (use_of("no-such-module"), Code.MODULE_IMPORT_ERROR, "No installed package offers"),
        (use_of(mode="sideways"), Code.MODULE_BAD_SETTINGS, "/mode"),
        (use_of(open="unavailable"), Code.MODULE_PROBE_FAILED, "no licence to open"),
        (use_of(open="raise"), Code.MODULE_PROBE_FAILED, "open is broken"),
        (use_of(open="exit"), Code.MODULE_PROBE_FAILED, "exit:3"),
    ],
    ids=lambda value: value.settings_json if isinstance(value, ModuleUse) else str(value),
)
async def test_a_module_that_cannot_start_says_why_and_a_call_is_unavailable(
    desk: Desk, use: ModuleUse, code: Code, words: str
) -> None:
    lack = await desk.warm(use)
    result = await desk.run(use)

    assert lack is not None
    assert lack.code == code
    assert words in lack.message
    assert (result.outcome, result.detail) == (Outcome.UNAVAILABLE, str(code))


async def test_a_hanging_open_is_ended_at_its_limit(desk: Desk) -> None:
    pools = other_pools(desk, open_timeout_s=0.5)
    await pools.start()
    lack = await pools.warm(desk.use(use_of(open="hang")))
    await pools.close()

    assert lack is not None
    assert "open took more than 0.5 s" in lack.message


async def test_a_warm_module_has_a_process_in_reserve_after_a_crash(desk: Desk) -> None:
    use = use_of(mode="segv", only_if="POISON")
    assert await desk.warm(use) is None
    first = asyncio.create_task(desk.run(use, "POISON"))
    await first
    await until(lambda: desk.pools.describe()[0]["workers"] >= 1)

    assert output(await desk.run(use))["text"] == "HELLO"


# --- secrets ---


async def test_a_secret_reaches_the_module_and_nothing_else(desk: Desk) -> None:
    settings = canonical_json({"token": "env:SWITCHGEAR_SECRET_TINY"})
    pointers = ("/token", "/nested/token", "/several/*")
    use = ModuleUse("upper-secret", settings, StageLimits(), secret_pointers=pointers)
    fingerprint = hashlib.sha256(SECRET.encode()).hexdigest()[:8].upper()

    assert output(await desk.run(use))["text"] == f"HELLO {fingerprint}"
    for pid in desk.processes():
        assert SECRET.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert SECRET not in json.dumps(desk.logs)


async def test_a_missing_secret_is_named_by_its_reference(desk: Desk) -> None:
    settings = canonical_json({"token": "file:absent", "several": ["env:SWITCHGEAR_SECRET_TINY"]})
    use = ModuleUse("upper-secret", settings, StageLimits(), secret_pointers=("/token", "/several/*"))
    lack = await desk.warm(use)

    assert lack is not None
    assert (lack.code, "file:absent" in lack.message) == (Code.SECRET_UNVERIFIED, True)
    assert SECRET not in lack.message


# --- ends ---


async def test_a_cancelled_call_ends_the_process(desk: Desk) -> None:
    use = use_of(mode="ignore_sigterm", only_if="POISON")
    await desk.warm(use)
    call = asyncio.create_task(desk.run(use, "POISON"))
    await until(lambda: any(pool["busy"] for pool in desk.pools.describe()))
    busy = desk.pools.describe()[0]["pids"]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    await until(lambda: not set(busy) & set(_living(busy)) or desk.pools.describe()[0]["pids"] != busy)
    assert output(await desk.run(use))["text"] == "HELLO"


def _living(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def test_pools_that_no_plan_names_are_closed_when_their_calls_have_ended(desk: Desk) -> None:
    gate = desk.out / "gate"
    leaving = use_of(mode="wait", file=str(gate))
    staying = use_of("upper-text")
    await desk.warm(staying)
    call = asyncio.create_task(desk.run(leaving))
    await until(lambda: any(pool["busy"] for pool in desk.pools.describe()))

    await desk.pools.keep([desk.use(staying)])
    assert [pool["module"] for pool in desk.pools.describe()] == ["upper-text"]
    gate.touch()

    assert (await call).outcome is Outcome.SUCCEEDED
    await until(lambda: set(desk.processes()) == _own(desk))


async def test_a_pool_that_only_calls_started_is_closed_when_nobody_calls_it(desk: Desk) -> None:
    pools = other_pools(desk, idle_s=0.2)
    await pools.start()
    selected, fallback = desk.use(use_of("upper-text")), desk.use(use_of("upper-other"))
    try:
        assert await pools.warm(selected) is None
        assert (await pools.call(fallback, desk.call())).outcome is Outcome.SUCCEEDED
        assert len(pools.describe()) == 2

        await until(lambda: len(pools.describe()) == 1)
        assert pools.describe()[0]["module"] == "upper-text"
        assert (await pools.call(fallback, desk.call())).outcome is Outcome.SUCCEEDED
    finally:
        await pools.close()


def other_pools(desk: Desk, **others: Any) -> ModulePools:
    around = desk.pools.surroundings
    return ModulePools(
        folder=around.folder.parent,
        limits=around.limits,
        environment=around.environment,
        resolve_secret=around.resolve_secret,
        default_concurrency=2,
        **others,
    )


async def test_the_scratch_folder_of_a_dead_process_is_removed(desk: Desk) -> None:
    use = use_of(mode="segv", only_if="POISON")
    for _ in range(3):
        await desk.run(use, "POISON")

    await until(lambda: len(list(desk.folder.glob("scratch/*/p1/*/w*"))) == desk.pools.describe()[0]["workers"] > 0)


async def test_a_fork_server_that_dies_is_replaced(desk: Desk) -> None:
    use = use_of("upper-text")
    await desk.run(use)
    os.kill(desk.pools.describe()[0]["server_pid"], signal.SIGKILL)

    async def works() -> bool:
        return (await desk.run(use)).outcome is Outcome.SUCCEEDED

    await until(works)


async def test_what_a_dead_server_left_is_removed_and_a_living_one_keeps_its_own(desk: Desk, tmp_path: Path) -> None:
    root = tmp_path / "scratch"
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    here = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    dead, alive, foreign = root / f"{gone.pid}-{here}-ab", root / f"{os.getppid()}-{here}-ab", root / "notes"
    elsewhere = root / f"{gone.pid}-00000000-ab"  # of another machine on the same file system
    for folder in (dead, alive, foreign, elsewhere):
        folder.mkdir(parents=True)
    other = ModulePools(
        folder=root, limits=Limits(), environment={}, resolve_secret=lambda _: None, default_concurrency=1
    )
    await other.start()
    await other.close()

    assert not dead.exists()
    assert alive.exists()
    assert foreign.exists()
    assert elsewhere.exists()
    assert output(await desk.run(use_of("upper-text")))["text"] == "HELLO"


async def test_what_an_import_prints_is_in_the_log(desk: Desk, site: Path) -> None:
    (site / "loud.py").write_text("print('loud import')\nraise RuntimeError('no')\n")
    write_distribution(site, "loud", "1", {"upper-loud": "loud:Loud"})
    lack = await desk.warm(use_of("upper-loud"))

    assert lack is not None
    assert "RuntimeError: no" in lack.message
    await until(lambda: any("loud import" in record.get("text", "") for record in desk.logs))


#: A server process that dies without a word while a module hangs and has children of its own.
SERVER = """
import asyncio, os, sys
from pathlib import Path
from switchgear.ingestion.module_pool import *
from switchgear.sdk import Limits, StageLimits
from switchgear.domain.configuration import canonical_json

async def main() -> None:
    folder = Path(sys.argv[1])
    pools = ModulePools(folder=folder / "scratch", limits=Limits(), environment=os.environ,
                        resolve_secret=lambda _: None, default_concurrency=2)
    await pools.start()
    document = DocumentFile(folder / "document.txt", "", 0, "text/plain", "x.txt")
    for mode in ("fork_bomb", "hang_in_c"):
        settings = canonical_json({"mode": mode, "counter": str(folder / "out" / mode)})
        use = ModuleUse("load-faulty", settings, StageLimits(), level=sys.argv[2], writes=("$SWITCHGEAR_OUT",))
        asyncio.create_task(pools.call(use, Call("r", "d", 1, 600, document, {})))
    while not all((folder / "out" / mode).exists() for mode in ("fork_bomb", "hang_in_c")):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@at_levels("L1", "L2", "L3")
async def test_no_module_process_outlives_a_killed_server(desk: Desk, site: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "SWITCHGEAR_OUT": str(desk.out), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path), desk.level], env=environment, stdout=subprocess.PIPE, text=True
    )
    with server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        assert len(desk.processes()) >= 16
        server.kill()

    await until(lambda: desk.processes() == [])


# --- level L0 ---


@pytest.mark.parametrize(
    ("mode", "outcome", "detail"),
    [
        ("ok", Outcome.SUCCEEDED, ""),
        ("raise", Outcome.ERROR, "ValueError"),
        ("none", Outcome.CONTRACT_VIOLATION, "wrong_type"),
        ("exit0", Outcome.CRASH, "exit:0"),
    ],
)
async def test_an_inline_module_is_called_directly(desk: Desk, mode: str, outcome: Outcome, detail: str) -> None:
    from switchgear_tiny.contracts import Text as TinyText

    use = ModuleUse("upper-faulty-inline", canonical_json({"mode": mode}), StageLimits(), level="L0")
    value = StageValue(TinyText, raw=b'{"text":"hello"}')
    result = await desk.run(use, inputs={"text": value})

    assert (result.outcome, result.detail) == (outcome, detail), result
    assert desk.processes() == []
    if mode == "ok":
        assert result.output.text == "HELLO"


async def test_an_inline_module_reads_the_document(desk: Desk) -> None:
    result = await desk.run(ModuleUse("load-inline", "{}", StageLimits(), level="L0"))

    assert result.output.text == BYTES.decode()


#: An inline module that uses all of its context.
INLINE = """
from switchgear.sdk import Blob, Context, Module, ModuleSettings, SecretRef, WarmContext, module
from switchgear_tiny.contracts import Text

@module(stage="load", contract="tiny-load@1", version="1.0.0", min_isolation="L0")
class Busy(Module):
    class Settings(ModuleSettings):
        token: SecretRef

    settings: Settings

    def open(self, ctx: WarmContext) -> None:
        self.secret = ctx.secret(self.settings.token)

    def run(self, blob: Blob, ctx: Context) -> Text:
        ctx.log.warning("seen.secret", text=f"it is {self.secret}")
        kept = ctx.scratch / "page.png"
        kept.write_bytes(blob.path.read_bytes())
        saved = ctx.save(kept, "image/png")
        if blob.path.suffix.lower() == ".bad":
            raise ValueError(f"{self.secret} is wrong")
        keys = f"{ctx.idempotency_key('t')} {ctx.delivery_series('t')}"
        return Text(text=f"{saved.size_bytes} {ctx.attempt} {ctx.remaining_s() > 0} {keys}")
"""


async def test_an_inline_module_has_the_whole_context_and_its_secret_goes_nowhere(desk: Desk, site: Path) -> None:
    (site / "busy.py").write_text(INLINE)
    write_distribution(site, "busy", "1", {"load-busy": "busy:Busy"})
    settings = canonical_json({"token": "env:SWITCHGEAR_SECRET_TINY"})
    use = ModuleUse("load-busy", settings, StageLimits(), level="L0", secret_pointers=("/token",))
    bad = replace(desk.call(), document=replace(desk.document, file_name="x.bad"))

    base = "bytes\0result"
    good = await desk.run(use, delivery_base=base)
    failed = await desk.pools.call(use, bad)

    keys = f"{delivery_key(base, 't')} {delivery_series('bytes', 't')}"
    assert good.output.text == f"{len(BYTES)} 1 True {keys}"
    assert desk.artifacts[0] == (BYTES, "image/png")
    assert (failed.outcome, failed.message) == (Outcome.ERROR, "[secret] is wrong")
    assert SECRET not in json.dumps(desk.logs)
    assert any(record["event"] == "seen.secret" for record in desk.logs)


@pytest.mark.parametrize(
    ("use", "code"),
    [
        (ModuleUse("upper-importerror", "{}", StageLimits(), level="L0"), Code.MODULE_IMPORT_ERROR),
        (ModuleUse("upper-faulty-inline", '{"mode":"no"}', StageLimits(), level="L0"), Code.MODULE_BAD_SETTINGS),
        (ModuleUse("upper-faulty-inline", '{"open":"raise"}', StageLimits(), level="L0"), Code.MODULE_PROBE_FAILED),
    ],
    ids=["import", "settings", "open"],
)
async def test_an_inline_module_that_cannot_start_says_why(desk: Desk, use: ModuleUse, code: Code) -> None:
    lack = await desk.warm(use)

    assert lack is not None
    assert lack.code is code
    assert (await desk.run(use)).detail == str(code)


#: A module that gives its secret away.
LEAKY = INLINE.replace("class Busy", "class Leaky").replace(
    "ctx.log.warning", "return Text(text=self.secret)\n        ctx.log.warning"
)


#: A module that saves a file with its secret, across the border of two reads.
SAVING = INLINE.replace("class Busy", "class Saving").replace(
    "kept.write_bytes(blob.path.read_bytes())", "kept.write_bytes(bytes(2**20 - 3) + self.secret.encode())"
)


@pytest.mark.parametrize("level", ["L0", "L1"])
async def test_an_output_that_holds_a_secret_is_dropped(desk: Desk, site: Path, level: Literal["L0", "L1"]) -> None:
    (site / "leaky.py").write_text(LEAKY)
    write_distribution(site, "leaky", "1", {"load-leaky": "leaky:Leaky"})
    settings = canonical_json({"token": "env:SWITCHGEAR_SECRET_TINY"})
    use = ModuleUse("load-leaky", settings, StageLimits(), level=level, secret_pointers=("/token",))
    result = await desk.run(use)

    assert (result.outcome, result.detail, result.output) == (Outcome.CONTRACT_VIOLATION, "secret_in_output", None)


@pytest.mark.parametrize("level", ["L0", "L1"])
async def test_a_file_that_holds_a_secret_is_not_kept(desk: Desk, site: Path, level: Literal["L0", "L1"]) -> None:
    (site / "saving.py").write_text(SAVING)
    write_distribution(site, "saving", "1", {"load-saving": "saving:Saving"})
    settings = canonical_json({"token": "env:SWITCHGEAR_SECRET_TINY"})
    use = ModuleUse("load-saving", settings, StageLimits(), level=level, secret_pointers=("/token",))
    result = await desk.run(use)

    assert desk.artifacts == []
    assert result.outcome is Outcome.ERROR
    assert "holds a secret" in result.message


def test_secrets_are_taken_out_of_nested_data_in_every_spelling() -> None:
    redactor = Redactor(['a"quoted" secret', "short"])

    assert redactor.plain({"x": ['<a"quoted" secret>', 7], "y": 'a\\"quoted\\" secret'}) == {
        "x": ["<[secret]>", 7],
        "y": "[secret]",
    }
    assert redactor.text("short values would be found by chance") == "short values would be found by chance"
    assert redactor.finds_in(b'{"t":"a\\"quoted\\" secret"}')


def test_a_stage_value_makes_each_form_once() -> None:
    value = StageValue(Text, raw=b'{"text":"x"}')

    assert value.model is value.model
    assert value.raw is value.raw
    assert StageValue(Text, model=Text(text="x")).raw == b'{"text":"x"}'
    with pytest.raises(ValueError, match="raw or model"):
        StageValue(Text)
