"""Rows of tokens and idempotency keys. Source: DESIGN 7, INTERFACES 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CursorResult, delete, null, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncSession

from switchgear.core.configuration_models import ApiToken, IdempotencyKey
from switchgear.domain.access import Role


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token without its secret. Times are microseconds UTC; `version` counts its changes."""

    id: str
    name: str
    role: Role
    created_by: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    version: int

    @property
    def etag(self) -> str:
        """What If-Match has to name."""
        return f'"{self.id}.{self.version}"'

    def is_valid(self, now_us: int) -> bool:
        """Whether it opens anything at *now_us*."""
        return self.revoked_at is None and (self.expires_at is None or now_us < self.expires_at)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A request that came with an idempotency key; `status` is None while it is at work."""

    route: str
    body_sha256: str
    status: int | None
    response: str | None
    headers: Mapping[str, Any] | None
    expires_at: int


class AccessRepository:
    """Tokens and idempotency keys, as one transaction sees them."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._is_postgres = session.get_bind().dialect.name == "postgresql"

    async def add_token(self, token: StoredToken, secret_sha256: str) -> None:
        """Store a new token."""
        values = {name: getattr(token, name) for name in StoredToken.__slots__}
        self._session.add(ApiToken(**values | {"role": str(token.role)}, secret_sha256=secret_sha256))
        await self._session.flush()

    async def token_by_secret(self, secret_sha256: str) -> StoredToken | None:
        """Return the token whose secret has this digest, valid or not."""
        row = await self._session.scalar(select(ApiToken).where(ApiToken.secret_sha256 == secret_sha256))
        return _token(row) if row is not None else None

    async def token(self, token_id: str) -> StoredToken | None:
        """Return a token by its id."""
        row = await self._session.scalar(
            select(ApiToken).where(ApiToken.id == token_id).execution_options(populate_existing=True)
        )
        return _token(row) if row is not None else None

    async def tokens_named(self, name: str) -> Sequence[StoredToken]:
        """Return every token of this name, revoked ones included."""
        return [_token(row) for row in await self._session.scalars(select(ApiToken).where(ApiToken.name == name))]

    async def tokens(self, *, limit: int, after_id: str | None = None) -> Sequence[StoredToken]:
        """Return tokens, newest first, those older than *after_id*."""
        query = select(ApiToken).order_by(ApiToken.id.desc()).limit(limit)
        if after_id is not None:
            query = query.where(ApiToken.id < after_id)
        return [_token(row) for row in await self._session.scalars(query)]

    async def change_token(self, token_id: str, version: int, **values: Any) -> bool:
        """Change a token that is still at *version*; False when it has moved on."""
        statement = update(ApiToken).where(ApiToken.id == token_id, ApiToken.version == version)
        result = await self._session.execute(statement.values(**values, version=version + 1))
        assert isinstance(result, CursorResult)
        return result.rowcount == 1

    async def reserve_key(self, actor: str, key: str, values: Mapping[str, Any]) -> bool:
        """Store a key as at work; False when it is stored already. Waits for another transaction that reserves it."""
        insert = postgres_insert(IdempotencyKey) if self._is_postgres else sqlite_insert(IdempotencyKey)
        row = {"actor": actor, "key": key, "status": None, "response": None, "headers": null(), **values}
        stored = await self._session.execute(insert.values(row).on_conflict_do_nothing().returning(IdempotencyKey.key))
        return stored.scalar_one_or_none() is not None

    async def key(self, actor: str, key: str) -> StoredAnswer | None:
        """Return what is stored under a key; another transaction that changes it is waited for."""
        query = select(IdempotencyKey).where(IdempotencyKey.actor == actor, IdempotencyKey.key == key)
        row = await self._session.scalar(query.with_for_update().execution_options(populate_existing=True))
        if row is None:
            return None
        return StoredAnswer(row.route, row.body_sha256, row.status, row.response, row.headers, row.expires_at)

    async def change_key(self, actor: str, key: str, **values: Any) -> None:
        """Change what is stored under a key."""
        statement = update(IdempotencyKey).where(IdempotencyKey.actor == actor, IdempotencyKey.key == key)
        if values.get("headers", ...) is None:
            values["headers"] = null()
        await self._session.execute(statement.values(**values))

    async def drop_key(self, actor: str, key: str, *, but_not: int | None = None) -> None:
        """Forget a key, unless its status is *but_not*."""
        gone = delete(IdempotencyKey).where(IdempotencyKey.actor == actor, IdempotencyKey.key == key)
        if but_not is not None:
            gone = gone.where(IdempotencyKey.status.is_distinct_from(but_not))
        await self._session.execute(gone)

    async def drop_expired_keys(self, now_us: int) -> int:
        """Forget keys past their time; returns how many."""
        result = await self._session.execute(delete(IdempotencyKey).where(IdempotencyKey.expires_at <= now_us))
        assert isinstance(result, CursorResult)
        return result.rowcount


def _token(row: ApiToken) -> StoredToken:
    return StoredToken(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        version=row.version,
    )
