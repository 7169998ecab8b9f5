"""Runs `switchgear.sdk.describe` in child processes with time limits; what hangs or dies is blamed by name.

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


async def ask(
    command: str, names: Sequence[str], environment: Mapping[str, str], *, limit_s: float, text: str = ""
) -> tuple[dict[str, dict[str, Any]], str]:
    """Run one child over *names*.

    Args:
        command: `module`, `pipeline` or `probe`.
        names: Entry point names; the child answers one after the other.
        environment: The child's whole environment.
        limit_s: Longest time for one answer, in seconds.
        text: Standard input.

    Returns:
        The answers by name, and why the next name has none (`timeout`, `exit:N`, `signal:X`); "" when all answered.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "switchgear.sdk.describe", command, *names),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(environment),
        start_new_session=True,
        limit=_LONGEST_ANSWER,
    )
    answers: dict[str, dict[str, Any]] = {}
    reason = ""
    try:
        await _converse(process, names, limit_s, text, answers)
    except TimeoutError:
        reason = "timeout"
    except (ValueError, OSError):
        reason = "died"
    finally:
        await _end(process)
    return answers, _death(process.returncode) if reason == "died" else reason


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


async def _end(process: asyncio.subprocess.Process) -> None:
    """Give it a moment to end by itself, then end it and its session."""
    try:
        async with asyncio.timeout(0.2 if process.returncode is None else 0):
            await process.wait()
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _death(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit:{code or 0}"
    with contextlib.suppress(ValueError):
        return f"signal:{signal.Signals(-code).name.removeprefix('SIG')}"
    return f"signal:{-code}"


async def describe_all(
    names: Sequence[str], environment: Mapping[str, str], *, limit_s: float, parallel: int
) -> dict[str, dict[str, Any]]:
    """Describe modules, several at a time in a few children; a name that hangs or dies does not stop the others.

    Returns:
        Name -> `{description}` or `{failure}`; a hang is the failure `timeout`, a death the failure `crash`.
    """
    if not names:
        return {}
    share = -(-len(names) // max(1, parallel))
    batches = [names[start : start + share] for start in range(0, len(names), share)]
    found: dict[str, dict[str, Any]] = {}
    for part in await asyncio.gather(*(_describe_batch(batch, environment, limit_s) for batch in batches)):
        found |= part
    return found


async def _describe_batch(
    names: Sequence[str], environment: Mapping[str, str], limit_s: float
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    rest = list(names)
    while rest:
        answers, reason = await ask("module", rest, environment, limit_s=limit_s)
        found |= answers
        rest = rest[len(answers) :]
        if rest and reason:
            error = "timeout" if reason == "timeout" else "crash"
            text = (
                f"the import took more than {limit_s:g} s" if error == "timeout" else f"the import ended with {reason}"
            )
            found[rest.pop(0)] = {"failure": {"error": error, "message": text, "missing": None}}
    return found
