"""`make reset`: takes only what is ours, and nothing that somebody uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from retention.errors import LaunchError
from retention.orchestration.local_claim import claim_home
from retention.orchestration.local_report import Report
from retention.orchestration.local_reset import main, reset
from retention.store.embedded import hold

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    monkeypatch.setenv("RETENTION_HOME", str(folder))
    hold(folder).release()
    (folder / "logs").mkdir()
    (folder / "secrets.json").write_text("{}")
    return folder


def ask(answer: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "retention.orchestration.local_reset"]
    return subprocess.run(command, input=answer, capture_output=True, text=True)


def test_it_asks_first(home, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PLUGINS))
    for answer in ("", "no\n", "y\n"):
        done = ask(answer)
        assert (done.returncode, done.stderr) == (1, "nothing was changed\n")
        assert (home / "postgres/data").exists()
    done = ask("yes\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert not home.exists()
    assert "nothing there" in ask("").stdout


def test_other_files_stay(home, monkeypatch, capsys):
    (home / "mine.txt").write_text("keep")
    monkeypatch.setattr(sys, "argv", ["reset", "--yes"])
    main()
    assert [path.name for path in home.iterdir()] == ["mine.txt"]


def test_what_is_in_use_stays(home):
    with claim_home(home, "run", 8080, Report()), pytest.raises(LaunchError, match="runs here already"):
        reset(home, Report())
    with hold(home), pytest.raises(LaunchError, match="a process still uses its Postgres"):
        reset(home, Report())
    assert (home / "postgres/data/PG_VERSION").exists()


def test_a_server_that_a_killed_process_left_is_ended(home):
    code = f"""
import os, signal
from pathlib import Path
from retention.store.embedded import hold
hold(Path({str(home)!r}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(PLUGINS), "PATH": "/usr/bin:/bin"})
    assert (home / "postgres/data/postmaster.pid").exists()
    reset(home, Report())
    assert not home.exists()
