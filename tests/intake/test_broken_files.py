"""Whole loads of broken files: never a traceback, never a silent drop, counts that add up, and loading again is nothing."""

import csv
import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter as Count
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from retention.errors import IntakeError
from retention.intake import delimited, load
from retention.intake.loaded import Counts, Loaded
from tests.conftest import ROOT
from tests.intake.conftest import NOW
from tests.intake.test_load import CUSTOMERS, HEAD, ORDERS

FEW = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

ITEMS = """
mapping: i
source: shop
rows:
  - into: customers
    customer_id: customer
    name: name
  - into: orders
    order_id: id
    customer_id: customer
    occurred_at: at
    amount: amount
    currency: currency
  - into: order_items
    order_id: id
    product_id: product
    category: name
    quantity: quantity
    amount: amount
    currency: currency
    coupon_code: coupon
"""
ITEM_HEAD = "id,customer,name,at,amount,currency,product,quantity,coupon\n"


def check(loaded: Loaded, world, rows: int | None = None) -> None:
    """What a load says of itself is so, in its counts and in the record."""
    [(read, rejected, cells, state)] = world.rows(
        "select rows_read, rows_rejected, cells_left_out, state from imports order by import_id desc limit 1"
    )
    assert state == "done" and (read, rejected, cells) == (
        loaded.rows_read,
        loaded.rows_rejected,
        loaded.cells_left_out,
    )
    assert rows is None or read == rows
    assert loaded.rows_read == loaded.rows_taken + loaded.rows_rejected
    kept = world.rows(
        f"select line, level, reason, remedy, raw from rejected_rows where import_id = {loaded.import_id}"
    )
    assert Count(row[1] for row in kept) == Count({"row": rejected, "cell": cells})
    by_row = [row[0] for row in kept if row[1] == "row"]
    assert len(set(by_row)) == len(by_row), "a line was rejected twice"
    for line, _, reason, remedy, raw in kept:
        assert line >= 1 and reason and remedy and raw is not None
    for table, counts in loaded.tables.items():
        staged = counts.new + counts.changed + counts.same + counts.repeated + counts.older + counts.gone
        assert staged <= loaded.rows_taken * 9, table


def staged(counts: Counts) -> int:
    return counts.new + counts.changed + counts.same + counts.repeated + counts.older + counts.gone


def reasons(world) -> dict[int, str]:
    return dict(world.rows("select line, reason from rejected_rows where level = 'row' order by line"))


# --- files made by hand ---------------------------------------------------------------------------------------------

DAMAGED = [
    b"o1,c1,2026-01-01,5",
    b'o2,"c1',
    b"o3,c1,2026-01-01,5\0",
    b"o4,\xff\xfe,2026-01-01,5",
    b"",
    b"o5,c1,2026-01-01",
    b"o6,c1,2026-01-01,5,6",
    b'o7,"c"1,2026-01-01,5',
    b"o8,c1,31.12.2026,5",
    b"o9,c1,2026-01-01,12 pcs",
    b",c1,2026-01-01,5",
    b'o11,c 12" pipe,2026-01-01,-0.5',
    b'"o12","c\n\\.\n1",2026-01-01,5',
    b"o13,c1,2026-01-01,1e5",
    b"\\.",
    b'o14,c1,2026-01-01,"1,234.50"',
    b"o15,c1,2026-01-01," + b"9" * 1_200_000,
    b"o16," + b"x" * 900_000 + b",2026-01-01,5",
    b"id,customer,at,amount",
    b"o17,c1,2026-01-01,5",
    b"o18,c1",
]


@pytest.mark.parametrize("block", [100, 8 << 20])
def test_everything_at_once(bring, world, monkeypatch, block):
    monkeypatch.setattr(delimited, "BLOCK", block)
    data = b"id,customer,at,amount\r\n" + b"\r\n".join(DAMAGED)
    mapping = ORDERS.replace("source: shop", "source: shop\nfile: {encoding: utf-8}")
    loaded = bring(data, mapping)
    check(loaded, world, rows=20)
    assert [row[0] for row in world.rows("select order_id from orders order by order_id")] == [
        "o1",
        "o11",
        "o14",
        "o17",
    ]
    found = reasons(world)
    assert found == {
        3: "a quote that is never closed", 4: "a NUL character", 5: "characters that are not utf-8",
        7: "too few cells: not 4 like the header", 8: "too many cells: not 4 like the header",
        9: "text right after a closing quote", 10: found[10], 11: found[11], 12: "order_id: empty", 14: found[14],
        17: found[17], 18: "too few cells: not 4 like the header", 20: "a row longer than 1 MB", 21: found[21],
        22: "the header once more", 24: "too few cells: not 4 like the header",
    }  # fmt: skip
    assert found[10].startswith("occurred_at: not a date") and found[11] == found[17] == "amount: not a number"
    assert found[14].startswith("customer_id: not an id") and found[21].startswith("customer_id: not an id")
    raws = dict(world.rows("select line, raw from rejected_rows"))
    assert (
        raws[14] == 'o12,"c\n\\.\n1",2026-01-01,5'
        and raws[4] == "o3,c1,2026-01-01,5\\0"
        and raws[3].startswith('o2,"c1')
    )
    assert raws[5] == "o4,\\xff\\xfe,2026-01-01,5" and max(map(len, raws.values())) < 70_000 and raws[18] == "\\."
    again = bring(data, mapping)
    assert again.tables["orders"] == Counts(same=4) and reasons(world) == found
    check(again, world, rows=20)


COPIED = ["\\.", "a\n\\.\nb", '"', "a\rb", "\\N", "NULL", "é\u2028x", "'; drop table orders; --", "x", "\n\\.\n,"]


def test_texts_that_a_copy_might_take_for_something_else(bring, world):
    out, bad = io.StringIO(newline=""), io.StringIO(newline="")
    csv.writer(out).writerows([["id", "name", "x"], *([f"{n}", value, value] for n, value in enumerate(COPIED))])
    csv.writer(bad).writerows([["id", "name", "x"], *(["", value, value] for value in COPIED)])
    mapping = "mapping: n\nsource: crm\nrows:\n  - {into: customers, customer_id: id, name: name, attributes: {x: x}}\n"
    check(bring(out.getvalue().encode(), mapping), world, rows=len(COPIED))
    stored = world.rows("select name, attributes ->> 'x' from customers order by customer_id")
    assert stored == [(value.strip(), value.strip()) for value in COPIED]
    assert bring(out.getvalue().encode(), mapping).tables["customers"] == Counts(same=len(COPIED))
    # ... and among what is rejected, where the raw text is all there is: it can be mended and loaded as it stands.
    check(bring(bad.getvalue().encode(), mapping), world, rows=len(COPIED))
    raws = [row[0] for row in world.rows("select raw from rejected_rows order by line")]
    again = csv.reader(io.StringIO("\n".join(raws), newline=""))
    assert [row[1] for row in again] == [value.strip() for value in COPIED]


def test_cells_at_their_limits(bring, world):
    dice = random.Random(1)
    noise = "".join(chr(dice.randrange(0x4E00, 0x9FA5)) for _ in range(10_000))
    cells = ["i" * 200, "9" * 14 + ".9999", "p" * 200, "9" * 11 + ".999", "k" * 10_000, "c" * 10_000]
    row = f"{cells[0]},{cells[0]},{cells[5]},2199-12-31,{cells[1]},CNY,{cells[2]},{cells[3]},{cells[4]}\n"
    loaded = bring(ITEM_HEAD + row + row.replace("i" * 200, "张" * 200), ITEMS)
    check(loaded, world, rows=2)
    assert loaded.rows_taken == 2 and world.count("order_items") == 2
    # An index holds no text as long as a cell may be: what is in one is refused, not the whole file.
    row = f"{noise[:200]},{noise[:200]},{noise},2026-01-01,5,CNY,{noise[:200]},1,"
    loaded = bring(f"{ITEM_HEAD}{row}{noise}\n{row}{noise[:200]}\n", ITEMS)
    check(loaded, world, rows=2)
    assert loaded.rows_taken == 2 and loaded.cells_left_out == 1


def test_phones_that_the_store_would_refuse(bring, world):
    phones = ["+49112", "+290123", "110", "+4912345678901234", "+800 1234 5678", "+0123456789", "13800138000"]
    data = HEAD + "".join(f"{n},Ann,,{phone},,,2026-01-01,\n" for n, phone in enumerate(phones))
    check(bring(data, CUSTOMERS), world, rows=len(phones))
    kept = world.rows("select phone from customers where phone is not null order by phone")
    assert kept == [("+80012345678",), ("+8613800138000",)] and world.count("customers") == len(phones)
    assert not world.rows("select 1 from customers where timezone like 'Etc/%'")


def test_columns_swapped(bring, world):
    rows = [
        ["7.50", "Ann", "2026-01-01", "1990-12-28", "138001380@", "gold", "ann@example.com", "maybe"] for _ in range(3)
    ]
    data = HEAD + "".join(",".join(row) + "\n" for row in rows)
    loaded = bring(data, CUSTOMERS)
    check(loaded, world, rows=3)
    assert loaded.rows_rejected == 3 and world.count("customers") == 0
    # Amounts where ids should be are ids: only the other columns tell.
    swapped = bring("id,customer,at,amount\n7.50,c1,o1,2026-01-01\n8.50,c1,o2,2026-01-01\n", ORDERS)
    check(swapped, world, rows=2)
    assert swapped.rows_rejected == 2 and set(reasons(world).values())


def test_every_row_is_bad_and_a_file_without_rows(bring, world):
    loaded = bring("id,customer,at,amount\n" + "x,y,never,5\n" * 2000, ORDERS)
    check(loaded, world, rows=2000)
    assert loaded.rows_rejected == 2000 and loaded.tables["orders"] == Counts()
    assert len(loaded.examples) == 20
    check(bring("id,customer,at,amount\n", ORDERS), world, rows=0)


def test_files_that_can_not_be_read_leave_nothing(bring, world, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK", 1 << 20)
    rows = b"id,customer,at,amount\n" + b"".join(b"o%d,c%d,2026-01-01,5\n" % (n, n % 97) for n in range(400_000))
    packed = gzip.compress(rows, 1)
    with pytest.raises(IntakeError, match="broken or ends too early"):
        bring(packed[: len(packed) // 2], ORDERS, name="f.csv.gz")
    for data, name in (
        (b"", "f.csv"),
        (b"\n\n", "f.csv"),
        (b"junk", "f.xlsx"),
        (b"PAR1junk", "f.parquet"),
        (b"[1]", "f.json"),
    ):
        with pytest.raises(IntakeError):
            bring(data, ORDERS, name=name)
    assert world.count("orders") == world.count("rejected_rows") == 0
    assert world.rows("select state, error like '%ends too early%' from imports") == [("failed", True)]


def test_json_lines_whole(bring, world):
    lines = [{"id": "o1", "customer": 1, "at": "2026-01-01", "amount": 0.1}, {"id": "o2"}]
    data = (
        "\n".join(map(json.dumps, lines))
        + '\nbroken\n{"id":"o3","customer":"\\u0000","at":"2026-01-01"}\n{"id":1,"id":2}\n'
    )
    data += '{"id":"o4","customer":12345678901234567890,"at":"2026-01-01","amount":1e400}\n'
    loaded = bring(data, ORDERS, name="f.jsonl")
    check(loaded, world, rows=6)
    assert sorted(reasons(world)) == [2, 3, 4, 5, 6]
    assert world.rows("select order_id, customer_id, amount::text from orders") == [("o1", "1", "0.1000")]


def test_reasons_never_quote_the_person(bring, world):
    secret = "SECRET-4711"
    row = f"1,{secret},{secret}@@x,{secret},{secret},{secret},{secret},{secret}\n"
    bring(HEAD + row + f"{secret},{secret}\n" + f'{secret},"{secret}\n' + f"{secret}\x01,,,,,,2026-01-01,\n", CUSTOMERS)
    rows = world.rows("select reason, remedy from rejected_rows")
    assert len(rows) >= 4 and all(secret not in word for row in rows for word in row)
    assert secret not in json.dumps(world.rows("select summary, error, name from imports"), default=str)


# --- corrected and loaded again -------------------------------------------------------------------------------------


def test_the_encoding_that_shows_late_is_noted(bring, world):
    late = "".join(f"o{n},c1,2026-01-01,5\n" for n in range(60_000)) + "".join(
        f"x{n},张伟,2026-01-01,5\n" for n in range(9)
    )
    loaded = bring(("id,customer,at,amount\n" + late).encode("gb18030"), ORDERS)
    check(loaded, world, rows=60_009)
    assert loaded.notes == ["gb18030", '","'] and loaded.rows_rejected == 0


def test_a_mended_file_brings_what_was_rejected(bring, world):
    data = HEAD + "1,Ann,ann@,,1990-13-01,,2026-01-01,\n2,Ben,,,,,31.12.2026,\n3,Cem,,,,,2026-01-01,\n"
    first = bring(data, CUSTOMERS)
    check(first, world, rows=3)
    assert (first.rows_rejected, first.cells_left_out) == (1, 2)
    mended = (
        data.replace("ann@", "ann@example.com").replace("1990-13-01", "1990-12-01").replace("31.12.2026", "2026-01-01")
    )
    later = NOW + timedelta(days=1)
    second = bring(mended, CUSTOMERS, at=later)
    assert second.tables["customers"] == Counts(new=1, changed=1, same=1) and second.rows_rejected == 0
    assert world.rows("select customer_id, email, replaced_at from customer_history") == [("1", None, later)]
    bring("id,customer,at,amount\no1,1,2026-01-01,5\n", ORDERS)
    bring("id,customer,at,amount\no1,1,2026-01-01,6\n", ORDERS, at=later)
    assert world.rows("select order_id, amount, replaced_at from order_history") == [("o1", 5, later)]


# --- files made by chance -------------------------------------------------------------------------------------------

GOOD = {
    "id": ["o1", "o2", "o3", "o4", "订单5"], "customer": ["c1", "c2", "张"], "name": ["Ann", 'say "hi"', "a,b", "two\nlines", ""],
    "at": ["2026-01-01", "2026-01-02 10:00:00", "2026-01-01T10:00:00Z"], "amount": ["5", "1,234.50", "-0.01", ""],
    "currency": ["CNY", "usd"], "product": ["p1", ""], "quantity": ["1", "2.5"], "coupon": ["X", ""],
}  # fmt: skip
BAD = ["never", "12 pcs", "1e5", "2026-13-01", "￥", "\x01", "x" * 300, "　", "\u200b", "1.2E+12", "\\.", "NaN"]


def rows_of(bad_share: int):
    def cell(name):
        return st.one_of(*[st.sampled_from(GOOD[name])] * bad_share, st.sampled_from(BAD))

    return st.lists(st.tuples(*map(cell, GOOD)), max_size=25)


@pytest.fixture
def emptied(bring, engine, world):
    """bring into an empty store, as often as wanted."""

    def start():
        with engine.begin() as conn:
            conn.execute(
                text(
                    "truncate customers, orders, order_items, customer_history, order_history, rejected_rows, imports cascade"
                )
            )

    return start


@FEW
@given(rows_of(12), st.sampled_from([",", ";", "\t", "|"]), st.sampled_from(["utf-8", "gb18030", "utf-16"]),
       st.sampled_from([7, 64, 8 << 20]))  # fmt: skip
def test_any_sound_file_adds_up(bring, emptied, world, rows, delimiter, encoding, block):
    emptied()
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter).writerows([list(GOOD), *rows])
    naive = [row for row in csv.reader(io.StringIO(out.getvalue(), newline=""), delimiter=delimiter) if row][1:]
    was, delimited.BLOCK = delimited.BLOCK, block
    try:
        mapping = ITEMS.replace("source: shop", f"source: shop\nfile: {{encoding: {encoding}}}")
        loaded = bring(out.getvalue().encode(encoding), mapping)
        check(loaded, world, rows=len(naive))
        assert all(staged(counts) == loaded.rows_taken for counts in loaded.tables.values())
        keys = {row[0].strip() for row in naive}
        assert world.count("orders") == loaded.tables["orders"].new <= len(keys)
        before = [
            world.rows(f"select * from {table} order by 1, 2") for table in ("customers", "orders", "order_items")
        ]
        again = bring(out.getvalue().encode(encoding), mapping, at=NOW + timedelta(days=1))
    finally:
        delimited.BLOCK = was
    check(again, world, rows=len(naive))
    for table, counts in again.tables.items():
        assert counts.new == counts.changed == counts.gone == 0, (table, counts)
    assert before == [
        world.rows(f"select * from {table} order by 1, 2") for table in ("customers", "orders", "order_items")
    ]


SOUND = (ITEM_HEAD + "".join(
    f'o{n},c{n % 5},"Name, {n}",2026-01-0{n % 9 + 1},{n}.5,CNY,p{n},1,\n' for n in range(40)
)).encode()  # fmt: skip


@FEW
@given(
    st.lists(
        st.tuples(st.integers(0, len(SOUND) - 1), st.sampled_from([*b'",\n\r\0\xff\xe5 a;x'])), min_size=1, max_size=8
    )
)
def test_any_damage_adds_up(bring, emptied, world, damage):
    emptied()
    data = bytearray(SOUND)
    for at, byte in damage:
        data[at] = byte
    try:
        loaded = bring(bytes(data), ITEMS)
    except IntakeError as error:
        assert "header" in str(error) or "there is no column" in str(error)
        return
    check(loaded, world)
    assert all(staged(counts) == loaded.rows_taken for counts in loaded.tables.values())
    # One byte costs the line it is in, and the next one where it joins or splits two.
    assert loaded.rows_rejected <= 4 * len(damage) and loaded.rows_taken >= 40 - 4 * len(damage)
    again = bring(bytes(data), ITEMS)
    assert all(counts.new == counts.changed == 0 for counts in again.tables.values())


@pytest.mark.parametrize("head", [b"i\0d,customer", b"i\x1b[2Jd,customer", b"\xff\xfed,customer", b'"i\nd",customer'])
def test_a_damaged_header_is_named_and_kept(bring, world, head):
    with pytest.raises(IntakeError, match='there is no column "') as caught:
        bring(head + b",at,amount\no1,c1,2026-01-01,5\n", ORDERS)
    assert all(c.isprintable() for c in str(caught.value).replace("\n", ""))
    [(state, error)] = world.rows("select state, error from imports order by import_id desc limit 1")
    assert state == "failed" and str(caught.value).startswith(error)


# --- the way straight in --------------------------------------------------------------------------------------------

SCHEMA = """
select 'index', indexname, indexdef from pg_indexes where schemaname = 'public'
union all select 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) from pg_constraint
  where connamespace = 'public'::regnamespace
union all select 'column', table_name || '.' || column_name, concat_ws(' ', data_type, is_nullable, column_default)
  from information_schema.columns where table_schema = 'public'
order by 1, 2, 3
"""
STRAIGHT = {
    "orders": (ORDERS, "id,customer,at,amount\n", "o{n},c{m},2026-01-01 10:00:{s},{n}.5\n"),
    "customers": (
        CUSTOMERS.replace("    gone: {column: gone, default: false}\n", "").replace("    attributes: {tier: tier}\n", ""),
        HEAD, 'c{n},"Name, {n}",n{n}@example.com,138{n:08},1990-12-28,gold,2026-01-01,\n',
    ),
    "order_items": (
        "mapping: i\nsource: shop\nrows:\n  - {into: order_items, order_id: id, line: line, product_id: p, quantity: q, "
        "amount: a, currency: c}\n",
        "id,line,p,q,a,c\n", "o{n},{s},p{m},2,{n}.25,CNY\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("table", "broken", "is_history"),
    [
        ("orders", False, False),
        ("orders", True, True),
        ("customers", False, True),
        ("customers", True, False),
        ("order_items", False, False),
        ("order_items", True, False),
    ],
)
def test_the_way_straight_in_gives_the_same(bring, engine, world, monkeypatch, table, broken, is_history):
    mapping, head, row = STRAIGHT[table]
    rows = [row.format(n=n, m=n % 7, s=f"{n % 60:02}") for n in range(2000)]
    if broken:
        rows[5], rows[900], rows[1999] = 'x,"y\n', "\xff,,,,\n", "half"
        rows.insert(30, rows[29])
    data = (head + "".join(rows)).encode("latin-1")
    before, ways = world.rows(SCHEMA), []
    for worth in (1 << 40, 0):
        monkeypatch.setattr(load, "WORTH_LANDING", worth)
        monkeypatch.setattr(delimited, "BLOCK", 5000)
        landed = []
        monkeypatch.setattr(load, "_land", lambda *a, real=load._land, **k: landed.append(real(*a, **k)) or landed[-1])
        loaded = bring(data, mapping, is_history=is_history)
        check(loaded, world, rows=2000 + broken - 0)
        assert staged(loaded.tables[table]) == loaded.rows_taken
        assert landed == ([] if worth else [not broken]), "it fell back for a key that stands twice, and only then"
        ways.append((
            loaded.tables[table], loaded.rows_rejected, loaded.reasons, world.rows(f"select * from {table} order by 1, 2"),
            world.rows("select line, level, \"column\", reason, remedy, raw from rejected_rows order by 1, 2, 3"),
        ))  # fmt: skip
        assert world.rows(SCHEMA) == before
        with engine.begin() as conn:
            conn.execute(
                text("truncate customers, orders, order_items, customer_history, order_history, rejected_rows cascade")
            )
        monkeypatch.undo()
    assert ways[0] == ways[1]


# --- more than one process ------------------------------------------------------------------------------------------

KILLED = """
import sys, time
sys.path.insert(0, "plugins")
from datetime import UTC, datetime
from pathlib import Path
from retention.intake import load, delimited
from retention.intake.loaded import Wishes
from retention.intake.mapping_file import parse_mapping
from retention.intake.sources import open_file
from retention.store import database
load.WORTH_LANDING, delimited.BLOCK = int(sys.argv[4]), 20_000
def said(progress):
    print(progress.stage, progress.rows, flush=True)
    if progress.stage.startswith(sys.argv[3]) and progress.rows > 5000:
        time.sleep(60)
mapping = parse_mapping("o.yaml", Path(sys.argv[2]).read_text(), "o")
source = open_file(Path(sys.argv[1]), mapping.format)
now = datetime(2026, 11, 23, 8, tzinfo=UTC)
load.load(database.connect(sys.argv[5]), mapping, source, Wishes("test"), clock=lambda: now, on_progress=said)
"""


@pytest.mark.parametrize(
    ("stage", "worth"), [("reading", 1 << 40), ("taking over", 1 << 40), ("looking", 1 << 40), ("building", 0)]
)
def test_killed_in_the_middle(bring, world, engine, database_url, tmp_path, stage, worth):
    mapping, head, row = STRAIGHT["orders"]
    data = head + "".join(row.format(n=n, m=n % 7, s=f"{n % 60:02}") for n in range(8000)) + "half\n"
    (tmp_path / "o.csv").write_text(data)
    (tmp_path / "o.yaml").write_text(mapping)
    before = world.rows(SCHEMA)
    command = [sys.executable, "-c", KILLED, tmp_path / "o.csv", tmp_path / "o.yaml", stage, worth, database_url]
    process = subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    for line in process.stdout:
        told, _, rows = line.rpartition(" ")
        if told.startswith(stage) and int(rows) > 5000:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for _ in range(100):
        if not world.rows("select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
                          "and state <> 'idle'"):  # fmt: skip
            break
        time.sleep(0.05)
    assert world.count("orders") == world.count("rejected_rows") == 0
    assert world.rows("select state from imports") == [("running",)] and world.rows(SCHEMA) == before
    loaded = bring(data, mapping)
    check(loaded, world, rows=8001)
    assert loaded.tables["orders"] == Counts(new=8000) and world.count("orders") == 8000
    assert world.rows("select state, error from imports order by import_id") == [
        ("interrupted", "its process ended; nothing of it was kept"), ("done", None),
    ]  # fmt: skip
    assert bring(data, mapping).tables["orders"] == Counts(same=8000)


def test_two_loads_at_once(bring, world, engine):
    from retention.intake.loaded import Wishes
    from retention.intake.mapping_file import parse_mapping
    from retention.intake.sources import Rows

    mapping = parse_mapping("o.yaml", ORDERS, "o")
    stages: dict[int, list[str]] = {0: [], 1: []}
    done: dict[int, Loaded] = {}
    inside, go_on = threading.Event(), threading.Event()

    def run(who: int) -> None:
        def fetch(pieces=iter([0, 1, None])):
            piece = next(pieces)
            if who == 0 and piece == 1:
                inside.set()
                assert go_on.wait(20)
            return [(f"o{n}", f"c{who}", "2026-01-01", 5 + who) for n in range(1000)] if piece is not None else []

        def said(progress):
            stages[who].append(progress.stage)
            if progress.stage.startswith("waiting"):
                go_on.set()

        source = Rows(f"q{who}", ["id", "customer", "at", "amount"], fetch)
        at = NOW + timedelta(days=who)
        done[who] = load.load(engine, mapping, source, Wishes("test"), clock=lambda: at, on_progress=said)

    threads = [threading.Thread(target=run, args=(who,)) for who in (0, 1)]
    threads[0].start()
    assert inside.wait(20)
    threads[1].start()
    for thread in threads:
        thread.join(40)
    assert stages[1][0] == "waiting for another load to end" and "waiting for another load to end" not in stages[0]
    assert done[0].tables["orders"] == Counts(new=1000, repeated=1000)
    assert done[1].tables["orders"] == Counts(changed=1000, repeated=1000)
    assert world.rows("select distinct customer_id, amount from orders") == [("c1", 6)]
    assert world.count("order_history") == 1000
    assert [row[0] for row in world.rows("select state from imports")] == ["done", "done"]
