"""Runs `switchgear.sdk.describe` in child processes with time limits.

Source: DESIGN 3, RELIABILITY 3 (row 16).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

#: What a module prints while it is described is read and dropped beyond this.
_LONGEST_ANSWER: Final = 16 * 1024 * 1024


def child_environment(environment: Mapping[str, str], names: Collection[str] = ()) -> dict[str, str]:
    """PATH, locale and the variables in *names*; and where Python finds what this process finds."""
    kept = {
        name: value
        for name, value in environment.items()
        if name in ("PATH", "LANG") or name.startswith("LC_") or name in names
    }
    return {**kept, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


async def start_child(command: str, *names: str, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start `switchgear.sdk.describe` in a session of its own, with pipes; whoever started it ends it."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "switchgear.sdk.describe", command, *names),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(environment),
        start_new_session=True,
        limit=_LONGEST_ANSWER,
    )


async def ask(
    command: str, names: Sequence[str], environment: Mapping[str, str], *, limit_s: float, text: str = ""
) -> tuple[dict[str, dict[str, Any]], str]:
    """Run one child over *names*.

    Args:
        command: `pipeline`, `settings` or `probe`.
        names: Entry point names; the child answers one after the other.
        environment: The child's whole environment.
        limit_s: Longest time for one answer, in seconds.
        text: Standard input.

    Returns:
        The answers by name, and why the next name has none (`timeout`, `exit:N`, `signal:X`); "" when all answered.
    """
    process = await start_child(command, *names, environment=environment)
    answers: dict[str, dict[str, Any]] = {}
    reason = ""
    try:
        await _converse(process, names, limit_s, text, answers)
    except TimeoutError:
        reason = "timeout"
    except (ValueError, OSError):
        reason = "died"
    finally:
        await end_child(process)
    return answers, death_of(process.returncode) if reason == "died" else reason


async def _converse(
    process: asyncio.subprocess.Process,
    names: Sequence[str],
    limit_s: float,
    text: str,
    answers: dict[str, dict[str, Any]],
) -> None:
    """Fill *answers* as they come; raises ValueError when the child ends too early."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text.encode())
    process.stdin.close()
    for name in names:
        async with asyncio.timeout(limit_s):
            line = await process.stdout.readline()
        answers[name] = json.loads(line)


async def end_child(process: asyncio.subprocess.Process, *, at_once: bool = False) -> None:
    """Give it a moment to end by itself, if not *at_once*, then end it and its session; once is enough."""
    if process.returncode is not None:
        return
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(0 if at_once else 0.2):
            await process.wait()
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def death_of(code: int | None) -> str:
    """Say how a child ended: `exit:N` or `signal:X`."""
    if code is None or code >= 0:
        return f"exit:{code or 0}"
    with contextlib.suppress(ValueError):
        return f"signal:{signal.Signals(-code).name.removeprefix('SIG')}"
    return f"signal:{-code}"
