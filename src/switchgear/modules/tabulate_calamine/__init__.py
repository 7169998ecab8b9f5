"""`tabulate-calamine`: cells of XLSX, XLS and ODS through calamine, and of CSV. Source: INVOICES.md (tabulate)."""

import io
from collections.abc import Iterator
from typing import Any

import python_calamine
from pydantic import Field

from switchgear.invoice.sheet_values import cell, csv_cells, refuse_too_many
from switchgear.invoice.types import Cell, Cells, Kind, Media
from switchgear.sdk import (
    Blob,
    Context,
    InputRejected,
    Module,
    ModuleSettings,
    NotApplicable,
    Requires,
    module,
)


@module(
    stage="tabulate",
    contract="invoice-tabulate@1",
    version="1.0.0",
    guarantees={"cells_addressed"},
    requires=Requires(packages=("python-calamine>=0.3",), memory_mb=256),
)
class TabulateCalamine(Module):
    """Gives every cell that is not empty; formulas as the values that the writing program stored."""

    class Settings(ModuleSettings):
        """Bounds of a sheet."""

        max_cells: int = Field(100_000, ge=1, le=1_000_000, description="A document with more cells is rejected.")

    settings: Settings

    def run(self, blob: Blob, kind: Kind, ctx: Context) -> Cells:
        """Read all sheets, row by row."""
        if kind.media is not Media.SHEET:
            raise NotApplicable(f"a document of kind {kind.media} has no cells")
        with blob.open() as stream:
            data = stream.read()
        if kind.sheet_format == "csv":
            return csv_cells(data, self.settings.max_cells)
        return self._workbook(data)

    def _workbook(self, data: bytes) -> Cells:
        try:
            book = python_calamine.load_workbook(io.BytesIO(data))
            names = tuple(book.sheet_names)
            found = tuple(refuse_too_many(self._cells(book, names), self.settings.max_cells))
        except python_calamine.PasswordError as error:
            raise InputRejected("encrypted", "The sheet needs a password. Send a copy without a password.") from error
        except python_calamine.CalamineError as error:
            raise InputRejected("corrupt", "The sheet cannot be opened. Send an intact copy.") from error
        return Cells(cells=found, sheets=names)

    def _cells(self, book: Any, names: tuple[str, ...]) -> Iterator[Cell]:
        for name in names:
            rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
            for row, values in enumerate(rows, start=1):
                for column, value in enumerate(values, start=1):
                    if made := cell(name, row, column, value):
                        yield made
