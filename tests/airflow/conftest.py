"""A real Airflow in this process: its own database, DAG files in a folder of the test's, tasks run one after another."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from tests.world import copy_include

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = "dags-folder"


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker("airflow")


@pytest.fixture(scope="session")
def airflow_settings(server, tmp_path_factory) -> Iterator[dict[str, str]]:
    """The environment of Airflow, with its database made. Airflow reads it anew all the time: each test sets it."""
    from retention.orchestration.local_settings import metadata_url
    from retention.store.migrate import create_database

    home = tmp_path_factory.mktemp("airflow")
    (home / "house" / "dags").mkdir(parents=True)
    url = metadata_url(server.url("retention"), is_embedded=True)
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "house" / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",  # the default asks the network
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64,
        "AIRFLOW__API_AUTH__JWT_ISSUER": "tests",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        create_database(url)
        _take_up_settings()
        from airflow.utils.db import initdb

        from retention.orchestration import airflow_database

        initdb()
        airflow_database.main()
    yield settings


def _take_up_settings() -> None:
    """Other tests may have imported Airflow before, without a database or plugins."""
    from airflow import plugins_manager, settings

    settings.configure_vars()
    settings.dispose_orm()
    settings.configure_orm()
    for function in vars(plugins_manager).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


@pytest.fixture
def house(airflow_settings, database_url, engine, monkeypatch) -> Iterator[House]:
    """A checkout of its own, with birthday care in it, an empty store and an Airflow that has run nothing."""
    for name, value in airflow_settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RETENTION_DATABASE_URL", database_url)
    folder = Path(airflow_settings["AIRFLOW__CORE__DAGS_FOLDER"]).parent
    shutil.rmtree(folder)
    shutil.copytree(ROOT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    copy_include(folder / "include")
    for path in (folder / "include" / "journeys").glob("*.yaml"):
        if path.stem != "birthday_care":  # the others that ship would be in every list of DAGs
            path.unlink()
    yield House(folder)
    _forget_everything()


def _forget_everything() -> None:
    from airflow import settings
    from sqlalchemy import text

    with settings.engine.begin() as conn:
        conn.execute(text("truncate dag, dag_run, dag_version, serialized_dag, import_error, log, job cascade"))
    settings.Session.remove()


class House:
    """One checkout under Airflow's eyes: change its files, read them, start runs and work their tasks off."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.include = folder / "include"
        self.import_errors: dict[str, str] = {}
        self.dags: dict = {}

    # files

    def read(self, journey: str) -> str:
        return (self.include / "journeys" / f"{journey}.yaml").read_text(encoding="utf-8")

    def write(self, journey: str, text: str) -> None:
        (self.include / "journeys" / f"{journey}.yaml").write_text(text, encoding="utf-8")

    def change(self, journey: str, **lines: str) -> None:
        """Replace top-level keys of a journey's YAML: change("birthday_care", holdout="0%")."""
        text = self.read(journey)
        for key, value in lines.items():
            text, count = re.subn(rf"(?m)^{key}:.*(?:\n[ \t]+.*)*$", lambda _: f"{key}: {value}", text)  # noqa: B023
            assert count == 1, f"{journey} has no single key {key}"
        self.write(journey, text)

    def copy_journey(self, new: str, old: str = "birthday_care") -> None:
        self.write(new, re.sub(r"(?m)^journey:.*$", f"journey: {new}", self.read(old)))

    def parse(self) -> None:
        """What the dag-processor does with the folder: `dags` and `import_errors` (file name -> text) are new after it."""
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

        DagBundlesManager().sync_bundles_to_db()
        for name in [name for name in sys.modules if name.startswith("unusual_prefix_")]:
            del sys.modules[name]
        path = self.folder / "dags"
        bag = BundleDagBag(dag_folder=path, bundle_path=path, bundle_name=BUNDLE)
        sync_bag_to_db(bag, BUNDLE, None)
        self.dags = dict(bag.dags)
        self.import_errors = {Path(name).name: text for name, text in bag.import_errors.items()}

    # runs

    def start(
        self, journey: str, run_id: str, /, logical_date: datetime | None = None, run_type: str = "manual", **conf
    ) -> None:
        """Make a run, as the trigger form or the scheduler does."""
        from airflow._shared.timezones import timezone
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        with _session() as session:
            _serialized(journey, session).create_dagrun(
                run_id=run_id,
                logical_date=timezone.coerce_datetime(logical_date),
                data_interval=None,
                run_after=timezone.coerce_datetime(logical_date) or timezone.utcnow(),
                conf=conf,
                run_type=DagRunType(run_type),
                state="running",
                triggered_by=DagRunTriggeredByType.TEST,
                start_date=timezone.utcnow(),
                session=session,
            )

    def clear(self, journey: str, run_id: str, *tasks: str | tuple[str, int]) -> None:
        """What Clear does in the UI; a task is its id, or (id, map index)."""
        with _session() as session:
            _serialized(journey, session).clear(run_id=run_id, task_ids=list(tasks), session=session)

    def work(self, journey: str, run_id: str, only: str = "") -> dict[str, str]:
        """Run what can run, of tasks whose id matches `only`, until nothing more happens; task[index] -> state.

        A task that waits is asked again whenever others have gone on: set the clock before. `run` is the key of
        the whole run's state.
        """
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        with _session() as session:
            run = session.scalar(select(DagRun).where(DagRun.dag_id == journey, DagRun.run_id == run_id))
            run.dag = _serialized(journey, session)
            _take_up_new_shape(run, session)
            asked: set[str] = set()
            seen = None
            while True:
                session.expire_all()
                ready, _ = run.update_state(session=session)
                for task in ready:
                    task.try_number += 1
                    task.state = "scheduled"
                session.commit()
                every = run.get_task_instances(session=session)
                todo = [task for task in every if task.state == "scheduled" and re.match(only, task.task_id)]
                if todo:
                    asked.clear()  # what they do may be what a waiting one waits for
                else:
                    todo = [task for task in every if task.state == "deferred" and _name(task) not in asked]
                    asked |= {_name(task) for task in todo}
                states = {_name(task): str(task.state) for task in every}
                if not todo and states == seen:
                    return {**states, "run": str(run.state)}
                seen = states
                for task in todo:
                    _run_one(task, self.dags[journey].task_dict[task.task_id])

    def xcom(self, journey: str, run_id: str, task_id: str):
        from airflow.models.xcom import XComModel

        with _session() as session:
            found = XComModel.get_many(run_id=run_id, dag_ids=journey, task_ids=task_id, key="return_value")
            return XComModel.deserialize_value(session.scalars(found).first())


@contextmanager
def _session():
    from airflow.utils.session import create_session

    with create_session() as session:
        yield session


def _serialized(journey: str, session):
    from airflow.models.serialized_dag import SerializedDagModel

    return SerializedDagModel.get_dag(journey, session=session)


def _take_up_new_shape(run, session) -> None:
    """What the scheduler does with a run whose DAG has another shape than when the run began (plain local folder)."""
    from airflow.models.dag_version import DagVersion

    newest = DagVersion.get_latest_version(run.dag_id, session=session)
    if not run.check_version_id_exists_in_dr(newest.id, session=session):
        run.verify_integrity(dag_version_id=newest.id, session=session)
    for task in run.get_task_instances(session=session):
        task.dag_version_id = newest.id
    session.commit()


def _name(task) -> str:
    return task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"


def _run_one(ti, task) -> None:
    from airflow.sdk.definitions.dag import _run_task

    ti.next_method = ti.next_kwargs = None
    _run_task(ti=ti, task=task)
