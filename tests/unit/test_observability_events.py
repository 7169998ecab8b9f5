"""Log events and metrics: closed names, the same facts in both, no ids as labels. T032, INTERFACES 6."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import switchgear
from factories.log_stream import LogStream
from switchgear.core.observability import EventName, Metrics
from switchgear.domain.activation import Kind, Mode, OnExpiry, State, StoredActivation
from switchgear.domain.errors import Code, Why
from switchgear.domain.run import Outcome, RunStatus

pytestmark = pytest.mark.usefixtures("restored_logging")

WHY = Why(Code.FALLBACK_CRASH, "extract-layout crashed; extract-text served instead.", {"signal": "SEGV"})

#: INTERFACES 6.
METRICS = {
    "switchgear_runs_total": {"result"},
    "switchgear_run_duration_seconds": set(),
    "switchgear_stage_attempts_total": {"stage", "module", "outcome"},
    "switchgear_stage_duration_seconds": {"stage", "module"},
    "switchgear_fallbacks_total": {"stage", "from_module", "to_module", "reason"},
    "switchgear_selection_info": {"stage", "module", "module_version"},
    "switchgear_module_available": {"stage", "module"},
    "switchgear_breaker_transitions_total": {"module", "from_state", "to_state"},
    "switchgear_validations_total": {"outcome"},
    "switchgear_activations_total": {"kind", "mode", "outcome"},
    "switchgear_activation_duration_seconds": {"phase"},
    "switchgear_configuration_info": {"version", "digest"},
    "switchgear_configuration_generation": {"kind"},
    "switchgear_runs": {"status"},
    "switchgear_runs_parked": {"code"},
    "switchgear_queue_oldest_age_seconds": {"queue"},
    "switchgear_disk_free_bytes": set(),
    "switchgear_module_workers_recycled_total": {"module", "reason"},
}


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[(name, tuple(sorted(labels.items())))]


def activation(state: State = State.APPLIED, **values: Any) -> StoredActivation:
    return StoredActivation(
        id="act_1",
        configuration_id="cfg_2",
        configuration_version=2,
        from_id="cfg_1",
        from_version=1,
        kind=Kind.ACTIVATE,
        mode=Mode.DRAIN,
        state=state,
        max_wait_s=300,
        on_expiry=OnExpiry.SWITCH,
        options={},
        actor="anna",
        message="",
        requested_at=1_000_000,
        **values,
    )


def record_everything(metrics: Metrics) -> None:
    metrics.record_attempt(stage="extract", module="m", outcome=Outcome.CRASH, duration_us=1, run_id="run_1")
    metrics.record_fallback(stage="extract", from_module="m", to_module="n", why=WHY, run_id="run_1")
    metrics.record_run_end(
        status=RunStatus.SUCCEEDED, degraded=True, duration_us=1, run_id="run_1", document_id="doc_1"
    )
    metrics.record_validation(errors=0, warnings=1)
    metrics.record_activation_end(activation(warming_at=1_500_000, draining_at=2_000_000, ended_at=4_000_000))
    metrics.record_availability(stage="extract", module="m", available=False, why=WHY)
    metrics.record_recycled(module="m", reason="crash")
    metrics.record_breaker(module="m", before="closed", after="open", why="")
    metrics.set_selections([("extract", "m", "1.0")])
    metrics.set_configuration(2, "abc")
    metrics.set_generation(desired=3, applied=2)
    metrics.set_runs({"queued": 2}, {"parked.review": 1})
    metrics.set_queue_ages({"default": 1.5})
    metrics.set_disk_free(42)


def test_every_metric_of_the_list_is_there_with_its_labels_and_no_other(metrics: Metrics, log: LogStream) -> None:
    record_everything(metrics)
    found: dict[str, set[str]] = {}
    for name, labels in samples(metrics):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        found.setdefault(base, set()).update(key for key, _ in labels if key != "le")
    assert found == METRICS


def test_no_run_or_document_id_is_ever_a_label(metrics: Metrics, log: LogStream) -> None:
    record_everything(metrics)
    assert not re.search(r'"(run|doc|act|cfg)_', metrics.render().decode())


def test_a_failed_attempt_is_counted_and_a_warning(metrics: Metrics, log: LogStream) -> None:
    metrics.record_attempt(
        stage="extract",
        module="extract-layout",
        outcome=Outcome.TIMEOUT,
        duration_us=2_500_000,
        detail="deadline",
        run_id="run_1",
        configuration_version=7,
    )
    assert (
        value(metrics, "switchgear_stage_attempts_total", stage="extract", module="extract-layout", outcome="timeout")
        == 1
    )
    assert value(metrics, "switchgear_stage_duration_seconds_sum", stage="extract", module="extract-layout") == 2.5
    [line] = log.lines()
    assert line["event"] == "attempt.failed"
    assert line["level"] == "warning"
    assert (line["run_id"], line["stage"], line["module"], line["outcome"]) == (
        "run_1",
        "extract",
        "extract-layout",
        "timeout",
    )
    assert (line["configuration_version"], line["duration_us"], line["detail"]) == (7, 2_500_000, "deadline")


def test_durations_are_rendered_as_the_library_renders_its_own_histogram(metrics: Metrics) -> None:
    seconds = [0.0, 0.001, 0.001001, 0.004999, 0.02, 0.3, 1, 59.5, 900, 900.5, 1e6]
    registry = CollectorRegistry()
    bounds = [sample for sample in samples(metrics) if sample[0] == "switchgear_run_duration_seconds_bucket"]
    buckets = sorted(float(dict(labels)["le"]) for _, labels in bounds)
    theirs = Histogram(
        "switchgear_run_duration_seconds",
        "Running time of a run, in seconds.",
        buckets=buckets,
        registry=registry,
    )
    for value_s in seconds:
        theirs.observe(round(value_s * 1e6) / 1e6)
        metrics.record_run_end(status=RunStatus.SUCCEEDED, degraded=False, duration_us=round(value_s * 1e6))
    lines = [line for line in metrics.render().decode().splitlines() if "run_duration" in line]
    assert len(buckets) > 10
    assert lines == generate_latest(registry).decode().splitlines()


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_failures_are_warnings(metrics: Metrics, log: LogStream, outcome: Outcome) -> None:
    metrics.record_attempt(stage="s", module="m", outcome=outcome, duration_us=1)
    good = outcome in (Outcome.SUCCEEDED, Outcome.NOT_APPLICABLE, Outcome.SKIPPED)
    assert log.lines()[0]["level"] == ("debug" if good else "warning")
    assert value(metrics, "switchgear_stage_attempts_total", stage="s", module="m", outcome=str(outcome)) == 1


def test_a_fallback_says_who_served_instead_of_whom_and_why(metrics: Metrics, log: LogStream) -> None:
    metrics.record_fallback(stage="extract", from_module="a", to_module="b", why=WHY, run_id="run_1")
    labels = {"stage": "extract", "from_module": "a", "to_module": "b", "reason": "fallback.crash"}
    assert value(metrics, "switchgear_fallbacks_total", **labels) == 1
    [line] = log.lines()
    assert {key: line[key] for key in labels} == labels
    assert (line["event"], line["summary"]) == ("fallback.used", WHY.summary)


@pytest.mark.parametrize(
    ("status", "degraded", "result", "level"),
    [
        (RunStatus.SUCCEEDED, False, "succeeded", "info"),
        (RunStatus.SUCCEEDED, True, "degraded", "info"),
        (RunStatus.FAILED, True, "failed", "warning"),
        (RunStatus.PARKED, False, "parked", "warning"),
        (RunStatus.CANCELLED, False, "cancelled", "warning"),
    ],
)
def test_the_end_of_a_run_is_counted_once(
    metrics: Metrics, log: LogStream, status: RunStatus, degraded: bool, result: str, level: str
) -> None:
    metrics.record_run_end(status=status, degraded=degraded, duration_us=3_000_000, run_id="run_1", why=WHY)
    counted = {key: count for key, count in samples(metrics).items() if key[0] == "switchgear_runs_total"}
    assert counted == {("switchgear_runs_total", (("result", result),)): 1.0}
    [line] = log.lines()
    assert (line["event"], line["level"], line["status"], line["reason"]) == (
        "run.ended",
        level,
        str(status),
        "fallback.crash",
    )


def test_the_phases_of_an_activation_are_measured(metrics: Metrics, log: LogStream) -> None:
    metrics.record_activation_end(activation(warming_at=1_500_000, draining_at=2_000_000, ended_at=5_000_000))
    name = "switchgear_activation_duration_seconds_sum"
    assert value(metrics, name, phase="total") == 4
    assert value(metrics, name, phase="warming") == 0.5
    assert value(metrics, name, phase="draining") == 3
    assert value(metrics, "switchgear_activations_total", kind="activate", mode="drain", outcome="applied") == 1


def test_an_activation_that_ends_in_the_queue_has_no_phases(metrics: Metrics, log: LogStream) -> None:
    metrics.record_activation_end(activation(State.CANCELLED, ended_at=3_000_000, why={"code": "activation.cancelled"}))
    assert {labels for name, labels in samples(metrics) if name.startswith("switchgear_activation_duration")} >= {
        (("phase", "total"),)
    }
    assert "warming" not in metrics.render().decode()
    assert log.lines()[0]["reason"] == "activation.cancelled"


def test_what_is_shown_follows_the_active_configuration(metrics: Metrics) -> None:
    metrics.set_configuration(1, "one")
    metrics.set_selections([("extract", "a", "1.0"), ("read", "r", "1.0")])
    metrics.set_configuration(2, "two")
    metrics.set_selections([("extract", "b", "2.0")])
    text = metrics.render().decode()
    assert 'switchgear_configuration_info{digest="two",version="2"} 1.0' in text
    assert 'digest="one"' not in text
    assert 'module="a"' not in text
    assert 'module="r"' not in text


def test_availability_follows_the_modules_that_are_installed(metrics: Metrics, log: LogStream) -> None:
    metrics.set_available([("extract", "a", True), ("extract", "b", False)])
    assert value(metrics, "switchgear_module_available", stage="extract", module="b") == 0
    metrics.record_availability(stage="extract", module="b", available=True)
    assert value(metrics, "switchgear_module_available", stage="extract", module="b") == 1
    metrics.set_available([("extract", "b", True)])
    assert 'module="a"' not in metrics.render().decode()
    assert [line["event"] for line in log.lines()] == ["module.became_available"]


def test_an_unavailable_module_is_logged_with_its_reason(metrics: Metrics, log: LogStream) -> None:
    why = Why(Code.MODULE_MISSING_BINARY, "tesseract is not installed.", {"fix": "apt-get install tesseract-ocr"})
    metrics.record_availability(stage="ocr", module="ocr-tesseract", available=False, why=why)
    [line] = log.lines()
    assert (line["event"], line["level"]) == ("module.became_unavailable", "warning")
    assert (line["reason"], line["fix"]) == ("module.missing_binary", "apt-get install tesseract-ocr")


def test_an_unknown_reason_makes_no_new_label(metrics: Metrics) -> None:
    metrics.set_runs({}, {"parked.review": 1, "made-up by a module": 3})
    codes = {dict(labels)["code"] for name, labels in samples(metrics) if name == "switchgear_runs_parked"}
    assert codes == {"parked.review", "system.error"}


def test_event_names_are_noun_dot_past_participle() -> None:
    for name in EventName:
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", name), name


def test_every_metric_has_somebody_who_sets_it() -> None:
    folder = Path(switchgear.__file__).parent
    source = "\n".join(path.read_text() for path in folder.rglob("*.py") if path.name != "observability.py")
    helpers = [name for name in vars(Metrics) if name.startswith(("record_", "set_"))]

    assert len(helpers) > 10
    assert [name for name in helpers if not re.search(rf"metrics\.{name}\b", source)] == []


def test_every_event_that_is_documented_is_logged_somewhere() -> None:
    source = "\n".join(path.read_text() for path in Path(switchgear.__file__).parent.rglob("*.py"))

    assert [name for name in EventName.__members__ if f"EventName.{name}" not in source] == []
    assert re.findall(r"\blog\.(?:debug|info|warning|error|exception)\(\s*[\"']", source) == []
