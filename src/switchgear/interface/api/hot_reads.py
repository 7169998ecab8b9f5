"""What everybody reads all the time: rendered once for each state of the system, then served as bytes with an ETag.

A rendering is kept together with what it depends on: the generation of the active configuration, whether a drain holds
runs or an activation waits, and what the registry knows. Source: DESIGN 7 (hot reads), 9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request

from switchgear.core import admission
from switchgear.core.breaker_service import lack_of
from switchgear.core.configuration_validation import without_stale
from switchgear.core.module_registry import StageAvailability, startup_report
from switchgear.domain.activation import StoredActivation
from switchgear.domain.breaker import Breaker
from switchgear.domain.configuration import Content, StoredConfiguration
from switchgear.domain.errors import NotFound
from switchgear.domain.stage import Snapshot
from switchgear.ingestion.run_repository import RunRepository
from switchgear.interface.api.dependencies import etag_of
from switchgear.interface.api.services import Services
from switchgear.interface.api.views.configurations import active_view

#: Name of the rendering of the active configuration.
ACTIVE: Final = "active"


@dataclass(frozen=True, slots=True)
class Present:
    """The present state, as far as hot reads show it.

    Attributes:
        snapshot: What the registry knows, and live workers beside it.
        active: The active configuration, or None.
        generation: Number of switches so far.
        pending: The activation that waits, or None.
        breakers: Breakers of modules that are not closed.
    """

    snapshot: Snapshot
    active: StoredConfiguration | None
    generation: int
    pending: StoredActivation | None
    breakers: tuple[Breaker, ...] = ()

    def stages(self) -> Sequence[StageAvailability]:
        """Who serves each stage now."""
        open_ones = {(one.module_id, one.settings_digest): lack_of(one) for one in self.breakers if one.is_open()}
        snapshot = self.snapshot.with_lacks(open_ones)
        if self.active is None:
            return startup_report(Content(()), snapshot)
        return startup_report(self.active.content, without_stale(self.active, snapshot))


@dataclass(frozen=True, slots=True)
class Rendering:
    """Bytes and their ETag; `serving` is the active configuration that they show, as `{id}.{generation}`."""

    body: bytes
    etag: str
    serving: str


@dataclass(slots=True)
class _Kept:
    marker: tuple[Any, ...]
    snapshot: Snapshot  #: held, so that another object cannot get its identity
    rendering: Rendering
    seen: tuple[int | None, int]  #: version of the database and changes of breakers when it was last looked at


class HotReads:
    """Renderings by name, each with what it was made from."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def kept(self, app: Services, name: str, version: int | None) -> Rendering | None:
        """A rendering for which nothing has changed since it was last looked at; else None: `get` looks closer.

        *version* is that of the database now, or None where it does not tell.
        """
        kept = self._kept.get(name)
        if kept is None or version is None or kept.snapshot is not app.registry.current():
            return None
        return kept.rendering if kept.seen == (version, app.breakers.changes) else None

    async def get(self, app: Services, name: str, render: Callable[[Present], bytes]) -> Rendering:
        """Return a rendering; *render* is called only when something has changed.

        Raises:
            NotFound: Raised by *render*.
            DatabaseUnreachable: The database does not answer.
        """
        seen = app.database.narrow.version(), app.breakers.changes
        ready = self.kept(app, name, seen[0])
        if ready is not None:
            return ready
        snapshot = app.registry.current()
        marker = await self._marker(app, snapshot)
        kept = self._kept.get(name)
        if kept is not None and kept.marker == marker and kept.snapshot.modules is snapshot.modules:
            kept.snapshot, kept.seen = snapshot, seen
            return kept.rendering
        rendering = _rendered(await present(app, snapshot), render)
        if marker[-1] is not True:  # while an activation waits, its state changes without a mark
            self._kept[name] = _Kept(marker, snapshot, rendering, seen)
        return rendering

    @staticmethod
    async def _marker(app: Services, snapshot: Snapshot) -> tuple[Any, ...]:
        narrow = app.database.narrow
        state = await admission.read(narrow, app.settings.pipeline)
        by_workers = (await app.activations.as_workers_see(narrow, snapshot)).modules
        other = tuple((name, each.lack) for name, each in by_workers.items() if each is not snapshot.modules[name])
        probes = snapshot.probes.items()
        troubles = tuple(sorted((*key, answer.lack.code if answer.lack else "") for key, answer in probes))
        return (
            state.active_configuration_id,
            state.generation,
            state.held_by,
            troubles,
            other,
            app.breakers.changes,
            await RunRepository(narrow, app.settings.pipeline).is_activation_pending(),
        )


async def present(app: Services, snapshot: Snapshot | None = None) -> Present:
    """Read the present state in one transaction."""
    async with app.units(write=False) as unit:
        active = await unit.configurations.active()
        pending = await unit.activations.pending()
        state = await admission.read(unit.statements, app.settings.pipeline)
        snapshot = await app.activations.as_workers_see(unit.statements, snapshot or app.registry.current())
    return Present(snapshot, active, state.generation, pending, app.breakers.all())


async def hot(
    request: Request, app: Services, name: str | None, render: Callable[[Present], bytes]
) -> tuple[bytes, str]:
    """Return body and ETag of a hot read of this application; without a name it is rendered each time."""
    rendering = await _rendering(request, app, name, render)
    return rendering.body, rendering.etag


async def active_configuration(request: Request, app: Services) -> tuple[bytes, str]:
    """Body and ETag of the active configuration; the tag begins as If-Match on activate and rollback expects it.

    Raises:
        NotFound: None is active.
    """
    rendering = await _rendering(request, app, ACTIVE, _render_active)
    return rendering.body, active_etag(rendering)


def active_etag(rendering: Rendering) -> str:
    """The ETag of the active configuration: which one it is, then of what bytes."""
    return f'"{rendering.serving}.{rendering.etag[1:-1]}"'


async def _rendering(
    request: Request, app: Services, name: str | None, render: Callable[[Present], bytes]
) -> Rendering:
    if name is None:
        return _rendered(await present(app), render)
    reads: HotReads = request.app.state.hot_reads
    return await reads.get(app, name, render)


def _rendered(now: Present, render: Callable[[Present], bytes]) -> Rendering:
    body = render(now)
    return Rendering(body, etag_of(body), f"{now.active.id}.{now.generation}" if now.active else "")


def _render_active(now: Present) -> bytes:
    if now.active is None:
        raise NotFound("No configuration is active. Create one with `switchgear config create FILE` and activate it.")
    view = active_view(now.active, generation=now.generation, pending=now.pending, stages=now.stages())
    return view.model_dump_json().encode()
