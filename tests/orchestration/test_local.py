"""The launcher: its pieces on their own, and once all of it, killed in the middle and started again."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from retention.errors import LaunchError
from retention.orchestration import local_airflow, local_claim
from retention.orchestration.local_airflow import Airflow
from retention.orchestration.local_claim import claim_home, require_free_port
from retention.orchestration.local_processes import Part, end_processes, list_leftovers, read_tail
from retention.orchestration.local_report import Report
from retention.orchestration.local_settings import MARKER, airflow_environment, load_secrets, metadata_url, read_port
from retention.store.embedded import hold

ROOT = Path(__file__).resolve().parents[2]


def quiet_report() -> tuple[Report, io.StringIO]:
    text = io.StringIO()
    return Report(Console(file=text, width=200)), text


def wait_until(is_so, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_python(code: str, *arguments: str, **options) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins"), **options.pop("env", {})}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, text=True, **options)


# Settings


@pytest.mark.parametrize("given", ["http", "0", "65536", "-1", "80 80"])
def test_a_port_that_is_none_is_refused(given):
    with pytest.raises(LaunchError, match=f'RETENTION_PORT: "{given}" is no port. Write a number like 8081.'):
        read_port(given)


def test_the_port_is_8080_unless_said_otherwise():
    assert (read_port(None), read_port(""), read_port("18080")) == (8080, 8080, 18080)


def test_secrets_are_made_once_and_are_private(tmp_path):
    first = load_secrets(tmp_path)
    assert load_secrets(tmp_path) == first
    assert len(first.jwt_secret.encode()) >= 64
    assert json.loads((tmp_path / "airflow/passwords.json").read_text()) == {"admin": first.password}
    for path in (tmp_path / "secrets.json", tmp_path / "airflow/passwords.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_secrets(tmp_path / "other") != first


def test_damaged_secrets_say_what_to_do(tmp_path):
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(LaunchError, match="secrets.json: is damaged. Remove it"):
        load_secrets(tmp_path)


def test_airflow_s_database_never_takes_the_place_of_one_that_may_be_there():
    embedded = "postgresql+psycopg://postgres@/retention?host=/home/x/.retention/postgres/socket"
    assert metadata_url(embedded, is_embedded=True) == embedded.replace("+psycopg", "+psycopg2").replace(
        "/retention?", "/airflow?"
    )
    theirs = "postgresql+psycopg://ada:s%40cret@db:5433/shop"
    assert metadata_url(theirs, is_embedded=False) == "postgresql+psycopg2://ada:s%40cret@db:5433/shop_airflow"


def test_airflow_is_told_everything_through_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_HOME", "/somewhere/else")
    monkeypatch.setenv("AIRFLOW_CONN_SENDGRID", "kept")
    told = airflow_environment(tmp_path, url="u", airflow_url="a", port=18080, run_id="r", dags=tmp_path / "dags")
    assert told["AIRFLOW_HOME"] == str(tmp_path / "airflow")
    assert told["AIRFLOW_CONN_SENDGRID"] == "kept"
    assert told["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert told["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert 2 <= int(told["AIRFLOW__CORE__PARALLELISM"]) <= 16
    assert "127.0.0.1" in told["NO_PROXY"]
    assert (told["RETENTION_DATABASE_URL"], told[MARKER]) == ("u", "r")


def test_airflow_s_plugin_loader_gets_plugin_py_alone(tmp_path):
    # It would execute every other file under its bare name: select.py, email.py, queries.py ...
    from pathspec import GitIgnoreSpec

    ignored = GitIgnoreSpec.from_lines((ROOT / "plugins/.airflowignore").read_text().splitlines())
    files = [path.relative_to(ROOT / "plugins") for path in (ROOT / "plugins").rglob("*.py")]
    assert len(files) > 20
    assert {str(path) for path in files if not ignored.match_file(path)} <= {"retention/plugin.py"}
    assert not ignored.match_file("retention/plugin.py")


# Processes

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"


def test_a_part_goes_with_a_killed_launcher(tmp_path):
    code = f"""
import os, sys, time
from pathlib import Path
from retention.orchestration.local_processes import Part
part = Part("sleeper", [sys.executable, "-c", "import time; time.sleep(99)"], Path({str(tmp_path / "log")!r}))
part.start(dict(os.environ))
print(part.process.pid, flush=True)
time.sleep(99)
"""
    launcher = start_python(code, stdout=subprocess.PIPE)
    pid = int(launcher.stdout.readline())
    assert os.getsid(pid) == pid  # out of reach of the terminal's Ctrl-C
    launcher.kill()
    launcher.wait()
    wait_until(lambda: is_gone(pid))


def test_a_part_writes_to_its_log_and_a_large_one_is_put_aside(tmp_path):
    log = tmp_path / "logs/part.log"
    part = Part("part", [sys.executable, "-c", "print('hello'); raise SystemExit(3)"], log)
    part.start(dict(os.environ))
    wait_until(lambda: part.exit_code == 3)
    assert read_tail(log) == "hello"
    log.write_bytes(b"x" * (11 << 20))
    part.start(dict(os.environ))
    wait_until(lambda: part.exit_code == 3)
    assert read_tail(log) == "hello"
    assert (tmp_path / "logs/part.old.log").stat().st_size == 11 << 20


def test_what_does_not_listen_to_sigterm_is_killed():
    stubborn = start_python(STUBBORN, stdout=subprocess.PIPE)
    stubborn.stdout.readline()

    def list_living():
        return [psutil.Process(stubborn.pid)] if stubborn.poll() is None else []

    assert end_processes(list_living, seconds=0.3) == 1
    assert stubborn.wait() == -signal.SIGKILL


def test_leftovers_are_known_by_session_or_mark_and_nobody_else_is(tmp_path):
    marked = start_python("import time; time.sleep(99)", env={MARKER: "run-1"})
    leader = start_python(
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']);"
        "print(p.pid, flush=True); time.sleep(99)",
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    other = start_python("import time; time.sleep(99)", env={MARKER: "run-2"}, start_new_session=True)
    child = int(leader.stdout.readline())
    try:
        sessions = [(leader.pid, psutil.Process(leader.pid).create_time()), (other.pid, 12345.0)]
        leader.kill()
        leader.wait()
        wait_until(lambda: {p.pid for p in list_leftovers(sessions, "run-1")} == {marked.pid, child})
    finally:
        for pid in (marked.pid, child, other.pid):
            os.kill(pid, signal.SIGKILL)
        marked.wait()
        other.wait()


# One launcher a home

LAUNCHER = """
import os, subprocess, sys, time
from pathlib import Path
from retention.orchestration.local_claim import claim_home
from retention.orchestration.local_report import Report
with claim_home(Path(sys.argv[1]), "run-1", 18099, Report()) as claim:
    stubborn = "from signal import *; signal(SIGTERM, SIG_IGN); print(1, flush=True); import time; time.sleep(99)"
    part = subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True, stdout=subprocess.PIPE)
    part.stdout.readline()
    claim.record([part.pid])
    print(part.pid, flush=True)
    time.sleep(99)
"""


def test_a_second_launcher_on_the_same_folder_is_told_of_the_first_and_a_killed_one_is_cleared_away(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(local_claim, "_LEFTOVER_SECONDS", 0.5)
    first = start_python(LAUNCHER, str(tmp_path), stdout=subprocess.PIPE)
    left = int(first.stdout.readline())
    report, text = quiet_report()
    with pytest.raises(LaunchError) as refusal, claim_home(tmp_path, "run-2", 18098, report):
        pass
    assert f"runs here already (process {first.pid}, http://127.0.0.1:18099)" in str(refusal.value)
    assert "its own RETENTION_HOME and RETENTION_PORT" in str(refusal.value)
    first.kill()
    first.wait()
    assert not is_gone(left)
    with claim_home(tmp_path, "run-2", 18098, report):
        assert is_gone(left)
    assert "an earlier run was killed: ending what it left: 1 processes" in text.getvalue()
    assert not (tmp_path / "run.json").exists()


def test_a_port_in_use_names_who_and_another_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = (
            rf"port {port}: another program \(process {os.getpid()}, .*\) uses it. Choose another: RETENTION_PORT=\d+"
        )
        with pytest.raises(LaunchError, match=message):
            require_free_port(port)
    require_free_port(port)


def test_a_port_in_use_by_our_own_says_so(tmp_path):
    code = (
        "import socket, time; s = socket.create_server(('127.0.0.1', 0));"
        "print(s.getsockname()[1], flush=True); time.sleep(99)"
    )
    other = start_python(code, stdout=subprocess.PIPE, env={MARKER: "run-1", "RETENTION_HOME": "/elsewhere"})
    try:
        port = int(other.stdout.readline())
        with pytest.raises(LaunchError, match=rf"port {port}: another `make run` \(data in /elsewhere\) uses it"):
            require_free_port(port)
    finally:
        other.kill()
        other.wait()


# Airflow's parts


def fake_airflow(tmp_path: Path, code: str) -> Airflow:
    airflow = Airflow(tmp_path, "http://127.0.0.1:1", dict(os.environ))
    airflow._parts = [Part("scheduler", [sys.executable, "-c", code], tmp_path / "scheduler.log")]
    return airflow


def test_a_part_that_dies_is_started_again_but_not_for_ever(tmp_path):
    airflow = fake_airflow(tmp_path, "print('no luck'); raise SystemExit(5)")
    airflow.start()
    for _ in range(3):
        wait_until(lambda: airflow._parts[0].exit_code is not None)
        assert [line.split(":")[0] for line in airflow.restart_dead()] == ["scheduler had ended (exit code 5)"]
    wait_until(lambda: airflow._parts[0].exit_code is not None)
    with pytest.raises(LaunchError, match=r"scheduler: ended 4 times within 10 minutes \(exit code 5\)(.|\n)*no luck"):
        airflow.restart_dead()


def test_a_part_that_dies_at_the_start_shows_the_end_of_its_log(tmp_path):
    airflow = fake_airflow(tmp_path, "print('address already in use'); raise SystemExit(1)")
    airflow.start()
    wait_until(lambda: airflow._parts[0].exit_code is not None)
    with pytest.raises(LaunchError, match=r"scheduler: ended by itself \(exit code 1\)(.|\n)*address already in use"):
        airflow.require_all_running()


def test_a_migration_that_is_known_to_be_done_is_not_started(tmp_path, monkeypatch):
    monkeypatch.setattr(local_airflow, "create_database", lambda url: None)
    airflow = fake_airflow(tmp_path, "")
    current = {"airflow": "3", "revision": "abc", "pools": []}
    monkeypatch.setattr(airflow, "_want_stamp", lambda url: current)
    (tmp_path / "airflow/migrated.json").write_text(json.dumps(current))
    airflow.begin_migration("u")
    assert not airflow.is_migrating
    current["revision"] = "def"
    monkeypatch.setattr(Part, "start", lambda *_: None)
    airflow.begin_migration("u")
    assert airflow.is_migrating


def test_the_pools_are_one_a_channel():
    from retention.orchestration.airflow_database import list_pools

    assert list(list_pools()) == [f"retention_{channel}" for channel in ("email", "sms", "whatsapp", "webhook")]


# What a newcomer reads


def test_a_step_ends_in_one_line_and_a_failed_one_in_none():
    report, text = quiet_report()
    with report.step("databases [new]") as tell:
        tell("half")
        tell("done")
    with pytest.raises(ValueError), report.step("broken"):
        raise ValueError
    assert re.fullmatch(r"✓ databases \[new\]: done \(\d\.\d s\)\n", text.getvalue())


def test_a_terminal_that_is_gone_stops_nobody():
    class Gone(io.StringIO):
        def write(self, _):
            raise OSError(5, "Input/output error")

    report = Report(Console(file=Gone(), width=80))
    report.say("nobody reads this")
    with report.step("nor this"):
        pass


def test_the_first_look_is_a_cohort_of_ten_days_ago_also_before_the_journey_starts():
    from zoneinfo import ZoneInfo

    from retention.journey.files import read_files
    from retention.journey.load import load
    from retention.orchestration.local_story import choose_demo_moment

    journey = load(read_files(ROOT / "include")).versions["birthday_care"].journey
    journey = journey.model_copy(update={"starts_on": date(2026, 12, 1)})
    for now in (datetime(2026, 11, 23, 16, 30, tzinfo=UTC), datetime(2026, 11, 24, 15, 0, tzinfo=UTC)):
        moment = choose_demo_moment(journey, now)  # 00:30 and 23:00 of the 24th in Shanghai
        assert moment == datetime(2026, 11, 14, 6, 0, tzinfo=ZoneInfo("Asia/Shanghai"))


# All of it

UP = """
import sys
from pathlib import Path
from retention.orchestration.local import up
up(dags=Path(sys.argv[1]), customers=200)
"""
DAG = """
from airflow.sdk import dag, task

@dag(dag_id="birthday_care", schedule=None, params={"cohort_at": None, "mode": None, "on_time": False})
def birthday_care():
    @task
    def settle(params=None):
        import os
        assert (params["mode"], params["on_time"]) == ("test", True)
        assert os.environ["RETENTION_DATABASE_URL"].startswith("postgresql")
    settle()

birthday_care()
"""


class Launched:
    """A launcher in its own process group, and what it says."""

    def __init__(self, home: Path, dags: Path, port: int):
        self.home, self.lines = home, []
        environment = {"RETENTION_HOME": str(home), "RETENTION_PORT": str(port), "RETENTION_DATABASE_URL": ""}
        self.process = start_python(
            UP,
            str(dags),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def read_until(self, wanted: str) -> str:
        for line in self.process.stdout:
            self.lines.append(line)
            if wanted in line:
                return line
        raise AssertionError("it ended without saying so:\n" + "".join(self.lines))

    def list_processes(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def find(self, *words: str) -> psutil.Process:
        for process in self.list_processes():
            with contextlib.suppress(psutil.Error):
                if all(word in " ".join(process.cmdline()) for word in words):
                    return process
        raise AssertionError(f"no process {words}")


@pytest.mark.airflow
def test_up_from_nothing_killed_and_started_again(tmp_path):
    dags, home, port = tmp_path / "dags", tmp_path / "home", find_port()
    dags.mkdir()
    (dags / "birthday_care.py").write_text(DAG)

    first = Launched(home, dags, port)
    try:
        first.read_until("Ctrl-C stops it all.")
        said = "".join(first.lines)
        assert "journeys: birthday_care" in said
        assert "a first cohort, ten days ago, in test mode: success" in said
        assert f"http://127.0.0.1:{port}" in said
        assert not re.search(r"warning|error|traceback", said, re.IGNORECASE)
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        listening = [
            connection.laddr
            for process in first.list_processes()
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", port)]

        first.find("dag-processor").kill()
        first.read_until("dag-processor had ended (exit code -9): started again.")
        postgres = int((home / "postgres/data/postmaster.pid").read_text().split()[0])
        os.kill(postgres, signal.SIGKILL)
        first.read_until("Postgres had stopped: started again.")
    finally:
        first.process.kill()
        first.process.wait()

    second = Launched(home, dags, port)
    try:
        second.read_until("Ctrl-C stops it all.")
        said = "".join(second.lines)
        assert "a first cohort, ten days ago, in test mode: success" in said
        assert "sample store" not in said
        everything = second.list_processes()
        assert len(everything) >= 8
        os.killpg(second.process.pid, signal.SIGINT)
        second.read_until("stopped")
        assert second.process.wait(30) == 0
    finally:
        second.process.kill()
        second.process.wait()
        is_running = (home / "postgres/data/postmaster.pid").exists()
        hold(home).release()
    assert not is_running
    assert [process.pid for process in everything if not is_gone(process.pid)] == []


@pytest.mark.soak
@pytest.mark.airflow
def test_up_killed_at_any_moment_goes_on_from_there(tmp_path):
    """Kills the whole launcher, or all its processes at once, at random moments of its first starts."""
    seed = int(os.environ.get("SOAK_SEED", time.time_ns()))
    draw = random.Random(seed)
    print(f"seed {seed}")
    dags, home = tmp_path / "dags", tmp_path / "home"
    dags.mkdir()
    (dags / "birthday_care.py").write_text(DAG)
    for _ in range(12):
        launched = Launched(home, dags, find_port())
        time.sleep(draw.choice([0.3, 1, 2, 5, 10, 20]) * (0.5 + draw.random()))
        victims = [launched.process] if draw.random() < 0.5 else [*launched.list_processes(), launched.process]
        for victim in victims:
            with contextlib.suppress(psutil.Error):
                victim.kill()
        launched.process.wait()
    last = Launched(home, dags, find_port())
    try:
        last.read_until("Ctrl-C stops it all.")
        assert "first cohort, ten days ago, in test mode: success" in "".join(last.lines)
        everything = last.list_processes()
        last.process.send_signal(signal.SIGTERM)
        last.read_until("stopped")
        assert last.process.wait(30) == 0
        assert [process.pid for process in everything if not is_gone(process.pid)] == []
    finally:
        last.process.kill()
        last.process.wait()
        hold(home).release()
