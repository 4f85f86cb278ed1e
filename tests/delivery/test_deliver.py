"""Deliver: nothing twice, nothing lost, nothing silent."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from retention.delivery.batch_worker import MAX_ATTEMPTS, Errand
from retention.delivery.channels.base import Provider, Receipt
from retention.delivery.channels.outbox import OutboxProvider
from retention.delivery.deliver import deliver_step
from retention.errors import AccountRefused, BooksOpen, InDoubt, RequestRefused, RetryLater
from retention.insight.status import lift_stop, stop_sending
from retention.orchestration import cohort
from tests.world import example, shanghai

AT = shanghai("2026-12-01 06:00")
GREETING = shanghai("2026-12-01 10:00")


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr("retention.delivery.deliver.RETRY_WAITS_S", (0,))


@pytest.fixture
def planned(world):
    """A cohort of 120 with a planned greeting: three SMS batches."""

    def planned(count=120, **options):
        for i in range(count):
            world.customer(f"c{i:03}", "12-04", **options)
        made = cohort.enroll(world.engine, example(holdout="0%"), AT, clock=lambda: AT)
        cohort.plan(world.engine, made.cohort_id, "greeting", clock=lambda: GREETING)
        return made.cohort_id

    return planned


def deliver(world, cohort_id, provider=None, at=GREETING, channel="sms", shard=0, of=1):
    version = cohort.pinned_version(world.engine, cohort_id)
    return deliver_step(
        world.engine,
        Errand(version, cohort_id, "greeting", channel, shard, of),
        provider=provider or OutboxProvider(world.engine, lambda: at),
        clock=lambda: at,
    )


def outcomes(world):
    return dict(
        world.rows("select kind || coalesce(' ' || reason, ''), count(*)::int from outcomes group by 1 order by 1")
    )


class Faulty(Provider):
    """Does what it is told, and keeps what reached it."""

    name = "faulty"

    def __init__(self, *behaviour):
        self.behaviour = list(behaviour)
        self.reached = []

    def hand_over(self, letters, gate, receive):
        act = self.behaviour.pop(0) if self.behaviour else "accept"
        if act == "refuse all":
            raise RequestRefused("400")
        if act == "later":
            raise RetryLater("503")
        if act == "account":
            raise AccountRefused("401")
        self.reached += [letter.message_id for letter in letters]
        if act == "doubt":
            raise InDoubt("timeout after the request was written")
        for letter in letters:
            refused = act == "one bad" and letter is letters[0]
            result, reason = ("refused", "invalid") if refused else ("accepted", None)
            receive(Receipt(letter.message_id, result, reason=reason, suppress=reason))


def test_everything_planned_is_in_the_outbox_once(world, planned):
    cohort_id = planned()
    for _ in range(3):
        handled = deliver(world, cohort_id)
    assert [(h.outcome, h.count) for h in handled] == [("accepted", 120)]
    assert world.count("outbox") == 120
    assert outcomes(world) == {"accepted": 120}
    assert world.count("coupons", state="issued") == 120


def test_a_letter_is_whole(world, planned):
    planned_id = planned(1, name="李 雷")
    deliver(world, planned_id)
    ((text, encoding, segments, mode, locale),) = world.rows(
        "select text, encoding, segments, mode, locale from outbox"
    )
    ((code,),) = world.rows("select code from coupons")
    assert "李 雷" in text and code in text and "TD" in text
    assert (encoding, mode, locale) == ("UCS-2", "test", "zh-CN")
    assert segments <= 2


def test_shards_share_the_work_without_overlap(world, planned):
    cohort_id = planned()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda shard: deliver(world, cohort_id, shard=shard, of=3), range(3)))
    assert world.count("outbox") == 120


def test_two_workers_on_one_shard(world, planned):
    cohort_id = planned()
    provider = Faulty()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: deliver(world, cohort_id, provider), range(4)))
    assert sorted(provider.reached) == sorted({*provider.reached})
    assert len(provider.reached) == 120


def test_what_may_have_arrived_is_never_sent_again(world, planned):
    cohort_id = planned()
    provider = Faulty("accept", "doubt", "accept")
    for _ in range(3):
        handled = {h.outcome: h.count for h in deliver(world, cohort_id, provider)}
    assert len(provider.reached) == len(set(provider.reached)) == 120
    assert handled == {"accepted": 70, "in_doubt": 50}
    with pytest.raises(BooksOpen, match="greeting: 50 in doubt - .retention reconcile. settles"):
        cohort.plan(world.engine, cohort_id, "last_day", clock=lambda: AT + timedelta(days=6, hours=4))
        cohort.settle(world.engine, cohort_id, clock=lambda: AT)


def test_a_busy_provider_is_asked_again(world, planned):
    cohort_id = planned()
    provider = Faulty("accept", "later")
    deliver(world, cohort_id, provider)
    assert len(provider.reached) == len(set(provider.reached)) == 120


def test_a_batch_that_keeps_failing_ends_visibly(world, planned):
    cohort_id = planned(10)
    provider = Faulty(*["later"] * (MAX_ATTEMPTS + 3))
    (handled,) = deliver(world, cohort_id, provider)
    assert (handled.outcome, handled.count) == ("failed", 10)
    assert world.rows("select state, error, attempts from batches") == [("failed", "503", MAX_ATTEMPTS)]
    assert len(provider.behaviour) == 3
    # Whoever clears the task has mended it.
    (handled,) = deliver(world, cohort_id)
    assert (handled.outcome, handled.count) == ("accepted", 10)
    assert world.rows("select state, error, attempts from batches") == [("done", None, 1)]


def test_a_failing_batch_holds_no_other_back(world, planned):
    cohort_id = planned()
    provider = Faulty("accept", "later", "accept", *["later"] * MAX_ATTEMPTS)
    handled = {h.outcome: h.count for h in deliver(world, cohort_id, provider)}
    assert handled == {"accepted": 70, "failed": 50}


def test_a_refused_account_is_nobodys_fault(world, planned):
    cohort_id = planned(10)
    provider = Faulty("account")
    with pytest.raises(AccountRefused):
        deliver(world, cohort_id, provider)
    assert world.rows("select state, error, attempts from batches") == [("ready", "401", 0)]
    assert world.count("outcomes") == 0
    deliver(world, cohort_id, provider)
    assert outcomes(world) == {"accepted": 10}


def test_one_bad_recipient_holds_nobody_back(world, planned):
    cohort_id = planned(10)
    deliver(world, cohort_id, Faulty("one bad"))
    assert outcomes(world) == {"accepted": 9, "refused invalid": 1}
    assert world.count("coupons", state="given_back") == 1
    refused = world.rows("select address from messages join outcomes using (message_id) where kind = 'refused'")
    assert world.rows("select address, is_suppressed, reason from suppressions") == [(refused[0][0], True, "invalid")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w, at: w.consent("c000", "sms", False, at), "exited"),
        (lambda w, at: w.suppress("sms", w.rows("select address from messages")[0][0], at), "suppressed"),
        (lambda w, at: w.order("o", "c000", at), "goal_met"),
    ],
)
def test_the_last_check_withholds_and_gives_back(world, planned, change, reason):
    cohort_id = planned(1)
    change(world, GREETING + timedelta(minutes=1))
    deliver(world, cohort_id, at=GREETING + timedelta(minutes=2))
    assert outcomes(world) == {f"withheld {reason}": 1}
    assert world.count("outbox") == 0
    assert world.count("coupons", state="given_back") == 1


def test_what_is_past_its_expiry_is_withheld(world, planned):
    cohort_id = planned(3)
    deliver(world, cohort_id, at=GREETING + timedelta(days=2))
    assert outcomes(world) == {"withheld expired": 3}


def test_a_stop_works_before_the_next_request(world, planned):
    cohort_id = planned()

    class StopsInTheMiddle(Faulty):
        def hand_over(self, letters, *rest):
            if len(self.reached) == 50:
                with world.engine.begin() as conn:
                    stop_sending(conn, None, reason="wrong price", actor="ada", now=GREETING)
            super().hand_over(letters, *rest)

    provider = StopsInTheMiddle()
    deliver(world, cohort_id, provider)
    assert len(provider.reached) == 100  # the request under way ends; the next one does not begin
    assert outcomes(world) == {"accepted": 100, "withheld stopped": 20}
    with world.engine.begin() as conn:
        assert lift_stop(conn, None, reason="corrected", actor="ada", now=GREETING)
    deliver(world, cohort_id, provider)
    assert len(provider.reached) == 100


def test_hostile_names_stay_names(world, planned):
    cohort_id = planned(
        1, name="<script>x</script>\r\nBcc: all@example.com {{ coupon.code }} {% raw %} 🎂\x07", phone=None
    )
    deliver(world, cohort_id, channel="email")
    ((subject, html, text),) = world.rows("select subject, html, text from outbox")
    assert "\n" not in subject and "\r" not in subject
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "{{ coupon.code }}" in text


def test_an_unwritable_letter_is_refused_and_the_others_go(world, planned, monkeypatch):
    from retention.delivery.render import Renderer
    from retention.errors import RenderError

    write = Renderer.write

    def fail_for_one(self, row, **rest):
        if row.customer_id == "c003":
            raise RenderError("template birthday/greeting (sms, zh-CN): 'x' is undefined")
        return write(self, row, **rest)

    monkeypatch.setattr(Renderer, "write", fail_for_one)
    cohort_id = planned(10)
    deliver(world, cohort_id)
    assert world.count("outbox") == 9
    assert world.count("outcomes", kind="refused") == 1


def test_the_text_is_that_of_the_moment_of_decision(world, planned):
    cohort_id = planned(1)
    world.change_customer("c000", GREETING + timedelta(minutes=5), name="Renamed")
    deliver(world, cohort_id, at=GREETING + timedelta(minutes=10))
    ((text,),) = world.rows("select text from outbox")
    assert "Name c000" in text and "Renamed" not in text


WORKER = """
import sys, time
sys.path.insert(0, sys.argv[4])
from datetime import datetime
from retention.delivery.channels.outbox import OutboxProvider
from retention.delivery.batch_worker import Errand
from retention.delivery.deliver import deliver_step
from retention.orchestration import cohort
from retention.store.database import connect

engine, cohort_id, at, pause = connect(sys.argv[1]), int(sys.argv[2]), datetime.fromisoformat(sys.argv[3]), float(sys.argv[5])

class Slow(OutboxProvider):
    def hand_over(self, letters, *rest):
        print("asked", flush=True)
        time.sleep(pause)
        super().hand_over(letters, *rest)
        print("accepted", flush=True)
        time.sleep(pause)

version = cohort.pinned_version(engine, cohort_id)
deliver_step(engine, Errand(version, cohort_id, "greeting", "sms"), provider=Slow(engine, lambda: at), clock=lambda: at)
"""


@pytest.mark.parametrize("moment", ["before the call", "after acceptance"])
def test_kill_9_in_mid_send(world, planned, database_url, moment):
    cohort_id = planned()
    from retention.store.database import ROOT

    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            WORKER,
            database_url,
            str(cohort_id),
            GREETING.isoformat(),
            str(ROOT / "plugins"),
            "0.3",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    wanted = "asked" if moment == "before the call" else "accepted"
    seen = 0
    for line in process.stdout:
        seen += line.strip() == wanted
        if seen == 2:  # in the second of three batches
            break
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    accepted = world.count("outbox")
    assert accepted == (50 if moment == "before the call" else 100)
    assert world.count("batches", state="sending") == 1
    deliver(world, cohort_id)
    assert world.count("outbox") == 120
    assert outcomes(world) == {"accepted": 120}
    assert world.count("batches", state="done") == 3
