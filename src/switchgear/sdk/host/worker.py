"""One worker process: opens the module once, then serves one call at a time over its private pipe.

What the module raises becomes plain data; what kills the process is seen by the engine. Source: DESIGN 5,
RELIABILITY 3 (rows 1 to 15) and 4.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from pydantic import BaseModel, TypeAdapter, ValidationError

from switchgear.sdk.errors import ModuleError
from switchgear.sdk.host import frames, measures
from switchgear.sdk.host.context import Document, WorkerContext
from switchgear.sdk.host.enclosure import Enclosure, enclose
from switchgear.sdk.host.failures import failure_of, traceback_of
from switchgear.sdk.module import Module
from switchgear.sdk.values import Limits

#: A worker is replaced after this many calls, so that slow leaks never add up.
MAX_CALLS: Final = 200
#: Descriptors more than after `open` that count as a leak.
MAX_NEW_DESCRIPTORS: Final = 64
#: Leaks are looked for after this many calls each.
_LOOK_EVERY: Final = 8


def work(
    pipe_number: int,
    output_number: int,
    parent: int,
    start: Mapping[str, Any],
    module: Callable[[], type[Module]],
) -> NoReturn:
    """Run a worker on an inherited socket; never returns.

    Args:
        pipe_number: Descriptor of the private pipe.
        output_number: Descriptor that captures what the module prints.
        parent: Process id of the fork server.
        start: `scratch` (path), `memory_mb`, and at level L2 `enclosure` (what else the module may reach).
        module: Gives the class; imports it here when the fork server did not.
    """
    code = 1
    try:
        pipe = socket.socket(fileno=pipe_number)
        _Worker(pipe, start, module, _confine(output_number, parent, start)).run()
        code = 0
    except SystemExit as error:  # the module's own: never a success
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        with contextlib.suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(code & 0xFF)


def _confine(output_number: int, parent: int, start: Mapping[str, Any]) -> str:
    """Apply every measure of level L1 that is there, `doctor` shows which are; then those of L2 if it is demanded.

    Returns:
        "" or why L2 is not held: the module must not be opened then.
    """
    os.setsid()
    measures.die_with_parent(parent)
    measures.adopt_orphans()
    measures.forbid_new_privileges()
    for name in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT):
        signal.signal(name, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output_number, 1)
    os.dup2(output_number, 2)
    os.close(nothing)
    os.close(output_number)
    for stream, number in (("stdout", 1), ("stderr", 2)):
        setattr(sys, stream, os.fdopen(number, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False))
    scratch = Path(start["scratch"])
    (scratch / "tmp").mkdir(parents=True, exist_ok=True)
    os.chdir(scratch)
    os.environ["TMPDIR"] = str(scratch / "tmp")
    tempfile.tempdir = None
    os.umask(0o077)
    measures.limit_resources(int(start["memory_mb"]))
    enclosure = start.get("enclosure")
    return enclose(Enclosure(**enclosure), scratch) if enclosure is not None else ""


class _Worker:
    def __init__(
        self, pipe: socket.socket, start: Mapping[str, Any], module: Callable[[], type[Module]], trouble: str
    ) -> None:
        self._pipe = pipe
        self._trouble = trouble
        self._scratch = Path(start["scratch"])
        self._memory_bytes = int(start["memory_mb"]) << 20
        self._source = module
        self._calls = 0

    def run(self) -> None:
        """Open the module, then serve calls until the engine closes the pipe."""
        frame = frames.receive(self._pipe)
        if frame is None or not self._open(frame.header["open"]):
            return
        while (frame := frames.receive(self._pipe)) is not None:
            self._serve(frame)
        self._module.close()

    def _open(self, order: Mapping[str, Any]) -> bool:
        error_name = "isolation"
        try:
            if self._trouble:
                raise OSError(self._trouble)
            error_name = "import"
            cls = self._source()
            error_name = "settings"
            settings = cls.Settings.model_validate(order["settings"])
            error_name = "open"
            self._limits = Limits.model_validate(order["limits"])
            self._context = WorkerContext(self._pipe, self._scratch, self._limits, order["secrets"])
            self._module: Module = cls()
            self._module.settings = settings
            self._module.open(self._context)
            self._spec = cls.spec
            self._adapters = {name: TypeAdapter(item.type) for name, item in cls.spec.inputs.items() if name != "blob"}
        except Exception as error:
            traceback.print_exc()
            self._say({"refused": failure_of(error), "while": error_name})
            return False
        sys.stdout.flush()
        gc.collect()
        self._threads = threading.active_count()
        self._children = set(measures.children())
        self._descriptors = _open_descriptors()
        self._resident = _resident_bytes()
        self._say({"opened": os.getpid(), "inputs": list(cls.spec.inputs)})
        return True

    def _say(self, header: Mapping[str, Any], body: bytes = b"") -> None:
        frames.send(self._pipe, header, body)

    def _serve(self, frame: frames.Frame) -> None:
        self._calls += 1
        answer, body = self._attempt(frame)
        sys.stdout.flush()
        sys.stderr.flush()
        reason = self._worn_out()
        if reason:
            answer["recycle"] = reason
        self._say(answer, body)
        self._tidy()  # nobody waits for it, and the next call finds it done

    def _attempt(self, frame: frames.Frame) -> tuple[dict[str, Any], bytes]:
        call = frame.header["call"]
        measures.limit_cpu((call["deadline"] - time.monotonic() + 5) * (os.cpu_count() or 1))
        document: Document | None = None
        try:
            earlier = frame.body[len(frame.body) - call["earlier_bytes"] :]
            self._context.begin(call, json.loads(earlier) if earlier else ())
            inputs = self._inputs(call["inputs"], frame.body)
            if frame.descriptors:
                document = Document(frame.descriptors[0], call["document"], self._scratch / "inbox")
                inputs["blob"] = document.blob
            if self._spec.wants_context:
                inputs["ctx"] = self._context
            output = self._module.run(**inputs)  # type: ignore[attr-defined]
            return self._answer(output)
        except MemoryError:
            return {
                "outcome": "crash",
                "detail": "memory_limit",
                "message": "It asked for more than its memory.",
                "recycle": "memory",
            }, b""
        except _BadInput as error:
            return {"outcome": "contract_violation", "detail": f"input:{error.name}", "message": str(error)}, b""
        except Exception as error:
            if not isinstance(error, ModuleError):
                sys.stderr.write(traceback_of(error))
            return {"raised": failure_of(error)}, b""
        finally:
            if document is not None:
                document.close()
            else:
                for descriptor in frame.descriptors:
                    os.close(descriptor)

    def _inputs(self, listed: list[list[Any]], body: bytes) -> dict[str, Any]:
        values: dict[str, Any] = {}
        position = 0
        for name, length in listed:
            if length is None:
                values[name] = None
                continue
            try:
                values[name] = self._adapters[name].validate_json(body[position : position + length])
            except ValidationError as error:
                raise _BadInput(name, error) from None
            position += length
        return values

    def _answer(self, output: Any) -> tuple[dict[str, Any], bytes]:
        wanted = self._spec.output
        if not isinstance(output, wanted):
            message = f"run returned {type(output).__name__}, declared is {wanted.__name__}."
            return {"outcome": "contract_violation", "detail": "wrong_type", "message": message}, b""
        try:
            body = serialise(output)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            message = f"The output cannot become JSON: {type(error).__name__}."
            return {"outcome": "contract_violation", "detail": "wrong_type", "message": message}, b""
        if len(body) > self._limits.max_output_bytes:
            return too_large(len(body), self._limits.max_output_bytes), b""
        return {"outcome": "succeeded"}, body

    def _tidy(self) -> None:
        """Empty the folder for temporary files; what `open` put into scratch stays."""
        folder = self._scratch / "tmp"
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)

    def _worn_out(self) -> str | None:
        """Why this worker should be replaced after this call, or None."""
        if _left_processes(self._children):
            return "processes"
        if threading.active_count() > self._threads:
            return "threads"
        if self._calls >= MAX_CALLS:
            return "calls"
        if self._calls % _LOOK_EVERY == 0:
            if _open_descriptors() > self._descriptors + MAX_NEW_DESCRIPTORS:
                return "descriptors"
            if _resident_bytes() > self._resident + self._memory_bytes // 2:
                return "memory"
        return None


class _BadInput(Exception):
    """An input does not fit the type that the module declared."""

    def __init__(self, name: str, error: ValidationError) -> None:
        first = error.errors(include_input=False, include_url=False)[0]
        where = "/".join(str(part) for part in first["loc"])
        super().__init__(f"The module does not accept its input {name}: /{where}: {first['msg']}.")
        self.name = name


def serialise(output: BaseModel) -> bytes:
    """The output as JSON bytes, as its serialization schema says."""
    return output.model_dump_json(by_alias=True, warnings=False).encode()


def too_large(size: int, most: int) -> dict[str, Any]:
    """The answer for an output beyond the cap."""
    message = f"The output has {size} bytes; at most {most} are allowed."
    return {"outcome": "contract_violation", "detail": "output_too_large", "message": message}


def _left_processes(known: set[int]) -> bool:
    """Whether a call left processes beside the *known* ones that `open` started; buries those that have ended."""
    if known:
        return not known.issuperset(measures.children())
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _open_descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
