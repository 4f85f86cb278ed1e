"""docs/tutorial.md as it stands: every command is run, every edit made, every output compared.

RETENTION_WRITE_TUTORIAL=1 writes the outputs anew: read them before you keep them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from retention.store.database import ROOT

PAGE = ROOT / "docs" / "tutorial.md"
NOW = "2026-12-01 11:00:00+08:00"
BLOCK = re.compile(r"^```(console|diff)\n(.*?)^```$", re.M | re.S)
IS_WRITING = os.environ.get("RETENTION_WRITE_TUTORIAL") == "1"

MAIN = (
    "import sys, datetime, time_machine; sys.path.insert(0, 'plugins');"
    f"time_machine.travel(datetime.datetime.fromisoformat('{NOW}'), tick=False).start();"
    "from retention.cli import main; main()"
)


@pytest.fixture
def desk(tmp_path, database_url):
    """A marketer's own copy of the project; run(command) -> what it printed."""
    folder = tmp_path / "project"
    for name in ("include", "dags", "plugins"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {
        **os.environ, "RETENTION_DATABASE_URL": database_url, "RETENTION_HOME": str(tmp_path / "home"), "COLUMNS": "200",
    }  # fmt: skip
    environment.pop("PYTHONPATH", None)
    guard = str(ROOT / "tests" / "guard")

    def run(command: str) -> str:
        program, *arguments = shlex.split(command)
        assert program == "retention"
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *arguments],
            cwd=folder, env={**environment, "PYTHONPATH": guard}, capture_output=True, text=True,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return "\n".join(line.rstrip() for line in (done.stdout + done.stderr).strip().splitlines())

    return folder, run


def edit(folder, block: str) -> None:
    """Apply a block of lines -old and +new to the file that its first line names; they must be there exactly once."""
    head, *lines = block.splitlines()
    path = folder / head.removeprefix("--- ")
    old = "\n".join(line[1:] for line in lines if line[0] == "-")
    new = "\n".join(line[1:] for line in lines if line[0] == "+")
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{head}: {old!r} is there {text.count(old)} times"
    path.write_text(text.replace(old, new), encoding="utf-8")


def plain(output: str) -> str:
    """Without what differs from day to day: the codes of coupons, and how long something took."""
    return re.sub(r"(?<![A-Z0-9])[A-HJ-NP-Z2-9]{10}(?![A-Z0-9])", "CODE", re.sub(r"\d+\.\d s\)", "s)", output))


def test_the_day_goes_as_it_is_told(desk):
    folder, run = desk
    page, told, at = PAGE.read_text(encoding="utf-8"), [], 0
    for block in BLOCK.finditer(page):
        kind, body = block.groups()
        if kind == "diff":
            edit(folder, body)
            continue
        command, _, said = body.partition("\n")
        output = run(command.removeprefix("$ "))
        if IS_WRITING:
            told += [page[at : block.start()], f"```console\n{command}\n{output}\n```"]
            at = block.end()
        else:
            assert plain(said.strip()) == plain(output), f"after {command}"
    if IS_WRITING:
        PAGE.write_text("".join(told) + page[at:], encoding="utf-8")
