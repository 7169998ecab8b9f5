"""Processes killed and stopped at random moments under load, in short; `benchmarks/soak.py` does it at length."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from factories.backends import BACKENDS
from factories.candidates import Content, candidates, unbuildable
from factories.fleet import Fleet, WorkerProcess
from factories.invariants import breaches
from factories.server import Answer, RunningServer, Start, until
from factories.soaking import LEASE_S, SETTINGS, Soak

SEED = 20261126
ROUNDS = 6
CANDIDATES = 50


@pytest.fixture
def queue_backend() -> str:
    """The built-in one, unless a test asks for each."""
    return "builtin"


@pytest.fixture
def server(start: Start, database_url: str, queue_backend: str, tmp_path: Path) -> RunningServer:
    """A server on either database that knows its modules already."""
    (tmp_path / "delivered").mkdir()
    return start(**{**SETTINGS, "DATABASE_URL": database_url, "QUEUE_BACKEND": queue_backend})


@pytest.fixture
def soak(server: RunningServer, database_url: str, tmp_path: Path) -> Iterator[Soak]:
    """A fleet under a stream of uploads."""
    made = Soak(Fleet(server), database_url, tmp_path / "delivered", random.Random(SEED))
    made.start()
    yield made
    made.sender.stop()
    made.fleet.end()


@pytest.mark.parametrize(("queue_backend", "dialect"), [(each.name, each.dialect) for each in BACKENDS])
def test_killed_processes_lose_nothing_double_nothing_and_mix_nothing(soak: Soak) -> None:
    for number in range(ROUNDS):
        soak.round(number)
    soak.finish()

    assert sum(soak.fleet.deeds.values()) == ROUNDS
    assert len(soak.sender.accepted) >= ROUNDS
    assert sum(soak.activations.values()) > 0


def built_by_nobody() -> list[Content]:
    """Two contents that nobody can make ready."""
    found: list[Content] = []

    @settings(max_examples=2, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(unbuildable())
    def collect(content: Content) -> None:
        found.append(content)

    collect()
    return found


def test_candidates_that_are_invalid_or_cannot_be_built_never_serve(soak: Soak) -> None:
    active = soak.server.get("/configurations/active")["id"]
    fates: Counter[str] = Counter()

    @settings(
        max_examples=CANDIDATES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(candidates())
    def offer(content: Content) -> None:
        fates[soak.offer(content)] += 1

    offer()

    assert soak.server.get("/configurations/active")["id"] == active
    assert fates.total() >= CANDIDATES / 2
    assert {"not stored", "not accepted"} <= fates.keys(), fates
    # What Hypothesis draws moves with the source of the project, so what it may have left out is offered by itself.
    assert [soak.offer(content) for content in built_by_nobody()] == ["rejected"] * 2
    soak.finish()
    assert set(soak.counts("runs", "status")) == {"succeeded"}


# --- a worker that sleeps beyond its lease ---


def send_to(folder: Path) -> Answer:
    return {"stage_id": "send", "module_id": "send-file", "settings": {"folder": str(folder)}}


def waiting_upper(gate: Path) -> Answer:
    settings = {"mode": "wait", "file": str(gate)}
    return {"stage_id": "upper", "module_id": "upper-faulty", "settings": settings, "limits": {"timeout_s": 600}}


def test_a_worker_that_slept_beyond_its_lease_writes_nothing_and_doubles_nothing(
    start: Start, database_url: str, tmp_path: Path
) -> None:
    gate, folder = tmp_path / "gate", tmp_path / "delivered"
    folder.mkdir()
    server = start(**{**SETTINGS, "DATABASE_URL": database_url, "WORKERS": "0", "LOG_LEVEL": "debug"})
    server.switch_to(waiting_upper(gate), send_to(folder), mode="rolling")
    sleeper = WorkerProcess(server, "sleeper", ("--concurrency", "1")).start()
    fleet = Fleet(server, [sleeper])
    try:
        run_id = server.send("hello")["run"]["id"]
        until(lambda: (server.run(run_id)["status"], server.run(run_id)["stage_id"]) == ("running", "upper"))
        sleeper.send(SIGSTOP)
        gate.touch()
        fleet.workers.append(WorkerProcess(server, "other", ("--concurrency", "1")).start())
        ended = server.ended(run_id, seconds=10 * (LEASE_S + 5))
        before = sorted(folder.iterdir())

        sleeper.send(SIGCONT)

        until(lambda: "write.fenced" in sleeper.log.read_text(), what="the refusal of a write")
        assert server.ended(server.send("after")["run"]["id"])["status"] == "succeeded"
        assert (ended["status"], ended["losses"]) == ("succeeded", 1)
        assert server.run(run_id) == ended
        assert set(before) < set(folder.iterdir())
        assert breaches(database_url, settled=True, deliveries=folder) == []
        assert sleeper.stop() == 0
    finally:
        fleet.end()
