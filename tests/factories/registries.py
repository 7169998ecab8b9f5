"""A module registry over an installed plug-in that a test may change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factories.plugin import MODULES, write_distribution
from switchgear.core.module_registry import ModuleRegistry
from switchgear.domain.stage import IsolationReport, Lack

SECOND = 1_000_000
FEW = {name: MODULES[name] for name in ("upper-text", "upper-other", "upper-faulty", "upper-environment")}


@dataclass
class Clock:
    """Stands still unless a test moves it."""

    now_us: int = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now_us


@dataclass
class Bench:
    """A registry over a plug-in that the test may change."""

    site: Path
    cache: Path
    clock: Clock = field(default_factory=Clock)
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/bin:/bin"})
    made: list[ModuleRegistry] = field(default_factory=list)

    async def start(self, **options: Any) -> ModuleRegistry:
        """A started registry; *options* replace what the bench would give it."""
        settings: dict[str, Any] = {
            "pipeline": "tiny",
            "cache": self.cache,
            "clock": self.clock,
            "environment": self.environment,
            "isolation": IsolationReport("L1"),
            **options,
        }
        made = ModuleRegistry(**settings)
        self.made.append(made)
        await made.start()
        return made


def add(bench: Bench, modules: Mapping[str, str]) -> None:
    """Install exactly these modules as the plug-in's."""
    write_distribution(bench.site, "switchgear-tiny", "1.0.0", modules, {"tiny": "switchgear_tiny.contracts:PIPELINE"})


def lack_of(made: ModuleRegistry, module_id: str) -> Lack:
    """What this module lacks; there must be something."""
    lack = made.current().modules[module_id].lack
    assert lack is not None
    return lack
