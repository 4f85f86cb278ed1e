"""Text files with a delimiter (CSV and its kin), a block at a time. Owns what is a row and what is not; knows no field.

A block whose structure is sound is split by the library at full speed. What is not sound is looked at line by line, so
that one broken quote costs the lines it stands in and not the rest of the file.

A cell is quoted if it begins with the quote; a quote inside it is doubled. In other cells quotes are characters.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from retention.errors import IntakeError
from retention.intake.chunks import Chunk, Reject, blank_to_null, cut, make_frame
from retention.intake.encodings import Decoder, find_encoding
from retention.intake.mapping import FileFormat

BLOCK = 8 << 20
LONGEST_ROW = 1 << 20
MOST_LINES = 1000
"""A quoted cell that spans more lines than this was never closed."""

_NEWLINE, _RETURN = 10, 13

BAD_ENCODING = "characters that are not {encoding}"
BAD_QUOTE = "a quote that is never closed"
AFTER_QUOTE = "text right after a closing quote"
NUL = "a NUL character"
TOO_LONG = "a row longer than 1 MB"
_FIX_QUOTE = "Double the quotes inside a quoted cell, or save the file anew."


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
    lines: pl.Series
    rejects: list[Reject]


class DelimitedSource:
    """A text file. `encoding` and `delimiter` are those in use."""

    def __init__(self, name: str, stream: io.BufferedIOBase, form: FileFormat, size: int):
        self.name, self.size = name, size
        self._stream, self._form = stream, form
        self._is_spaced = form.delimiter == "whitespace"
        encoding = form.encoding or find_encoding(stream.read(1 << 20))
        self._decoder = Decoder(stream, encoding, BLOCK)
        self.encoding = self._decoder.encoding
        self._begin()
        self.delimiter = "\t" if self._is_spaced else form.delimiter or _find_delimiter(self._rest, form.quote)
        self._row = _RowPattern(self.delimiter, form.quote)
        self.columns = self._read_header()

    def _begin(self) -> None:
        self._stream.seek(0)
        self._decoder = Decoder(self._stream, self.encoding, BLOCK)
        self._line, self._is_end, self._rest = 1, False, b""
        self._fill()

    def rewind(self) -> None:
        """Go back to before the first row."""
        self._begin()
        self._read_header()

    # --- the header -------------------------------------------------------------------------------------------------

    def _read_header(self) -> tuple[str, ...]:
        for _ in range(self._form.skip_lines):
            self._take_line()
        if not self._form.header:
            return self._form.columns or ()
        while not self._is_end and not self._rest.split(b"\n", 1)[0].strip():
            self._take_line()
        line = self._take_line()
        cells = self._row.split(line.decode("utf-8", errors="replace").rstrip("\r\n")) if line.strip() else None
        if not cells or not any(cell.strip() for cell in cells):
            raise IntakeError(
                f"{self.name}: there is no header line. Write the columns' names in the first line, or in the mapping: "
                "file: {columns: [id, date, ...]}."
            )
        if self._form.columns:
            return self._form.columns
        return _tell_apart([cell.strip().removeprefix("\ufeff") for cell in cells])

    def _take_line(self) -> bytes:
        while b"\n" not in self._rest and not self._is_end:
            self._fill()
        line, newline, self._rest = self._rest.partition(b"\n")
        if newline or line:
            self._line += 1
        return line

    def _fill(self) -> None:
        more = self._decoder.read()
        self._is_end = more == b""
        self._rest += _squeeze(more) if self._is_spaced else more
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
            if block is None:
                continue
            yield self._as_chunk(block)

    def _as_chunk(self, block: _Block) -> Chunk:
        return Chunk(blank_to_null(block.frame), block.lines, block.rejects, self._decoder.done)

    def _parse(self, body: bytes, rows: int) -> pl.DataFrame | None:
        """The cells of so many rows; None if the library sees other rows than we do."""
        if not body:
            return make_frame(self.columns, [])
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
        if is_long or not _is_utf8(self._rest[:used]):
            return self._read_slowly()
        counts = np.diff(np.searchsorted(delimiters, ends), prepend=0)
        line_of = self._line + np.searchsorted(newlines, starts)
        is_blank = _is_blank(data, starts, ends)
        is_row = counts == len(self.columns) - 1
        # One column and nothing in it: a blank line is no row.
        keep = is_row & ~is_blank
        body = self._rest[:used] if keep.all() else data[:used][np.repeat(keep, ends + 1 - starts)].tobytes()
        frame = self._parse(body, int(keep.sum()))
        if frame is None:
            return self._read_slowly()
        rejects = [
            self._reject_width(int(line_of[i]), int(counts[i]) + 1, raw)
            for i in np.flatnonzero(~is_row & ~is_blank)
            if (raw := self._rest[starts[i] : ends[i]]).strip()
        ]
        self._rest = self._rest[used:]
        self._line += int(np.searchsorted(newlines, used))
        return _Block(frame, pl.Series("line", line_of[keep], dtype=pl.Int64), rejects)

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
        may_close = (
            is_last | (after == ord(self.delimiter)) | (after == _NEWLINE) | (after == _RETURN) | (after == quote)
        )
        if not (may_open.all() and may_close.all()):
            return None
        ends = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
        outside = delimiters[np.searchsorted(quotes, delimiters) % 2 == 0]
        return ends, newlines, outside

    def _reject_width(self, line: int, found: int, raw: bytes) -> Reject:
        wanted = len(self.columns)
        what = "too few" if found < wanted else "too many"
        reason = f"{what} cells: not {wanted} like the header"
        remedy = (
            "Half a line? Save the file anew." if found < wanted else "Put cells with a delimiter in them in quotes."
        )
        return Reject(line, None, reason, remedy, cut(raw.decode("utf-8", errors="backslashreplace").rstrip("\r")))

    # --- line by line -----------------------------------------------------------------------------------------------

    def _read_slowly(self) -> _Block | None:
        """The same rows as `_read_block`, line by line, each broken line for itself."""
        lines = self._rest.split(b"\n")
        tail = lines.pop()  # what follows the last line break: half a line, or nothing
        if not lines and len(tail) > LONGEST_ROW:
            return self._skip_line()
        if not lines:
            self._fill()
            return None
        rows: list[list[str]] = []
        row_lines: list[int] = []
        rejects: list[Reject] = []
        i = 0
        while i < len(lines):
            taken, cells, reason = self._read_row(lines, i)
            if taken == 0 and i > 0:
                break  # a quoted cell that may go on in what is not read yet
            if taken == 0:
                self._fill()
                return None
            line = self._line + i
            raw = b"\n".join(lines[i : i + taken])
            if reason:
                rejects.append(self._reject(line, reason, raw))
            elif cells is not None and len(cells) != len(self.columns):
                rejects.append(self._reject_width(line, len(cells), raw))
            elif cells is not None:
                rows.append(cells)
                row_lines.append(line)
            i += taken
        self._line += i
        self._rest = b"\n".join([*lines[i:], tail])
        return _Block(make_frame(self.columns, rows), pl.Series("line", row_lines, dtype=pl.Int64), rejects)

    def _skip_line(self) -> _Block:
        """Past a line that is too long to be looked at, wherever it ends."""
        reject = self._reject(self._line, TOO_LONG, self._rest[:LONGEST_ROW])
        while b"\n" not in self._rest and not self._is_end:
            self._rest = b""
            self._fill()
        self._take_line()
        return _Block(make_frame(self.columns, []), pl.Series("line", [], dtype=pl.Int64), [reject])

    def _read_row(self, lines: list[bytes], i: int) -> tuple[int, list[str] | None, str | None]:
        """The row that begins at line i: how many lines it takes (0: it may go on after the last one), its cells (None: a
        blank line), and why it is none."""
        if len(lines[i]) > LONGEST_ROW:
            return 1, None, TOO_LONG
        text = lines[i]
        for taken in range(1, MOST_LINES + 1):
            if b"\0" in text:
                return 1, None, NUL
            if not _is_utf8(text):
                return 1, None, BAD_ENCODING.format(encoding=self.encoding)
            decoded = text.decode().removesuffix("\r")
            if not decoded.strip():
                return 1, None, None
            cells = self._row.split(decoded)
            if cells is not None:
                return taken, cells, None
            if not self._row.is_open(decoded):
                return 1, None, AFTER_QUOTE
            if i + taken >= len(lines):
                return (1, None, BAD_QUOTE) if self._is_end else (0, None, None)
            text += b"\n" + lines[i + taken]
            if len(text) > LONGEST_ROW:
                break
        return 1, None, BAD_QUOTE

    def _reject(self, line: int, reason: str, raw: bytes) -> Reject:
        remedy = {
            NUL: "Something other than text is in the file: export it anew.",
            TOO_LONG: "Leave such cells out of the export.",
        }.get(reason, _FIX_QUOTE)
        if reason.startswith("characters"):
            remedy = "If the whole file is in another encoding, say so in the mapping: file: {encoding: gb18030}."
        return Reject(line, None, reason, remedy, cut(raw.decode("utf-8", errors="backslashreplace")))


class _RowPattern:
    """What one row looks like with this delimiter and quote."""

    def __init__(self, delimiter: str, quote: str):
        d, q = re.escape(delimiter), re.escape(quote)
        self._delimiter, self._quote = delimiter, quote
        inside = f"(?:[^{q}]|{q}{q})*+"
        cell = f"(?:{q}{inside}{q}|[^{d}{q}][^{d}]*+|)"
        self._cell = re.compile(cell, re.S)
        self._whole = re.compile(f"{cell}(?:{d}{cell})*+", re.S)
        self._open = re.compile(f"(?:{cell}{d})*+{q}{inside}", re.S)

    def split(self, text: str) -> list[str] | None:
        """The cells of a row, or None if the text is not one whole row."""
        if self._quote not in text:
            return text.split(self._delimiter)
        if not self._whole.fullmatch(text):
            return None
        cells, at = [], 0
        while True:
            cell = self._cell.match(text, at)[0]
            at += len(cell) + 1
            if cell[:1] == self._quote:
                cell = cell[1:-1].replace(self._quote * 2, self._quote)
            cells.append(cell)
            if at > len(text):
                return cells

    def is_open(self, text: str) -> bool:
        """Whether the text ends inside a quoted cell."""
        return self._open.fullmatch(text) is not None


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_blank(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    length = ends - starts
    return (length == 0) | ((length == 1) & (data[np.minimum(starts, len(data) - 1)] == _RETURN))


def _tell_apart(names: list[str]) -> tuple[str, ...]:
    """Names that are all different: a second "Name" is "Name_2", one without a name "column_3"."""
    found: list[str] = []
    for i, name in enumerate(names, 1):
        name, n = name or f"column_{i}", 2
        unique = name
        while unique in found:
            unique, n = f"{name}_{n}", n + 1
        found.append(unique)
    return tuple(found)


def _squeeze(text: bytes) -> bytes:
    """Columns set apart by white space: one tab between them, none at the ends of lines."""
    return re.sub(rb"[ \t]+", b"\t", re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", text))
