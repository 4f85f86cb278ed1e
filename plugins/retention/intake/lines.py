"""Text with a delimiter, line by line: the careful way, for what is not sound. Each broken row is lost for itself.

A cell is quoted if it begins with the quote; a quote inside it is doubled. In other cells quotes are characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from retention.intake.chunks import Reject, cut

LONGEST_ROW = 1 << 20
"""In bytes."""
MOST_LINES = 1000
"""A quoted cell that spans more lines than this was never closed."""

BAD_QUOTE = "a quote that is never closed"
AFTER_QUOTE = "text right after a closing quote"
NUL = "a NUL character"
TOO_LONG = "a row longer than 1 MB"

_FIX_QUOTE = "Double the quotes inside a quoted cell, or save the file anew."
_REMEDIES = {
    NUL: "Something other than text is in the file: export it anew.",
    TOO_LONG: "Leave such cells out of the export.",
}
_FIX_ENCODING = "If the whole file is in another encoding, say so in the mapping: file: {encoding: gb18030}."


@dataclass
class Lines:
    """What became of some lines: `rows` with the line each begins in, `rejects`, how many `lines` were `used`."""

    rows: list[list[str]] = field(default_factory=list)
    row_lines: list[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    used: int = 0


class RowPattern:
    """What one row looks like with this delimiter and quote."""

    def __init__(self, delimiter: str, quote: str):
        d, q = re.escape(delimiter), re.escape(quote)
        self._delimiter, self._quote = delimiter, quote
        inside = f"(?:[^{q}]|{q}{q})*+"
        cell = f"(?:{q}{inside}{q}|[^{d}{q}][^{d}]*+|)"
        self._cell = re.compile(cell, re.S)
        self._whole = re.compile(f"{cell}(?:{d}{cell})*+", re.S)
        self._open = re.compile(f"(?:{cell}{d})*+{q}{inside}", re.S)
        self._inside = re.compile(inside, re.S)

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

    def stays_open(self, line: str) -> bool:
        """Whether a line that begins inside a quoted cell ends inside it."""
        return self._quote not in line or self._inside.fullmatch(line) is not None


class LineReader:
    """Reads rows of `width` cells; `encoding` is named in reasons."""

    def __init__(self, pattern: RowPattern, width: int, encoding: str):
        self._pattern, self._width, self._encoding = pattern, width, encoding

    def read(self, lines: list[bytes], first: int, is_end: bool) -> Lines:
        """The rows of these lines, the first of which is line `first` of the file. Stops at a row that may go on in lines
        that are not read yet, unless this is the end."""
        found, i = Lines(), 0
        while i < len(lines):
            taken, cells, reason = self._read_row(lines, i, is_end)
            if not taken:
                break
            raw = b"\n".join(lines[i : i + taken])
            if reason:
                found.rejects.append(self._reject(first + i, reason, raw))
            elif cells is not None and len(cells) == self._width:
                found.rows.append(cells)
                found.row_lines.append(first + i)
            elif cells is not None:
                found.rejects.append(reject_width(first + i, len(cells), self._width, raw))
            i += taken
        found.used = i
        return found

    def _read_row(self, lines: list[bytes], i: int, is_end: bool) -> tuple[int, list[str] | None, str | None]:
        """The row that begins at line i: how many lines it takes (0: it may go on after the last one), its cells (None: a
        blank line), and why it is none."""
        line = lines[i]
        if len(line) > LONGEST_ROW:
            return 1, None, TOO_LONG
        text = _decode(line)
        if is_blank(text, self._width):
            return 1, None, None
        cells = self._pattern.split(text.removesuffix("\r"))
        if cells is None and not self._pattern.is_open(text):
            return 1, None, self._find_fault(text) or AFTER_QUOTE
        size, taken = len(line), 1
        while cells is None:
            if i + taken == len(lines) and not is_end:
                return 0, None, None
            if i + taken == len(lines) or taken == MOST_LINES or size > LONGEST_ROW:
                return 1, None, self._find_fault(_decode(line)) or BAD_QUOTE
            more = _decode(lines[i + taken])
            text, size, taken = f"{text}\n{more}", size + len(lines[i + taken]) + 1, taken + 1
            if self._pattern.stays_open(more):
                continue
            cells = self._pattern.split(text.removesuffix("\r"))
            if cells is None and not self._pattern.is_open(text):
                return 1, None, self._find_fault(_decode(line)) or BAD_QUOTE
        if size > LONGEST_ROW:
            return taken, None, TOO_LONG
        return taken, cells, self._find_fault(text)

    def _find_fault(self, text: str) -> str | None:
        if "\0" in text:
            return NUL
        is_sound = text.isascii() or not any("\udc80" <= character <= "\udcff" for character in text)
        return None if is_sound else f"characters that are not {self._encoding}"

    def _reject(self, line: int, reason: str, raw: bytes) -> Reject:
        remedy = _FIX_ENCODING if reason.startswith("characters") else _REMEDIES.get(reason, _FIX_QUOTE)
        return Reject(line, None, reason, remedy, write_raw(raw))


def _decode(line: bytes) -> str:
    # What is not UTF-8 keeps its place: it says nothing about where cells and rows end.
    return line.decode("utf-8", errors="surrogateescape")


def is_blank(text: str, width: int) -> bool:
    """Whether a line is no row: nothing stands in it, or nothing but white space where several cells should be."""
    return not text or text == "\r" or (width > 1 and "\t" not in text and text.isspace())


def reject_width(line: int, found: int, wanted: int, raw: bytes) -> Reject:
    """The reject of a row that has other cells than the header."""
    if found < wanted:
        reason, remedy = "too few cells", "Half a line? Save the file anew."
    else:
        reason, remedy = "too many cells", "Put cells with a delimiter in them in quotes."
    return Reject(line, None, f"{reason}: not {wanted} like the header", remedy, write_raw(raw))


def reject_long(line: int, raw: bytes) -> Reject:
    """The reject of a row of which only the beginning was kept."""
    return Reject(line, None, TOO_LONG, _REMEDIES[TOO_LONG], write_raw(raw))


def write_raw(raw: bytes) -> str:
    """Bytes of a row as text to keep."""
    return cut(raw.decode("utf-8", errors="backslashreplace").rstrip("\r"))
