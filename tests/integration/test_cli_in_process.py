"""Without a server, a command carries what is sent, reviewed and retried by itself, and tells it as it was."""

from __future__ import annotations

import pytest

from factories.command_line import CommandsInProcess, write

pytestmark = pytest.mark.timeout(300)


def test_documents_go_through_while_one_waits_and_are_known_afterwards(switchgear: CommandsInProcess) -> None:
    names = write(switchgear.folder, one="first words", two="second words")
    sent = switchgear.json("ingest", *names, "--wait")
    assert [item["run"]["status"] for item in sent] == ["succeeded", "succeeded"]
    again = switchgear("ingest", names[0])
    assert f"already known: {sent[0]['document']['id']}, last run succeeded" in again
    assert len(switchgear.json("runs", "list")) == 2
    (switchgear.folder / "copy.txt").write_text("first words")
    assert "\ncopy.txt " in switchgear("ingest", "copy.txt")  # the file that was sent, not its first name
    (new,) = switchgear.json("ingest", names[0], "--again", "--wait")
    told = switchgear("ingest", names[0], "--again")
    assert "already known" not in told
    assert f"known as {sent[0]['document']['id']}, new run queued" in told
    switchgear("runs", "cancel", switchgear.json("runs", "list")[0]["id"], "-m", "Enough")
    assert new["run"]["id"] != sent[0]["run"]["id"]
    assert len(switchgear.json("runs", "list", "--document", sent[0]["document"]["id"])) == 3
    document = sent[0]["document"]["id"]
    assert switchgear.json("documents", "invoice", document)["text"] == "FIRST WORDS"
    told = switchgear.json("documents", "invoice", document, "--csv", "-o", "result.csv")
    table = (switchgear.folder / "result.csv").read_bytes()
    assert told == {"document": document, "file": "result.csv", "bytes": len(table)}
    assert table.decode().splitlines() == switchgear("documents", "invoice", document, "--csv").splitlines()
    assert not table.startswith(b"{")
    assert "--csv or --json" in switchgear.run("documents", "invoice", document, "--csv", "--json", expect=2).stderr
    assert switchgear("documents", "get", sent[1]["document"]["id"]) == "second words"
    shown = switchgear("documents", "show", sent[1]["document"]["id"])
    assert "two.txt" in shown
    assert "text/plain" in shown
    assert "succeeded" in shown


def test_without_waiting_a_document_is_stored_and_says_what_it_waits_for(switchgear: CommandsInProcess) -> None:
    write(switchgear.folder, one="first words")
    ended = switchgear.run("ingest", "one.txt")
    assert "queued" in ended.stdout
    assert "switchgear serve" in ended.stderr
    (run,) = switchgear.json("runs", "list")
    assert switchgear.json("runs", "why", run["id"])["why"]["code"] == "waiting.worker"


def test_a_module_that_cannot_work_while_it_runs_tells_the_repair_by_rest_and_by_command(
    switchgear: CommandsInProcess,
) -> None:
    (name,) = write(switchgear.folder, one="first words")
    broken = ("upper=upper-faulty", "upper.settings.mode=unavailable", "upper.fallback=")
    switchgear("config", "set", *broken, "-m", "Break", "--activate")
    (sent,) = switchgear.json("ingest", name, "--wait", expect=3)
    run = switchgear.json("runs", "show", sent["run"]["id"])
    shown = switchgear("runs", "why", run["id"])

    repair = run["why"]["next_actions"][0]
    assert (repair["label"], repair["role"], repair["cli"]) == ("Repair it", "maintainer", "renew-licence tiny")
    assert "  Repair it: renew-licence tiny\n" in shown
    assert "the licence ended. To repair it: renew-licence tiny" in shown


def test_all_runs_that_failed_are_retried_at_once_after_a_look_at_which_they_are(switchgear: CommandsInProcess) -> None:
    names = write(switchgear.folder, one="first words", two="second words")
    broken = ("upper=upper-faulty", "upper.settings.mode=raise", "upper.fallback=", "upper.then=fail")
    switchgear("config", "set", *broken, "-m", "Break", "--activate")
    failed = [item["run"] for item in switchgear.json("ingest", *names, "--wait", expect=1)]
    listed = switchgear("runs", "list", "--status", "failed")
    assert [line.split()[3] for line in listed.splitlines()[1:]] == ["upper", "upper"]
    switchgear("config", "rollback", "-m", "Mend")

    shown = switchgear.run("runs", "retry", "--failed", "--stage", "upper", "--configuration", "active", "--dry-run")
    done = switchgear.json("runs", "retry", "--failed", "--stage", "upper", "--configuration", "active", "-m", "Mended")

    assert sorted(line.split()[0] for line in shown.stdout.splitlines()[1:]) == sorted(run["id"] for run in failed)
    assert "2 would be retried, 0 left as they are" in shown.stderr
    assert [switchgear.json("runs", "show", run["retried_as"])["retry_of"] for run in done["retried"]] == [
        run["id"] for run in done["retried"]
    ]
    assert "No run is retried" in switchgear.run("runs", "retry", "--failed", "--since", "2020-01-01").stderr
    assert "Did you mean 'upper'?" in switchgear.run("runs", "retry", "--stage", "uper", expect=1).stderr
    assert "Did you mean 'upper-faulty'?" in switchgear.run("runs", "retry", "--module", "uper-faulty", expect=1).stderr
    assert "Did you mean 'upper'?" in switchgear.run("modules", "list", "--stage", "uper", expect=1).stderr
    assert "Did you mean 'run.retried'?" in switchgear.run("audit", "list", "--action", "run.retry", expect=1).stderr
    assert "Name one run" in switchgear.run("runs", "retry", expect=2).stderr
    assert "Name one run" in switchgear.run("runs", "retry", failed[0]["id"], "--parked", expect=2).stderr


def test_what_a_fallback_served_is_listed_and_done_again_when_the_module_works(switchgear: CommandsInProcess) -> None:
    write(switchgear.folder, one="first words", two="second words")
    switchgear("modules", "disable", "upper-text", "-m", "Away")
    (sent,) = switchgear.json("ingest", "one.txt", "--wait")
    switchgear("modules", "enable", "upper-text", "-m", "Back")
    switchgear("ingest", "two.txt", "--wait")

    (listed,) = switchgear.json("runs", "list", "--degraded")
    assert listed["id"] == sent["run"]["id"]
    wanted = ("--degraded", "--stage", "upper", "--module", "upper-other", "--from", "upper")
    assert "1 would be retried" in switchgear.run("runs", "retry", *wanted, "--dry-run").stderr
    (done,) = switchgear.json("runs", "retry", *wanted, "-m", "It is back")["retried"]

    assert done["id"] == sent["run"]["id"]
    again = switchgear.json("runs", "show", done["retried_as"])
    assert again["retry_of"] == sent["run"]["id"]
    assert "No run is retried" in switchgear.run("runs", "retry", *wanted).stderr
    refused = switchgear.run("runs", "retry", "--degraded", "--failed", expect=1).stderr
    assert "Leave `status` and `code` out, or `degraded`." in refused


def test_a_review_ends_by_a_person_and_decides_the_exit_code(switchgear: CommandsInProcess) -> None:
    write(switchgear.folder, one="first words", two="second words")
    change = ("check=check-faulty", "check.settings.mode=review")
    switchgear("config", "set", *change, "-m", "Look at everything", "--activate")
    (sent,) = switchgear.json("ingest", "one.txt", "--wait", expect=3)
    document = sent["document"]["id"]
    assert "parked.review" in switchgear("runs", "why", sent["run"]["id"])
    assert "somebody has to look" in switchgear("runs", "list", "--status", "parked")
    switchgear("documents", "release", document, expect=2)  # a reason is needed
    assert "queued" in switchgear("documents", "release", document, "-m", "Seen")
    write(switchgear.folder, three="third words")
    switchgear("config", "set", "check.settings.mode=reject", "-m", "Reject everything", "--activate")
    ended = switchgear.run("ingest", "three.txt", "--wait", expect=1)
    assert "The document is encrypted." in ended.stdout


def test_a_document_that_a_person_rejected_is_shown_as_rejected_with_who_and_why(switchgear: CommandsInProcess) -> None:
    write(switchgear.folder, one="first words", two="second words")
    change = ("check=check-faulty", "check.settings.mode=review")
    switchgear("config", "set", *change, "-m", "Look at everything", "--activate")
    (sent,) = switchgear.json("ingest", "one.txt", "--wait", expect=3)
    document, run_id = sent["document"]["id"], sent["run"]["id"]
    switchgear("documents", "reject", document, "-m", "Not ours")
    switchgear("ingest", "two.txt", "--wait", expect=3)  # carries what waits, too

    assert switchgear.json("runs", "show", run_id)["status"] == "succeeded"
    for words in (("documents", "list"), ("runs", "list"), ("documents", "show", document), ("runs", "show", run_id)):
        lines = [line for line in switchgear(*words).splitlines() if run_id in line or line.startswith("status")]
        assert any("rejected" in line for line in lines), words
        assert not any("succeeded" in line for line in lines), words
    assert "rejected by local-admin: Not ours" in switchgear("documents", "show", document)
    decision = switchgear.json("documents", "list")[1]["last_run_decision"]
    assert (decision["action"], decision["message"]) == ("reject", "Not ours")


def test_a_folder_is_emptied_once(switchgear: CommandsInProcess) -> None:
    inbox = switchgear.folder / "inbox"
    inbox.mkdir()
    write(inbox, one="first words", empty="")
    (inbox / "link.txt").symlink_to(inbox / "one.txt")
    ended = switchgear.run("watch", "inbox", "--once")
    assert "one.txt: accepted" in ended.stdout
    assert "empty.txt: refused" in ended.stderr
    assert (inbox / "done" / "one.txt").exists()
    assert (inbox / "failed" / "empty.txt").exists()
