"""Who runs on a data folder: one launcher at a time, and what a killed one left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from retention.errors import LaunchError
from retention.orchestration.local_processes import end_processes, list_leftovers
from retention.orchestration.local_report import Report
from retention.orchestration.local_settings import HOST, MARKER

_LEFTOVER_SECONDS = 10


@dataclass
class Claim:
    """The record of this run, in `<home>/run.json`."""

    path: Path
    run_id: str
    port: int

    def record(self, pids: list[int]) -> None:
        """Write down the parts that run, each by number and start time: a number alone may be somebody else's later."""
        sessions = []
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                sessions.append([pid, psutil.Process(pid).create_time()])
        state = {"run_id": self.run_id, "launcher": os.getpid(), "port": self.port, "sessions": sessions}
        half = self.path.with_suffix(".half")
        half.write_text(json.dumps(state))
        half.rename(self.path)


@contextmanager
def claim_home(home: Path, run_id: str, port: int, report: Report) -> Iterator[Claim]:
    """Hold `home` for this process alone, after ending what an earlier, killed launcher left there.

    Raises LaunchError when a living one holds it.
    """
    claim = Claim(home / "run.json", run_id, port)
    lock = os.open(home / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        earlier = _read(claim.path)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LaunchError(
                f"{home}: `make run` runs here already (process {earlier.get('launcher', 'unknown')}, "
                f"http://{HOST}:{earlier.get('port', '?')}). Use that one, or stop it with Ctrl-C; "
                "a second one needs its own RETENTION_HOME and RETENTION_PORT."
            ) from None
        if earlier:
            _end_leftovers(earlier, report)
        claim.record([])
        yield claim
        claim.path.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _end_leftovers(earlier: dict, report: Report) -> None:
    sessions = [(int(pid), float(began)) for pid, began in earlier.get("sessions", [])]

    def list_living() -> list[psutil.Process]:
        return list_leftovers(sessions, earlier.get("run_id", ""))

    if list_living():
        with report.step("an earlier run was killed: ending what it left") as tell:
            tell(f"{end_processes(list_living, seconds=_LEFTOVER_SECONDS)} processes")


def require_free_port(port: int) -> None:
    """Raises LaunchError when somebody listens there, saying so if it is another `make run` of this account."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            return
        except PermissionError:
            raise LaunchError(
                f"port {port}: this account may not use it. Choose one above 1023: RETENTION_PORT=8080."
            ) from None
        except OSError:
            pass
    free = next((other for other in range(port + 1, port + 50) if _is_free(other)), port + 1)
    raise LaunchError(f"port {port}: {_name_user(port)} uses it. Choose another: RETENTION_PORT={free} make run")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            return True
        except OSError:
            return False


def _name_user(port: int) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                home = _find_home(process)
                if home is not None:
                    return f"another `make run` (data in {home})"
                return f"another program (process {process.pid}, {process.name()})"
    return "another program"


def _find_home(process: psutil.Process) -> str | None:
    """The data folder of the `make run` that `process` is part of, if it is of one."""
    with contextlib.suppress(psutil.Error, OSError):
        parent = process.parent()
        # Airflow's api-server wipes its own environment; its sisters keep theirs.
        for one in [process, *(parent.children() if parent and parent.pid != 1 else [])]:
            with contextlib.suppress(psutil.Error, OSError):
                if MARKER in (environment := one.environ()):
                    return environment.get("RETENTION_HOME", "an unknown folder")
    return None
