"""Fixtures that start real server processes with the tiny pipeline, on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest

from factories.server import RunningServer, Start


@pytest.fixture
def server(start: Start) -> RunningServer:
    """One ready server on SQLite."""
    return start()
