"""Fixtures that start real server processes with the tiny pipeline, on SQLite and on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from factories.server import RunningServer, Start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder; starting processes takes time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.acceptance)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture
def server(start: Start) -> RunningServer:
    """One ready server on SQLite."""
    return start()
