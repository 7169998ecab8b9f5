"""The seed's one timed promise: p95 of the configuration endpoints under 500 ms, at 1,000 stored versions. T041.

And what keeps it true at any number of versions: what is asked of the database does not grow with history.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from sqlalchemy import Connection, event

from factories.core import DEFAULTS, OPERATOR, Core, content
from factories.server import RunningServer, Start
from switchgear.core.database.statements import Result, Row, Statement
from switchgear.domain.audit import AuditAction
from switchgear.domain.configuration import Status
from switchgear.domain.ids import new_id

pytestmark = [pytest.mark.anyio, pytest.mark.exhaustive, pytest.mark.timeout(300)]

VERSIONS = 1000
LIMIT_S = 0.5
TRIES = 30


@pytest.fixture
def server(start: Start) -> RunningServer:
    return start()


def p95_s(
    ask: Callable[[int], httpx2.Response],
    expect: set[int],
    settle: Callable[[httpx2.Response], object] = lambda response: None,
) -> float:
    """p95 of the answers, in seconds; *settle* waits, untimed, until what one of them began is over."""
    times = []
    for number in range(TRIES):
        begin = time.perf_counter()
        response = ask(number)
        times.append(time.perf_counter() - begin)
        assert response.status_code in expect, response.text[:1000]
        settle(response)
    return sorted(times)[int(TRIES * 0.95)]


def test_configuration_endpoints_answer_in_time_at_a_thousand_versions(server: RunningServer) -> None:
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx2.Client(base_url=f"{server.url}/api/v1", headers=headers, timeout=60) as client:

        def body(number: int) -> dict[str, object]:
            selection = {
                "stage_id": "upper",
                "module_id": "upper-text",
                "settings": {},
                "limits": {"timeout_s": 1 + number / 100},
            }
            return {"base": "active", "selections": [selection]}

        ids = [client.post("/configurations", json=body(number)).json()["id"] for number in range(VERSIONS)]
        assert len(set(ids)) == VERSIONS

        def activate(number: int) -> httpx2.Response:
            path = f"/configurations/{ids[number]}/activate"
            return client.post(path, json={"accept_base_moved": True, "mode": "rolling", "unblock": True})

        def applied(response: httpx2.Response) -> None:
            ended = client.get(f"/activations/{response.json()['id']}?wait=30").json()
            assert ended["state"] == "applied", ended

        measured = {
            "list": p95_s(lambda _: client.get("/configurations"), {200}),
            "detail": p95_s(lambda number: client.get(f"/configurations/{ids[number]}"), {200}),
            "create": p95_s(lambda number: client.post("/configurations", json=body(VERSIONS + number)), {201}),
            "validate": p95_s(lambda number: client.post("/configurations/validate", json=body(number)), {200}),
            "active": p95_s(lambda _: client.get("/configurations/active"), {200}),
            "modules": p95_s(lambda _: client.get("/modules"), {200}),
            "stages": p95_s(lambda _: client.get("/stages"), {200}),
            "activate": p95_s(activate, {202}, applied),
        }
    assert {name: seconds for name, seconds in measured.items() if seconds >= LIMIT_S} == {}, measured


@contextmanager
def statements_of(core: Core, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect every statement on both ways to the database."""
    seen: list[str] = []
    narrow, engine = core.database.narrow, core.database.engine.sync_engine
    run, query = narrow.run, narrow.query

    def ask(*arguments: Any) -> None:
        seen.append(arguments[2])

    def trace(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(seen.append)  # a connection goes on when its caller is done; nobody counts then

    async def counted_run(*statements: Statement) -> list[Result]:
        seen.extend(statement.sql for statement in statements)
        return await run(*statements)

    async def counted_query(sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        seen.append(sql)
        return await query(sql, parameters)

    name, listener = ("begin", trace) if engine.dialect.name == "sqlite" else ("before_cursor_execute", ask)
    event.listen(engine, name, listener)
    with monkeypatch.context() as patch:
        patch.setattr(narrow, "run", counted_run)
        patch.setattr(narrow, "query", counted_query)
        yield seen
    event.remove(engine, name, listener)


async def grow(core: Core, versions: int) -> None:
    """Add versions that were active once, with their activations and audit entries."""
    [activation] = (await core.queue.list(1)).items
    async with core.units() as unit:
        await unit.lock_switch()
        first = await unit.configurations.get("v1")
        for number in range(await unit.configurations.next_version(), versions + 1):
            made = content(read=("read-b", {"depth": number}))
            stored = replace(
                first, id=new_id("cfg"), version=number, status=Status.SUPERSEDED, content=made, digest=made.digest
            )
            await unit.configurations.add(stored)
            applied = replace(activation, id=new_id("act"), configuration_id=stored.id, configuration_version=number)
            await unit.activations.add(applied, first.pipeline)
            await unit.audit.append(AuditAction.CONFIGURATION_ACTIVATED, actor=OPERATOR, subjects=[stored.id])
        await unit.commit()


async def statement_counts(core: Core, monkeypatch: pytest.MonkeyPatch, depth: int) -> dict[str, int]:
    fresh = (await core.make(extract=("extract-c", {"depth": depth}))).id
    asked: dict[str, Callable[[], Awaitable[object]]] = {
        "list": lambda: core.service.list(10),
        "create": lambda: core.make(extract=("extract-c", {"depth": depth + 1})),
        "validate": lambda: core.service.validate_stored(fresh, by=OPERATOR),
        "active": core.service.active,
        "previous": lambda: core.service.get("previous"),
        "activations": lambda: core.queue.list(10),
        "activate": lambda: core.service.activate(fresh, by=OPERATOR, request=DEFAULTS),
        "switch": core.settle,
        "roll back": core.go_back,
    }
    counts = {}
    for name, ask in asked.items():
        with statements_of(core, monkeypatch) as seen:
            await ask()
        counts[name] = len(seen)
    return counts


async def test_the_number_of_statements_does_not_grow_with_history(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    await grow(core, 20)  # a page of the list is full already
    few = await statement_counts(core, monkeypatch, 1000)
    assert all(few.values()), few

    await grow(core, 300)

    assert await statement_counts(core, monkeypatch, 2000) == few
