"""Tokens, the trail, the state of the instance, its settings and its schema are looked after without a server."""

from __future__ import annotations

import json

import psycopg
import pytest

from factories.command_line import CommandsInProcess
from switchgear.core import job_schema

pytestmark = pytest.mark.timeout(300)


def test_tokens_are_made_listed_and_revoked(switchgear: CommandsInProcess, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_whoever_revoked_the_instance_s_own_token_is_told_how_to_get_another(switchgear: CommandsInProcess) -> None:
    (own,) = switchgear.json("tokens", "list")
    switchgear("tokens", "revoke", own["id"], "-m", "By mistake")
    said = switchgear.run("tokens", "list", expect=1).stderr
    (file,) = switchgear.folder.rglob("admin.token")
    assert f"delete {file} and start the server again" in said
    file.unlink()
    assert [token["revoked_at"] is None for token in switchgear.json("tokens", "list")] == [True, False]


def test_the_trail_is_exported_verified_and_read_on(switchgear: CommandsInProcess) -> None:
    switchgear("config", "set", "upper=upper-other", "-m", "Other")
    ended = switchgear.run("audit", "export", "-o", "audit.jsonl")
    lines = [json.loads(line) for line in (switchgear.folder / "audit.jsonl").read_text().splitlines()]
    assert [line["sequence"] for line in lines] == list(range(1, len(lines) + 1))
    head = ended.stderr.split()[1].rstrip(":")
    assert "is whole" in switchgear("audit", "verify", "--head", head)
    assert "configuration.created" in switchgear("audit", "tail", "--no-follow", "-n", "5")


def test_a_file_that_cannot_be_written_is_one_sentence_with_its_path(switchgear: CommandsInProcess) -> None:
    nowhere = switchgear.folder / "none" / "trail.jsonl"
    said = switchgear.run("audit", "export", "-o", str(nowhere), expect=1).stderr
    assert said == f"{nowhere}: No such file or directory. Check the path and its permissions, then try again.\n"


def test_doctor_names_every_setting_with_its_origin_and_what_is_missing(switchgear: CommandsInProcess) -> None:
    ended = switchgear.run("doctor", expect=None)
    assert "variable SWITCHGEAR_MIN_FREE_BYTES" in ended.stdout
    assert "switchgear.toml" in ended.stdout
    assert "isolation L" in ended.stdout
    assert "upper-nobinary" in ended.stdout
    assert "The database is at the newest schema" in switchgear("migrate")


def test_doctor_warns_of_what_a_fallback_covers_and_fails_for_what_stops_work(switchgear: CommandsInProcess) -> None:
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


def test_status_and_doctor_name_the_way_back_below_a_stage_that_nobody_serves(switchgear: CommandsInProcess) -> None:
    switchgear("config", "set", "upper=upper-inline", "upper.fallback=", "upper.then=park", "-m", "Swap", "--activate")
    switchgear("modules", "disable", "upper-inline", "-m", "Holiday")
    for command, code in (("status", 0), ("doctor", 1)):
        lines = switchgear(command, expect=code).splitlines()
        stuck = next(index for index, line in enumerate(lines) if line.startswith("! Stage upper: no module can serve"))
        assert lines[stuck + 1 : stuck + 3] == [
            "  Repair it: switchgear modules enable upper-inline",
            "  Go back to v1: switchgear config rollback",
        ]


def test_an_unknown_setting_is_one_sentence(switchgear: CommandsInProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHGEAR_WORKRES", "2")
    for words in (("status",), ("serve",), ("migrate",)):
        ended = switchgear.run(*words, expect=1)
        assert "Did you mean 'SWITCHGEAR_WORKERS'?" in ended.stderr


@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "doctor"])
def test_a_queue_backend_that_the_database_cannot_have_is_one_sentence(
    switchgear: CommandsInProcess, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("SWITCHGEAR_QUEUE_BACKEND", "procrastinate")
    said = switchgear.run(command, expect=1).stderr
    assert "queue_backend procrastinate needs PostgreSQL, and database_url is SQLite; set database_url to" in said


def test_migrate_makes_the_jobs_that_the_queue_backend_needs_and_ends_them_without_it(
    switchgear: CommandsInProcess, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    monkeypatch.setenv("SWITCHGEAR_DATABASE_URL", postgres_url)
    monkeypatch.setenv("SWITCHGEAR_QUEUE_BACKEND", "procrastinate")
    switchgear("migrate")
    assert job_schema.install(postgres_url) == job_schema.head()  # it was there
    monkeypatch.setenv("SWITCHGEAR_QUEUE_BACKEND", "builtin")
    switchgear("migrate")
    assert job_schema.remove(postgres_url) is False


def test_tables_of_procrastinate_that_others_made_stop_the_start_in_one_sentence(
    switchgear: CommandsInProcess, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    monkeypatch.setenv("SWITCHGEAR_DATABASE_URL", postgres_url)
    monkeypatch.setenv("SWITCHGEAR_QUEUE_BACKEND", "procrastinate")
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE TABLE procrastinate_jobs (id integer)")
    for command in ("migrate", "worker", "doctor"):
        ended = switchgear.run(command, expect=1)
        assert "tables of procrastinate that Switchgear did not make" in ended.stdout + ended.stderr
