"""Live cohorts through Airflow to a stand-in of SendGrid and Twilio: what is sent, what waits, what fails, what is mended."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import time_machine

from retention.bench.stub import start_stub
from tests.airflow.front import Front
from tests.world import World, shanghai

ROOT = Path(__file__).resolve().parents[2]
JOURNEY = "birthday_care"
# Past: the stand-in has a clock of its own, and is asked what it took since then.
COHORT = shanghai("2026-11-07 06:00")
GREETING = shanghai("2026-11-07 10:01")
LAST_DAY = shanghai("2026-11-13 10:01")
DELIVER = ("greeting.deliver_sms", "greeting.deliver_email")


def may_go_live(include: Path) -> None:
    """Say in the policy what the law wants said before live: true; and nobody waits for the morning."""
    place = include / "policy.yaml"
    text = place.read_text(encoding="utf-8").replace("processed_in: {}", "processed_in: {email: CN, sms: CN}")
    place.write_text(text.replace("21:00-08:00", "none"), encoding="utf-8")


class Field:
    """A checkout with a live journey, its people, and the two providers."""

    def __init__(self, house, world, stub, front, record, monkeypatch):
        self.house, self.world, self.stub, self.front, self.record = house, world, stub, front, record
        self._patch = monkeypatch
        self._patch.setenv("RETENTION_PUBLIC_URL", "https://hello.example.com")
        self._patch.setenv("RETENTION_SIGNING_KEY", "0123456789abcdef0123456789abcdef")
        self.connect()

    def connect(self, per_second: float | str = "none") -> None:
        """The Connections, as a person would write them."""
        email = {"from_email": "news@example.com", "per_second": per_second}
        email = {"conn_type": "sendgrid", "password": "SG.x", "host": self.front.url, "extra": email}
        sms = {"senders": {"*": "+15005550006"}, "per_second": per_second}
        sms = {"conn_type": "twilio", "login": "AC" + "a" * 32, "password": "x", "host": self.front.url, "extra": sms}
        self._patch.setenv("AIRFLOW_CONN_RETENTION_EMAIL", json.dumps(email))
        self._patch.setenv("AIRFLOW_CONN_RETENTION_SMS", json.dumps(sms))

    def disconnect(self, channel: str) -> None:
        self._patch.delenv(f"AIRFLOW_CONN_RETENTION_{channel.upper()}")

    def start(self) -> None:
        self.house.parse()
        self.house.start(JOURNEY, "r1", logical_date=COHORT)

    def work(self, only: str = "") -> dict[str, str]:
        return self.house.work(JOURNEY, "r1", only=only)

    def clear(self, *tasks: str) -> None:
        self.house.clear(JOURNEY, "r1", *tasks)

    def tries(self, task_id: str) -> int:
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            found = select(TaskInstance.try_number).where(TaskInstance.task_id == task_id, TaskInstance.map_index == 0)
            return session.scalars(found).one()

    def read_record(self) -> Counter[int]:
        """What the providers took: message id -> how often."""
        from retention.delivery.tokens import STATUS, read_signer

        signer, seen = read_signer(), Counter()
        for line in self.record.read_text().splitlines():
            said = json.loads(line)
            if said["kind"] == "email":
                seen[int(said["args"]["retention_message"])] += 1
            else:
                seen[signer.read(STATUS, said["callback"].rpartition("/")[2])] += 1
        return seen

    def outcomes(self, step: str = "greeting") -> dict[tuple[str, str], int]:
        """(channel, what became of it last) -> messages."""
        sql = (
            "select channel, coalesce((select kind from outcomes o where o.message_id = m.message_id"
            " order by outcome_id desc limit 1), 'open'), count(*) from messages m"
            " where decision = 'send' and step = :step group by 1, 2"
        )
        return {(channel, kind): n for channel, kind, n in self.world.rows(sql, step=step)}

    def check_once(self) -> None:
        """Everybody who is to get a message got it once; the outbox got none."""
        wanted = {it for (it,) in self.world.rows("select message_id from messages where decision = 'send'")}
        accepted = {it for (it,) in self.world.rows("select message_id from outcomes where kind = 'accepted'")}
        theirs = self.read_record()
        assert set(theirs) == accepted == wanted and set(theirs.values()) == {1}
        assert self.world.count("outbox") == 0


@pytest.fixture
def field(house, engine, monkeypatch, tmp_path):
    """Sixty people who are reached by SMS and forty by e-mail; a provider that keeps failing is noticed at once."""
    from retention.delivery import deliver, pacing
    from retention.orchestration import triggers

    monkeypatch.setattr(deliver, "RETRY_WAITS_S", (0.01,))
    monkeypatch.setattr(pacing, "OPENS_AT", 3)
    monkeypatch.setattr(triggers, "DATA_LOOK_AGAIN_S", 0.05)
    house.change(JOURNEY, holdout="0%", live="true")
    may_go_live(house.include)
    world, record = World(engine), tmp_path / "record"
    record.touch()
    for n in range(60):
        world.customer(f"s{n}", "11-10", phone=f"+1415555{n:04d}")
    for n in range(40):
        world.customer(f"e{n}", "11-10", consent=("email",))
    with start_stub(record, at=GREETING) as stub:
        front = Front(stub.port)
        yield Field(house, world, stub, front, record, monkeypatch)
        front.close()


@pytest.fixture
def at_greeting(field):
    """Entered and planned; the greeting is due now."""
    with time_machine.travel(GREETING) as clock:
        field.start()
        field.work(only=r"enroll|greeting\.(wait|plan)")
        yield clock


async def wake(trigger, seconds: float = 10):
    return await asyncio.wait_for(anext(trigger.run()), seconds)


def follow_triggers(monkeypatch) -> list:
    """The triggers that tasks defer to, as the triggerer would make them."""
    from airflow.sdk._shared.module_loading import import_string
    from airflow.sdk.serde import deserialize, serialize

    from retention.orchestration.operators import DeliverOperator

    defer, made = DeliverOperator.defer, []

    def follow(self, *, trigger, **rest):
        path, values = trigger.serialize()
        made.append(import_string(path)(**deserialize(serialize(values))))
        return defer(self, trigger=trigger, **rest)

    monkeypatch.setattr(DeliverOperator, "defer", follow)
    return made


def test_a_live_cohort_goes_out_through_its_providers(field, at_greeting):
    states = field.work()
    assert states["greeting.deliver_sms[0]"] == states["greeting.deliver_email[0]"] == "success"
    assert field.outcomes() == {("sms", "accepted"): 60, ("email", "accepted"): 40}
    field.check_once()
    at_greeting.move_to(LAST_DAY)
    states = field.work()
    assert set(states.values()) == {"success"}, states
    field.check_once()
    said = field.stub.fetch_record()
    assert (said["sms"], said["emails"], said["duplicates"]) == (120, 80, 0)
    assert field.world.rows("select status, mode from cohorts") == [("settled", "live")]
    assert field.world.rows("select distinct provider from outcomes order by 1") == [("sendgrid",), ("twilio",)]


def test_clearing_after_a_live_delivery_sends_nothing_again(field, at_greeting):
    field.work(only="greeting")
    for tasks in (DELIVER, ("greeting.plan", *DELIVER), DELIVER[:1]):
        field.clear(*tasks)
        states = field.work(only="greeting")
        assert states["greeting.deliver_sms[0]"] == "success"
    field.check_once()
    assert field.stub.fetch_record()["duplicates"] == 0


@pytest.mark.parametrize("channel", ["sms", "email"])
def test_a_provider_that_keeps_failing_is_waited_for_without_a_worker(field, at_greeting, monkeypatch, caplog, channel):
    from retention.delivery import pacing

    monkeypatch.setattr(pacing, "SHORTEST_S", 3)
    triggers = follow_triggers(monkeypatch)
    task = f"greeting.deliver_{channel}"
    field.front.says = (500, {})
    with caplog.at_level(logging.WARNING):
        states = field.work(only=task)
    assert states[f"{task}[0]"] == "deferred" and not field.read_record()
    account = {"sms": "twilio:retention_sms", "email": "sendgrid:retention_email"}[channel]
    assert f"{account}: nothing goes out for the next 3 s: it keeps failing (status 500)." in caplog.text
    assert "This task waits without a worker." in caplog.text and "Traceback" not in caplog.text
    heard = field.front.requests["POST"]
    states = field.work(only=task)
    assert states[f"{task}[0]"] == "deferred" and field.front.requests["POST"] == heard, "nobody asks meanwhile"
    assert field.tries(task) == 1
    # It is back. The trigger wakes the task by itself, and it goes on.
    field.front.says = None
    assert asyncio.run(wake(triggers[-1])).payload is None
    states = field.work(only="greeting")
    assert states["greeting.deliver_sms[0]"] == states["greeting.deliver_email[0]"] == "success"
    assert field.tries(task) == 1, "waiting costs no try"
    field.check_once()
    assert field.world.rows("select distinct failures, openings, error from provider_accounts") == [(0, 0, None)]
    at_greeting.move_to(LAST_DAY)
    assert set(field.work().values()) == {"success"}


def test_a_provider_that_is_down_for_long_is_tried_again_and_again(field, at_greeting, monkeypatch):
    from retention.delivery import pacing

    monkeypatch.setattr(pacing, "SHORTEST_S", 0.2)
    monkeypatch.setattr(pacing, "LONGEST_S", 0.5)
    monkeypatch.setattr(pacing, "TRIAL_S", 0.5)
    triggers = follow_triggers(monkeypatch)
    field.front.says = (503, {})
    for _ in range(6):  # more often than a task may be retried, and than a batch may fail
        assert field.work(only="greeting.deliver_sms")["greeting.deliver_sms[0]"] == "deferred"
        asyncio.run(wake(triggers[-1]))
    assert field.tries("greeting.deliver_sms") == 1
    field.front.says = None
    assert field.work(only="greeting")["greeting.deliver_sms[0]"] == "success"
    field.check_once()


@pytest.mark.parametrize("channel", ["sms", "email"])
def test_a_provider_that_asks_to_wait_is_left_alone_for_as_long(field, at_greeting, monkeypatch, caplog, channel):
    triggers = follow_triggers(monkeypatch)
    task = f"greeting.deliver_{channel}"
    field.front.says = (429, {"Retry-After": "1800"})
    with caplog.at_level(logging.WARNING):
        assert field.work(only=task)[f"{task}[0]"] == "deferred"
    assert "nothing goes out for the next 1800 s: 429: too many requests" in caplog.text
    assert 1700 < triggers[-1].wait_s <= 1800
    # An earlier end is seen, too: somebody who knows better takes the pause away.
    with pytest.raises(TimeoutError):
        asyncio.run(wake(triggers[-1], 0.4))
    field.front.says = None
    with field.world.engine.begin() as conn:
        conn.exec_driver_sql("update provider_accounts set blocked_until = clock_timestamp() + interval '1 second'")
    asyncio.run(wake(triggers[-1]))
    assert field.work(only="greeting")[f"{task}[0]"] == "success"
    assert field.tries(task) == 1
    field.check_once()


@pytest.mark.parametrize("channel", ["sms", "email"])
def test_a_refused_account_fails_at_once_and_clearing_after_the_correction_delivers_all(
    field, at_greeting, capsys, channel
):
    task = f"greeting.deliver_{channel}"
    field.front.says = (401, {})
    assert field.work(only=task)[f"{task}[0]"] == "failed", "no retries: a person has to act"
    assert field.tries(task) == 1
    assert f"the Connection retention_{channel}, then clear the task." in capsys.readouterr().out
    assert not field.read_record() and set(field.outcomes().values()) == {60, 40}
    field.front.says = None
    field.clear(*DELIVER)
    states = field.work(only="greeting")
    assert states["greeting.deliver_sms[0]"] == states["greeting.deliver_email[0]"] == "success"
    field.check_once()


def test_a_connection_that_is_gone_is_an_error_and_no_silent_outbox(field, at_greeting, capsys):
    field.work(only="greeting")
    at_greeting.move_to(LAST_DAY)
    field.disconnect("sms")
    states = field.work()
    assert states["last_day.deliver_sms[0]"] == "failed" and field.tries("last_day.deliver_sms") == 1
    assert states["last_day.deliver_email[0]"] == "success", "the other channel goes on"
    assert "Connection retention_sms: is gone; twilio:retention_sms used it." in capsys.readouterr().out
    assert field.world.count("outbox") == 0 and states["run"] == "failed"
    field.connect()
    field.clear("last_day.deliver_sms", "settle")
    assert set(field.work().values()) == {"success"}
    field.check_once()


def test_a_connection_that_is_wrong_says_all_that_is_wrong(field, at_greeting, monkeypatch, capsys):
    words = {"conn_type": "twilio", "host": field.front.url, "extra": {"per_second": 0, "sender": "+15005550006"}}
    monkeypatch.setenv("AIRFLOW_CONN_RETENTION_SMS", json.dumps(words))
    assert field.work(only="greeting.deliver_sms")["greeting.deliver_sms[0]"] == "failed"
    logged = capsys.readouterr().out
    for said in ("has no login", "has no password", 'extra has no "senders"', 'extra "per_second" is 0', '"sender"'):
        assert said in logged, said
    assert field.tries("greeting.deliver_sms") == 1
    field.connect()
    field.clear("greeting.deliver_sms")
    field.work(only="greeting")
    field.check_once()


WORKER = """
import sys
from datetime import datetime
from retention.orchestration import cohort
from retention.store.database import connect
cohort.deliver(connect(), int(sys.argv[1]), "greeting", sys.argv[2], clock=lambda: datetime.fromisoformat(sys.argv[3]))
"""


def kill_in_mid_send(field, channel: str, enough: int) -> int:
    """What the deliver task does, in a process that is killed once so many were taken; how many were in the end."""
    [(cohort_id,)] = field.world.rows("select cohort_id from cohorts")
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(cohort_id), channel, GREETING.isoformat()],
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
    )
    deadline = time.monotonic() + 60
    while len(field.read_record()) < enough:
        assert worker.poll() is None and time.monotonic() < deadline, "it never began"
        time.sleep(0.01)
    worker.kill()
    worker.wait()
    time.sleep(0.3)
    return len(field.read_record())


def test_a_task_killed_in_mid_send_and_cleared_delivers_the_rest_and_nobody_twice(field, at_greeting, caplog, capsys):
    field.connect(per_second=20)
    taken = kill_in_mid_send(field, "sms", 8)
    assert 8 <= taken < 50
    field.connect()
    field.clear(*DELIVER)
    states = field.work(only="greeting")
    assert states["greeting.deliver_sms[0]"] == "success"
    theirs = field.read_record()
    assert set(theirs.values()) == {1}, "nobody twice"
    doubts = field.outcomes()[("sms", "unknown")]
    assert doubts <= 50 and field.outcomes()[("sms", "accepted")] == 60 - doubts
    assert field.world.rows("select sum(in_doubt) from batches where channel = 'sms'") == [(doubts,)]
    assert len(theirs) == taken + 60 - doubts + 40
    # At the end the provider is asked; what it does not know keeps the books open, until a person gives it up.
    at_greeting.move_to(LAST_DAY)
    with caplog.at_level(logging.INFO):
        states = field.work()
    assert (states["last_day.deliver_sms[0]"], states["settle"], states["run"]) == ("success", "failed", "failed")
    assert f"doubts settled: 0 by events, {taken} by asking" in caplog.text
    assert f"greeting: {doubts - taken} in doubt - `retention reconcile`" in capsys.readouterr().out
    assert field.outcomes() == {("sms", "accepted"): 60 - doubts + taken, ("sms", "unknown"): doubts - taken, ("email", "accepted"): 40}  # fmt: skip
    give_up(field)
    field.clear("settle")
    assert set(field.work().values()) == {"success"}
    assert set(field.read_record().values()) == {1}


def give_up(field) -> None:
    """retention reconcile --close"""
    from retention.delivery.channels import OutboxProvider
    from retention.delivery.reconcile import reconcile
    from retention.orchestration.cohort import read_clock

    engine = field.world.engine
    outbox = OutboxProvider(engine, read_clock)
    reconcile(engine, now=read_clock(), provider_of=lambda *_: outbox, close_by="ada")


@pytest.fixture
def lost_answers(field, at_greeting):
    """The e-mails of the last step arrived, and nobody was told. The clock, at the step's moment."""
    field.work(only="greeting")
    at_greeting.move_to(LAST_DAY)
    field.stub.set_faults(accept_then_cut=1)
    field.work(only=r"last_day\.(wait|plan|deliver_email)")
    field.stub.set_faults()
    assert field.outcomes("last_day")[("email", "unknown")] == 40
    return at_greeting


def test_books_wait_until_the_provider_can_be_asked_and_are_closed_by_what_it_says(field, lost_answers, caplog):
    with caplog.at_level(logging.INFO):
        states = field.work()
    assert (states["settle"], states["run"]) == ("deferred", "running")
    assert (
        "last_day: 40 in doubt" in caplog.text
        and "nobody has to do anything yet: their provider is asked at 2026-11-13T02:06" in caplog.text
    )
    lost_answers.shift(302)
    assert set(field.work().values()) == {"success"}
    assert field.world.rows("select status from cohorts") == [("settled",)]
    field.check_once()


@pytest.mark.parametrize("trouble", ["down", "no Connection"])
def test_a_provider_that_can_t_be_asked_leaves_the_books_open_with_what_to_do(
    field, lost_answers, caplog, capsys, trouble
):
    field.work(only="last_day")
    lost_answers.shift(302)
    if trouble == "down":
        field.front.says = (500, {})
    else:
        field.disconnect("email")
    with caplog.at_level(logging.INFO):
        assert field.work()["settle"] == "failed"
    logged = capsys.readouterr().out
    assert logged.count("Traceback") == 1 and "last_day: 40 in doubt - `retention reconcile` settles" in logged
    if trouble == "no Connection":
        assert "could not ask: email: Connection retention_email: is gone" in caplog.text
    field.front.says = None
    field.connect()
    field.clear("settle")
    assert set(field.work().values()) == {"success"}
    field.check_once()


def run_reconcile(field, run_id: str) -> dict:
    field.house.start("reconcile", run_id)
    assert field.house.work("reconcile", run_id) == {"reconcile": "success", "redeem": "success", "run": "success"}
    return field.house.xcom("reconcile", run_id, "reconcile")


def test_every_quarter_of_an_hour_doubts_are_settled(field, lost_answers, caplog):
    with caplog.at_level(logging.INFO, logger="retention"):
        assert run_reconcile(field, "q1") == {"by_events": 0, "by_asking": 0, "left": 40, "troubles": 0}, "too soon"
        assert "birthday_care, cohort 1, last_day/email (live): 40 in doubt since 2026-11-13T02:01" in caplog.text
        lost_answers.shift(900)
        field.disconnect("email")
        assert run_reconcile(field, "q2") == {"by_events": 0, "by_asking": 0, "left": 40, "troubles": 1}
        assert "could not ask: email: Connection retention_email: is gone" in caplog.text
        lost_answers.shift(900)
        field.connect()
        assert run_reconcile(field, "q3") == {"by_events": 0, "by_asking": 40, "left": 0, "troubles": 0}
        assert "doubts settled: 0 by events, 40 by asking" in caplog.text
        assert run_reconcile(field, "q4") == {"by_events": 0, "by_asking": 0, "left": 0, "troubles": 0}
    assert "@example.com" not in caplog.text and "+1415" not in caplog.text
    assert set(field.work().values()) == {"success"}
    field.check_once()


def test_the_shape_of_reconcile(house):
    house.parse()
    dag = house.dags["reconcile"]
    assert (dag.catchup, dag.max_active_runs, dag.tags) == (False, 1, {"retention"})
    assert dag.timetable.expression == "*/15 * * * *" and set(dag.task_ids) == {"reconcile", "redeem"}
    assert not house.import_errors


def test_a_mistake_of_ours_in_reconcile_is_no_import_error(house, monkeypatch):
    from retention.orchestration import reconcile_dag

    monkeypatch.setattr(reconcile_dag, "ReconcileOperator", None)
    house.parse()
    assert "reconcile" not in house.dags and JOURNEY in house.dags and not house.import_errors
