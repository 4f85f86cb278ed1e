"""Where rows come from: text files, JSON lines, Parquet, XLSX, a database's cursor. Owns how each is read, no meaning."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from retention.errors import IntakeError
from retention.intake.chunks import Chunk, Reject, Source, blank_to_null, cut, make_frame
from retention.intake.delimited import open_delimited
from retention.intake.mapping import FileFormat

ROWS = 50_000
"""Rows a piece, where the source counts in rows."""


def open_file(path: Path, form: FileFormat) -> Source:
    """The rows of a file, by its ending: .jsonl .ndjson .parquet .xlsx, anything else as delimited text; .gz of the text
    ones. Raises IntakeError for what can't be read."""
    if not path.exists():
        raise IntakeError(f"{path}: there is no such file.")
    if path.is_dir():
        raise IntakeError(f"{path}: this is a folder. Name the files in it: {path}/*.csv")
    if path.stat().st_size == 0:
        raise IntakeError(f"{path}: the file is empty. Was the export finished?")
    name = path.name.lower().removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            return _Parquet(path)
        if name.endswith((".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")):
            return _Workbook(path, form)
        stream = gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")
        if name.endswith((".jsonl", ".ndjson", ".json")):
            return _JsonLines(path, stream)
        return open_delimited(path, stream, form, path.stat().st_size)
    except IntakeError:
        raise
    except (OSError, EOFError, pl.exceptions.PolarsError, ValueError) as error:
        raise IntakeError(f"{path}: can't be read ({_first_line(error)}). Is it what its ending says?") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def read_lookup(path: Path, key: str, columns: set[str]) -> dict[str, dict[str, str]]:
    """For each of `columns` the value by key, both text; of a key that stands twice the first counts.

    Raises IntakeError when a column is missing."""
    source = open_file(path, FileFormat())
    check_columns(source, {key, *columns}, f"the look-up {path.name}")
    found: dict[str, dict[str, str]] = {column: {} for column in columns}
    for chunk in source.chunks():
        for column in columns:
            for name, value in chunk.frame.select(key, column).drop_nulls().unique(key, keep="first").iter_rows():
                found[column].setdefault(name, value)
    return found


def check_columns(source: Source, needed: set[str], who: str) -> None:
    """Raises IntakeError with every column that `who` needs and the source has not."""
    from retention.journey.notation import did_you_mean, list_options

    missing = sorted(needed - set(source.columns))
    if missing:
        hints = " ".join(filter(None, (did_you_mean(name, source.columns) for name in missing)))
        named = ", ".join(f'"{name}"' for name in missing)
        columns = hints or list_options("Its columns", source.columns)
        raise IntakeError(
            f"{source.name}: there is no column {named}, which {who} needs. {columns} Nothing was loaded."
        )


class _JsonLines:
    """One JSON object a line. What is nested is named with dots: address.city; lists stay JSON."""

    def __init__(self, path: Path, stream: io.BufferedIOBase):
        self.name, self.size = path.name, path.stat().st_size
        self._stream = stream
        self.columns = self._find_columns()

    def _find_columns(self) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for number, line in enumerate(self._stream):
            if number == 0 and line.lstrip(b"\xef\xbb\xbf \t").startswith(b"["):
                raise IntakeError(
                    f"{self.name}: this is one JSON list, not one object a line. Write it anew with: jq -c '.[]' "
                    f"{self.name} > {Path(self.name).stem}.jsonl"
                )
            record, _ = _read_record(line)
            found |= dict.fromkeys(record or ())
            if number >= 1000:
                break
        self._stream.seek(0)
        return tuple(found)

    def chunks(self) -> Iterator[Chunk]:
        records: list[dict[str, str]] = []
        lines: list[int] = []
        rejects: list[Reject] = []
        done = 0
        for number, line in enumerate(self._stream, 1):
            done += len(line)
            if line.strip():
                record, reason = _read_record(line)
                if record is None:
                    remedy = "Each line is one whole JSON object in UTF-8: export it anew."
                    rejects.append(Reject(number, None, reason, remedy, cut(line.decode("utf-8", "backslashreplace"))))
                else:
                    records.append(record)
                    lines.append(number)
            if len(records) + len(rejects) >= ROWS:
                yield self._as_chunk(records, lines, rejects, done)
                records, lines, rejects = [], [], []
        yield self._as_chunk(records, lines, rejects, done)

    def _as_chunk(self, records: list, lines: list, rejects: list, done: int) -> Chunk:
        rows = [[record.get(column) for column in self.columns] for record in records]
        frame = blank_to_null(make_frame(self.columns, rows))
        return Chunk(frame, pl.Series("line", lines, dtype=pl.Int64), rejects, done)


def _read_record(line: bytes) -> tuple[dict[str, str | None] | None, str]:
    """The flat record of a line, or None and why not. Numbers keep their digits."""
    try:
        text = line.decode("utf-8-sig")
        value = json.loads(text, parse_float=str, parse_int=str)
        if not isinstance(value, dict):
            return None, "not a JSON object"
        flat = dict(_flatten("", value))
        "".join(filter(None, flat.values())).encode()
        return flat, ""
    except UnicodeDecodeError:
        return None, "characters that are not utf-8"
    except (ValueError, RecursionError):
        return None, "not JSON"


def _flatten(prefix: str, value: dict) -> Iterator[tuple[str, str | None]]:
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, dict):
            yield from _flatten(f"{name}.", inner)
        else:
            yield name, as_text(inner)


def as_text(value: Any) -> str | None:
    """A value from JSON or a database as the text a file would hold."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case datetime() | date():
            return value.isoformat()
        case bytes() | memoryview():
            return bytes(value).decode("utf-8", errors="backslashreplace")
        case dict() | list():
            return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


class _Parquet:
    """A Parquet file, some rows at a time."""

    def __init__(self, path: Path):
        self.name = path.name
        self._scan = pl.scan_parquet(path)
        self._schema = self._scan.collect_schema()
        self.columns = tuple(self._schema)
        self.size = self._scan.select(pl.len()).collect().item()

    def chunks(self) -> Iterator[Chunk]:
        for begin in range(0, self.size, ROWS):
            try:
                part = self._scan.slice(begin, ROWS).collect()
            except pl.exceptions.PolarsError as error:
                text = f"{self.name}: broken after row {begin:,} ({_first_line(error)}). Export it anew."
                raise IntakeError(text) from error
            lines = pl.Series("line", range(begin + 1, begin + 1 + len(part)), dtype=pl.Int64)
            yield Chunk(blank_to_null(write_cells(part)), lines, [], begin + len(part))


def write_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Every column as text: moments in ISO 8601 with their zone, lists and structs as JSON."""
    written = []
    for column in frame.iter_columns():
        kind = column.dtype
        if isinstance(kind, pl.Datetime):
            form = "%Y-%m-%d %H:%M:%S%.f%:z" if kind.time_zone else "%Y-%m-%d %H:%M:%S%.f"
            column = column.dt.strftime(form)
        elif kind == pl.Boolean:
            column = column.replace_strict({True: "true", False: "false"}, return_dtype=pl.String)
        elif kind.is_nested() or kind == pl.Object:
            column = column.map_elements(as_text, return_dtype=pl.String, skip_nulls=True)
        elif kind == pl.Binary:
            column = column.map_elements(as_text, return_dtype=pl.String)
        elif kind.is_float():
            # 12.0 is 12 to whoever wrote a column of ids with gaps; digits otherwise as short as they are exact.
            column = column.cast(pl.String).str.replace(r"\.0$", "")
        else:
            column = column.cast(pl.String)
        written.append(column)
    return pl.DataFrame(written)


class _Workbook:
    """One sheet of a workbook; it is read whole (a sheet has a million rows at most). Lines are the sheet's rows."""

    def __init__(self, path: Path, form: FileFormat):
        import fastexcel

        self.name = path.name
        try:
            book = fastexcel.read_excel(path)
            if form.sheet is not None and form.sheet not in book.sheet_names:
                names = ", ".join(book.sheet_names)
                raise IntakeError(f'{path}: there is no sheet "{form.sheet}". Its sheets: {names}.')
            sheet = book.load_sheet(form.sheet or 0, header_row=None, skip_rows=form.skip_lines, dtypes="string")
            self._cells = sheet.to_polars()
        except fastexcel.FastExcelError as error:
            raise IntakeError(f"{path}: is no workbook that can be read ({_first_line(error)}).") from error
        self._first = form.skip_lines + 1
        names = form.columns
        if form.header and len(self._cells):
            names = names or [name or f"column_{i}" for i, name in enumerate(self._cells.row(0), 1)]
            self._cells, self._first = self._cells[1:], self._first + 1
        if names is None or len(names) > self._cells.width or len(set(names)) < len(names):
            raise IntakeError(f"{path}: its first row is no header with a different name for each column.")
        self._cells = self._cells[:, : len(names)].rename(dict(zip(self._cells.columns, names, strict=False)))
        self.columns = tuple(self._cells.columns)
        self.size = len(self._cells)

    def chunks(self) -> Iterator[Chunk]:
        for begin in range(0, self.size, ROWS):
            part = blank_to_null(self._cells.slice(begin, ROWS).with_columns(pl.all().cast(pl.String)))
            lines = pl.Series("line", range(self._first + begin, self._first + begin + len(part)), dtype=pl.Int64)
            is_row = part.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
            yield Chunk(part.filter(is_row), lines.filter(is_row), [], begin + len(part))


class Rows:
    """Rows of a query: `fetch` gives the next list of tuples, an empty one at the end. Lines count the rows."""

    def __init__(self, name: str, columns: Sequence[str], fetch: Callable[[], Sequence[Sequence[Any]]]):
        self.name, self.columns, self.size = name, tuple(columns), 0
        self._fetch = fetch

    def chunks(self) -> Iterator[Chunk]:
        done = 0
        while rows := self._fetch():
            texts = [[_as_sound_text(value) for value in row] for row in rows]
            lines = pl.Series("line", range(done + 1, done + 1 + len(rows)), dtype=pl.Int64)
            done += len(rows)
            yield Chunk(blank_to_null(make_frame(self.columns, texts)), lines, [], done)


def _as_sound_text(value: Any) -> str | None:
    text = as_text(value)
    return text if text is None else text.encode("utf-8", errors="backslashreplace").decode()
