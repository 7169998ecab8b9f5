"""Modules that fail in real processes, and what becomes of the runs. T031, RELIABILITY 3 (rows 1-13, 22, 44)."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from factories.works import FAULTS, ON_SQLITE, Works, chain
from switchgear.core.database.statements import wall_time_us
from switchgear.domain.run import RunStatus
from switchgear.ingestion.run_repository import RetryFilter

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="module processes are held by Linux's means"),
]


@ON_SQLITE
@pytest.mark.parametrize(
    ("mode", "outcome", "detail"),
    [
        ("raise", "error", "ValueError"),
        ("hang", "timeout", ""),
        ("ignore_sigterm", "timeout", ""),
        ("exit0", "crash", "exit:0"),
        ("os_exit", "crash", "exit:0"),
        ("segv", "crash", "signal:SEGV"),
        ("abort", "crash", "signal:ABRT"),
        ("alloc", "crash", "memory_limit"),
        ("none", "contract_violation", "wrong_type"),
        ("wrong_type", "contract_violation", "wrong_type"),
        ("broken_guarantee", "contract_violation", "guarantee:is_upper"),
        ("unavailable", "unavailable", "module.probe_failed"),
    ],
)
async def test_the_fallback_completes_the_run_with_the_reason(
    works: Works, mode: str, outcome: str, detail: str
) -> None:
    is_endless = mode in ("hang", "ignore_sigterm")
    works.configure(chain(), settings={"mode": mode}, limits={"timeout_s": 2 if is_endless else 20})
    await works.plans.warm(works.versions["cfg_1"])  # starting a process counts for the first call

    run_id, end = await works.ingest()

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, True)
    assert await works.upper(run_id) == [
        ("upper-faulty", outcome, detail),
        ("upper-other", "succeeded", ""),
    ]
    assert (await works.result(run_id))["text"] == "HELLO WORLD!"
    output = next(item for item in await works.room.repository.outputs(run_id) if item.stage_id == "upper")
    assert output.why is not None
    assert output.why["code"] == f"fallback.{outcome}"
    assert f'reason="fallback.{outcome}"' in works.metrics.render().decode()


async def test_only_the_document_that_a_module_fails_on_is_concerned(works: Works) -> None:
    works.configure({"stage_id": "upper", "chain": [], "then": "park"}, settings={"mode": "segv", "only_if": "poison"})
    await works.plans.warm(works.versions["cfg_1"])
    runs = [await works.submit(text) for text in ("one", "poison", "three")]
    claims = [await works.room.held() for _ in runs]

    ends = await asyncio.gather(*(works.orchestrator.execute(claim) for claim in claims))

    statuses = {end.run_id: str(end.status) for end in ends}
    assert [statuses[run] for run in runs] == ["succeeded", "parked", "succeeded"]
    parked = await works.room.repository.get(runs[1])
    assert parked.why_code == "parked.no_fallback"


async def test_without_a_terminal_action_a_stage_that_was_tried_fails(works: Works) -> None:
    works.configure(settings={"mode": "raise"})

    run_id, end = await works.ingest()

    assert end.status is RunStatus.FAILED
    run = await works.room.repository.get(run_id)
    assert run.why is not None
    assert run.why["code"] == "failed.chain_exhausted"
    assert "upper-faulty: error (ValueError)" in run.why["summary"]


@ON_SQLITE
async def test_when_all_modules_fail_every_attempt_is_listed_and_the_document_stays(works: Works) -> None:
    works.configure(
        {
            "stage_id": "upper",
            "chain": [
                {"module_id": "upper-faulty-inline", "settings": {"mode": "raise"}, "on": FAULTS},
                {"module_id": "upper-nobinary", "on": FAULTS},
            ],
            "then": "park",
        },
        settings={"mode": "os_exit"},
    )

    run_id, end = await works.ingest()

    assert end.why is not None
    assert (end.status, end.why.code) == (RunStatus.PARKED, "parked.chain_exhausted")
    assert await works.upper(run_id) == [
        ("upper-faulty", "crash", "exit:0"),
        ("upper-faulty-inline", "error", "ValueError"),
        ("upper-nobinary", "unavailable", "module.missing_binary"),
    ]
    [again] = await works.room.repository.retryable(RetryFilter(status=RunStatus.PARKED), 10)
    document = await works.room.repository.document(again.document_id)
    assert again.id == run_id
    assert await works.artifacts.read(document.sha256) == b"hello world"


@ON_SQLITE
async def test_a_rejected_document_ends_with_the_modules_words_and_burns_no_chain(works: Works) -> None:
    works.configure(chain(then="park"), settings={"mode": "reject"})

    run_id, end = await works.ingest()

    assert end.why is not None
    assert (end.status, end.why.code) == (RunStatus.FAILED, "failed.input_rejected")
    assert end.why.summary == "The document is encrypted."
    assert await works.upper(run_id) == [("upper-faulty", "bad_input", "encrypted")]


@ON_SQLITE
async def test_a_document_that_is_no_text_leaves_the_worker_alive(works: Works) -> None:
    works.configure(settings={"mode": "ok"})

    _, bad = await works.ingest(b"\xff\xfe\x00")
    _, good = await works.ingest("fine")

    assert bad.why is not None
    assert bad.why.summary == "The file is no UTF-8 text."
    assert good.status is RunStatus.SUCCEEDED


@ON_SQLITE
async def test_an_unsure_output_is_replaced_by_a_surer_one(works: Works) -> None:
    works.configure(chain(on=["low_confidence"], threshold=0.6), settings={"mode": "low_confidence", "confidence": 0.3})

    run_id, end = await works.ingest()

    assert end.degraded
    assert (await works.upper(run_id))[0] == ("upper-faulty", "low_confidence", "")
    assert (await works.result(run_id))["text"] == "HELLO WORLD!"


@ON_SQLITE
async def test_a_retry_brings_a_passing_trouble_to_an_end_without_the_fallback(works: Works, tmp_path: Path) -> None:
    counter = str(tmp_path / "calls")
    works.configure(chain(), settings={"mode": "retryable", "bad_calls": 2, "counter": counter})

    run_id, end = await works.ingest()

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, False)
    assert [item[1] for item in await works.upper(run_id)] == ["error", "error", "succeeded"]


@ON_SQLITE
async def test_a_longer_pause_puts_the_run_back_into_the_queue(works: Works) -> None:
    works.configure(chain(), settings={"mode": "retryable_later"})

    run_id, end = await works.ingest()

    assert end.status is RunStatus.QUEUED
    run = await works.room.repository.get(run_id)
    assert run.why_code == "waiting.retry_backoff"
    assert run.available_at > await works.room.now_us() + 30_000_000


@ON_SQLITE
async def test_a_module_that_changes_its_input_changes_nothing_for_later_stages(works: Works) -> None:
    works.configure(settings={"mode": "mutate"})

    run_id, _ = await works.ingest()

    outputs = {item.stage_id: json.loads(item.value or "") for item in await works.room.repository.outputs(run_id)}
    assert outputs["load"]["text"] == "hello world"
    assert outputs["upper"]["text"] == "HELLO WORLD"


@ON_SQLITE
async def test_an_effect_that_is_perhaps_done_is_tried_once_more_with_the_same_key(
    works: Works, tmp_path: Path
) -> None:
    counter = str(tmp_path / "calls")
    works.configure(
        {"stage_id": "send", "chain": [{"module_id": "send-other", "on": FAULTS}]},
        stage="send",
        settings={"mode": "hang", "bad_calls": 1, "counter": counter},
        limits={"timeout_s": 3},
        upper="upper-inline",
        send="send-faulty",
    )
    await works.plans.warm(works.versions["cfg_1"])

    run_id, end = await works.ingest()

    assert (end.status, end.degraded) == (RunStatus.SUCCEEDED, False)
    sent = [item for item in await works.room.repository.attempts(run_id) if item.stage_id == "send"]
    assert [(item.module_id, item.try_number, str(item.outcome)) for item in sent] == [
        ("send-faulty", 1, "timeout"),
        ("send-faulty", 2, "succeeded"),
    ]
    run = await works.room.repository.get(run_id)
    assert len(await works.room.repository.deliveries(run.document_id)) == 1


@ON_SQLITE
async def test_a_person_releases_what_a_module_asked_about(works: Works) -> None:
    works.configure(stage="check", settings={"review_above": 1}, upper="upper-inline", check="check-count")
    run_id, end = await works.ingest("three words here")
    assert end.why is not None
    assert (end.status, end.why.code) == (RunStatus.PARKED, "parked.review")
    assert end.why.facts["words"] == 3

    decision = {"action": "release", "actor": "ada", "message": "fine", "at": wall_time_us()}
    await works.room.repository.decide(await works.room.repository.get(run_id), decision)
    again = await works.carry()

    assert again.status is RunStatus.SUCCEEDED
    assert (await works.result(run_id))["note"] == "release by ada"
