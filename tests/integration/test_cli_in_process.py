"""The command line without a server: the same application in its own process, for the time of the command."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog

from factories import plugin
from switchgear.core import job_schema
from switchgear.core.logging import renew
from switchgear.interface.cli.app import run
from switchgear.interface.cli.module_trial import temporary_settings

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Ended:
    """What a command printed."""

    stdout: str
    stderr: str


@dataclass(frozen=True)
class Commands:
    """Runs commands in this process, which is what makes them quick; the application is a new one each time."""

    folder: Path
    captured: pytest.CaptureFixture[str]

    def __call__(self, *words: str, expect: int | None = 0) -> str:
        """What a command printed on stdout, after its exit code was checked."""
        return self.run(*words, expect=expect).stdout

    def run(self, *words: str, expect: int | None = 0) -> Ended:
        """Run a command to its end."""
        self.captured.readouterr()
        code = run(words)
        seen = self.captured.readouterr()
        assert expect in (None, code), (words, code, seen.out, seen.err)
        return Ended(seen.out, seen.err)

    def json(self, *words: str, expect: int = 0) -> Any:
        """What a command prints with --json."""
        return json.loads(self(*words, "--json", expect=expect))


@pytest.fixture
def switchgear(
    tmp_path: Path,
    shared_folder: Path,
    installed_plugin: Path,
    sqlite_template: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Commands]:
    """Commands in a new instance with the tiny pipeline."""
    for name in [name for name in os.environ if name.startswith("SWITCHGEAR_")]:
        monkeypatch.delenv(name)
    site = str(installed_plugin)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([site, *filter(None, sys.path)]))
    monkeypatch.setenv("SWITCHGEAR_MIN_FREE_BYTES", "1000000")
    monkeypatch.chdir(tmp_path)
    before = structlog.get_config()
    for place in ("switchgear.core.logging", "switchgear.interface.cli.folder_watch"):
        monkeypatch.setattr(f"{place}.configure_logging", _quiet)
    assert run(["init", "instance", "--pipeline", "tiny"]) == 0
    monkeypatch.chdir(instance := tmp_path / "instance")
    (home := instance / "switchgear-data").mkdir(mode=0o700)
    shutil.copy(sqlite_template, home / "switchgear.db")
    with plugin.known_modules(home / "cache", shared_folder / "descriptions-of-instances"):
        yield Commands(instance, capsys)
    structlog.configure(**before)
    renew()


def _quiet(**_options: Any) -> None:
    """What the command does to logs, without a trace in later tests of this process: cached loggers stay for ever."""
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet, cache_logger_on_first_use=False)
    renew()


def write(folder: Path, **texts: str) -> list[str]:
    """Write text files; return their names."""
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return [f"{name}.txt" for name in texts]


def test_documents_go_through_while_one_waits_and_are_known_afterwards(switchgear: Commands) -> None:
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
    assert switchgear.json("documents", "invoice", sent[0]["document"]["id"])["text"] == "FIRST WORDS"
    assert switchgear("documents", "get", sent[1]["document"]["id"]) == "second words"
    shown = switchgear("documents", "show", sent[1]["document"]["id"])
    assert "two.txt" in shown
    assert "text/plain" in shown
    assert "succeeded" in shown


def test_without_waiting_a_document_is_stored_and_says_what_it_waits_for(switchgear: Commands) -> None:
    write(switchgear.folder, one="first words")
    ended = switchgear.run("ingest", "one.txt")
    assert "queued" in ended.stdout
    assert "switchgear serve" in ended.stderr
    (run,) = switchgear.json("runs", "list")
    assert switchgear.json("runs", "why", run["id"])["why"]["code"] == "waiting.worker"


def test_a_module_that_cannot_work_while_it_runs_tells_the_repair_by_rest_and_by_command(switchgear: Commands) -> None:
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


def test_all_runs_that_failed_are_retried_at_once_after_a_look_at_which_they_are(switchgear: Commands) -> None:
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


def test_a_swap_a_fallback_and_a_rollback_are_told_as_they_were(switchgear: Commands) -> None:
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


def test_a_review_ends_by_a_person_and_decides_the_exit_code(switchgear: Commands) -> None:
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


def test_a_document_that_a_person_rejected_is_shown_as_rejected_with_who_and_why(switchgear: Commands) -> None:
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


def test_a_refused_change_lists_every_finding_and_stores_nothing(switchgear: Commands) -> None:
    ended = switchgear.run("config", "set", "upper=upper-txt", "count=load-text", expect=1)
    assert "selection.unknown_module" in ended.stderr
    assert "upper-text" in ended.stderr
    assert "selection.wrong_stage" in ended.stderr
    refused = switchgear.run("config", "set", "upper=upper-txt", "--json", expect=1)
    assert json.loads(refused.stderr.splitlines()[-1])["code"] == "configuration.invalid"
    assert [one["version"] for one in switchgear.json("config", "list")] == [1]


def test_in_an_ordered_chain_a_selected_fallback_is_served_by_what_came_after_it(switchgear: Commands) -> None:
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


def test_a_version_shows_its_stages_in_the_order_of_the_pipeline(switchgear: Commands) -> None:
    stages = [stage["id"] for stage in switchgear.json("stages", "list")]
    shown = [line.split()[0] for line in switchgear("config", "show").splitlines() if line]
    assert [word for word in shown if word in stages] == stages


def test_a_list_that_is_cut_says_that_there_is_more(switchgear: Commands) -> None:
    for seconds in (1, 2):
        switchgear("config", "set", f"upper.limits.timeout_s={seconds}", "-m", "More", "--activate")
    for words in (("config", "list"), ("config", "history"), ("activations", "list"), ("audit", "list")):
        cut = switchgear.run(*words, "--limit", "2")
        assert len(cut.stdout.splitlines()) == 1 + 2, words
        assert "There are more than these 2; --limit shows more." in cut.stderr, words
        assert "There are more" not in switchgear.run(*words, "--limit", "50").stderr, words


def test_a_configuration_goes_out_and_comes_back_as_a_file(switchgear: Commands) -> None:
    switchgear("config", "export", "active", "-o", "out.yaml")
    same = switchgear("config", "create", "out.yaml", "-m", "The same")
    assert "the content is the same" in same
    text = (switchgear.folder / "out.yaml").read_text()
    assert switchgear("config", "show", "active", "--yaml") == text
    assert "It fits." in switchgear("config", "validate", "out.yaml")
    (switchgear.folder / "bad.yaml").write_text(text.replace("upper-text", "upper-nothing"))
    assert "It does not fit." in switchgear("config", "validate", "bad.yaml", expect=1)
    draft = switchgear("config", "create", "bad.yaml", "--draft")
    assert "v2 made (draft)" in draft
    assert "It does not fit." in switchgear("config", "validate", "v2", expect=1)
    (switchgear.folder / "other.yaml").write_text(text.replace("pipeline: tiny", "pipeline: invoice"))
    switchgear("config", "create", "other.yaml", expect=2)


def test_modules_stages_and_contracts_say_what_is_missing_and_what_fits(switchgear: Commands) -> None:
    listed = switchgear("modules", "list")
    assert "upper-nobinary: " in listed
    assert "module.missing_binary" in listed
    shown = switchgear("modules", "show", "upper-nobinary")
    assert "unavailable" in shown
    assert "L1 or higher, network open" in shown
    assert "upper-misfit" in switchgear("stages", "show", "upper")
    assert "incompatible" in switchgear("stages", "show", "upper")
    switchgear("config", "set", "upper.limits.timeout_s=2.5", "upper.limits.retries=2", "--activate")
    lines = switchgear("stages", "show", "upper").splitlines()
    assert "limits    timeout 2.5 s, retries 2, memory 1024 MiB, queue default" in lines
    assert "tiny-upper@1.2" in switchgear("contracts", "list")
    assert '"confidence"' in switchgear("contracts", "show", "tiny-upper@1.2")
    switchgear("contracts", "compare", "tiny-upper@1.2", "tiny-upper@1.2")
    switchgear("contracts", "compare", "tiny-load@1.0", "tiny-upper@1.2", expect=1)
    switchgear("contracts", "show", "tiny-upper", expect=2)
    assert "disabled" in switchgear("modules", "disable", "upper-text", "-m", "Holiday")
    assert "fallback upper-other" in switchgear("stages", "list")
    assert "fallback upper-other" in switchgear("status")
    assert "available" in switchgear("modules", "enable", "upper-text")
    assert "modules are installed" in switchgear("modules", "rescan", "-m", "After the upgrade")
    assert "breaker forced_open" in switchgear("modules", "breaker", "upper-text", "forced_open", "-m", "Wrong totals")
    assert "available, breaker forced_open" in switchgear("modules", "list")
    assert "breaker forced_open by local-admin since" in switchgear("modules", "show", "upper-text")
    assert "breaker closed" in switchgear("modules", "breaker", "upper-text", "closed")
    switchgear("modules", "breaker", "upper-text", "open", expect=2)
    (rescan,) = switchgear.json("audit", "list", "--action", "module.rescanned")
    assert rescan["message"] == "After the upgrade"


def test_a_module_is_tried_on_a_real_document_without_activating_anything(switchgear: Commands) -> None:
    write(switchgear.folder, one="first words")
    tried = switchgear.run("modules", "try", "upper-other", "one.txt")
    assert "one.txt with upper-other for upper: succeeded" in tried.stdout
    assert "upper: upper-other served, as selected" in tried.stdout
    assert switchgear.json("config", "show", "active")["version"] == 1
    assert switchgear.json("documents", "list") == []
    switchgear("modules", "try", "upper-other", "missing.txt", expect=2)
    switchgear("modules", "try", "upper-nothing", "one.txt", expect=1)


def test_a_trial_keeps_its_hands_off_the_database_documents_and_jobs_of_the_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWITCHGEAR_ARTIFACTS_DIR", str(tmp_path / "shared"))
    monkeypatch.setenv("SWITCHGEAR_DATABASE_URL", "postgresql://db.example/switchgear")
    monkeypatch.setenv("SWITCHGEAR_QUEUE_BACKEND", "procrastinate")
    settings = temporary_settings(tmp_path / "trial")
    assert settings.artifacts_dir == tmp_path / "trial" / "artifacts"
    assert settings.database_url == f"sqlite:///{tmp_path}/trial/switchgear.db"
    assert settings.queue_backend == "builtin"


def test_a_trial_that_fails_names_no_command_for_a_run_that_is_gone(switchgear: Commands) -> None:
    write(switchgear.folder, one="first words")
    broken = ("upper=upper-faulty", "upper.settings.mode=raise", "upper.fallback=", "upper.then=park")
    switchgear("config", "set", *broken, "-m", "Break it", "--activate")
    switchgear("activations", "watch")
    tried = switchgear.run("modules", "try", "upper-faulty", "one.txt", expect=3)
    assert "one.txt with upper-faulty for upper: on hold" in tried.stdout
    assert "raised an error" in tried.stdout
    assert "runs retry" not in tried.stdout
    trial = switchgear.json("modules", "try", "upper-faulty", "one.txt", expect=3)
    assert trial["run"]["why"]["next_actions"] == []


def test_a_module_that_cannot_be_used_is_not_tried_and_its_repair_is_named(switchgear: Commands) -> None:
    write(switchgear.folder, one="first words")
    tried = switchgear.run("modules", "try", "upper-nobinary", "one.txt", expect=1)
    assert tried.stdout == ""  # no fallback ran in its place
    assert "upper-nobinary cannot be used here" in tried.stderr
    assert "module.missing_binary" in tried.stderr
    (module,) = [one for one in switchgear.json("modules", "list") if one["id"] == "upper-nobinary"]
    assert module["why"]["facts"]["fix"] in tried.stderr


def test_tokens_are_made_listed_and_revoked(switchgear: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    made = switchgear.run("tokens", "create", "scanner", "--role", "viewer", "--expires", "90d")
    secret = made.stdout.strip()
    assert secret.startswith("swg_")
    monkeypatch.setenv("SWITCHGEAR_TOKEN", secret)
    switchgear("runs", "list")
    assert "admin" in switchgear.run("tokens", "list", expect=1).stderr
    monkeypatch.delenv("SWITCHGEAR_TOKEN")
    (token,) = [one for one in switchgear.json("tokens", "list") if one["name"] == "scanner"]
    assert "revoked" in switchgear("tokens", "revoke", token["id"], "-m", "The scanner was sold")
    (revoked,) = switchgear.json("audit", "list", "--action", "token.revoked")
    assert revoked["message"] == "The scanner was sold"
    monkeypatch.setenv("SWITCHGEAR_TOKEN", secret)
    switchgear("runs", "list", expect=1)


def test_whoever_revoked_the_instance_s_own_token_is_told_how_to_get_another(switchgear: Commands) -> None:
    (own,) = switchgear.json("tokens", "list")
    switchgear("tokens", "revoke", own["id"], "-m", "By mistake")
    said = switchgear.run("tokens", "list", expect=1).stderr
    (file,) = switchgear.folder.rglob("admin.token")
    assert f"delete {file} and start the server again" in said
    file.unlink()
    assert [token["revoked_at"] is None for token in switchgear.json("tokens", "list")] == [True, False]


def test_the_trail_is_exported_verified_and_read_on(switchgear: Commands) -> None:
    switchgear("config", "set", "upper=upper-other", "-m", "Other")
    ended = switchgear.run("audit", "export", "-o", "audit.jsonl")
    lines = [json.loads(line) for line in (switchgear.folder / "audit.jsonl").read_text().splitlines()]
    assert [line["sequence"] for line in lines] == list(range(1, len(lines) + 1))
    head = ended.stderr.split()[1].rstrip(":")
    assert "is whole" in switchgear("audit", "verify", "--head", head)
    assert "configuration.created" in switchgear("audit", "tail", "--no-follow", "-n", "5")


def test_a_file_that_cannot_be_written_is_one_sentence_with_its_path(switchgear: Commands) -> None:
    nowhere = switchgear.folder / "none" / "trail.jsonl"
    said = switchgear.run("audit", "export", "-o", str(nowhere), expect=1).stderr
    assert said == f"{nowhere}: No such file or directory. Check the path and its permissions, then try again.\n"


def test_a_folder_is_emptied_once(switchgear: Commands) -> None:
    inbox = switchgear.folder / "inbox"
    inbox.mkdir()
    write(inbox, one="first words", empty="")
    (inbox / "link.txt").symlink_to(inbox / "one.txt")
    ended = switchgear.run("watch", "inbox", "--once")
    assert "one.txt: accepted" in ended.stdout
    assert "empty.txt: refused" in ended.stderr
    assert (inbox / "done" / "one.txt").exists()
    assert (inbox / "failed" / "empty.txt").exists()


def test_doctor_names_every_setting_with_its_origin_and_what_is_missing(switchgear: Commands) -> None:
    ended = switchgear.run("doctor", expect=None)
    assert "variable SWITCHGEAR_MIN_FREE_BYTES" in ended.stdout
    assert "switchgear.toml" in ended.stdout
    assert "isolation L" in ended.stdout
    assert "upper-nobinary" in ended.stdout
    assert "The database is at the newest schema" in switchgear("migrate")


def test_doctor_warns_of_what_a_fallback_covers_and_fails_for_what_stops_work(switchgear: Commands) -> None:
    switchgear("doctor")
    switchgear("modules", "disable", "upper-text", "-m", "Holiday")
    covered = switchgear.run("doctor")
    assert "upper-text" in covered.stdout
    assert "nothing stops work" in covered.stderr
    assert not switchgear.json("doctor")["stops"]
    switchgear("modules", "disable", "upper-other", "-m", "Holiday too")
    stopped = switchgear.run("doctor", expect=1)
    assert "stops work" in stopped.stderr
    assert "upper" in " ".join(switchgear.json("doctor", expect=1)["stops"])


def test_status_and_doctor_name_the_way_back_below_a_stage_that_nobody_serves(switchgear: Commands) -> None:
    switchgear("config", "set", "upper=upper-inline", "upper.fallback=", "upper.then=park", "-m", "Swap", "--activate")
    switchgear("modules", "disable", "upper-inline", "-m", "Holiday")
    for command, code in (("status", 0), ("doctor", 1)):
        lines = switchgear(command, expect=code).splitlines()
        stuck = next(index for index, line in enumerate(lines) if line.startswith("! Stage upper: no module can serve"))
        assert lines[stuck + 1 : stuck + 3] == [
            "  Repair it: switchgear modules enable upper-inline",
            "  Go back to v1: switchgear config rollback",
        ]


def test_an_unknown_setting_is_one_sentence(switchgear: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHGEAR_WORKRES", "2")
    for words in (("status",), ("serve",), ("migrate",)):
        ended = switchgear.run(*words, expect=1)
        assert "Did you mean 'SWITCHGEAR_WORKERS'?" in ended.stderr


@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "doctor"])
def test_a_queue_backend_that_the_database_cannot_have_is_one_sentence(
    switchgear: Commands, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("SWITCHGEAR_QUEUE_BACKEND", "procrastinate")
    said = switchgear.run(command, expect=1).stderr
    assert "queue_backend procrastinate needs PostgreSQL, and database_url is SQLite; set database_url to" in said


def test_migrate_makes_the_jobs_that_the_queue_backend_needs_and_ends_them_without_it(
    switchgear: Commands, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    monkeypatch.setenv("SWITCHGEAR_DATABASE_URL", postgres_url)
    monkeypatch.setenv("SWITCHGEAR_QUEUE_BACKEND", "procrastinate")
    switchgear("migrate")
    assert job_schema.install(postgres_url) == job_schema.head()  # it was there
    monkeypatch.setenv("SWITCHGEAR_QUEUE_BACKEND", "builtin")
    switchgear("migrate")
    assert job_schema.remove(postgres_url) is False


def test_tables_of_procrastinate_that_others_made_stop_the_start_in_one_sentence(
    switchgear: Commands, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    monkeypatch.setenv("SWITCHGEAR_DATABASE_URL", postgres_url)
    monkeypatch.setenv("SWITCHGEAR_QUEUE_BACKEND", "procrastinate")
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE TABLE procrastinate_jobs (id integer)")
    for command in ("migrate", "worker", "doctor"):
        ended = switchgear.run(command, expect=1)
        assert "tables of procrastinate that Switchgear did not make" in ended.stdout + ended.stderr
