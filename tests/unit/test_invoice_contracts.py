"""Each guarantee of the invoice contracts holds where it should and fails where it should."""

from typing import Any

import pytest
from pydantic import BaseModel

from switchgear.invoice import contracts
from switchgear.invoice.pipeline import PIPELINE
from switchgear.invoice.testing import cells, fact, kind, page, pages, sample_invoice, sample_verdict
from switchgear.invoice.types import (
    Candidate,
    Cell,
    Cells,
    Evidence,
    Fact,
    Finding,
    Invoice,
    InvoiceFields,
    Media,
    Pages,
    Receipt,
    Receipts,
    ReviewDecision,
    Structured,
    Syntax,
    Verdict,
    Word,
)

TEXT = pages("Invoice #A17")
SCANS = Pages(pages=(page("", 1, scan=True), page("", 2, scan=True)))
SHEET = cells({"A1": "Number", "B1": "17"})
WIDE = Pages(pages=(TEXT.pages[0].model_copy(update={"words": (Word(text="x", x0=1, top=1, x1=900, bottom=9),)}),))


def candidate(evidence: Evidence | None, source: Any = "text") -> Candidate:
    number = Fact[str](value="A17", source=source, evidence=evidence)
    return Candidate(fields=InvoiceFields(number=number), confidence=1)


def structured(fields: InvoiceFields) -> Structured:
    return Structured(syntax=Syntax.CII, fields=fields)


def verdict(**changes: Any) -> Verdict:
    return Verdict.model_validate({**sample_verdict().model_dump(), **changes})


def copied(cell: Cell, **changes: Any) -> Cells:
    return Cells(cells=(*SHEET.cells, cell.model_copy(update=changes)), sheets=SHEET.sheets)


RECEIPT = Receipt(target="a", key="k", location="l", status="spooled")
ERROR = Finding(code="BR-CO-15", severity="error", message="wrong")
WORDS = Evidence(page=1, box=(100, 50, 120, 60))
KIND = kind(page_count=1)

CASES: list[tuple[str, dict[str, Any], BaseModel, bool]] = [
    ("syntax_fits_media", {}, kind(syntax=Syntax.CII), True),
    ("syntax_fits_media", {}, kind(Media.IMAGE, syntax=Syntax.CII), False),
    ("syntax_fits_media", {}, kind(Media.SHEET), False),
    ("syntax_fits_media", {}, kind(sheet_format="csv"), False),
    ("pages_counted", {"kind": KIND}, TEXT, True),
    ("pages_counted", {"kind": kind(page_count=2)}, TEXT, False),
    ("pages_counted", {"kind": kind()}, Pages(pages=(page("x", 2),)), False),
    ("boxes_in_page", {}, TEXT, True),
    ("boxes_in_page", {}, WIDE, False),
    ("cells_addressed", {}, SHEET, True),
    ("cells_addressed", {}, copied(SHEET.cells[0]), False),
    ("cells_addressed", {}, copied(SHEET.cells[0], address="C1", sheet="other"), False),
    ("cells_addressed", {}, copied(SHEET.cells[0], address="C1", value=""), False),
    ("every_scan_read", {"pages": SCANS}, pages("one", "two"), True),
    ("every_scan_read", {"pages": SCANS}, pages("one", ""), True),
    ("every_scan_read", {"pages": SCANS}, pages("one"), False),
    ("every_scan_read", {"pages": SCANS}, SCANS, False),
    ("every_scan_read", {"pages": None}, pages("one"), True),
    ("every_scan_read", {"pages": None}, Pages(pages=()), False),
    ("not_empty", {}, candidate(WORDS), True),
    ("not_empty", {}, Candidate(fields=InvoiceFields(), confidence=1), False),
    ("facts_name_their_path", {}, structured(InvoiceFields(number=fact("1"))), True),
    ("facts_name_their_path", {}, structured(InvoiceFields(number=Fact[str](value="1", source="xml"))), False),
    ("facts_name_their_path", {}, structured(InvoiceFields(number=Fact[str](value="1", source="derived"))), True),
    ("evidence_points_to_words", {"pages": TEXT}, candidate(WORDS), True),
    ("evidence_points_to_words", {"scanned": TEXT}, candidate(WORDS), True),
    ("evidence_points_to_words", {"pages": TEXT}, candidate(Evidence(page=2, box=(100, 50, 120, 60))), False),
    ("evidence_points_to_words", {"pages": TEXT}, candidate(Evidence(page=1, box=(100, 700, 120, 710))), False),
    ("evidence_points_to_words", {"pages": TEXT}, candidate(Evidence(text="A17")), False),
    ("evidence_points_to_words", {"pages": TEXT}, candidate(None), False),
    ("evidence_points_to_words", {"pages": TEXT}, candidate(None, "derived"), True),
    ("evidence_points_to_words", {"cells": SHEET}, candidate(Evidence(sheet="Sheet1", address="B1")), True),
    ("evidence_points_to_words", {"cells": SHEET}, candidate(Evidence(sheet="Sheet1", address="B2")), False),
    ("has_content", {}, sample_invoice(), True),
    ("has_content", {}, Invoice(), False),
    ("skipped_layers_make_incomplete", {}, verdict(), True),
    ("skipped_layers_make_incomplete", {}, verdict(layers_skipped=("page",)), False),
    ("skipped_layers_make_incomplete", {}, verdict(layers_skipped=("page",), status="incomplete"), True),
    ("errors_make_invalid", {}, verdict(status="invalid", findings=(ERROR,)), True),
    ("errors_make_invalid", {}, verdict(findings=(ERROR,)), False),
    ("errors_make_invalid", {}, verdict(status="invalid"), False),
    ("rule_set_named", {}, verdict(), True),
    ("rule_set_named", {}, verdict(rule_set=""), False),
    ("rule_set_named", {}, verdict(layers_run=()), False),
    ("decision_names_its_person", {}, ReviewDecision(outcome="accepted"), True),
    ("decision_names_its_person", {}, ReviewDecision(outcome="released", actor="ann"), True),
    ("decision_names_its_person", {}, ReviewDecision(outcome="rejected"), False),
    ("every_receipt_has_key", {}, Receipts(receipts=()), False),
    (
        "every_receipt_has_key",
        {},
        Receipts(receipts=(RECEIPT,)),
        True,
    ),
    (
        "every_receipt_has_key",
        {},
        Receipts(receipts=(RECEIPT.model_copy(update={"key": ""}),)),
        False,
    ),
]


@pytest.mark.parametrize(("name", "inputs", "output", "holds"), CASES)
def test_a_guarantee_holds_or_says_why_not(name: str, inputs: dict[str, Any], output: BaseModel, holds: bool) -> None:
    answer = getattr(contracts, name)(inputs, output)
    assert (answer is None) == holds, answer
    assert answer is None or len(answer) > 10


def test_every_guarantee_of_every_contract_is_seen_to_hold_and_to_fail() -> None:
    names = {name for stage in PIPELINE.stages for name in stage.contract.guarantees}
    assert {(name, holds) for name in names for holds in (True, False)} <= {(case[0], case[3]) for case in CASES}


APPLIES: list[tuple[str, dict[str, Any], bool]] = [
    ("read", {"kind": kind()}, True),
    ("read", {"kind": kind(Media.XML)}, False),
    ("tabulate", {"kind": kind(Media.SHEET)}, True),
    ("tabulate", {"kind": kind()}, False),
    ("ocr", {"kind": kind(Media.IMAGE), "pages": None}, True),
    ("ocr", {"kind": kind(), "pages": SCANS}, True),
    ("ocr", {"kind": kind(), "pages": None}, True),
    ("ocr", {"kind": kind(), "pages": TEXT}, False),
    ("ocr", {"kind": kind(Media.XML), "pages": None}, False),
    ("parse", {"kind": kind(syntax=Syntax.CII)}, True),
    ("parse", {"kind": kind()}, False),
    ("extract", {"kind": kind(), "pages": TEXT}, True),
    ("extract", {"kind": kind(), "pages": SCANS, "scanned": TEXT}, True),
    ("extract", {"kind": kind(), "pages": SCANS}, False),
    ("extract", {"kind": kind(), "cells": SHEET}, True),
]


@pytest.mark.parametrize(("stage_id", "inputs", "concerns"), APPLIES)
def test_a_stage_says_without_a_module_whether_it_concerns_a_document(
    stage_id: str, inputs: dict[str, Any], concerns: bool
) -> None:
    stage = PIPELINE.stage(stage_id)
    assert stage is not None
    assert stage.contract.applies is not None
    assert (stage.contract.applies(inputs) is None) == concerns


def test_the_first_configuration_selects_every_stage_and_covers_it() -> None:
    body = PIPELINE.default_configuration
    stages = [stage.id for stage in PIPELINE.stages]
    assert [selection["stage_id"] for selection in body["selections"]] == stages
    assert [policy["stage_id"] for policy in body["fallback_policies"]] == stages
    assert all(policy["then"] in ("park", "fail", "skip") for policy in body["fallback_policies"])
    chosen = {selection["module_id"] for selection in body["selections"]}
    assert all(step["module_id"] not in chosen for policy in body["fallback_policies"] for step in policy["chain"])


def test_what_did_not_reach_its_target_is_said_with_what_delivers_it() -> None:
    notes = contracts.what_was_not_delivered
    spooled = Receipt(target="files::json", key="k", location="spool/doc-1", status="spooled")
    kept, how = notes(Receipts(receipts=(spooled,)))
    assert kept == "Not delivered to files::json by this run: kept as spool/doc-1."
    assert "`switchgear runs retry RUN --from deliver`" in how
    withheld = spooled.model_copy(update={"status": "withheld"})
    assert list(notes(Receipts(receipts=(withheld,)))) == ["Withheld from files::json: a person rejected the invoice."]
    assert list(notes(Receipts(receipts=(spooled.model_copy(update={"status": "delivered"}),)))) == []


def test_a_deliver_fallback_is_the_spool_and_nothing_else() -> None:
    (policy,) = [item for item in PIPELINE.default_configuration["fallback_policies"] if item["stage_id"] == "deliver"]
    assert [step["module_id"] for step in policy["chain"]] == ["deliver-spool"]


def test_nothing_laxer_stands_in_for_a_review_and_no_other_target_for_a_delivery() -> None:
    assert [stage.id for stage in PIPELINE.stages if stage.chain_is_ordered] == ["review", "deliver"]


def test_facts_are_found_at_every_depth_with_their_pointer() -> None:
    found = dict(contracts.facts(sample_invoice()))
    assert found["/number"].value == "2024-0017"
    assert found["/lines/1/description"].value == "Aktenschrank"
    assert found["/totals/gross"].value == 178.5
