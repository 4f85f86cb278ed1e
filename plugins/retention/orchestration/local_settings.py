"""What a local Airflow is told: its folders, secrets and size. All of it through the environment. Starts nothing."""

from __future__ import annotations

import getpass
import json
import os
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from retention.errors import LaunchError
from retention.store.database import ROOT

HOST = "127.0.0.1"
USER = "admin"
MARKER = "RETENTION_RUN_ID"
"""Stands in the environment of every process we start, so that we find them again."""


@dataclass(frozen=True)
class Secrets:
    """Made once per home. Never printed but for the password."""

    password: str
    jwt_secret: str
    api_secret: str
    fernet_key: str


def read_port(given: str | None) -> int:
    """The port of the UI from RETENTION_PORT, default 8080. Raises LaunchError for what is no port."""
    text = given or "8080"
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise LaunchError(f'RETENTION_PORT: "{text}" is no port. Write a number like 8081.')
    return int(text)


def load_secrets(home: Path) -> Secrets:
    """The secrets of `home`, made at the first call; the files are readable for this account alone."""
    path = home / "secrets.json"
    try:
        known = json.loads(path.read_text())
    except FileNotFoundError:
        known = {}
    except ValueError:
        raise LaunchError(f"{path}: is damaged. Remove it; new keys and a new password are made then.") from None
    fresh = {
        "password": secrets.token_urlsafe(12),
        "jwt_secret": secrets.token_urlsafe(64),
        "api_secret": secrets.token_urlsafe(32),
        "fernet_key": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }
    kept = Secrets(**{key: str(known.get(key, value)) for key, value in fresh.items()})
    write_private(path, json.dumps(vars(kept), indent=2))
    write_private(home / "airflow" / "passwords.json", json.dumps({USER: kept.password}))
    return kept


def write_private(path: Path, text: str) -> None:
    """Write a file that this account alone can read, all at once."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = path.with_name(path.name + ".half")
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    half.rename(path)


def count_workers() -> int:
    """How many tasks run at once: two a core, as far as memory goes (a working one takes up to 200 MB)."""
    memory_gb = (os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / 2**30
    return int(max(2, min(2 * (os.cpu_count() or 1), (memory_gb - 2) * 4, 16)))


def metadata_url(url: str, *, is_embedded: bool) -> str:
    """The address of Airflow's own database on the server of ours (`url`).

    On somebody's own server it takes our database's name, so that an `airflow` that lives there is never touched.
    """
    ours = make_url(url)
    name = "airflow" if is_embedded else f"{ours.database}_airflow"
    text = ours.set(drivername="postgresql+psycopg2", database=name).render_as_string(hide_password=False)
    # psycopg2 takes the socket's folder as it is; Airflow derives asyncpg's address from this one, which does, too.
    return text.replace("%2F", "/")


def _name_account() -> str:
    """The account's name: Airflow won't start without one, and in containers a number may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "retention"


def airflow_environment(
    home: Path, *, url: str, airflow_url: str, port: int, run_id: str, dags: Path
) -> dict[str, str]:
    """The whole environment of Airflow's parts and of the tasks in them.

    `url` is the address of our database, `airflow_url` that of Airflow's; `run_id` marks what belongs to this run.
    """
    keys = load_secrets(home)
    folder = home / "airflow"
    settings = {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": str(count_workers()),
        "CORE__DAGS_FOLDER": str(dags),
        "CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__TEST_CONNECTION": "Enabled",
        # On from the first sight; what somebody pauses later stays paused.
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__FERNET_KEY": keys.fernet_key,
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "DATABASE__SQL_ALCHEMY_CONN": airflow_url,
        # The launcher looks itself, before it starts anything.
        "DATABASE__CHECK_MIGRATIONS": "False",
        "API__HOST": HOST,
        "API__PORT": str(port),
        "API__WORKERS": "1",
        "API__SECRET_KEY": keys.api_secret,
        "API__BASE_URL": f"http://{HOST}:{port}",
        "API_AUTH__JWT_SECRET": keys.jwt_secret,
        "API_AUTH__JWT_ISSUER": "retention",
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs" / "tasks"),
        "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag-processor"),
        "LOGGING__COLORED_CONSOLE_LOG": "False",
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        # A task killed with its worker is noticed, and retried, after one minute instead of five.
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
    }
    no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), HOST, "localhost"]))
    return {
        **os.environ,
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        "AIRFLOW_HOME": str(folder),
        "RETENTION_HOME": str(home),
        "RETENTION_DATABASE_URL": url,
        "LOGNAME": _name_account(),
        MARKER: run_id,
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "PYTHONUNBUFFERED": "1",
        # The parts must find the very packages this process uses, not those of some other place.
        "PYTHONPATH": str(ROOT / "plugins"),
    }
