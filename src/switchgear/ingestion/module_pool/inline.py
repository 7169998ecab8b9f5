"""Level L0: the module runs in this process, called directly. For modules that are pure Python and bounded.

Source: DESIGN 5 (isolation), RELIABILITY 4.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from switchgear.core.module_registry.lacks import lack_of_failure
from switchgear.domain.run import AttemptResult, Outcome
from switchgear.domain.stage import Lack
from switchgear.ingestion.module_pool import outcomes
from switchgear.ingestion.module_pool.redaction import (
    LEAKING_FILE,
    LEAKING_OUTPUT,
    Redactor,
    references,
    resolve,
)
from switchgear.ingestion.module_pool.values import Call, DocumentFile, ModuleUse, StartRefused, Surroundings
from switchgear.sdk.errors import Unavailable
from switchgear.sdk.host.context import delivery_key, delivery_series, secret_fix
from switchgear.sdk.host.failures import failure_of
from switchgear.sdk.host.fork_server import load
from switchgear.sdk.module import Module
from switchgear.sdk.values import Blob, Decision, Earlier, SecretRef


class InlinePool:
    """One opened module; calls are not interrupted, so its limits are a promise of the module."""

    level: Final = "L0"

    def __init__(self, use: ModuleUse, surroundings: Surroundings, folder: Path) -> None:
        self.use = use
        self._around = surroundings
        self._folder = folder
        self._module: Module | None = None
        self._output: Any = None
        self._names: tuple[str, ...] = ()
        self._wants_blob = False
        self._wants_context = False
        self._secrets: dict[str, str] = {}
        self._redactor = Redactor()
        self.calls = 0
        self.idle = asyncio.Event()  #: set while no call runs: always, as seen from outside
        self.idle.set()

    def describe(self) -> dict[str, Any]:
        """Module, level and count of calls; for `/status`."""
        return {"module": self.use.module_id, "level": self.level, "workers": 0, "busy": 0, "calls": self.calls}

    async def warm(self) -> Lack | None:
        """Import and open the module; returns why that is not possible."""
        if self._module is not None:
            return None
        step = "import"
        try:
            cls = load(self.use.module_id)
            step = "settings"
            settings = json.loads(self.use.settings_json)
            names = references(settings, self.use.secret_pointers)
            self._secrets = resolve(self.use.module_id, names, self._around.resolve_secret)
            self._redactor = Redactor(self._secrets.values())
            module = cls()
            module.settings = cls.Settings.model_validate(settings)
            step = "open"
            self._folder.mkdir(parents=True, exist_ok=True)
            module.open(InlineContext(self._around, self._folder, self._secrets, self.use.module_id))
        except StartRefused as refused:
            return refused.lack
        except Exception as error:
            return self._lack(error, step)
        spec = cls.spec
        self._names = tuple(name for name in spec.inputs if name != "blob")
        self._wants_blob = "blob" in spec.inputs
        self._wants_context = spec.wants_context
        self._output = spec.output
        self._module = module
        return None

    def _lack(self, error: Exception, step: str) -> Lack:
        return lack_of_failure(self.use.module_id, self._redactor.plain(failure_of(error)), step)

    async def call(self, call: Call) -> AttemptResult:
        """Run one attempt; never raises for what the module did."""
        if self._module is None:
            lack = await self.warm()
            if lack is not None:
                return outcomes.of_lack(lack)
        began = time.monotonic_ns()
        self.calls += 1
        context: InlineContext | None = None
        inputs: dict[str, Any] = {}
        for name in self._names:
            value = call.inputs.get(name)
            inputs[name] = None if value is None else value.model
        if self._wants_blob or self._wants_context:
            context = InlineContext(self._around, self._folder, self._secrets, self.use.module_id)
            context.begin(call)
            if self._wants_blob:
                inputs["blob"] = context.document(call.document)
            if self._wants_context:
                inputs["ctx"] = context
        try:
            output = self._module.run(**inputs)  # type: ignore[union-attr]
            return self._answered(output, (time.monotonic_ns() - began) // 1000)
        except Exception as error:
            return self._failed(error, began)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
            return AttemptResult(Outcome.CRASH, f"exit:{code}", "It tried to end the process.", duration_us=_us(began))
        finally:
            if context is not None:
                context.end()

    def _answered(self, output: Any, duration_us: int) -> AttemptResult:
        if not isinstance(output, self._output):
            message = f"run returned {type(output).__name__}, declared is {self._output.__name__}."
            return AttemptResult(Outcome.CONTRACT_VIOLATION, "wrong_type", message, duration_us=duration_us)
        if self._secrets and self._redactor.finds_in(output.model_dump_json().encode()):
            message = LEAKING_OUTPUT
            return AttemptResult(Outcome.CONTRACT_VIOLATION, "secret_in_output", message, duration_us=duration_us)
        return AttemptResult(Outcome.SUCCEEDED, "", "", output, None, duration_us)

    def _failed(self, error: Exception, began: int) -> AttemptResult:
        found = outcomes.of_error(error)
        return AttemptResult(
            outcome=found.outcome,
            detail=found.detail,
            message=self._redactor.text(found.message),
            retryable=found.retryable,
            after_s=found.after_s,
            needs_review=found.needs_review,
            facts=self._redactor.plain(found.facts),
            duration_us=_us(began),
        )

    async def close(self) -> None:
        """Close the module."""
        module, self._module = self._module, None
        if module is not None:
            module.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _us(began: int) -> int:
    return (time.monotonic_ns() - began) // 1000


class InlineContext:
    """`Context` of an inline module."""

    def __init__(self, around: Surroundings, scratch: Path, secrets: Mapping[str, str], module_id: str) -> None:
        self._around = around
        self._secrets = secrets
        self._module_id = module_id
        self._inbox: Path | None = None
        self._delivery_base = ""
        self.log = self
        self.scratch = scratch
        self.limits = around.limits
        self.run_id = self.document_id = ""
        self.attempt = 0
        self.deadline = 0.0
        self.decision: Decision | None = None
        self.earlier: Sequence[Earlier] = ()

    def begin(self, call: Call) -> None:
        """Take over what belongs to one attempt."""
        self.run_id, self.document_id, self.attempt = call.run_id, call.document_id, call.attempt
        self.deadline = time.monotonic() + call.timeout_s
        self.decision, self.earlier = call.decision, call.earlier
        self._delivery_base = call.delivery_base

    def document(self, file: DocumentFile) -> Blob:
        """The run's document, readable."""
        blob = Blob(
            sha256=file.sha256, size_bytes=file.size_bytes, media_type=file.media_type, file_name=file.file_name
        )
        return blob.bound(lambda: cast(BinaryIO, file.path.open("rb")), lambda: self._copy(file))

    def _copy(self, file: DocumentFile) -> Path:
        if self._inbox is None:
            self._inbox = Path(tempfile.mkdtemp(dir=self.scratch))
        copy = self._inbox / f"document{Path(file.file_name).suffix[:9] if file.file_name else ''}"
        if not copy.exists():
            shutil.copyfile(file.path, copy)
            copy.chmod(0o400)
        return copy

    def end(self) -> None:
        """Remove the private copy."""
        if self._inbox is not None:
            shutil.rmtree(self._inbox, ignore_errors=True)

    def debug(self, event: str, **fields: Any) -> None:
        """Log for developers."""
        self._log("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log what is worth knowing."""
        self._log("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log what may need a look."""
        self._log("warning", event, fields)

    def _log(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        redactor = Redactor(self._secrets.values())
        plain = {name: redactor.text(str(value)[:1000]) for name, value in fields.items()}
        who = {"module": self._module_id, "run_id": self.run_id, "document_id": self.document_id}
        self._around.on_log({"level": level, "event": redactor.text(event), **who, "fields": plain})

    def secret(self, reference: SecretRef) -> str:
        """Return the secret's value; raises `Unavailable` when it is not there."""
        value = self._secrets.get(reference.root)
        if value is None:
            raise Unavailable(f"secret {reference.root} is not there", fix=secret_fix(reference.root))
        return value

    def remaining_s(self) -> float:
        """Seconds left until the deadline."""
        return self.deadline - time.monotonic()

    def save(self, path: Path, media_type: str = "application/octet-stream") -> Blob:
        """Keep a file of the scratch folder as an artifact."""
        if not path.resolve().is_relative_to(self.scratch.resolve()) or not path.is_file():
            raise ValueError(f"save takes a file below ctx.scratch, not {path}")
        if self._around.on_artifact is None:
            raise OSError("this server keeps no artifacts")
        if Redactor(self._secrets.values()).finds_in_file(path):
            raise OSError(f"the artifact was not kept: {LEAKING_FILE}")
        return self._around.on_artifact(path, media_type)

    def idempotency_key(self, target: str) -> str:
        """The delivery key for *target*."""
        return delivery_key(self._delivery_base, target)

    def delivery_series(self, target: str) -> str:
        """What all deliveries of this document to *target* have in common."""
        return delivery_series(self._delivery_base, target)
