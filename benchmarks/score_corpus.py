"""Score the modules against a corpus of documents with ground truth.

    python benchmarks/score_corpus.py --corpus ../shared/corpus --scorer ../shared/tools/score_invoices.py [ROUTE ...]

Modules are called in this process, stage after stage, without the engine. A route is a set of documents and the
stages they go through; `text` routes ignore the XML inside a PDF. Prints the scorer's table for each route and one
line per route at the end.
"""

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from switchgear.invoice.types import InvoiceFields
from switchgear.sdk import InputRejected, Module, NotApplicable, Unavailable
from switchgear.sdk.testing import FakeContext
from switchgear.sdk.values import Blob

OUTPUTS = {"classify": "kind", "read": "pages", "tabulate": "cells", "ocr": "scanned", "parse": "structured",
           "extract": "candidate", "reconcile": "invoice"}  # fmt: skip


@dataclass(frozen=True)
class Route:
    """A set of documents, the stages they go through, and whether only what a page shows is scored."""

    folder: str
    stages: tuple[str, ...]
    visible: bool = False


XML = ("classify", "parse", "reconcile")
TEXT = ("classify", "read", "extract", "reconcile")
ROUTES = {
    "xml": Route("en16931-xml", XML),
    "xrechnung": Route("xrechnung-testsuite", XML),
    "fatturapa": Route("fatturapa", XML),
    "hybrid": Route("zugferd-pdf", XML),
    "hybrid-text": Route("zugferd-pdf", TEXT, visible=True),
    "text": Route("invoice2data-pdf", TEXT),
    "scans": Route("scans", ("classify", "read", "ocr", "extract", "reconcile")),
    "sheets": Route("sheets", ("classify", "tabulate", "extract", "reconcile")),
}
DEFAULTS = {"classify": "classify-magic", "read": "read-pdfium", "tabulate": "tabulate-calamine",
            "ocr": "ocr-tesseract", "parse": "parse-einvoice", "extract": "extract-layout",
            "reconcile": "reconcile-arithmetic"}  # fmt: skip


class Modules:
    """The selected module of each stage, opened once."""

    def __init__(self, selected: Mapping[str, str]) -> None:
        self._selected = selected
        self._opened: dict[str, Module] = {}

    def run(self, stage: str, values: Mapping[str, Any]) -> Any:
        """Call the stage's module with what it asks for; None when it does not concern the document."""
        module = self._module(stage)
        inputs = {name: values.get(name) for name in module.spec.inputs}
        if any(value is None and not module.spec.inputs[name].optional for name, value in inputs.items()):
            return None
        extra = {"ctx": FakeContext(timeout_s=300)} if module.spec.wants_context else {}
        try:
            return module.run(**inputs, **extra)  # type: ignore[attr-defined]
        except NotApplicable:
            return None

    def _module(self, stage: str) -> Module:
        if stage not in self._opened:
            (entry,) = importlib.metadata.entry_points(group="switchgear.modules", name=self._selected[stage])
            kind: type[Module] = entry.load()
            module = kind()
            module.settings = kind.Settings()
            kind.probe(module.settings)
            module.open(FakeContext())
            self._opened[stage] = module
        return self._opened[stage]


def flat(fields: InvoiceFields) -> dict[str, Any]:
    """Name the fields as the scorer does."""
    facts = {
        "supplier_name": fields.seller.name,
        "invoice_number": fields.number,
        "issue_date": fields.issue_date,
        "due_date": fields.due_date,
        "currency": fields.currency,
        "net_total": fields.totals.net,
        "tax_total": fields.totals.tax,
        "gross_total": fields.totals.gross,
        "supplier_vat_id": fields.seller.vat_id,
        "iban": fields.payment.iban,
    }
    return {name: str(fact.value) for name, fact in facts.items() if fact} | {"line_count": len(fields.lines)}


def predict(path: Path, route: Route, modules: Modules) -> dict[str, Any]:
    """Send one document through the route's stages."""
    started = time.perf_counter()
    values: dict[str, Any] = {"blob": Blob.from_bytes(path.read_bytes())}
    row: dict[str, Any] = {"doc": path.name, "fields": {}}
    try:
        for stage in route.stages:
            values[OUTPUTS[stage]] = modules.run(stage, values)
        found = values.get("invoice")
        if found is None:
            row["error"] = "no input"
        else:
            row["fields"] = flat(found)
    except InputRejected as error:
        row["error"] = f"{error.reason_code}: {error.message}"
    except Exception as error:  # a failing module is a result here
        row["error"] = f"{type(error).__name__}: {error}"
    return row | {"seconds": round(time.perf_counter() - started, 4)}


def score(name: str, route: Route, arguments: argparse.Namespace, modules: Modules) -> str:
    """Write the predictions of one route, print the scorer's table, and return its last line."""
    folder = arguments.corpus / route.folder
    rows = [predict(path, route, modules) for path in sorted((folder / "docs").iterdir())]
    target = arguments.out / f"{name}.json"
    target.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    command = [sys.executable, str(arguments.scorer), str(target), str(folder / "truth")]
    command += ["--errors", str(arguments.errors)]
    if route.visible:
        command += ["--visible", str(folder / "visible.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(f"== {name}: {route.folder}, {' > '.join(route.stages)}\n{done.stdout}")
    for row in rows:
        if "error" in row:
            print(f"  failed | {row['doc']} | {row['error'][:160]}")
    return next(line for line in done.stdout.splitlines() if line.startswith("ALL"))


def main() -> int:
    """Read the arguments and score every route."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("routes", nargs="*", default=list(ROUTES), help=f"of {', '.join(ROUTES)}; all by default")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--scorer", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=None, help="folder for the predictions")
    parser.add_argument("--errors", type=int, default=20, help="wrong fields to list for each route")
    for stage, module in DEFAULTS.items():
        parser.add_argument(f"--{stage}", default=module, metavar="MODULE")
    arguments = parser.parse_args()
    arguments.out = arguments.out or Path(tempfile.mkdtemp(prefix="switchgear-score-"))
    arguments.out.mkdir(parents=True, exist_ok=True)
    modules = Modules({stage: getattr(arguments, stage) for stage in DEFAULTS})
    lines = {}
    for name in arguments.routes:
        try:
            lines[name] = score(name, ROUTES[name], arguments, modules)
        except Unavailable as error:
            lines[name] = f"unavailable: {error.message} {error.fix or ''}"
    print("\n".join(f"{name:12} {line}" for name, line in lines.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
