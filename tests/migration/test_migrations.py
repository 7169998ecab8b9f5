"""Migrations: up, no difference from the models, down, up again; killed, newer, protected. Source: I33, STYLE 5."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from switchgear.core import migrations
from switchgear.core.database import Database
from switchgear.ingestion.run_models import Run


def _connect(url: str) -> Connection:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        parsed = parsed.set(drivername="sqlite")
    return create_engine(parsed, poolclass=NullPool).connect()


def _tables(url: str) -> set[str]:
    with _connect(url) as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def _insert_event(connection: Connection) -> None:
    connection.execute(
        text(
            "INSERT INTO configuration_change_events (sequence, id, at, actor, actor_role, action, result, subjects, "
            "message, previous_hash, hash) VALUES (1, 'evt_1', 1, 'a', 'admin', 'x.done', 'done', '[]', '', '0', '1')"
        )
    )


def test_up_leaves_no_difference_from_the_models(database_url: str) -> None:
    with _connect(database_url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Run.metadata) == []


def test_up_down_and_up_again(empty_database_url: str) -> None:
    assert migrations.current(empty_database_url) is None
    assert migrations.upgrade(empty_database_url) is None
    assert migrations.current(empty_database_url) == migrations.head()
    assert _tables(empty_database_url) == set(Run.metadata.tables)
    migrations.downgrade(empty_database_url, "base")
    assert _tables(empty_database_url) == set()
    migrations.upgrade(empty_database_url)
    assert _tables(empty_database_url) == set(Run.metadata.tables)
    assert migrations.check(empty_database_url)


def test_selections_have_no_index_that_nobody_reads(database_url: str) -> None:
    with _connect(database_url) as connection:
        assert inspect(connection).get_indexes("module_selections") == []


def test_a_second_upgrade_changes_nothing(database_url: str) -> None:
    assert migrations.upgrade(database_url) == migrations.head()


def test_a_start_at_the_newest_schema_loads_no_alembic(sqlite_template: Path) -> None:
    looks = f"from switchgear.core import migrations; print(migrations.upgrade('sqlite:///{sqlite_template}'))"
    loaded = "import sys; print([name for name in sys.modules if name.startswith('alembic')])"
    printed = subprocess.run([sys.executable, "-c", f"{looks}; {loaded}"], capture_output=True, text=True, check=True)
    assert printed.stdout.splitlines() == [migrations.head(), "[]"]


def test_the_files_of_the_migrations_are_named_by_what_alembic_knows() -> None:
    scripts = ScriptDirectory(str(files("switchgear") / "alembic"))
    named = [Path(script.path).name.partition("_")[0] for script in scripts.walk_revisions()]
    assert named == [script.revision for script in scripts.walk_revisions()]
    assert named == sorted(named, reverse=True)
    assert migrations.head() == scripts.get_current_head()


def test_a_newer_schema_is_refused_and_left_alone(database_url: str) -> None:
    with _connect(database_url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.commit()
    for attempt in (migrations.upgrade, migrations.check):
        with pytest.raises(migrations.SchemaNewer, match="newer than this Switchgear knows") as caught:
            attempt(database_url)
        assert caught.value.code == "system.schema_newer"
    assert migrations.current(database_url) == "9999"
    assert _tables(database_url) == set(Run.metadata.tables)


def test_a_migration_that_dies_half_way_leaves_nothing_behind(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = command.upgrade

    def dies_at_the_end(*arguments: Any) -> None:
        upgrade(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", dies_at_the_end)
        with pytest.raises(KeyboardInterrupt):
            migrations.upgrade(empty_database_url)
    assert _tables(empty_database_url) == set()
    migrations.upgrade(empty_database_url)
    assert migrations.check(empty_database_url)


def test_servers_that_start_together_migrate_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        before = list(pool.map(migrations.upgrade, [empty_database_url] * 4))
    assert sorted(before, key=str) == [migrations.head()] * 3 + [None]


@pytest.mark.parametrize(
    "statement", ["UPDATE configuration_change_events SET actor = 'mallory'", "DELETE FROM configuration_change_events"]
)
def test_audit_rows_cannot_be_changed_or_deleted(database_url: str, statement: str) -> None:
    with _connect(database_url) as connection:
        _insert_event(connection)
        connection.commit()
        with pytest.raises(DBAPIError, match="audit rows cannot be changed or deleted"):
            connection.execute(text(statement))
        connection.rollback()
        assert connection.execute(text("SELECT actor FROM configuration_change_events")).scalars().all() == ["a"]


def test_a_second_active_configuration_is_refused_by_the_database(database_url: str) -> None:
    insert = text(
        "INSERT INTO module_configurations (id, version, pipeline, status, digest, lock_digest, module_lock, message, "
        "created_by, created_at, findings) VALUES (:id, :version, 'p', 'active', 'd', 'l', '{}', '', 'a', 1, '[]')"
    )
    with _connect(database_url) as connection:
        connection.execute(insert, {"id": "cfg_1", "version": 1})
        with pytest.raises(DBAPIError):
            connection.execute(insert, {"id": "cfg_2", "version": 2})


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    """Also in a process that has done nothing else with PostgreSQL yet."""
    command = [str(Path(sys.executable).parent / "switchgear"), "migrate"]
    environment = {
        "SWITCHGEAR_HOME": str(tmp_path),
        "SWITCHGEAR_DATABASE_URL": "postgresql://postgres@127.0.0.1:1/none",
    }
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == (
        "The database at 127.0.0.1:1 refuses connections; nothing was changed. Start it, or correct DATABASE_URL.\n"
    )
    assert "Traceback" not in ended.stderr


@pytest.mark.anyio
async def test_a_migrated_database_starts_and_answers(database: Database) -> None:
    await asyncio.gather(database.ping(), database.narrow.query("SELECT count(*) FROM runs"))
    assert await database.narrow.query("SELECT count(*) FROM runs") == [(0,)]
