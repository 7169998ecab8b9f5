"""What is at work and what waits: for drains, for `why`, and workers' rows. Source: DESIGN 4, RELIABILITY I5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from switchgear.core.activation_queue import BlockingRun
from switchgear.core.database import Statement, Statements
from switchgear.ingestion.run_repository.base import CLAIM_ORDER, CLAIMABLE, RepositoryPart, from_json, to_json
from switchgear.ingestion.run_repository.records import WorkerRow

#: A worker that was silent for so long, four heartbeats, is not counted as live.
LIVE_WORKER_US: Final = 20_000_000
#: Rows of workers that were silent for so long are removed.
_FORGET_WORKER_US: Final = 24 * 3600 * 1_000_000
#: Dead, parked and backing-off runs are not running. A back-off of at most ten seconds keeps status and lease.
_RUNNING: Final = "status = 'running' AND lease_expires_at > lease_us() AND lease_boot_id = :boot"
_COUNT_RUNNING: Final = f"SELECT count(*) FROM runs WHERE {_RUNNING}"  # noqa: S608 - only constants
_COUNT_HELD: Final = "SELECT count(*) FROM runs WHERE status = 'queued' AND configuration_id IS NULL"
_BLOCKING: Final = f"""
SELECT r.id, d.name, r.stage_id, now_us() - r.started_at, r.configuration_version
FROM runs r JOIN documents d ON d.id = r.document_id WHERE {_RUNNING}
ORDER BY r.started_at, r.id LIMIT :limit"""  # noqa: S608 - only constants
_HAS_LOADED: Final = """
SELECT 1 FROM workers
WHERE heartbeat_at > now_us() - :live AND generation_loaded = :generation AND id <> :but LIMIT 1"""
_LIVE_ROWS: Final = """
SELECT id, host, process_id, boot_id, generation_loaded, CAST(isolation AS TEXT), CAST(queues AS TEXT) FROM workers
WHERE heartbeat_at > now_us() - :live ORDER BY started_at, id"""
_REGISTER: Final = """
INSERT INTO workers (id, host, process_id, boot_id, started_at, heartbeat_at, generation_loaded, unavailable, isolation,
    queues)
VALUES (:id, :host, :process, :boot, now_us(), now_us(), :generation, :unavailable, :isolation, :queues)
ON CONFLICT (id) DO UPDATE SET heartbeat_at = now_us(), generation_loaded = excluded.generation_loaded,
    unavailable = excluded.unavailable, isolation = excluded.isolation, queues = excluded.queues"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What decides for what a queued run waits.

    Attributes:
        now_us: The database's time.
        held_by: Activation whose drain holds first claims now, or None.
        held_until: When that ends by itself.
        has_active: Whether a configuration is active.
        live_workers: The queues of each worker that was heard of lately; an empty one serves all.
        heard_at: When any worker was last heard of; None when none is known.
        running: Runs at work.
        ahead: How many runs are claimed before a queued one, for each of those that were asked for and may be claimed.
    """

    now_us: int
    held_by: str | None
    held_until: int | None
    has_active: bool
    live_workers: tuple[tuple[str, ...], ...]
    heard_at: int | None
    running: int
    ahead: Mapping[str, int]

    def serving(self, queue: str) -> int:
        """How many live workers serve *queue*."""
        return sum(not queues or queue in queues for queues in self.live_workers)


class Work(RepositoryPart):
    """Implements what the activation queue asks about running work; the statements are the caller's transaction."""

    async def count_running(self, statements: Statements) -> int:
        """How many runs a drain waits for: status running with a live lease."""
        rows = await statements.query(_COUNT_RUNNING, {"boot": statements.boot_id})
        return int(rows[0][0])

    async def count_held(self, statements: Statements) -> int:
        """How many queued runs have no version yet: a drain holds their first claims."""
        rows = await statements.scan(_COUNT_HELD)
        return int(rows[0][0])

    async def blocking(self, statements: Statements, limit: int) -> list[BlockingRun]:
        """The runs that a drain waits for, the longest running first."""
        rows = await statements.query(_BLOCKING, {"boot": statements.boot_id, "limit": limit})
        return [BlockingRun(row[0], row[1], row[2], row[3] / 1_000_000, row[4]) for row in rows]

    async def waiting(self, run_ids: Sequence[str] = ()) -> Waiting:
        """Return what decides for what queued runs wait, and the place of these in the queue."""
        rows = await self._statements.query(
            f"""SELECT now_us(),
                (SELECT held_by FROM admission WHERE pipeline = :pipeline AND held_until > now_us()),
                (SELECT held_until FROM admission WHERE pipeline = :pipeline AND held_until > now_us()),
                (SELECT active_configuration_id FROM admission WHERE pipeline = :pipeline),
                (SELECT max(heartbeat_at) FROM workers),
                ({_COUNT_RUNNING})""",  # noqa: S608 - only constants
            {"pipeline": self.pipeline, "boot": self._statements.boot_id},
        )
        workers = tuple(worker.queues for worker in await self.live_workers())
        now_us, held_by, held_until, active, heard_at, running = rows[0]
        ahead = await self._ahead(run_ids)
        return Waiting(
            now_us, held_by, held_until if held_by else None, active is not None, workers, heard_at, running, ahead
        )

    async def _ahead(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        if not run_ids:
            return {}
        wanted = ", ".join(f":r{number}" for number in range(len(run_ids)))
        rows = await self._statements.scan(
            f"""SELECT id, ahead FROM (
                SELECT id, row_number() OVER (PARTITION BY queue ORDER BY {CLAIM_ORDER}) - 1 AS ahead FROM runs
                WHERE {CLAIMABLE} AND available_at <= (SELECT max(available_at) FROM runs WHERE id IN ({wanted}))
            ) places WHERE id IN ({wanted})""",  # noqa: S608 - only constants and names of parameters
            {"pipeline": self.pipeline, **{f"r{number}": run_id for number, run_id in enumerate(run_ids)}},
        )
        return {str(run_id): int(ahead) for run_id, ahead in rows}

    # --- workers ---

    async def register_worker(self, worker: WorkerRow) -> None:
        """Say that a worker is there, or that what it loaded has changed."""
        parameters = {
            "id": worker.id,
            "host": worker.host[:255],
            "process": worker.process_id,
            "boot": worker.boot_id,
            "generation": worker.generation_loaded,
            "unavailable": to_json(worker.unavailable),
            "isolation": to_json(worker.isolation),
            "queues": to_json(list(worker.queues)),
        }
        await self._statements.run(Statement(_REGISTER, parameters))

    async def live_workers(self) -> Sequence[WorkerRow]:
        """Return workers that were heard of lately, the longest at work first."""
        rows = await self._statements.query(_LIVE_ROWS, {"live": LIVE_WORKER_US})
        return [
            WorkerRow(worker, host, process, boot, generation, {}, from_json(isolation), tuple(from_json(queues)))
            for worker, host, process, boot, generation, isolation, queues in rows
        ]

    async def has_loaded(self, generation: int, but: str) -> bool:
        """Whether another live worker than *but* has made this generation of the active version ready."""
        rows = await self._statements.query(_HAS_LOADED, {"live": LIVE_WORKER_US, "generation": generation, "but": but})
        return bool(rows)

    async def forget_worker(self, worker_id: str) -> None:
        """Remove a worker that has ended in good order."""
        await self._statements.run(Statement("DELETE FROM workers WHERE id = :id", {"id": worker_id}))

    async def forget_silent_workers(self) -> int:
        """Remove workers that nothing was heard of for a day."""
        silent = Statement("DELETE FROM workers WHERE heartbeat_at < now_us() - :age", {"age": _FORGET_WORKER_US})
        return (await self._statements.run(silent))[0].changed

    async def forget_idempotency_keys(self) -> int:
        """Remove answers that are older than their promise."""
        expired = Statement("DELETE FROM idempotency_keys WHERE expires_at <= now_us()")
        return (await self._statements.run(expired))[0].changed
