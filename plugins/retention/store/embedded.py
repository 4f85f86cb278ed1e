"""The embedded Postgres: started when somebody needs it, shared by all who do, stopped by the last who leaves.

Owns `<home>/postgres` (data, socket, log, locks; for this account alone) and the server's life. Knows no table.

Every user holds a shared flock on `holders.lock`. Who leaves tries to get it exclusively: only the last one can, and
stops the server. A holder that was killed loses its lock by itself, so the next clean exit stops the server in its
place. `start.lock` makes one of several starters do the work while the others wait.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shlex
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Self
from urllib.parse import quote

from retention.errors import StoreError
from retention.store.postgres_programs import Account, choose_account, programs_folder

SUPERUSER = "postgres"
_START_SECONDS = 120
_STOP_SECONDS = 60
# sockaddr_un holds 108 bytes with its closing zero.
_LONGEST_SOCKET_DIR = 107 - len("/.s.PGSQL.5432")


def hold(home: Path, *, settings: Mapping[str, str] | None = None) -> Server:
    """Make sure the embedded server of `home` runs, and keep it running until `release()` or the end of this process.

    The first call makes the database cluster (seconds); later ones find it. Any number of processes may hold the same
    server; a forked child does not inherit its parent's hold. `settings` (Postgres parameters, added to ours) take
    effect only if this call starts the server. Raises StoreError with the reason if it can't be started.
    """
    server = Server(Path(home).absolute(), settings or {})
    server.ensure()
    return server


class Server:
    """One hold on the embedded server. Also a context manager."""

    def __init__(self, home: Path, settings: Mapping[str, str]):
        self._settings = dict(settings)
        self._folder = home / "postgres"
        self._data = self._folder / "data"
        self._log = self._folder / "server.log"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._account = choose_account(self._folder)
        self._folder.chmod(0o700)
        self._hold: int | None = None
        self.socket_dir = Path()
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.release)

    def url(self, dbname: str) -> str:
        """The address of one database for SQLAlchemy with psycopg 3. The database need not exist yet."""
        return (
            f"postgresql+psycopg://{SUPERUSER}@/{quote(dbname, safe='')}?host={quote(str(self.socket_dir), safe='/')}"
        )

    def psql_command(self, dbname: str) -> list[str]:
        """The command line of a psql in one database."""
        return [str(programs_folder() / "psql"), "-h", str(self.socket_dir), "-U", SUPERUSER, "-d", dbname]

    def ensure(self) -> bool:
        """Start the server if it does not run, or no longer does; whether that was so. Calling it again is safe."""
        with _locked(self._folder / "start.lock"):
            if self._hold is None:
                # Waits here while the last user of before is just stopping the server.
                self._hold = _open_lock(self._folder / "holders.lock")
                fcntl.flock(self._hold, fcntl.LOCK_SH)
            try:
                if is_down := not self._is_ready():
                    self._start()
                self.socket_dir = Path(_read_lines(self._data / "postmaster.pid")[4])
            except BaseException:
                self.release()
                raise
        return is_down

    def release(self) -> None:
        """Give up the hold; the last one to do so stops the server and waits for its end. Calling it again is safe."""
        atexit.unregister(self.release)
        if self._hold is None:
            return
        lock, self._hold = self._hold, None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._stop()
        except BlockingIOError:
            pass  # somebody else still uses it
        finally:
            os.close(lock)

    def is_running(self) -> bool:
        """Whether the server's process lives, whoever holds it."""
        lines = _read_lines(self._data / "postmaster.pid")
        return bool(lines) and lines[0].isdigit() and _works_in(int(lines[0]), self._data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _forget(self) -> None:
        # Closing the child's copy leaves the parent's lock alone: both are one open file.
        if self._hold is not None:
            os.close(self._hold)
            self._hold = None

    def _is_ready(self) -> bool:
        """Whether the server answers. Waits for one that is starting or stopping; clears away what a killed one left."""
        deadline = time.monotonic() + _START_SECONDS
        while (self._data / "postmaster.pid").exists():
            lines = _read_lines(self._data / "postmaster.pid")
            pid = int(lines[0]) if lines and lines[0].isdigit() else -1  # empty after a loss of power
            if not _works_in(pid, self._data):
                self._clear_leftovers()
                return False
            if len(lines) > 7 and lines[7].strip() == "ready":
                return True
            if time.monotonic() > deadline:
                raise StoreError(
                    f"embedded Postgres: not ready after {_START_SECONDS} s (process {pid}). See {self._log}."
                )
            time.sleep(0.05)
        return False

    def _clear_leftovers(self) -> None:
        # Postgres itself asks only whether a process of that number exists: after a reboot another one may, and a killed
        # server can remain as a zombie. Its children end by themselves, unless deep in a query.
        deadline = time.monotonic() + 5
        while left := [int(p.name) for p in Path("/proc").glob("[0-9]*") if _works_in(int(p.name), self._data)]:
            if time.monotonic() > deadline:
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _start(self) -> None:
        if not (self._data / "PG_VERSION").exists():
            self._make_cluster()
        socket_dir = _make_socket_dir(self._folder, self._account)
        (socket_dir / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        parameters = {**_size_to_machine(), **self._settings, "unix_socket_directories": str(socket_dir)}
        options = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in parameters.items())
        how = ["start", "-w", "-t", str(_START_SECONDS), "-l", str(self._log), "-o", options]
        self._run("pg_ctl", "-D", str(self._data), *how)

    def _make_cluster(self) -> None:
        # Made elsewhere and renamed: a cluster that was killed half made never looks like one.
        for half in self._folder.glob("data.half-*"):
            shutil.rmtree(half, ignore_errors=True)
        half = Path(tempfile.mkdtemp(prefix="data.half-", dir=self._folder))
        if self._account.uid is not None:
            os.chown(half, self._account.uid, self._account.gid or -1)
        words = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self._run("initdb", "-D", str(half), "-U", SUPERUSER, "--auth=trust", "--no-instructions", *words)
        half.rename(self._data)

    def _stop(self) -> None:
        if self.is_running():
            self._run("pg_ctl", "-D", str(self._data), "stop", "-m", "fast", "-w", "-t", str(_STOP_SECONDS))

    def _run(self, program: str, *arguments: str) -> None:
        done = self._account.run(program, *arguments)
        if done.returncode:
            said = done.stdout.strip().splitlines() + _read_lines(self._log)[-5:]
            raise StoreError(
                f"embedded Postgres: {program} failed. See {self._log}, which ends with:\n" + "\n".join(said)
            )


def _size_to_machine() -> dict[str, str]:
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    parameters = {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "max_connections": "200",  # Airflow's four parts keep up to 15 each, its workers 2 or 3
        "shared_buffers": f"{max(64, min(512, memory_mb // 16))}MB",
        "effective_cache_size": f"{memory_mb // 2}MB",
        "maintenance_work_mem": "128MB",
        "work_mem": "16MB",
        "max_wal_size": "2GB",
        "wal_level": "minimal",  # no replica here; makes the first load cheaper
        "max_wal_senders": "0",
        "random_page_cost": "1.1",
        "jit": "off",
        "log_checkpoints": "off",
    }
    # Containers give 64 MB there, which a parallel query outgrows.
    if not Path("/dev/shm").is_dir() or shutil.disk_usage("/dev/shm").total < 1 << 29:
        parameters["dynamic_shared_memory_type"] = "mmap"
    return parameters


def _make_socket_dir(folder: Path, account: Account) -> Path:
    """`<folder>/socket`, or a private folder below the temporary one where that is too long for a socket's address."""
    wanted = folder / "socket"
    if len(os.fsencode(wanted)) > _LONGEST_SOCKET_DIR:
        name = f"retention-{os.geteuid()}-{sha256(os.fsencode(folder)).hexdigest()[:16]}"
        wanted = Path(tempfile.gettempdir()) / name
        if len(os.fsencode(wanted)) > _LONGEST_SOCKET_DIR:
            wanted = Path("/tmp") / name
    try:
        wanted.mkdir(mode=0o700)
        if account.uid is not None:
            os.chown(wanted, account.uid, account.gid or -1)
    except FileExistsError:
        pass
    found = wanted.lstat()
    owner = os.geteuid() if account.uid is None else account.uid
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) & 0o077:
        raise StoreError(
            f"{wanted}: is not a private folder of uid {owner}. Remove it, or set RETENTION_HOME to a shorter path."
        )
    return wanted


def _works_in(pid: int, data: Path) -> bool:
    """Whether process `pid` is a Postgres on `data`, all of whose processes have it as their working folder."""
    try:
        if Path("/proc/self").exists():
            return os.readlink(f"/proc/{pid}/cwd") == os.path.realpath(data)
        os.kill(pid, 0)  # no /proc here (macOS): the number is all we have
        return True
    except OSError:
        return False


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextmanager
def _locked(path: Path):
    lock = _open_lock(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
