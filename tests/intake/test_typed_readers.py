"""Readers of JSON lines, compressed files, Parquet and workbooks: every value as text and back, broken files said so."""

import gzip
import io
import json
import random
import zipfile
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retention.errors import IntakeError
from retention.intake import json_lines
from retention.intake.mapping import FileFormat
from retention.intake.sources import Rows, check_columns, open_file
from retention.intake.tabular import write_cells

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def read(tmp_path):
    """read(bytes, name, form, needs): rows as dictionaries, their lines, what was rejected by line."""

    def read_file(data: bytes, name: str, form: FileFormat = FileFormat(), needs: set[str] = frozenset()):
        path = tmp_path / name
        path.write_bytes(data)
        source = open_file(path, form)
        check_columns(source, set(needs), "the test")
        chunks = list(source.chunks())
        rows = [row for chunk in chunks for row in chunk.frame.to_dicts()]
        lines = [line for chunk in chunks for line in chunk.lines.to_list()]
        return rows, lines, {reject.line: reject.reason for chunk in chunks for reject in chunk.rejects}

    return read_file


# --- JSON lines -----------------------------------------------------------------------------------------------------


def test_json_values_keep_their_digits(read):
    line = b'{"a":0.1,"b":1e400,"c":12345678901234567890,"d":true,"e":null,"f":"","g":[1.10,"x",{"k":2}],"h":{"i":{"j":-0}}}'
    rows, lines, bad = read(b"\xef\xbb\xbf" + line + b"\r\n\n" + line, "f.jsonl")
    assert rows[0] == rows[1] == {
        "a": "0.1", "b": "1e400", "c": "12345678901234567890", "d": "true", "e": None, "f": None,
        "g": '[1.10, "x", {"k": 2}]', "h.i.j": "-0",
    }  # fmt: skip
    assert lines == [1, 3] and not bad


def test_broken_json_costs_its_line(read):
    lines = [
        b'{"id": 1}', b'{"id": 2', b"[3]", b'{"id": "\\ud800"}', b'{"\\udc00": 5}', b'{"id": 6, "id": 7}',
        b'{"a.b": 8, "a": {"b": 8}}', b'{"id": "\xff"}', b"null", b"\0", b'{"id": ' + b"[" * 100_000,
        b'{"id": "' + b"x" * 1_100_000 + b'"}', b'{"id": 12}',
    ]  # fmt: skip
    rows, numbers, bad = read(b"\n".join(lines), "f.ndjson")
    assert [row["id"] for row in rows] == ["1", "12"] and numbers == [1, 13]
    assert bad == {
        2: "not JSON", 3: "not a JSON object", 4: "half a character (a lone surrogate)",
        5: "half a character (a lone surrogate)", 6: "a name that stands twice in one object",
        7: "a name that stands twice in one object", 8: "characters that are not utf-8", 9: "not a JSON object",
        10: "not JSON", 11: "not JSON", 12: "a row longer than 1 MB",
    }  # fmt: skip


def test_a_column_that_begins_late_is_found_by_its_name(read):
    data = b'{"id": 1}\n' * 3000 + b'{"id": 2, "mail": "x", "other": 1}\n'
    rows, _, _ = read(data, "f.jsonl", needs={"id", "mail"})
    assert rows[-1] == {"id": "2", "mail": "x", "other": "1"} and rows[0]["mail"] is None
    with pytest.raises(IntakeError, match='there is no column "maill", which the test needs. Did you mean'):
        read(data.replace(b"mail", b"mails"), "f.jsonl", needs={"id", "maill"})


def test_json_that_is_no_lines(read):
    with pytest.raises(IntakeError, match=r"jq -c '.\[\]' f.json > f-lines.jsonl"):
        read(b' [{"id": 1}]', "f.json")
    with pytest.raises(IntakeError, match="there is no JSON object in its first 1,000 lines"):
        read(b"id,name\n1,Ann\n", "f.jsonl")


def test_json_pieces_keep_their_lines(read, monkeypatch):
    monkeypatch.setattr(json_lines, "ROWS", 3)
    data = b"".join(b'{"id": %d}\n' % n if n % 4 else b"\nbroken\n" for n in range(1, 20))
    rows, lines, bad = read(data, "f.jsonl")
    naive = [(n, line) for n, line in enumerate(data.split(b"\n"), 1) if line]
    assert lines == [n for n, line in naive if line != b"broken"] and len(rows) == len(lines)
    assert sorted(bad) == [n for n, line in naive if line == b"broken"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@QUICK
@given(st.lists(st.dictionaries(st.text("abc.", min_size=1, max_size=3), VALUES, min_size=1, max_size=4), min_size=1))
def test_any_json_object_comes_in_whole(read, records):
    try:
        data = "\n".join(json.dumps(record, ensure_ascii=False) for record in records).encode()
    except UnicodeEncodeError:
        return
    rows, lines, bad = read(data, "f.jsonl")
    assert len(rows) == len(records) and not bad
    for row, record in zip(rows, records, strict=True):
        for name, value in record.items():
            if isinstance(value, list):
                assert json.loads(row[name]) == value
            elif isinstance(value, str):
                assert row[name] == (pl.Series([value]).str.strip_chars()[0] or None)
            elif value is not None and not isinstance(value, bool):
                assert row[name] == json.dumps(value)


# --- compressed files -----------------------------------------------------------------------------------------------

TEXTS = {
    "f.csv.gz": b"id,name\n" + b"".join(b"%d,%d\n" % (n, n * 7919 % 10007) for n in range(200_000)),
    "f.jsonl.gz": b"".join(b'{"id": %d, "x": %d}\n' % (n, n * 7919 % 10007) for n in range(60_000)),
}


@pytest.mark.parametrize("name", TEXTS)
def test_compressed_files(read, name):
    rows, _, bad = read(gzip.compress(TEXTS[name], 1), name)
    assert len(rows) == TEXTS[name].count(b"\n") - name.startswith("f.csv") and not bad
    two = gzip.compress(TEXTS[name]) + gzip.compress(TEXTS[name])
    assert len(read(two, name)[0]) >= 2 * len(rows)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("how", ["half", "nearly all", "flipped", "tail", "no gzip", "begin"])
def test_broken_compressed_files(read, name, how):
    data = gzip.compress(TEXTS[name], 1)
    broken = {
        "half": data[: len(data) // 2],
        "nearly all": data[:-9],
        "flipped": data[:-400] + bytes(400),
        "tail": data + b"garbage",
        "no gzip": TEXTS[name],
        "begin": data[:12],
    }[how]
    with pytest.raises(IntakeError, match="broken or ends too early. Fetch or export it anew") as error:
        read(broken, name)
    assert "7919" not in str(error.value)


# --- Parquet --------------------------------------------------------------------------------------------------------

TYPED = {
    "text": (pl.Series(["a", " ", None]), ["a", " ", None]),
    "decimal": (pl.Series([Decimal("1.10"), None, Decimal("-99999999999.99")]), ["1.10", None, "-99999999999.99"]),
    "date": (pl.Series([date(1, 1, 1), date(9999, 12, 31), None]), ["0001-01-01", "9999-12-31", None]),
    "far": (pl.Series([2**31 - 1, -(2**31), None], dtype=pl.Int32).cast(pl.Date), ["beyond the year 9999"] * 2 + [None]),
    "naive": (pl.Series([datetime(2026, 1, 1, 1, 2, 3), None, datetime(2026, 1, 1, 1, 2, 3, 4)]),
              ["2026-01-01 01:02:03", None, "2026-01-01 01:02:03.000004"]),
    "aware": (pl.Series([datetime(2026, 7, 1, tzinfo=UTC)] * 2 + [None]).dt.convert_time_zone("Asia/Shanghai"),
              ["2026-07-01 08:00:00+08:00"] * 2 + [None]),
    "ns": (pl.Series([0, None, -(2**63) + 1], dtype=pl.Int64).cast(pl.Datetime("ns")), None),
    "far moment": (pl.Series([2**62, None, 0], dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
                   ["beyond the year 9999", None, "1970-01-01 00:00:00+00:00"]),
    "bool": (pl.Series([True, False, None]), ["true", "false", None]),
    "float": (pl.Series([12.0, float("nan"), 1e20]), ["12", None, "100000000000000000000"]),
    "small": (pl.Series([0.1, 1e-7, -1.5e-5]), ["0.1", "0.0000001", "-0.000015"]),
    "inf": (pl.Series([float("inf"), 1e300, None]), None),
    "f32": (pl.Series([12.0, 0.1, None], dtype=pl.Float32), ["12", "0.1", None]),
    "u64": (pl.Series([2**64 - 1, 0, None], dtype=pl.UInt64), ["18446744073709551615", "0", None]),
    "list": (pl.Series([[1, 2], [], None]), ["[1, 2]", "[]", None]),
    "array": (pl.Series([[1, 2], [3, 4], None], dtype=pl.Array(pl.Int64, 2)), ["[1, 2]", "[3, 4]", None]),
    "struct": (pl.Series([{"a": 1, "b": [date(2026, 1, 1)]}, None, {"a": None, "b": None}]),
               ['{"a": 1, "b": ["2026-01-01"]}', None, '{"a": null, "b": null}']),
    "binary": (pl.Series([b"a", b"\xff", None]), ["a", "\\xff", None]),
    "time": (pl.Series([time(1, 2), None, None]), ["01:02:00", None, None]),
    "duration": (pl.Series([timedelta(1), None, None]), ["1 day, 0:00:00", None, None]),
    "category": (pl.Series(["a", "b", None], dtype=pl.Categorical), ["a", "b", None]),
    "null": (pl.Series([None, None, None], dtype=pl.Null), [None, None, None]),
}  # fmt: skip


@pytest.mark.parametrize("kind", TYPED)
def test_every_type_becomes_text(read, kind):
    values, texts = TYPED[kind]
    frame = pl.DataFrame({"x": values, "id": ["1", "2", "3"]})
    written = write_cells(frame)["x"].to_list()
    assert texts is None or written == texts
    if kind in ("null", "time", "duration", "category", "binary") or kind.startswith("far"):
        return
    out = io.BytesIO()
    frame.write_parquet(out)
    rows, lines, _ = read(out.getvalue(), "f.parquet")
    assert [row["x"] for row in rows] == [text and text.strip() or None for text in written] and lines == [1, 2, 3]


def test_parquet_in_pieces_and_broken(read, monkeypatch, capfd):
    from retention.intake import tabular

    monkeypatch.setattr(tabular, "ROWS", 300)
    frame = pl.DataFrame({"id": range(2000), "name": [f"n{n * 7919}" for n in range(2000)]})
    out = io.BytesIO()
    frame.write_parquet(out, row_group_size=500)
    rows, lines, _ = read(out.getvalue(), "f.parquet")
    assert [row["id"] for row in rows] == [str(n) for n in range(2000)] and lines == list(range(1, 2001))
    dice, outcomes = random.Random(1), set()
    for turn in range(150):
        data = bytearray(out.getvalue())
        for _ in range(3):
            data[dice.randrange(len(data))] = dice.randrange(256)
        if turn % 3 == 0:
            data = data[: dice.randrange(len(data))]
        try:
            outcomes.add(len(read(bytes(data), "f.parquet")[0]))
        except IntakeError:
            outcomes.add("said")
    assert "said" in outcomes


# --- workbooks ------------------------------------------------------------------------------------------------------

OPEN = '<?xml version="1.0"?>'
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def write_book(sheets: dict[str, dict[int, list]]) -> bytes:
    """A workbook: sheet -> row number -> cells (None, text, number, boolean, or (attributes, inner XML))."""
    out = io.BytesIO()
    numbered = list(enumerate(sheets, 1))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr(
            "[Content_Types].xml",
            f'{OPEN}<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" '
            'ContentType="application/xml"/></Types>',
        )
        book.writestr(
            "_rels/.rels",
            f'{OPEN}<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r" '
            f'Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        listed = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in numbered)
        book.writestr(
            "xl/workbook.xml", f'{OPEN}<workbook {MAIN} xmlns:r="{OFFICE}"><sheets>{listed}</sheets></workbook>'
        )
        parts = "".join(
            f'<Relationship Id="r{n}" Type="{OFFICE}/worksheet" Target="worksheets/s{n}.xml"/>' for n, _ in numbered
        )
        parts += f'<Relationship Id="s" Type="{OFFICE}/styles" Target="styles.xml"/>'
        book.writestr(
            "xl/_rels/workbook.xml.rels",
            f'{OPEN}<Relationships xmlns="{PACKAGE}/relationships">{parts}</Relationships>',
        )
        book.writestr(
            "xl/styles.xml",
            f'{OPEN}<styleSheet {MAIN}><cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="14"/>'
            '<xf numFmtId="22"/></cellXfs></styleSheet>',
        )
        for n, name in numbered:
            rows = "".join(
                f'<row r="{r}">{"".join(_write_cell(r, c, it) for c, it in enumerate(cells))}</row>'
                for r, cells in sheets[name].items()
            )
            book.writestr(
                f"xl/worksheets/s{n}.xml", f"{OPEN}<worksheet {MAIN}><sheetData>{rows}</sheetData></worksheet>"
            )
    return out.getvalue()  # fmt: skip


def _write_cell(row: int, column: int, value) -> str:
    place = f'r="{chr(65 + column)}{row}"'
    match value:
        case None:
            return ""
        case bool():
            return f'<c {place} t="b"><v>{int(value)}</v></c>'
        case int() | float():
            return f"<c {place}><v>{value}</v></c>"
        case (attributes, inner):
            return f"<c {place} {attributes}>{inner}</c>"
    return f'<c {place} t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'


def test_a_workbook(read):
    book = write_book({"One": {
        1: ["id", " name ", "day", "moment", "ok", "sum", "error"],
        2: [12.0, " Ann ", ('s="1"', "<v>46023</v>"), ('s="2"', "<v>46023.5</v>"), True, ("", "<f>1+1</f><v>2</v>"),
            ('t="e"', "<v>#N/A</v>")],
        3: [],
        4: [13800138000, None, None, None, False, ('t="str"', "<f>A1</f><v>five</v>"), None],
        5: ["  "],
        9: [0.1, None, None, None, None, 1e-7, None],
    }})  # fmt: skip
    rows, lines, _ = read(book, "f.xlsx")
    assert lines == [2, 4, 9] and [row["id"] for row in rows] == ["12", "13800138000", "0.1"]
    first = rows[0]
    assert (first["name"], first["day"], first["ok"], first["sum"]) == ("Ann", "2026-01-01 00:00:00", "true", "2")
    assert first["moment"] == "2026-01-01 12:00:00" and first["error"] is None
    assert rows[1]["sum"] == "five" and rows[2]["sum"] == "0.0000001"


def test_headers_and_sheets_of_workbooks(read):
    late = write_book({"S": {3: ["id", "id", None], 5: [1, "a", "b"]}})
    assert read(late, "f.xlsx") == ([{"id": "1", "id_2": "a", "column_3": "b"}], [5], {})
    titled = write_book({"S": {1: ["Report"], 3: ["id"], 4: [7]}})
    assert read(titled, "f.xlsx", FileFormat(skip_lines=1)) == ([{"id": "7"}], [4], {})
    two = write_book({"One": {1: ["x"]}, "Two": {1: ["id"], 2: [5]}})
    assert read(two, "f.xlsx", FileFormat(sheet="Two")) == ([{"id": "5"}], [2], {})
    assert read(two, "f.xlsx")[0] == []
    with pytest.raises(IntakeError, match='no sheet "Three". Its sheets: One, Two'):
        read(two, "f.xlsx", FileFormat(sheet="Three"))
    with pytest.raises(IntakeError, match="the sheet is empty"):
        read(write_book({"S": {}}), "f.xlsx")
    bare = write_book({"S": {1: ["1", "a"], 2: ["2", "b"]}})
    assert read(bare, "f.xlsx", FileFormat(header=False, columns=("n", "x")))[1] == [1, 2]
    with pytest.raises(IntakeError, match="names 3 columns, the sheet has 2"):
        read(bare, "f.xlsx", FileFormat(header=False, columns=("n", "x", "y")))


def test_broken_workbooks(read):
    book = write_book({"S": {1: ["id", "name"], **{n: [n, f"name {n * 7919}"] for n in range(2, 300)}}})
    dice, outcomes = random.Random(2), set()
    for turn in range(150):
        data = bytearray(book)
        for _ in range(4):
            data[dice.randrange(len(data))] = dice.randrange(256)
        if turn % 3 == 0:
            data = data[: dice.randrange(1, len(data))]
        try:
            read(bytes(data), "f.xlsx")
        except IntakeError as error:
            outcomes.add("said")
            assert "Ann" not in str(error)
    assert outcomes == {"said"}
    for junk in (b"id,name\n1,a\n", b"PK\x03\x04", bytes(100)):
        with pytest.raises(IntakeError, match="is no workbook that can be read"):
            read(junk, "f.xlsx")


# --- a database's cursor --------------------------------------------------------------------------------------------


def test_rows_of_a_query():
    given = [(1, "a\ud800", b"\xff", Decimal("1.50"), date(2026, 1, 1), None, True, [1, "x"], " ")]
    pieces = iter([given, given, []])
    chunks = list(Rows("q", list("abcdefghi"), lambda: next(pieces)).chunks())
    row = ("1", "a\\ud800", "\\xff", "1.50", "2026-01-01", None, "true", '[1, "x"]', None)
    assert [chunk.frame.rows() for chunk in chunks] == [[row], [row]]
    assert [chunk.lines.to_list() for chunk in chunks] == [[1], [2]]
