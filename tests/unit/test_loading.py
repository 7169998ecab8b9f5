"""Which workers take runs of a version: those that have it ready, or the only one there is. DESIGN 4"""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from factories.core import content, version_of
from switchgear.core.observability import Metrics
from switchgear.domain.errors import Code, Why
from switchgear.workers.loading import Loading

pytestmark = pytest.mark.anyio

REFUSAL = Why(Code.ACTIVATION_WORKER_REFUSED, "v1 cannot be made ready here: no tesseract.")


class World:
    """The database's row, what can be loaded here, and the other workers."""

    def __init__(self) -> None:
        self.active: str | None = "cfg_1"
        self.generation = 1
        self.refusal: Why | None = None
        self.no_storage: Why | None = None
        self.others: set[int] = set()
        self.warmed: list[str] = []
        self.metrics = Metrics()
        self.loading = Loading(
            self,  # type: ignore[arg-type]
            "tiny",
            find=self._find,
            warm=self._warm,
            others=self,
            worker_id="wrk_1",
            storage=self._storage,
            metrics=self.metrics,
        )

    async def query(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        return [(self.active, self.generation, None, None)]

    async def _find(self, reference: str) -> Any:
        return version_of(content(), 1)

    async def _warm(self, configuration: Any) -> Why | None:
        self.warmed.append(configuration.id)
        return self.refusal

    async def _storage(self) -> Why | None:
        return self.no_storage

    async def has_loaded(self, generation: int, but: str) -> bool:
        assert but == "wrk_1"
        return generation in self.others

    def switch(self) -> None:
        self.generation += 1


@pytest.fixture
def world() -> World:
    return World()


async def test_the_active_version_is_made_ready_once_and_each_new_one_again(world: World) -> None:
    await world.loading.look()
    await world.loading.look()
    assert (len(world.warmed), world.loading.generation) == (1, 1)
    world.switch()
    await world.loading.look()
    assert (len(world.warmed), world.loading.generation) == (2, 2)
    assert b'switchgear_configuration_generation{kind="applied"} 2.0' in world.metrics.render()


async def test_a_worker_that_cannot_load_what_others_have_takes_nothing_until_it_can(world: World) -> None:
    world.refusal, world.others = REFUSAL, {1}
    with capture_logs() as lines:
        await world.loading.look()
        await world.loading.look()
    assert not await world.loading.may_claim()
    assert [line["event"] for line in lines] == ["version.not_loaded"]  # said once
    assert lines[0]["summary"] == REFUSAL.summary
    assert world.loading.refusal is REFUSAL
    world.refusal = None
    await world.loading.look()
    assert await world.loading.may_claim()
    assert world.loading.refusal is None


async def test_the_only_worker_goes_on_with_what_it_has(world: World) -> None:
    world.refusal = REFUSAL
    await world.loading.look()
    assert await world.loading.may_claim()
    world.others = {0}  # what others have is older
    assert await world.loading.may_claim()


async def test_before_any_version_is_active_nothing_is_held_back(world: World) -> None:
    world.active = None
    await world.loading.look()
    assert await world.loading.may_claim()
    assert world.warmed == []


async def test_no_runs_are_taken_while_documents_cannot_be_had(world: World) -> None:
    await world.loading.look()
    assert await world.loading.may_claim()
    world.no_storage = Why(Code.SYSTEM_ARTIFACTS_ELSEWHERE, "The mount went away.")
    await world.loading.look()
    assert not await world.loading.may_claim()
    world.no_storage = None
    await world.loading.look()
    assert await world.loading.may_claim()
