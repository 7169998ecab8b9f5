"""Which measures of isolation there are, each tried in a child process. Source: RELIABILITY 4."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping
from typing import Final

from switchgear.core.module_registry.children import child_environment
from switchgear.domain.stage import IsolationReport, Measure

_L1: Final = ("own_session",)
_L2: Final = (*_L1, "no_new_privileges", "files_enclosed", "sockets_refused")
_L3: Final = (
    *(*_L2, "processes_enclosed", "network_enclosed", "shared_memory_enclosed"),
    *("calls_refused", "privileges_dropped"),
)
#: Without these there is no such level. L1: a module could not be ended together with what it started. L2: it could
#: reach files or sockets that it did not declare; the other measures hold a second time what these hold. L3: it could
#: see other processes, the network or shared memory, or use calls and rights that no reader of documents needs.
NEEDED: Final = {"L1": _L1, "L2": _L2, "L3": _L3}
_TIMEOUT_S: Final = 20.0
#: What was found, by the environment of the child: a machine is asked once in the life of a process.
_found: Final[dict[tuple[tuple[str, str], ...], IsolationReport]] = {}


async def probe_isolation(environment: Mapping[str, str]) -> IsolationReport:
    """Try every measure, once for each process; a child that does not answer means level L0 only."""
    of_child = child_environment(environment)
    known = _found.get(key := tuple(sorted(of_child.items())))
    if known is not None:
        return known
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "switchgear.sdk.host.trials"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=of_child,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            output, _ = await process.communicate()
        found = json.loads(output)
    except (TimeoutError, ValueError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return IsolationReport("L0", (Measure("own_session", False, "the probe gave no answer"),))
    return _found.setdefault(key, report_of(found))


def report_of(found: Mapping[str, str]) -> IsolationReport:
    """The report from each measure's name and why it is missing, "" when it is there."""
    measures = tuple(Measure(name, not why, why) for name, why in sorted(found.items()))
    levels = [level for level, names in NEEDED.items() if not any(found.get(name, "missing") for name in names)]
    return IsolationReport(max(levels, default="L0"), measures)
