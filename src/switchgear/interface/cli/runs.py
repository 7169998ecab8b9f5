"""`switchgear runs`: documents on their way, why they took it, and what can be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from switchgear.interface.cli.client import Api, connect
from switchgear.interface.cli.errors import WrongUse
from switchgear.interface.cli.output import (
    AsJson,
    Message,
    moment,
    print_json,
    printable,
    say,
    short_name,
    show,
    show_fields,
    show_table,
    show_why,
    state_word,
)

app = typer.Typer()

Run = Annotated[str, typer.Argument(metavar="RUN", help="Its id.")]
#: Runs that one request retries; each is a transaction of its own.
_AT_ONCE: Final = 200
#: Outcomes that need no explanation.
_FINE: Final = frozenset({"succeeded", "not_applicable", "skipped"})
#: An outcome in words: "read-pdfium ..."
_OUTCOMES: Final[Mapping[str, str]] = {
    "succeeded": "succeeded",
    "not_applicable": "had nothing to do",
    "skipped": "was skipped",
    "error": "raised an error",
    "timeout": "did not answer in time",
    "crash": "crashed",
    "contract_violation": "broke its contract",
    "breaker_open": "was left alone, because its breaker is open",
    "unavailable": "was not available",
    "low_confidence": "was not sure enough",
    "bad_input": "rejected the document",
    "lost": "was lost with its worker",
    "cancelled": "was cancelled",
}


@app.command("list", epilog="Example: switchgear runs list --status parked")
def list_runs(
    status: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed, parked, cancelled.")] = None,
    document: Annotated[str | None, typer.Option(metavar="DOCUMENT", help="Only runs of this document.")] = None,
    degraded: Annotated[bool, typer.Option("--degraded", help="Only runs in which a fallback served.")] = False,
    code: Annotated[str | None, typer.Option(help="Only runs with this reason code.")] = None,
    held: Annotated[str | None, typer.Option("--version", help="Only runs that hold this version, such as v3.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    wanted = "parked" if status == "on hold" else status
    with connect() as api:
        runs = api.newest(
            "/runs",
            limit,
            status=wanted,
            document_id=document,
            degraded=degraded or None,
            code=code,
            configuration=held,
        )
    if as_json:
        print_json(runs)
        return
    show_table(
        ("run", "document", "status", "stage", "version", "accepted", "why"),
        [
            (
                run["id"],
                short_name(run["document_name"]),
                status_words(run),
                run.get("stage_id"),
                f"v{run['configuration_version']}" if run.get("configuration_version") else "",
                moment(run["accepted_at"]),
                (run.get("why") or {}).get("summary"),
            )
            for run in runs
        ],
    )


def status_words(run: Mapping[str, Any]) -> str:
    """Return a run's status for people: `succeeded, degraded`.

    What a person rejected is `rejected`: it went through the pipeline, but nobody calls that a success.
    """
    words = [state_word(run["status"])]
    if run.get("degraded"):
        words.append("degraded")
    if (run.get("decision") or {}).get("action") == "reject":
        words = [*([] if run["status"] == "succeeded" else words), "rejected"]
    return ", ".join(words)


@app.command("show", epilog="Example: switchgear runs show run_01...")
def show_run(run_id: Run, as_json: AsJson = False) -> None:
    """Show one run with every attempt."""
    with connect() as api:
        run = api.get(f"/runs/{run_id}")
    if as_json:
        print_json(run)
        return
    show_fields(
        {
            "run": run["id"],
            "document": f"{run['document_id']} {run['document_name']}",
            "status": status_words(run),
            "stage": run.get("stage_id"),
            "configuration": f"v{run['configuration_version']}" if run.get("configuration_version") else None,
            "accepted": moment(run["accepted_at"]),
            "started": moment(run.get("started_at")),
            "ended": moment(run.get("ended_at")),
            "retry of": run.get("retry_of"),
            "workers lost": run.get("losses"),
            "decision": decided(run.get("decision")),
        }
    )
    show_why(run.get("why"))
    show()
    show_table(
        ("stage", "module", "try", "outcome", "detail", "took"),
        [
            (
                attempt["stage_id"],
                f"{attempt['module_id'] or ''} {attempt.get('module_version') or ''}".strip(),
                attempt["try_number"],
                attempt["outcome"],
                attempt["detail"],
                milliseconds(attempt["duration_us"]),
            )
            for attempt in run["attempts"]
        ],
        empty="No attempt yet.",
    )


def decided(decision: Mapping[str, Any] | None) -> str | None:
    """Return what a person decided, in words; None when nobody did."""
    if decision is None:
        return None
    verb = "rejected" if decision["action"] == "reject" else "released"
    return f"{verb} by {decision['actor']}: {decision['message']}"


def milliseconds(microseconds: int) -> str:
    """Return a duration with its unit."""
    return f"{microseconds / 1000:.1f} ms"


@app.command("why", epilog="Example: switchgear runs why run_01...")
def why(run_id: Run, as_json: AsJson = False) -> None:
    """Say stage by stage which module served, what was wanted, and why that was not used."""
    with connect() as api:
        run = api.get(f"/runs/{run_id}")
    if as_json:
        keys = ("id", "status", "degraded", "configuration_version", "why", "stages", "attempts")
        print_json({key: run.get(key) for key in keys})
        return
    version = f" on v{run['configuration_version']}" if run.get("configuration_version") else ""
    show(f"{printable(run['document_name'])}: {status_words(run)}{version}")
    show_why(run.get("why"))
    for line in decision_lines(run):
        show(line)


def decision_lines(run: Mapping[str, Any]) -> Iterator[str]:
    """Yield the decision of each stage: a sentence, the attempts that failed, and the rules that did not match."""
    served = {stage["stage_id"]: stage for stage in run["stages"]}
    ended_at = [run["stage_id"]] if run.get("stage_id") and run["status"] in ("failed", "parked") else []
    stage_ids = dict.fromkeys([*(attempt["stage_id"] for attempt in run["attempts"]), *served, *ended_at])
    for stage_id in stage_ids:
        attempts = [attempt for attempt in run["attempts"] if attempt["stage_id"] == stage_id]
        yield f"  {stage_id}: {_sentence(served.get(stage_id), attempts, run)}"
        for attempt in attempts:
            if attempt["outcome"] == "succeeded":
                yield from (f"    {printable(note)}" for note in (attempt.get("message") or "").splitlines())
            if attempt["outcome"] in _FINE:
                continue
            yield f"    {_attempt_line(attempt)}"
            for rule in attempt.get("rules_not_matched") or ():
                yield f"    rule not matched: {rule_text(rule)}, and not on {printable(attempt['outcome'])}"
        decision = run.get("decision") or {}
        if stage_id in served and decision.get("stage_id") == stage_id:
            verb = "rejected" if decision["action"] == "reject" else "released"
            yield f"    {printable(decision['actor'])} {verb} it: {printable(decision['message'])}"


def _sentence(stage: Mapping[str, Any] | None, attempts: list[Mapping[str, Any]], run: Mapping[str, Any]) -> str:
    if stage is None:
        tried = [attempt["module_id"] for attempt in attempts if attempt["module_id"]]
        last = f"; last tried {printable(tried[-1])}" if tried else "" if attempts else "; no module was called"
        if run["status"] == "parked":
            return f"on hold here{last}"
        return f"nobody has served it{last}"
    module = printable(stage["module_id"])
    if stage["outcome"] == "not_applicable":
        reason = printable(attempts[-1].get("message")) if attempts else ""
        return f"not applicable to this document{f': {reason}' if reason else ''}"
    if stage["outcome"] == "skipped":
        return "skipped, as its policy says"
    if stage.get("degraded"):
        why = stage.get("why") or {}
        facts = why.get("facts") or {}
        reason = f", which {_outcome(facts)}" if facts.get("outcome") else f". {printable(why.get('summary'))}"
        return f"{module} served; wanted {printable(stage['wanted_module_id'])}{reason}".rstrip()
    return f"{module} served, as selected" if module else "served"


def _outcome(what: Mapping[str, Any]) -> str:
    """An attempt's or fallback's outcome in words, with its detail."""
    detail = f" ({printable(what['detail'])})" if what.get("detail") else ""
    return f"{_OUTCOMES.get(what['outcome'], printable(what['outcome']))}{detail}"


def _attempt_line(attempt: Mapping[str, Any]) -> str:
    took = f" after {milliseconds(attempt['duration_us'])}" if attempt["duration_us"] else ""
    message = f": {printable(attempt['message'])}" if attempt.get("message") else ""
    who = printable(attempt["module_id"]) if attempt["module_id"] else "an attempt"  # of a worker that told no more
    return f"{who} {_outcome(attempt)}{took}{message}"


def rule_text(rule: Any) -> str:
    """Return a rule of a fallback policy that did not match, in one line."""
    if not isinstance(rule, Mapping):
        return printable(rule)
    below = f" below {rule['threshold']}" if rule.get("threshold") is not None else ""
    outcomes = ", ".join(f"{name}{below if name == 'low_confidence' else ''}" for name in rule.get("on") or ())
    return printable(f"{rule.get('module_id')} serves on {outcomes}")


@app.command("retry", epilog='Example: switchgear runs retry --parked --code parked.nothing_available -m "OCR is back"')
def retry(
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Its id; absent with a filter.")] = None,
    parked: Annotated[bool, typer.Option("--parked", help="All runs on hold.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="All runs that failed.")] = False,
    degraded: Annotated[bool, typer.Option("--degraded", help="All in which a fallback served.")] = False,
    code: Annotated[str | None, typer.Option(help="Those with this reason code.")] = None,
    stage: Annotated[str | None, typer.Option(help="Those that stopped, or were served so, at this stage.")] = None,
    module: Annotated[str | None, typer.Option(help="Those for which this module was tried, or served, there.")] = None,
    held: Annotated[str | None, typer.Option("--version", help="Those that hold this version, such as v3.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Those accepted at this local time or later.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Those accepted before this local time.")] = None,
    configuration: Annotated[str, typer.Option(help="original, active, or a version such as v3.")] = "original",
    from_stage: Annotated[str, typer.Option("--from", help="failed, start, or a stage.")] = "failed",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With a filter: only say what would happen.")] = False,
    message: Message = "",
    as_json: AsJson = False,
) -> None:
    """Run a document again, or all that match: on the version held, on the active one, or on a named one.

    Reviews are left out, because a retry decides nothing, unless --code parked.review names them: they go to their
    stage again, and what still needs a person is on hold again. What was kept while its target was away is delivered
    by --degraded --stage deliver --from deliver.
    """
    body = {"configuration": configuration, "from": from_stage, "message": message}
    status = {"status": "parked"} if parked else {"status": "failed"} if failed else {}
    places = {"degraded": degraded or None, "stage_id": stage, "module_id": module}
    wanted = {**places, "code": code, "configuration": held}
    times = {"since": _with_offset(since), "until": _with_offset(until)}
    given = {**status, **{name: value for name, value in (wanted | times).items() if value is not None}}
    is_filtered = bool(given or parked or failed)
    if is_filtered == (run_id is not None):
        raise WrongUse("Name one run, or say which ones by --parked, --failed or another filter, but not both.")
    if dry_run and not is_filtered:
        raise WrongUse("--dry-run goes with a filter; `switchgear runs why RUN` explains one run.")
    with connect() as api:
        if run_id is not None:
            _show_answer(api.post(f"/runs/{run_id}/retry", body), as_json=as_json)
            return
        both = parked and failed
        asked = {**body, "filter": {name: given[name] for name in given if not (both and name == "status")}}
        answers = list(_retry_many(api, {**asked, "dry_run": dry_run}))
    _show_many(answers, dry_run=dry_run, as_json=as_json)


def _with_offset(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone().isoformat()


def _retry_many(api: Api, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Ask until none is left; each request is short enough to be answered in time."""
    after: str | None = None
    while True:
        wanted = body["filter"] | ({"after": after} if after else {})
        answer = api.post("/runs/retry", {**body, "filter": wanted, "limit": _AT_ONCE})
        yield answer
        after = answer["last"]
        if not answer["more"]:
            return


def _show_many(answers: list[dict[str, Any]], *, dry_run: bool, as_json: bool) -> None:
    retried = [run for answer in answers for run in answer["retried"]]
    skipped = [run for answer in answers for run in answer["skipped"]]
    if as_json:
        print_json({"dry_run": dry_run, "retried": retried, "skipped": skipped})
        return
    show_table(
        ("run", "document", "was", "stage", "reason", "retried as"),
        [
            (
                run["id"],
                short_name(run["document_name"]),
                run["status"],
                run["stage_id"],
                run["code"],
                run["retried_as"],
            )
            for run in retried
        ],
        empty="No run is retried.",
    )
    for run in skipped:
        show(f"not {run['id']} ({printable(run['document_name'])}): {printable(run['reason'])}")
    verb = "would be retried" if dry_run else "retried"
    say(f"{len(retried)} {verb}, {len(skipped)} left as they are.")


@app.command("cancel", epilog='Example: switchgear runs cancel run_01... -m "Sent by mistake"')
def cancel(run_id: Run, message: Message = "", as_json: AsJson = False) -> None:
    """Cancel a run; a running one stops at its next checkpoint."""
    with connect() as api:
        run = api.post(f"/runs/{run_id}/cancel", {"message": message})
    _show_answer(run, as_json=as_json)


def _show_answer(run: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(run)
        return
    show(f"{run['id']}: {status_words(run)}")
    show_why(run.get("why"))
