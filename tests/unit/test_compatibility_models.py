"""Schema compatibility: real Pydantic models against themselves and their successors."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, computed_field

from switchgear.domain.compatibility import Verdict, schema_within

YES, NO = Verdict.COMPATIBLE, Verdict.INCOMPATIBLE


class Currency(StrEnum):
    EUR = "EUR"
    USD = "USD"


class Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    text: str | None = None
    amount: Annotated[Decimal, Field(max_digits=12, decimal_places=2)]
    quantity: Annotated[Decimal, Field(ge=0)] = Decimal(1)
    children: tuple[Line, ...] = ()


class Card(BaseModel):
    kind: Literal["card"] = "card"
    digits: str = Field(pattern=r"^\d{4}$")


class Transfer(BaseModel):
    kind: Literal["transfer"] = "transfer"
    iban: str = Field(min_length=15, max_length=34)


class Invoice(BaseModel):
    number: str = Field(min_length=1, description="As printed")
    issued: date
    due: date | None = None
    seen_at: datetime
    took: timedelta = timedelta(0)
    currency: Currency = Currency.EUR
    lines: list[Line]
    payment: Annotated[Card | Transfer, Field(discriminator="kind")]
    confidence: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    page_boxes: list[tuple[int, float, float]] = []
    tags: set[str] = set()
    keys: dict[UUID, Literal["a", "b"]] = {}
    raw: JsonValue = None
    scan: bytes = b""
    source: Path | None = None


def sent_by(kind: Any) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema(mode="serialization")


def accepted_by(kind: Any) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema(mode="validation")


@pytest.mark.parametrize(
    "kind",
    [
        Invoice,
        Line,
        Card | Transfer,
        Currency,
        list[Invoice] | None,
        dict[str, Line],
        Decimal,
        date,
        JsonValue,
        bool,
        Any,
        Literal["a", 1, None],
        tuple[int, str],
        tuple[Line, ...],
        frozenset[int],
        UUID,
        bytes,
        float,
        Path,
    ],
    ids=str,
)
def test_what_a_model_sends_it_accepts_itself(kind: Any) -> None:
    assert schema_within(sent_by(kind), accepted_by(kind)) == schema_within({}, {})


class Old(BaseModel):
    number: str
    total: Decimal
    note: str | None = None


class WithMore(Old):
    currency: str = "EUR"


class WithoutNote(BaseModel):
    number: str
    total: Decimal


class NumberInt(Old):
    number: int  # type: ignore[assignment]


class NoteRequired(Old):
    note: str


class NoteNeeded(Old):
    note: str | None


class Strict(Old):
    model_config = ConfigDict(extra="forbid")


class Computed(Old):
    @computed_field  # type: ignore[prop-decorator]
    @property
    def gross(self) -> Decimal:
        return self.total


class TotalFloat(Old):
    total: float  # type: ignore[assignment]


class Page(BaseModel):
    lines: list[Old]


class NewPage(BaseModel):
    lines: list[NoteRequired]


MODELS: list[tuple[Any, Any, Verdict, set[str]]] = [
    (WithMore, Old, YES, set()),
    (Old, WithMore, YES, set()),
    (Old, WithoutNote, YES, set()),
    (WithoutNote, Old, YES, set()),
    (Old, NumberInt, NO, {"/number"}),
    (Old, NoteRequired, NO, {"/note"}),
    (Old, NoteNeeded, YES, set()),
    (WithoutNote, NoteNeeded, NO, {"/note"}),
    (NoteRequired, Old, YES, set()),
    (Old, Strict, YES, set()),
    (WithMore, Strict, NO, {"/currency"}),
    (Computed, Strict, NO, {"/gross"}),
    (Computed, Old, YES, set()),
    (Old, TotalFloat, NO, {"/total"}),
    (TotalFloat, Old, YES, set()),
    (Page, NewPage, NO, {"/lines/*/note"}),
    (NewPage, Page, YES, set()),
    (Old | None, Old, NO, {""}),
    (Card, Card | Transfer, YES, set()),
    (Card | Transfer, Annotated[Card | Transfer, Field(discriminator="kind")], YES, set()),
    (Card | Transfer, Card, NO, {"/kind", "/digits"}),
    (Literal["EUR"], Currency, YES, set()),
    (Currency, Literal["EUR"], NO, {""}),
    (list[int], tuple[float, ...], YES, set()),
    (tuple[int, int], list[int], YES, set()),
    (list[int], set[int], NO, {""}),
    (dict[str, int], dict[str, str], NO, {"/*"}),
    (dict[Literal["number", "total"], str], WithoutNote, NO, {"/number", "/total"}),
]


@pytest.mark.parametrize(
    ("producer", "consumer", "verdict", "pointers"),
    MODELS,
    ids=[f"{row[0]} into {row[1]}" for row in MODELS],
)
def test_a_pair_of_models_has_the_verdict_of_the_table(
    producer: Any, consumer: Any, verdict: Verdict, pointers: set[str]
) -> None:
    found = schema_within(sent_by(producer), accepted_by(consumer))

    assert (found.verdict, {reason.pointer for reason in found.reasons}) == (verdict, pointers)
