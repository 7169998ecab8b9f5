"""A real database that cannot be used says by each way why not, and never shows the password. RELIABILITY I32."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url, text

from factories.command_line import CommandLine
from factories.server import free_port
from switchgear.core import migrations
from switchgear.core.database import Database, Statement
from switchgear.domain.errors import DatabaseUnreachable

if TYPE_CHECKING:
    from conftest import PostgresServer

pytestmark = pytest.mark.anyio

PASSWORD = "s3cretword"
Spoilt = Callable[["PostgresServer"], tuple[str, str]]


def no_database(server: PostgresServer) -> tuple[str, str]:
    place = f"at the socket {server.socket_folder}/.s.PGSQL.5432"
    return f"postgresql://postgres:{PASSWORD}@/none_of_it?host={server.socket_folder}", (
        f"There is no database 'none_of_it' {place}; nothing was changed. Create it (createdb none_of_it), or correct "
        "DATABASE_URL."
    )


def no_user(server: PostgresServer) -> tuple[str, str]:
    return f"postgresql://nobody_of_it:{PASSWORD}@/postgres?host={server.socket_folder}", (
        "The user 'nobody_of_it' is not known to, or has the wrong password for, the database at the socket "
        f"{server.socket_folder}/.s.PGSQL.5432; nothing was changed. Correct user and password in DATABASE_URL, or "
        "create the user there."
    )


def nobody_listens(_: PostgresServer) -> tuple[str, str]:
    port = free_port()
    return f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/x", (
        f"The database at 127.0.0.1:{port} refuses connections; nothing was changed. Start it, or correct DATABASE_URL."
    )


def no_socket(_: PostgresServer) -> tuple[str, str]:
    return f"postgresql://u:{PASSWORD}@/x?host=/no/such/folder", (
        "There is no database at the socket /no/such/folder/.s.PGSQL.5432; nothing was changed. Start it, or name its "
        "host in DATABASE_URL: postgresql://USER:PASSWORD@HOST:PORT/NAME."
    )


def no_host(_: PostgresServer) -> tuple[str, str]:
    return f"postgresql://u:{PASSWORD}@no-such-host.invalid/x", (
        "The host no-such-host.invalid of the database is not known; nothing was changed. Correct DATABASE_URL, or "
        "the name service."
    )


def no_parameter(_: PostgresServer) -> tuple[str, str]:
    return f"postgresql://u:{PASSWORD}@127.0.0.1:1/x?tempo=allegro", (
        "DATABASE_URL has a parameter that the driver does not know, or a value that it does not take; nothing was "
        "changed. Correct what follows the ? in it."
    )


WAYS = [no_database, no_user, nobody_listens, no_socket, no_host, no_parameter]


@pytest.fixture(params=WAYS, ids=lambda spoil: spoil.__name__)
def spoilt(request: pytest.FixtureRequest, postgres: PostgresServer) -> tuple[str, str]:
    """A URL that leads nowhere, and what is to be said."""
    spoil: Spoilt = request.param
    return spoil(postgres)


@asynccontextmanager
async def leading_nowhere(url: str, deadline_s: float = 5.0) -> AsyncIterator[Database]:
    with_driver = make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    database = Database(with_driver, deadline_s=deadline_s)
    yield database
    await database.close()


async def test_each_way_to_a_database_that_cannot_be_used_says_why(spoilt: tuple[str, str]) -> None:
    url, said = spoilt
    async with leading_nowhere(url) as database:
        with pytest.raises(DatabaseUnreachable) as pinged:
            await database.ping()
        with pytest.raises(DatabaseUnreachable) as entered:
            async with database.transaction(write=True) as connection:
                await connection.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnreachable) as written:
            await database.narrow.run(Statement("SELECT 1"))
    with pytest.raises(DatabaseUnreachable) as migrated:
        migrations.upgrade(url.replace("postgresql:", "postgresql+psycopg:"))
    assert {str(found.value) for found in (pinged, entered, written, migrated)} == {said}


async def test_a_start_that_failed_says_why_and_can_be_repeated(postgres: PostgresServer) -> None:
    url, said = no_database(postgres)
    async with leading_nowhere(url, deadline_s=1.0) as database:
        with pytest.raises(DatabaseUnreachable) as started:
            await database.start()
        assert str(started.value) == said
        postgres.execute("CREATE DATABASE none_of_it")
        try:
            await database.start()
            assert await database.narrow.query("SELECT 1") == [(1,)]
        finally:
            postgres.drop("none_of_it")


async def test_a_pool_whose_connections_are_cut_says_why_no_other_one_comes(postgres: PostgresServer) -> None:
    name = postgres.make(empty=True)
    async with leading_nowhere(postgres.url(name), deadline_s=1.0) as database:
        await database.start()
        postgres.drop(name)
        with pytest.raises(DatabaseUnreachable, match=f"There is no database '{name}'"):
            await database.narrow.query("SELECT 1")


@pytest.mark.parametrize("command", ["migrate", "doctor", "status", "tokens create x --role viewer", "config history"])
def test_commands_say_why_the_database_cannot_be_used_and_show_no_password(
    spoilt: tuple[str, str], tmp_path: Path, command: str
) -> None:
    url, said = spoilt
    (tmp_path / "switchgear.toml").write_text("")
    switchgear = CommandLine(tmp_path, None, {"SWITCHGEAR_DATABASE_URL": url})
    ended = switchgear.run(*command.split(), expect=1)
    assert PASSWORD not in ended.stdout + ended.stderr
    assert said in (ended.stdout if command == "doctor" else ended.stderr)


@pytest.mark.parametrize("command", ["migrate", "doctor", "status"])
def test_a_user_who_may_make_no_tables_is_told_so(postgres: PostgresServer, tmp_path: Path, command: str) -> None:
    name = postgres.make(empty=True)
    role = f"guest_{name}"
    postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    try:
        (tmp_path / "switchgear.toml").write_text("")
        url = f"postgresql://{role}:{PASSWORD}@/{name}?host={postgres.socket_folder}"
        ended = CommandLine(tmp_path, None, {"SWITCHGEAR_DATABASE_URL": url}).run(command, expect=1)
        assert "The user of DATABASE_URL lacks a right in the database; nothing was changed." in (
            ended.stdout + ended.stderr
        )
        assert "Traceback" not in ended.stdout + ended.stderr
    finally:
        postgres.drop(name)
        postgres.execute(f"DROP ROLE {role}")
