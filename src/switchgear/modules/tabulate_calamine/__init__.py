"""`tabulate-calamine`: cells of XLSX, XLS and ODS through calamine, and of CSV. Source: INVOICES.md (tabulate)."""

import io

import python_calamine

from switchgear.invoice.sheet_values import SheetSettings, cells_of, csv_cells, not_intact, sheet_bytes
from switchgear.invoice.types import Cells, Kind
from switchgear.sdk import Blob, Context, InputRejected, Module, Requires, module


@module(
    stage="tabulate",
    contract="invoice-tabulate@1",
    version="1.0.0",
    guarantees={"cells_addressed"},
    requires=Requires(packages=("python-calamine>=0.3",), memory_mb=256),
)
class TabulateCalamine(Module):
    """Gives every cell that is not empty; formulas as the values that the writing program stored."""

    Settings = SheetSettings
    settings: SheetSettings

    def run(self, blob: Blob, kind: Kind, ctx: Context) -> Cells:
        """Read all sheets, row by row."""
        data = sheet_bytes(blob, kind)
        if kind.sheet_format == "csv":
            return csv_cells(data, self.settings.max_cells)
        try:
            book = python_calamine.load_workbook(io.BytesIO(data))
            sheets = (
                (name, book.get_sheet_by_name(name).to_python(skip_empty_area=False)) for name in book.sheet_names
            )
            return cells_of(sheets, self.settings.max_cells)
        except python_calamine.PasswordError as error:
            raise InputRejected("encrypted", "The sheet needs a password. Send a copy without a password.") from error
        except python_calamine.CalamineError as error:
            raise not_intact() from error
