"""Many failed or parked runs retried at once, on both databases: oldest first, bounded, each audited, none twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from factories.runs import OPERATOR, PeopleRoom, attempt, output
from switchgear.core.database import Database, Statement
from switchgear.core.unit_of_work import Units
from switchgear.domain.errors import Code, InvalidRequest, NotFound, Why
from switchgear.domain.run import Outcome, RunStatus
from switchgear.ingestion.retries import Repeat
from switchgear.ingestion.run_repository import RetryFilter, RunFilter

pytestmark = pytest.mark.anyio


class Pile(PeopleRoom):
    """A room with runs that ended badly."""

    async def ended(
        self, text: str, status: RunStatus = RunStatus.FAILED, code: Code = Code.FAILED_CHAIN_EXHAUSTED, **at: str
    ) -> str:
        """A run that finished `read` and ended so at a stage, after that module failed there."""
        stage, module = at.get("stage", "extract"), at.get("module", "extract-module")
        await self.submit(text)
        claim = await self.held()
        failed = attempt(stage, module_id=module, outcome=Outcome.ERROR)
        why = None if status is RunStatus.SUCCEEDED else Why(code, "It did not work.")
        await self.repository.end(
            claim, status=status, attempts=[attempt("read"), failed], outputs=[output("read")], why=why, stage_id=stage
        )
        return claim.run_id

    async def degraded(self, text: str, stage: str, module: str) -> str:
        """A run that succeeded although, at that stage, that fallback served."""
        await self.submit(text)
        claim = await self.held()
        served = {name: output(name) for name in ("read", "extract", "deliver")}
        served[stage] = replace(served[stage], module_id=module, degraded=True)
        await self.repository.end(
            claim,
            status=RunStatus.SUCCEEDED,
            attempts=[attempt(name) for name in served],
            outputs=list(served.values()),
            degraded=True,
        )
        return claim.run_id

    async def retried(self, **wanted: object) -> list[str]:
        """Which runs a dry run with this filter names."""
        found = await self.service.retry_many(RetryFilter(**wanted), Repeat(), by=OPERATOR, dry_run=True)  # type: ignore[arg-type]
        return [run.id for run, _ in found.retried]


@pytest.fixture
async def pile(database: Database, units: Units, tmp_path: Path) -> Pile:
    pile = await Pile(database, units, tmp_path).prepare()
    await pile.install({"extract-other": "extract", "files": "deliver", "spool": "deliver"})
    return pile


async def test_all_that_failed_or_are_parked_go_on_oldest_first_and_each_is_audited(pile: Pile) -> None:
    first = await pile.ended("a")
    await pile.ended("b", RunStatus.SUCCEEDED)
    second = await pile.ended("c", RunStatus.PARKED, Code.PARKED_NOTHING_AVAILABLE)

    done = await pile.service.retry_many(RetryFilter(), Repeat(message="mended"), by=OPERATOR)

    assert [(run.id, after) for run, after in done.retried] == [(first, first), (second, second)]
    assert (done.skipped, done.more) == ([], False)
    assert [(await pile.repository.get(run)).status for run in (first, second)] == [RunStatus.QUEUED] * 2
    events = await pile.audited()
    assert [(event.action, event.subjects[0], event.message, event.actor) for event in reversed(events)] == [
        ("run.retried", first, "mended", "olga"),
        ("run.retried", second, "mended", "olga"),
    ]


async def test_the_filter_names_status_code_stage_module_version_and_time(pile: Pile) -> None:
    crash = await pile.ended("a", module="extract-other")
    budget = await pile.ended("b", code=Code.FAILED_BUDGET)
    parked = await pile.ended("c", RunStatus.PARKED, Code.PARKED_NO_FALLBACK, stage="deliver", module="files")
    await pile.configure(2)
    await pile.activate(2)
    newer = await pile.ended("d")

    assert await pile.retried() == [crash, budget, parked, newer]
    assert await pile.retried(status=RunStatus.PARKED) == [parked]
    assert await pile.retried(code="failed.budget") == [budget]
    assert await pile.retried(stage_id="deliver") == [parked]
    assert await pile.retried(module_id="extract-other") == [crash]
    assert await pile.retried(configuration_id="cfg_2") == [newer]
    accepted_at = (await pile.repository.get(parked)).accepted_at
    assert await pile.retried(since=accepted_at) == [parked, newer]
    assert await pile.retried(until=accepted_at) == [crash, budget]
    assert await pile.retried(after=budget) == [parked, newer]


async def test_what_a_fallback_served_can_be_asked_for_by_stage_and_module_and_is_repeated_from_there(
    pile: Pile,
) -> None:
    """As results that were kept in a spool until their target was there again."""
    await pile.ended("a")
    await pile.ended("b", RunStatus.SUCCEEDED)
    kept = await pile.degraded("c", "deliver", "spool")
    other = await pile.degraded("d", "extract", "extract-other")

    assert await pile.retried(degraded=True) == [kept, other]
    assert await pile.retried(degraded=True, stage_id="deliver") == [kept]
    assert await pile.retried(degraded=True, module_id="extract-other") == [other]
    assert await pile.retried(degraded=True, stage_id="deliver", module_id="extract-other") == []

    wanted = RetryFilter(degraded=True, stage_id="deliver", module_id="spool")
    once = await pile.service.retry_many(wanted, Repeat(from_="deliver"), by=OPERATOR)
    twice = await pile.service.retry_many(wanted, Repeat(from_="deliver"), by=OPERATOR)

    ((was, after),) = once.retried
    again = await pile.repository.get(str(after))
    assert (was.id, again.retry_of, again.status, again.stage_id) == (kept, kept, RunStatus.QUEUED, "deliver")
    assert [one.stage_id for one in await pile.repository.outputs(again.id)] == ["read", "extract"]
    assert twice.retried == []


async def test_what_a_newer_run_of_the_document_has_done_since_is_not_replaced_by_the_older_result(pile: Pile) -> None:
    kept = await pile.degraded("a", "deliver", "spool")
    again = await pile.submit("a", again=True)
    await pile.repository.end(await pile.held(), status=RunStatus.SUCCEEDED, outputs=[output("read")])

    done = await pile.service.retry_many(RetryFilter(degraded=True), Repeat(from_="deliver"), by=OPERATOR)

    assert done.retried == []
    ((run, reason),) = done.skipped
    assert run.id == kept
    assert reason.startswith(f"Run {again.run.id} of the same document came after it and succeeded")


async def test_a_filter_for_what_a_fallback_served_names_no_status(pile: Pile) -> None:
    wanted = RetryFilter(degraded=True, status=RunStatus.FAILED)
    with pytest.raises(InvalidRequest, match="succeeded"):
        await pile.service.retry_many(wanted, Repeat(), by=OPERATOR)


async def test_a_dry_run_changes_nothing_and_says_which_cannot_be_retried_and_why(pile: Pile) -> None:
    failed = await pile.ended("a")
    review = await pile.ended("b", RunStatus.PARKED, Code.PARKED_REVIEW, stage="deliver")

    found = await pile.service.retry_many(RetryFilter(), Repeat(from_="deliver"), by=OPERATOR, dry_run=True)

    assert found.retried == []
    reasons = {run.id: reason for run, reason in found.skipped}
    assert "never finished extract" in reasons[failed]
    assert f"switchgear documents release {(await pile.repository.get(review)).document_id}" in reasons[review]
    assert [(await pile.repository.get(run)).status for run in (failed, review)] == [
        RunStatus.FAILED,
        RunStatus.PARKED,
    ]
    assert await pile.audited() == []
    assert await pile.retried(code="parked.review") == [review]  # whoever names reviews means them


async def test_reviews_that_are_named_go_to_their_stage_again_on_the_active_version(pile: Pile) -> None:
    review = await pile.ended("a", RunStatus.PARKED, Code.PARKED_REVIEW, stage="deliver")
    await pile.configure(2)
    await pile.activate(2)

    named = RetryFilter(status=RunStatus.PARKED, code="parked.review")
    done = await pile.service.retry_many(named, Repeat(configuration="active"), by=OPERATOR)

    ((asked, after),) = done.retried
    again = await pile.repository.get(str(after))
    assert (asked.id, again.status, again.stage_id) == (review, RunStatus.QUEUED, "deliver")
    assert [kept.stage_id for kept in await pile.repository.outputs(again.id)] == ["read"]
    assert again.decision is None


async def test_under_another_version_each_run_is_repeated_once_however_often_it_is_asked_for(pile: Pile) -> None:
    failed = [await pile.ended(text) for text in "ab"]
    await pile.configure(2)
    await pile.activate(2)

    once = await pile.service.retry_many(RetryFilter(), Repeat(configuration="active"), by=OPERATOR)
    twice = await pile.service.retry_many(RetryFilter(), Repeat(configuration="active"), by=OPERATOR)

    assert [run.id for run, _ in once.retried] == failed
    new = [await pile.repository.get(str(after)) for _, after in once.retried]
    assert [(run.retry_of, run.status) for run in new] == [(run, RunStatus.QUEUED) for run in failed]
    assert (twice.retried, twice.skipped, twice.more) == ([], [], False)


async def test_one_call_is_bounded_and_says_whether_and_where_it_goes_on(pile: Pile) -> None:
    failed = [await pile.ended(text) for text in "abc"]

    first = await pile.service.retry_many(RetryFilter(), Repeat(), by=OPERATOR, limit=2, dry_run=True)
    rest = await pile.service.retry_many(RetryFilter(after=first.last), Repeat(), by=OPERATOR, limit=2, dry_run=True)

    assert [run.id for run, _ in first.retried] == failed[:2]
    assert (first.more, first.last) == (True, failed[1])
    assert [run.id for run, _ in rest.retried] == failed[2:]
    assert rest.more is False


async def test_what_cannot_work_for_any_run_is_refused_before_anything_is_done(pile: Pile) -> None:
    failed = await pile.ended("a")
    for repeat, error in (
        (Repeat(configuration="v99"), NotFound),
        (Repeat(from_="nowhere"), InvalidRequest),
    ):
        with pytest.raises(error):
            await pile.service.retry_many(RetryFilter(), repeat, by=OPERATOR)
    assert (await pile.repository.get(failed)).status is RunStatus.FAILED


async def test_a_stage_that_was_passed_over_does_not_keep_a_retry_from_starting_behind_it(pile: Pile) -> None:
    await pile.database.narrow.run(Statement("UPDATE processing_stages SET required = FALSE WHERE id = 'extract'"))
    failed = await pile.ended("a", stage="deliver")

    view = await pile.service.retry(failed, by=OPERATOR, from_="deliver")

    assert (view.run.status, view.run.stage_id) == (RunStatus.QUEUED, "deliver")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (RetryFilter(code="parked.reveiw"), "no such reason code.*parked.review"),
        (RetryFilter(stage_id="reed"), "no such stage.*Did you mean 'read'.*read, extract, deliver"),
        (RetryFilter(module_id="extract-modul"), "no such module.*Did you mean 'extract-module'.*read-module"),
    ],
)
async def test_a_filter_that_nothing_can_match_is_refused_without_repeating_it(
    pile: Pile, wanted: RetryFilter, said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said) as refused:
        await pile.service.retry_many(wanted, Repeat(), by=OPERATOR, dry_run=True)
    assert f"{wanted.code or wanted.stage_id or wanted.module_id} " not in f"{refused.value} "


async def test_a_list_of_runs_by_an_unknown_reason_is_refused(pile: Pile) -> None:
    with pytest.raises(InvalidRequest, match="no such reason code"):
        await pile.service.list(RunFilter(why_code="failed.nope"))
