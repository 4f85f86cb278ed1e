"""Readers of text without a database: sound files come back cell for cell, broken lines are lost each for itself."""

import csv
import io
import random

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retention.errors import IntakeError
from retention.intake import delimited, encodings, lines
from retention.intake.chunks import LONGEST_RAW
from retention.intake.delimited import DelimitedSource
from retention.intake.encodings import find_encoding
from retention.intake.mapping import FileFormat

BLOCKS = (1, 2, 3, 5, 7, 11, 16, 33, 64, 1000, 8 << 20)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Read:
    """Everything that a source gives: cells by row, the line of each, what was rejected by line."""

    def __init__(self, data: bytes, form: FileFormat = FileFormat(), block: int = 8 << 20, slowly: bool = False):
        was, lay_out = delimited.BLOCK, DelimitedSource._lay_out
        delimited.BLOCK = block
        if slowly:
            DelimitedSource._lay_out = lambda self, data: None
        try:
            self.source = DelimitedSource("f.csv", io.BytesIO(data), form, len(data))
            chunks = list(self.source.chunks())
        finally:
            delimited.BLOCK, DelimitedSource._lay_out = was, lay_out
        self.rows = [row for chunk in chunks for row in chunk.frame.rows()]
        self.lines = [line for chunk in chunks for line in chunk.lines.to_list()]
        self.rejects = sorted((r for chunk in chunks for r in chunk.rejects), key=lambda reject: reject.line)

    @property
    def bad(self) -> dict[int, str]:
        return {reject.line: reject.reason for reject in self.rejects}

    def __eq__(self, other):
        return (self.rows, self.lines, self.rejects) == (other.rows, other.lines, other.rejects)


def on_every_border(data: bytes, form: FileFormat = FileFormat()) -> Read:
    """What is read is the same wherever blocks end, and by the slow way."""
    whole = Read(data, form)
    for block in BLOCKS:
        assert Read(data, form, block) == whole, f"in blocks of {block}"
    assert Read(data, form, slowly=True) == whole
    assert Read(data, form, 5, slowly=True) == whole
    return whole


# --- encodings ------------------------------------------------------------------------------------------------------

NAMES = "id,name\n1,张伟\n2,王芳\n3,李娜\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("is_ended", [True, False])
def test_encodings_and_line_ends(encoding, ending, is_ended):
    text = NAMES if is_ended else NAMES.rstrip("\n")
    data = text.replace("\n", ending).encode(encoding)
    if encoding == "utf-16-be":
        data = b"\xfe\xff" + data
    read = on_every_border(data)
    assert read.source.columns == ("id", "name")
    assert read.rows == [("1", "张伟"), ("2", "王芳"), ("3", "李娜")] and read.lines == [2, 3, 4] and not read.rejects


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("cp1252", ["Müller", "Jürgen", "Weiß"]),
        ("cp1252", ["René", "Zoë"]),
        ("cp1252", ["François", "Ångström", "Peña", "Øystein"]),
        ("cp1252", ["José"]),
        ("cp1252", ["5 € off", "it’s"]),
        ("gb18030", ["张伟"]),
        ("gb18030", ["欧阳娜娜", "司马相如", "上官婉儿", "镕"]),
        ("big5", ["陳大文", "張偉", "林志玲"]),
        ("shift_jis", ["田中太郎", "すずき", "ヤマダ"]),
        ("cp1251", ["Иван Петров", "Анна Смирнова", "Ольга Кузнецова", "Дмитрий Соколов"] * 5),
        ("utf-16-le", ["Ann", "Ben"]),
        ("utf-16-be", ["Ann", "Ben"]),
    ],
)
@pytest.mark.parametrize("is_ended", [True, False])
def test_the_encoding_of_names_is_found(encoding, names, is_ended):
    text = "id,name\n" + "\n".join(f"{n},{name}" for n, name in enumerate(names)) + ("\n" if is_ended else "")
    read = Read(text.encode(encoding))
    assert [row[1] for row in read.rows] == names and read.source.encoding in (encoding, "cp932")


def test_a_file_that_begins_with_ascii_shows_its_encoding_late():
    ascii_part = "".join(f"{n},Ann\n" for n in range(200_000)).encode()
    assert len(ascii_part) > encodings.SAMPLE
    data = b"id,name\n" + ascii_part + "".join(f"{n},张伟\n" for n in range(1000)).encode("gb18030")
    read = Read(data, block=1 << 20)
    assert not read.rejects and read.rows[-1] == ("999", "张伟") and len(read.rows) == 201_000
    assert read.source.encoding == "gb18030"


def test_a_damaged_line_late_in_a_file_decides_nothing():
    ascii_part = "".join(f"{n},Ann\n" for n in range(200_000)).encode()
    data = b"id,name\n" + ascii_part + b"1,\xe5\xbc\n" + ascii_part + "".join(f"{n},张伟\n" for n in range(9)).encode()
    read = Read(data, block=1 << 20)
    assert list(read.bad) == [200_002] and read.rows[-1] == ("8", "张伟")


def test_another_encoding_from_the_second_megabyte_on_costs_those_lines():
    good = "".join(f"{n},张伟\n" for n in range(120_000)).encode()
    data = b"id,name\n" + good + "".join(f"{n},王芳\n5,Ann\n" for n in range(100)).encode("gb18030")
    read = Read(data)
    assert len(read.rows) == 120_100 and sorted(read.bad) == [120_002 + 2 * n for n in range(100)]
    assert set(read.bad.values()) == {"characters that are not utf-8"}
    assert "file: {encoding: gb18030}" in read.rejects[0].remedy


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16-le"])
def test_damaged_bytes_cost_their_line(encoding):
    damage = {"utf-8": b"\xe5\xbc", "gb18030": b"\xff\x81", "utf-16-le": b"\x00\xd8"}[encoding]
    rows = [f"{n},张伟,北京\n".encode(encoding) for n in range(50)]
    for n in (0, 20, 21, 49):
        rows[n] = f"{n},张".encode(encoding) + damage + ",北京\n".encode(encoding)
    read = on_every_border("id,name,city\n".encode(encoding) + b"".join(rows), FileFormat(encoding=encoding))
    assert sorted(read.bad) == [2, 22, 23, 51]
    assert [int(row[0]) for row in read.rows] == [n for n in range(50) if n not in (0, 20, 21, 49)]
    assert all(reject.reason == f"characters that are not {encoding}" for reject in read.rejects)


def test_damaged_bytes_inside_a_quoted_cell_of_many_lines_cost_that_row():
    read = on_every_border(b'id,note\n1,"a\nb\xff\ny,z"\n2,ok\n3,"x\0\ny,z"\n4,ok\n', FileFormat(encoding="utf-8"))
    assert read.rows == [("2", "ok"), ("4", "ok")]
    assert read.bad == {2: "characters that are not utf-8", 6: "a NUL character"}
    assert read.rejects[0].raw == '1,"a\nb\\xff\ny,z"'


# --- the header -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "columns"),
    [
        (b"id,name\n", ("id", "name")),
        (b"\xef\xbb\xbfid,name\r\n", ("id", "name")),
        (b'\xef\xbb\xbf"id", "na"\n', ("id", '"na"')),
        (b' id , "a b"\n', ("id", '"a b"')),
        (b'"id","first\nname"\n', ("id", "first name")),
        (b"id,id\n", ("id", "id_2")),
        (b"id,\n", ("id", "column_2")),
        (b"\n\r\n  \nid,name\n", ("id", "name")),
        (b"sep=,\nid,name\n", ("id", "name")),
        (b'"a,b","c""d"\n', ("a,b", 'c"d')),
    ],
)
def test_headers(head, columns):
    read = on_every_border(head + b"1,2\n")
    assert read.source.columns == columns and read.rows == [("1", "2")] and not read.rejects
    assert read.lines == [head.count(b"\n") + 1]


def test_names_that_are_told_apart_stay_different():
    assert Read(b"a,a_2,a,a\n1,2,3,4\n").source.columns == ("a", "a_2", "a_3", "a_4")
    assert len(set(Read(b"a,a,a_2,\n1,2,3,4\n").source.columns)) == 4


def test_a_hint_of_excel_counts():
    read = on_every_border(b"sep=;\r\nid;name\r\n1;a,b,c\r\n")
    assert read.source.delimiter == ";" and read.rows == [("1", "a,b,c")] and read.lines == [3]


@pytest.mark.parametrize(
    "data", [b"\n", b"\n\n\n", b" ", b"\r\n\r\n", b",,,\n1,2,3,4\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"]
)
def test_without_a_header_nothing_is_read(data):
    for block in BLOCKS:
        with pytest.raises(IntakeError, match="there is no header line. Write the columns' names"):
            Read(data, block=block)


@pytest.mark.parametrize("data", [b"id,name", b"id,name\n", b"id,name\r\n\r\n\n"])
def test_only_a_header(data):
    read = on_every_border(data)
    assert read.source.columns == ("id", "name") and not read.rows and not read.rejects


def test_no_header_but_names_in_the_mapping():
    form = FileFormat(header=False, columns=("id", "name"))
    read = on_every_border(b"1,a\n2,b", form)
    assert read.rows == [("1", "a"), ("2", "b")] and read.lines == [1, 2]
    assert Read(b"x,y\n1,a\n", FileFormat(columns=("id", "name"))).rows == [("1", "a")]


def test_lines_above_the_header():
    read = on_every_border(b"Report, of; Monday\n\nid;name\n1;a\n", FileFormat(skip_lines=2))
    assert read.rows == [("1", "a")] and read.lines == [4] and read.source.delimiter == ";"
    with pytest.raises(IntakeError, match="no header line"):
        Read(b"a\nb\n", FileFormat(skip_lines=9))


def test_a_header_once_more_is_nobody():
    read = on_every_border(b"\xef\xbb\xbfid,name\n1,a\n\xef\xbb\xbfid, name\n2,b\nid,Ann\n")
    assert read.rows == [("1", "a"), ("2", "b"), ("id", "Ann")] and read.bad == {3: "the header once more"}


def test_a_file_that_is_no_text():
    with pytest.raises(IntakeError, match="line 1 is longer than 1 MB"):
        Read(b"\x01\x02\x03" * 2_000_000, block=1 << 16)
    noise = random.Random(1).randbytes(300_000)
    read = Read(b"id,name\n" + noise)
    assert len(read.rows) + len(read.rejects) <= noise.count(b"\n") + 1


# --- delimiters and quotes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found(delimiter):
    rows = ["id,name,city", "1,Ann,Bonn", "2,Ben,Ulm"]
    read = on_every_border("\n".join(rows).replace(",", delimiter).encode())
    assert read.source.delimiter == delimiter and read.rows == [("1", "Ann", "Bonn"), ("2", "Ben", "Ulm")]


def test_decimal_commas_and_commas_in_quotes_do_not_mislead():
    assert Read(b'id;a;"b,c,d"\n1;1,5;"x,y"\n2;2,5;z\n').source.delimiter == ";"


def test_white_space_sets_columns_apart():
    form = FileFormat(delimiter="whitespace")
    read = on_every_border(b'  id   name\tnote \r\n 1\t \tAnn  "a  ""b"" c"  \r\n\r\n 22  12"  x"y\n3 "a b" "c d', form)
    assert read.rows == [("1", "Ann", 'a  "b" c'), ("22", '12"', 'x"y')]
    assert read.bad == {5: "a quote that is never closed"}


def test_quotes_in_every_place():
    read = on_every_border(
        b"id,note\n"
        b'1,"a,b"\n'
        b'2,"say ""hi"""\n'
        b'3,"two\nlines"\n'
        b'4,12" pipe\n'
        b'5,""\n'
        b'6,""""\n'
        b'"7",x"y"z\n'
        b'8,"a"b\n'
        b'9, "a"\n'
        b'10,"\r\n"\r\n'
    )
    assert read.rows == [
        ("1", "a,b"), ("2", 'say "hi"'), ("3", "two\nlines"), ("4", '12" pipe'), ("5", None), ("6", '"'), ("7", 'x"y"z'),
        ("9", '"a"'), ("10", None),
    ]  # fmt: skip
    assert read.lines == [2, 3, 4, 6, 7, 8, 9, 11, 12] and read.bad == {10: "text right after a closing quote"}


@pytest.mark.parametrize("at", [0, 1, 500, 998, 999])
def test_a_quote_never_closed_costs_its_line(at):
    rows = [f'{n},"Ann, {n}",x\n' if n % 3 else f"{n},Ann,x\n" for n in range(1000)]
    rows[at] = f'{at},"Ann,x\n'
    data = ("id,name,city\n" + "".join(rows)).encode()
    for block in (64, 1000, 4096, 8 << 20):
        read = Read(data, block=block)
        assert list(read.bad) == [at + 2] and len(read.rows) == 999
        assert [int(row[0]) for row in read.rows] == [n for n in range(1000) if n != at]
        assert read.lines == [n + 2 for n in range(1000) if n != at] and read.rejects[0].raw == f'{at},"Ann,x'


def test_a_quote_never_closed_in_a_big_file_without_other_quotes():
    rows = [f"{n},some name or other,a city\n" for n in range(300_000)]
    for at in (10, 150_000, 250_000):
        rows[at] = f'{at},"some name,a city\n'
    read = Read(("id,name,city\n" + "".join(rows)).encode(), block=1 << 20)
    assert read.bad == {at + 2: "a quote that is never closed" for at in (10,)} | {
        at + 2: read.bad[at + 2] for at in (150_000, 250_000)
    }
    assert len(read.rows) == 299_997


def test_a_return_after_a_closing_quote_ends_no_cell():
    read = on_every_border(b'id,name\n1,"a"\rb\n2,"c"\r\n3,"d"\r,\n4,"e"\n')
    assert [row[0] for row in read.rows] == ["2", "4"] and set(read.bad) == {2, 4}


def test_many_quotes_never_closed_do_not_take_forever():
    data = b"id,name,city\n" + b'1,"Ann,x\n2,Ben,y\n3,Cem,z\n' * 20_000
    read = Read(data)
    assert len(read.rows) + len(read.rejects) >= 40_000


def test_half_a_last_line():
    assert on_every_border(b"id,name,city\n1,a,b\n2,c").bad == {3: "too few cells: not 3 like the header"}
    assert on_every_border(b'id,name,city\n1,a,b\n2,"c').bad == {3: "a quote that is never closed"}


def test_rows_too_long_too_short_and_blank():
    read = on_every_border(b"id,name\n1\n\n2,a\n   \n3,b,c\n,\n\r\n4,d\n")
    assert read.rows == [("2", "a"), (None, None), ("4", "d")] and read.lines == [4, 7, 9]
    assert read.bad == {2: "too few cells: not 2 like the header", 6: "too many cells: not 2 like the header"}
    assert [reject.raw for reject in read.rejects] == ["1", "3,b,c"]


def test_rows_of_empty_cells_are_rows_with_every_delimiter():
    assert on_every_border(b"a\tb\tc\n\t\t\n1\t\t\n").rows == [(None, None, None), ("1", None, None)]
    assert on_every_border(b"a\n1\n\n  \n2\n").lines == [2, 4, 5]


def test_nul():
    read = on_every_border(b"id,name\n1,a\n2,b\0\n3,c\n\0\0\n4,d\n")
    assert [row[0] for row in read.rows] == ["1", "3", "4"] and read.bad == {3: "a NUL character", 5: "a NUL character"}
    assert read.rejects[0].raw == "2,b\\0"


@pytest.mark.parametrize("block", [1 << 16, 8 << 20])
@pytest.mark.parametrize("size", [900_000, 1_100_000, 5_000_000])
@pytest.mark.parametrize("end", [b"", b"\n", b"\n3,c\n"])
def test_cells_of_a_megabyte(block, size, end):
    read = Read(b"id,name\n1,a\n2," + b"x" * size + end, block=block)
    rest = [("3", "c")] if end.endswith(b"c\n") else []
    if size < lines.LONGEST_ROW:
        assert read.rows == [("1", "a"), ("2", "x" * size), *rest] and not read.rejects
    else:
        assert read.rows == [("1", "a"), *rest] and read.bad == {3: "a row longer than 1 MB"}
        assert len(read.rejects[0].raw) < LONGEST_RAW + 100
    assert read.lines[-1] == (4 if rest else read.lines[-1])


def test_a_quoted_cell_of_many_lines_and_megabytes():
    long = "x" * 900 + "\n"
    read = Read(f'id,name\n1,"{long * 900}"\n2,b\n'.encode())
    assert [row[0] for row in read.rows] == ["1", "2"] and read.lines == [2, 903]


# --- properties -----------------------------------------------------------------------------------------------------

CELLS = st.text(
    st.sampled_from(list("ab1 \t,;|\"'\n\\é张　 \ufeff\u200b\u2028\x0b\x1c.#"))
    | st.characters(codec="utf-8", exclude_characters="\0\r"),
    max_size=8,
)
DIALECTS = [
    {"delimiter": delimiter, "lineterminator": ending, "quoting": quoting}
    for delimiter in ",;\t|"
    for ending in ("\n", "\r\n")
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)
]


def stripped(cell: str) -> str | None:
    """As the library strips: white space by Unicode's list, which has not the separators that Python's has."""
    found = pl.Series([cell]).str.strip_chars()[0]
    return found or None


@QUICK
@given(st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), max_size=12)),
       st.sampled_from(DIALECTS), st.sampled_from(BLOCKS), st.sampled_from(["utf-8", "gb18030", "utf-16"]))  # fmt: skip
def test_what_a_csv_writer_writes_comes_back(rows, dialect, block, encoding):
    width = len(rows[0]) if rows else 2
    text = io.StringIO(newline="")
    writer = csv.writer(text, **dialect)
    writer.writerows([[f"column {n}" for n in range(width)], *rows])
    data = text.getvalue().encode(encoding)
    form = FileFormat(delimiter=dialect["delimiter"], encoding=encoding)
    read = Read(data, form, block)
    # A row of nothing but white space, without a delimiter that shows, can't come of a writer: it has two cells or more.
    assert read.rows == [tuple(map(stripped, row)) for row in rows] and not read.rejects
    assert Read(data, form, slowly=True) == Read(data, form) == read
    reader = csv.reader(io.StringIO(text.getvalue(), newline=""), **dialect)
    next(reader)
    begins = []
    for _ in rows:
        begins.append(reader.line_num + 1)
        next(reader)
    assert read.lines == begins


SOUND = ('id,name,note\n1,Ann,"a,b"\n2,张伟,"say ""hi"""\n3,"two\nlines",x\n\n4,,\n5,"",12" pipe\n' * 3).encode()
MUTATIONS = st.lists(
    st.tuples(st.sampled_from(["set", "cut", "put"]), st.integers(0, len(SOUND) - 1),
              st.sampled_from([*b'",\n\r\0\xff\xe5 a;'])), min_size=1, max_size=6)  # fmt: skip


@QUICK
@given(MUTATIONS, st.sampled_from(BLOCKS))
def test_no_mutation_is_a_traceback_or_moves_the_lines(mutations, block):
    data = bytearray(SOUND)
    for how, at, byte in mutations:
        at = min(at, len(data) - 1)
        if how == "set":
            data[at] = byte
        elif how == "cut":
            del data[at]
        else:
            data.insert(at, byte)
    # In so small a file one damaged byte would be most of what its encoding is guessed from.
    form = FileFormat(encoding="utf-8")
    try:
        whole = Read(bytes(data), form)
    except IntakeError:
        return
    assert Read(bytes(data), form, block=block) == whole
    slow = Read(bytes(data), form, slowly=True)
    assert (slow.rows, slow.lines, slow.bad) == (whole.rows, whole.lines, whole.bad)
    begins = sorted([*whole.lines, *whole.bad])
    assert len(set(begins)) == len(whole.lines) + len(whole.rejects), "a line was read twice"
    # Every line is in a row, in what was rejected, or blank: nothing is dropped in silence.
    text = bytes(data).split(b"\n")
    kept = b"".join((cell or "").encode() for row in whole.rows for cell in row)
    kept += b"".join(reject.raw.encode() for reject in whole.rejects) + b"".join(map(str.encode, whole.source.columns))
    for line in text:
        for word in (b"lines", b"pipe", b"say", "张".encode()):
            assert line.count(word) <= kept.count(word)


def test_the_encoding_is_a_guess_that_never_fails():
    for seed in range(300):
        sample = random.Random(seed).randbytes(seed)
        encodings.codecs.lookup(find_encoding(sample))


def test_signs_of_a_currency_do_not_tell_the_encoding():
    text = "编号,姓名,金额\n" + "".join(f"{n},张伟,¥1,{n}\n" for n in range(50))
    assert find_encoding(text.encode("gb18030")) == "gb18030"
