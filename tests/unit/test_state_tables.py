"""The tables of states and roles, pair by pair, and the words of what they refuse. Source: DESIGN 4, 5; T014."""

from __future__ import annotations

import json

import pytest

from switchgear.domain import activation, configuration, run
from switchgear.domain.access import SYSTEM, Actor, Need, Role, least_role, who_may
from switchgear.domain.configuration import LockEntry
from switchgear.domain.errors import Code, NextAction, Why
from switchgear.domain.run import RunEvent, RunStatus, RunTransitionRefused
from switchgear.domain.stage import IsolationMissing, IsolationReport, Measure

#: DESIGN 5, written down a second time on purpose.
RUNS = {
    "queued": {"claim": "running", "cancel": "cancelled"},
    "running": {
        "succeed": "succeeded",
        "fail": "failed",
        "park": "parked",
        "cancel": "cancelled",
        "hand_back": "queued",
        "lose": "queued",
        "back_off": "queued",
    },
    "failed": {"retry": "queued"},
    "parked": {"retry": "queued", "decide": "queued", "cancel": "cancelled"},
}

#: INTERFACES 2: least role, and whether the scope `ingest` does.
ROLES = {
    Need.READ: ("viewer operator maintainer admin", "viewer"),
    Need.SEND: ("ingest operator maintainer admin", "operator or the scope ingest"),
    Need.OWN_RUNS: ("ingest viewer operator maintainer admin", "viewer or the scope ingest"),
    Need.CHANGE: ("operator maintainer admin", "operator"),
    Need.MODULES: ("maintainer admin", "maintainer"),
    Need.TOKENS: ("admin", "admin"),
}


@pytest.mark.parametrize("event", RunEvent)
@pytest.mark.parametrize("status", RunStatus)
def test_a_run_goes_where_its_table_says_or_nowhere(status: RunStatus, event: RunEvent) -> None:
    expected = RUNS.get(status, {}).get(event)
    if expected is not None:
        assert run.transition(status, event) == expected
        assert status in run.before(event)
        return
    with pytest.raises(RunTransitionRefused) as caught:
        run.transition(status, event)
    assert caught.value.code == Code.RUN_ILLEGAL_TRANSITION
    assert caught.value.fields == {"status": status.value, "event": event.value}
    assert status not in run.before(event)


def test_a_refused_step_of_a_run_says_from_where_it_can_be_taken() -> None:
    with pytest.raises(RunTransitionRefused) as caught:
        run.transition(RunStatus.SUCCEEDED, RunEvent.CANCEL)
    assert caught.value.message == (
        "A run that is succeeded cannot be cancelled; those that are queued, running or parked can."
    )
    with pytest.raises(RunTransitionRefused) as caught:
        run.transition(RunStatus.FAILED, RunEvent.DECIDE)
    assert caught.value.message == "A run that is failed cannot be released or rejected; those that are parked can."


def test_a_refused_step_of_a_configuration_says_what_is_allowed() -> None:
    with pytest.raises(configuration.IllegalTransition) as caught:
        configuration.transition(configuration.Status.VALIDATED, configuration.Action.ROLL_BACK)
    assert caught.value.message == "A configuration that is validated cannot roll_back. Allowed now: reject, activate."
    assert caught.value.fields == {"status": "validated", "action": "roll_back"}


@pytest.mark.parametrize(
    ("status", "action", "advice"),
    [
        ("draft", "activate", "Validate it first: that accepts or rejects it."),
        ("rejected", "activate", "Make another version without what its findings name."),
        ("active", "activate", "Allowed now: supersede, roll_back."),
        ("draft", "roll_back", "Allowed now: accept, reject."),
        ("rejected", "accept", "Allowed now: nothing."),
    ],
)
def test_a_refused_step_of_a_configuration_ends_with_what_to_do_instead(status: str, action: str, advice: str) -> None:
    with pytest.raises(configuration.IllegalTransition) as caught:
        configuration.transition(configuration.Status(status), configuration.Action(action))
    assert caught.value.message.endswith(f" {advice}")


def test_a_refused_step_of_a_run_that_nobody_asks_for_is_named_by_its_event() -> None:
    with pytest.raises(RunTransitionRefused) as caught:
        run.transition(RunStatus.QUEUED, RunEvent.SUCCEED)
    assert caught.value.message == "A run that is queued cannot succeed; those that are running can."


def test_a_refused_step_of_an_activation_says_where_it_stands() -> None:
    with pytest.raises(activation.NotPending) as caught:
        activation.transition(activation.State.APPLIED, activation.Event.CANCEL)
    assert caught.value.message.startswith("An activation that is applied cannot cancel.")
    assert caught.value.fields == {"state": "applied", "event": "cancel"}


@pytest.mark.parametrize("need", ROLES)
def test_who_may_is_the_role_table(need: Need) -> None:
    roles, words = ROLES[need]

    assert {str(role) for role in Role if Actor("somebody", role).may(need)} == set(roles.split())
    assert who_may(need) == words
    assert words.startswith(least_role(need))


def test_whoever_nobody_asks_for_may_be_anybody() -> None:
    assert who_may(Need.ANONYMOUS) == "anybody"
    assert all(SYSTEM.may(need) for need in Need)


def test_a_reason_is_the_same_json_everywhere_and_leaves_out_what_is_not_said() -> None:
    action = NextAction("Retry it", cli="switchgear runs retry run_1", body={"from": "failed"})
    why = Why(Code.PARKED_REVIEW, "Totals differ.", {"total": 3}, ["run_1"], [action])

    assert json.loads(json.dumps(why.as_json())) == {
        "code": "parked.review",
        "summary": "Totals differ.",
        "facts": {"total": 3},
        "blocking": ["run_1"],
        "next_actions": [
            {
                "label": "Retry it",
                "role": "operator",
                "cli": "switchgear runs retry run_1",
                "body": {"from": "failed"},
            }
        ],
        "help": "/problems/parked.review",
    }


def test_a_lock_entry_keeps_everything_that_tells_code_apart() -> None:
    assert LockEntry("1.2", "code", "contract", True).as_json() == {
        "version": "1.2",
        "code_digest": "code",
        "contract_digest": "contract",
        "editable": True,
    }


@pytest.mark.parametrize(
    ("here", "least", "allowed"), [("L0", "L1", False), ("L1", "L1", True), ("L3", "L1", True), ("L1", "L2", False)]
)
def test_a_module_works_from_its_least_isolation_upwards(here: str, least: str, allowed: bool) -> None:
    assert IsolationReport(here, ()).allows(least) is allowed


def test_isolation_is_held_to_what_is_set_and_never_in_name_only() -> None:
    measures = (Measure("own_session", True), Measure("files_enclosed", False, "the kernel has no Landlock"))
    report = IsolationReport("L1", measures)

    assert report.held_to("auto") is report
    assert report.held_to("L0") == IsolationReport("L0", measures)
    with pytest.raises(IsolationMissing) as caught:
        report.held_to("L2")
    assert caught.value.message == (
        "ISOLATION=L2 cannot be held, this machine has L1 (files_enclosed: the kernel has no Landlock). "
        "Set ISOLATION=auto, or run the server where nothing is missing."
    )
