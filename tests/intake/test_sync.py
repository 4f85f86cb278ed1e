"""Another database as the source: from the first load to a source that is down, with Postgres and SQLite behind it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import psycopg2
import pytest
from sqlalchemy import make_url

from retention.errors import IntakeError, SourceDown
from retention.intake import remote
from retention.intake.loaded import Counts
from retention.intake.mapping_file import parse_mapping
from retention.intake.merge import merge_customers
from retention.intake.sync import fetch_mark, synchronise
from retention.intake.sync_plan import SourcePlan
from retention.intake.watermark import limit_of, read_mark, step_back, write_mark
from retention.orchestration import privacy
from tests.world import World

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
MAPPING = """
mapping: contacts
source: crm
timezone: Asia/Shanghai
rows:
  - into: customers
    customer_id: id
    name: name
    occurred_at: updated_at
    gone: {column: is_deleted, default: false}
    attributes: {tier: tier}
"""
QUERY = "select id, name, tier, is_deleted, updated_at\nfrom contacts -- of the shop"
ORDERS = """
mapping: orders
source: shop
rows:
  - into: orders
    only: {state: [paid, sent]}
    order_id: {column: "No", prefix: "S-"}
    customer_id: customer
    occurred_at: at
"""


def read(text: str):
    return parse_mapping("include/mappings/m.yaml", text, text.split("mapping:")[1].split()[0])


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Source:
    """The other database: change its rows, read it through a driver."""

    def __init__(self, address: dict):
        self.address, self.driver = address, psycopg
        self.run(
            "create table contacts (id text primary key, name text, tier text, is_deleted boolean default false,"
            " updated_at timestamptz)"
        )

    def connect(self):
        return self.driver.connect(**self.address)

    def run(self, sql: str, *rows: tuple) -> None:
        with psycopg.connect(**self.address) as conn, conn.cursor() as cursor:
            if rows:
                cursor.executemany(sql, rows)
            else:
                cursor.execute(sql)

    def put(self, *rows: tuple) -> None:
        """(id, name, updated_at in UTC), new or changed."""
        self.run(
            "insert into contacts (id, name, updated_at) values (%s, %s, %s)"
            " on conflict (id) do update set name = excluded.name, updated_at = excluded.updated_at",
            *[(key, name, moment and at(moment)) for key, name, moment in rows],
        )


@pytest.fixture
def source(server):
    name = f"s_{uuid.uuid4().hex[:12]}"
    url = make_url(server.url("postgres"))
    address = {**url.translate_connect_args(username="user", database="dbname"), **url.query, "dbname": name}
    with psycopg.connect(**{**address, "dbname": "postgres"}, autocommit=True) as admin:
        admin.execute(f"create database {name}")
        yield Source(address)
        admin.execute(f"drop database {name} with (force)")


@pytest.fixture(params=["psycopg", "psycopg2"])
def either_driver(request, source):
    source.driver = {"psycopg": psycopg, "psycopg2": psycopg2}[request.param]
    return source


@pytest.fixture
def sync(engine, source):
    """sync(plan's keys, mapping=..., at=..., from_scratch=...): one synchronisation."""

    def run(mapping=MAPPING, *, now=NOW, connect=None, placeholder="%s", scratch=False, **keys):
        keys = {"query": QUERY, "watermark": "updated_at", **keys}
        chosen = read(mapping)
        plan = SourcePlan(mapping=chosen.name, connection="crm", where="include/sync.yaml:4", **keys)
        return synchronise(
            engine, chosen, plan, connect or source.connect, placeholder, actor="test", clock=lambda: now,
            is_from_scratch=scratch,
        )  # fmt: skip

    return run


@pytest.fixture
def world(engine):
    return World(engine)


def names(world) -> list[tuple]:
    return world.rows("select customer_id, name from customers order by 1")


def last_load(world) -> tuple:
    return world.rows("select state, rows_read, error from imports order by import_id desc limit 1")[0]


# --- a life ---------------------------------------------------------------------------------------------------------


def test_first_load_increment_late_and_corrected_rows(either_driver, sync, world, engine):
    source = either_driver
    source.put(("1", "Ann", "2026-11-23 06:00"), ("2", "Ben", "2026-11-23 07:00"))
    loaded = sync()
    assert loaded.tables["customers"] == Counts(new=2) and loaded.notes == ["all rows"]
    assert fetch_mark(engine, "contacts") == at("2026-11-23 07:00")
    # An increment reads only the hour of overlap and what is new.
    source.put(("3", "Cai", "2026-11-23 07:40"))
    loaded = sync()
    assert loaded.tables["customers"] == Counts(new=1, same=2) and loaded.rows_read == 3
    source.put(("4", "Dan", "2026-11-23 07:50"))
    assert sync().rows_read == 3, "Ann is older than the mark by more than the overlap"
    # Committed late: older than the mark, but within the overlap.
    source.put(("5", "Eve", "2026-11-23 07:10"), ("2", "Benno", "2026-11-23 07:05"))
    assert sync(now=NOW + timedelta(minutes=20)).tables["customers"] == Counts(new=1, changed=1, same=2)
    # ... and outside of it: not seen before it is changed, or all is read.
    source.put(("6", "Fay", "2026-11-23 01:10"))
    assert sync().tables["customers"].new == 0
    assert sync(scratch=True).tables["customers"].new == 1
    # Corrected.
    source.put(("1", "Anna", "2026-11-23 07:55"))
    assert sync(now=NOW + timedelta(minutes=30)).tables["customers"].changed == 1
    assert names(world) == [("1", "Anna"), ("2", "Benno"), ("3", "Cai"), ("4", "Dan"), ("5", "Eve"), ("6", "Fay")]
    assert world.rows("select name from customer_history order by 1") == [("Ann",), ("Ben",)]
    assert world.rows("select watermark, count(*) from sync_marks group by 1") == [("2026-11-23T07:55:00+00:00", 1)]


def test_nothing_new_leaves_the_mark(source, sync, world):
    source.put(("1", "Ann", "2026-11-23 06:00"))
    sync()
    before = world.rows("select * from sync_marks")
    source.run("delete from contacts")
    loaded = sync(now=NOW + timedelta(hours=1))
    assert (loaded.rows_read, world.rows("select * from sync_marks"), names(world)) == (0, before, [("1", "Ann")])
    sync(scratch=True)
    assert world.count("sync_marks") == 0, "nothing was read from scratch: the next time begins at the beginning"


def test_a_query_s_own_percent_signs(either_driver, sync, world):
    either_driver.put(("1", "Ann", "2026-11-23 06:00"), ("2", "Ben", "2026-11-23 06:00"))
    query = "select * from contacts where name like 'A%' and 7 % 2 = 1"
    for _ in range(2):
        assert sync(query=query).rows_read == 1
    assert names(world) == [("1", "Ann")]


def test_without_a_watermark_all_is_read_each_time_and_may_be_complete(source, sync, world):
    source.put(*[(str(n), "x", "2026-01-01") for n in range(30)])
    plan = {"watermark": None, "is_complete": True}
    assert sync(**plan).tables["customers"] == Counts(new=30)
    source.run("delete from contacts where id in ('3', '4')")
    assert sync(**plan).tables["customers"] == Counts(same=28, gone=2)
    source.run("delete from contacts where id < '28'")
    with pytest.raises(IntakeError, match=r"2[0-9] of 28 customers would be gone.*sync.yaml most_gone: 100%"):
        sync(**plan)
    assert world.count("customers") == 28
    assert sync(**plan, most_gone=1.0).tables["customers"].gone > 20
    assert world.count("sync_marks") == 0


# --- deleted at the source ------------------------------------------------------------------------------------------


def test_rows_marked_as_deleted(source, sync, world):
    source.put(("1", "Ann", "2026-11-23 06:00"), ("2", "Ben", "2026-11-23 06:00"))
    sync()
    source.run("update contacts set is_deleted = true, updated_at = '2026-11-23 06:30+00' where id = '1'")
    assert sync(now=NOW + timedelta(minutes=30)).tables["customers"] == Counts(gone=1, same=1)
    assert names(world) == [("2", "Ben")] and world.count("customer_history") == 1


def test_who_was_erased_does_not_come_back_with_the_next_sync(source, sync, world, engine, tmp_path, monkeypatch):
    monkeypatch.setenv("RETENTION_ERASURE_KEY", "an erasure key of the tests, of 32 characters or more")
    source.put(("ann-7781", "Ann", "2026-11-23 06:00"), ("ben", "Ben", "2026-11-23 07:00"))
    sync()
    privacy.erase(engine, "ann-7781", reason="asked", actor="ada", now=NOW, home=tmp_path)
    source.put(("ann-7781", "Annabella", "2026-11-23 07:55"))
    loaded = sync(now=NOW + timedelta(minutes=30), scratch=True)
    assert (loaded.rows_rejected, loaded.rows_erased) == (1, 1) and loaded.tables["customers"] == Counts(same=1)
    assert names(world) == [("ben", "Ben")]
    assert world.rows("select reason, raw from rejected_rows") == [("erased", "")]


def test_rows_that_are_not_there_any_more_are_found_by_their_keys(either_driver, sync, world, engine):
    source = either_driver
    source.put(*[(str(n), "x", "2026-11-20") for n in range(30)])
    assert sync(compare_keys=True).tables["customers"] == Counts(new=30)
    source.run("delete from contacts where id = '7'")
    assert sync().tables["customers"].gone == 0, "without comparing nobody knows"
    source.put(("30", "y", "2026-11-22"))
    loaded = sync(compare_keys=True, now=NOW + timedelta(minutes=30))
    assert loaded.tables["customers"] == Counts(new=1, gone=1, same=29)
    assert world.count("customers") == 30 and world.count("customer_history") == 1
    summary = world.rows("select summary->'tables'->'customers'->>'gone' from imports order by import_id desc limit 1")
    assert summary == [("1",)]


def test_too_many_gone_is_not_believed(source, sync, world, engine):
    source.put(*[(str(n), "x", "2026-11-20") for n in range(50)])
    sync(compare_keys=True)
    source.run("delete from contacts where id <> '1'")
    source.put(("60", "y", "2026-11-23"))
    with pytest.raises(IntakeError, match=r"49 of 51 customers would be gone.*most_gone: 100%"):
        sync(compare_keys=True)
    assert world.count("customers") == 50 and fetch_mark(engine, "contacts") == at("2026-11-20")


def test_keys_are_made_as_the_mapping_makes_them(source, sync, world):
    source.run(
        'create table sales ("No" int, "customer" text, state text, at timestamp, version bigint generated always as'
        " identity)"
    )
    source.run(
        "insert into sales values (%s, 'c', %s, '2026-01-01')", *[(n, "paid" if n else "open") for n in range(5)]
    )
    plan = {"query": "select * from sales", "watermark": "version", "compare_keys": True}
    assert sync(ORDERS, **plan).tables["orders"] == Counts(new=4)
    # One is deleted, one is no longer of those that count.
    source.run('delete from sales where "No" = 2')
    source.run("update sales set state = 'void' where \"No\" = 3")
    assert sync(ORDERS, **plan).tables["orders"].gone == 2
    assert world.rows("select order_id from orders order by 1") == [("S-1",), ("S-4",)]
    assert world.rows("select watermark from sync_marks") == [("5",)]


def test_somebody_merged_is_there_as_long_as_either_id_is(source, sync, world, engine):
    source.put(("1", "Ann", "2026-11-20"), ("2", "Ann", "2026-11-20"))
    sync(compare_keys=True)
    with engine.begin() as conn:
        merge_customers(conn, "1", "2", reason="same", actor="test", now=NOW)
    source.run("delete from contacts where id = '1'")
    assert sync(compare_keys=True).tables["customers"].gone == 0
    source.run("delete from contacts")
    assert sync(compare_keys=True).tables["customers"].gone == 1


# --- odd watermarks -------------------------------------------------------------------------------------------------


def test_rows_without_a_watermark_are_told(source, sync, world):
    source.put(("1", "Ann", "2026-11-23 06:00"), ("2", "Ben", None))
    loaded = sync()
    assert loaded.rows_read == 2 and any(note.startswith("1 rows have no updated_at") for note in loaded.notes)
    source.put(("3", "Cai", None))
    loaded = sync()
    assert loaded.rows_read == 1 and "2 rows have no updated_at: they are read from scratch only" in loaded.notes
    notes = world.rows("select summary->'notes' from imports order by import_id desc limit 1")
    assert notes == [(loaded.notes,)]
    assert sync(scratch=True).tables["customers"].new == 1


def test_a_row_of_the_year_2099_does_not_blind_the_sync(source, sync, engine):
    source.put(("1", "Ann", "2099-01-01"), ("2", "Ben", "2026-11-23 07:00"))
    loaded = sync()
    assert fetch_mark(engine, "contacts") == at("2026-11-23 07:00")
    assert "1 rows have a updated_at in the future: they are read again every time" in loaded.notes
    source.put(("3", "Cai", "2026-11-23 07:30"))
    assert sync().tables["customers"].new == 1


def test_clocks_that_differ_a_little(source, sync, engine):
    source.put(("1", "Ann", "2026-11-23 08:05"))
    assert sync().notes == ["all rows"]
    assert fetch_mark(engine, "contacts") == NOW, "never later than the load itself"


@pytest.mark.parametrize(
    ("kind", "first", "second", "mark"),
    [
        ("timestamp", "'2026-11-23 13:00'", "'2026-11-23 15:00'", datetime(2026, 11, 23, 15, 0)),
        ("date", "'2026-11-20'", "'2026-11-22'", date(2026, 11, 22)),
        ("bigint", "17", "18", 18),
        ("numeric", "17", "18", 18),
        ("text", "'2026-11-23T13:00:00'", "'2026-11-23T15:00:00'", "2026-11-23T15:00:00"),
    ],
)
def test_kinds_of_watermarks(source, sync, engine, kind, first, second, mark):
    source.run(f"create table t (id text, v {kind})")
    mapping = "mapping: t\nsource: t\nrows:\n  - {into: customers, customer_id: id}\n"
    plan = {"query": "select * from t", "watermark": "v", "overlap": timedelta(minutes=30)}
    source.run(f"insert into t values ('1', {first})")
    sync(mapping, **plan)
    source.run(f"insert into t values ('2', {second})")
    assert sync(mapping, **plan).tables["customers"].new == 1
    assert fetch_mark(engine, "t") == mark
    assert sync(mapping, **plan).rows_read == 1


@pytest.mark.parametrize("value", [at("2026-11-23 07:00"), datetime(2026, 11, 23), date(2026, 11, 23), 7, "2026-11-23"])
def test_marks_come_back_as_they_were(value):
    assert read_mark(write_mark(value)) == value and type(read_mark(write_mark(value))) is type(value)


def test_text_stays_written_as_it_is():
    hour = timedelta(hours=1)
    assert step_back("2026-11-23 07:00:00.123", hour) == "2026-11-23 06:00:00.123"
    assert step_back("2026-11-23T07:00Z", hour) == "2026-11-23T06:00Z"
    assert step_back("2026-11-23", hour) == "2026-11-22"
    assert step_back(date(2026, 11, 23), timedelta(hours=25)) == date(2026, 11, 21)
    assert limit_of("2026-11-23T07:00:00Z", NOW, "Asia/Shanghai") == "2026-11-23T08:00:00Z"
    assert limit_of("2026-11-23 07:00:00", NOW, "Asia/Shanghai") == "2026-11-23 16:00:00"


def test_what_is_no_watermark(source, sync):
    source.put(("1", "Ann", "2026-11-23 06:00"))
    with pytest.raises(IntakeError, match=r'sync.yaml:4: contacts: watermark "name" is neither.*\(str\)'):
        sync(watermark="name")
    with pytest.raises(IntakeError, match='query was refused: column "updatet_at" does not exist'):
        sync(watermark="updatet_at")


# --- another driver -------------------------------------------------------------------------------------------------


def test_sqlite_is_read_the_same_way(sync, tmp_path, engine, world):
    path = tmp_path / "source.db"

    def connect():
        return sqlite3.connect(path)

    conn = connect()
    conn.execute("create table contacts (id integer, name text, tier text, is_deleted int default 0, updated_at text)")
    conn.executemany(
        "insert into contacts (id, name, updated_at) values (?, ?, ?)",
        [(n, f"n{n}", "2026-11-23 06:00:00") for n in range(25_000)],
    )
    conn.commit()
    plan = {"connect": connect, "placeholder": "?", "compare_keys": True}
    assert sync(**plan).tables["customers"] == Counts(new=25_000)
    assert fetch_mark(engine, "contacts") == "2026-11-23 06:00:00"
    conn.execute("delete from contacts where id = 5")
    conn.execute("insert into contacts values (-1, 'new', null, 0, '2026-11-23 07:30:00')")
    conn.execute("update contacts set updated_at = '2026-11-22 06:00:00' where id > 20")
    conn.commit()
    loaded = sync(**plan)
    assert loaded.tables["customers"].new == 1 and loaded.tables["customers"].gone == 1
    assert loaded.rows_read == 21
    with pytest.raises(IntakeError, match=r"the query was refused: no such column: nam \(OperationalError\)"):
        sync(**plan, query="select id, nam from contacts")
    conn.execute("begin exclusive")
    with pytest.raises(SourceDown, match="it had no time for us"):
        sync(**{**plan, "connect": lambda: sqlite3.connect(path, timeout=0.1)})
    conn.rollback()
    conn.close()
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceDown, match="can't be reached"):
        sync(**{**plan, "connect": lambda: sqlite3.connect(tmp_path / "folder")})


def test_a_driver_that_takes_a_quoted_name_for_a_text_takes_nobody_away(source, sync, world):
    source.put(("1", "Ann", "2026-11-23 06:00"))
    sync()

    class Reading(psycopg.Cursor):
        def execute(self, query, *rest):
            return super().execute(query.replace('select distinct "id"', "select distinct 'id' as id"), *rest)

    class Connection(psycopg.Connection):
        def cursor(self):
            return Reading(self)

    with pytest.raises(IntakeError, match=r"its keys can't be asked for.*complete: true"):
        sync(compare_keys=True, connect=lambda: Connection.connect(**source.address))
    assert names(world) == [("1", "Ann")]


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_column_that_vanished_is_named_and_nothing_is_loaded(source, sync, world, engine):
    source.put(("1", "Ann", "2026-11-23 06:00"))
    sync(query="select * from contacts")
    before = world.rows("select * from sync_marks")
    source.run("alter table contacts rename tier to tier_name")
    source.put(("2", "Ben", "2026-11-23 07:00"))
    with pytest.raises(IntakeError, match=r'connection crm: there is no column "tier".*mean "tier_name".*Nothing was'):
        sync(query="select * from contacts")
    with pytest.raises(IntakeError) as raised:
        sync()
    assert not isinstance(raised.value, SourceDown)
    assert str(raised.value) == (
        'include/sync.yaml:4: contacts: Connection "crm": the query was refused: column "tier" does not exist '
        "(UndefinedColumn). Nothing was loaded. Correct the query, or the rights of the Connection's user."
    )
    # On the page, too, not only in the task's log.
    failed = world.rows("select state, error from imports where import_id > 1 order by import_id")
    assert [state for state, _ in failed] == ["failed", "failed"]
    assert 'no column "tier"' in failed[0][1] and 'column "tier" does not exist' in failed[1][1]
    with pytest.raises(IntakeError, match='query of contacts has no column "UPDATED_ON", its watermark.*updated_at'):
        sync(query="select * from contacts order by 1", watermark="UPDATED_ON", connect=_Without(source))
    assert names(world) == [("1", "Ann")] and world.rows("select * from sync_marks") == before


class _Without:
    """A driver that drops what follows the query's bracket, as if the watermark had only been sorted by."""

    def __init__(self, source):
        self._source = source

    def __call__(self):
        class Cursor(psycopg.Cursor):
            def execute(self, query, *rest):
                return super().execute("select * from contacts")

        class Connection(psycopg.Connection):
            def cursor(self):
                return Cursor(self)

        return Connection.connect(**self._source.address)


def test_values_of_the_source_stay_out_of_errors(source, sync, world):
    source.put(("1", "ann@example.com", "2026-11-23 06:00"))
    with pytest.raises(IntakeError) as raised:
        sync(query="select id, name, tier, is_deleted, updated_at, name::int as n from contacts")
    assert "ann@" not in str(raised.value) and "invalid input syntax for type integer" in str(raised.value)
    assert raised.value.__cause__ is None and raised.value.__context__ is None


def test_a_source_that_is_down_is_told_without_its_address(source, sync, world, engine):
    source.put(("1", "Ann", "2026-11-23 06:00"))
    sync()
    for driver in (psycopg, psycopg2):
        down = {"host": "127.0.0.1", "port": 1, "user": "spy", "password": "secret"}
        with pytest.raises(SourceDown) as raised:
            sync(connect=lambda: driver.connect(**down))  # noqa: B023
        said = str(raised.value)
        assert said.startswith('include/sync.yaml:4: contacts: Connection "crm": the connection was refused.')
        assert not any(word in said for word in ("127", "spy", "secret")) and raised.value.__context__ is None
        gone = {**source.address, "dbname": "no_such"}
        with pytest.raises(IntakeError) as raised:
            sync(connect=lambda: driver.connect(**gone))  # noqa: B023
        assert not isinstance(raised.value, SourceDown) and "no_such" not in str(raised.value)
    assert fetch_mark(engine, "contacts") == at("2026-11-23 06:00")
    assert world.count("imports", state="done") == 1 and world.count("imports", state="failed") == 4
    source.put(("2", "Ben", "2026-11-23 07:00"))
    assert sync().tables["customers"].new == 1, "it goes on from where it stood"


def test_a_connection_lost_in_mid_read_loads_nothing_and_is_resumed(either_driver, sync, world, engine, monkeypatch):
    source = either_driver
    source.put(("0", "old", "2026-11-22"))
    sync()
    monkeypatch.setattr(remote, "ROWS", 10)
    source.put(*[(str(n), "x", "2026-11-23") for n in range(1, 3000)])
    fetch, times = remote.Remote._fetch, []

    def cut_off(self):
        times.append(1)
        if len(times) == 5:
            source.run(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        return fetch(self)

    monkeypatch.setattr(remote.Remote, "_fetch", cut_off)
    with pytest.raises(SourceDown, match="the connection was lost"):
        sync()
    assert names(world) == [("0", "old")] and fetch_mark(engine, "contacts") == at("2026-11-22")
    state, _, error = last_load(world)
    assert state == "failed" and error.startswith("include/sync.yaml:4: contacts:")
    assert sync().tables["customers"].new == 2999


def test_a_source_that_never_answers_is_not_waited_for(source, sync, monkeypatch):
    source.put(("1", "Ann", "2026-11-23"))
    monkeypatch.setattr(remote, "ANSWER_SECONDS", 0.3)
    with pytest.raises(SourceDown, match="no answer"):
        sync(watermark=None, query="select *, pg_sleep(2) from contacts")
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 0.1)
    with pytest.raises(SourceDown, match="no answer"):
        sync(connect=lambda: time.sleep(0.5))


KILLED = """
import os, sys, time
from datetime import UTC, datetime
import psycopg
from retention.intake import remote
from retention.intake.mapping_file import parse_mapping
from retention.intake.sync import synchronise
from retention.intake.sync_plan import SourcePlan
from retention.store.database import connect

remote.ROWS = 100
text, query, address = sys.argv[1:]
fetch, times = remote.Remote._fetch, []
def slow(self):
    times.append(1)
    if len(times) == 20:
        print("in the middle", flush=True)
        time.sleep(60)
    return fetch(self)
remote.Remote._fetch = slow
plan = SourcePlan("contacts", "crm", query, "updated_at")
now = datetime(2026, 11, 23, 8, tzinfo=UTC)
synchronise(connect(), parse_mapping("m", text, "contacts"), plan, lambda: psycopg.connect(address), "%s",
            actor="killed", clock=lambda: now)
"""


def test_killed_in_mid_load_nothing_is_there_and_the_next_one_does_it_all(source, sync, world, engine, database_url):
    source.put(("0", "old", "2026-11-22"))
    sync()
    source.put(*[(str(n), "x", "2026-11-23") for n in range(1, 5000)])
    address = psycopg.conninfo.make_conninfo(**source.address)
    env = {**os.environ, "RETENTION_DATABASE_URL": database_url, "PYTHONPATH": str(Path("plugins").resolve())}
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, MAPPING, QUERY, address], env=env, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "in the middle\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert names(world) == [("0", "old")] and fetch_mark(engine, "contacts") == at("2026-11-22")
    assert last_load(world)[0] == "running"
    assert sync().tables["customers"].new == 4999
    assert world.rows("select state from imports order by import_id") == [("done",), ("interrupted",), ("done",)]
    assert fetch_mark(engine, "contacts") == at("2026-11-23")


def test_a_failure_after_the_rows_takes_the_mark_back_too(source, sync, world, engine, monkeypatch):
    from retention.intake import load as module

    source.put(("1", "Ann", "2026-11-23"))
    monkeypatch.setattr(module, "note", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sync()
    assert names(world) == [] and fetch_mark(engine, "contacts") is None
