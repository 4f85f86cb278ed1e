"""Delivery with all of Airflow's parts running: Connections in its database, a provider that is down, a worker killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections import Counter
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from retention.bench.stub import start_stub
from retention.delivery.tokens import STATUS, read_signer
from retention.orchestration.local_airflow import Airflow
from retention.orchestration.local_settings import HOST, airflow_environment, metadata_url
from tests.airflow.front import Front
from tests.airflow.test_crm_sync_alive import _is_up, wait_for
from tests.airflow.test_delivery import may_go_live
from tests.world import SHANGHAI, World

ROOT = Path(__file__).resolve().parents[2]
JOURNEY = "birthday_care"
RUN = f"/api/v2/dags/{JOURNEY}/dagRuns/r1"


@pytest.fixture
def record(tmp_path):
    path = tmp_path / "record"
    path.touch()
    return path


@pytest.fixture
def front(record):
    with start_stub(record) as stub, closing(Front(stub.port)) as made:
        yield made


@pytest.fixture
def airflow(database_url, tmp_path, monkeypatch):
    house = tmp_path / "house"
    for part in ("dags", "include"):
        shutil.copytree(ROOT / part, house / part, ignore=shutil.ignore_patterns("__pycache__"))
    path = house / "include" / "journeys" / f"{JOURNEY}.yaml"
    text, _, _ = path.read_text().partition("  - id: last_day")
    changes = {
        '"0 6 * * *"': '"0 0 1 1 *"',
        "live: false": "live: true",
        "holdout: 10%": "holdout: 0%",
        "10:00": "00:01",
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    may_go_live(house / "include")
    monkeypatch.setenv("RETENTION_PUBLIC_URL", "https://hello.example.com")
    monkeypatch.setenv("RETENTION_SIGNING_KEY", "0123456789abcdef0123456789abcdef")
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    home, airflow_url = tmp_path / "home", metadata_url(database_url, is_embedded=False)
    environment = airflow_environment(
        home, url=database_url, airflow_url=airflow_url, port=port, run_id="delivery", dags=house / "dags"
    )
    parts = Airflow(home, f"http://{HOST}:{port}", environment)
    try:
        parts.begin_migration(airflow_url)
        wait_for(parts.finish_migration)
        parts.start()
        wait_for(lambda: _is_up(parts))
        yield parts
    finally:
        parts.stop(10, lambda: False)


def connect(airflow, front) -> None:
    """As somebody does in the UI: fill in the form, press Test, save."""
    email = {"from_email": "news@example.com", "from_name": None, "reply_to": None, "per_second": "none"}
    sms = {"senders": {"*": "+15005550006"}, "per_second": "8"}
    for fields in (
        {"connection_id": "retention_email", "conn_type": "sendgrid", "password": "SG.x", "extra": json.dumps(email)},
        {"connection_id": "retention_sms", "conn_type": "twilio", "login": "AC" + "a" * 32, "password": "x",
         "extra": json.dumps(sms)},
    ):  # fmt: skip
        fields["host"] = front.url
        said = airflow.api._ask("POST", "/api/v2/connections/test", fields)
        assert said["status"] is True, said
        airflow.api._ask("POST", "/api/v2/connections", fields)


def read_record(path: Path) -> Counter[int]:
    seen: Counter[int] = Counter()
    for line in path.read_text().splitlines():
        said = json.loads(line)
        if said["kind"] == "email":
            seen[int(said["args"]["retention_message"])] += 1
        else:
            seen[read_signer().read(STATUS, said["callback"].rpartition("/")[2])] += 1
    return seen


@pytest.mark.soak
def test_a_cohort_s_delivery_in_a_living_airflow(airflow, front, record, engine, tmp_path):
    ask, world = airflow.api._ask, World(engine)
    today = datetime.now(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    birthday = f"{today + timedelta(days=3):%m-%d}"
    for n in range(60):
        world.customer(f"s{n}", birthday, phone=f"+1415555{n:04d}")
    for n in range(40):
        world.customer(f"e{n}", birthday, consent=("email",))

    def task(name: str) -> dict:
        found = ask("GET", f"{RUN}/taskInstances?limit=100")["task_instances"]
        return next((it for it in found if it["task_id"] == name and it["map_index"] < 1), {"state": None})

    def log_of(name: str) -> str:
        return "".join(path.read_text() for path in (tmp_path / "home/logs/tasks").rglob(f"task_id={name}/**/*.log"))

    known = {it["connection_type"]: it for it in ask("GET", "/ui/connections/hook_meta")}
    assert known["sendgrid"]["standard_fields"]["password"]["title"] == "API key" and "twilio" in known
    connect(airflow, front)
    wait_for(lambda: JOURNEY in airflow.list_dags())
    assert airflow.list_import_errors() == [] and "reconcile" in airflow.list_dags()

    # SendGrid is down, and the worker that sends SMS is killed.
    front.down_for = "/v3/mail/send"
    conf = {"cohort_at": today.isoformat()}
    ask("POST", RUN.removesuffix("/r1"), {"dag_run_id": "r1", "logical_date": None, "conf": conf})
    wait_for(lambda: len(read_record(record)) >= 8)
    os.kill(task("greeting.deliver_sms")["pid"], signal.SIGKILL)
    wait_for(lambda: task("greeting.deliver_email")["state"] == "deferred")
    assert "sendgrid:retention_email: nothing goes out for the next 30 s" in log_of("greeting.deliver_email")
    wait_for(lambda: task("greeting.deliver_sms")["state"] == "up_for_retry")
    front.down_for = None
    wait_for(lambda: task("greeting.deliver_email")["state"] == "success")
    assert task("greeting.deliver_email")["try_number"] == 1, "waiting costs no try"
    wait_for(lambda: task("greeting.deliver_sms")["state"] == "success", 240)
    assert task("greeting.deliver_sms")["try_number"] == 2

    # Who was being sent to when it was killed is in doubt, until Twilio can be asked.
    doubts = world.rows("select sum(in_doubt) from batches")[0][0]
    theirs = read_record(record)
    assert 0 < doubts <= 50 and set(theirs.values()) == {1}
    wait_for(lambda: task("settle")["state"] == "deferred")
    wait_for(lambda: task("settle")["state"] in ("success", "failed"), 400)
    lost = 100 - len(theirs)
    assert 0 < lost < doubts and task("settle")["state"] == "failed"
    assert f"{doubts - lost} by asking" in log_of("settle") and f"greeting: {lost} in doubt - " in log_of("settle")
    accepted = {it for (it,) in world.rows("select message_id from outcomes where kind = 'accepted'")}
    assert accepted == set(theirs) == set(read_record(record))
    assert world.count("outbox") == 0
    ask("POST", "/api/v2/dags/reconcile/dagRuns", {"dag_run_id": "q1", "logical_date": None, "conf": {}})
    wait_for(lambda: (airflow.api.find_run("reconcile", "q1") or {}).get("state") == "success")
    logs = "".join(path.read_text() for path in (tmp_path / "home/logs/tasks").rglob("*.log"))
    assert "+1415555" not in logs and "@example.com" not in logs and "SG.x" not in logs
