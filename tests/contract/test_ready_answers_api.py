"""The read that everybody repeats: from memory the same answer as the ordinary way, and never an old one. I29"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from factories.instance import ON_BOTH, Instance
from switchgear.core.access_service import AccessService
from switchgear.core.breaker_service import Breakers
from switchgear.core.database import Database
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import SYSTEM, Actor, Role
from switchgear.domain.breaker import BreakerState

pytestmark = [pytest.mark.anyio, ON_BOTH]

PATH = "/configurations/active"
ADMIN = Actor("root", Role.ADMIN, "tok_root")


@contextmanager
def asked(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Note what is asked of the database."""
    seen: list[str] = []
    query = instance.application.database.narrow.query

    async def noted(sql: str, parameters: Any = None) -> Any:
        seen.append(sql)
        return await query(sql, parameters)

    with monkeypatch.context() as patch:
        patch.setattr(instance.application.database.narrow, "query", noted)
        yield seen


async def test_from_memory_it_is_the_same_answer(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = await instance.request("GET", PATH, headers={"X-Request-Id": "one"}, expect=200)

    with asked(instance, monkeypatch) as seen:
        ready = await instance.request("GET", PATH, headers={"X-Request-Id": "one"}, expect=200)

    assert ready.content == ordinary.content
    assert sorted(ready.headers.items()) == sorted(ordinary.headers.items())
    assert bool(seen) is (instance.application.database.dialect == "postgresql")  # which tells of no commits


async def test_whoever_has_it_already_is_told_so_alike(instance: Instance) -> None:
    etag = (await instance.request("GET", PATH, expect=200)).headers["etag"]
    await instance.request("GET", PATH, expect=200)
    known = {"If-None-Match": etag, "X-Request-Id": "one"}
    ready = await instance.request("GET", PATH, headers=known, expect=304)
    weak = {"If-None-Match": f"W/{etag}", "X-Request-Id": "one"}  # unusual: goes the ordinary way
    ordinary = await instance.request("GET", PATH, headers=weak, expect=304)
    assert (ready.content, ordinary.content) == (b"", b"")
    assert sorted(ready.headers.items()) == sorted(ordinary.headers.items())


async def test_what_is_asked_in_another_way_is_answered_the_ordinary_way(instance: Instance) -> None:
    await instance.get(PATH)
    yaml = await instance.request("GET", PATH, headers={"Accept": "application/yaml"}, expect=200)
    assert yaml.headers["content-type"].startswith("application/yaml")
    head = await instance.request("HEAD", PATH, expect=200)
    full = await instance.request("GET", PATH, expect=200)
    assert (head.content, head.headers["etag"]) == (b"", full.headers["etag"])
    assert (await instance.request("GET", f"{PATH}?limit=3", expect=422)).json()["code"] == "request.invalid"
    await instance.request("GET", PATH, headers={"Authorization": "Bearer wrong"}, expect=401)
    await instance.request("DELETE", PATH, expect=405)


async def test_a_new_version_is_seen_by_the_next_request(instance: Instance) -> None:
    for _ in range(2):
        assert (await instance.get(PATH))["version"] == 1
    made = await instance.configure(upper="upper-inline")
    await instance.activated(made["id"])
    for _ in range(2):
        assert (await instance.get(PATH))["version"] == 2


async def test_a_breaker_that_is_opened_is_seen_by_the_next_request(instance: Instance) -> None:
    before = [(await instance.get(PATH)) for _ in range(2)]
    assert before[0] == before[1]
    await instance.application.breakers.set("upper-text", BreakerState.FORCED_OPEN, by=SYSTEM, message="broken")
    assert await instance.get(PATH) != before[0]


async def test_a_breaker_that_another_process_opened_is_seen_as_soon_as_it_is_known_here(instance: Instance) -> None:
    app = instance.application
    before = [(await instance.get(PATH)) for _ in range(2)]
    other = Database(app.settings.database_url)
    await other.start()
    await Breakers(Units(other, app.clock), app.clock).set("upper-text", BreakerState.FORCED_OPEN, by=SYSTEM)
    await other.close()
    for _ in range(2):
        await instance.get(PATH)  # rendered after that commit, perhaps with what was known of breakers before it

    await app.breakers.follow()

    assert await instance.get(PATH) != before[0]


@pytest.mark.parametrize("change", ["revoked", "lowered"])
async def test_what_another_process_does_to_a_token_acts_on_the_next_request(instance: Instance, change: str) -> None:
    app = instance.application
    token, secret = await app.access.create_token("reader", Role.VIEWER, None, by=ADMIN)
    mine = {"Authorization": f"Bearer {secret}"}
    for _ in range(3):
        await instance.request("GET", PATH, headers=mine, expect=200)
    other = Database(app.settings.database_url)
    await other.start()
    elsewhere = AccessService(Units(other, app.clock), app.clock)

    if change == "revoked":
        await elsewhere.revoke(token.id, by=ADMIN)
    else:
        await elsewhere.update(token.id, ADMIN, None, role=Role.INGEST)

    await instance.request("GET", PATH, headers=mine, expect=401 if change == "revoked" else 403)
    await other.close()
