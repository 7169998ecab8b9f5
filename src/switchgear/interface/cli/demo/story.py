"""What the demo shows, step by step; every step says the command that does the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from switchgear.interface.cli import config_changes
from switchgear.interface.cli.activations import describe
from switchgear.interface.cli.client import Api
from switchgear.interface.cli.demo.sample_documents import write_long_document, write_samples
from switchgear.interface.cli.errors import CommandFailed, ProblemAnswer
from switchgear.interface.cli.ingest import send_files, wait_for_runs
from switchgear.interface.cli.output import printable, progress, table_lines
from switchgear.interface.cli.runs import decision_lines, status_words

_STAGE: Final = "read"
_FIRST: Final = "read-pdfium"
_SECOND: Final = "read-pdfplumber"
#: The one that is read again and again.
_DOCUMENT: Final = "hybrid-factur-x.pdf"
#: Less than any PDF needs, in seconds: the module is stopped at its deadline, really.
_TOO_SHORT_S: Final = 0.001
_LOOK_S: Final = 0.1
_ENDS_S: Final = 120.0


class Story:
    """The steps, each with what came out; *tell* prints a line."""

    def __init__(self, api: Api, folder: Path, tell: Callable[[str], None]) -> None:
        self._api = api
        self._folder = folder
        self._tell = tell
        self._samples: list[Path] = []

    def tell_all(self) -> dict[str, Any]:
        """Show everything and return what was seen, for `--json`."""
        began = time.monotonic()
        told: dict[str, Any] = {"invoices": self.invoices()}
        told["failure"] = self.failure()
        told["drain"] = self.swap()
        told["rollback"] = self.rollback()
        told["audit"] = self.audit()
        told["seconds"] = round(time.monotonic() - began, 1)
        return told

    def invoices(self) -> list[dict[str, Any]]:
        """Bundled documents through the real pipeline."""
        self._samples = write_samples(self._folder / "samples")
        self._head(1, f"{len(self._samples)} documents through the pipeline", "switchgear ingest samples/ --wait")
        rows = []
        for run in self._through(self._samples):
            invoice = self._invoice(run["document_id"])
            rows.append({"document": run["document_name"], "status": status_words(run), **invoice_row(invoice)})
        names = ("document", "seller", "number", "date", "total", "status")
        show_rows(self._tell, names, [[row[name] for name in names] for row in rows])
        return rows

    def failure(self) -> dict[str, Any]:
        """A module that fails, its fallback, and why."""
        change = f"{_STAGE}.limits.timeout_s={_TOO_SHORT_S}"
        self._head(
            2,
            f"{_FIRST} is made to fail: it gets {_TOO_SHORT_S * 1000:.0f} ms for each document",
            f'switchgear config set {change} -m "No time for the reader" --activate',
        )
        self._follow(self._request([change], "No time for the reader"))
        (run,) = self._through([self._folder / "samples" / _DOCUMENT], again=True)
        self._tell(f"$ switchgear runs why {run['id']}")
        self._tell(f"{printable(run['document_name'])}: {status_words(run)} on v{run['configuration_version']}")
        shown = {**run, "stages": [one for one in run["stages"] if one["degraded"]]}
        shown["attempts"] = [one for one in run["attempts"] if one["stage_id"] == _STAGE]
        lines = list(decision_lines(shown))
        for line in lines:
            self._tell(line)
        return {"run": run["id"], "status": run["status"], "degraded": run["degraded"], "why": lines}

    def swap(self) -> dict[str, Any]:
        """Another module is selected while a long document is running: the switch waits, new documents wait for it."""
        self._head(
            3,
            f"{_SECOND} is selected while a long document is running",
            f'switchgear config set {_STAGE}={_SECOND} -m "The slower reader works" --activate',
        )
        long = write_long_document(self._folder / "samples")
        (sent,) = send_files(self._api, [long])
        self._until(lambda: self._run(sent)["status"] != "queued", "the long document to start")
        activation = self._request([f"{_STAGE}={_SECOND}"], "The slower reader works")
        self._until(lambda: self._activation(activation)["state"] not in ("queued", "warming"), "the drain")
        waiting = send_files(self._api, self._samples[:2], again=True)
        self._tell("$ switchgear activations watch")
        seen = self._follow(activation)
        ended = self._api.run(wait_for_runs(self._api, [sent, *waiting], _Quiet()))
        rows = [(run["document_name"], f"v{run['configuration_version']}", status_words(run)) for run in ended]
        show_rows(self._tell, ("document", "ran on", "status"), rows)
        return {"seen": seen, "runs": [{"document": name, "version": version} for name, version, _ in rows]}

    def rollback(self) -> dict[str, Any]:
        """Back to the first version."""
        self._head(4, "Back to the first version", 'switchgear config rollback v1 -m "End of the demo"')
        activation = self._api.post("/configurations/v1/rollback", {"message": "End of the demo"})
        seen = self._follow(activation["id"])
        (run,) = self._through([self._folder / "samples" / _DOCUMENT], again=True)
        served = next((one["module_id"] for one in run["stages"] if one["stage_id"] == _STAGE), None)
        self._tell(f"{printable(run['document_name'])}: {status_words(run)}, read by {served} again")
        return {"seen": seen, "served_by": served}

    def audit(self) -> dict[str, Any]:
        """Who did all that; and whether the trail is whole."""
        self._head(5, "Who did what, when and why", "switchgear audit list && switchgear audit verify")
        events = self._api.list("/audit", action="configuration.activated", limit=10)[::-1]
        rows = [(event["actor"], event["action"], event["message"]) for event in events]
        show_rows(self._tell, ("who", "action", "message"), rows)
        found: dict[str, Any] = self._api.get("/audit/verify")
        self._tell(f"The audit trail is {'whole' if found['ok'] else 'NOT whole'}: {found['checked']} events.")
        return found

    # --- what the steps are made of ---

    def _head(self, number: int, title: str, command: str) -> None:
        self._tell("")
        self._tell(f"{number}. {title}")
        self._tell(f"$ {command}")

    def _through(self, paths: Sequence[Path], *, again: bool = False) -> list[dict[str, Any]]:
        sent = send_files(self._api, paths, again=again)
        refused = [one for one in sent if "problem" in one]
        if refused:
            raise CommandFailed(f"{refused[0]['file']} was refused.", problem=refused[0]["problem"])
        with progress("running", len(sent)) as bar:
            summaries = self._api.run(wait_for_runs(self._api, sent, bar))
        return [self._api.get(f"/runs/{one['id']}") for one in summaries]

    def _set(self, changes: Sequence[str], message: str) -> str:
        active = self._api.get("/configurations/active")
        change = config_changes.apply(
            active,
            config_changes.parse(changes),
            lambda _: {},
            lambda stage_id: self._api.get(f"/stages/{stage_id}")["chain_is_ordered"],
        )
        for note in change.notes:
            self._tell(note)
        body: dict[str, Any] = {"base": active["id"], "selections": change.selections, "message": message}
        if change.fallback_policies:
            body["fallback_policies"] = change.fallback_policies
        return str(self._api.post("/configurations", body)["id"])

    def _request(self, changes: Sequence[str], message: str) -> str:
        body = {"message": message, "accept_degraded": True}
        return str(self._api.post(f"/configurations/{self._set(changes, message)}/activate", body)["id"])

    def _follow(self, activation_id: str) -> list[str]:
        seen: list[str] = []
        while True:
            activation = self._activation(activation_id)
            line = describe(activation)
            if line not in seen[-1:]:
                seen.append(line)
                self._tell(line)
            if not activation["is_pending"]:
                break
            time.sleep(_LOOK_S)
        if activation["state"] != "applied":
            raise CommandFailed(str((activation.get("why") or {}).get("summary") or line))
        return seen

    def _activation(self, activation_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._api.get(f"/activations/{activation_id}")
        return answer

    def _run(self, sent: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._api.get(f"/runs/{sent['run']['id']}")
        return answer

    def _invoice(self, document_id: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._api.get(f"/documents/{document_id}/invoice")
        except ProblemAnswer:
            return {}
        return answer

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _ENDS_S
        while not holds():
            if time.monotonic() > end:
                raise CommandFailed(f"The demo waited {_ENDS_S:.0f} s for {what} in vain.")
            time.sleep(_LOOK_S)


class _Quiet:
    def advance(self, text: str) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""


def show_rows(tell: Callable[[str], None], headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table line by line."""
    for line in table_lines(headers, rows):
        tell(line)


def invoice_row(invoice: Mapping[str, Any]) -> dict[str, str]:
    """Return what the table of the demo shows of an invoice."""
    totals = invoice.get("totals") or {}
    seller = invoice.get("seller") or {}
    amount = _value(totals.get("payable")) or _value(totals.get("gross"))
    return {
        "seller": _value(seller.get("name")) or _value(seller.get("legal_name")),
        "number": _value(invoice.get("number")),
        "date": _value(invoice.get("issue_date")),
        "total": f"{amount} {_value(invoice.get('currency'))}".strip(),
    }


def _value(fact: Any) -> str:
    return printable(fact.get("value")) if isinstance(fact, Mapping) else ""
