"""Where rows come from: which reader a file needs, by its ending, and the rows of a database's cursor. Knows no meaning."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from retention.errors import IntakeError
from retention.intake.chunks import Chunk, Source, blank_to_null, make_frame
from retention.intake.delimited import open_delimited
from retention.intake.json_lines import JsonLines, as_text
from retention.intake.mapping import FileFormat
from retention.intake.tabular import BROKEN, Parquet, Workbook


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
            return Parquet(path)
        if name.endswith((".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")):
            return Workbook(path, form)
        stream = _Gunzip(path) if path.name.lower().endswith(".gz") else path.open("rb")
        if name.endswith((".jsonl", ".ndjson", ".json")):
            return JsonLines(path, stream)
        return open_delimited(path, stream, form, path.stat().st_size)
    except IntakeError:
        raise
    except (OSError, ValueError, *BROKEN) as error:
        raise IntakeError(f"{path}: can't be read ({type(error).__name__}). Is it what its ending says?") from error


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

    if hasattr(source, "look_for") and needed - set(source.columns):
        source.look_for(needed)
    missing = sorted(needed - set(source.columns))
    if missing:
        hints = " ".join(filter(None, (did_you_mean(name, source.columns) for name in missing)))
        named = ", ".join(f'"{name}"' for name in missing)
        columns = hints or list_options("Its columns", source.columns)
        raise IntakeError(
            f"{source.name}: there is no column {named}, which {who} needs. {columns} Nothing was loaded."
        )


class _Gunzip(gzip.GzipFile):
    """A compressed file. Raises IntakeError where it is broken or ends too early."""

    def taken(self) -> int:
        """How much of the compressed file is read, in bytes."""
        return self.fileobj.tell()

    def read(self, size: int | None = -1) -> bytes:
        return self._guard(super().read, size)

    def readline(self, size: int | None = -1) -> bytes:
        return self._guard(super().readline, size)

    def _guard(self, read: Callable[[int | None], bytes], size: int | None) -> bytes:
        try:
            return read(size)
        except (OSError, EOFError, zlib.error) as error:
            text = f"{Path(self.name).name}: the compressed file is broken or ends too early. Fetch or export it anew."
            raise IntakeError(text) from error


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
