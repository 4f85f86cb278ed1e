"""Rows of text as a file for Excel: CSV or XLSX. Written row by row, whole or not at all, for this account alone.

Nothing in a cell is ever a formula, whatever it begins with.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO
from xml.sax.saxutils import escape
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from retention.errors import RetentionError

SHEET_ROWS = 1_048_576
"""More than that Excel does not take in a sheet: the rest goes on in the next one, under the same heads."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_EARLIEST = (1980, 1, 1, 0, 0, 0)

Rows = Iterable[tuple[str, ...]]


def write_table(path: Path, rows: Rows, *, name: str = "Sheet") -> int:
    """Write the rows, the first one being the heads, as what the file's ending says; the number of rows without the heads.

    Until all is written an earlier file stays. Raises RetentionError for another ending or a folder that is not there.
    """
    writers: dict[str, Callable[[IO[bytes], Rows, str], int]] = {".csv": _write_csv, ".xlsx": _write_xlsx}
    write = writers.get(path.suffix.lower())
    if write is None:
        raise RetentionError(f"{path}: its ending is none of .csv, .xlsx. Name a file with one of them.")
    half = path.with_name(f".{path.name}.{os.getpid()}.half")
    try:
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            count = write(file, rows, name)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    except OSError as error:
        raise RetentionError(
            f"{path}: it can't be written ({error.strerror}). Name a folder that is there and yours."
        ) from error
    finally:
        half.unlink(missing_ok=True)
    return count


def _write_csv(file: IO[bytes], rows: Rows, name: str) -> int:
    # Excel takes UTF-8 for what it is only behind a byte order mark.
    file.write(b"\xef\xbb\xbf")
    writer = csv.writer(_Encoding(file), lineterminator="\r\n")
    count = -1
    for row in rows:
        # An apostrophe makes Excel take the rest as text.
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row])
        count += 1
    return max(count, 0)


class _Encoding:
    """Where the csv module writes its lines to."""

    def __init__(self, file: IO[bytes]):
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.encode("utf-8", errors="replace"))


def _write_xlsx(file: IO[bytes], rows: Rows, name: str) -> int:
    given = iter(rows)
    heads = next(given, ())
    count, sheets, ahead = 0, 0, next(given, None)
    with ZipFile(file, "w", ZIP_DEFLATED, compresslevel=3) as book:
        while ahead is not None or not sheets:
            sheets += 1
            with book.open(_part(f"xl/worksheets/sheet{sheets}.xml"), "w", force_zip64=True) as sheet:
                sheet.write(_begin_sheet(len(heads)))
                sheet.write(_write_row(heads, 1))
                written = 1
                while ahead is not None and written < SHEET_ROWS:
                    sheet.write(_write_row(ahead, 2))
                    written += 1
                    ahead = next(given, None)
                count += written - 1
                sheet.write(b"</sheetData></worksheet>")
        for path, text in _frame(name, sheets):
            book.writestr(_part(path), text)
    return count


def _part(path: str) -> ZipInfo:
    """Always dated alike: the same rows make the same file."""
    part = ZipInfo(path, _EARLIEST)
    part.compress_type = ZIP_DEFLATED
    return part


def _write_row(row: tuple[str, ...], style: int) -> bytes:
    cells = "".join(
        f'<c t="inlineStr" s="{style}"><is><t xml:space="preserve">{_in_xml(it)}</t></is></c>' for it in row
    )
    return f"<row>{cells}</row>".encode()


def _in_xml(cell: str) -> str:
    return escape(_UNPRINTABLE.sub("\ufffd", cell[:32_767]))


_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_WIDTHS = (18, 14, 80, 50, 80)


def _begin_sheet(columns: int) -> bytes:
    widths = "".join(
        f'<col min="{n}" max="{n}" width="{_WIDTHS[min(n, len(_WIDTHS)) - 1]}" customWidth="1"/>'
        for n in range(1, columns + 1)
    )
    view = '<sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView>'
    cols = f"<cols>{widths}</cols>" if columns else ""
    return f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetViews>{view}</sheetViews>{cols}<sheetData>'.encode()


def _frame(name: str, sheets: int) -> Iterator[tuple[str, str]]:
    """The parts of a workbook around its sheets. Style 1: heads; 2: text, which stays text when it is edited."""
    numbers = range(1, sheets + 1)
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = "".join(
        f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{kind}.worksheet+xml"/>' for n in numbers
    )
    yield (
        "[Content_Types].xml",
        (
            f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
            f'<Override PartName="/xl/styles.xml" ContentType="{kind}.styles+xml"/>{parts}</Types>'
        ),
    )
    yield (
        "_rels/.rels",
        (
            f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">'
            f'<Relationship Id="rId1" Type="{_DOCUMENT}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
        ),
    )
    titles = [escape(name if n == 1 else f"{name} {n}", {'"': "&quot;"}) for n in numbers]
    listed = "".join(f'<sheet name="{title}" sheetId="{n}" r:id="rId{n}"/>' for n, title in enumerate(titles, 1))
    yield (
        "xl/workbook.xml",
        (f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_DOCUMENT}"><sheets>{listed}</sheets></workbook>'),
    )
    links = "".join(
        f'<Relationship Id="rId{n}" Type="{_DOCUMENT}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n in numbers
    )
    yield (
        "xl/_rels/workbook.xml.rels",
        (
            f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">{links}'
            f'<Relationship Id="rId{sheets + 1}" Type="{_DOCUMENT}/styles" Target="styles.xml"/></Relationships>'
        ),
    )
    yield (
        "xl/styles.xml",
        (
            f'{_HEAD}<styleSheet xmlns="{_MAIN}"><fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
            '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
            '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>'
            '<borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs>'
            '<cellXfs count="3"><xf/><xf fontId="1" applyFont="1"/><xf numFmtId="49" applyNumberFormat="1"/></cellXfs></styleSheet>'
        ),
    )
