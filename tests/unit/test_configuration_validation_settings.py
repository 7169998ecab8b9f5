"""A setting that does not fit its schema is told in plain words, at its place, with what is known there."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from factories.core import FakeRegistry, content
from factories.validation import check, only
from switchgear.core.configuration_validation import Findings


class _Page(BaseModel):
    width: int
    unit: Literal["mm", "inch"] = "mm"


class _ManyKinds(BaseModel):
    words: int | str | None = None
    ocr: Literal["auto"] | int = 1
    paper: Literal["a4", "a5"] | int | None = 1
    pages: int | list[int] = 1
    depth: Annotated[int, Field(ge=3)] | None = None
    page: _Page | Literal["whole"] = "whole"
    share: float = Field(1, gt=0, multiple_of=0.5)
    name: str = Field("a", min_length=1, pattern="^a*$")
    tags: set[str] = Field(set(), max_length=2)
    limits: dict[str, int] = Field(default_factory=dict, max_length=2)
    exact: Literal["only"] = "only"


@pytest.mark.parametrize(
    ("settings", "place", "message"),
    [
        ({"words": [1]}, "/words", "The setting words must be a whole number, text or null."),
        ({"ocr": "canary"}, "/ocr", "The setting ocr must be 'auto' or a whole number."),
        ({"paper": "canary"}, "/paper", "The setting paper must be a whole number, null or one of: a4, a5."),
        ({"pages": "canary"}, "/pages", "The setting pages must be a whole number or a list."),
        ({"pages": [1, "canary"]}, "/pages/1", "The setting pages.1 must be a whole number."),
        ({"depth": 2}, "/depth", "The setting depth must be at least 3."),
        ({"page": {"width": "canary"}}, "/page/width", "The setting page.width must be a whole number."),
        ({"page": {}}, "/page", "The setting page.width is missing."),
        ({"share": "canary"}, "/share", "The setting share must be a number."),
        ({"share": 0}, "/share", "The setting share must be more than 0."),
        ({"share": 0.7}, "/share", "The setting share must be a multiple of 0.5."),
        ({"name": ""}, "/name", "The setting name must not be empty."),
        ({"name": "acanary"}, "/name", "The setting name must match the pattern ^a*$."),
        ({"tags": ["a", "a"]}, "/tags", "The setting tags must not have an item twice."),
        ({"tags": ["a", "b", "c"]}, "/tags", "The setting tags must have at most 2 items."),
        ({"limits": {"a": "canary"}}, "/limits/a", "The setting limits must be a whole number."),
        ({"limits": dict.fromkeys("abc", 1)}, "/limits", "The setting limits must have at most 2 entries."),
        ({"exact": "canary"}, "/exact", "The setting exact must be 'only'."),
    ],
)
def test_a_setting_that_does_not_fit_says_what_is_wanted_in_plain_words(
    registry: FakeRegistry, settings: dict[str, Any], place: str, message: str
) -> None:
    registry.change("read-a", settings_schema=_ManyKinds.model_json_schema())
    found = check(registry, content(read=("read-a", settings))).errors
    said = {finding.pointer.removeprefix("/selections/0/settings"): finding.message for finding in found}
    assert said.get(place) == message, said


def test_a_secret_reference_is_accepted(registry: FakeRegistry) -> None:
    good = {"token": "file:key.txt", "keys": {"a": "env:SWITCHGEAR_SECRET_A"}}
    assert check(registry, content(read=("read-a", good))) == Findings()


def test_a_schema_that_cannot_be_read_refuses_nothing(registry: FakeRegistry) -> None:
    registry.change("read-a", settings_schema={"type": "no such type"})
    assert check(registry, content(read=("read-a", {"x": 1}))).is_valid


def test_a_module_without_settings_says_so(registry: FakeRegistry) -> None:
    registry.change("read-a", settings_schema={"type": "object", "properties": {}, "additionalProperties": False})
    assert only(check(registry, content(read=("read-a", {"x": 1})))).hint == "Module read-a has no settings."


def test_nested_settings_name_what_is_known_there(registry: FakeRegistry) -> None:
    nested = {
        "type": "object",
        "properties": {"page": {"$ref": "#/$defs/Page"}},
        "$defs": {
            "Page": {
                "type": "object",
                "properties": {"width": {}},
                "required": ["width"],
                "additionalProperties": False,
            }
        },
    }
    registry.change("read-a", settings_schema=nested)
    found = check(registry, content(read=("read-a", {"page": {"widht": 1}})))
    messages = " ".join(finding.message for finding in found.errors)
    assert "Did you mean 'width'?" in messages
    assert "The setting page.width is missing." in messages
    assert {finding.pointer for finding in found.errors} == {"/selections/0/settings/page"}
