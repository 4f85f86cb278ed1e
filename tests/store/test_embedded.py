"""The embedded Postgres: shared, private, stopped by the last to leave, and back after any kind of death."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from retention.errors import StoreError
from retention.store import embedded, postgres_programs
from retention.store.embedded import Server, hold

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
HOLDER = """
import sys
from pathlib import Path
from retention.store.embedded import hold
hold(Path(sys.argv[1]))
print("holding", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path):
    yield tmp_path
    if pid := postmaster(tmp_path):
        os.kill(pid, signal.SIGINT)
        wait_until(lambda: not is_running(tmp_path))


@pytest.fixture
def start_holder(home: Path):
    """Starts other processes that hold the server until their stdin is closed."""
    started = []

    def start(wait: bool = True) -> subprocess.Popen:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(PLUGINS)},
            start_new_session=True,
            text=True,
        )
        started.append(holder)
        if wait:
            assert holder.stdout.readline() == "holding\n"
        return holder

    yield start
    for holder in started:
        holder.kill()
        holder.wait()


def postmaster(home: Path) -> int | None:
    lines = embedded._read_lines(home / "postgres/data/postmaster.pid")
    return int(lines[0]) if lines else None


def is_running(home: Path) -> bool:
    data = home / "postgres/data"
    return any(embedded._works_in(int(p.name), data) for p in Path("/proc").glob("[0-9]*"))


def wait_until(is_so, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def ask(server: Server, sql: str) -> str:
    done = subprocess.run([*server.psql_command("postgres"), "-Atc", sql], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_lives_as_long_as_it_is_held_and_keeps_its_data(home):
    with hold(home) as server:
        engine = create_engine(server.url("postgres"))
        with engine.begin() as conn:
            conn.execute(text("create table kept as select '生日' as word"))
            assert conn.execute(text("show timezone")).scalar() == "UTC"
            assert conn.execute(text("show server_encoding")).scalar() == "UTF8"
            assert conn.execute(text("show listen_addresses")).scalar() == ""
            assert conn.execute(text("select upper('é') || lower('Ä')")).scalar() == "Éä"
        engine.dispose()
    assert not is_running(home)
    with hold(home) as server:
        assert ask(server, "select word from kept") == "生日"


def test_data_and_socket_are_private_and_parent_folders_keep_their_rights(home):
    parent = home / "closed"
    parent.mkdir(mode=0o700)
    with hold(parent / "home") as server:
        assert ask(server, "select 1") == "1"
        for folder in (parent, parent / "home", parent / "home/postgres", server.socket_dir):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not is_running(parent / "home")


def test_is_shared_by_processes_and_stopped_by_the_last(home, start_holder):
    other = start_holder()
    first = postmaster(home)
    with hold(home) as server:
        assert postmaster(home) == first
        other.stdin.close()
        assert other.wait() == 0
        assert ask(server, "select 1") == "1"
    assert not is_running(home)


def test_stops_at_the_end_of_a_process_that_did_not_release(home, start_holder):
    holder = start_holder()
    assert is_running(home)
    holder.stdin.close()
    assert holder.wait() == 0
    assert not is_running(home)


def test_two_holds_of_one_process_count_twice(home):
    first, second = hold(home), hold(home)
    first.release()
    first.release()
    assert ask(second, "select 1") == "1"
    second.release()
    assert not is_running(home)


def test_many_starters_at_once_make_one_server(home, start_holder):
    holders = [start_holder(wait=False) for _ in range(4)]
    assert [holder.stdout.readline() for holder in holders] == ["holding\n"] * 4
    assert (home / "postgres/server.log").read_text().count("starting PostgreSQL") == 1
    for holder in holders:
        holder.stdin.close()
    assert [holder.wait() for holder in holders] == [0] * 4
    assert not is_running(home)


def test_a_killed_holder_leaves_the_stopping_to_the_next_who_leaves(home, start_holder):
    holder = start_holder()
    holder.kill()
    holder.wait()
    assert is_running(home)
    with hold(home) as server:
        assert ask(server, "select 1") == "1"
    assert not is_running(home)


def test_ctrl_c_at_one_holder_s_terminal_spares_the_others(home, start_holder):
    starter = start_holder()
    with hold(home) as server:
        os.killpg(starter.pid, signal.SIGINT)
        starter.wait()
        assert ask(server, "select 1") == "1"
    assert not is_running(home)


def test_a_forked_child_does_not_inherit_the_hold(home):
    server = hold(home)
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(tell, b"x")
        time.sleep(60)
        os._exit(0)
    try:
        os.read(ready, 1)
        server.release()
        assert not is_running(home)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_comes_back_after_it_was_killed_and_loses_nothing_committed(home):
    with hold(home) as server:
        with psycopg.connect(server.url("postgres").replace("+psycopg", "")) as conn:
            conn.execute("create table kept as select 42 as answer")
        pid = postmaster(home)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not embedded._works_in(pid, home / "postgres/data"))
        server.ensure()
        assert ask(server, "select answer from kept") == "42"
    assert not is_running(home)


@pytest.mark.parametrize("number", [str(os.getpid()), None], ids=["living", "empty"])
def test_a_stale_pid_file_with_the_number_of_a_living_process_or_empty_is_no_obstacle(home, number):
    with hold(home):
        lines = (home / "postgres/data/postmaster.pid").read_text().splitlines()
    left = "\n".join([number, *lines[1:]]) + "\n" if number else ""
    (home / "postgres/data/postmaster.pid").write_text(left)
    (home / "postgres/socket/.s.PGSQL.5432.lock").write_text(left)
    with hold(home) as server:
        assert ask(server, "select 1") == "1"


def test_a_cluster_killed_half_made_is_made_anew(home):
    half = home / "postgres/data.half-x"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with hold(home) as server:
        assert ask(server, "select 1") == "1"
    assert not half.exists()


def test_a_long_path_gets_its_socket_in_a_private_temporary_folder(tmp_path, monkeypatch):
    long_home = tmp_path / ("long" * 25)
    with hold(long_home) as server:
        assert long_home not in server.socket_dir.parents
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
        assert ask(server, "select 1") == "1"
        folder = server.socket_dir
    folder.chmod(0o755)
    with pytest.raises(StoreError, match="is not a private folder of uid .* shorter path"):
        hold(long_home)
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(StoreError, match="is not a private folder"):
        hold(long_home)
    folder.unlink()


def test_settings_take_effect_at_the_start(home):
    with hold(home, settings={"fsync": "off", "application_name": "it's"}) as server:
        assert ask(server, "select current_setting('fsync') || current_setting('max_connections')") == "off200"
    with hold(home) as server:
        assert ask(server, "show fsync") == "on"


def test_a_server_that_can_t_start_says_why_and_leaves_no_lock(home):
    with pytest.raises(StoreError, match=r"pg_ctl failed. See .*server.log(.|\n)*no_such_parameter"):
        hold(home, settings={"no_such_parameter": "1"})
    with hold(home) as server:
        assert ask(server, "select 1") == "1"


@pytest.mark.skipif(os.geteuid() != 0, reason="about root's ways round Postgres' refusal")
class TestRoot:
    def test_files_stay_root_s(self, home):
        with hold(home):
            assert (home / "postgres/data/PG_VERSION").stat().st_uid == 0

    def test_a_number_without_a_name_is_no_obstacle(self):
        # As in containers that are started with a number of their own choice.
        home = Path(tempfile.mkdtemp(dir="/tmp"))
        python = shutil.which("python3", path="/usr/bin:/bin")
        if python is None or not postgres_programs.Account(uid=65534, gid=65534).may_use(Path("/tmp")):
            pytest.skip("the packages lie in a folder closed to others, or there is no other Python")
        code = """
import sys
from pathlib import Path
from retention.store import postgres_programs
postgres_programs.programs_folder = lambda: Path(sys.argv[2])
from retention.store.embedded import hold
with hold(Path(sys.argv[1])):
    print("held")
"""
        try:
            os.chown(home, 54321, 54321)
            done = subprocess.run(
                [python, "-c", code, str(home), str(postgres_programs.programs_folder())],
                env={"PYTHONPATH": str(PLUGINS), "PATH": "/usr/bin:/bin"},
                user=54321,
                group=54321,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                text=True,
            )
            assert (done.returncode, done.stdout) == (0, "held\n"), done.stderr
            assert (home / "postgres/data/PG_VERSION").stat().st_uid == 54321
        finally:
            shutil.rmtree(home)

    def test_without_namespaces_nobody_takes_over_if_it_can_reach_the_folder(self, monkeypatch):
        monkeypatch.setattr(postgres_programs, "_AS_SOMEBODY", ("false",))
        home = Path(tempfile.mkdtemp(dir="/tmp"))
        try:
            home.chmod(0o755)
            if not postgres_programs.Account(uid=65534, gid=65534).may_use(Path("/tmp")):
                pytest.skip("the packages lie in a folder closed to nobody")
            for _ in range(2):
                with hold(home) as server:
                    assert ask(server, "select 1") == "1"
                    assert (home / "postgres").stat().st_uid == 65534
            assert not is_running(home)
        finally:
            shutil.rmtree(home)

    @pytest.mark.parametrize("unshare", ["false", "no-such-program"])
    def test_without_any_way_it_says_what_to_do(self, tmp_path, monkeypatch, unshare):
        monkeypatch.setattr(postgres_programs, "_AS_SOMEBODY", (unshare,))
        tmp_path.chmod(0o700)
        with pytest.raises(
            StoreError, match="can't run as root.*ordinary user with a name, or set RETENTION_DATABASE_URL"
        ):
            hold(tmp_path)
        assert (tmp_path / "postgres").stat().st_uid == 0


def test_another_user_s_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(postgres_programs.os, "geteuid", lambda: 4711)
    with pytest.raises(StoreError, match=r"belongs to another user \(uid \d+\). Set RETENTION_HOME"):
        hold(tmp_path)
