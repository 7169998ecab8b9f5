"""Fixtures that start real server processes with the tiny pipeline, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from factories import plugin
from factories.server import RunningServer, Start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder; starting processes takes time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.acceptance)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers; each is ended after the test. `start(home="b", **settings)` starts one on another home."""
    site = plugin.install(tmp_path)
    running: list[RunningServer] = []

    def make(home: str = "home", *, wait: bool = True, port: int = 0, **settings: str) -> RunningServer:
        quick = {"WORKERS": "4", "HEARTBEAT_S": "0.5", "LEASE_S": "3", "LOG_LEVEL": "info", **settings}
        server = RunningServer(tmp_path / home, site, quick, port)
        running.append(server)
        return server.start(wait=wait)

    yield make
    for server in running:
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait(30)


@pytest.fixture
def server(start: Start) -> RunningServer:
    """One ready server on SQLite."""
    return start()
