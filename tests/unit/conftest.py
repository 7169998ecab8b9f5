"""What unit tests of several files take: registries of modules, a log that is looked at, and metrics."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from factories.core import Clock, FakeRegistry
from factories.log_stream import LogStream
from factories.plugin import install
from factories.registries import FEW, Bench
from switchgear.core.logging import configure_logging, get_logger, renew
from switchgear.core.module_registry.discovery import offers
from switchgear.core.observability import Metrics


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """Only the plug-in's modules: describing the built-in ones would cost seconds per test."""
    site = install(tmp_path, modules=FEW)
    monkeypatch.syspath_prepend(str(site))

    def only_of_tests(group: str) -> dict[str, Any]:
        return {name: offer for name, offer in offers(group).items() if offer.distribution != "switchgear"}

    monkeypatch.setattr("switchgear.core.module_registry.registry.offers", only_of_tests)
    made = Bench(site, tmp_path / "cache")
    yield made
    for one in made.made:
        await one.close()


@pytest.fixture
def registry() -> FakeRegistry:
    """The modules of the pipeline of three stages, as a test changes them."""
    return FakeRegistry(Clock())


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Loggers are as they were before, whatever the test configures."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    renew()
    root.handlers, root.level = handlers, level


@pytest.fixture
def log(restored_logging: None) -> LogStream:
    """What is logged from now on, from debug on."""
    stream = LogStream()
    configure_logging(stream=stream, level="debug")
    return stream


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    """Metrics that log as logging is configured now."""
    monkeypatch.setattr("switchgear.core.observability.log", get_logger())
    return Metrics()
