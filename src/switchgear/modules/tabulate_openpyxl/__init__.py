"""`tabulate-openpyxl`: cells of XLSX through openpyxl, pure Python, and of CSV. Source: INVOICES.md (tabulate)."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException
from pydantic import Field

from switchgear.invoice.sheet_values import cell, csv_cells, refuse_too_many
from switchgear.invoice.types import Cell, Cells, Kind, Media
from switchgear.sdk import (
    Blob,
    Context,
    InputRejected,
    Module,
    ModuleError,
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
    requires=Requires(packages=("openpyxl>=3.1",), memory_mb=256),
)
class TabulateOpenpyxl(Module):
    """Gives every cell that is not empty of an XLSX or CSV; it cannot read XLS and ODS and says so."""

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
        if kind.sheet_format != "xlsx":
            raise ModuleError(f"openpyxl reads XLSX and CSV, not {kind.sheet_format}; select tabulate-calamine for it.")
        return self._workbook(data)

    def _workbook(self, data: bytes) -> Cells:
        try:
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            names = tuple(sheet.title for sheet in book.worksheets)
            found = tuple(refuse_too_many(self._cells(book), self.settings.max_cells))
            book.close()
        except (InvalidFileException, zipfile.BadZipFile, zlib.error, KeyError, ValueError, SyntaxError) as error:
            raise InputRejected("corrupt", "The sheet cannot be opened. Send an intact copy.") from error
        return Cells(cells=found, sheets=names)

    def _cells(self, book: Any) -> Iterator[Cell]:
        for sheet in book.worksheets:
            for row, values in enumerate(sheet.iter_rows(values_only=True), start=1):
                for column, value in enumerate(values, start=1):
                    if made := cell(sheet.title, row, column, value):
                        yield made
