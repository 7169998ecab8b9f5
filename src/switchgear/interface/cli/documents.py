"""`switchgear documents`: what was sent, the invoices that came out, and the end of reviews."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from switchgear.interface.cli.client import connect
from switchgear.interface.cli.errors import WrongUse
from switchgear.interface.cli.output import (
    AsJson,
    moment,
    print_json,
    printable,
    say,
    short_name,
    show,
    show_fields,
    show_table,
    show_why,
)
from switchgear.interface.cli.runs import decided, status_words

app = typer.Typer()

Document = Annotated[str, typer.Argument(metavar="DOCUMENT", help="Its id.")]
Reason = Annotated[str, typer.Option("--message", "-m", help="Why; kept in the audit trail.", show_default=False)]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write; stdout when absent.")]


@app.command("list", epilog="Example: switchgear documents list --limit 10")
def list_documents(
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50, as_json: AsJson = False
) -> None:
    """List documents, newest first."""
    with connect() as api:
        documents = api.newest("/documents", limit)
    if as_json:
        print_json(documents)
        return
    show_table(
        ("document", "name", "bytes", "received", "last run", "status"),
        [
            (
                document["id"],
                short_name(document["name"]),
                document["size_bytes"],
                moment(document["received_at"]),
                document.get("last_run_id"),
                _last_status(document),
            )
            for document in documents
        ],
    )


def _last_status(document: Mapping[str, Any]) -> str:
    if document.get("last_run_status") is None:
        return ""
    return status_words({"status": document["last_run_status"], "decision": document.get("last_run_decision")})


@app.command("show", epilog="Example: switchgear documents show doc_01...")
def show_document(document_id: Document, as_json: AsJson = False) -> None:
    """Show one document and its runs."""
    with connect() as api:
        document = api.get(f"/documents/{document_id}")
        runs = api.list("/runs", 50, document_id=document_id)
    if as_json:
        print_json({**document, "runs": runs})
        return
    show_fields(
        {
            "document": document["id"],
            "name": document["name"],
            "type": document["media_type"],
            "bytes": document["size_bytes"],
            "sha256": document["sha256"],
            "received": moment(document["received_at"]),
        }
    )
    for run in runs:
        show(f"{run['id']}: {status_words(run)}")
        if (decision := decided(run.get("decision"))) is not None:
            show(f"  {printable(decision)}")
        show_why(run.get("why"), "  ")


@app.command("get", epilog="Example: switchgear documents get doc_01... -o invoice.pdf")
def get_file(document_id: Document, output: Output = None, as_json: AsJson = False) -> None:
    """Write the original file, byte for byte."""
    with connect() as api:
        content = api.raw("GET", f"/documents/{document_id}/file").content
    _write(content, output, as_json=as_json, document_id=document_id)


@app.command("invoice", epilog="Example: switchgear documents invoice doc_01... --csv")
def invoice(
    document_id: Document,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV instead of JSON.")] = False,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Print the invoice that came out, as JSON or CSV."""
    if as_csv and as_json and output is None:
        raise WrongUse("The invoice is printed as --csv or --json; with -o the CSV goes to a file.")
    with connect() as api:
        accept = "text/csv" if as_csv else "application/json"
        response = api.raw("GET", f"/documents/{document_id}/invoice", headers={"Accept": accept})
    if accept == "application/json" and output is None:
        print_json(response.json())
        return
    _write(response.content, output, as_json=as_json, document_id=document_id)


@app.command("release", epilog='Example: switchgear documents release doc_01... -m "Checked by phone"')
def release(document_id: Document, message: Reason, as_json: AsJson = False) -> None:
    """End a review: the run goes on with what it has."""
    _decide("release", document_id, message, as_json=as_json)


@app.command("reject", epilog='Example: switchgear documents reject doc_01... -m "Not our invoice"')
def reject(document_id: Document, message: Reason, as_json: AsJson = False) -> None:
    """End a review: the run ends without a delivery and gives no result; your reason is kept."""
    _decide("reject", document_id, message, as_json=as_json)


def _decide(verb: str, document_id: str, message: str, *, as_json: bool) -> None:
    with connect() as api:
        run = api.post(f"/documents/{document_id}/{verb}", {"message": message})
    if as_json:
        print_json(run)
        return
    show(f"{run['id']}: {status_words(run)}")


def _write(content: bytes, output: Path | None, *, as_json: bool, document_id: str) -> None:
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    output.write_bytes(content)
    if as_json:
        print_json({"document": document_id, "file": str(output), "bytes": len(content)})
        return
    say(f"Wrote {len(content)} bytes to {output}.")
