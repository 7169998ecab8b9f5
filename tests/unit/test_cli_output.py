"""What the command line prints is harmless on a terminal, whole in a file, and names the command that helps."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any, ClassVar, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from switchgear.interface.cli import output
from switchgear.interface.cli.activations import blocking_lines, describe, follow
from switchgear.interface.cli.app import run


@given(st.text())
def test_nothing_printed_can_steer_a_terminal(text: str) -> None:
    shown = output.printable(text)
    assert len(shown) == len(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2066\u2028\u200b" for c in shown)


@pytest.mark.parametrize("print_it", [output.print_json, output.print_json_line])
@given(st.binary(max_size=20))
@example(b"invoice\xff.pdf")
def test_json_is_utf_8_and_keeps_file_names_that_are_none(print_it: Callable[[Any], None], name: bytes) -> None:
    text = name.decode("utf-8", "surrogateescape")
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict", newline="")
    with redirect_stdout(stream):
        print_it({"file": text, "name": "Bücher"})
    stream.flush()
    raw = stream.buffer.getvalue()
    assert json.loads(raw)["file"] == text
    assert "Bücher".encode() in raw  # what is text stays readable


def test_escape_sequences_in_names_are_shown_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_table(("name",), [("\x1b[31mred\nline",), ("\u202efdp.exe",)])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert shown.count("\n") == 3


def test_a_table_that_is_no_terminal_is_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_table(("name", "text"), [("a", "x" * 500), ("bb", "")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["name  text", "a     " + "x" * 500, "bb"]


def test_an_empty_table_says_so_on_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_table(("name",), [], empty="Nothing.")
    seen = capsys.readouterr()
    assert (seen.out, seen.err) == ("", "Nothing.\n")


def test_people_read_on_hold_where_the_api_says_parked() -> None:
    assert output.state_word("parked") == "on hold"


def test_why_shows_the_sentence_and_the_command_that_helps(capsys: pytest.CaptureFixture[str]) -> None:
    why = {
        "code": "parked.review",
        "summary": "Two totals differ.",
        "blocking": ["run_1"],
        "next_actions": [
            {"label": "Release it", "role": "operator", "cli": "switchgear documents release doc_1 -m WHY"},
            {"label": "Look", "role": "viewer", "method": "GET", "path": "/api/v1/runs"},
        ],
    }
    output.show_why(why)
    assert capsys.readouterr().out.splitlines() == [
        "Two totals differ. [parked.review]",
        "  blocked by run_1",
        "  Release it: switchgear documents release doc_1 -m WHY",
        "  Look: GET /api/v1/runs",
    ]


def test_a_problem_becomes_its_sentence_every_finding_and_the_next_command() -> None:
    problem = {
        "detail": "The configuration does not fit.",
        "errors": [{"code": "selection.unknown_module", "stage_id": "read", "detail": "No x.", "hint": "Try y."}],
        "more": 3,
        "next_actions": [{"label": "List", "cli": "switchgear modules list"}],
    }
    assert output.problem_lines(problem) == [
        "The configuration does not fit.",
        "  read: No x. [selection.unknown_module]",
        "    Try y.",
        "  and 3 more",
        "  List: switchgear modules list",
    ]


def test_a_drain_is_told_by_what_is_left_and_waiting() -> None:
    activation = {
        "kind": "activate",
        "state": "draining",
        "from_version": 2,
        "configuration_version": 3,
        "is_pending": True,
        "runs_remaining": 1,
        "runs_held": 2,
    }
    assert describe(activation) == "activate v2 -> v3: draining, 1 left, 2 waiting"
    ended = {**activation, "state": "applied", "is_pending": False, "runs_remaining": None, "from_version": None}
    assert describe(ended) == "activate nothing -> v3: applied"


def test_a_drain_names_the_stage_of_each_run_that_it_waits_for_and_says_it_again_when_that_changes() -> None:
    run = {"id": "run_1", "document_name": "a.pdf", "stage_id": "read", "age_s": 3.0}
    begins = {**run, "id": "run_2", "stage_id": None}
    activation = {"blocking": [run, begins]}
    assert list(blocking_lines(activation)) == [
        "  waits for run_1 (a.pdf, in read, 3.0 s)",
        "  waits for run_2 (a.pdf, at its beginning, 3.0 s)",
    ]

    class Drain:
        in_process = True
        seen: ClassVar = iter([run, {**run, "age_s": 4.0}, {**run, "stage_id": "extract"}])

        def get(self, path: str, **query: Any) -> dict[str, Any]:
            state = {"id": "act_1", "kind": "activate", "state": "draining", "configuration_version": 2}
            if query:
                return {}
            one = next(self.seen, None)
            return {**state, "is_pending": one is not None, "blocking": [one] if one else []}

    shown = io.StringIO()
    with redirect_stdout(shown):
        follow(cast(Any, Drain()), "act_1")
    assert [line for line in shown.getvalue().splitlines() if "waits for" in line] == [
        "  waits for run_1 (a.pdf, in read, 3.0 s)",
        "  waits for run_1 (a.pdf, in extract, 3.0 s)",
    ]


def test_a_long_name_is_shown_by_its_begin_and_its_end() -> None:
    assert output.short_name("a" * 60) == "a" * 60
    assert output.short_name("a" * 100 + ".pdf") == "a" * 39 + "\N{HORIZONTAL ELLIPSIS}" + "a" * 16 + ".pdf"


def test_a_refusal_of_the_command_itself_is_json_with_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWITCHGEAR_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("SWITCHGEAR_TOKEN", raising=False)
    assert run(["runs", "list", "--json"]) == 2
    assert "SWITCHGEAR_TOKEN" in json.loads(capsys.readouterr().err)["detail"]


@pytest.mark.parametrize("words", [["runs", "list", "--limit", "many"], ["runs", "list", "--nothing"]])
def test_a_command_line_that_does_not_fit_is_json_with_json(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run([*words, "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["detail"]
