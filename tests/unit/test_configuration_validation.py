"""Validation against contracts and availability: every cell of DESIGN 4's table, all findings at once (T004)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from factories.core import (
    DELIVER,
    EXTRACT,
    GONE,
    PIPELINE,
    READ,
    Clock,
    FakeRegistry,
    content,
    module,
    schema,
    version_of,
)
from switchgear.core.configuration_validation import (
    Finding,
    Findings,
    Purpose,
    ValidationOptions,
    content_errors,
    lock_of,
    stale_modules,
    validate,
)
from switchgear.core.configuration_validation.contracts import within
from switchgear.domain.compatibility import Verdict
from switchgear.domain.configuration import (
    MAX_SELECTIONS,
    Content,
    FallbackPolicy,
    FallbackStep,
    Selection,
    StoredConfiguration,
    Terminal,
    sha256_of,
)
from switchgear.domain.errors import Code
from switchgear.domain.stage import Lack, ProbeAnswer, Snapshot

CREATE, ACTIVATE, ROLLBACK, STARTUP = Purpose.CREATE, Purpose.ACTIVATE, Purpose.ROLLBACK, Purpose.STARTUP
HOLD = ValidationOptions(on_module_change="hold")


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry(Clock())


def check(registry: FakeRegistry, checked: Content, purpose: Purpose = CREATE, **options: Any) -> Findings:
    return validate(checked, registry.current(), purpose=purpose, **options)


def codes(findings: Sequence[Finding]) -> list[str]:
    return [str(finding.code) for finding in findings]


def only(findings: Findings) -> Finding:
    [finding] = findings.errors
    return finding


def stored(held: Content, registry: FakeRegistry) -> StoredConfiguration:
    lock = lock_of(held.module_ids(), registry.current())
    return version_of(held, pipeline="threes", lock=lock)


def test_good_content_has_no_findings(registry: FakeRegistry) -> None:
    assert check(registry, content()) == Findings()


# --- the table: content errors are errors for every purpose ---


def with_policy(*steps: FallbackStep, then: Terminal | None = None, stage: str = "extract", **more: Any) -> Content:
    plain = content(chain=(), then=None)
    return replace(plain, policies=(FallbackPolicy(stage, steps, then, **more),))


def step(name: str, *on: str, **more: Any) -> FallbackStep:
    return FallbackStep(name, on or ("error",), **more)


def selecting(*selections: Selection) -> Content:
    return Content(selections)


READ_A, EXTRACT_A = Selection("read", "read-a"), Selection("extract", "extract-a")

BAD: dict[str, tuple[Callable[[], Content], Code, str]] = {
    "unknown stage": (
        lambda: selecting(READ_A, EXTRACT_A, Selection("extrakt", "extract-b")),
        Code.SELECTION_UNKNOWN_STAGE,
        "/selections/2/stage_id",
    ),
    "unknown module": (lambda: content(read="read-x"), Code.SELECTION_UNKNOWN_MODULE, "/selections/0/module_id"),
    "wrong stage": (lambda: content(read="extract-b"), Code.SELECTION_WRONG_STAGE, "/selections/0/module_id"),
    "missing stage": (lambda: selecting(READ_A), Code.SELECTION_MISSING_STAGE, "/selections"),
    "duplicate": (
        lambda: selecting(READ_A, EXTRACT_A, Selection("read", "read-b")),
        Code.SELECTION_DUPLICATE,
        "/selections/2/stage_id",
    ),
    "bad settings": (
        lambda: content(read=("read-a", {"depth": 0})),
        Code.SELECTION_BAD_SETTINGS,
        "/selections/0/settings/depth",
    ),
    "unknown setting": (
        lambda: content(read=("read-a", {"langage": "de"})),
        Code.SELECTION_BAD_SETTINGS,
        "/selections/0/settings",
    ),
    "unknown limit": (
        lambda: selecting(replace(READ_A, limits={"timeout": 3}), EXTRACT_A),
        Code.SELECTION_BAD_SETTINGS,
        "/selections/0/limits",
    ),
    "limit out of range": (
        lambda: selecting(replace(READ_A, limits={"timeout_s": 0}), EXTRACT_A),
        Code.SELECTION_BAD_SETTINGS,
        "/selections/0/limits/timeout_s",
    ),
    "limit of another type": (
        lambda: selecting(replace(READ_A, limits={"retries": True}), EXTRACT_A),
        Code.SELECTION_BAD_SETTINGS,
        "/selections/0/limits/retries",
    ),
    "secret that is null": (
        lambda: content(read=("read-a", {"token": None})),
        Code.SELECTION_BAD_SETTINGS,
        "/selections/0/settings/token",
    ),
    "secret as text": (
        lambda: content(read=("read-a", {"token": "hunter2hunter2"})),
        Code.SECRET_LITERAL,
        "/selections/0/settings/token",
    ),
    "secret as text in a map": (
        lambda: content(read=("read-a", {"keys": {"x": "hunter2hunter2"}})),
        Code.SECRET_LITERAL,
        "/selections/0/settings/keys/x",
    ),
    "secret as a number": (
        lambda: content(read=("read-a", {"token": 123456789})),
        Code.SECRET_LITERAL,
        "/selections/0/settings/token",
    ),
    "cycle": (
        lambda: with_policy(step("extract-b"), step("extract-a")),
        Code.POLICY_CYCLE,
        "/fallback_policies/0/chain/1/module_id",
    ),
    "repeated": (
        lambda: with_policy(step("extract-b"), step("extract-b")),
        Code.POLICY_REPEATED_MODULE,
        "/fallback_policies/0/chain/1/module_id",
    ),
    "unknown fallback": (
        lambda: with_policy(step("extract-x")),
        Code.SELECTION_UNKNOWN_MODULE,
        "/fallback_policies/0/chain/0/module_id",
    ),
    "fallback of another stage": (
        lambda: with_policy(step("read-b")),
        Code.SELECTION_WRONG_STAGE,
        "/fallback_policies/0/chain/0/module_id",
    ),
    "unknown stage of a policy": (
        lambda: with_policy(stage="nowhere", then=Terminal.PARK),
        Code.SELECTION_UNKNOWN_STAGE,
        "/fallback_policies/0/stage_id",
    ),
    "two policies": (
        lambda: replace(content(), policies=content().policies * 2),
        Code.SELECTION_DUPLICATE,
        "/fallback_policies/1/stage_id",
    ),
    "unknown trigger": (
        lambda: with_policy(step("extract-b", "eror")),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/chain/0/on/0",
    ),
    "an outcome that leads to no fallback": (
        lambda: with_policy(step("extract-b", "cancelled")),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/chain/0/on/0",
    ),
    "no trigger": (
        lambda: with_policy(FallbackStep("extract-b", ())),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/chain/0/on",
    ),
    "low confidence without threshold": (
        lambda: with_policy(step("extract-b", "low_confidence")),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/chain/0/threshold",
    ),
    "threshold without low confidence": (
        lambda: with_policy(step("extract-b", threshold=0.5)),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/chain/0/threshold",
    ),
    "threshold out of range": (
        lambda: with_policy(step("extract-b", "low_confidence", threshold=1.5)),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/chain/0/threshold",
    ),
    "low confidence without confidence": (
        lambda: with_policy(step("read-b", "low_confidence", threshold=0.5), stage="read"),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/chain/0/on",
    ),
    "required stage skipped": (
        lambda: with_policy(then=Terminal.SKIP),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/then",
    ),
    "policy without selection": (
        lambda: with_policy(stage="deliver", then=Terminal.SKIP),
        Code.REQUEST_INVALID,
        "/fallback_policies/0",
    ),
    "budget of nothing": (
        lambda: with_policy(then=Terminal.PARK, budget_s=0.0),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/budget_s",
    ),
    "budget without end": (
        lambda: with_policy(then=Terminal.PARK, budget_s=float("nan")),
        Code.REQUEST_INVALID,
        "/fallback_policies/0/budget_s",
    ),
    "settings too large": (
        lambda: content(read=("read-a", {"language": "x" * 70_000})),
        Code.REQUEST_TOO_LARGE,
        "/selections/0/settings",
    ),
    "chain too long": (
        lambda: with_policy(*(step(f"m{n}") for n in range(21))),
        Code.REQUEST_TOO_LARGE,
        "/fallback_policies/0/chain",
    ),
}


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("name", BAD)
def test_content_that_does_not_fit_is_an_error_everywhere(name: str, purpose: Purpose, registry: FakeRegistry) -> None:
    make, code, place = BAD[name]
    found = check(registry, make(), purpose, accept_degraded=True)
    assert (code, place) in [(finding.code, finding.pointer) for finding in found.errors]
    assert content_errors(found)


def test_more_selections_than_are_allowed_are_one_finding(registry: FakeRegistry) -> None:
    many = Content(tuple(Selection(f"s{n}", "m") for n in range(MAX_SELECTIONS + 1)))
    assert codes(check(registry, many).errors) == [Code.REQUEST_TOO_LARGE]


#: What a body of a mebibyte can hold; each entry costs a search for what was meant.
NONSENSE: dict[str, Content] = {
    "limits": Content(tuple(Selection(f"s{n}", "m", limits=dict.fromkeys(map(str, range(50)), 1)) for n in range(99))),
    "triggers": Content(
        (READ_A, EXTRACT_A),
        tuple(FallbackPolicy(f"s{n}", (FallbackStep("m", ("eror",) * 20),) * 20) for n in range(MAX_SELECTIONS)),
    ),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_of_very_many_findings_the_first_are_told_and_nothing_more_is_looked_at(
    name: str, registry: FakeRegistry
) -> None:
    found = check(registry, NONSENSE[name])
    assert len(found.errors) == 1001
    assert (found.errors[0].code, found.errors[0].pointer) == (Code.REQUEST_TOO_LARGE, "")
    assert "more than 1000 findings" in found.errors[0].message
    assert not found.is_storable


MISFITS: dict[str, dict[str, Any]] = {
    "output": {"output_schema": schema(number="integer", confidence="number")},
    "input": {"inputs": {"pages": replace(EXTRACT.inputs["pages"], schema=schema(text="integer"))}},
    "needs more": {"inputs": {"pages": replace(EXTRACT.inputs["pages"], schema=schema(text="string", words="array"))}},
    "unknown input": {"inputs": {"sheets": EXTRACT.inputs["pages"]}},
    "other contract": {"contract": "x-read@1"},
    "other major": {"contract": "x-extract@2"},
    "newer minor": {"contract": "x-extract@1.3"},
    "no reference": {"contract": "nonsense"},
}


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("name", MISFITS)
def test_a_contract_mismatch_is_an_error_everywhere(name: str, purpose: Purpose, registry: FakeRegistry) -> None:
    registry.change("extract-a", **MISFITS[name])
    finding = only(check(registry, content(), purpose))
    assert (finding.code, finding.pointer) == (Code.CONTRACT_INCOMPATIBLE, "/selections/1/module_id")


def test_an_input_that_may_be_absent_must_be_accepted_absent(registry: FakeRegistry) -> None:
    optional = replace(EXTRACT, inputs={"pages": replace(EXTRACT.inputs["pages"], optional=True)})
    stages = tuple(replace(s, contract=optional) if s.id == "extract" else s for s in PIPELINE.stages)
    registry.pipeline = replace(PIPELINE, stages=stages)
    assert "may be absent" in check(registry, content(chain=())).errors[0].message


@pytest.mark.parametrize("purpose", Purpose)
def test_a_missing_guarantee_is_an_error_everywhere(purpose: Purpose, registry: FakeRegistry) -> None:
    registry.change("extract-b", guarantees=())
    finding = only(check(registry, content(), purpose))
    assert (finding.code, finding.pointer) == (
        Code.CONTRACT_GUARANTEE_MISSING,
        "/fallback_policies/0/chain/0/module_id",
    )
    assert "has_number" in finding.message


def test_stages_that_do_not_fit_each_other_are_an_error(registry: FakeRegistry) -> None:
    reader = replace(READ, output_sent_schema=schema(text="integer"))
    stages = tuple(replace(s, contract=reader) if s.id == "read" else s for s in PIPELINE.stages)
    registry.pipeline = replace(PIPELINE, stages=stages)
    finding = only(check(registry, content()))
    assert (finding.code, finding.stage_id) == (Code.CONTRACT_INCOMPATIBLE, "extract")


# --- the table: selected module unavailable ---

COVERED = {
    "fallback": content(then=None),
    "park": content(chain=(), then="park"),
    "both": content(then="fail"),
}


@pytest.mark.parametrize("name", COVERED)
@pytest.mark.parametrize(
    ("purpose", "options", "is_error"),
    [
        (CREATE, {}, False),
        (ACTIVATE, {}, True),
        (ACTIVATE, {"accept_degraded": True}, False),
        (ROLLBACK, {}, False),
        (STARTUP, {}, False),
    ],
)
def test_a_covered_unavailable_module(
    name: str, purpose: Purpose, options: dict[str, Any], is_error: bool, registry: FakeRegistry
) -> None:
    registry.change("extract-a", lack=GONE)
    found = check(registry, COVERED[name], purpose, **options)
    finding = (found.errors if is_error else found.warnings)[0]
    assert finding.code == Code.SELECTION_UNAVAILABLE
    assert finding.message.startswith("Program foo is missing.")
    assert finding.hint == "apt install foo"
    assert found.is_valid is not is_error


def test_a_missing_module_is_not_said_to_be_served_by_a_fallback_that_is_missing_too(registry: FakeRegistry) -> None:
    registry.change("extract-a", lack=GONE)
    for name, then in (("fallback", "Its fallback serves."), ("park", "runs that reach the stage are put on hold.")):
        assert check(registry, COVERED[name], CREATE).warnings[0].message.endswith(then)
    registry.change("extract-b", lack=GONE)
    registry.change("extract-c", lack=GONE)
    both_gone = check(registry, content(then="park"), CREATE).warnings[0]
    assert both_gone.message.endswith("No fallback serves: runs that reach the stage are put on hold.")


def test_a_lack_that_the_active_version_has_too_refuses_nothing(registry: FakeRegistry) -> None:
    active = stored(content(), registry)
    registry.change("extract-a", lack=GONE)
    assert check(registry, content(read="read-b"), ACTIVATE, active=active).is_valid
    other = stored(content(extract="extract-c"), registry)
    assert codes(check(registry, content(), ACTIVATE, active=other).errors) == [Code.SELECTION_UNAVAILABLE]
    # with its own settings the module works in the active version, so the lack would be new
    registry.change("extract-a", lack=None)
    key = ("extract-a", sha256_of({"depth": 2}))
    registry.probes[key] = ProbeAnswer(*key, GONE)
    changed = content(extract=("extract-a", {"depth": 2}))
    assert codes(check(registry, changed, ACTIVATE, active=active).errors) == [Code.SELECTION_UNAVAILABLE]


NOT_COVERED = {
    "nothing": content(chain=(), then=None),
    "fail": content(chain=(), then="fail"),
    "a chain that unavailable does not lead to": content(on=("error",), then=None),
}


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("name", NOT_COVERED)
def test_an_unavailable_module_that_nothing_covers_is_an_error_everywhere(
    name: str, purpose: Purpose, registry: FakeRegistry
) -> None:
    registry.change("extract-a", lack=GONE)
    found = check(registry, NOT_COVERED[name], purpose, accept_degraded=True)
    assert codes(found.errors) == [Code.SELECTION_UNAVAILABLE]
    assert not content_errors(found)


def test_an_unavailable_fallback_covers_nothing(registry: FakeRegistry) -> None:
    registry.change("extract-a", lack=GONE)
    registry.change("extract-b", enabled=False)
    found = check(registry, content(then=None), ROLLBACK)
    assert codes(found.errors) == [Code.SELECTION_UNAVAILABLE]
    assert codes(found.warnings) == [Code.POLICY_UNAVAILABLE]


def test_an_optional_stage_is_covered_by_skip(registry: FakeRegistry) -> None:
    registry.change("deliver-a", lack=GONE)
    plain = content(deliver="deliver-a")
    skipping = replace(plain, policies=(*plain.policies, FallbackPolicy("deliver", (), Terminal.SKIP)))
    assert check(registry, skipping).is_valid
    assert not check(registry, plain).is_valid


def test_a_module_that_cannot_be_imported_is_unavailable_and_nothing_else(registry: FakeRegistry) -> None:
    lack = Lack(Code.MODULE_IMPORT_ERROR, "Module extract-a cannot be imported.")
    registry.change("extract-a", stage_id="", contract="", settings_schema={}, inputs={}, guarantees=(), lack=lack)
    found = check(registry, content())
    assert (codes(found.errors), codes(found.warnings)) == ([], [Code.SELECTION_UNAVAILABLE])


# --- the table: stale lock ---


@pytest.mark.parametrize(
    ("purpose", "options", "is_error"),
    [
        (CREATE, ValidationOptions(), False),
        (ACTIVATE, ValidationOptions(), False),
        (ROLLBACK, ValidationOptions(), False),
        (STARTUP, ValidationOptions(), False),
        (CREATE, HOLD, False),
        (ACTIVATE, HOLD, True),
        (ROLLBACK, HOLD, True),
        (STARTUP, HOLD, False),
    ],
)
def test_a_stale_lock(purpose: Purpose, options: ValidationOptions, is_error: bool, registry: FakeRegistry) -> None:
    lock = stored(content(), registry).lock
    registry.change("read-a", version="2.0.0", code_digest="other")
    found = check(registry, content(), purpose, lock=lock, settings=options)
    [finding] = found.errors if is_error else found.warnings
    assert (finding.code, finding.stage_id) == (Code.CONFIGURATION_LOCK_STALE, "read")
    assert "read-a 1.0.0" in finding.message
    assert found.is_valid is not is_error


def test_what_makes_a_lock_stale(registry: FakeRegistry) -> None:
    lock = stored(content(), registry).lock
    assert stale_modules(lock, registry.current()) == []
    registry.change("read-a", contract_digest="other")
    registry.change("extract-b", code_digest="other")
    assert stale_modules(lock, registry.current()) == ["extract-b", "read-a"]
    registry.change("read-a", editable=True)
    registry.remove("extract-b")
    assert stale_modules(lock, registry.current()) == []


# --- the table: notices ---


def _deprecated(registry: FakeRegistry) -> tuple[Content, ValidationOptions]:
    registry.change("read-a", deprecated="Use read-b.")
    return content(), ValidationOptions()


def _fallback_gone(registry: FakeRegistry) -> tuple[Content, ValidationOptions]:
    registry.change("extract-b", lack=GONE)
    return content(), ValidationOptions()


def _unverified(registry: FakeRegistry) -> tuple[Content, ValidationOptions]:
    return (
        content(read=("read-a", {"token": "env:SWITCHGEAR_SECRET_X"})),
        ValidationOptions(secret_exists=lambda _: False),
    )


def _unproven(registry: FakeRegistry) -> tuple[Content, ValidationOptions]:
    accepts = {
        "type": "object",
        "properties": {"text": {"type": "string", "not": {"pattern": "^zz+$"}}},
        "required": ["text"],
    }
    registry.change("extract-a", inputs={"pages": replace(EXTRACT.inputs["pages"], schema=accepts)})
    assert within(EXTRACT.inputs["pages"].schema, accepts).verdict is Verdict.UNKNOWN
    return content(), ValidationOptions()


NOTICES: dict[Code, Callable[[FakeRegistry], tuple[Content, ValidationOptions]]] = {
    Code.SELECTION_DEPRECATED: _deprecated,
    Code.POLICY_UNAVAILABLE: _fallback_gone,
    Code.SECRET_UNVERIFIED: _unverified,
    Code.CONTRACT_UNPROVEN: _unproven,
}


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("code", NOTICES)
def test_notices_are_warnings_everywhere(code: Code, purpose: Purpose, registry: FakeRegistry) -> None:
    checked, options = NOTICES[code](registry)
    found = check(registry, checked, purpose, settings=options)
    assert found.is_valid
    assert code in codes(found.warnings)


def test_unproven_can_be_made_an_error(registry: FakeRegistry) -> None:
    checked, _ = _unproven(registry)
    found = check(registry, checked, settings=ValidationOptions(unproven="error"))
    assert codes(found.errors) == [Code.CONTRACT_UNPROVEN]


# --- all at once, and never the input back ---


def test_all_findings_come_at_once_in_order_of_the_body(registry: FakeRegistry) -> None:
    registry.change("extract-a", lack=GONE)
    bad = Content(
        (Selection("red", "read-a"), Selection("extract", "extract-a", {"depth": "x", "langage": 1})),
        (FallbackPolicy("extract", (step("extract-a", "eror"),), Terminal.SKIP),),
    )
    found = check(registry, bad)
    assert codes(found.errors) == [
        Code.SELECTION_UNKNOWN_STAGE,
        Code.SELECTION_MISSING_STAGE,
        Code.REQUEST_INVALID,
        Code.POLICY_CYCLE,
        Code.REQUEST_INVALID,
        Code.SELECTION_BAD_SETTINGS,
        Code.SELECTION_BAD_SETTINGS,
    ]
    assert codes(found.warnings) == [Code.SELECTION_UNAVAILABLE, Code.POLICY_UNAVAILABLE]


def test_what_was_probably_meant_is_said(registry: FakeRegistry) -> None:
    assert "Did you mean 'read'?" in check(registry, selecting(Selection("raed", "read-a"))).errors[0].message
    assert "Did you mean 'read-a'?" in check(registry, content(read="read-aa")).errors[0].message
    assert "Did you mean 'language'?" in check(registry, content(read=("read-a", {"langage": 1}))).errors[0].message
    assert "Did you mean 'error'?" in check(registry, with_policy(step("extract-b", "eror"))).errors[0].message


def test_a_module_that_was_installed_once_names_its_distribution(registry: FakeRegistry) -> None:
    registry.remove("extract-a")
    found = check(registry, content(), ROLLBACK, distributions={"extract-a": "plug-extract-a"})
    assert only(found).hint == "pip install plug-extract-a, then: switchgear modules rescan"
    assert "extract-a is not installed" in only(check(registry, content(), ROLLBACK)).message


@pytest.mark.parametrize("canary", ["canary-7f3a", 73210987, {"deep": ["canary-7f3a"]}, ["canary-7f3a"]])
def test_a_rejected_value_is_never_repeated(canary: Any, registry: FakeRegistry) -> None:
    settings = dict.fromkeys(("language", "depth", "token", "canary-7f3a"), canary)
    bad = Content(
        (
            Selection("read", "read-a", settings),
            Selection("extract", "extract-a", {"keys": {"x": canary}}, {"timeout_s": canary}),
            Selection("canary-7f3a", "canary-7f3a"),
        ),
        (FallbackPolicy("extract", (FallbackStep("canary-7f3a", ("canary-7f3a",)),) * 2),),
    )
    found = check(registry, bad)
    text = json.dumps(found.as_json()) + json.dumps(found.stored())
    assert len(found.errors) > 8
    assert "7f3a" not in text
    assert "73210987" not in text


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


def test_validation_is_quick_once_schemas_were_compared(registry: FakeRegistry) -> None:
    snapshot: Snapshot = registry.current()
    producer, consumer = EXTRACT.output_schema, module("x", DELIVER, "deliver").inputs["result"].schema
    assert within(producer, consumer) is within(producer, consumer)
    assert validate(content(), snapshot, purpose=CREATE) == validate(content(), snapshot, purpose=CREATE)
