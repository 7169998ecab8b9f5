"""`parse-eu-einvoice`: UBL and CII through the library eu-einvoice, alone or in a PDF. Source: INVOICES.md (parse)."""

from eu_einvoice.parse import parse_cii, parse_ubl

from switchgear.invoice.adjustments import adjustments
from switchgear.invoice.pdf_files import invoice_xml
from switchgear.invoice.safe_xml import syntax_of
from switchgear.invoice.stated_once import contradicted, mixed
from switchgear.invoice.types import Kind, Structured, Syntax
from switchgear.invoice.xml_remarks import remarks
from switchgear.modules.parse_eu_einvoice.mapping import Mapper, leaf_paths
from switchgear.sdk import (
    Blob,
    Context,
    Module,
    NotApplicable,
    Requires,
    Unsupported,
    module,
)


@module(
    stage="parse",
    contract="invoice-parse@1",
    version="1.0.0",
    guarantees={"not_empty", "facts_name_their_path"},
    requires=Requires(packages=("eu-einvoice>=1.0", "lxml>=5.3", "pypdf>=5.1"), memory_mb=384),
)
class ParseEuEinvoice(Module):
    """Reads UBL and CII. ZUGFeRD 1.0 and FatturaPA are beyond the library and left to another module."""

    def run(self, blob: Blob, kind: Kind, ctx: Context) -> Structured:
        """Read the XML, from the PDF's attachment where it is embedded."""
        if kind.syntax is None:
            raise NotApplicable("the document carries no e-invoice XML")
        root, passed_over = invoice_xml(blob, kind, ctx.limits)
        syntax = syntax_of(root)
        if syntax not in (Syntax.UBL_INVOICE, Syntax.UBL_CREDIT_NOTE, Syntax.CII):
            raise Unsupported(f"eu-einvoice reads UBL and CII, not {syntax}; select parse-einvoice for it.")
        model, _notes = parse_cii(root) if syntax is Syntax.CII else parse_ubl(root)
        mapper = Mapper(syntax)
        fields = mapper.fields(model)
        adjusted = adjustments(root, syntax)
        return Structured(
            syntax=syntax,
            profile=model.get("customization_id"),
            fields=fields,
            unmapped=tuple(path for path in leaf_paths(root) if path not in mapper.paths)[:200],
            unreadable=tuple(dict.fromkeys((*mapper.unreadable[:200], *mixed(root, syntax), *adjusted.unreadable))),
            contradicted=contradicted(root, syntax),
            passed_over=passed_over,
            allowances=adjusted.allowances,
            charges=adjusted.charges,
            remarks=remarks(root, syntax),
        )
