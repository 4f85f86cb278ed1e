"""What every test stands on: a real Postgres, and a guard that lets nothing leave this machine."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

ROOT = Path(__file__).resolve().parents[1]
# Whichever test imports Airflow first: never with the settings of somebody's own Airflow.
_airflow_home = tempfile.TemporaryDirectory(prefix="rt-airflow-")
os.environ["AIRFLOW_HOME"] = _airflow_home.name


# Under the name that it has in the processes that tests start, where PYTHONPATH brings it in before anything else.
sys.path.append(str(ROOT / "tests" / "guard"))
loopback_guard = importlib.import_module("loopback_guard")
loopback_guard.install()


LONG = ("test_git_bundle.py", "test_local.py", "test_journey_dags.py", "test_delivery.py", "test_changed_files.py", "test_faults.py")
"""Files whose tests take longest: they begin first, so that no worker is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def server() -> Iterator:
    """An embedded Postgres of this test session's own, in a folder that goes with it."""
    from retention.store.embedded import hold

    with tempfile.TemporaryDirectory(prefix="rt-") as folder:
        # Nothing here must outlive a power cut, and copies of databases are most of what a test waits for.
        held = hold(Path(folder), settings={"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})
        try:
            yield held
        finally:
            held.release()


@pytest.fixture(scope="session")
def template_database(server) -> str:
    """A migrated, empty database that each test gets a copy of."""
    from retention.store.migrate import migrate

    migrate(server.url("template_retention"))
    return "template_retention"


@pytest.fixture
def database_url(server, template_database) -> Iterator[str]:
    """The address of a fresh, migrated database."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    admin = create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text(f"create database {name} template {template_database} strategy file_copy"))
    yield server.url(name)
    with admin.connect() as conn:
        conn.execute(text(f"drop database {name} with (force)"))
    admin.dispose()


@pytest.fixture
def engine(database_url) -> Iterator[Engine]:
    from retention.store import database

    made = database.connect(database_url)
    yield made
    made.dispose()
    database._engine.cache_clear()


@pytest.fixture
def world(engine):
    """An empty store to add facts to."""
    from tests.world import World

    return World(engine)


@pytest.fixture
def retention(database_url, tmp_path):
    """The command line in a process of its own: retention("check", NAME="value for the environment")."""

    def run(*arguments, **environment):
        code = "import sys; sys.path.insert(0, 'plugins'); from retention.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "RETENTION_DATABASE_URL": database_url, "RETENTION_HOME": str(tmp_path), **environment},
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stderr
        return done

    return run
