"""Processes of ours: started so that none can outlive us unseen, stopped down to the last grandchild.

Each part runs in its own session, out of reach of the terminal's Ctrl-C, and gets SIGTERM from the kernel should the
launcher be killed. Knows nothing of Airflow's inside.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from retention.orchestration.local_settings import MARKER

_LARGEST_LOG = 10 << 20
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# Loaded here: between fork and exec nothing may be.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass
class Part:
    """One long-lived program and the log file that takes all it says."""

    name: str
    command: list[str]
    log: Path
    process: subprocess.Popen | None = None
    restarted_at: list[float] = field(default_factory=list)

    def start(self, environment: dict[str, str]) -> None:
        """Start it, in a session of its own. To be called in the main thread: its death is what the kernel watches."""
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > _LARGEST_LOG:
                self.log.replace(self.log.with_suffix(".old.log"))
        parent = os.getpid()

        def before_exec() -> None:
            os.umask(0o077)
            if _libc is not None:
                _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
                if os.getppid() != parent:
                    os._exit(1)

        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=before_exec,
            )

    @property
    def exit_code(self) -> int | None:
        """None while it runs, or before it was started."""
        return self.process.poll() if self.process else None

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ask_to_stop(self) -> None:
        """SIGTERM to the program itself: how it ends its own children is its business."""
        if self.is_running:
            self.process.terminate()


def read_tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log file."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(it wrote nothing)"


def adopt_orphans() -> None:
    """From now on, descendants whose parent dies become children of this process: none gets out of sight."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def follow_parent() -> None:
    """Let this process get SIGTERM when its parent dies."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def list_descendants() -> list[psutil.Process]:
    """All living processes below this one; the embedded Postgres, which others may share, is none of them."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.name() != "postgres":
                found.append(process)
    return found


def reap_orphans(own: Iterable[int]) -> None:
    """Take leave of dead processes that became our children; those of `own` are left to who started them."""
    own = set(own)
    with contextlib.suppress(ChildProcessError):
        while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if dead.si_pid in own:
                return
            os.waitpid(dead.si_pid, 0)


def list_leftovers(sessions: Iterable[tuple[int, float]], run_id: str) -> list[psutil.Process]:
    """Living processes of an earlier run: marked with its id, or in one of its sessions.

    `sessions`: pid and start time of each part. The mark is not enough: programs that write their own title into the
    process list destroy it. A session's number is not given away while anybody is in it.
    """
    started = dict(sessions)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            leader = os.getsid(process.pid)
            is_in_session = leader in started and process.create_time() >= started[leader] - 1
            if is_in_session and process.pid == leader and abs(process.create_time() - started[leader]) > 1:
                is_in_session = False  # the number was given away
            if is_in_session or _read_mark(process) == run_id:
                found.append(process)
    return found


def _read_mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARKER)
    except (psutil.Error, OSError):
        return None


def end_processes(
    list_living: Callable[[], list[psutil.Process]], *, seconds: float, is_hurried: Callable[[], bool] = lambda: False
) -> int:
    """SIGTERM to all that `list_living` names, SIGKILL to those still there after `seconds`. How many there were."""
    asked: set[int] = set()
    deadline = time.monotonic() + seconds
    while living := list_living():
        is_over = time.monotonic() > deadline or is_hurried()
        for process in living:
            with contextlib.suppress(psutil.Error):
                if is_over:
                    process.kill()
                elif process.pid not in asked:
                    process.terminate()
            asked.add(process.pid)
        if time.monotonic() > deadline + 5:
            break  # stuck in the kernel; the caller's last look will name them
        time.sleep(0.1)
    return len(asked)
