"""What reaches the disk: one effect per delivery key, names that nobody can choose, cells that do not calculate."""

import csv
import errno
import io
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from switchgear.invoice.deliveries import entry_name
from switchgear.invoice.testing import fact, sample_invoice, sample_line, sample_verdict
from switchgear.invoice.types import Invoice, Party, Receipts, ReviewDecision
from switchgear.modules.deliver_files import DeliverFiles
from switchgear.modules.deliver_files.rendering import escape_cell
from switchgear.modules.deliver_spool import DeliverSpool
from switchgear.sdk import Retryable, Unavailable
from switchgear.sdk.testing import FakeContext

ACCEPTED = ReviewDecision(outcome="accepted")
REJECTED = ReviewDecision(outcome="rejected", actor="ada", reasons=("not ours",))


class KeyedContext(FakeContext):
    """Gives keys that change with `result`, as the engine does."""

    result = "a"

    def idempotency_key(self, target: str) -> str:
        return f"{self.document_id}/{target}/{self.result}"

    def delivery_series(self, target: str) -> str:
        return f"the bytes/{target}"


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home" / "out"
    monkeypatch.setenv("SWITCHGEAR_OUT", str(folder))
    return folder


def delivered(
    ctx: FakeContext, invoice: Invoice | None = None, decision: ReviewDecision = ACCEPTED, module: Any = DeliverFiles,
    **settings: Any,
) -> Receipts:  # fmt: skip
    deliver = module()
    deliver.settings = module.Settings(**settings)
    receipts = deliver.run(invoice or sample_invoice(), sample_verdict(), decision, ctx)
    assert isinstance(receipts, Receipts)
    return receipts


def files(folder: Path) -> list[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if path.parts[0] != ".receipts")


def test_an_invoice_is_written_by_year_and_month_as_json_and_csv(out: Path) -> None:
    receipts = delivered(KeyedContext()).receipts
    assert [(receipt.target, receipt.status) for receipt in receipts] == [
        ("files::json", "delivered"),
        ("files::csv", "delivered"),
    ]
    assert files(out) == sorted(receipt.location for receipt in receipts)
    assert all(receipt.location.startswith("2024/03/doc-test-") for receipt in receipts)
    content = json.loads((out / receipts[0].location).read_text())
    assert Invoice.model_validate(content["invoice"]) == sample_invoice()


def test_the_csv_has_a_row_for_each_line(out: Path) -> None:
    receipt = delivered(KeyedContext(), formats=("csv",)).receipts[0]
    rows = list(csv.DictReader(io.StringIO((out / receipt.location).read_text())))
    assert [row["line_net_amount"] for row in rows] == ["50.00", "100.00"]
    assert {(row["number"], row["gross_total"], row["issue_date"]) for row in rows} == {
        ("2024-0017", "178.50", "2024-03-05")
    }


def test_the_same_key_again_has_no_second_effect(out: Path) -> None:
    first = delivered(KeyedContext())
    place = out / first.receipts[0].location
    place.write_text("somebody moved on with this file")
    assert delivered(KeyedContext()) == first
    assert place.read_text() == "somebody moved on with this file"


def test_a_changed_result_is_a_new_file_that_names_the_old_one(out: Path) -> None:
    ctx = KeyedContext()
    first = delivered(ctx).receipts[0]
    ctx.result = "b"
    second = delivered(ctx, sample_invoice(number=fact("2024-0018"))).receipts[0]
    assert second.supersedes == first.key
    assert first.supersedes is None
    assert len(files(out)) == 4


def test_a_changed_result_names_the_old_one_also_when_the_document_was_forgotten_and_sent_again(out: Path) -> None:
    first = delivered(KeyedContext()).receipts[0]
    again = KeyedContext(document_id="doc_again")
    again.result = "b"
    assert delivered(again).receipts[0].supersedes == first.key


@pytest.mark.parametrize("step", ["series", "keys"])
def test_a_crash_before_a_receipt_leads_to_the_same_file_and_receipt(
    step: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import switchgear.modules.deliver_files as deliver_files

    ctx = KeyedContext()
    first = delivered(ctx, formats=("json",)).receipts[0]
    ctx.result = "b"
    whole = deliver_files.write_atomically

    def crashing(path: Path, content: bytes) -> None:
        if path.parent.name == step:
            raise KeyboardInterrupt
        whole(path, content)

    monkeypatch.setattr(deliver_files, "write_atomically", crashing)
    with pytest.raises(KeyboardInterrupt):
        delivered(ctx, formats=("json",))
    after_crash = files(out)
    monkeypatch.setattr(deliver_files, "write_atomically", whole)
    second = delivered(ctx, formats=("json",)).receipts[0]
    assert files(out) == after_crash == sorted([first.location, second.location])
    assert second.supersedes == first.key


def test_no_text_of_a_document_becomes_a_path(out: Path) -> None:
    evil = sample_invoice(number=fact("../../etc/passwd"), seller=Party(name=fact("/root")))
    ctx = KeyedContext(document_id="../../../doc/..\0x")
    for receipt in delivered(ctx, evil).receipts:
        assert ".." not in receipt.location
        assert (out / receipt.location).is_file()
    assert entry_name("", "k").startswith("document-")


@pytest.mark.parametrize("folder", ["/etc", "../up", "a/../b", ".hidden", "a/.receipts"])
@pytest.mark.parametrize("module", [DeliverFiles, DeliverSpool])
def test_a_folder_outside_is_refused(module: Any, folder: str) -> None:
    with pytest.raises(ValidationError, match="relative folder"):
        module.Settings(folder=folder)


@pytest.mark.parametrize("module", [DeliverFiles, DeliverSpool])
def test_a_rejected_invoice_is_withheld(module: Any, out: Path) -> None:
    receipts = delivered(KeyedContext(), decision=REJECTED, module=module).receipts
    assert {receipt.status for receipt in receipts} == {"withheld"}
    assert list(out.parent.rglob("*.*")) == []


@pytest.mark.parametrize("module", [DeliverFiles, DeliverSpool])
def test_without_a_folder_the_module_is_unavailable(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWITCHGEAR_OUT", raising=False)
    with pytest.raises(Unavailable, match="SWITCHGEAR_OUT"):
        delivered(KeyedContext(), module=module)


@pytest.mark.parametrize("module", [DeliverFiles, DeliverSpool])
@pytest.mark.parametrize(("number", "expected"), [(errno.EACCES, Unavailable), (errno.ENOSPC, Retryable)])
def test_what_the_disk_says_decides_whether_another_try_helps(
    module: Any, number: int, expected: type[Exception], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refusing)
    with pytest.raises(expected, match=str(out.parent)):
        delivered(KeyedContext(), module=module)
    assert [path for path in out.parent.rglob("*.tmp*") if path.exists()] == []


def test_a_folder_that_cannot_be_written_shows_in_the_probe(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DeliverFiles.probe(DeliverFiles.Settings())
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(Unavailable, match="cannot be written"):
        DeliverFiles.probe(DeliverFiles.Settings())


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_formula_is_escaped(value: str) -> None:
    assert escape_cell(value) == "'" + value


def test_amounts_and_plain_text_are_not_escaped() -> None:
    assert [escape_cell(value) for value in (Decimal("-5.00"), Decimal("1E+2"), "A-1", None, 3)] == [
        "-5.00", "100", "A-1", "", "3",
    ]  # fmt: skip


def test_a_formula_in_a_line_does_not_reach_the_csv(out: Path) -> None:
    evil = sample_invoice(lines=(sample_line("1", "=cmd|' /C calc'!A0", "1", "1.00", "1.00"),))
    receipt = delivered(KeyedContext(), evil, formats=("csv",)).receipts[0]
    row = next(csv.DictReader(io.StringIO((out / receipt.location).read_text())))
    assert row["line_description"] == "'=cmd|' /C calc'!A0"


def test_the_spool_keeps_the_targets_and_keys_of_deliver_files(out: Path) -> None:
    spooled = delivered(KeyedContext(), module=DeliverSpool).receipts
    assert {receipt.status for receipt in spooled} == {"spooled"}
    assert not out.exists()
    for receipt in spooled:
        entry = out.parent / receipt.location
        manifest = json.loads((entry / "manifest.json").read_text())
        assert (manifest["target"], manifest["key"]) == (receipt.target, receipt.key)
        kept = json.loads((entry / "result.json").read_text())
        assert Invoice.model_validate(kept["invoice"]) == sample_invoice()
    later = delivered(KeyedContext()).receipts
    assert [(r.target, r.key) for r in later] == [(r.target, r.key) for r in spooled]
    assert {receipt.status for receipt in later} == {"delivered"}


def test_the_spool_keeps_an_entry_once(out: Path) -> None:
    first = delivered(KeyedContext(), module=DeliverSpool)
    entry = out.parent / first.receipts[0].location / "result.json"
    before = entry.stat().st_mtime_ns
    assert delivered(KeyedContext(), module=DeliverSpool) == first
    assert entry.stat().st_mtime_ns == before
