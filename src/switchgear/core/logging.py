"""Structured logs: one JSON object per line, without secrets, without document content. Source: INTERFACES 6, T013.

Event names come from `observability.EventName`. Values of resolved secrets are taken out of every line, and tracebacks
carry no local variables. A log that cannot be written (full disk, closed pipe) never stops the service.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, TextIO, cast

import structlog
from pydantic_core import PydanticSerializationError, to_json
from structlog.tracebacks import ExceptionDictTransformer

#: Id of the request that is being served; also written to audit entries and answers.
request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)
#: Name of the verified caller.
actor_var: ContextVar[str | None] = ContextVar("actor", default=None)

Redact = Callable[[Any], Any]
LogFormat = Literal["json", "text"]

_EventDict = MutableMapping[str, Any]
_LONGEST_VALUE: Final = 2000


class _Output:
    """Writes finished lines; what cannot be written is dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def msg(self, line: str) -> None:
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass

    log = debug = info = warning = warn = error = critical = fatal = failure = err = exception = msg


class _Logger:
    """Makes each of its methods once after `configure_logging`; making them anew for each line costs as much as it."""

    def __getattr__(self, name: str) -> Any:
        method = getattr(structlog.get_logger().bind(), name)
        vars(self)[name] = method
        return method


_LOGGER: Final = _Logger()


def renew() -> None:
    """Take over how the library is configured now; `configure_logging` does it."""
    vars(_LOGGER).clear()


class _Handler(logging.Handler):
    """Sends lines of libraries (uvicorn, alembic) the same way."""

    def __init__(self, output: _Output, formatter: logging.Formatter) -> None:
        super().__init__()
        self._output = output
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._output.msg(self.format(record))
        except Exception:  # a library's bad format string must not stop the service
            self._output.msg(json.dumps({"event": "log.lost", "logger": record.name}))


def configure_logging(
    *, log_format: LogFormat = "json", level: str = "info", stream: TextIO | None = None, redact: Redact | None = None
) -> None:
    """Set logging up for this process.

    Args:
        log_format: `json`, or `text` for people.
        level: `debug`, `info`, `warning` or `error`.
        stream: Where lines go; standard error when None.
        redact: Takes secret values out of plain data; see `core/secrets.py`.
    """
    output = _Output(stream if stream is not None else sys.stderr)
    chain = _processors(redact)
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer = _renderer(log_format)
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: output,
        cache_logger_on_first_use=True,
    )
    renew()
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *chain],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    root = logging.getLogger()
    root.handlers = [_Handler(output, formatter)]
    root.setLevel(max(number, logging.WARNING))


@contextlib.contextmanager
def request_context(request_id: str, actor: str | None = None) -> Iterator[None]:
    """Name the request and its caller in every line and audit entry written inside."""
    tokens = request_id_var.set(request_id), actor_var.set(actor)
    try:
        yield
    finally:
        request_id_var.reset(tokens[0])
        actor_var.reset(tokens[1])


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger; its lines carry the request, the caller, and what `bound` says."""
    return cast(structlog.typing.FilteringBoundLogger, _LOGGER)


#: Adds fields, such as run_id, to every line written inside a with block.
bound = structlog.contextvars.bound_contextvars


def _processors(redact: Redact | None) -> list[structlog.typing.Processor]:
    chain: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_context,
        structlog.processors.add_log_level,
        _stamp,
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False, max_frames=20)),
        _tidy,
    ]
    if redact is not None:
        chain.append(_redacting(redact))
    return chain


def _renderer(log_format: LogFormat) -> structlog.typing.Processor:
    if log_format == "text":
        return structlog.dev.ConsoleRenderer(colors=False, timestamp_key="at")
    return _as_json


_ENCODE: Final = json.JSONEncoder(default=str, separators=(",", ":")).encode  # made once, not for each line
_PLAIN: Final = frozenset({str, int, float, bool})


def _as_json(_logger: Any, _method: str, event: _EventDict) -> str:
    """Nearly every line is a few words and numbers, which are written sooner without the standard library."""
    if _PLAIN.issuperset(map(type, event.values())):
        try:
            return to_json(event, ensure_ascii=True).decode()
        except PydanticSerializationError:  # text that is no Unicode
            pass
    return _ENCODE(event)


@lru_cache(maxsize=2)
def _until_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _stamp(_logger: Any, _method: str, event: _EventDict) -> _EventDict:
    """Say when; of all lines of one second only the rest is written anew."""
    seconds, rest = divmod(time.time_ns() // 1000, 1_000_000)
    event["at"] = f"{_until_second(seconds)}.{rest:06d}Z"
    return event


def _add_context(_logger: Any, _method: str, event: _EventDict) -> _EventDict:
    request_id, actor = request_id_var.get(), actor_var.get()
    if request_id is not None:
        event.setdefault("request_id", request_id)
    if actor is not None:
        event.setdefault("actor", actor)
    return event


def _tidy(_logger: Any, _method: str, event: _EventDict) -> _EventDict:
    """Leave out what is not known, and cut what is too long for a line."""
    event["event"] = str(event["event"])  # not the member of an enumeration
    return {
        key: value if type(value) is not str or len(value) <= _LONGEST_VALUE else _cut(value)
        for key, value in event.items()
        if value is not None
    }


def _cut(value: str) -> str:
    return value[:_LONGEST_VALUE] + f"... ({len(value)} characters)"


def _redacting(redact: Redact) -> structlog.typing.Processor:
    def processor(_logger: Any, _method: str, event: _EventDict) -> Mapping[str, Any]:
        clean: Mapping[str, Any] = redact(event)
        return clean

    return processor
