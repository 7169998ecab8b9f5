"""The one place that builds the services and binds them together; clock, environment and wrapping come in here.

`build(settings)` makes an `Application`; `start()` brings it up, also while the database is still away (RELIABILITY
23: the process answers `/livez`, says why it is not ready, and goes on trying). Source: DESIGN 2.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from switchgear.core import job_schema, migrations
from switchgear.core.access_service import AccessService
from switchgear.core.activation_queue import ActivationQueue
from switchgear.core.breaker_service import Breakers
from switchgear.core.configuration_service import ConfigurationService
from switchgear.core.configuration_validation import ValidationOptions
from switchgear.core.database import Database
from switchgear.core.database.statements import machine_boot_id, wall_time_us
from switchgear.core.idempotency import Idempotency
from switchgear.core.logging import get_logger
from switchgear.core.module_registry import ModuleRegistry, probe_isolation
from switchgear.core.module_service import ModuleService
from switchgear.core.observability import EventName, Metrics
from switchgear.core.secrets import SecretResolver
from switchgear.core.settings import Settings
from switchgear.core.unit_of_work import Units
from switchgear.domain.access import SYSTEM
from switchgear.domain.activation import StoredActivation
from switchgear.domain.errors import DatabaseUnreachable, DomainError, NotFound, Starting
from switchgear.domain.ids import new_id
from switchgear.domain.stage import IsolationReport
from switchgear.ingestion.artifact_folder import ArtifactFolder, ArtifactsElsewhere
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.backpressure import Backpressure
from switchgear.ingestion.intake import Intake
from switchgear.ingestion.module_pool import ModulePools
from switchgear.ingestion.orchestrator import Orchestrator
from switchgear.ingestion.plan import Plans, load_pipeline
from switchgear.ingestion.retention import Periods, Retention
from switchgear.ingestion.run_queue import BuiltinQueue, RunQueue
from switchgear.ingestion.run_repository import RunRepository, WorkerRow
from switchgear.ingestion.run_service import RunService
from switchgear.ingestion.sources.folder import FolderSource
from switchgear.ingestion.stage_runner import StageRunner
from switchgear.sdk.values import Limits
from switchgear.workers.builtin import BuiltinWorker
from switchgear.workers.loading import Loading
from switchgear.workers.sweeper import TEMPORARY_MAX_AGE_S, Sweeper

log = get_logger()

#: How often unavailable modules are looked at; each has a growing pause of its own, in seconds.
LOOK_EVERY_S: Final = 5.0
FOLDER_EVERY_S: Final = 0.5
#: How often what has been kept long enough is removed, in seconds; the first time so long after the start.
RETENTION_EVERY_S: Final = 3600.0
#: How often it is looked what another process did to modules, in seconds.
FOLLOW_EVERY_S: Final = 1.0
#: How often it is looked whether another version is active than the one that is ready here, in seconds.
LOAD_EVERY_S: Final = 2.0
_LONGEST_BACKOFF_S: Final = 5.0
#: Replaces a service by one that fails on purpose; only tests pass one (RELIABILITY 5).
Wrap = Callable[[str, Any], Any]


class Application:
    """One instance: its services, and the tasks that keep it going.

    Args:
        settings: What was set.
        clock: Microseconds UTC, for tests; else the machine's, and the database's own where it has one.
        environment: Variables of the process.
        wrap: Gets the name of each part that does I/O and the part, returns what is used.
        with_worker: Whether this process carries runs.
        with_sources: Whether this process takes documents from the folders that are set.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], int] | None = None,
        environment: Mapping[str, str] = os.environ,
        wrap: Wrap = lambda name, part: part,
        with_worker: bool = True,
        with_sources: bool = True,
    ) -> None:
        self.settings = settings
        self.clock = clock or wall_time_us
        self.with_worker = with_worker and settings.workers > 0
        self.with_sources = with_sources
        self.worker_id = new_id("wrk")
        self.isolation = IsolationReport("L0", ())
        self.folders: list[FolderSource] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self.is_up = asyncio.Event()
        self.trouble: DomainError | None = Starting(
            "The server is still starting; nothing was changed. Try again in a moment."
        )
        home = settings.home.absolute()
        self._environment = {**environment, "SWITCHGEAR_OUT": str(home / "out")}
        self.metrics = Metrics()
        self.secrets = SecretResolver(environment, settings.secrets_dirs)
        self.database: Database = wrap("database", Database(settings.database_url, clock=clock))
        self.units = Units(self.database, self.clock)
        self.access = AccessService(self.units, self.clock)
        self.idempotency = Idempotency(self.units, self.clock)
        self.artifacts = ArtifactStore(settings.artifacts_dir.absolute(), min_free_bytes=settings.min_free_bytes)
        self.artifact_folder = ArtifactFolder(self.units, settings.artifacts_dir.absolute())
        self._build_modules(home)
        self._build_configurations(wrap)
        self._build_queue()
        self._build_runs()

    def _build_modules(self, home: Path) -> None:
        settings = self.settings
        self.pipeline = load_pipeline(settings.pipeline)
        self.registry = ModuleRegistry(
            pipeline=settings.pipeline,
            cache=home / "cache",
            clock=self.clock,
            isolation=self.isolation,
            environment=self._environment,
        )
        self.modules = ModuleService(self.units, self.registry)
        self.breakers = Breakers(self.units, self.clock, self.metrics)
        self.pools = ModulePools(
            folder=home / "scratch",
            limits=Limits(),
            environment=self._environment,
            resolve_secret=self.secrets.resolve,
            default_concurrency=max(1, settings.workers),
            on_artifact=self.artifacts.put_file,
            on_log=self._log_of_module,
            on_recycled=lambda module, reason: self.metrics.record_recycled(module=module, reason=reason),
            private=(home, settings.artifacts_dir, *settings.database_files, *settings.secrets_dirs),
            results=(home / "out", home / "spool"),
            open_timeout_s=settings.warm_timeout_s / 2,  # a worker still has the time to say what hangs
        )

    def _build_configurations(self, wrap: Wrap) -> None:
        settings = self.settings
        runs = RunRepository.of(self.pipeline, settings.pipeline, self.database.narrow)
        self.repository: RunRepository = wrap("runs", runs)
        self.plans = Plans(
            pipeline=self.pipeline,
            find=lambda reference: self.configurations.get(reference),
            registry=self.registry,
            pools=self.pools,
            allow_inline=settings.allow_inline,
            isolate_all=settings.isolation not in ("auto", "L0"),
            queues=settings.queues,
        )
        self.activations = ActivationQueue(
            self.units,
            self.registry,
            running=self.repository,
            warm=self.plans.warm,
            clock=self.clock,
            options=ValidationOptions(settings.unproven, settings.on_module_change, self.secrets.exists),
            warm_timeout_s=settings.warm_timeout_s,
            worker_id=self.worker_id,
            worker_alive_s=settings.lease_s,
            metrics=self.metrics,
        )
        self.configurations = ConfigurationService(
            self.units, self.registry, self.activations, self.clock, metrics=self.metrics
        )
        self.activations.on_applied.append(self._close_old_pools)

    def _build_queue(self) -> None:
        settings = self.settings
        self.loading = Loading(
            self.database.narrow,
            settings.pipeline,
            find=lambda reference: self.configurations.get(reference),
            warm=self.plans.warm,
            others=self.repository,
            worker_id=self.worker_id,
            storage=self.artifact_folder.look,
            metrics=self.metrics,
        )
        if self.with_worker:
            self.activations.on_applied.append(lambda _: self.loading.look())
        self.queue = self._make_queue()

    def _make_queue(self) -> RunQueue:
        settings = self.settings
        loading = self.loading
        served = (self.repository, settings.lease_s, settings.queues, loading.may_claim, loading.is_ready)
        if settings.queue_backend == "builtin":
            return BuiltinQueue(*served)
        from switchgear.workers.distributed import ProcrastinateQueue  # an extra: it may not be installed

        return ProcrastinateQueue(*served, url=settings.database_url)

    def _build_runs(self) -> None:
        settings = self.settings
        self.runs = RunService(self.units, self.repository, self.artifacts, self.queue)
        self.intake = Intake(
            self.artifacts,
            self.repository,
            max_bytes=settings.max_upload_bytes,
            wake=self.queue.notify,
            admit=Backpressure(self.repository, settings.max_queued).check,
        )
        self.orchestrator = Orchestrator(
            plans=self.plans,
            runner=StageRunner(self.pools, self.registry, self.breakers, clock=self.clock),
            runs=self.repository,
            artifacts=self.artifacts,
            metrics=self.metrics,
            clock=self.clock,
            run_deadline_s=settings.run_deadline_s,
            checkpoint_after_ms=settings.checkpoint_after_ms,
        )
        self.worker = BuiltinWorker(
            self._describe,
            self.repository,
            self.queue,
            self.orchestrator.execute,
            advance=self.activations.advance,
            concurrency=max(1, settings.workers),
            lease_s=settings.lease_s,
            heartbeat_s=settings.heartbeat_s,
            grace_s=settings.shutdown_grace_s,
        )
        self.sweeper = Sweeper(self.repository, self.artifacts, self.queue)
        self._build_retention()

    def _build_retention(self) -> None:
        settings = self.settings
        self.retention = Retention(
            self.units,
            self.repository,
            self.artifacts,
            Periods(settings.retention_artifacts_days, settings.retention_documents_days, settings.retention_runs_days),
            min_age_s=max(TEMPORARY_MAX_AGE_S, 2 * settings.run_deadline_s),
        )
        self.sweeper.every("retention", RETENTION_EVERY_S, self.retention.tick, at_once=False)

    # --- life ---

    async def start(self) -> None:
        """Find the modules, then bring up the rest; while the database is away that goes on in the background.

        Raises:
            SchemaNewer: The database was written by a newer Switchgear.
            PipelineUnavailable: The pipeline is not installed.
            IsolationMissing: The isolation that the settings demand cannot be had.
        """
        self.settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self.artifacts.start()
        await self.pools.start()
        self.isolation = (await probe_isolation(self._environment)).held_to(self.settings.isolation)
        self.registry.isolation = self.isolation
        self.plans.level = self.isolation.process_level
        await self.registry.start()
        try:
            await self._bring_up()
        except DatabaseUnreachable as error:
            self._note(error)
            self._run(self._keep_trying(), "bring-up")

    async def _keep_trying(self) -> None:
        pause_s = 0.2
        while not self.is_up.is_set():
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_BACKOFF_S, pause_s * 2)
            try:
                await self._bring_up()
                log.info(EventName.DATABASE_REGAINED)
            except (DatabaseUnreachable, ArtifactsElsewhere) as error:
                self._note(error, retry_in_s=pause_s)

    def _note(self, error: DomainError, **facts: float) -> None:
        """Keep why the instance is not up. However often it is tried, a cause is told once, until it changes."""
        tell = log.debug if str(error) == str(self.trouble) else log.warning
        self.trouble = error
        tell(EventName.DATABASE_LOST, summary=str(error), **facts)

    async def _bring_up(self) -> None:
        """Everything that needs the database, in order; each step may be done again."""
        before = await asyncio.to_thread(migrations.upgrade, self.settings.database_url)
        if before != migrations.head():
            log.info(EventName.DATABASE_MIGRATED, before=before, after=migrations.head())
        if self.settings.queue_backend == "procrastinate":
            await asyncio.to_thread(job_schema.install, self.settings.database_url)
        await self.database.start()
        await self.artifact_folder.claim()
        await self.access.ensure_admin_token(self.settings.home)
        if self.settings.bootstrap_token is not None:
            await self.access.ensure_bootstrap_token(self.settings.bootstrap_token.get_secret_value())
        await self._follow()
        await self.configurations.start(auto_configure=self.settings.auto_configure)
        self.trouble = None
        self.is_up.set()
        if self.with_worker:
            self._run(self._load_active(), "warm")
            self._every("loading", LOAD_EVERY_S, self.loading.look)
        self._run(self.sweeper.run_forever(self._stop), "sweeper")
        await self.activations.start()
        self._every("modules", LOOK_EVERY_S, self.configurations.look_at_modules)
        self._every("follow", FOLLOW_EVERY_S, self._follow)
        for source in self.settings.source if self.with_sources else ():
            folder = FolderSource(self.intake, by=SYSTEM, path=source.path, done=source.done, failed=source.failed)
            self.folders.append(folder)
            self._every(f"folder {source.path}", FOLDER_EVERY_S, folder.follow)
        if self.with_worker:
            self._run(self.queue.listen(), "listen")
            self._run(self.worker.run_forever(self._stop), "worker")

    async def _follow(self) -> None:
        """Take over what happened to modules and their breakers through other processes."""
        await self.breakers.follow()
        await self.configurations.record_module_changes(await self.modules.follow())

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    def _every(self, name: str, seconds: float, action: Callable[[], Awaitable[object]]) -> None:
        async def again() -> None:
            while True:
                await asyncio.sleep(seconds)
                try:
                    await action()
                except DatabaseUnreachable as error:
                    log.warning(EventName.DATABASE_LOST, task=name, summary=str(error))
                except Exception:
                    log.exception(EventName.TASK_FAILED, task=name)

        self._run(again(), name)

    async def _load_active(self) -> None:
        """Make the active version's modules ready before the first run needs them."""
        with suppress(NotFound, DatabaseUnreachable):
            await self.loading.look()

    async def _close_old_pools(self, activation: StoredActivation) -> None:
        """Close module processes that neither the new version nor the one before names; held runs reopen theirs."""
        await self.plans.keep([item for item in (activation.configuration_id, activation.from_id) if item])

    async def stop(self) -> None:
        """Finish or hand back what is at work, end every module process, close the database."""
        self._stop.set()
        await self.activations.stop()
        others = [task for task in self._tasks if task.get_name() != "worker"]
        workers = [task for task in self._tasks if task.get_name() == "worker"]
        if workers:
            await asyncio.wait(workers)
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)
        await self.pools.close()
        await self.registry.close()
        await self.database.close()

    # --- what this process says about itself ---

    def _describe(self) -> WorkerRow:
        modules = self.registry.current().modules.values() if self.is_up.is_set() else ()
        return WorkerRow(
            id=self.worker_id,
            host=socket.gethostname(),
            process_id=os.getpid(),
            boot_id=machine_boot_id(),
            unavailable={
                module.id: {"code": str(module.lack.code), "message": module.lack.message, "fix": module.lack.fix}
                for module in modules
                if module.lack is not None
            },
            isolation={"level": self.isolation.level},
            generation_loaded=self.loading.generation,
            queues=self.settings.queues,
        )

    def _log_of_module(self, record: Mapping[str, Any]) -> None:
        fields = {key: value for key, value in record.items() if key not in ("event", "level")}
        log.info(EventName.MODULE_SAID, said=record.get("event"), level_of_module=record.get("level"), **fields)


#: Builds an instance; nothing is started and nothing is written.
build = Application
