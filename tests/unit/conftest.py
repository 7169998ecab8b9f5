"""Registries of modules for unit tests: one over an installed plug-in, one of plain data."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from factories.core import Clock, FakeRegistry
from factories.plugin import install
from factories.registries import FEW, Bench
from switchgear.core.module_registry.discovery import offers


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
