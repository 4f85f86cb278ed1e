"""What every source hands on: rows as columns of text, a piece at a time, and the lines that were no rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

LONGEST_RAW = 64 * 1024
"""What is kept of a rejected row, in characters: the place of the rest is its line in the source."""


@dataclass(frozen=True)
class Reject:
    """Something that did not come in: a `row`, or one `cell` of a row that did. `line` counts from 1 in the source."""

    line: int
    column: str | None
    reason: str
    remedy: str
    raw: str
    level: str = "row"


@dataclass
class Chunk:
    """Some rows. `frame`: columns of text, empty cells null; `lines`: where each row begins; `rejects`: what was no row;
    `done`: how much of the source is read now, in the unit of `Source.size`."""

    frame: pl.DataFrame
    lines: pl.Series
    rejects: list[Reject] = field(default_factory=list)
    done: int = 0


class Source(Protocol):
    """Rows from somewhere. `columns` is known before the first chunk; `size` may be 0 where it is not known."""

    name: str
    columns: tuple[str, ...]
    size: int

    def chunks(self) -> Iterator[Chunk]:
        """The rows, in order. Raises IntakeError for what can't be read at all."""
        ...


def make_frame(columns: Sequence[str], rows: Sequence[Sequence[str | None]]) -> pl.DataFrame:
    """A frame of text columns from rows of texts."""
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def blank_to_null(frame: pl.DataFrame) -> pl.DataFrame:
    """Cells without white space around them; empty ones null."""
    trimmed = frame.with_columns(pl.all().str.strip_chars())
    return trimmed.with_columns(pl.when(pl.all() != "").then(pl.all()))


def write_row(cells: Sequence[str | None]) -> str:
    """One row as a line of CSV, cut where it is very long."""
    line = io.StringIO()
    # With another line end cells of several lines would go without quotes.
    csv.writer(line, lineterminator="\r\n").writerow(["" if cell is None else cell for cell in cells])
    return cut(line.getvalue().removesuffix("\r\n"))


def cut(raw: str) -> str:
    """The text, without what is more than LONGEST_RAW characters, NULs and halves of characters that can't be stored."""
    raw = raw.replace("\0", "\\0")
    kept = raw if len(raw) <= LONGEST_RAW else f"{raw[:LONGEST_RAW]} ... ({len(raw):,} characters)"
    return kept.encode("utf-8", errors="backslashreplace").decode()
