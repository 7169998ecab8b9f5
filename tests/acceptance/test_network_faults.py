"""PostgreSQL behind a network that is slow, swallows everything, or cuts connections. RELIABILITY 25-27, I32."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import make_url

from factories.server import WEB, Answer, RunningServer, Start, until
from factories.troubled_network import TroubledNetwork, troubled_network

#: What is promised is 5 s; a busy machine gets ten times as long.
SOON_S = 50.0
Far = Callable[..., RunningServer]


@pytest.fixture
def network(postgres: Any) -> Iterator[TroubledNetwork]:
    """The way to the session's PostgreSQL."""
    with troubled_network(f"{postgres.socket_folder}/.s.PGSQL.5432") as network:
        yield network


@pytest.fixture
def far(start: Start, network: TroubledNetwork, postgres_url: str) -> Far:
    """Starts a server whose database is behind that network."""
    name = make_url(postgres_url).database

    def make(**settings: str) -> RunningServer:
        url = f"postgresql+psycopg://postgres@127.0.0.1:{network.port}/{name}?gssencmode=disable"
        return start(DATABASE_URL=url, **settings)

    return make


def waits_for(gate: Path) -> Answer:
    settings = {"mode": "wait", "file": str(gate), "only_if": "slow"}
    return {"stage_id": "upper", "module_id": "upper-faulty", "settings": settings, "limits": {"timeout_s": 200}}


def upload(server: RunningServer, content: bytes) -> httpx2.Response:
    response: httpx2.Response = server.request("POST", "/documents", content=content)
    return response


def sent_at_last(server: RunningServer, content: bytes) -> httpx2.Response:
    answers = [upload(server, content)]
    while answers[-1].status_code >= 300:
        assert len(answers) < 100, answers[-1].text
        answers.append(upload(server, content))
    return answers[-1]


def at_work(server: RunningServer, gate: Path) -> str:
    """A run that hangs in its module until the gate opens."""
    server.switch_to(waits_for(gate), mode="rolling")
    run_id: str = server.send("slow")["run"]["id"]
    until(lambda: server.run(run_id)["status"] == "running", what="the slow run")
    return run_id


def test_with_a_slow_database_everything_goes_on_and_no_lease_runs_out(
    far: Far, network: TroubledNetwork, tmp_path: Path
) -> None:
    server = far(HEARTBEAT_S="2.5", LEASE_S="10")  # a heartbeat is four round trips
    run_id = at_work(server, tmp_path / "gate")

    network.delay_s = 0.2
    end = time.monotonic() + 12
    while time.monotonic() < end:
        assert server.ended(server.send("another one", again=True)["run"]["id"])["status"] == "succeeded"
    (tmp_path / "gate").touch()
    run = server.ended(run_id)

    assert (run["status"], run["losses"]) == ("succeeded", 0)
    assert [attempt["outcome"] for attempt in run["attempts"]] == ["succeeded"] * 5


def test_a_database_that_swallows_everything_holds_nobody_longer_than_the_deadline(
    far: Far, network: TroubledNetwork, tmp_path: Path
) -> None:
    server = far()
    run_id = at_work(server, tmp_path / "gate")

    network.swallows = True
    began = time.monotonic()
    refused = [
        server.request("POST", "/configurations", json={"base": "active", "selections": [waits_for(tmp_path / "x")]}),
        upload(server, b"into the dark"),
    ]
    took_s = time.monotonic() - began

    assert [response.status_code for response in refused] == [503, 503], [one.text for one in refused]
    assert all(1 <= int(response.headers["retry-after"]) <= 5 for response in refused)
    assert took_s < 2 * SOON_S
    assert WEB.get(f"{server.url}/livez", timeout=10).status_code == 200
    assert WEB.get(f"{server.url}/readyz", timeout=SOON_S).status_code == 503

    network.swallows = False
    network.cut()
    (tmp_path / "gate").touch()
    until(server.is_ready, seconds=SOON_S, what="readiness")
    run = server.ended(run_id)
    assert (run["status"], run["losses"]) == ("succeeded", 1)  # it ended its own work before the lease ran out
    assert [each["outcome"] for each in run["attempts"] if each["stage_id"] == "upper"].count("succeeded") == 1
    assert upload(server, b"into the light").status_code == 202
    assert server.get("/audit/verify")["ok"] is True


def test_a_connection_that_is_cut_costs_no_document_and_doubles_nothing(
    far: Far, network: TroubledNetwork, tmp_path: Path
) -> None:
    server = far()
    run_id = at_work(server, tmp_path / "gate")
    accepted = []
    for number in range(30):
        if number % 3 == 0:
            network.cut()
        response = upload(server, b"document %d" % number)
        assert response.status_code in (200, 202, 503), response.text
        if response.status_code == 503:  # what was not known to be stored is sent again, and is the same document
            response = sent_at_last(server, b"document %d" % number)
        accepted.append(response.json()["document"]["id"])
    (tmp_path / "gate").touch()

    assert server.ended(run_id)["status"] == "succeeded"
    documents = server.get("/documents?limit=200")["items"]
    assert len(documents) == len(set(accepted)) + 1 == 31
    runs = server.get("/runs?limit=200")["items"]
    assert len(runs) == 31
    assert {server.ended(run["id"], seconds=SOON_S)["status"] for run in runs} == {"succeeded"}
    assert server.get("/audit/verify")["ok"] is True
