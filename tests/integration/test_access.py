"""Tokens: made, checked, changed, revoked; the admin token of HOME; refusals. Source: T014, INTERFACES 2, 5."""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from switchgear.core.access_service import AccessService, RefusalCounter
from switchgear.core.database import Database
from switchgear.core.database.statements import wall_time_us
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import SYSTEM, Actor, Role
from switchgear.domain.audit import AuditAction, AuditEvent
from switchgear.domain.errors import Forbidden, InvalidRequest, NotFound, PreconditionFailed, Unauthenticated

pytestmark = pytest.mark.anyio

ADMIN = Actor("root", Role.ADMIN, "tok_root")
HOUR_US = 3_600_000_000


@pytest.fixture
def access(units: Units) -> AccessService:
    return AccessService(units, wall_time_us)


async def trail(units: Units) -> Sequence[AuditEvent]:
    async with units(write=False) as unit:
        assert (await unit.audit.verify()).ok
        return await unit.audit.read_forward()


async def test_a_new_token_opens_and_names_its_owner(access: AccessService) -> None:
    token, secret = await access.create_token("scanner", Role.INGEST, None, ADMIN)
    assert secret.startswith("swg_")
    assert len(secret) == 47
    assert await access.authenticate(secret) == Actor("scanner", Role.INGEST, token.id)


async def test_the_secret_is_stored_nowhere(access: AccessService, units: Units, database: Database) -> None:
    _, secret = await access.create_token("scanner", Role.INGEST, None, ADMIN)
    rows = await database.narrow.query("SELECT * FROM api_tokens")
    assert secret not in str(rows) + str(await trail(units))


@pytest.mark.parametrize("secret", ["", "swg_" + "x" * 43, "x" * 100_000, "\0", "\ud800", "' OR 1=1 --"])
async def test_anything_else_opens_nothing(access: AccessService, secret: str) -> None:
    await access.create_token("scanner", Role.INGEST, None, ADMIN)
    with pytest.raises(Unauthenticated):
        await access.authenticate(secret)


async def test_a_revocation_acts_on_the_next_request_of_every_server(
    access: AccessService, units: Units, database_url: str
) -> None:
    token, secret = await access.create_token("scanner", Role.INGEST, None, ADMIN)
    other_database = Database(database_url)
    await other_database.start()
    other = AccessService(Units(other_database, wall_time_us), wall_time_us)
    try:
        await other.authenticate(secret)
        revoked = await access.revoke(token.id, ADMIN)
        for service in (access, other):
            with pytest.raises(Unauthenticated):
                await service.authenticate(secret)
    finally:
        await other_database.close()
    assert revoked.revoked_at is not None
    assert [event.action for event in await trail(units)] == ["token.created", "token.revoked"]


async def test_revoking_twice_changes_nothing_more(access: AccessService, units: Units) -> None:
    token, _ = await access.create_token("scanner", Role.INGEST, None, ADMIN)
    once = await access.revoke(token.id, ADMIN, if_match=token.etag)
    assert await access.revoke(token.id, ADMIN) == once
    assert len(await trail(units)) == 2


async def test_an_expired_token_opens_nothing(database_url: str) -> None:
    now = [1_000_000_000_000_000]
    database = Database(database_url, clock=lambda: now[0])
    await database.start()
    try:
        access = AccessService(Units(database, lambda: now[0]), lambda: now[0])
        _, secret = await access.create_token("guest", Role.VIEWER, now[0] + HOUR_US, ADMIN)
        now[0] += HOUR_US - 1
        assert (await access.authenticate(secret)).name == "guest"
        now[0] += 1
        with pytest.raises(Unauthenticated):
            await access.authenticate(secret)
    finally:
        await database.close()


async def test_the_message_of_a_change_stands_in_the_trail(access: AccessService, units: Units) -> None:
    token, _ = await access.create_token("scanner", Role.INGEST, None, ADMIN, message="for the new scanner")
    changed = await access.update(token.id, ADMIN, token.etag, role=Role.VIEWER, message="it only reads")
    await access.revoke(token.id, ADMIN, changed.etag, message="sold")
    assert [event.message for event in await trail(units)] == ["for the new scanner", "it only reads", "sold"]


async def test_a_token_is_changed_under_its_etag_only(access: AccessService, units: Units) -> None:
    token, secret = await access.create_token("scanner", Role.INGEST, None, ADMIN)
    changed = await access.update(token.id, ADMIN, token.etag, role=Role.VIEWER, name="reader")
    assert (changed.role, changed.name, changed.version) == (Role.VIEWER, "reader", 2)
    assert await access.authenticate(secret) == Actor("reader", Role.VIEWER, token.id)
    with pytest.raises(PreconditionFailed):
        await access.update(token.id, ADMIN, token.etag, role=Role.ADMIN)
    with pytest.raises(PreconditionFailed):
        await access.revoke(token.id, ADMIN, token.etag)
    event = (await trail(units))[-1]
    assert event.action == "token.changed"
    assert event.before is not None
    assert event.after is not None
    assert (event.before["role"], event.after["role"]) == ("ingest", "viewer")


async def test_an_end_can_be_set_and_taken_away(access: AccessService) -> None:
    token, _ = await access.create_token("scanner", Role.INGEST, wall_time_us() + HOUR_US, ADMIN)
    kept = await access.update(token.id, ADMIN, None, name="scanner 2")
    assert kept.expires_at == token.expires_at
    assert (await access.update(token.id, ADMIN, None, expires_at=None)).expires_at is None


async def test_a_revoked_token_cannot_be_changed(access: AccessService) -> None:
    token, _ = await access.create_token("scanner", Role.INGEST, None, ADMIN)
    await access.revoke(token.id, ADMIN)
    with pytest.raises(InvalidRequest, match="revoked"):
        await access.update(token.id, ADMIN, None, role=Role.ADMIN)


@pytest.mark.parametrize("name", ["", " ", "a" * 65, "line\nbreak", "nul\0", "system", "Local-Admin", "taken", " x "])
async def test_a_name_that_would_mislead_is_refused(access: AccessService, name: str) -> None:
    await access.create_token("taken", Role.VIEWER, None, ADMIN)
    with pytest.raises(InvalidRequest) as caught:
        await access.create_token(name, Role.VIEWER, None, ADMIN)
    assert caught.value.fields["errors"][0]["pointer"] == "/name"


async def test_a_name_is_free_again_once_its_token_is_revoked(access: AccessService) -> None:
    token, _ = await access.create_token("scanner", Role.INGEST, None, ADMIN)
    await access.revoke(token.id, ADMIN)
    await access.create_token("scanner", Role.INGEST, None, ADMIN)


async def test_a_name_is_given_once_to_many_who_ask_together(access: AccessService) -> None:
    answers = await asyncio.gather(
        *(access.create_token("scanner", Role.INGEST, None, ADMIN) for _ in range(6)), return_exceptions=True
    )
    assert sum(isinstance(answer, InvalidRequest) for answer in answers) == 5


async def test_a_token_cannot_have_expired_before_it_is_made(access: AccessService) -> None:
    with pytest.raises(InvalidRequest, match="expired"):
        await access.create_token("scanner", Role.INGEST, 1, ADMIN)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
async def test_only_admins_manage_tokens_and_refusals_are_on_record(
    access: AccessService, units: Units, role: Role
) -> None:
    token, _ = await access.create_token("scanner", Role.INGEST, None, ADMIN)
    eve = Actor("eve", role, "tok_eve")
    with pytest.raises(Forbidden):
        await access.create_token("mine", Role.ADMIN, None, eve)
    with pytest.raises(Forbidden):
        await access.update(token.id, eve, None, role=Role.ADMIN)
    with pytest.raises(Forbidden):
        await access.revoke(token.id, eve)
    refused = [(event.action, event.actor, event.result) for event in (await trail(units))[1:]]
    assert refused == [
        ("token.create_refused", "eve", "refused"),
        ("access.refused", "eve", "refused"),
        ("access.refused", "eve", "refused"),
    ]
    assert len((await access.list()).items) == 1


async def test_an_unknown_token_is_not_found(access: AccessService) -> None:
    for call in (access.get("tok_x"), access.revoke("tok_x", ADMIN), access.update("tok_x", ADMIN, None)):
        with pytest.raises(NotFound):
            await call


async def test_tokens_are_listed_newest_first_in_pages(access: AccessService) -> None:
    for number in range(5):
        await access.create_token(f"t{number}", Role.VIEWER, None, ADMIN)
    names: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        page = await access.list(limit=2, cursor=cursor)
        names += [token.name for token in page.items]
        cursor = page.next_cursor
    assert (names, cursor) == (["t4", "t3", "t2", "t1", "t0"], None)


async def test_the_first_start_writes_an_admin_token_that_only_its_owner_reads(
    access: AccessService, tmp_path: Path
) -> None:
    path = await access.ensure_admin_token(tmp_path)
    assert path == tmp_path / "admin.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    actor = await access.authenticate(path.read_text().strip())
    assert (actor.name, actor.role) == ("local-admin", Role.ADMIN)


async def test_later_starts_keep_the_admin_token(access: AccessService, units: Units, tmp_path: Path) -> None:
    path = await access.ensure_admin_token(tmp_path)
    secret = path.read_text()
    path.chmod(0o644)
    await access.ensure_admin_token(tmp_path)
    assert path.read_text() == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(await trail(units)) == 1


async def test_servers_that_start_together_make_one_admin_token(
    access: AccessService, units: Units, tmp_path: Path
) -> None:
    await asyncio.gather(*(access.ensure_admin_token(tmp_path) for _ in range(4)))
    assert [event.action for event in await trail(units)] == ["token.created"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("admin")] == ["admin.token"]


async def test_a_lost_admin_token_is_made_anew(access: AccessService, units: Units, tmp_path: Path) -> None:
    path = await access.ensure_admin_token(tmp_path)
    old = path.read_text().strip()
    path.unlink()
    await access.ensure_admin_token(tmp_path)
    assert (await access.authenticate(path.read_text().strip())).role is Role.ADMIN
    assert "token.restored" in [event.action for event in await trail(units)]
    if units.database.dialect == "sqlite":
        with pytest.raises(Unauthenticated):
            await access.authenticate(old)


async def test_an_admin_token_of_another_database_is_replaced(access: AccessService, tmp_path: Path) -> None:
    (tmp_path / "admin.token").write_text("swg_" + "z" * 43 + "\n")
    path = await access.ensure_admin_token(tmp_path)
    assert (await access.authenticate(path.read_text().strip())).name == "local-admin"


async def test_a_revoked_admin_token_stays_revoked_until_its_file_is_removed(
    access: AccessService, tmp_path: Path
) -> None:
    path = await access.ensure_admin_token(tmp_path)
    secret = path.read_text().strip()
    token_id = (await access.authenticate(secret)).token_id
    assert token_id is not None
    await access.revoke(token_id, ADMIN)
    await access.ensure_admin_token(tmp_path)
    assert path.read_text().strip() == secret
    with pytest.raises(Unauthenticated):
        await access.authenticate(secret)


async def test_a_bootstrap_token_is_made_once_and_never_comes_back(access: AccessService) -> None:
    secret = "b" * 40
    await access.ensure_bootstrap_token(secret)
    actor = await access.authenticate(secret)
    assert (actor.name, actor.role) == ("bootstrap", Role.ADMIN)
    assert actor.token_id is not None
    await access.revoke(actor.token_id, ADMIN)
    await access.ensure_bootstrap_token(secret)
    with pytest.raises(Unauthenticated):
        await access.authenticate(secret)


async def test_a_short_bootstrap_token_is_refused(access: AccessService) -> None:
    with pytest.raises(InvalidRequest, match="32") as caught:
        await access.ensure_bootstrap_token("canary5519")
    assert "canary5519" not in str(caught.value.record())


async def test_refusals_are_recorded(access: AccessService, units: Units) -> None:
    await access.record_refusal(Actor("eve", Role.VIEWER, "tok_eve"), "POST /api/v1/configurations")
    [event] = await trail(units)
    assert (event.action, event.actor, event.result) == ("access.refused", "eve", "refused")
    assert event.subjects == ("POST /api/v1/configurations",)


async def test_ten_thousand_bad_logins_are_a_few_audit_entries(access: AccessService, units: Units) -> None:
    now = [60_000_000 * 1000]
    counter = RefusalCounter(lambda: now[0], clients=3)
    for number in range(10_000):
        counter.count(AuditAction.ACCESS_UNAUTHENTICATED_COUNTED, f"10.0.0.{number % 100}")
    assert counter.take() == [], "the minute is not over"
    now[0] += 60_000_000
    counter.count(AuditAction.ACCESS_RATE_LIMITED_COUNTED, "10.0.0.1")
    await access.record_counts(counter.take())
    events = await trail(units)
    assert {event.subjects[0]: (event.after or {})["count"] for event in events} == {
        "10.0.0.0": 100,
        "10.0.0.1": 100,
        "10.0.0.2": 100,
        "others": 9700,
    }
    assert {(event.actor, (event.after or {})["minute"]) for event in events} == {(SYSTEM.name, 60_000)}
    await access.record_counts(counter.take(everything=True))
    assert (await trail(units))[-1].action == "access.rate_limited_counted"
    await access.record_counts(counter.take(everything=True))
    assert len(await trail(units)) == 5


async def test_a_secret_is_compared_by_its_digest_alone_so_that_no_time_tells_how_much_of_it_was_right(
    access: AccessService, units: Units, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who guesses cannot choose the digest, and a known secret takes the same one statement as a wrong one."""
    _, secret = await access.create_token("crawler", Role.VIEWER, None, by=ADMIN)
    asked: list[dict[str, object]] = []
    query = units.database.narrow.query

    async def noted(statement: str, values: dict[str, object]) -> object:
        asked.append(values)
        return await query(statement, values)

    monkeypatch.setattr(units.database.narrow, "query", noted)
    await access.authenticate(secret)
    with pytest.raises(Unauthenticated):
        await access.authenticate(secret[:-1] + ("a" if secret[-1] != "a" else "b"))
    assert [list(values) for values in asked] == [["digest"], ["digest"]]
    assert asked[0]["digest"] == hashlib.sha256(secret.encode()).hexdigest()
