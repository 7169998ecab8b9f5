"""What the installed packages offer, described: from the cache, else by child processes. Source: DESIGN 2, 3."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from switchgear.core.module_registry.build import PipelineUnavailable, pipeline_of
from switchgear.core.module_registry.children import ask, child_environment
from switchgear.core.module_registry.describing import describe_all
from switchgear.core.module_registry.description_cache import DescriptionCache
from switchgear.core.module_registry.discovery import MODULES, PIPELINES, Offer, Signature, code_signature, source_of
from switchgear.domain.stage import PipelineDescription


class Descriptions:
    """Asks for what is not known.

    Args:
        cache: Folder for the answers, so that the next process imports nothing.
        clock: Microseconds UTC.
        environment: Variables of the server.
        limit_s: Longest import of one module or pipeline, in seconds.
        parallel: So many children work at once.

    Attributes:
        importing: Names of the modules that are waited for now.
    """

    def __init__(
        self, cache: Path, clock: Callable[[], int], environment: Mapping[str, str], limit_s: float, parallel: int
    ) -> None:
        self._cache = DescriptionCache(cache, clock)
        self._environment = environment
        self._limit_s = limit_s
        self._parallel = parallel
        self.importing: set[str] = set()

    async def load(self) -> None:
        """Take up what other processes have learnt."""
        await asyncio.to_thread(self._cache.load)

    async def save(self) -> None:
        """Let other processes know what was learnt here."""
        await asyncio.to_thread(self._cache.save)

    async def pipeline(self, name: str, installed: Mapping[str, Offer]) -> PipelineDescription:
        """Describe the pipeline *name*.

        Raises:
            PipelineUnavailable: It is not among the *installed*, or cannot be imported.
        """
        offer = installed.get(name)
        if offer is None:
            there = ", ".join(installed) or "none"
            raise PipelineUnavailable(f"No installed package offers a pipeline named {name!r}; there are: {there}.")
        answer = self._cache.get(PIPELINES, offer)
        if answer is None:
            environment = child_environment(self._environment)
            found, reason = await ask("pipeline", [name], environment, limit_s=self._limit_s)
            answer = found.get(name) or {"failure": {"error": "crash", "message": reason}}
            self._cache.put(PIPELINES, offer, answer)
        return pipeline_of(offer, answer)

    async def modules(self, found: Mapping[str, Offer], *, anew: bool = False) -> list[tuple[Offer, Mapping[str, Any]]]:
        """Describe what the cache does not know.

        Args:
            found: The modules.
            anew: Ask again for what could not be imported the last time, too.

        Returns:
            Each offer with `{description}` or `{failure}`; `is_uncertain` when its code changed meanwhile.
        """
        answers: dict[str, Mapping[str, Any]] = {}
        for name, offer in found.items():
            cached = self._cache.get(MODULES, offer)
            if cached is not None and not (anew and "failure" in cached):
                answers[name] = cached
        unknown = sorted(set(found) - set(answers), key=lambda name: (found[name].distribution, found[name].value))
        if unknown:
            answers |= await self._ask({name: found[name] for name in unknown})
        return [(offer, answers[name]) for name, offer in found.items()]

    async def _ask(self, offers: Mapping[str, Offer]) -> dict[str, Mapping[str, Any]]:
        """Describe in child processes; code that changed meanwhile is asked for again by whoever comes next."""
        before = await asyncio.to_thread(_signatures, offers)
        answers = await describe_all(
            list(offers),
            child_environment(self._environment),
            limit_s=self._limit_s,
            parallel=self._parallel,
            importing=self.importing,
        )
        after = await asyncio.to_thread(_signatures, offers)
        for name, offer in offers.items():
            if before[name] == after[name]:
                self._cache.put(MODULES, offer, answers[name], before[name])
            else:
                self._cache.forget(MODULES, offer)
                answers[name] = {**answers[name], "is_uncertain": True}
        return dict(answers)


def _signatures(offers: Mapping[str, Offer]) -> dict[str, Signature]:
    """State of the code that each of *offers* is in, as far as it can be found without an import."""
    sources = {name: source_of(offer) for name, offer in offers.items()}
    states = {source: code_signature(source) for source in set(sources.values())}
    return {name: states[source] for name, source in sources.items()}
