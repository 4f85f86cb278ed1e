"""DAG files from git, with all of Airflow's parts running: a run finishes on the commit it began on."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from retention.orchestration.local_airflow import Airflow
from retention.orchestration.local_settings import HOST, airflow_environment, metadata_url
from tests.world import World, copy_include

ROOT = Path(__file__).resolve().parents[2]
JOURNEY = "birthday_care"


def wait_for(question, seconds: float = 90):
    """The first answer that is one."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.5)
    return answer


class Repository:
    """The company's repository: dags/ and include/. `first` is its first commit."""

    first: str

    def __init__(self, folder: Path):
        self.folder = folder
        self.journey = folder / "include" / "journeys" / f"{JOURNEY}.yaml"
        shutil.copytree(ROOT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
        copy_include(folder / "include")
        self._git("init", "-q", "-b", "main")

    def commit(self, why: str) -> str:
        self._git("add", "-A")
        self._git("-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", why)
        return self._git("rev-parse", "HEAD")

    def _git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path / "repository")
    text = re.sub(r"(?m)^holdout:.*$", "holdout: 0%", made.journey.read_text(encoding="utf-8"))
    # No runs of its own: the test starts those it is about.
    made.journey.write_text(re.sub(r"(?m)^starts_on:.*$", "starts_on: 2099-01-01", text), encoding="utf-8")
    made.first = made.commit("a journey of two steps")
    return made


@pytest.fixture
def airflow(database_url, repository, tmp_path):
    """All four parts, with the repository as their bundle."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    home, airflow_url = tmp_path / "home", metadata_url(database_url, is_embedded=False)
    bundle = {
        "name": "journeys",
        "classpath": "airflow.providers.git.bundles.git.GitDagBundle",
        "kwargs": {
            "repo_url": str(repository.folder), "tracking_ref": "main", "subdir": "dags", "refresh_interval": 1
        },
    }  # fmt: skip
    environment = airflow_environment(
        home, url=database_url, airflow_url=airflow_url, port=port, run_id="git-bundle", dags=repository.folder
    ) | {
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(tmp_path / "bundles"),
        "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__PRINT_STATS_INTERVAL": "0",
    }
    parts = Airflow(home, f"http://{HOST}:{port}", environment)
    try:
        parts.begin_migration(airflow_url)
        wait_for(parts.finish_migration, 120)
        parts.start()
        wait_for(lambda: _is_up(parts), 120)
        yield parts
    finally:
        parts.stop(10, lambda: False)


def _is_up(parts: Airflow) -> bool:
    from retention.errors import NoAnswer

    parts.require_all_running()
    try:
        return parts.is_healthy()
    except NoAnswer:
        return False


def test_a_run_finishes_on_its_commit_and_a_new_one_has_the_new_shape(repository, airflow, engine, database_url):
    ask, world = airflow.api._ask, World(engine)
    for n in range(3):
        world.customer(f"a{n}", "12-10")
        world.customer(f"b{n}", "12-11")

    def run(run_id: str) -> dict:
        return airflow.api.find_run(JOURNEY, run_id)

    def start(run_id: str, day: int) -> None:
        conf = {"cohort_at": f"2026-12-{day:02}T06:00", "mode": "test", "on_time": True}
        ask("POST", f"/api/v2/dags/{JOURNEY}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": conf})

    def states(run_id: str) -> dict[str, str]:
        found = ask("GET", f"/api/v2/dags/{JOURNEY}/dagRuns/{run_id}/taskInstances?limit=100")
        return {task["task_id"]: task["state"] for task in found["task_instances"]}

    def set_slots(slots: int) -> None:
        pool = {"pool": "retention_sms", "slots": slots, "include_deferred": False}
        ask("PATCH", "/api/v2/pools/retention_sms", pool)

    # It waits in the middle: there is no room to deliver.
    wait_for(lambda: JOURNEY in airflow.list_dags())
    set_slots(0)
    start("before", 7)
    wait_for(lambda: states("before").get("greeting.plan") == "success")

    # Meanwhile the journey loses a step, gets another, and has other words.
    text = repository.journey.read_text(encoding="utf-8")
    extra = "  - id: hello_again\n    at: day 3, 10:00\n    send: {template: birthday/greeting, channels: [sms]}\n"
    repository.journey.write_text(text[: text.index("  - id: last_day")] + extra, encoding="utf-8")
    for path in (repository.folder / "include/templates/birthday/greeting").glob("sms.*"):
        path.write_text("new words " + path.read_text(encoding="utf-8"), encoding="utf-8")
    second = repository.commit("other steps, other words")
    groups = f"/api/v2/dags/{JOURNEY}/tasks"
    wait_for(lambda: "hello_again.plan" in {task["task_id"] for task in ask("GET", groups)["tasks"]})
    assert airflow.list_import_errors() == []
    set_slots(4)

    wait_for(lambda: run("before")["state"] in ("success", "failed"), 120)
    assert run("before")["state"] == "success", states("before")
    assert run("before")["bundle_version"] == repository.first
    assert set(states("before").values()) == {"success"} and "hello_again.plan" not in states("before")
    sent = world.rows("select m.step, x.text like 'new words%' from outbox x join messages m using (message_id)")
    assert sorted(sent) == [("greeting", False)] * 3 + [("last_day", False)] * 3

    start("after", 8)
    wait_for(lambda: run("after")["state"] in ("success", "failed"), 120)
    assert run("after")["state"] == "success", states("after")
    assert run("after")["bundle_version"] == second
    assert "last_day.plan" not in states("after")
    sent = world.rows(
        "select m.step, x.text like 'new words%' from outbox x join messages m using (message_id)"
        " join enrollments e using (enrollment_id) where e.customer_id like 'b%'"
    )
    assert sorted(sent) == [("greeting", True)] * 3 + [("hello_again", True)] * 3
