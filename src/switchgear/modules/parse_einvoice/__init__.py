"""`parse-einvoice`: UBL, CII, ZUGFeRD 1.0 and FatturaPA, alone or embedded in a PDF. Source: INVOICES.md (parse)."""

from collections.abc import Callable, Mapping
from typing import Final

from switchgear.invoice.adjustments import adjustments
from switchgear.invoice.pdf_files import invoice_xml
from switchgear.invoice.safe_xml import syntax_of
from switchgear.invoice.stated_once import contradicted, mixed
from switchgear.invoice.types import InvoiceFields, Kind, Structured, Syntax
from switchgear.invoice.xml_remarks import remarks
from switchgear.modules.parse_einvoice.cii import read_cii
from switchgear.modules.parse_einvoice.fatturapa import read_fatturapa
from switchgear.modules.parse_einvoice.tree import Tree
from switchgear.modules.parse_einvoice.ubl import read_ubl
from switchgear.sdk import Blob, Context, InputRejected, Module, NotApplicable, Requires, module

#: syntax -> reader, which gives the document's profile and its fields
_READERS: Final[Mapping[Syntax, Callable[[Tree], tuple[str | None, InvoiceFields]]]] = {
    Syntax.UBL_INVOICE: read_ubl,
    Syntax.UBL_CREDIT_NOTE: read_ubl,
    Syntax.CII: read_cii,
    Syntax.ZUGFERD_1: read_cii,
    Syntax.FATTURAPA: read_fatturapa,
}


@module(
    stage="parse",
    contract="invoice-parse@1",
    version="1.0.0",
    guarantees={"not_empty", "facts_name_their_path"},
    requires=Requires(packages=("lxml>=5.3", "pypdf>=5.1"), memory_mb=256),
)
class ParseEinvoice(Module):
    """Reads e-invoice XML as it stands; every value names its path, elements that were not read are listed."""

    def run(self, blob: Blob, kind: Kind, ctx: Context) -> Structured:
        """Read the XML, from the PDF's attachment where it is embedded."""
        if kind.syntax is None:
            raise NotApplicable("the document carries no e-invoice XML")
        root, passed_over = invoice_xml(blob, kind, ctx.limits)
        syntax = syntax_of(root)
        if syntax is None:
            raise InputRejected("unsupported_syntax", f"The XML is no e-invoice known here: its root is {root.tag}.")
        tree = Tree(root, "parse-einvoice")
        profile, fields = _READERS[syntax](tree)
        adjusted = adjustments(root, syntax)
        return Structured(
            syntax=syntax,
            profile=profile,
            fields=fields,
            unmapped=tree.unmapped(),
            unreadable=tuple(dict.fromkeys((*tree.unreadable(), *mixed(root, syntax), *adjusted.unreadable))),
            contradicted=contradicted(root, syntax),
            passed_over=passed_over,
            allowances=adjusted.allowances,
            charges=adjusted.charges,
            remarks=remarks(root, syntax),
        )
