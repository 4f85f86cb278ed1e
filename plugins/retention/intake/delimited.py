"""Text files with a delimiter (CSV and its kin), a block at a time. Owns what is a row and what is not; knows no field.

A block whose structure is sound is split by the library at full speed. What is not sound is looked at line by line
(lines.py), so that one broken quote costs the lines it stands in and not the rest of the file.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from retention.errors import IntakeError
from retention.intake.chunks import Chunk, Reject, blank_to_null, make_frame, write_row
from retention.intake.encodings import SAMPLE, Decoder, find_encoding, has_returns_alone, is_utf8
from retention.intake.lines import (
    LONGEST_ROW,
    MOST_LINES,
    LineReader,
    RowPattern,
    is_blank,
    reject_long,
    reject_width,
)
from retention.intake.mapping import FileFormat

BLOCK = 8 << 20
MOST_HEADER_LINES = 50
"""A header whose quoted names go on for more lines than this was never closed."""

_NEWLINE, _RETURN = 10, 13


def open_delimited(path: Path, stream: io.BufferedIOBase, form: FileFormat, size: int) -> DelimitedSource:
    """The file's rows, its encoding, delimiter and header found. Raises IntakeError when there is no header."""
    return DelimitedSource(path.name, stream, form, size)


def _find_delimiter(head: bytes, quote: str) -> str:
    """The one that the first lines agree on most."""
    lines = [re.sub(rf"{re.escape(quote)}[^{re.escape(quote)}]*{re.escape(quote)}", "", line)
             for line in head[: 64 << 10].decode("utf-8", errors="replace").splitlines()[:50]]  # fmt: skip
    lines = [line for line in lines if line.strip()] or [""]

    def agreement(delimiter: str) -> tuple[int, int]:
        count = lines[0].count(delimiter)
        return (sum(line.count(delimiter) == count for line in lines) if count else 0, count)

    best = max(",;\t|", key=agreement)
    return best if lines[0].count(best) else ","


@dataclass
class _Block:
    """Rows of one block, the line each begins in, and what was no row."""

    frame: pl.DataFrame
    lines: Sequence[int]
    rejects: list[Reject]


class DelimitedSource:
    """A text file. `encoding` and `delimiter` are those in use."""

    def __init__(self, name: str, stream: io.BufferedIOBase, form: FileFormat, size: int):
        self.name, self.size = name, size
        self._stream, self._form = stream, form
        self._is_spaced = form.delimiter == "whitespace"
        sample = stream.read(SAMPLE)
        self._encoding = form.encoding or find_encoding(sample)
        self._is_open = not form.encoding and sample.isascii()
        self._is_mac = has_returns_alone(sample, self._encoding)
        self.delimiter = "\t" if self._is_spaced else form.delimiter or ""
        self.columns = self._begin()

    @property
    def encoding(self) -> str:
        """The encoding as far as it is known: a file that begins with ASCII may show it late."""
        return self._decoder.encoding

    def rewind(self) -> None:
        """Go back to before the first row."""
        self._begin()

    # --- the header -------------------------------------------------------------------------------------------------

    def _begin(self) -> tuple[str, ...]:
        self._stream.seek(0)
        self._decoder = Decoder(self._stream, self._encoding, BLOCK, is_mac=self._is_mac, is_open=self._is_open)
        self._line, self._is_end, self._rest = 1, False, b""
        for _ in range(self._form.skip_lines):
            self._take_line()
        self._skip_blank()
        # What Excel writes, and reads, above a header.
        if hint := re.fullmatch(rb'"?sep=(.)"?\r?\n', self._rest[: self._rest.find(b"\n") + 1]):
            self._take_line()
            self.delimiter = self.delimiter or hint[1].decode(errors="replace")
        self.delimiter = self.delimiter or _find_delimiter(self._rest, self._form.quote)
        self._pattern = RowPattern(self.delimiter, self._form.quote)
        columns = self._read_header()
        self._reader = LineReader(self._pattern, len(columns), self.encoding)
        return columns

    def _skip_blank(self) -> None:
        self._fill_line()
        while self._rest and not self._rest.split(b"\n", 1)[0].strip():
            self._take_line()
            self._fill_line()

    def _read_header(self) -> tuple[str, ...]:
        self._header: list[str] = []
        if not self._form.header:
            return self._form.columns or ()
        text = self._take_line().decode("utf-8", errors="replace")
        for _ in range(MOST_HEADER_LINES):
            if not self._pattern.is_open(text):
                break
            text += "\n" + self._take_line().decode("utf-8", errors="replace")
        cells = self._pattern.split(text.removesuffix("\r")) or []
        self._header = [re.sub(r"\s*[\r\n]+\s*", " ", cell.strip("\ufeff\u200b \t\r\n").strip()) for cell in cells]
        if not any(self._header):
            raise IntakeError(
                f"{self.name}: there is no header line. Write the columns' names in the first line, or in the mapping: "
                "file: {columns: [id, date, ...]}."
            )
        return self._form.columns or tell_apart(self._header)

    def _take_line(self) -> bytes:
        self._fill_line()
        line, newline, self._rest = self._rest.partition(b"\n")
        if newline or line:
            self._line += 1
        return line

    def _fill_line(self) -> None:
        while b"\n" not in self._rest and not self._is_end:
            if len(self._rest) > LONGEST_ROW:
                raise IntakeError(
                    f"{self.name}: line {self._line:,} is longer than 1 MB. Is this a text file with one row a line?"
                )
            self._fill()

    def _fill(self) -> None:
        more = self._decoder.read()
        self._is_end = more == b""
        self._rest += _squeeze(more, self._form.quote.encode()) if self._is_spaced else more
        if self._is_end and self._rest and not self._rest.endswith(b"\n"):
            self._rest += b"\n"

    # --- the rows ---------------------------------------------------------------------------------------------------

    def chunks(self) -> Iterator[Chunk]:
        """The rows, block by block; memory does not grow with the file."""
        while True:
            if not self._is_end and len(self._rest) < BLOCK:
                self._fill()
            if not self._rest and self._is_end:
                return
            block = self._read_block()
            if block is not None:
                yield self._as_chunk(block)

    def _as_chunk(self, block: _Block) -> Chunk:
        frame, lines = blank_to_null(block.frame), pl.Series("line", block.lines, dtype=pl.Int64)
        frame, lines, rejects = self._refuse_headers(frame, lines, block.rejects)
        return Chunk(frame, lines, rejects, self._decoder.done)

    def _refuse_headers(self, frame: pl.DataFrame, lines: pl.Series, rejects: list[Reject]):
        """Files that were put together bring their header again, and it is nobody."""
        if not any(self._header) or len(self._header) != frame.width:
            return frame, lines, rejects
        first = self._header.index(max(self._header, key=len))
        is_header = (frame.to_series(first) == self._header[first]).fill_null(False)
        if not is_header.any():
            return frame, lines, rejects
        for column, name in zip(frame.iter_columns(), self._header, strict=True):
            is_header &= column.fill_null("").str.strip_chars("\ufeff\u200b \t") == name
        again = [
            Reject(line, None, "the header once more", "Leave it out of the file.", write_row(row))
            for line, row in zip(lines.filter(is_header), frame.filter(is_header).iter_rows(), strict=True)
        ]
        return frame.filter(~is_header), lines.filter(~is_header), [*rejects, *again]

    def _parse(self, body: bytes, rows: int) -> pl.DataFrame | None:
        """The cells of so many rows; None if the library sees other rows than we do."""
        if not body:
            return make_frame(self.columns, [])
        if body.startswith(codecs.BOM_UTF8):
            # The library takes one away; in mid-file it belongs to a cell.
            body = codecs.BOM_UTF8 + body
        try:
            frame = pl.read_csv(
                io.BytesIO(body),
                has_header=False,
                new_columns=list(self.columns),
                separator=self.delimiter,
                quote_char=self._form.quote,
                infer_schema=False,
                raise_if_empty=False,
            )
        except pl.exceptions.PolarsError:
            return None
        return frame if frame.shape == (rows, len(self.columns)) else None

    def _read_block(self) -> _Block | None:
        """The rows that are whole in what is read; None when more must be read first."""
        if b"\n" not in self._rest and len(self._rest) > LONGEST_ROW:
            return self._skip_long_line()
        data = np.frombuffer(self._rest, np.uint8)
        layout = self._lay_out(data) if b"\0" not in self._rest else None
        if layout is None:
            return self._read_slowly()
        ends, newlines, delimiters = layout
        if not len(ends):
            if self._is_end or len(self._rest) > LONGEST_ROW:
                return self._read_slowly()
            self._fill()
            return None
        starts = np.concatenate(([0], ends[:-1] + 1))
        used = int(ends[-1]) + 1
        spans = np.diff(np.searchsorted(newlines, ends), prepend=-1)
        is_long = (ends - starts).max() > LONGEST_ROW or spans.max() > MOST_LINES
        if is_long or not is_utf8(self._rest[:used]):
            return self._read_slowly()
        counts = np.diff(np.searchsorted(delimiters, ends), prepend=0)
        line_of = self._line + np.searchsorted(newlines, starts)
        # One column and nothing in it: a blank line is no row.
        keep = (counts == len(self.columns) - 1) & ~_is_empty(data, starts, ends)
        body = self._rest[:used] if keep.all() else data[:used][np.repeat(keep, ends + 1 - starts)].tobytes()
        frame = self._parse(body, int(keep.sum()))
        if frame is None:
            return self._read_slowly()
        width = len(self.columns)
        rejects = [
            reject_width(int(line_of[i]), int(counts[i]) + 1, width, raw)
            for i in np.flatnonzero(~keep)
            if not is_blank((raw := self._rest[starts[i] : ends[i]]).decode(), width)
        ]
        self._rest = self._rest[used:]
        self._line += int(np.searchsorted(newlines, used))
        return _Block(frame, line_of[keep], rejects)

    def _lay_out(self, data: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Where rows end, all line breaks, delimiters outside quotes; None if a quote stands where none may."""
        newlines = np.flatnonzero(data == _NEWLINE)
        delimiters = np.flatnonzero(data == ord(self.delimiter))
        quote = ord(self._form.quote)
        quotes = np.flatnonzero(data == quote)
        if not len(quotes):
            return newlines, newlines, delimiters
        opening, closing = quotes[0::2], quotes[1::2]
        before = data[np.maximum(opening - 1, 0)]
        may_open = (opening == 0) | (before == ord(self.delimiter)) | (before == _NEWLINE) | (before == quote)
        # The first of a block may follow a quote only if that one closed just before it.
        doubled = np.zeros(len(opening), bool)
        doubled[1:] = closing[: len(opening) - 1] == opening[1:] - 1
        may_open &= (before != quote) | doubled | (opening == 0)
        after = data[np.minimum(closing + 1, len(data) - 1)]
        is_last = closing + 1 >= len(data)
        returns = after == _RETURN
        returns[returns] = data[np.minimum(closing[returns] + 2, len(data) - 1)] == _NEWLINE
        may_close = is_last | (after == ord(self.delimiter)) | (after == _NEWLINE) | returns | (after == quote)
        if not (may_open.all() and may_close.all()):
            return None
        ends = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
        outside = delimiters[np.searchsorted(quotes, delimiters) % 2 == 0]
        return ends, newlines, outside

    def _read_slowly(self) -> _Block | None:
        """The same rows as `_read_block`, line by line, each broken line for itself."""
        lines = self._rest.split(b"\n")
        tail = lines.pop()  # what follows the last line break: half a line, or nothing
        read = self._reader.read(lines, self._line, self._is_end)
        if not read.used:
            self._fill()
            return None
        self._line += read.used
        self._rest = b"\n".join([*lines[read.used :], tail])
        return _Block(make_frame(self.columns, read.rows), read.row_lines, read.rejects)

    def _skip_long_line(self) -> _Block:
        kept, line = self._rest[:LONGEST_ROW], self._line
        while b"\n" not in self._rest and not self._is_end:
            self._rest = b""
            self._fill()
        self._rest = self._rest.partition(b"\n")[2]
        self._line += 1
        return _Block(make_frame(self.columns, []), [], [reject_long(line, kept)])


def _is_empty(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    length = ends - starts
    return (length == 0) | ((length == 1) & (data[np.minimum(starts, len(data) - 1)] == _RETURN))


def tell_apart(names: list[str]) -> tuple[str, ...]:
    """Names that are all different: a second "Name" is "Name_2", one without a name "column_3"."""
    found: dict[str, None] = {}
    for i, name in enumerate(names, 1):
        name, n = name or f"column_{i}", 2
        unique = name
        while unique in found or (unique != name and unique in names):
            unique, n = f"{name}_{n}", n + 1
        found[unique] = None
    return tuple(found)


def _squeeze(text: bytes, quote: bytes) -> bytes:
    """Columns set apart by white space: one tab between them, none at the ends of lines. Quoted cells keep theirs, if they
    end in the line they begin in."""
    if quote not in text:
        return re.sub(rb"[ \t]+", b"\t", re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", text))
    q = re.escape(quote)
    pattern = (
        rb"(?m)(?<![^ \t\n])" + q + rb"(?:[^\n" + q + rb"]|" + q + q + rb")*+" + q + rb"|^[ \t]+|[ \t]+(?=\r?$)|[ \t]+"
    )
    return re.sub(pattern, lambda m: m[0] if m[0][:1] == quote else _between(m), text)


def _between(found: re.Match[bytes]) -> bytes:
    is_edge = found.start() == 0 or found.string[found.start() - 1 : found.start()] == b"\n"
    after = found.string[found.end() : found.end() + 2]
    return b"" if is_edge or after[:1] in (b"\n", b"") or after == b"\r\n" else b"\t"
