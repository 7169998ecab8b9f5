"""`tabulate-openpyxl`: cells of XLSX through openpyxl, pure Python, and of CSV. Source: INVOICES.md (tabulate)."""

import io
import zipfile
import zlib

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from switchgear.invoice.sheet_values import SheetSettings, cells_of, csv_cells, not_intact, sheet_bytes
from switchgear.invoice.types import Cells, Kind
from switchgear.sdk import Blob, Context, Module, Requires, Unsupported, module


@module(
    stage="tabulate",
    contract="invoice-tabulate@1",
    version="1.0.0",
    guarantees={"cells_addressed"},
    requires=Requires(packages=("openpyxl>=3.1",), memory_mb=256),
)
class TabulateOpenpyxl(Module):
    """Gives every cell that is not empty of an XLSX or CSV; it cannot read XLS and ODS and says so."""

    Settings = SheetSettings
    settings: SheetSettings

    def run(self, blob: Blob, kind: Kind, ctx: Context) -> Cells:
        """Read all sheets, row by row."""
        data = sheet_bytes(blob, kind)
        if kind.sheet_format == "csv":
            return csv_cells(data, self.settings.max_cells)
        if kind.sheet_format != "xlsx":
            raise Unsupported(f"openpyxl reads XLSX and CSV, not {kind.sheet_format}; select tabulate-calamine for it.")
        try:
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            sheets = ((sheet.title, sheet.iter_rows(values_only=True)) for sheet in book.worksheets)
            found = cells_of(sheets, self.settings.max_cells)
            book.close()
        except (InvalidFileException, zipfile.BadZipFile, zlib.error, KeyError, ValueError, SyntaxError) as error:
            raise not_intact() from error
        return found
