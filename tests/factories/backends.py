"""Each queue backend on each database that it supports, for tests of what they have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from factories.runs import LEASE_S
from switchgear.core import job_schema
from switchgear.core.database import Database, Statement
from switchgear.ingestion.run_queue import BuiltinQueue, RunQueue
from switchgear.ingestion.run_repository import RunRepository
from switchgear.workers.distributed import ProcrastinateQueue

#: Makes queues as another process each: see the fixture `make_queue`.
MakeQueue = Callable[..., RunQueue]


@dataclass(frozen=True)
class Backend:
    """A queue backend on one kind of database."""

    name: str
    dialect: str

    def prepare(self, url: str) -> None:
        """Make what the backend needs in the database at *url*."""
        if self.name == "procrastinate":
            job_schema.install(url)

    def queue(self, repository: RunRepository, url: str, *queues: str) -> RunQueue:
        """A queue of a process that serves these queues; none = all."""
        if self.name == "procrastinate":
            return ProcrastinateQueue(repository, LEASE_S, queues, url=url)
        return BuiltinQueue(repository, LEASE_S, queues)

    async def die_after_pick_up(self, database: Database) -> None:
        """Do what a worker does that takes a message for good, and dies before it claims the run."""
        if self.name == "procrastinate":
            await database.narrow.run(Statement("SELECT * FROM procrastinate_fetch_job_v2(NULL, NULL)"))


BACKENDS = (
    Backend("builtin", "sqlite"),
    Backend("builtin", "postgresql"),
    Backend("procrastinate", "postgresql"),
)
