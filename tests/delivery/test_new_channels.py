"""WhatsApp and webhook end to end: a fixture journey, planned and rendered, delivered to the stub as it misbehaves.

Whatever it does, a message is in its record once at most, and what we call accepted is there.
"""

import json
import time
from collections import Counter
from contextlib import closing
from datetime import timedelta

import pytest

from retention.bench.stub import start_stub
from retention.delivery.accounts import read_account
from retention.delivery.channels.outbox import OutboxProvider
from retention.delivery.choose import open_provider
from retention.delivery.deliver import Errand, deliver_step
from retention.delivery.reconcile import reconcile
from retention.delivery.tokens import STATUS, read_signer
from retention.errors import ProviderPaused, RetryLater
from retention.orchestration import cohort
from tests.delivery.tea import accounts, make_version, read_record, set_accounts
from tests.delivery.test_channels import HOSTILE
from tests.world import shanghai

AT, DUE = shanghai("2026-11-10 06:00"), shanghai("2026-11-10 10:00")  # over: the stub tells the real time
NEW = ("whatsapp", "webhook")
FAULTS = (
    "status_500",
    "status_429",
    "cut_mid_body",
    "hang_before",
    "accept_then_hang",
    "accept_then_cut",
    "cut_mid_answer",
)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr("retention.delivery.deliver.RETRY_WAITS_S", (0.02,))
    for name, seconds in (("SHORTEST_S", 0.05), ("LONGEST_S", 0.2), ("TRIAL_S", 0.5), ("PATIENCE_S", 0.2)):
        monkeypatch.setattr(f"retention.delivery.pacing.{name}", seconds)


@pytest.fixture
def enrolled(world):
    """A planned cohort; customers take the hostile names in turn, every tenth reads English."""

    def enrolled(count, consent=NEW, **files):
        for i in range(count):
            locale = "en" if i % 10 == 9 else "zh-CN"
            name = HOSTILE[i % len(HOSTILE)]
            world.customer(f"c{i:03}", "11-13", consent=consent, locale=locale, name=name and name.replace("\x00", ""))
        made = cohort.enroll(world.engine, make_version(**files), AT, clock=lambda: AT)
        cohort.plan(world.engine, made.cohort_id, "greeting", clock=lambda: DUE)
        return made.cohort_id

    return enrolled


def deliver(world, cohort_id, channel, provider):
    errand = Errand(cohort.pinned_version(world.engine, cohort_id), cohort_id, "greeting", channel)
    return {
        (it.outcome, it.reason): it.count
        for it in deliver_step(world.engine, errand, provider=provider, clock=lambda: DUE)
    }


def sent(world, channel):
    return {
        m for (m,) in world.rows("select message_id from messages where decision = 'send' and channel = :c", c=channel)
    }


def test_both_channels_reach_everybody_once(world, enrolled, monkeypatch, tmp_path):
    cohort_id = enrolled(120)
    record = tmp_path / "record"
    with start_stub(record, at=DUE) as stub:
        set_accounts(monkeypatch, stub.url)
        for _ in range(2):
            for channel in NEW:
                with closing(open_provider(channel, read_account(channel), lambda: DUE)) as provider:
                    assert deliver(world, cohort_id, channel, provider) == {("accepted", None): 120}
        said = stub.fetch_record()
    assert (said["whatsapp"], said["webhook"], said["duplicates"]) == (120, 120, 0)
    assert read_record(record, read_signer()) == dict.fromkeys(sent(world, "whatsapp") | sent(world, "webhook"), 1)
    person = dict(world.rows("select message_id, customer_id from messages join enrollments using (enrollment_id)"))
    codes = dict(world.rows("select e.customer_id, k.code from coupons k join enrollments e using (enrollment_id)"))
    address = dict(world.rows("select message_id, address from messages"))
    for line in record.read_text().splitlines():
        told = json.loads(line)
        if told["kind"] == "webhook":
            assert told["customer_id"] == told["address"] == address[told["id"]] == person[told["id"]]
            assert codes[told["customer_id"]] in told["text"]
        else:
            message_id = read_signer().read(STATUS, told["callback"].rpartition("/")[2])
            assert told["to"] == f"whatsapp:{address[message_id]}"
            assert codes[person[message_id]] in json.loads(told["body"]).values()
    # One code a customer, whatever the number of channels.
    assert world.count("coupons", state="issued") == len(codes) == 120


@pytest.mark.parametrize("channel", NEW)
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_breaks_nobody_is_reached_twice_or_forgotten(world, enrolled, monkeypatch, tmp_path, channel, seed):
    cohort_id = enrolled(150)
    record = tmp_path / "record"
    with start_stub(record, at=DUE) as stub:
        set_accounts(monkeypatch, stub.url)
        if channel == "webhook":  # more requests, to meet more faults
            account = accounts(stub.url)["webhook", "webhook"]
            account["extra"]["batch_size"] = 4
            monkeypatch.setenv("AIRFLOW_CONN_RETENTION_WEBHOOK", json.dumps(account))
        stub.set_faults(seed=seed, **dict.fromkeys(FAULTS, 0.06))
        with closing(open_provider(channel, read_account(channel), lambda: DUE)) as provider:
            provider.client._timeout_s = 0.5
            provider.client._idle = [provider.client._make_handle() for _ in provider.client._idle]
            for attempt in range(60):
                if attempt == 40:
                    stub.set_faults()
                try:
                    deliver(world, cohort_id, channel, provider)
                except (ProviderPaused, RetryLater):
                    time.sleep(0.1)
                    continue
                if not world.rows(
                    "select 1 from batches where state <> 'done' and state <> 'unknown' and channel = :c", c=channel
                ):
                    break
        said, theirs, wanted = stub.fetch_record(), read_record(record, read_signer()), sent(world, channel)
        assert said["duplicates"] == 0 and set(theirs.values()) == {1}
        ours = Counter(
            world.rows(
                "select message_id, kind from outcomes join messages using (message_id) where channel = :c", c=channel
            )
        )
        accepted = {m for m, kind in ours if kind == "accepted"}
        doubts = {m for m, kind in ours if kind == "unknown"}
        assert accepted | doubts == wanted and accepted <= set(theirs) <= accepted | doubts
        assert doubts and len(said["faults"]) > 3, "it did misbehave"
        stub.set_faults()
        done = reconcile(
            world.engine, now=DUE + timedelta(hours=1), cohort_id=cohort_id,
            provider_of=lambda channel, mode: open_provider(channel, read_account(channel), lambda: DUE),
        )  # fmt: skip
        assert done.by_asking == len(doubts & set(theirs))
        assert stub.fetch_record()["duplicates"] == 0


def test_consent_is_each_channel_s_own(world, enrolled):
    enrolled(3, consent=("sms", "email", "webhook"))
    world.consent("c001", "whatsapp", True)
    rows = world.rows("select channel, decision, reason, count(*)::int from messages group by 1, 2, 3 order by 1, 2")
    assert ("webhook", "send", None, 3) in rows
    assert not [row for row in rows if row[0] == "whatsapp" and row[1] == "send"]


def test_a_gateway_s_refusal_suppresses_the_customer_there_alone(world, enrolled, monkeypatch):
    world.customer("refused-opted_out", "11-13", consent=NEW)
    cohort_id = enrolled(3)
    with start_stub(is_counting_repeats=True) as stub:
        set_accounts(monkeypatch, stub.url)
        for channel, expected in (
            ("webhook", {("accepted", None): 3, ("refused", "gateway opted_out"): 1}),
            ("whatsapp", {("accepted", None): 4}),
        ):
            with closing(open_provider(channel, read_account(channel), lambda: DUE)) as provider:
                assert deliver(world, cohort_id, channel, provider) == expected
    assert world.rows("select channel, address, reason from suppressions") == [
        ("webhook", "refused-opted_out", "opted_out")
    ]


def test_the_outbox_shows_what_would_have_gone_out(world, enrolled):
    cohort_id = enrolled(10)
    for channel in NEW:
        assert deliver(world, cohort_id, channel, OutboxProvider(world.engine, lambda: DUE)) == {("accepted", None): 10}
    rows = world.rows("select channel, locale, subject, text, segments from outbox")
    assert Counter(row[0] for row in rows) == {"whatsapp": 10, "webhook": 10}
    for channel, locale, subject, text, segments in rows:
        assert segments is None and text and (subject is None) is (channel == "whatsapp" or locale == "en")
