"""A command that waits for modules says which, once it has waited for long."""

from __future__ import annotations

import asyncio

import pytest

from switchgear.interface.cli import module_wait
from switchgear.interface.cli.module_wait import telling

pytestmark = pytest.mark.anyio


async def test_a_short_wait_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    async with telling(lambda: {"upper-text"}):
        await asyncio.sleep(0)
    assert capsys.readouterr().err == ""


async def test_a_long_one_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_wait, "_QUIET_S", 0)
    monkeypatch.setattr(module_wait, "_REFRESH_S", 0.01)
    waiting: set[str] = set()
    async with telling(lambda: waiting):
        await asyncio.sleep(0.05)
        waiting |= {*(f"upper-{number}" for number in range(6)), "load\x1b[2J"}
        await asyncio.sleep(0.05)
        waiting.clear()
        await asyncio.sleep(0.05)
    [line] = capsys.readouterr().err.splitlines()
    assert line == "Waiting for the import of load\ufffd[2J, upper-0, upper-1, upper-2, upper-3 and 2 more."


async def test_what_breaks_the_wait_is_raised() -> None:
    with pytest.raises(ValueError, match="broken"):
        async with telling(lambda: ()):
            raise ValueError("broken")
