"""Groups of statements that are asked for together are done as if each had been asked for after the one before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switchgear.core.database import Database, Refused, Result, Statement

pytestmark = pytest.mark.exhaustive

Kind = Literal["add", "add_many", "claim", "must_change", "must_find", "read", "remove"]
_SQL: dict[Kind, str] = {
    "add": "INSERT INTO admission (pipeline, generation) VALUES (:name, 0)",
    "add_many": "INSERT INTO admission (pipeline, generation) VALUES (:name, :generation)",
    "claim": "UPDATE admission SET generation = 1 WHERE pipeline = :name AND generation = 0 RETURNING pipeline",
    "must_change": "UPDATE admission SET generation = generation + 1 WHERE pipeline = :name",
    "must_find": "SELECT generation FROM admission WHERE pipeline = :name",
    "read": "SELECT generation FROM admission WHERE pipeline = :name",
    "remove": "DELETE FROM admission WHERE pipeline = :name",
}
Deed = tuple[Kind, str]
Group = Sequence[Deed]


class _Fails(Exception):
    """The group does not happen; `Refused` when something else was there than expected."""


@dataclass
class Model:
    """What is stored, and what each group has to be answered."""

    stored: dict[str, int] = field(default_factory=dict)

    def run(self, group: Group) -> list[Result] | type[Exception]:
        """Do the whole group, or nothing of it."""
        before = dict(self.stored)
        try:
            return [self._do(kind, name) for kind, name in group]
        except _Fails as failure:
            self.stored = before
            return type(failure.args[0])

    def _do(self, kind: Kind, name: str) -> Result:
        known = self.stored.get(name)
        if kind in ("add", "add_many"):
            names = [name, name * 2] if kind == "add_many" else [name]
            if any(item in self.stored for item in names):
                raise _Fails(Exception())
            self.stored |= {item: number for number, item in enumerate(names)}
            return Result([], len(names))
        if kind in ("must_change", "must_find") and known is None:
            raise _Fails(Refused(""))
        if kind == "claim":
            if known != 0:
                return Result([], 0)
            self.stored[name] = 1
            return Result([(name,)], 1)
        if kind == "remove":
            return Result([], 0 if self.stored.pop(name, None) is None else 1)
        if known is None:
            return Result([], 0)
        if kind == "must_change":
            self.stored[name] = known + 1
            return Result([], 1)
        return Result([(known,)], 1)


def _statement(kind: Kind, name: str) -> Statement:
    parameters: Any = {"name": name}
    if kind == "add_many":
        parameters = [{"name": name, "generation": 0}, {"name": name * 2, "generation": 1}]
    expect = 1 if kind.startswith("must") else None
    return Statement(_SQL[kind], parameters, expect=expect, fetch=kind in ("claim", "read", "must_find"))


_DEEDS = st.tuples(st.sampled_from(sorted(_SQL)), st.sampled_from("abc"))
_TOGETHER = st.lists(st.lists(_DEEDS, min_size=1, max_size=4), min_size=1, max_size=6)


def _seen(answer: list[Result] | BaseException, kinds: Sequence[Kind]) -> list[Result] | type[BaseException]:
    if isinstance(answer, BaseException):
        return Refused if isinstance(answer, Refused) else Exception
    return [
        Result(item.rows, len(item.rows)) if kind == "read" else item for item, kind in zip(answer, kinds, strict=True)
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(waves=st.lists(_TOGETHER, min_size=1, max_size=4))
def test_groups_that_go_together_end_as_if_they_had_gone_one_after_another(
    database_url: str, waves: list[list[list[Deed]]]
) -> None:
    async def go() -> None:
        database = Database(database_url)
        await database.start()
        try:
            await database.narrow.run(Statement("DELETE FROM admission"))
            model = Model()
            for together in waves:
                wanted = [model.run(group) for group in together]
                asked = (database.narrow.run(*(_statement(*deed) for deed in group)) for group in together)
                answers = await asyncio.gather(*asked, return_exceptions=True)
                seen = [
                    _seen(answer, [kind for kind, _ in group]) for answer, group in zip(answers, together, strict=True)
                ]
                assert seen == wanted
            stored = await database.narrow.query("SELECT pipeline, generation FROM admission")
            assert dict(stored) == model.stored
        finally:
            await database.close()

    asyncio.run(go())
