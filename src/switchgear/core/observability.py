"""Metrics, event names, and the helpers that write both. Source: INTERFACES 6, T013, T032, T035.

Helpers are called after the commit, so that nothing is reported that did not happen. No run or document id is ever a
label. Children of labelled metrics are kept, because looking one up costs more than counting. What every attempt and
every run moves is counted in plain numbers, which the library gets when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from switchgear.core.logging import get_logger
from switchgear.domain.activation import StoredActivation
from switchgear.domain.errors import Code, Why
from switchgear.domain.run import Outcome, RunStatus


class EventName(StrEnum):
    """Names of log events, as noun.past_participle. A test fails if the documentation lacks one."""

    SERVER_STARTED = "server.started"
    SERVER_STOPPED = "server.stopped"
    STARTUP_CHECKED = "startup.checked"
    DATABASE_MIGRATED = "database.migrated"
    DATABASE_LOST = "database.lost"
    DATABASE_REGAINED = "database.regained"
    ARTIFACTS_LOST = "artifacts.lost"
    ARTIFACTS_REGAINED = "artifacts.regained"
    REQUEST_FAILED = "request.failed"
    CONFIGURATION_CREATED = "configuration.created"
    CONFIGURATION_REFUSED = "configuration.refused"
    CONFIGURATION_VALIDATED = "configuration.validated"
    ACTIVATION_QUEUED = "activation.queued"
    ACTIVATION_REFUSED = "activation.refused"
    ACTIVATION_WARMED = "activation.warmed"
    ACTIVATION_ENDED = "activation.ended"
    TOKEN_CREATED = "token.created"  # noqa: S105
    TOKEN_CHANGED = "token.changed"  # noqa: S105
    TOKEN_REVOKED = "token.revoked"  # noqa: S105
    MODULE_BECAME_AVAILABLE = "module.became_available"
    MODULE_BECAME_UNAVAILABLE = "module.became_unavailable"
    MODULE_SET = "module.set"
    MODULE_SAID = "module.said"
    BREAKER_MOVED = "breaker.moved"
    MODULES_RESCANNED = "modules.rescanned"
    MODULE_WORKER_RECYCLED = "module_worker.recycled"
    DOCUMENT_ACCEPTED = "document.accepted"
    DOCUMENT_DECIDED = "document.decided"
    FILE_TAKEN = "file.taken"
    FILE_REFUSED = "file.refused"
    FILE_LEFT = "file.left"
    FOLDER_UNREADABLE = "folder.unreadable"
    RUN_CLAIMED = "run.claimed"
    RUN_ENDED = "run.ended"
    RUN_HANDED_BACK = "run.handed_back"
    RUN_LOST = "run.lost"
    RUNS_SENT_AGAIN = "runs.sent_again"
    RUN_RETRIED = "run.retried"
    RUN_CANCELLED = "run.cancelled"
    WRITE_FENCED = "write.fenced"
    ATTEMPT_SUCCEEDED = "attempt.succeeded"
    ATTEMPT_FAILED = "attempt.failed"
    FALLBACK_USED = "fallback.used"
    VERSION_NOT_LOADED = "version.not_loaded"
    WORKER_STARTED = "worker.started"
    WORKER_STOPPED = "worker.stopped"
    SWEEP_DONE = "sweep.done"
    INSTANCE_PRUNED = "instance.pruned"
    TASK_FAILED = "task.failed"


#: Outcomes that are no failure of the module.
_GOOD: Final = frozenset({Outcome.SUCCEEDED, Outcome.NOT_APPLICABLE, Outcome.SKIPPED})
_SECONDS: Final = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
_NONE_SEEN: Final = [0.0] * (len(_SECONDS) + 2)
_PHASES: Final = ("warming", "draining")

log = get_logger()


class _Counts(Collector):
    """A counter that only the event loop's thread moves."""

    def __init__(self, name: str, words: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._words, self._labelnames = name, words, labels
        self._counts: dict[tuple[str, ...], int] = {}
        registry.register(self)

    def add(self, labels: tuple[str, ...]) -> None:
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def describe(self) -> list[CounterMetricFamily]:
        return [CounterMetricFamily(self._name, self._words, labels=self._labelnames)]

    def collect(self) -> list[CounterMetricFamily]:
        [family] = self.describe()
        for labels, count in self._counts.copy().items():
            family.add_metric(labels, count)
        return [family]


class _Durations(Collector):
    """A histogram of seconds that only the event loop's thread moves."""

    def __init__(self, name: str, words: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._words, self._labelnames = name, words, labels
        #: For each bucket how many were in it, and last the sum of all.
        self._seen: dict[tuple[str, ...], list[float]] = {} if labels else {(): _NONE_SEEN[:]}
        registry.register(self)

    def add(self, labels: tuple[str, ...], seconds: float) -> None:
        seen = self._seen.get(labels)
        if seen is None:
            seen = self._seen[labels] = _NONE_SEEN[:]
        seen[bisect_left(_SECONDS, seconds)] += 1
        seen[-1] += seconds

    def describe(self) -> list[HistogramMetricFamily]:
        return [HistogramMetricFamily(self._name, self._words, labels=self._labelnames)]

    def collect(self) -> list[HistogramMetricFamily]:
        [family] = self.describe()
        for labels, seen in self._seen.copy().items():
            *counts, total = seen[:]
            buckets = zip(map(floatToGoString, (*_SECONDS, float("inf"))), accumulate(counts), strict=True)
            family.add_metric(labels, list(buckets), total)
        return [family]


class Metrics:
    """Every metric, and the helpers that keep them and the log telling the same."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second line for each counter that nobody asked for
        self._counted = CollectorRegistry()
        # `switchgear_runs_total` and `switchgear_runs` are two metrics to Prometheus, but one to its Python client.
        self._seen = CollectorRegistry()
        self._define_counters()
        self._define_gauges()

    def render(self) -> bytes:
        """Return the text that Prometheus reads. Takes milliseconds: call it off the event loop."""
        return generate_latest(self._counted) + generate_latest(self._seen)

    def record_attempt(
        self,
        *,
        stage: str,
        module: str,
        outcome: Outcome,
        duration_us: int,
        detail: str = "",
        message: str = "",
        run_id: str | None = None,
        configuration_version: int | None = None,
    ) -> None:
        """Count one stage attempt; a failed one is a warning in the log. T035

        Args:
            stage: Stage id.
            module: Module id.
            outcome: How it ended.
            duration_us: Microseconds that it took.
            detail: The short word that says more, such as `signal:SEGV`.
            message: The sentence for people, without document content.
            run_id: For the log only.
            configuration_version: For the log only.
        """
        self._attempts.add((stage, module, str(outcome)))
        self._stage_seconds.add((stage, module), duration_us / 1e6)
        good = outcome in _GOOD
        write = log.debug if good else log.warning
        write(
            EventName.ATTEMPT_SUCCEEDED if good else EventName.ATTEMPT_FAILED,
            run_id=run_id,
            stage=stage,
            module=module,
            outcome=str(outcome),
            detail=detail or None,
            message=message or None,
            duration_us=duration_us,
            configuration_version=configuration_version,
        )

    def record_fallback(
        self,
        *,
        stage: str,
        from_module: str,
        to_module: str,
        why: Why,
        run_id: str | None = None,
        configuration_version: int | None = None,
    ) -> None:
        """Count that *to_module* served a stage in place of *from_module*, and say why in the log. T035"""
        self._fallbacks(stage, from_module, to_module, str(why.code)).inc()
        log.warning(
            EventName.FALLBACK_USED,
            run_id=run_id,
            stage=stage,
            from_module=from_module,
            to_module=to_module,
            reason=str(why.code),
            summary=why.summary,
            configuration_version=configuration_version,
        )

    def record_run_end(
        self,
        *,
        status: RunStatus,
        degraded: bool,
        duration_us: int,
        run_id: str | None = None,
        document_id: str | None = None,
        configuration_version: int | None = None,
        why: Why | None = None,
    ) -> None:
        """Count the end of a run. The result is its status; a success by fallback counts as `degraded`."""
        result = "degraded" if degraded and status is RunStatus.SUCCEEDED else str(status)
        self._runs_ended.add((result,))
        self._run_seconds.add((), duration_us / 1e6)
        write = log.info if status is RunStatus.SUCCEEDED else log.warning
        write(
            EventName.RUN_ENDED,
            run_id=run_id,
            document_id=document_id,
            status=str(status),
            degraded=degraded,
            duration_us=duration_us,
            configuration_version=configuration_version,
            **({} if why is None else {"reason": str(why.code), "summary": why.summary}),
        )

    def record_validation(self, *, errors: int, warnings: int) -> None:
        """Count one validation: `valid`, `warnings` or `invalid`."""
        outcome = "invalid" if errors else "warnings" if warnings else "valid"
        self._validations(outcome).inc()
        log.info(EventName.CONFIGURATION_VALIDATED, outcome=outcome, errors=errors, warnings=warnings)

    def record_activation_end(self, activation: StoredActivation) -> None:
        """Count the end of an activation and how long its phases took."""
        self._activations(str(activation.kind), str(activation.mode), str(activation.state)).inc()
        ended = activation.ended_at or activation.requested_at
        begun = {"warming": activation.warming_at, "draining": activation.draining_at}
        ends = {"warming": activation.draining_at or ended, "draining": ended}
        seconds = {"total": (ended - activation.requested_at) / 1e6}
        seconds |= {phase: (ends[phase] - start) / 1e6 for phase in _PHASES if (start := begun[phase]) is not None}
        for phase, value in seconds.items():
            self._activation_seconds.add((phase,), max(0.0, value))
        log.info(
            EventName.ACTIVATION_ENDED,
            activation_id=activation.id,
            kind=str(activation.kind),
            mode=str(activation.mode),
            state=str(activation.state),
            configuration_version=activation.configuration_version,
            reason=(activation.why or {}).get("code"),
            duration_s=round(seconds["total"], 6),
        )

    def record_availability(self, *, stage: str, module: str, available: bool, why: Why | None = None) -> None:
        """Say that a module became available or unavailable, with the reason and the line that fixes it."""
        self._module_available(stage, module).set(int(available))
        if available:
            log.info(EventName.MODULE_BECAME_AVAILABLE, stage=stage, module=module)
            return
        facts = {} if why is None else {"reason": str(why.code), "summary": why.summary, **dict(why.facts)}
        log.warning(EventName.MODULE_BECAME_UNAVAILABLE, **{**facts, "stage": stage, "module": module})

    def record_recycled(self, *, module: str, reason: str) -> None:
        """Count that a module's worker process was replaced."""
        self._recycled(module, reason).inc()
        log.info(EventName.MODULE_WORKER_RECYCLED, module=module, reason=reason)

    def record_breaker(self, *, module: str, before: str, after: str, why: str) -> None:
        """Count that a module's breaker moved, and say why in the log."""
        self._breaker_moves(module, before, after).inc()
        log.warning(EventName.BREAKER_MOVED, module=module, before=before, after=after, summary=why or None)

    def set_selections(self, selections: Iterable[tuple[str, str, str]]) -> None:
        """Show the active configuration's (stage, module, module version), and nothing of the one before."""
        self._selection_info.clear()
        for stage, module, version in selections:
            self._selection_info.labels(stage, module, version).set(1)

    def set_available(self, modules: Iterable[tuple[str, str, bool]]) -> None:
        """Show (stage, module, available) of every installed module."""
        self._available.clear()
        self._module_available.cache_clear()
        for stage, module, available in modules:
            self._module_available(stage, module).set(int(available))

    def set_configuration(self, version: int, digest: str) -> None:
        """Show which configuration is active."""
        self._configuration_info.clear()
        self._configuration_info.labels(str(version), digest).set(1)

    def set_generation(self, *, desired: int | None = None, applied: int | None = None) -> None:
        """Show the generation that is wanted and the one that this process has loaded."""
        for kind, value in (("desired", desired), ("applied", applied)):
            if value is not None:
                self._generation.labels(kind).set(value)

    def set_runs(self, by_status: Mapping[str, int], parked_by_code: Mapping[str, int]) -> None:
        """Show how many runs there are by status, and how many are on hold by reason."""
        for status in RunStatus:
            self._runs.labels(str(status)).set(by_status.get(str(status), 0))
        self._parked.clear()
        for code, count in parked_by_code.items():
            self._parked.labels(code if code in Code._value2member_map_ else str(Code.SYSTEM_ERROR)).set(count)

    def set_queue_ages(self, seconds: Mapping[str, float]) -> None:
        """Show how long the oldest waiting run of each queue has waited, in seconds."""
        self._queue_age.clear()
        for queue, age in {"default": 0.0, **seconds}.items():
            self._queue_age.labels(queue).set(age)

    def set_disk_free(self, free_bytes: int) -> None:
        """Show how much room is left where HOME is."""
        self._disk_free.set(free_bytes)

    def _define_counters(self) -> None:
        registry = self._counted
        self._runs_ended = _Counts("switchgear_runs", "Runs that ended.", ["result"], registry)
        self._attempts = _Counts(
            "switchgear_stage_attempts", "Stage attempts.", ["stage", "module", "outcome"], registry
        )
        fallbacks = Counter(
            "switchgear_fallbacks",
            "Stages served by another module than the selected one.",
            ["stage", "from_module", "to_module", "reason"],
            registry=registry,
        )
        validations = Counter("switchgear_validations", "Validations.", ["outcome"], registry=registry)
        activations = Counter(
            "switchgear_activations", "Activations that ended.", ["kind", "mode", "outcome"], registry=registry
        )
        recycled = Counter(
            "switchgear_module_workers_recycled", "Replaced module processes.", ["module", "reason"], registry=registry
        )
        moves = Counter(
            "switchgear_breaker_transitions",
            "Moves of modules' breakers.",
            ["module", "from_state", "to_state"],
            registry=registry,
        )
        self._breaker_moves = cache(moves.labels)
        self._fallbacks = cache(fallbacks.labels)
        self._validations = cache(validations.labels)
        self._activations = cache(activations.labels)
        self._recycled = cache(recycled.labels)

    def _define_gauges(self) -> None:
        def gauge(name: str, words: str, *labels: str) -> Gauge:
            return Gauge(f"switchgear_{name}", words, labels, registry=self._seen)

        def durations(name: str, words: str, *labels: str) -> _Durations:
            return _Durations(f"switchgear_{name}_seconds", words, labels, self._seen)

        self._run_seconds = durations("run_duration", "Running time of a run, in seconds.")
        self._stage_seconds = durations("stage_duration", "Time of a stage attempt, in seconds.", "stage", "module")
        self._activation_seconds = durations(
            "activation_duration", "Time of an activation's phase, in seconds.", "phase"
        )
        self._selection_info = gauge("selection_info", "Active selections.", "stage", "module", "module_version")
        self._available = gauge("module_available", "1 if the module can work here.", "stage", "module")
        self._module_available = cache(self._available.labels)
        self._configuration_info = gauge("configuration_info", "Active configuration.", "version", "digest")
        self._generation = gauge("configuration_generation", "Generation wanted and loaded.", "kind")
        self._runs = gauge("runs", "Runs by status.", "status")
        self._parked = gauge(
            "runs_parked", "Runs on hold by reason, but for those that were repeated as a new run.", "code"
        )
        self._queue_age = gauge("queue_oldest_age_seconds", "Wait of the oldest queued run, in seconds.", "queue")
        self._disk_free = gauge("disk_free_bytes", "Free bytes where HOME is.")
