"""Versions are made, refused, compared, activated and rolled back by commands without a server."""

from __future__ import annotations

import json

import pytest

from factories.command_line import CommandsInProcess, write

pytestmark = pytest.mark.timeout(300)


def test_a_swap_a_fallback_and_a_rollback_are_told_as_they_were(switchgear: CommandsInProcess) -> None:
    write(switchgear.folder, one="first words")
    done = switchgear("config", "set", "upper=upper-faulty", "upper.settings.mode=raise", "-m", "Break", "--activate")
    assert "v2 made" in done
    assert "v1 -> v2: applied" in done
    (sent,) = switchgear.json("ingest", "one.txt", "--wait")
    assert sent["run"]["degraded"] is True
    why = switchgear("runs", "why", sent["run"]["id"])
    assert "one.txt: succeeded, degraded on v2" in why
    assert "served; wanted upper-faulty, which raised an error" in why
    assert "upper-faulty raised an error" in why
    shown = switchgear("config", "diff", "v1", "v2", expect=1)
    assert "upper" in shown
    switchgear("config", "diff", "v1", "v1")
    switchgear("config", "diff", "v1", "v99", expect=2)
    assert "rollback v2 -> v1: applied" in switchgear("config", "rollback", "-m", "Mend")
    assert switchgear.json("config", "show", "active")["version"] == 1
    history = switchgear("config", "history")
    assert "Break" in history
    assert "Mend" in history
    assert switchgear.json("audit", "verify")["ok"] is True
    actions = {event["action"] for event in switchgear.json("audit", "list")}
    assert {"configuration.created", "configuration.activated", "configuration.rolled_back"} <= actions


def test_a_refused_change_lists_every_finding_and_stores_nothing(switchgear: CommandsInProcess) -> None:
    ended = switchgear.run("config", "set", "upper=upper-txt", "count=load-text", expect=1)
    assert "selection.unknown_module" in ended.stderr
    assert "upper-text" in ended.stderr
    assert "selection.wrong_stage" in ended.stderr
    refused = switchgear.run("config", "set", "upper=upper-txt", "--json", expect=1)
    assert json.loads(refused.stderr.splitlines()[-1])["code"] == "configuration.invalid"
    assert [one["version"] for one in switchgear.json("config", "list")] == [1]


def test_in_an_ordered_chain_a_selected_fallback_is_served_by_what_came_after_it(switchgear: CommandsInProcess) -> None:
    write(switchgear.folder, one="first words")
    tried = switchgear.json("modules", "try", "check-other", "one.txt")
    assert tried["run"]["status"] == "succeeded"
    made = switchgear.run("config", "set", "check=check-other", "-m", "Stricter", "--activate")
    assert "check: check-count leaves the chain" in made.stderr
    assert "check.fallback=check-count" in made.stderr
    [policy] = [one for one in switchgear.json("config", "show")["fallback_policies"] if one["stage_id"] == "check"]
    assert (policy["chain"], policy["then"]) == ([], "park")
    # Elsewhere the two change places.
    assert "takes that place" in switchgear.run("config", "set", "upper=upper-other", "-m", "Other").stderr


def test_a_version_shows_its_stages_in_the_order_of_the_pipeline(switchgear: CommandsInProcess) -> None:
    stages = [stage["id"] for stage in switchgear.json("stages", "list")]
    shown = [line.split()[0] for line in switchgear("config", "show").splitlines() if line]
    assert [word for word in shown if word in stages] == stages


def test_a_list_that_is_cut_says_that_there_is_more(switchgear: CommandsInProcess) -> None:
    for seconds in (1, 2):
        switchgear("config", "set", f"upper.limits.timeout_s={seconds}", "-m", "More", "--activate")
    for words in (("config", "list"), ("config", "history"), ("activations", "list"), ("audit", "list")):
        cut = switchgear.run(*words, "--limit", "2")
        assert len(cut.stdout.splitlines()) == 1 + 2, words
        assert "There are more than these 2; --limit shows more." in cut.stderr, words
        assert "There are more" not in switchgear.run(*words, "--limit", "50").stderr, words


def test_a_configuration_goes_out_and_comes_back_as_a_file(switchgear: CommandsInProcess) -> None:
    switchgear("config", "export", "active", "-o", "out.yaml")
    same = switchgear("config", "create", "out.yaml", "-m", "The same")
    assert "the content is the same" in same
    text = (switchgear.folder / "out.yaml").read_text()
    assert switchgear("config", "show", "active", "--yaml") == text
    assert "It fits." in switchgear("config", "validate", "out.yaml")
    told = switchgear.json("config", "export", "active", "-o", "out.json")
    assert told == {"configuration": "v1", "file": "out.json"}
    assert "the content is the same" in switchgear("config", "create", "out.json", "-m", "The same")
    (switchgear.folder / "bad.yaml").write_text(text.replace("upper-text", "upper-nothing"))
    assert "It does not fit." in switchgear("config", "validate", "bad.yaml", expect=1)
    draft = switchgear("config", "create", "bad.yaml", "--draft")
    assert "v2 made (draft)" in draft
    assert "It does not fit." in switchgear("config", "validate", "v2", expect=1)
    (switchgear.folder / "other.yaml").write_text(text.replace("pipeline: tiny", "pipeline: invoice"))
    switchgear("config", "create", "other.yaml", expect=2)


def test_warnings_about_stages_that_were_not_changed_are_counted(switchgear: CommandsInProcess) -> None:
    chain = switchgear.run("config", "set", "upper.fallback=upper-nopackage", "-m", "Chain", "--activate").stderr
    assert "warning: upper: " in chain
    assert "upper-nopackage" in chain

    other = switchgear.run("config", "set", "count.limits.timeout_s=5", "-m", "Other").stderr

    assert "warning: upper" not in other
    assert "Warnings about other stages: 1, see `switchgear config show v3`." in other
    assert "upper-nopackage" in switchgear.run("config", "show", "v3").stderr


def test_an_earlier_combination_is_taken_up_again_by_the_command_that_asks_for_it(
    switchgear: CommandsInProcess,
) -> None:
    """Its version was made from another base than what is active now, and yet nothing is undone unsaid."""
    for change in ("upper.limits.retries=1", "count.limits.timeout_s=5", "upper.limits.retries=2"):
        switchgear("config", "set", change, "-m", "Step", "--activate")

    told = switchgear.run("config", "set", "upper.limits.retries=1", "-m", "Back")
    assert "v3 is known already: the content is the same (superseded)." in told.stdout
    assert "Activate it with `switchgear config activate v3 --accept-base-moved`." in told.stderr
    refused = switchgear.run("config", "activate", "v3", expect=1).stderr
    assert "Ask again with accept_base_moved if that is meant; else make the change again on v4." in refused

    assert "v4 -> v3: applied" in switchgear("config", "set", "upper.limits.retries=1", "-m", "Back", "--activate")
    again = switchgear.run("config", "set", "upper.limits.retries=1", "-m", "Back", "--activate")
    assert "v3 is the active configuration already; there is nothing to do." in again.stderr
    assert switchgear.json("config", "set", "upper.limits.retries=1", "--activate")["version"] == 3
