"""The queue backend of procrastinate: PostgreSQL tells workers on any number of machines of new runs. Source: DESIGN 5.

Delivery alone is procrastinate's: which run is next, and the notice that there is one. Lease, fencing, checkpoints,
drain and sweep are the repository's, as with the built-in backend, and so is the worker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Notification
from psycopg_pool import PoolTimeout
from sqlalchemy import make_url

from switchgear.core.database.errors import unreachable
from switchgear.core.logging import get_logger
from switchgear.core.observability import EventName
from switchgear.ingestion.run_queue import BuiltinQueue
from switchgear.ingestion.run_repository import ClaimedRun, Ride, RunRepository

log = get_logger()

#: Pause before it listens again when the connection is gone; until then runs are found by looking, in seconds.
_PAUSE_S: Final = 2.0
#: How often jobs that nobody needs any more are removed, in seconds.
_FORGET_EVERY_S: Final = 300.0
_PATIENCE: Final = {"connect_timeout": 5}


class ProcrastinateQueue(BuiltinQueue):
    """Jobs of procrastinate as the queue; what waits, is woken and may claim is as in the built-in one.

    Args:
        repository: On the narrow path.
        lease_s: How long a claim holds without a heartbeat, in seconds.
        queues: Which queues are served here; none = all.
        may_claim: Whether this process takes runs now.
        is_ready: The same, as far as it is known without a look into the database.
        url: SQLAlchemy's URL of the database, for the connection that listens.
    """

    def __init__(
        self,
        repository: RunRepository,
        lease_s: float,
        queues: Sequence[str] = (),
        may_claim: Callable[[], Awaitable[bool]] | None = None,
        is_ready: Callable[[], bool] = lambda: True,
        *,
        url: str,
    ) -> None:
        super().__init__(repository, lease_s, queues, may_claim, is_ready)
        self._conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._forget_at_s = time.monotonic()

    async def _take(self, worker_id: str) -> ClaimedRun | None:
        served = (worker_id, self._lease_s, self._queues)
        # Whoever holds the run of the next job may sleep, and must hold up no other run: those are in the table too.
        return await self._repository.claim_job(*served) or await self._repository.claim(*served)

    def ride(self, worker_id: str) -> Ride | None:
        """See `RunQueue.ride`."""
        return self._repository.ride_job(worker_id, self._lease_s, self._queues) if self._is_ready() else None

    async def listen(self) -> None:
        """See `RunQueue.listen`."""
        while True:
            try:
                await self._listen_once()
            except (ConnectorException, psycopg.Error, PoolTimeout) as error:
                log.warning(EventName.DATABASE_LOST, task="listen", summary=str(unreachable(error.__cause__ or error)))
            await asyncio.sleep(_PAUSE_S)

    async def _listen_once(self) -> None:
        # No connection stands in the pool: the one that listens is made beside it.
        app = App(connector=PsycopgConnector(conninfo=self._conninfo, min_size=0, max_size=1, kwargs=_PATIENCE))

        async def hear(*, channel: str, notification: Notification) -> None:
            self.notify()

        async with app.open_async():
            await app.job_manager.listen_for_jobs(on_notification=hear, queues=self._queues or None)

    async def tend(self) -> None:
        """See `RunQueue.tend`."""
        while sent := await self._repository.send_again():
            log.warning(EventName.RUNS_SENT_AGAIN, runs=sent)
        if time.monotonic() >= self._forget_at_s:
            self._forget_at_s = time.monotonic() + _FORGET_EVERY_S
            await self._repository.forget_jobs()
