"""`retention up`: Postgres, both databases, a sample store and Airflow's four parts, from nothing to a finished run.

Owns the order of starting and stopping. Ctrl-C, SIGTERM and SIGHUP stop everything in reverse; after that no process
of ours is left, or the last line names it. Whatever was killed at any moment, the next start goes on from there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from retention.errors import LaunchError, NoAnswer
from retention.orchestration.local_airflow import Airflow
from retention.orchestration.local_claim import claim_home, require_free_port
from retention.orchestration.local_processes import adopt_orphans, end_processes, follow_parent, list_descendants
from retention.orchestration.local_report import Report
from retention.orchestration.local_settings import HOST, USER, airflow_environment, metadata_url, read_port
from retention.orchestration.local_story import (
    DEMO_JOURNEY,
    DEMO_RUN,
    choose_demo_moment,
    tell_outcome,
    tell_outlook,
)
from retention.store import database
from retention.store.embedded import Server, hold

SAMPLE_CUSTOMERS, SAMPLE_SEED = 20_000, 7
_HEALTHY_SECONDS = 240
_JOURNEYS_SECONDS = 60
_DEMO_SECONDS = 300
_STOP_SECONDS = 15
_LOOK_SECONDS = 1.0


class _Stop(BaseException):
    """Somebody asked us to stop. Not an Exception: nothing on the way may take it for an error."""


class Interrupts:
    """Turns the first stop signal into `_Stop`, and counts the later ones: they mean hurry."""

    def __init__(self) -> None:
        self.count = 0
        self._is_stopping = False

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup's wish stands
            signal.signal(signal.SIGHUP, self._take)

    def _take(self, *_: object) -> None:
        self.count += 1
        if not self._is_stopping:
            self._is_stopping = True
            raise _Stop

    def begin_stopping(self) -> None:
        """From now on signals only count."""
        self._is_stopping = True
        self.count = 0

    def is_hurried(self) -> bool:
        return self.count > 0


def up(*, dags: Path = database.ROOT / "dags", customers: int = SAMPLE_CUSTOMERS, report: Report | None = None) -> None:
    """Start everything, show a first run, and stay until a stop signal. Returns when all of it has stopped.

    The data folder is `RETENTION_HOME`, the UI's port `RETENTION_PORT`. Raises LaunchError or StoreError, after
    stopping what was started, when something can't be started or won't stay.
    """
    report = report or Report()
    home, port = database.home(), read_port(os.environ.get("RETENTION_PORT"))
    if os.environ.get("MAKELEVEL"):
        follow_parent()  # a killed make takes us along
    interrupts = Interrupts()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    run_id = uuid.uuid4().hex
    with claim_home(home, run_id, port, report) as claim:
        require_free_port(port)
        interrupts.install()
        adopt_orphans()
        launch = _Launch(home, port, dags, run_id, customers, report, interrupts)
        try:
            launch.start(claim.record)
            launch.watch()
        except _Stop:
            pass
        finally:
            launch.stop()


class _Launch:
    def __init__(
        self, home: Path, port: int, dags: Path, run_id: str, customers: int, report: Report, interrupts: Interrupts
    ):
        self._home, self._port, self._dags, self._run_id = home, port, dags, run_id
        self._customers, self._report, self._interrupts = customers, report, interrupts
        self._server: Server | None = None
        self._airflow: Airflow | None = None
        self._began = time.monotonic()

    def start(self, record: Callable[[list[int]], None]) -> None:
        report = self._report
        url, airflow_url = self._find_databases()
        environment = airflow_environment(
            self._home, url=url, airflow_url=airflow_url, port=self._port, run_id=self._run_id, dags=self._dags
        )
        self._airflow = Airflow(self._home, f"http://{HOST}:{self._port}", environment)
        engine = self._prepare_databases(url, airflow_url)
        started_at = datetime.now(UTC)
        with report.step("Airflow"):
            self._airflow.start()
            record(self._airflow.list_pids())
            journeys = self._read_journeys()
            self._require(self._airflow.is_healthy, _HEALTHY_SECONDS, "Airflow is not healthy")
        with report.step("journeys") as tell:
            self._wait(lambda: self._airflow.has_read(journeys, started_at), _JOURNEYS_SECONDS)
            shown = sorted(self._airflow.list_dags())
            tell(", ".join(name for name in shown if name in journeys) or "none")
        for missing in sorted(set(journeys) - set(shown)):
            report.warn(f"{missing} does not show up in Airflow yet. See {self._home / 'logs/dag-processor.log'}.")
        report.say(f"  healthy after {time.monotonic() - self._began:.0f} s")
        for error in self._airflow.list_import_errors():
            report.warn(f"{error['filename']} can't be read; the UI shows why, and so does: .venv/bin/retention check")
        self._show_demo(engine, journeys)
        self._say_where(engine, journeys)

    def _find_databases(self) -> tuple[str, str]:
        given = bool(os.environ.get("RETENTION_DATABASE_URL"))
        if given:
            url = database.database_url()
        else:
            with self._report.step("Postgres") as tell:
                self._server = hold(self._home)
                tell(f"data in {self._home}")
            url = self._server.url("retention")
        return url, metadata_url(url, is_embedded=not given)

    def _prepare_databases(self, url: str, airflow_url: str) -> Engine:
        """Both schemas at the same time, and a sample store where there is none."""
        from retention.orchestration.sampling import is_empty, load_sample
        from retention.store.migrate import migrate

        with self._report.step("databases") as tell:
            self._airflow.begin_migration(airflow_url)
            migrate(url)
            engine = database.connect(url)
            has_customers = not is_empty(engine)
            tell("the schema is there" if has_customers else "made the schema")
        if not has_customers:
            with self._report.step("sample store") as tell:
                rows = load_sample(engine, self._customers, SAMPLE_SEED, on_progress=tell)
                tell(f"{rows['customers']:,} invented customers, {rows['orders']:,} orders")
        if self._airflow.is_migrating:
            with self._report.step("Airflow's database"):
                self._require(self._airflow.finish_migration, _HEALTHY_SECONDS, "Airflow's database is not migrated")
        return engine

    def _read_journeys(self) -> dict:
        from retention.journey.files import read_files
        from retention.journey.load import load

        return load(read_files(database.ROOT / "include")).versions

    def _wait(self, is_so: Callable[[], bool], seconds: float) -> bool:
        """Whether it came about in time. Raises LaunchError when one of Airflow's parts ends meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            self._airflow.require_all_running()
            with contextlib.suppress(NoAnswer):
                if is_so():
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.25)

    def _require(self, is_so: Callable[[], bool], seconds: float, otherwise: str) -> None:
        if not self._wait(is_so, seconds):
            raise LaunchError(f"{otherwise} after {seconds:.0f} s. Look at {self._home / 'logs'}, and start again.")

    def _show_demo(self, engine: Engine, journeys: dict) -> None:
        """One finished cohort for newcomers, once: a later start finds its run and leaves it."""
        version, airflow = journeys.get(DEMO_JOURNEY), self._airflow
        if version is None or DEMO_JOURNEY not in airflow.list_dags():
            return
        with self._report.step("a first cohort, ten days ago, in test mode") as tell:
            run = airflow.api.find_run(DEMO_JOURNEY, DEMO_RUN)
            if run is None:
                cohort_at = choose_demo_moment(version.journey, datetime.now(UTC))
                conf = {"cohort_at": cohort_at.isoformat(), "mode": "test", "on_time": True}
                airflow.api.start_run(DEMO_JOURNEY, DEMO_RUN, cohort_at, conf)
                run = {"conf": conf, "state": "queued"}

            def is_over() -> bool:
                run.update(airflow.api.find_run(DEMO_JOURNEY, DEMO_RUN) or {})
                over, known = airflow.api.count_tasks(DEMO_JOURNEY, DEMO_RUN)
                tell(run["state"] if run["state"] in ("success", "failed") else f"{over} of {known} tasks")
                return run["state"] in ("success", "failed")

            is_done = self._wait(is_over, _DEMO_SECONDS)
        if not is_done or run["state"] == "failed":
            word = "failed" if is_done else "takes long"
            self._report.warn(f"its run {word}: see {DEMO_JOURNEY} / {DEMO_RUN} in the UI.")
        cohort_at = datetime.fromisoformat(run["conf"]["cohort_at"])
        self._report.say(*[f"  {line}" for line in tell_outcome(engine, version.journey, cohort_at)])

    def _say_where(self, engine: Engine, journeys: dict) -> None:
        say, now = self._report.say, datetime.now(UTC)
        for name, version in sorted(journeys.items()):
            say("", f"{name}: {version.journey.title}", *[f"  {line}" for line in tell_outlook(engine, version, now)])
        say(
            "",
            f"  UI        http://{HOST}:{self._port}",
            f"  login     {USER} / {self._airflow.password}",
            "  database  .venv/bin/retention db",
            f"  logs      {self._home / 'logs'}",
            "",
            "Ctrl-C stops it all.",
        )

    def watch(self) -> None:
        """Stay, and start again what dies; gives up with the log's last lines when that does not help."""
        while True:
            time.sleep(_LOOK_SECONDS)
            if self._server is not None and self._server.ensure():
                self._report.warn(f"Postgres had stopped: started again. See {self._home / 'postgres/server.log'}.")
            for line in self._airflow.restart_dead():
                self._report.warn(line)

    def stop(self) -> None:
        """In reverse order. Tasks under way may finish for some seconds; a second Ctrl-C spares them that."""
        self._interrupts.begin_stopping()
        hurried = self._interrupts.is_hurried
        if self._server is None and not list_descendants():
            return  # nothing was started: the error that follows is all there is to say
        self._report.say("", "stopping; Ctrl-C again to hurry")
        with self._report.step("Airflow"):
            if self._airflow is not None:
                self._airflow.stop(_STOP_SECONDS, hurried)
            end_processes(list_descendants, seconds=3, is_hurried=hurried)
        if self._server is not None:
            with self._report.step("Postgres"):
                self._server.release()
        left = list_descendants()
        if left:
            names = ", ".join(str(process.pid) for process in left)
            self._report.warn(f"still there: processes {names}. End them with: kill -9 {names.replace(',', '')}")
        self._report.say("stopped")
