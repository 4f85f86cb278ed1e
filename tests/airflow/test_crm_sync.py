"""The DAG crm_sync in a real Airflow, with a second Postgres database as the source."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import time_machine
from sqlalchemy import create_engine, make_url, text

from tests.world import World

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
DAG = "crm_sync"

PEOPLE = """
mapping: people
source: crm
rows:
  - into: customers
    customer_id: id
    name: name
    occurred_at: updated_at
    gone: {column: is_deleted, default: false}
"""
SALES = """
mapping: sales
source: shop
rows:
  - {into: orders, order_id: id, customer_id: customer, occurred_at: at}
"""
SYNC = """
sources:
  - mapping: people
    connection: crm
    query: |
      select id, name, is_deleted, updated_at from people
    watermark: updated_at
    compare_keys: true
  - mapping: sales
    connection: shop
    query: select * from sales
"""


class Crm:
    """The company's other database."""

    def __init__(self, url):
        self.url = url
        self.engine = create_engine(url)
        self.run("create table people (id text primary key, name text, is_deleted boolean, updated_at timestamptz)")
        self.run("create table sales (id int, customer text, at timestamptz)")

    def run(self, sql: str) -> None:
        with self.engine.begin() as conn:
            conn.execute(text(sql))

    def connection(self, **changes: str) -> str:
        """As an Airflow Connection in JSON."""
        import json

        words = {
            "conn_type": "postgres", "host": self.url.query["host"], "login": self.url.username,
            "schema": self.url.database, **changes,
        }  # fmt: skip
        return json.dumps(words)


@pytest.fixture
def crm(server, monkeypatch):
    name = f"s_{uuid.uuid4().hex[:12]}"
    admin = create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text(f"create database {name}"))
    made = Crm(make_url(server.url(name)))
    monkeypatch.setenv("AIRFLOW_CONN_CRM", made.connection())
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", made.connection())
    yield made
    made.engine.dispose()
    with admin.connect() as conn:
        conn.execute(text(f"drop database {name} with (force)"))
    admin.dispose()


@pytest.fixture
def works(house, crm):
    """A checkout that synchronises two mappings, parsed."""
    (house.include / "mappings" / "people.yaml").write_text(PEOPLE)
    (house.include / "mappings" / "sales.yaml").write_text(SALES)
    (house.include / "sync.yaml").write_text(SYNC)
    house.parse()
    with time_machine.travel(NOW) as clock:
        yield Works(house, clock)


class Works:
    """Runs of the DAG, a minute apart."""

    def __init__(self, house, clock):
        self.house, self.clock, self.number = house, clock, 0

    def run(self, **conf) -> dict[str, str]:
        self.clock.shift(timedelta(minutes=1))
        self.number += 1
        self.house.start(DAG, f"r{self.number}", **{"from_scratch": False, "only": None, **conf})
        return self.again()

    def again(self) -> dict[str, str]:
        return self.house.work(DAG, f"r{self.number}")

    def wait_for_retry(self, task_id: str) -> float:
        """Let the clock go on to the task's next try; how many seconds that was."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            where = (TaskInstance.run_id == f"r{self.number}", TaskInstance.task_id == task_id)
            task = session.scalars(select(TaskInstance).where(*where)).one()
            task.task = self.house.dags[DAG].task_dict[task_id]
            wait = (task.next_retry_datetime() - datetime.now(UTC)).total_seconds()
        self.clock.shift(wait + 1)
        return wait

    def counts(self, task: str = "people") -> dict:
        return self.house.xcom(DAG, f"r{self.number}", task)


@pytest.fixture
def world(engine):
    return World(engine)


GREEN = {"people": "success", "sales": "success", "all_in": "success", "run": "success"}


def people(world) -> list[tuple]:
    return world.rows("select customer_id, name from customers order by 1")


def test_first_load_increment_correction_deletion_and_the_asset_s_news(works, crm, world):
    crm.run(
        "insert into people values ('1', 'Ann', false, '2026-11-23 05:00Z'), ('2', 'Ben', false, '2026-11-23 07:00Z')"
    )
    crm.run("insert into sales values (7, '1', '2026-11-23 06:30Z')")
    assert works.run() == GREEN
    assert works.counts()["tables"] == {"customers": {"new": 2}} and works.counts("sales")["rows_read"] == 1
    # Later: one new, one corrected within the overlap although its watermark is older than the mark.
    crm.run("insert into people values ('3', 'Cai', false, '2026-11-23 07:50Z')")
    crm.run("update people set name = 'Benno', updated_at = '2026-11-23 07:00:01Z' where id = '2'")
    assert works.run() == GREEN
    assert works.counts()["tables"] == {"customers": {"new": 1, "changed": 1}} and works.counts()["rows_read"] == 2
    # One is marked as deleted, one is simply not there any more.
    crm.run("update people set is_deleted = true, updated_at = '2026-11-23 07:59Z' where id = '1'")
    crm.run("delete from people where id = '2'")
    assert works.run() == GREEN
    assert works.counts()["tables"] == {"customers": {"gone": 2, "same": 1}}
    assert people(world) == [("3", "Cai")]
    events = asset_events()
    assert [(name, extra["rows_read"]) for name, uri, extra in events if name == "retention_people"] == [
        ("retention_people", 2), ("retention_people", 2), ("retention_people", 2),
    ]  # fmt: skip
    assert {uri for _, uri, _ in events} == {"retention://facts/crm/people", "retention://facts/shop/sales"}
    assert not any(name in str(events) for name in ("Ann", "Benno", "Cai"))


def asset_events() -> list[tuple]:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = select(AssetModel.name, AssetModel.uri, AssetEvent.extra).join(
            AssetModel, AssetModel.id == AssetEvent.asset_id
        )
        return [tuple(row) for row in session.execute(found.order_by(AssetEvent.id))]


def test_a_source_that_is_down_is_tried_again_holds_up_nobody_and_is_resumed(works, crm, world, monkeypatch):
    crm.run("insert into people values ('1', 'Ann', false, '2026-11-23 06:00Z')")
    assert works.run() == GREEN
    mark = world.rows("select watermark, import_id from sync_marks")
    crm.run("insert into people values ('2', 'Ben', false, '2026-11-23 07:30Z')")
    crm.run("insert into sales values (7, '1', '2026-11-23 06:30Z')")
    monkeypatch.setenv("AIRFLOW_CONN_CRM", crm.connection(host="127.0.0.1", port=1, password="secret"))
    states = works.run()
    assert (states["people"], states["sales"]) == ("up_for_retry", "None"), "customers come before orders"
    waits = []
    for _ in range(3):
        waits.append(works.wait_for_retry("people"))
        states = works.again()
    assert states == {"people": "failed", "sales": "success", "all_in": "upstream_failed", "run": "failed"}
    assert waits == sorted(waits) and waits[0] < waits[-1] and sum(waits) < 900, waits
    assert people(world) == [("1", "Ann")] and world.count("orders") == 1
    assert world.rows("select watermark, import_id from sync_marks") == mark
    # It is back: the next run, or clearing the failed task, goes on from where it stood.
    monkeypatch.setenv("AIRFLOW_CONN_CRM", crm.connection())
    works.house.clear(DAG, "r2", "people", "all_in")
    assert works.again() == GREEN
    assert people(world) == [("1", "Ann"), ("2", "Ben")]


def test_a_connection_lost_in_the_middle_is_tried_again_and_loads_it_all(works, crm, world, monkeypatch):
    from retention.intake import remote

    crm.run("insert into people select n::text, 'x', false, '2026-11-23 06:00Z' from generate_series(1, 500) n")
    monkeypatch.setattr(remote, "ROWS", 10)
    fetch, times = remote.Remote._fetch, []

    def cut_off(self):
        times.append(1)
        if len(times) == 9:
            with psycopg.connect(make_url(crm.url).set(drivername="postgresql").render_as_string(False)) as conn:
                conn.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                )
        return fetch(self)

    monkeypatch.setattr(remote.Remote, "_fetch", cut_off)
    assert works.run()["people"] == "up_for_retry"
    assert people(world) == [] and world.count("sync_marks") == 0
    works.clock.shift(timedelta(minutes=2))
    assert works.again() == GREEN
    assert world.count("customers") == 500


def test_a_column_that_vanished_fails_at_once_and_the_run_is_red(works, crm, world, caplog):
    crm.run("insert into people values ('1', 'Ann', false, '2026-11-23 06:00Z')")
    assert works.run() == GREEN
    crm.run("alter table people rename name to full_name")
    crm.run("insert into people values ('2', 'Ben', false, '2026-11-23 07:30Z')")
    states = works.run()
    assert states == {"people": "failed", "sales": "success", "all_in": "upstream_failed", "run": "failed"}
    assert people(world) == [("1", "Ann")]
    assert world.rows("select watermark from sync_marks") == [("2026-11-23T06:00:00+00:00",)]


def test_from_scratch_and_one_source_only(works, crm, world):
    crm.run("insert into people values ('1', 'Ann', false, '2026-11-23 06:00Z')")
    assert works.run() == GREEN
    crm.run("insert into people values ('2', 'Ben', false, '2026-01-01')")
    works.run()
    assert works.counts()["rows_read"] == 1, "far older than the mark"
    states = works.run(from_scratch=True, only="people")
    assert states == GREEN | {"sales": "skipped"}
    assert works.counts()["rows_read"] == 2 and people(world) == [("1", "Ann"), ("2", "Ben")]


def test_no_such_connection_or_one_of_no_database(works, crm, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_CRM")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", '{"conn_type": "smtp", "host": "127.0.0.1"}')
    states = works.run()
    assert states == {"people": "failed", "sales": "failed", "all_in": "upstream_failed", "run": "failed"}


def test_without_sources_there_is_no_such_dag(house):
    house.parse()
    assert DAG not in house.dags and not house.import_errors
    (house.include / "sync.yaml").unlink()
    house.parse()
    assert DAG not in house.dags and not house.import_errors


def test_what_is_wrong_stands_in_the_banner_and_stales_nothing(works, crm, world):
    house = works.house
    assert house.dags[DAG].tags == {"retention", "facts"}
    (house.include / "mappings" / "people.yaml").write_text(PEOPLE.replace("customer_id: id", "customer: id"))
    (house.include / "sync.yaml").write_text(SYNC.replace("query: select * from sales", "qery: select * from sales"))
    house.parse()
    assert list(house.import_errors) == ["journeys_check.py"]
    banner = house.import_errors["journeys_check.py"]
    assert 'include/sync.yaml:11: sources[1]: unknown key "qery". Did you mean "query"?' in banner
    assert "include/mappings/people.yaml:6: rows[0].customer: unknown key." in banner and "birthday_care" in house.dags
    # Both keep their tasks, which fail at once and say why.
    assert list(house.dags[DAG].task_ids) == ["all_in", "people", "sales"]
    assert works.run() == {"people": "failed", "sales": "failed", "all_in": "upstream_failed", "run": "failed"}
    (house.include / "sync.yaml").write_text("sources: [")
    house.parse()
    assert "include/sync.yaml:1" in house.import_errors["journeys_check.py"] and "birthday_care" in house.dags


def test_the_shape(works):
    dag = works.house.dags[DAG]
    assert (dag.catchup, dag.max_active_runs, dag.timetable.expression) == (False, 1, "*/30 * * * *")
    assert dag.task_dict["people"].downstream_task_ids == {"sales", "all_in"}
    assert dag.params.get_param("only").schema["enum"] == [None, "people", "sales"]
    assert "| `people` | `crm` | what is new by `updated_at`, and what is gone |" in dag.doc_md
