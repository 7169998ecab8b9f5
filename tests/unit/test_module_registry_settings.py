"""Settings that only the module's code can refuse are refused for every purpose, and checked once for all who ask."""

import asyncio
from typing import Any

import pytest

from factories.plugin import MODULES
from factories.registries import Bench, add
from switchgear.core.activation_queue import uses_of
from switchgear.core.configuration_validation import Purpose, validate
from switchgear.core.module_registry import ModuleRegistry
from switchgear.core.module_registry.children import ask
from switchgear.domain.configuration import Content, FallbackPolicy, FallbackStep, Selection, sha256_of
from switchgear.domain.errors import Code

pytestmark = pytest.mark.anyio

PICKY = """
from pydantic import field_validator, model_validator
from switchgear.sdk import ModuleSettings, module
from switchgear_tiny.upper_text import UpperText


@module(stage="upper", contract="tiny-upper@1", version="1.0.0")
class Picky(UpperText):
    class Settings(ModuleSettings):
        folder: str = ""
        least: int = 0
        most: int = 9

        @field_validator("folder")
        @classmethod
        def _stays_below(cls, value: str) -> str:
            if ".." in value:
                raise ValueError("write a folder without two dots")
            return value

        @model_validator(mode="after")
        def _in_order(self) -> "Picky.Settings":
            assert self.least <= self.most, "least must not be more than most"
            return self

    settings: Settings
"""


async def picky(bench: Bench) -> ModuleRegistry:
    (bench.site / "switchgear_tiny" / "picky.py").write_text(PICKY)
    add(bench, {"load-text": MODULES["load-text"], "upper-picky": "switchgear_tiny.picky:Picky"})
    return await bench.start()


@pytest.mark.parametrize(
    ("settings", "pointer", "sentence"),
    [
        ({"folder": "../canary"}, "/folder", "The setting folder does not fit: write a folder without two dots."),
        ({"least": 5, "most": 4}, "", "The value does not fit: least must not be more than most."),
    ],
)
@pytest.mark.parametrize("probe", [True, False])
@pytest.mark.parametrize("purpose", list(Purpose))
async def test_settings_that_only_the_modules_code_refuses_are_an_error_everywhere(
    bench: Bench, settings: dict[str, Any], pointer: str, sentence: str, probe: bool, purpose: Purpose
) -> None:
    made = await picky(bench)
    content = Content((Selection("load", "load-text"), Selection("upper", "upper-picky", settings)))
    snapshot = await made.snapshot(uses_of(content), probe=probe)
    findings = validate(content, snapshot, purpose=purpose, accept_degraded=True)

    [finding] = [item for item in findings.errors if item.code is Code.SELECTION_BAD_SETTINGS]
    assert (finding.pointer, finding.message) == (f"/selections/1/settings{pointer}", sentence)
    assert not [item for item in findings.warnings if item.stage_id == "upper"]


async def test_settings_are_checked_once_until_the_modules_code_changes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await picky(bench)
    uses = [("upper-picky", {"folder": ".."}), ("upper-picky", {"folder": "below"})]
    first = await made.snapshot(uses, probe=False)
    assert [bool(first.mistakes.get((name, sha256_of(settings)))) for name, settings in uses] == [True, False]
    (bench.site / "switchgear_tiny" / "picky.py").write_text(PICKY.replace('".." in', '"..." in'))
    await made.rescan()
    again = await made.snapshot(uses, probe=False)
    assert not again.mistakes

    async def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr("switchgear.core.module_registry.probes.ask", forbidden)
    await made.snapshot([*uses, ("load-text", {"anything": 1})], probe=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What children were started for."""
    commands: list[str] = []

    async def counted(command: str, *words: Any, **more: Any) -> Any:
        commands.append(command)
        return await ask(command, *words, **more)

    monkeypatch.setattr("switchgear.core.module_registry.probes.ask", counted)
    return commands


async def test_many_who_ask_about_the_same_settings_wait_for_one_child(bench: Bench, started: list[str]) -> None:
    made = await picky(bench)
    use = ("upper-picky", {"folder": ".."})
    snapshots = await asyncio.gather(*(made.snapshot([use], probe=False) for _ in range(8)))
    assert started == ["settings"]
    assert all(each.mistakes for each in snapshots)


async def test_a_module_that_content_names_very_often_is_asked_once(bench: Bench, started: list[str]) -> None:
    made = await picky(bench)
    steps = tuple(FallbackStep("upper-picky", ("error",), {"least": 9, "most": number}) for number in range(9))
    content = Content((Selection("upper", "upper-picky", {"least": 9}),), (FallbackPolicy("upper", steps),))
    snapshot = await made.snapshot(uses_of(content), probe=False)
    assert started == ["settings"]
    assert uses_of(content) == [("upper-picky", {"least": 9})]
    assert validate(content, snapshot, purpose=Purpose.CREATE).errors
