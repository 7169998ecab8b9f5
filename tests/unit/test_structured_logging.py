"""Whatever is logged is one line of JSON, with its time and request, without secrets, and never too long."""

from __future__ import annotations

import io
import logging
import re
from datetime import UTC, datetime

import pytest

from factories.log_stream import LogStream
from switchgear.core.logging import bound, configure_logging, get_logger, request_context
from switchgear.core.observability import EventName
from switchgear.core.secrets import SecretResolver

pytestmark = pytest.mark.usefixtures("restored_logging")

CANARY = "canary-5519-secret"


def test_a_line_says_when_it_was_written_to_the_microsecond(log: LogStream) -> None:
    before = datetime.now(UTC)
    get_logger().info("something.said")
    after = datetime.now(UTC)
    [line] = log.lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["at"])
    assert before <= datetime.fromisoformat(line["at"]) <= after


@pytest.mark.parametrize("words", ["\u00e9 \u4e2d", "\ud800", "a\nb\x00", "x" * 1900])
def test_any_text_is_logged_as_it_is_and_escaped(log: LogStream, words: str) -> None:
    get_logger().info("something.said", summary=words, share=0.5, count=10**20, is_new=True)
    assert log.getvalue().isascii()
    [line] = log.lines()
    assert (line["event"], line["summary"]) == ("something.said", words)
    assert (line["share"], line["count"], line["is_new"]) == (0.5, 10**20, True)


def test_a_line_carries_request_caller_and_what_is_bound(log: LogStream) -> None:
    with request_context("req_1", "anna"), bound(run_id="run_1"):
        get_logger().info(EventName.RUN_CLAIMED, worker_id=None)
    get_logger().info(EventName.RUN_CLAIMED)
    inside, outside = log.lines()
    assert (inside["request_id"], inside["actor"], inside["run_id"]) == ("req_1", "anna", "run_1")
    assert "worker_id" not in inside, "what is not known is left out"
    assert not {"request_id", "actor", "run_id"} & set(outside)
    assert inside["at"].endswith("Z")


def test_secrets_are_taken_out_of_lines_and_tracebacks() -> None:
    resolver = SecretResolver({"SWITCHGEAR_SECRET_X": CANARY})
    resolver.resolve("env:SWITCHGEAR_SECRET_X")
    stream = LogStream()
    configure_logging(stream=stream, redact=resolver.redact)

    def fails(password: str) -> None:
        local = f"a local variable with {password}"
        raise ValueError(f"{password} was refused, not {len(local)}")

    try:
        fails(CANARY)
    except ValueError:
        get_logger().exception(EventName.TASK_FAILED, nested={"deep": [CANARY]})
        logging.getLogger("library").exception("library says %s", CANARY)
    ours, theirs = stream.lines()
    assert CANARY not in stream.getvalue()
    assert ours["nested"] == {"deep": ["[secret]"]}
    assert "locals" not in stream.getvalue()
    assert ours["exception"][0]["exc_type"] == theirs["exception"][0]["exc_type"] == "ValueError"
    assert (theirs["event"], theirs["logger"]) == ("library says [secret]", "library")


def test_the_level_is_kept() -> None:
    stream = LogStream()
    configure_logging(stream=stream, level="warning")
    get_logger().info(EventName.RUN_CLAIMED)
    get_logger().warning(EventName.RUN_LOST)
    assert [line["event"] for line in stream.lines()] == ["run.lost"]


def test_a_library_is_heard_from_warning_on(log: LogStream) -> None:
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("trouble")
    assert [line["event"] for line in log.lines()] == ["trouble"]


def test_text_for_people_has_no_json() -> None:
    stream = LogStream()
    configure_logging(stream=stream, log_format="text")
    get_logger().info(EventName.SERVER_STARTED, port=8420)
    assert "server.started" in stream.getvalue()
    assert "port=8420" in stream.getvalue()


def test_long_values_are_cut(log: LogStream) -> None:
    get_logger().info(EventName.TASK_FAILED, message="x" * 50_000)
    assert len(log.getvalue()) < 3000
    assert "(50000 characters)" in log.lines()[0]["message"]


def test_whatever_a_value_holds_a_line_is_one_line(log: LogStream) -> None:
    get_logger().info(EventName.TASK_FAILED, message="a\r\n\x1b[2J\u2028\u0085{}\n")
    assert log.getvalue().splitlines() == [log.getvalue().removesuffix("\n")]
    assert "\x1b" not in log.getvalue()
    assert log.lines()[0]["message"].startswith("a")


class Broken(io.StringIO):
    """A full disk, or a pipe whose reader is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(text)


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    configure_logging(stream=Broken())
    get_logger().warning(EventName.TASK_FAILED)
    logging.getLogger("library").warning("%d arguments are missing")
    logging.getLogger("library").warning("%d", "not a number")
