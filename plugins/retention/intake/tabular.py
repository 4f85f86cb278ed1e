"""Files that hold typed columns: Parquet and workbooks. Owns how each value is written as text; knows no field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from retention.errors import IntakeError
from retention.intake.chunks import Chunk, blank_to_null
from retention.intake.delimited import tell_apart
from retention.intake.json_lines import ROWS, as_text
from retention.intake.mapping import FileFormat

BROKEN = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What the library raises for a damaged file; it panics where it did not expect the damage."""

_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""Of the years 1 to 9999, counted from 1970-01-01: the library can't write others."""
_A_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


class Parquet:
    """A Parquet file, some rows at a time."""

    def __init__(self, path: Path):
        self.name = path.name
        self._scan = pl.scan_parquet(path)
        self._schema = self._scan.collect_schema()
        self.columns = tuple(self._schema)
        self.size = self._scan.select(pl.len()).collect().item()

    def chunks(self) -> Iterator[Chunk]:
        """The rows, in order. Raises IntakeError where the file is broken."""
        for begin in range(0, self.size, ROWS):
            try:
                part = write_cells(self._scan.slice(begin, ROWS).collect())
            except BROKEN as error:
                text = f"{self.name}: broken after row {begin:,} ({type(error).__name__}). Export it anew."
                raise IntakeError(text) from error
            lines = pl.Series("line", range(begin + 1, begin + 1 + len(part)), dtype=pl.Int64)
            yield Chunk(blank_to_null(part), lines, [], begin + len(part))


def write_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Every column as text: moments in ISO 8601 with their zone, lists and structs as JSON, not-a-number as nothing."""
    return pl.DataFrame([_write_column(column) for column in frame.iter_columns()])


def _write_column(column: pl.Series) -> pl.Series:
    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        sound = _within_years(column, _A_DAY[kind.time_unit])
        form = "%Y-%m-%d %H:%M:%S%.f%:z" if kind.time_zone else "%Y-%m-%d %H:%M:%S%.f"
        return _keep_foreign(sound.dt.strftime(form), column)
    if kind == pl.Date:
        return _keep_foreign(_within_years(column, 1).cast(pl.String), column)
    if kind == pl.Boolean:
        return column.replace_strict({True: "true", False: "false"}, return_dtype=pl.String)
    if kind.is_float():
        return _write_floats(column)
    if kind.is_nested() or kind in (pl.Object, pl.Binary, pl.Duration):
        return pl.Series(column.name, [as_text(value) for value in column.to_list()], dtype=pl.String)
    return column.cast(pl.String)


def _within_years(column: pl.Series, a_day: int) -> pl.Series:
    day = column.to_physical().cast(pl.Int64) // a_day
    return pl.select(pl.when(day.is_between(_FIRST_DAY, _LAST_DAY)).then(column)).to_series().alias(column.name)


def _keep_foreign(text: pl.Series, column: pl.Series) -> pl.Series:
    """A moment in no year that can be written is not nothing: it is text that is no date."""
    return text if text.null_count() == column.null_count() else (
        pl.select(pl.when(text.is_null() & column.is_not_null()).then(pl.lit("beyond the year 9999")).otherwise(text))
        .to_series().alias(column.name)
    )  # fmt: skip


def _write_floats(column: pl.Series) -> pl.Series:
    # 12.0 is 12 to whoever wrote a column of ids with gaps; digits otherwise as short as they are exact.
    text = column.fill_nan(None).cast(pl.String).str.replace(r"\.0$", "")
    if not text.str.contains("e", literal=True).any():
        return text
    return text.map_elements(_spell_out, return_dtype=pl.String)


def _spell_out(text: str) -> str:
    return f"{float(text):f}".removesuffix(".000000") if "e+" in text else text if "e" not in text else _tiny(text)


def _tiny(text: str) -> str:
    digits, _, power = text.partition("e-")
    return f"{float(text):.{int(power) + len(digits)}f}".rstrip("0")


class Workbook:
    """One sheet of a workbook; it is read whole (a sheet has a million rows at most). Lines are the sheet's rows."""

    def __init__(self, path: Path, form: FileFormat):
        import fastexcel

        self.name = path.name
        try:
            book = fastexcel.read_excel(path)
            if form.sheet is not None and form.sheet not in book.sheet_names:
                names = ", ".join(book.sheet_names)
                raise IntakeError(f'{path}: there is no sheet "{form.sheet}". Its sheets: {names}.')
            # Rows above the first one are counted, so that lines are those that the sheet shows.
            sheet = book.load_sheet(form.sheet or 0, header_row=None, skip_rows=0, dtypes="string")
            cells = blank_to_null(sheet.to_polars().cast(pl.String))[form.skip_lines :]
        except (fastexcel.FastExcelError, *BROKEN) as error:
            raise IntakeError(f"{path}: is no workbook that can be read. Save it anew as .xlsx, or as CSV.") from error
        lines = pl.Series("line", range(form.skip_lines + 1, form.skip_lines + 1 + len(cells)), dtype=pl.Int64)
        is_row = cells.select(pl.any_horizontal(pl.all().is_not_null())).to_series() if cells.width else lines > 0
        self._cells, self._lines = cells.filter(is_row), lines.filter(is_row)
        names = form.columns
        if form.header and len(self._cells):
            names = names or tell_apart([name or "" for name in self._cells.row(0)])
            self._cells, self._lines = self._cells[1:], self._lines[1:]
        if names is None:
            raise IntakeError(f"{path}: the sheet is empty. Write the columns' names in its first row.")
        if len(names) > self._cells.width:
            raise IntakeError(f"{path}: the mapping names {len(names)} columns, the sheet has {self._cells.width}.")
        self._cells = self._cells[:, : len(names)].rename(dict(zip(self._cells.columns, names, strict=False)))
        self.columns = tuple(self._cells.columns)
        self.size = len(self._cells)

    def chunks(self) -> Iterator[Chunk]:
        """The rows that are not empty, in order."""
        for begin in range(0, self.size, ROWS):
            part = self._cells.slice(begin, ROWS)
            yield Chunk(part, self._lines.slice(begin, ROWS), [], begin + len(part))
