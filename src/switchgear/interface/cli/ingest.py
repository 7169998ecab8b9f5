"""`switchgear ingest` and `switchgear watch`: documents in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from switchgear.interface.cli.client import Api, connect
from switchgear.interface.cli.document_files import find_documents
from switchgear.interface.cli.errors import CommandFailed, Exit, ProblemAnswer, WrongUse
from switchgear.interface.cli.output import (
    AsJson,
    Bar,
    print_json,
    print_json_line,
    printable,
    problem_lines,
    progress,
    say,
    short_name,
    show,
    show_table,
)
from switchgear.interface.cli.runs import status_words

if TYPE_CHECKING:
    from switchgear.ingestion.sources.folder import Taken

app = typer.Typer()

#: Uploads under way at once.
_UPLOADS: Final = 4
_POLL_S: Final = 30
_ENDED: Final = frozenset({"succeeded", "failed", "parked", "cancelled"})
#: The worst one decides the exit code of `ingest --wait`.
_EXITS: Final = {"failed": Exit.FAILED, "cancelled": Exit.FAILED, "parked": Exit.ON_HOLD}
#: What to do when the server went away half-way, by whether `--again` was given.
_COMPLETIONS: Final = {
    False: (
        "Every document with a run was accepted. Send the same again when the server answers: that completes it, "
        "because documents that are known are not doubled."
    ),
    True: (
        "Every document with a run was accepted. Send only the rest again when the server answers: with --again those "
        "with a run would get another run."
    ),
}


@app.command("ingest", epilog="Example: switchgear ingest invoices/ letter.pdf --wait")
def ingest(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, or folders with what is in them.")],
    wait: Annotated[bool, typer.Option("--wait", help="Stay until all have ended.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Make a new run of documents that are known already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send documents. With --wait the exit code is 0 succeeded, 1 failed, 3 on hold.

    Of a folder, hidden files and folders (names that begin with a dot), linked folders, pipes and the like are left out
    and named; what is hidden or linked is sent when it is named itself. A folder that cannot be read is a failure.
    """
    found = find_documents(paths)
    with connect(carry_runs=wait) as api:
        sent = send_files(api, found.files, again=again, is_patient=wait or not api.in_process)
        sent += [_unread(folder, reason) for folder, reason in found.unreadable]
        accepted = [answer for answer in sent if "run" in answer]
        cut = _first_unanswered(sent)
        if wait and accepted:
            cut = _wait(api, accepted) or cut
        _report(sent, again=again, as_json=as_json)
        if cut is None or not as_json:  # a failure in JSON stands alone on stderr
            for sentence in found.sentences():
                say(sentence)
        if cut is not None:
            raise _with_completion(cut, sent, again=again)
        if api.in_process and not wait and accepted:
            say("They are stored and wait: no server of this instance runs. `switchgear serve` starts one.")
    code = exit_code(sent, [answer["run"] for answer in accepted], waited=wait)
    if code:
        raise typer.Exit(code)


def _unread(path: Path, reason: str | None) -> dict[str, Any]:
    return {"file": str(path), "problem": {"detail": f"{path} cannot be read: {reason}."}}


def _first_unanswered(sent: Sequence[dict[str, Any]]) -> CommandFailed | None:
    """Return why the first file without an answer has none."""
    reasons = (answer["problem"]["detail"] for answer in sent if _is_unanswered(answer))
    return next(map(CommandFailed, reasons), None)


def _is_unanswered(answer: dict[str, Any]) -> bool:
    return answer.get("answered") is False


def _wait(api: Api, accepted: Sequence[dict[str, Any]]) -> CommandFailed | None:
    """Wait for the runs; return what cut that short. Those that ended until then are in the answers."""
    with progress("running", len(accepted)) as bar:
        try:
            api.run(wait_for_runs(api, accepted, bar))
        except CommandFailed as cut:
            return cut
    return None


def _with_completion(cut: CommandFailed, sent: Sequence[dict[str, Any]], *, again: bool) -> CommandFailed:
    """Return *cut* with what came of the files, and how the rest is made up for."""
    missing = sum(map(_is_unanswered, sent))
    counted = f" {missing} of {len(sent)} files got no answer." if missing else ""
    message = f"{cut.message}{counted} {_COMPLETIONS[again]}"
    if isinstance(cut, ProblemAnswer):
        return ProblemAnswer(cut.status, {**(cut.problem or {}), "detail": message})
    return CommandFailed(message)


def send_files(
    api: Api, files: Sequence[Path], *, again: bool = False, is_patient: bool = True
) -> list[dict[str, Any]]:
    """Send *files*, a few at once; each answer has `file`, and either `document` and `run` or `problem`.

    A file that got no answer has `answered`, which is false: the server may have it. While the queue is full a patient
    sender waits as long as the server says.

    Raises:
        CommandFailed: No file got an answer.
    """
    with progress("sending", len(files)) as bar:
        return api.run(_send_all(api, files, again, bar, is_patient))


async def _send_all(api: Api, files: Sequence[Path], again: bool, bar: Bar, is_patient: bool) -> list[dict[str, Any]]:
    free = asyncio.Semaphore(_UPLOADS)
    unanswered: list[CommandFailed] = []

    async def send(path: Path) -> dict[str, Any]:
        async with free:
            try:
                answer = await _send_in_time(api, path, again, bar, is_patient)
            except ProblemAnswer as refused:
                answer = {"problem": dict(refused.problem or {})}
            except CommandFailed as failed:
                unanswered.append(failed)
                answer = {"problem": {"detail": failed.message}, "answered": False}
            except OSError as error:
                answer = _unread(path, error.strerror)
            bar.advance(path.name)
            return {"file": str(path), **answer}

    answers = list(await asyncio.gather(*(send(path) for path in files)))
    if unanswered and len(unanswered) == len(files):
        raise unanswered[0]
    return answers


async def _send_in_time(api: Api, path: Path, again: bool, bar: Bar, is_patient: bool) -> dict[str, Any]:
    while True:
        try:
            return dict(await api.upload(path, again=again))
        except ProblemAnswer as refused:
            if refused.code != "waiting.backpressure" or not is_patient:
                raise
            bar.note(f"the queue is full; going on in {refused.retry_after_s:.0f} s")
            await asyncio.sleep(refused.retry_after_s)


async def wait_for_runs(api: Api, accepted: Sequence[dict[str, Any]], bar: Bar) -> list[dict[str, Any]]:
    """Wait until every run has ended or is on hold; return them as they then are, which *accepted* has from then on."""
    for answer in accepted:
        while answer["run"]["status"] not in _ENDED:
            answer["run"] = (await api.send("GET", f"/runs/{answer['run']['id']}", params={"wait": _POLL_S})).json()
        bar.advance(answer["run"]["document_name"])
    return [answer["run"] for answer in accepted]


def exit_code(sent: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]], *, waited: bool) -> int:
    """Return the code for what came out: failed before on hold before done."""
    codes = {Exit.FAILED for answer in sent if "problem" in answer}
    if waited:
        codes |= {_EXITS.get(run["status"], Exit.DONE) for run in runs}
    return Exit.FAILED if Exit.FAILED in codes else max(codes, default=Exit.DONE)


def _report(sent: Sequence[dict[str, Any]], *, again: bool, as_json: bool) -> None:
    if as_json:
        print_json(sent)
        return
    rows = [_row(answer, again) for answer in sent if "run" in answer]
    show_table(("document", "run", "status", "why"), rows, empty="Nothing was accepted.")
    for answer in sent:
        if "problem" in answer and not _is_unanswered(answer):
            lines = problem_lines(answer["problem"])
            say(f"{printable(answer['file'])}: {lines[0]}")
            for line in lines[1:]:
                say(line)


def _row(answer: dict[str, Any], again: bool) -> tuple[object, ...]:
    run, known = answer["run"], ""
    if answer.get("duplicate_of"):
        document = answer["document"]["id"]
        known = f"known as {document}, new run " if again else f"already known: {document}, last run "
    summary = (run.get("why") or {}).get("summary")
    return short_name(Path(answer["file"]).name), run["id"], known + status_words(run), summary


@app.command("watch", epilog="Example: switchgear watch inbox/")
def watch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder; its files are moved.")],
    done: Annotated[Path | None, typer.Option(help="Where accepted files go.")] = None,
    failed: Annotated[Path | None, typer.Option(help="Where refused files go.")] = None,
    once: Annotated[bool, typer.Option("--once", help="End when the folder is empty.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send what is put into a folder, until stopped. A file is taken when its size is stable for two seconds.

    Folders inside it are left alone, and so are hidden files (names that begin with a dot) and those whose names say
    that they are still being written: .part, .tmp, .crdownload, .filepart. Links and pipes are named and stay.
    """
    if not folder.is_dir():
        raise WrongUse(f"{folder} is no folder. Make it first.")
    from switchgear.interface.cli.folder_watch import LOOK_S, FolderWatch

    with connect(carry_runs=True) as api:
        watched = FolderWatch(api, folder, done, failed)
        say(f"Watching {folder}. Accepted files go to {watched.done}, refused ones to {watched.failed}. Ctrl-C ends.")
        while True:
            try:
                for taken in watched.look():
                    _show_taken(taken, as_json=as_json)
            except CommandFailed as error:
                say(f"{error.message} The files stay and are tried again.")
            if once and watched.is_empty():
                return
            api.run(asyncio.sleep(LOOK_S))


def _show_taken(taken: Taken, *, as_json: bool) -> None:
    name, accepted = printable(taken.path.name), taken.accepted
    if as_json:
        refusal = taken.refusal.message if taken.refusal else None
        ids = {"document": accepted.document.id, "run": accepted.run.id} if accepted else {}
        print_json_line({"file": str(taken.path), **ids, "refused": refusal})
    elif accepted is None:
        say(f"{name}: refused. {taken.refusal.message if taken.refusal else ''}")
    else:
        word = "already known" if accepted.duplicate else "accepted"
        show(f"{name}: {word}, {accepted.document.id}, run {accepted.run.id}")
        sys.stdout.flush()
