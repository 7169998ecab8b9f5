"""What the command line prints, decides and sends; without a server."""

from __future__ import annotations

import copy
import io
import json
import logging
import os
import re
import stat
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.core.settings import Settings, load_settings
from switchgear.interface.cli import config_changes, config_files, output
from switchgear.interface.cli.activations import blocking_lines, describe, follow
from switchgear.interface.cli.app import run
from switchgear.interface.cli.client import connect
from switchgear.interface.cli.errors import CommandFailed, WrongUse
from switchgear.interface.cli.ingest import exit_code, files_below
from switchgear.interface.cli.instance import pipeline_text, settings_text
from switchgear.interface.cli.instance_location import (
    live_server,
    remove_server_file,
    require_instance,
    write_server_file,
)
from switchgear.interface.cli.runs import decision_lines, status_words
from switchgear.interface.cli.server_process import listen, loop_factory, prepare_home, url_of
from switchgear.interface.cli.tokens import expiry
from switchgear.invoice.pipeline import PIPELINE

Json = dict[str, Any]

NO_ADDRESSES = (
    *("nothing", "localhost:8420", "//host", "ftp://host", "http://", "http:///path", "http://:8420", " http://host"),
    *("http://host:port", "http://host:99999", "http://[::1", "http://ho\nst"),
)
ACTIVE: Json = {
    "id": "cfg_1",
    "pipeline": "invoice",
    "message": "because: of # this",
    "selections": [
        {"stage_id": "read", "module_id": "read-a", "settings": {"pages": 3}, "limits": {"timeout_s": 5}},
        {"stage_id": "extract", "module_id": "extract-a", "settings": {}, "limits": {}},
    ],
    "fallback_policies": [
        {
            "stage_id": "read",
            "chain": [{"module_id": "read-b", "settings": {"fast": True}, "on": ["error"], "threshold": None}],
            "then": "park",
            "budget_s": None,
        }
    ],
}
SCHEMA: Json = {
    "properties": {
        "languages": {"type": "array", "items": {"type": "string"}},
        "pages": {"type": "integer"},
        "name": {"type": "string"},
        "mode": {"$ref": "#/$defs/Mode"},
    },
    "$defs": {"Mode": {"enum": ["1", "2"], "type": "string"}},
}


def change(*words: str) -> config_changes.Change:
    return config_changes.apply(ACTIVE, config_changes.parse(words), lambda _: SCHEMA, lambda _: False)


# --- printing ---


@given(st.text())
def test_nothing_printed_can_steer_a_terminal(text: str) -> None:
    shown = output.printable(text)
    assert len(shown) == len(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2066\u2028\u200b" for c in shown)


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


def test_the_decision_says_who_served_who_was_wanted_and_which_rule_did_not_match() -> None:
    attempt = {"stage_id": "read", "module_id": "read-a", "outcome": "timeout", "detail": "", "message": ""}
    served = {**attempt, "module_id": "read-b", "outcome": "succeeded"}
    stage = {
        "stage_id": "read",
        "outcome": "succeeded",
        "module_id": "read-b",
        "wanted_module_id": "read-a",
        "degraded": True,
        "why": {
            "code": "fallback.timeout",
            "summary": "Stage read: read-b served instead of read-a (timeout).",
            "facts": {"outcome": "timeout", "detail": ""},
        },
    }
    rules = [{"candidate": 1, "module_id": "read-c", "on": ["error", "low_confidence"], "threshold": 0.5}]
    run = {
        "status": "succeeded",
        "stages": [stage],
        "attempts": [
            {**attempt, "message": "No answer within 1 ms.", "duration_us": 1500, "rules_not_matched": rules},
            {**served, "duration_us": 9000, "rules_not_matched": rules},
        ],
    }
    assert list(decision_lines(run)) == [
        "  read: read-b served; wanted read-a, which did not answer in time",
        "    read-a did not answer in time after 1.5 ms: No answer within 1 ms.",
        "    rule not matched: read-c serves on error, low_confidence below 0.5, and not on timeout",
    ]


def test_a_module_that_was_not_called_has_no_duration_and_a_stage_that_is_not_explained_has_its_summary() -> None:
    attempt = {
        "stage_id": "ocr",
        "module_id": "ocr-a",
        "outcome": "unavailable",
        "detail": "module.missing_package",
        "message": "It needs package rapid.",
        "duration_us": 0,
    }
    stage = {"stage_id": "ocr", "outcome": "succeeded", "module_id": "ocr-b", "wanted_module_id": "ocr-a"}
    why = {"code": "fallback.unavailable", "summary": "It is away."}
    run = {"status": "succeeded", "stages": [{**stage, "degraded": True, "why": why}], "attempts": [attempt]}
    assert list(decision_lines(run)) == [
        "  ocr: ocr-b served; wanted ocr-a. It is away.",
        "    ocr-a was not available (module.missing_package): It needs package rapid.",
    ]


def test_the_decision_says_why_a_stage_was_left_out_and_where_the_run_failed_without_a_call() -> None:
    left_out = {"stage_id": "ocr", "module_id": None, "outcome": "not_applicable", "duration_us": 0}
    run = {
        "status": "failed",
        "stage_id": "reconcile",
        "stages": [{"stage_id": "ocr", "outcome": "not_applicable", "module_id": None, "degraded": False}],
        "attempts": [{**left_out, "message": "no page is a scan"}],
    }
    assert list(decision_lines(run)) == [
        "  ocr: not applicable to this document: no page is a scan",
        "  reconcile: nobody has served it; no module was called",
    ]


def test_a_run_that_a_person_rejected_says_so_with_who_and_why() -> None:
    stage = {"stage_id": "review", "outcome": "succeeded", "module_id": "review-rules", "degraded": False}
    decision = {"action": "reject", "actor": "olga", "message": "not our invoice", "stage_id": "review"}
    run = {"status": "succeeded", "decision": decision, "stages": [stage], "attempts": []}
    assert status_words(run) == "rejected"
    assert status_words({**run, "status": "failed"}) == "failed, rejected"
    assert list(decision_lines(run)) == [
        "  review: review-rules served, as selected",
        "    olga rejected it: not our invoice",
    ]


# --- config set ---


def test_another_module_begins_without_the_settings_and_limits_of_the_old_one() -> None:
    found = change("read=read-c")
    assert found.selections == [{"stage_id": "read", "module_id": "read-c", "settings": {}, "limits": {}}]
    assert found.notes == [
        "read: the settings of read-a are left: {'pages': 3}.",
        "read: the limits of read-a are left: {'timeout_s': 5}.",
    ]


def test_the_active_configuration_is_not_changed_in_place() -> None:
    before = json.dumps(ACTIVE)
    change("read.settings.pages=9", "read.limits.retries=1", "read.then=fail", "read.fallback=")
    assert json.dumps(ACTIVE) == before


def test_a_selected_fallback_changes_places_with_the_module_that_was_selected() -> None:
    found = change("read=read-b")
    assert found.selections[0]["module_id"] == "read-b"
    assert found.selections[0]["settings"] == {"fast": True}
    assert found.fallback_policies[0]["chain"] == [{"module_id": "read-a", "settings": {"pages": 3}, "on": ["error"]}]
    assert found.notes


def invoice_change(*words: str, then: str | None = "park") -> config_changes.Change:
    """A change of the invoice pipeline's first configuration, whose review begins with settings of its own."""
    active = copy.deepcopy(dict(PIPELINE.default_configuration))
    for item in active["selections"]:
        item["settings"] = {"review_below": 0.7} if item["stage_id"] == "review" else {}
    for policy in active["fallback_policies"]:
        policy["then"] = then

    def is_ordered(stage_id: str) -> bool:
        stage = PIPELINE.stage(stage_id)
        assert stage is not None
        return stage.chain_is_ordered

    return config_changes.apply(active, config_changes.parse(words), lambda _: {}, is_ordered)


@pytest.mark.parametrize(
    ("word", "rest", "said"),
    [
        (
            "review=review-strict",
            ["review-always"],
            "review: review-rules leaves the chain: an earlier module never stands in for a later one. When nobody "
            "serves, the run waits on hold for a person (then=park). To put one back, add "
            "review.fallback=review-rules,review-always.",
        ),
        (
            "review=review-always",
            [],
            "review: review-rules, review-strict leave the chain: an earlier module never stands in for a later one. "
            "When nobody serves, the run waits on hold for a person (then=park). To put one back, add "
            "review.fallback=review-strict.",
        ),
        (
            "deliver=deliver-spool",
            [],
            "deliver: deliver-files leaves the chain: an earlier module never stands in for a later one. When nobody "
            "serves, the run waits on hold for a person (then=park). To put one back, add "
            "deliver.fallback=deliver-files.",
        ),
    ],
)
def test_nothing_earlier_in_an_ordered_chain_stands_in_for_what_is_selected(
    word: str, rest: list[str], said: str
) -> None:
    found = invoice_change(word)
    [policy] = found.fallback_policies
    assert [step["module_id"] for step in policy["chain"]] == rest
    assert policy["then"] == "park"
    assert said in found.notes


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("fail", "the run fails (then=fail)"),
        ("skip", "the run goes on without it (then=skip)"),
        (None, "the run waits on hold when nothing could be tried, and fails when something was"),
    ],
)
def test_the_note_about_an_ordered_chain_says_how_it_ends_now(then: str | None, said: str) -> None:
    assert said in invoice_change("review=review-always", then=then).notes[-1]
    assert "(then=fail)" in invoice_change("review=review-always", "review.then=fail").notes[-1]


def test_who_names_the_chain_of_an_ordered_stage_gets_it_with_the_settings_that_were_there() -> None:
    found = invoice_change("review=review-always", "review.fallback=review-strict,review-rules")
    [policy] = found.fallback_policies
    assert [step["module_id"] for step in policy["chain"]] == ["review-strict", "review-rules"]
    assert policy["chain"][1]["settings"] == {"review_below": 0.7}
    assert not any("leave" in note and "chain" in note for note in found.notes)


def test_whether_a_chain_is_ordered_is_asked_only_when_the_module_is_in_it() -> None:
    asked: list[str] = []

    def is_ordered(stage_id: str) -> bool:
        asked.append(stage_id)
        return False

    for word in ("read=read-c", "read=read-a", "extract=extract-b", "read.then=fail", "read=read-b"):
        config_changes.apply(ACTIVE, config_changes.parse([word]), lambda _: SCHEMA, is_ordered)
    assert asked == ["read"]


def test_values_follow_the_schema_of_the_setting() -> None:
    found = change(
        "extract.settings.languages=de,en",
        "extract.settings.pages=7",
        "extract.settings.name=12",
        "extract.settings.mode=1",
        "extract.limits.timeout_s=2.5",
    )
    assert found.selections[0]["settings"] == {"languages": ["de", "en"], "pages": 7, "name": "12", "mode": "1"}
    assert found.selections[0]["limits"] == {"timeout_s": 2.5}


def test_the_chain_keeps_what_is_known_of_a_module_and_fills_in_the_rest() -> None:
    policy = change("read.fallback=read-c,read-b", "read.then=fail", "read.budget_s=9").fallback_policies[0]
    assert [step["module_id"] for step in policy["chain"]] == ["read-c", "read-b"]
    assert policy["chain"][0]["on"] == list(config_changes.FAULTS)
    assert policy["chain"][1] == {"module_id": "read-b", "settings": {"fast": True}, "on": ["error"]}
    assert (policy["then"], policy["budget_s"]) == ("fail", 9)


@pytest.mark.parametrize("again", ["read.limits.timeout_s=6", "read.limits.timeout_s=5"])
def test_what_is_given_twice_is_wrong_use(again: str) -> None:
    with pytest.raises(WrongUse, match=r"read\.limits\.timeout_s is given twice"):
        change("read.limits.timeout_s=5", again)


@pytest.mark.parametrize("value", ["1e400", "[1, -1e999]"])
def test_a_number_that_is_too_large_is_wrong_use(value: str) -> None:
    with pytest.raises(WrongUse, match="too large"):
        change(f"read.limits.timeout_s={value}")


@pytest.mark.parametrize("word", ["read", "=x", "read.=x", "read.color=blue", "read.settings=x", "read.limits.a.b=1"])
def test_what_is_no_change_is_wrong_use(word: str) -> None:
    with pytest.raises(WrongUse):
        change(word)


def test_a_setting_of_a_stage_without_a_module_says_what_to_do() -> None:
    with pytest.raises(WrongUse, match="Select one with STAGE=MODULE"):
        change("ocr.settings.pages=1")


# --- configuration files ---


def test_a_written_configuration_reads_back_as_the_same_body(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(config_files.write(ACTIVE))
    body, pipeline = config_files.read(file)
    assert pipeline == "invoice"
    assert body["message"] == ACTIVE["message"]
    assert body["selections"][0] == ACTIVE["selections"][0]
    assert body["fallback_policies"] == [
        {
            "stage_id": "read",
            "chain": [{"module_id": "read-b", "settings": {"fast": True}, "on": ["error"]}],
            "then": "park",
        }
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("selections: []", "does not say its format"),
        ("format: 2", "has format 2"),
        ("- a", "holds no configuration"),
        ("a: [", "is no YAML"),
        ("format: !!python/object:os.system 1", "JSON does not have"),
        ("format: 1\nselections: []\nselections: []", "line 3 has a key that stands there before"),
        ("format: 1\nselections: [{settings: {a: 1, a: 2}}]", "line 2 has a key that stands there before"),
        ("format: 1\nx: .inf", "line 2 has a number that is none"),
        ("format: 1\nx: 1.0e+400", "line 2 has a number that is none"),
        ("format: 1\nx: .nan", "line 2 has a number that is none"),
        ("format: 1\nx: 2026-01-31", "line 2 has a value that JSON does not have"),
        ("format: 1\nx: !!binary aGk=", "line 2 has a value that JSON does not have"),
        ("format: 1\nx: !!set {a, b}", "line 2 has a value that JSON does not have"),
        ('format: 1\nx: "\\ud800"', "line 2 has a text with a character"),
        ("format: 1\nx: &a [*a]", "line 2 refers to what it stands in"),
        (
            "a: &a0 [1]\n" + "".join(f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)),
            "more than",
        ),
        ("format: 1\nx: {1: 2}", "line 2 has a key that is no text"),
    ],
)
def test_what_is_no_configuration_file_is_refused_with_the_reason(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(text)
    with pytest.raises(WrongUse, match=says):
        config_files.read(file)


def test_a_file_for_another_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="for the pipeline 'receipt'"):
        config_files.check_pipeline(tmp_path, "receipt", "invoice")


def test_the_files_of_init_are_accepted_as_they_are(tmp_path: Path) -> None:
    from switchgear.invoice.pipeline import PIPELINE

    (tmp_path / "switchgear.toml").write_text(settings_text("invoice"))
    settings = load_settings(tmp_path, environment={})
    assert settings.home == tmp_path / "switchgear-data"
    missing = set(Settings.model_fields) - {name for name, _, _ in commented_settings()} - {"pipeline"}
    assert missing == {"bootstrap_token"}
    (tmp_path / "pipeline.yaml").write_text(pipeline_text(PIPELINE))
    body, _ = config_files.read(tmp_path / "pipeline.yaml")
    assert {item["stage_id"] for item in body["selections"]} == {stage.id for stage in PIPELINE.stages}
    assert body["fallback_policies"] == PIPELINE.default_configuration["fallback_policies"]


def commented_settings() -> list[tuple[str, int, bool]]:
    """Of each commented line with TOML in the template of `init`: the name, its number, whether it is an example."""
    lines = settings_text("invoice").splitlines()
    found = [(number, re.match(r"# ([a-z_]+) = |# \[", line)) for number, line in enumerate(lines)]
    return [
        (match[1] or "", number, lines[number - 1].endswith("None by default; an example:"))
        for number, match in found
        if match is not None
    ]


@pytest.mark.parametrize(("name", "number", "is_example"), commented_settings())
def test_a_line_of_the_settings_of_init_gives_the_default_when_it_is_uncommented(
    tmp_path: Path, name: str, number: int, is_example: bool
) -> None:
    lines = settings_text("invoice").splitlines()
    lines[number] = lines[number].removeprefix("# ")
    default = getattr(load_settings(tmp_path, environment={}), name)
    (tmp_path / "switchgear.toml").write_text("\n".join(lines))
    settings = load_settings(tmp_path, environment={})
    assert settings.origin_of(name) == str(tmp_path / "switchgear.toml")
    assert (getattr(settings, name) == default) is not is_example


# --- exit codes, files, times ---


def test_the_exit_code_of_waiting_is_that_of_the_worst_run() -> None:
    def code(*statuses: str, problem: bool = False) -> int:
        sent: list[Json] = [{"run": {}} for _ in statuses] + ([{"problem": {}}] if problem else [])
        return exit_code(sent, [{"status": status} for status in statuses], waited=True)

    assert code("succeeded", "succeeded") == 0
    assert code("succeeded", "parked") == 3
    assert code("parked", "failed") == 1
    assert code("parked", problem=True) == 1
    assert exit_code([{"run": {}}], [{"status": "queued"}], waited=False) == 0


def test_a_long_name_is_shown_by_its_begin_and_its_end() -> None:
    assert output.short_name("a" * 60) == "a" * 60
    assert output.short_name("a" * 100 + ".pdf") == "a" * 39 + "\N{HORIZONTAL ELLIPSIS}" + "a" * 16 + ".pdf"


def test_folders_are_walked_in_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.pdf", "a/c.pdf", ".hidden", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [path.name for path in files_below([tmp_path])] == ["c.pdf", "b.pdf"]
    with pytest.raises(WrongUse, match="does not exist"):
        list(files_below([tmp_path / "missing"]))
    with pytest.raises(WrongUse, match="neither a file nor a folder"):
        list(files_below([Path(os.devnull)]))


def test_a_token_ends_after_a_duration_or_at_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert expiry("90d", now) == now + timedelta(days=90)
    assert expiry("2027-01-31T00:00:00+00:00", now).year == 2027
    with pytest.raises(WrongUse, match="is no time"):
        expiry("soon", now)


# --- instance, server ---


def test_without_an_instance_the_paths_that_were_looked_at_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SWITCHGEAR_")]:
        monkeypatch.delenv(name)
    with pytest.raises(WrongUse, match="switchgear init") as refused:
        require_instance()
    assert str(tmp_path) in refused.value.message
    assert run(["runs", "list"]) == 2
    assert "switchgear init" in capsys.readouterr().err


def test_a_named_server_needs_a_token(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SWITCHGEAR_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("SWITCHGEAR_TOKEN", raising=False)
    assert run(["runs", "list"]) == 2
    assert "SWITCHGEAR_TOKEN" in capsys.readouterr().err


@pytest.mark.parametrize("url", NO_ADDRESSES)
@pytest.mark.parametrize("words", [["status"], ["doctor"]])
def test_an_address_that_names_no_server_is_wrong_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], url: str
) -> None:
    monkeypatch.setenv("SWITCHGEAR_URL", url)
    monkeypatch.setenv("SWITCHGEAR_TOKEN", "token")
    assert run(words) == 2
    printed, said = capsys.readouterr()
    assert printed == ""
    assert said == (
        "SWITCHGEAR_URL holds no address of a server. Set it to one like http://127.0.0.1:8420, "
        "or unset it for the instance here.\n"
    )


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://127.0.0.1:8420", "http://127.0.0.1:8420"),
        ("https://switchgear.example", "https://switchgear.example"),
        ("HTTPS://[::1]:65535/", "HTTPS://[::1]:65535"),
        ("http://host/behind/a/proxy/", "http://host/behind/a/proxy"),
    ],
)
def test_an_address_of_a_server_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, url: str, where: str) -> None:
    monkeypatch.setenv("SWITCHGEAR_URL", url)
    monkeypatch.setenv("SWITCHGEAR_TOKEN", "token")
    with connect() as api:
        assert api.where == where


@pytest.mark.parametrize("token", ["\u00e9", "a b", "a\nb"])
def test_a_token_that_can_be_none_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], token: str
) -> None:
    monkeypatch.setenv("SWITCHGEAR_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SWITCHGEAR_TOKEN", token)
    assert run(["status"]) == 2
    error = capsys.readouterr().err
    assert "SWITCHGEAR_TOKEN is no token" in error
    assert "Traceback" not in error


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


def test_a_server_that_does_not_answer_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with listen("127.0.0.1", 0) as taken:
        url = url_of(taken)
    monkeypatch.setenv("SWITCHGEAR_URL", url)
    monkeypatch.setenv("SWITCHGEAR_TOKEN", "x")
    assert run(["status"]) == 1
    error = capsys.readouterr().err
    assert "does not answer" in error
    assert "Traceback" not in error


def test_the_server_file_is_for_the_owner_and_only_believed_while_its_process_lives(tmp_path: Path) -> None:
    write_server_file(tmp_path, "http://127.0.0.1:5")
    assert stat.S_IMODE((tmp_path / "server.json").stat().st_mode) == 0o600
    found = live_server(tmp_path)
    assert found is not None
    assert (found.url, found.process_id) == ("http://127.0.0.1:5", os.getpid())
    remove_server_file(tmp_path)
    assert live_server(tmp_path) is None
    (tmp_path / "server.json").write_text(json.dumps({"url": "http://127.0.0.1:5", "pid": 2**22 + 1}))
    assert live_server(tmp_path) is None
    (tmp_path / "server.json").write_text("{")
    assert live_server(tmp_path) is None


def test_choosing_the_event_loop_leaves_the_loggers_of_the_library_to_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    library = logging.getLogger("uvicorn")
    monkeypatch.setattr(library, "handlers", [])
    monkeypatch.setattr(library, "propagate", True)
    monkeypatch.setattr(library, "level", logging.NOTSET)
    loop_factory()
    assert library.handlers == []  # else its lines would stand as plain text between lines of JSON
    assert library.propagate
    assert library.level == logging.NOTSET


def test_a_taken_port_is_one_sentence() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandFailed, match=f"Cannot listen on 127.0.0.1:{port}"):
            listen("127.0.0.1", port)


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandFailed, match="cannot be written"):
        prepare_home(tmp_path / "file" / "home")


def test_init_writes_two_files_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "billing"]) == 0
    assert sorted(path.name for path in (tmp_path / "billing").iterdir()) == ["pipeline.yaml", "switchgear.toml"]
    assert run(["init", "billing"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert run(["init", "other", "--pipeline", "nothing"]) == 2
    assert not (tmp_path / "other").exists()
