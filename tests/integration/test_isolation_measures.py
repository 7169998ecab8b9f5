"""A measure that the kernel does not offer, or that fails, is named, and nobody counts on it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from factories.enclosure import Bench
from factories.isolation import broken, measured, needs, needs_level, offered
from switchgear.domain.errors import Code
from switchgear.ingestion.module_pool import ModuleUse
from switchgear.sdk import StageLimits
from switchgear.sdk.host import landlock, trials

pytestmark = pytest.mark.anyio


async def test_a_process_that_cannot_be_held_opens_no_module(bench: Bench) -> None:
    needs("files_enclosed")
    lack = await bench.pools.warm(ModuleUse("upper-unheld", "{}", StageLimits(), level="L2"))

    assert lack is not None
    assert (lack.code, "no filter today" in lack.message) == (Code.MODULE_ISOLATION, True)
    lack = await bench.pools.warm(ModuleUse("upper-unheld", "{}", StageLimits(), level="L3"))
    assert lack is not None
    assert (lack.code, "no namespaces today" in lack.message) == (Code.MODULE_ISOLATION, True)
    assert await bench.pools.warm(ModuleUse("upper-unheld", "{}", StageLimits(), level="L1")) is None


async def test_the_pool_says_its_level_and_that_the_network_is_open(bench: Bench) -> None:
    needs_level("L3")
    await bench.reach("nothing")
    await bench.reach("nothing", level="L3")
    await bench.reach("nothing", level="L3", network=True)

    assert [pool["level"] for pool in bench.pools.describe()] == ["L2", "L3", "L3, network open"]


def test_what_the_kernel_offers_is_brought_about() -> None:
    if sys.platform == "linux":
        assert offered() <= set(measured())
    assert broken() == {}


def test_a_trial_that_dies_or_raises_is_a_measure_that_is_missing() -> None:
    def dies() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    def raises() -> str:
        raise OSError("no such thing")

    assert trials.in_child(dies) == "the trial ended with -9"
    assert trials.in_child(raises) == "OSError: no such thing"
    assert trials.in_child(lambda: "") == ""


def test_a_deed_that_succeeds_is_no_refusal() -> None:
    assert trials._refused(lambda: None, "writing") == "writing was not refused"
    assert trials._refused(Path("/nowhere/at/all").read_bytes, "reading").startswith("reading was not refused: No such")


@pytest.mark.parametrize(
    ("since", "offered", "reason"), [(4, 3, "the kernel has version 3 of Landlock; version 4 brought it"), (4, 4, "")]
)
def test_an_older_kernel_is_named(monkeypatch: pytest.MonkeyPatch, since: int, offered: int, reason: str) -> None:
    monkeypatch.setattr(landlock, "_call", lambda *_: offered)
    assert landlock.require(since) == reason


def test_what_the_kernel_does_not_offer_is_not_asked_for_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "_call", lambda *_: 3)
    asks: list[Callable[[], None]] = [
        lambda: landlock.restrict(refuse_tcp=True),
        lambda: landlock.restrict(keep_signals_in=True),
    ]
    for ask in asks:
        with pytest.raises(landlock.Refused, match="the kernel has version 3"):
            ask()
