"""crm_sync with all of Airflow's parts running, and a second Postgres server that is stopped and killed under it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from retention.errors import NoAnswer
from retention.orchestration.local_airflow import Airflow
from retention.orchestration.local_settings import HOST, airflow_environment, metadata_url
from tests.airflow.test_crm_sync import PEOPLE
from tests.world import World

ROOT = Path(__file__).resolve().parents[2]
DAG = "crm_sync"
SYNC = """
schedule: "0 0 1 1 *"
sources:
  - mapping: people
    connection: crm
    query: |
      select id, name, is_deleted, updated_at from people
    watermark: updated_at
"""


def wait_for(question, seconds: float = 120):
    """The first answer that is one."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.3)
    return answer


class Crm:
    """The company's other server: it can be stopped."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.start()
        self.run(
            "create table people (id text primary key, name text, is_deleted boolean default false,"
            " updated_at timestamptz)"
        )

    def start(self) -> None:
        from retention.store.embedded import hold

        self._held = hold(self.folder)

    def stop(self) -> None:
        self._held.release()

    @property
    def url(self):
        return make_url(self._held.url("postgres"))

    def run(self, sql: str) -> None:
        engine = create_engine(self.url)
        with engine.begin() as conn:
            conn.execute(text(sql))
        engine.dispose()


@pytest.fixture
def crm(tmp_path):
    made = Crm(tmp_path / "crm")
    yield made
    made.stop()


@pytest.fixture
def airflow(database_url, tmp_path):
    house = tmp_path / "house"
    for part in ("dags", "include"):
        shutil.copytree(ROOT / part, house / part, ignore=shutil.ignore_patterns("__pycache__"))
    (house / "include" / "mappings" / "people.yaml").write_text(PEOPLE)
    (house / "include" / "sync.yaml").write_text(SYNC)
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    home, airflow_url = tmp_path / "home", metadata_url(database_url, is_embedded=False)
    environment = airflow_environment(
        home, url=database_url, airflow_url=airflow_url, port=port, run_id="crm-sync", dags=house / "dags"
    )
    parts = Airflow(home, f"http://{HOST}:{port}", environment)
    try:
        parts.begin_migration(airflow_url)
        wait_for(parts.finish_migration)
        parts.start()
        wait_for(lambda: _is_up(parts))
        yield parts
    finally:
        parts.stop(10, lambda: False)


def _is_up(parts: Airflow) -> bool:
    parts.require_all_running()
    try:
        return parts.is_healthy()
    except NoAnswer:
        return False


@pytest.mark.soak
def test_a_source_s_life_in_a_living_airflow(airflow, crm, engine, tmp_path):
    ask, world = airflow.api._ask, World(engine)
    runs = f"/api/v2/dags/{DAG}/dagRuns"

    def start(run_id: str) -> None:
        ask("POST", runs, {"dag_run_id": run_id, "logical_date": None, "conf": {}})

    def task(run_id: str) -> dict:
        return ask("GET", f"{runs}/{run_id}/taskInstances/people")

    def state_of(run_id: str) -> str | None:
        return (airflow.api.find_run(DAG, run_id) or {}).get("state")

    def log_of(run_id: str) -> str:
        return "".join(path.read_text() for path in (tmp_path / "home/logs/tasks").rglob(f"run_id={run_id}/**/*.log"))

    where = {"connection_id": "crm", "conn_type": "postgres", "host": crm.url.query["host"], "login": "postgres",
             "schema": "postgres", "password": "top-secret"}  # fmt: skip
    ask("POST", "/api/v2/connections", where)
    wait_for(lambda: DAG in airflow.list_dags())
    assert airflow.list_import_errors() == []

    # The first load.
    crm.run("insert into people select n::text, 'x', false, '2026-01-01Z' from generate_series(1, 25000) n")
    start("first")
    wait_for(lambda: state_of("first") in ("success", "failed"))
    assert state_of("first") == "success", log_of("first")
    # Airflow makes up the last moment of the schedule: not in the midst of what follows.
    wait_for(lambda: all(run["state"] == "success" for run in ask("GET", f"{runs}?limit=10")["dag_runs"]))
    assert world.count("customers") == 25000

    # Its process is killed in the middle: nothing of it is there.
    crm.run("insert into people select 'n' || n, 'y', false, '2026-01-02Z' from generate_series(1, 4000) n")
    mark = world.rows("select watermark, import_id from sync_marks")
    blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    with engine.connect() as conn:
        conn.execute(text("lock table customers in access exclusive mode"))
        start("killed")
        wait_for(lambda: world.rows(blocked) == [(1,)])
        assert world.rows("select state from imports where actor = 'Airflow run killed'") == [("running",)]
        os.kill(task("killed")["pid"], signal.SIGKILL)
        wait_for(lambda: task("killed")["state"] == "up_for_retry")
    assert world.count("customers") == 25000 and world.rows("select watermark, import_id from sync_marks") == mark

    # Before it is tried again, the source itself goes away.
    crm.stop()
    wait_for(lambda: task("killed")["try_number"] == 2 and task("killed")["state"] == "up_for_retry")
    said = log_of("killed")
    assert "SourceDown" in said and "nothing listens there" in said and "top-secret" not in said
    assert str(tmp_path / "crm") not in said
    assert world.count("customers") == 25000

    # It is back, nobody does anything, and the next try brings it all.
    crm.start()
    wait_for(lambda: state_of("killed") in ("success", "failed"), 300)
    assert state_of("killed") == "success", log_of("killed")
    assert world.count("customers") == 29000
    assert world.rows("select watermark from sync_marks") == [("2026-01-02T00:00:00+00:00",)]
    states = world.rows("select state from imports where actor = 'Airflow run killed' order by import_id")
    assert states == [("interrupted",), ("done",)]
    events = ask("GET", "/api/v2/assets/events?limit=10")["asset_events"]
    brought = {event["source_run_id"]: event["extra"]["tables"]["customers"].get("new") for event in events}
    assert brought["killed"] == 4000
    assert json.dumps(events).count('"y"') == 0
