"""Airflow's four parts on this machine: migrated, started, looked after, stopped. Imports no Airflow: it runs it."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from retention.errors import LaunchError
from retention.orchestration.airflow_database import list_pools
from retention.orchestration.local_api import LocalAirflow
from retention.orchestration.local_processes import Part, read_tail, reap_orphans
from retention.orchestration.local_settings import USER, load_secrets
from retention.store.migrate import create_database

_PARTS = {
    "api-server": ["api-server"],
    # Their log servers would listen on all addresses; the api-server reads the files itself.
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
}
_MOST_RESTARTS, _RESTART_SPAN_SECONDS = 3, 600


class Airflow:
    """The parts, in order of starting, and a client of their API."""

    def __init__(self, home: Path, address: str, environment: dict[str, str]):
        self._home, self._environment = home, environment
        self._parts = [
            Part(name, [sys.executable, "-m", "airflow", *words], home / "logs" / f"{name}.log")
            for name, words in _PARTS.items()
        ]
        self._migration: Part | None = None
        self.password = load_secrets(home).password
        self.api = LocalAirflow(address, USER, self.password)

    def begin_migration(self, url: str) -> None:
        """Create the metadata database if it is missing; start migrating it unless it is known to be current."""
        create_database(url)
        if self._read_stamp() == self._want_stamp(url):
            return
        command = [sys.executable, "-m", "retention.orchestration.airflow_database"]
        self._migration = Part("migration", command, self._home / "logs" / "migration.log")
        self._migration.start(self._environment)

    @property
    def is_migrating(self) -> bool:
        return self._migration is not None

    def finish_migration(self) -> bool:
        """Whether the migration is over. Raises LaunchError when it failed."""
        part = self._migration
        if part is None or part.is_running:
            return part is None
        if part.exit_code:
            raise LaunchError(
                f"Airflow's database: could not be migrated (exit code {part.exit_code}). "
                f"`make run` tries again; {part.log} ends with:\n{read_tail(part.log)}"
            )
        url = self._environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        (self._home / "airflow" / "migrated.json").write_text(json.dumps(self._want_stamp(url)))
        self._migration = None
        return True

    def _read_stamp(self) -> dict | None:
        try:
            return json.loads((self._home / "airflow" / "migrated.json").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def _want_stamp(self, url: str) -> dict:
        """What a finished migration leaves: asking Airflow itself for its newest revision takes seconds."""
        engine = create_engine(url)
        try:
            with engine.connect() as conn:
                revision = conn.scalar(text("select version_num from alembic_version"))
        except SQLAlchemyError:
            revision = None
        finally:
            engine.dispose()
        version = importlib.metadata.version("apache-airflow-core")
        return {"airflow": version, "revision": revision, "pools": list(list_pools())}

    def start(self) -> None:
        for part in self._parts:
            part.start(self._environment)

    def list_pids(self) -> list[int]:
        return [part.process.pid for part in self._parts if part.process]

    def require_all_running(self) -> None:
        """Raises LaunchError with the end of its log for a part that has ended by itself."""
        for part in self._parts:
            if part.exit_code is not None:
                raise LaunchError(
                    f"{part.name}: ended by itself (exit code {part.exit_code}). "
                    f"{part.log} ends with:\n{read_tail(part.log)}"
                )

    def restart_dead(self) -> list[str]:
        """Start again what has died, and say so. Raises LaunchError when one dies too often."""
        reap_orphans(self.list_pids())
        lines = []
        for part in self._parts:
            code = part.exit_code
            if code is None:
                continue
            now = time.monotonic()
            part.restarted_at = [at for at in part.restarted_at if at > now - _RESTART_SPAN_SECONDS] + [now]
            if len(part.restarted_at) > _MOST_RESTARTS:
                raise LaunchError(
                    f"{part.name}: ended {len(part.restarted_at)} times within {_RESTART_SPAN_SECONDS // 60} minutes "
                    f"(exit code {code}). {part.log} ends with:\n{read_tail(part.log)}"
                )
            part.start(self._environment)
            lines.append(f"{part.name} had ended (exit code {code}): started again. See {part.log}.")
        return lines

    def is_healthy(self) -> bool:
        health = self.api.fetch_health()
        return all(
            health.get(part) == "healthy" for part in ("metadatabase", "scheduler", "triggerer", "dag_processor")
        )

    def list_dags(self) -> dict[str, dict]:
        return self.api.list_dags()

    def list_import_errors(self) -> list[dict]:
        return self.api.list_import_errors()

    def has_read(self, wanted: dict, since: datetime) -> bool:
        """Whether the DAG files have been read after `since`, and gave a DAG for each of `wanted`."""
        dags = self.api.list_dags()
        fresh = {
            name
            for name, dag in dags.items()
            if dag["last_parsed_time"] and datetime.fromisoformat(dag["last_parsed_time"]) >= since
        }
        return set(wanted) <= fresh

    def stop(self, seconds: float, is_hurried: Callable[[], bool]) -> None:
        """Let the tasks under way finish, which need the api-server, then end the rest."""
        if self._migration is not None:
            self._migration.ask_to_stop()
        first = [part for part in self._parts if part.name != "api-server"]
        for group in (first, self._parts):
            for part in group:
                part.ask_to_stop()
            deadline = time.monotonic() + seconds
            while any(part.is_running for part in group) and time.monotonic() < deadline and not is_hurried():
                time.sleep(0.1)
