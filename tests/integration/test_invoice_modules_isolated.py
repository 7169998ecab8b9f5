"""The parsers of the invoice pipeline in supervised processes of their own, as the engine runs them."""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import switchgear.invoice
from switchgear.domain.run import AttemptResult
from switchgear.ingestion.module_pool import Call, DocumentFile, ModulePools, ModuleUse, StageValue
from switchgear.invoice.pipeline import PIPELINE
from switchgear.invoice.testing import kind
from switchgear.invoice.types import Kind, Media, Pages, Structured, Syntax
from switchgear.sdk.values import Limits

pytestmark = pytest.mark.anyio

DEMO = Path(switchgear.invoice.__file__).parent / "samples"
SAMPLES = Path(__file__).parent.parent / "samples"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def pools(tmp_path: Path) -> AsyncIterator[ModulePools]:
    made = ModulePools(
        folder=tmp_path / "scratch",
        limits=Limits(),
        environment=dict(os.environ),
        resolve_secret=lambda reference: None,
        default_concurrency=1,
    )
    await made.start()
    yield made
    await made.close()


async def call(pools: ModulePools, module_id: str, path: Path, what: Kind | None = None) -> AttemptResult:
    stage = PIPELINE.stage(module_id.split("-")[0])
    assert stage is not None
    data = path.read_bytes()
    document = DocumentFile(path, hashlib.sha256(data).hexdigest(), len(data), "application/octet-stream", path.name)
    inputs = {} if what is None else {"kind": StageValue(Kind, model=what)}
    return await pools.call(ModuleUse(module_id, "{}", stage.limits), Call("run_1", "doc_1", 1, 60.0, document, inputs))


async def test_a_hybrid_pdf_is_classified_read_and_parsed(pools: ModulePools) -> None:
    path = DEMO / "hybrid-en16931.pdf"
    found = Kind.model_validate_json((await call(pools, "classify-magic", path)).output)
    assert (found.media, found.syntax, found.page_count) == (Media.PDF, Syntax.CII, 2)
    read = Pages.model_validate_json((await call(pools, "read-pdfium", path, found)).output)
    assert "Lieferant" in {word.text for word in read.pages[0].words}
    parsed = Structured.model_validate_json((await call(pools, "parse-einvoice", path, found)).output)
    assert parsed.fields.number is not None
    assert parsed.fields.number.value == "471102"


async def test_a_hostile_document_is_the_documents_fault_and_the_process_goes_on(
    pools: ModulePools, tmp_path: Path
) -> None:
    bomb = await call(pools, "classify-magic", SAMPLES / "xml-billion-laughs.xml")
    assert (bomb.outcome, bomb.detail) == ("bad_input", "rejected_xml")
    empty = tmp_path / "empty.pdf"
    empty.touch()
    nothing = await call(pools, "classify-magic", empty)
    assert (nothing.outcome, nothing.detail) == ("bad_input", "empty")
    after = await call(pools, "classify-magic", DEMO / "sheet-german.csv")
    assert after.outcome == "succeeded"


async def test_a_document_that_does_not_concern_the_stage_is_a_third_answer(pools: ModulePools) -> None:
    result = await call(pools, "read-pdfium", DEMO / "sheet-german.csv", kind(Media.SHEET, sheet_format="csv"))
    assert result.outcome == "not_applicable"
