"""How soon work goes on after a fault: a killed worker, a hanging module, an open breaker.

Usage: python -m benchmarks.recovery [--tries 5] [--documents 200]
Bars (issue 3): a killed worker's runs go on within the lease + 5 s (goal + 2 s); a hanging module is gone within its
deadline + 1 s; an open breaker adds less than 5 ms to a document.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import track

from benchmarks.tables import Figure, show

LEASE_S = 4.0
DEADLINE_S = 1.0
SETTINGS = {"HEARTBEAT_S": "1", "LEASE_S": str(LEASE_S), "LOG_LEVEL": "debug", "ALLOW_INLINE": "true"}
INLINE = [{"stage_id": stage, "module_id": f"{stage}-inline"} for stage in ("load", "count", "check", "send")]


@contextmanager
def instance(folder: Path, **settings: str) -> Iterator[Any]:
    """A server on a database of its own."""
    from factories import plugin
    from factories.server import RunningServer

    site = folder / "site"
    server = RunningServer(folder / "home", plugin.install(site), {**SETTINGS, **settings}).start()
    try:
        yield server
    finally:
        server.stop()


def after_a_kill(folder: Path, tries: int) -> list[float]:
    """Seconds from the death of a worker until another has its run, without the lease that has to run out."""
    from factories.fleet import WorkerProcess
    from factories.server import until

    found = []
    with instance(folder, WORKERS="0") as server:
        workers = [WorkerProcess(server, str(number), ("--concurrency", "1")).start() for number in range(2)]
        try:
            slow = {"stage_id": "upper", "module_id": "upper-faulty", "settings": {"mode": "slow", "seconds": 2}}
            until(lambda: all(map(_starts, workers)))
            server.switch_to(slow, mode="rolling")
            for _ in track(range(tries), description="killing workers"):
                run = server.send(f"document {time.time_ns()}")["run"]["id"]
                [holder] = until(partial(_claimed, workers, run))
                starts = _starts(holder)
                holder.kill()
                begin = time.perf_counter()
                until(partial(_goes_on, server, run))
                found.append(time.perf_counter() - begin - LEASE_S)
                server.ended(run)
                holder.start()
                until(partial(_has_started, holder, starts))  # else the next one is killed while nobody else is there
        finally:
            for worker in workers:
                worker.stop()
    return found


def _starts(worker: Any) -> int:
    """How often the worker said that it is at work."""
    return int(worker.log.read_text().count('"worker.started"'))


def _has_started(worker: Any, before: int) -> bool:
    return _starts(worker) > before


def _claimed(workers: list[Any], run: str) -> list[Any]:
    """The workers that said that they took the run."""
    return [worker for worker in workers if run in worker.log.read_text()]


def _goes_on(server: Any, run: str) -> bool:
    answer = server.run(run)
    return bool(answer["losses"] == 1 and answer["status"] == "running")


def after_a_hang(folder: Path, tries: int) -> list[float]:
    """Seconds beyond its deadline that a hanging call was there."""
    with instance(folder, WORKERS="1") as server:
        hang = {"stage_id": "upper", "module_id": "upper-faulty", "settings": {"mode": "hang"}}
        policy = {"stage_id": "upper", "chain": [{"module_id": "upper-text", "on": ["timeout"]}], "then": "fail"}
        server.switch_to({**hang, "limits": {"timeout_s": DEADLINE_S}}, policies=[policy], mode="rolling")
        found = []
        for number in track(range(tries), description="hanging"):
            run = server.ended(server.send(f"document {number}")["run"]["id"])
            hung = [attempt for attempt in run["attempts"] if attempt["outcome"] == "timeout"]
            found += [attempt["duration_us"] / 1e6 - DEADLINE_S for attempt in hung]
        return found


def with_a_breaker(folder: Path, documents: int, rounds: int) -> tuple[float, float]:
    """Seconds per document with the primary of one stage closed off, and with the fallback selected directly."""
    with instance(folder, WORKERS="1") as server:
        closed_off = [{"module_id": "upper-inline", "on": ["breaker_open"]}]
        server.request("POST", "/modules/upper-faulty/breaker", json={"state": "forced_open"}, expect=200)
        times: dict[str, list[float]] = {"upper-faulty": [], "upper-inline": []}
        for _ in range(rounds):
            for module in times:
                chain = closed_off if module == "upper-faulty" else []
                policy = {"stage_id": "upper", "chain": chain, "then": "fail"}
                stages = (*INLINE, {"stage_id": "upper", "module_id": module})
                server.switch_to(*stages, policies=[policy], mode="rolling", accept_base_moved=True)
                times[module].append(_per_document(server, documents, module))
        return min(times["upper-faulty"]), min(times["upper-inline"])


def _per_document(server: Any, documents: int, label: str) -> float:
    runs = [server.send(f"{label} {time.time_ns()}")["run"]["id"] for _ in track(range(documents), description=label)]
    ended = [server.ended(run) for run in runs]
    assert all(run["status"] == "succeeded" for run in ended)
    times = [datetime.fromisoformat(run["ended_at"]) - datetime.fromisoformat(run["started_at"]) for run in ended]
    return sorted(times)[len(times) // 2].total_seconds()


def main(tries: int, documents: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        killed = max(after_a_kill(folder / "kill", tries))
        hung = max(after_a_hang(folder / "hang", 4 * tries))
        opened, direct = with_a_breaker(folder / "breaker", documents, 3)
    added_ms = (opened - direct) * 1000
    show(
        "Recovery",
        [
            Figure(
                "killed worker's run goes on",
                f"lease {killed:+.2f} s",
                f"longest of {tries}",
                bar="lease + 5 s",
                better=(LEASE_S + 5) / (LEASE_S + killed),
            ),
            Figure(
                "hanging module is gone",
                f"deadline {hung * 1000:+.0f} ms",
                f"longest of {4 * tries}",
                bar="deadline + 1 s",
                better=(DEADLINE_S + 1) / (DEADLINE_S + hung),
            ),
            Figure(
                "open breaker, a document more",
                f"{added_ms:+.2f} ms",
                f"{opened * 1000:.2f} beside {direct * 1000:.2f} ms",
                bar="< 5 ms",
                better=5 / max(added_ms, 0.01),
            ),
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--documents", type=int, default=200)
    arguments = parser.parse_args()
    main(arguments.tries, arguments.documents)
