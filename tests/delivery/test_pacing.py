"""What the workers of an account share: a rate, pauses, a circuit, a day's budget."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from retention.delivery import pacing
from retention.delivery.channels.base import Provider, read_wait
from retention.delivery.http import Answer
from retention.delivery.pacing import HEADROOM, OPENS_AT, SharedGate, find_pause
from retention.errors import ProviderPaused
from retention.insight.status import stop_sending
from tests.world import shanghai

NOW = shanghai("2026-12-01 10:00")
FAILED = Answer("answered", 503)
FINE = Answer("answered", 201)


class Account(Provider):
    name = "twilio"
    account = "twilio:retention_sms"

    def __init__(self, per_second=None, segments_per_day=None):
        self.per_second, self.segments_per_day = per_second, segments_per_day

    def hand_over(self, letters, gate, receive):
        raise NotImplementedError


@pytest.fixture
def gate(world):
    def gate(per_second=None, segments_per_day=None):
        return SharedGate(world.engine, Account(per_second, segments_per_day), channel="sms", journey="j")

    return gate


def test_without_a_rate_everybody_goes_at_once(gate):
    it = gate()
    it.enter()
    assert it.ask_turn([1] * 50).count == 50


def collect(it, count, costs=1):
    """When each of so many requests may begin."""
    moments, left = [], count
    while left:
        turn = it.ask_turn([costs] * left)
        if not turn.count:
            time.sleep(max(0.0, turn.starts_at - time.monotonic()))
            continue
        moments += [turn.starts_at + n * turn.spacing_s for n in range(turn.count)]
        left -= turn.count
    return moments


def test_workers_share_one_rate(gate):
    gates = [gate(per_second=200) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        moments = sorted(m for found in pool.map(lambda it: collect(it, 100), gates) for m in found)
    # In no second more than the rate allows, and little of it unused.
    for i, moment in enumerate(moments):
        assert sum(moment <= m < moment + 1 for m in moments[i : i + 250]) <= 200
    assert 399 / (moments[-1] - moments[0]) > 200 * HEADROOM * 0.9


def test_a_turn_is_short_and_counts_segments(gate):
    it = gate(per_second=100)
    assert it.ask_turn([1] * 50).count == int(100 * HEADROOM * pacing.SLICE_S)
    assert it.ask_turn([3] * 50).count == int(100 * HEADROOM * pacing.SLICE_S / 3)


def test_a_slow_rate_still_moves(gate):
    turn = gate(per_second=0.5).ask_turn([4] * 3)
    assert turn.count == 1


def test_retry_after_is_everybodys(gate, world, monkeypatch):
    one, other = gate(), gate()
    one.enter()
    one.note(Answer("answered", 429, {"retry-after": "120"}))
    assert one.ask_turn([1]).is_end and one.is_down
    with pytest.raises(
        ProviderPaused, match="twilio:retention_sms: nothing goes out for the next 120 s: 429"
    ) as caught:
        other.enter()
    assert 115 < caught.value.wait_s <= 120
    with world.engine.connect() as conn:
        assert 115 < find_pause(conn, Account.account) <= 120 and find_pause(conn, "another") == 0


def test_a_short_wait_is_waited_for(gate):
    it = gate()
    it.note(Answer("answered", 429, {"retry-after": "0.3"}))
    began = time.monotonic()
    it.enter()
    assert 0.25 < time.monotonic() - began < 5 and not it.is_down


def test_a_circuit_opens_after_failures_in_a_row_and_one_worker_tries(gate, world, monkeypatch):
    monkeypatch.setattr(pacing, "SHORTEST_S", 0.2)
    one, other = gate(), gate()
    for _ in range(OPENS_AT - 1):
        one.note(FAILED)
    one.note(FINE)
    for _ in range(OPENS_AT - 1):
        one.note(FAILED)
    assert one.ask_turn([1]).count == 1
    one.note(Answer("in_doubt", error="no answer (libcurl 28)"))
    assert one.ask_turn([1]).is_end
    with pytest.raises(ProviderPaused, match="it keeps failing"):
        other.enter()
    time.sleep(0.25)
    one.enter()
    with pytest.raises(ProviderPaused):
        other.enter()  # only one tries
    one.note(FINE)
    one.leave()
    other.enter()
    assert world.rows("select failures, openings, open_until, error from provider_accounts") == [(0, 0, None, None)]


def test_it_opens_for_longer_each_time(gate, world, monkeypatch):
    monkeypatch.setattr(pacing, "SHORTEST_S", 10)
    monkeypatch.setattr(pacing, "LONGEST_S", 35)
    it, waits = gate(), []
    for _ in range(4):
        for _ in range(OPENS_AT):
            it.note(FAILED)
        with world.engine.connect() as conn:
            waits.append(round(find_pause(conn, Account.account)))
        with world.engine.begin() as conn:
            conn.exec_driver_sql("update provider_accounts set open_until = clock_timestamp()")
        it.enter()  # tries again, in vain
    assert waits == [10, 20, 35, 35]


def test_what_many_hear_of_one_outage_opens_it_once(gate, world, monkeypatch):
    monkeypatch.setattr(pacing, "SHORTEST_S", 10)
    for it in [gate() for _ in range(4)]:
        for _ in range(10 * OPENS_AT):
            it.note(FAILED)
        it.leave()
        assert it.is_down
    with world.engine.connect() as conn:
        assert 9 < find_pause(conn, Account.account) <= 10
    assert world.rows("select openings from provider_accounts") == [(1,)]


def test_failures_of_several_batches_add_up(gate):
    for n in range(OPENS_AT):
        it = gate()
        it.enter()
        it.note(FAILED)
        it.leave()
        assert it.is_down is (n == OPENS_AT - 1)


def test_a_success_between_starts_the_count_anew(gate):
    for _ in range(3):
        for _ in range(OPENS_AT - 1):
            it = gate()
            it.enter()
            it.note(FAILED)
            it.leave()
        it = gate()
        it.enter()
        it.note(FINE)
        it.leave()
    it.enter()


def test_a_day_s_segments_are_used_up(gate, world):
    it = gate(segments_per_day=10)
    it.enter()
    assert it.ask_turn([4, 4, 4]).count == 2  # a turn shrinks to what is left
    assert it.ask_turn([3]).is_end and it.is_down
    assert it.ask_turn([2]).is_end  # for the rest of this batch
    with pytest.raises(ProviderPaused, match="the 10 segments of the day are used up"):
        it.enter()  # the next one does not fit: nothing is tried again and again
    other = gate(segments_per_day=10)
    other.enter()
    assert other.ask_turn([2]).count == 1
    it = other
    with pytest.raises(ProviderPaused, match="the 10 segments of the day are used up"):
        it.enter()
    with world.engine.begin() as conn:
        conn.exec_driver_sql("update provider_accounts set used_on = used_on - 1")
    it.enter()


def test_a_stop_is_seen_before_the_next_request(gate, world, monkeypatch):
    monkeypatch.setattr(pacing, "STOP_LOOK_S", 0)
    it = gate()
    it.enter()
    assert it.ask_turn([1]).count == 1
    with world.engine.begin() as conn:
        stop_sending(conn, "another", reason="x", actor="ada", now=NOW)
    assert it.ask_turn([1]).count == 1
    with world.engine.begin() as conn:
        stop_sending(conn, "j", reason="wrong price", actor="ada", now=NOW)
    assert it.ask_turn([1]).is_end and it.is_stopped


def test_a_stop_is_heard_before_the_next_request_begins(gate, world):
    """Long before the look each second."""
    it, other = gate(), gate()
    try:
        it.enter()
        assert it.ask_turn([1] * 50).count == 50 and it.may_begin()
        with world.engine.begin() as conn:
            stop_sending(conn, "another", reason="x", actor="ada", now=NOW)
        time.sleep(0.05)
        assert it.may_begin()
        with world.engine.begin() as conn:
            stop_sending(conn, None, reason="wrong price", actor="ada", now=NOW)
        time.sleep(0.05)
        assert not it.may_begin() and it.is_stopped and it.ask_turn([1]).is_end
        assert other.may_begin()  # has not entered yet: what is handed over then is checked against the stops themselves
    finally:
        it.close()


def test_who_says_429_without_a_moment_is_left_alone_for_longer_each_time(gate, world, monkeypatch):
    monkeypatch.setattr(pacing, "PATIENCE_S", 0)
    it, waits = gate(), []
    for said in ({}, {"retry-after": "-5"}, {"retry-after": "soon"}, {}, {}):
        it.is_down = False
        for _ in range(3):  # all that was under way
            it.note(Answer("answered", 429, said))
        with pytest.raises(ProviderPaused) as caught:
            it.enter()
        waits.append(round(caught.value.wait_s))
        with world.engine.begin() as conn:
            conn.exec_driver_sql("update provider_accounts set blocked_until = null")
    assert waits == [1, 2, 4, 8, 16]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "120"}, 120),
        ({"retry-after": "90000"}, 86400),
        ({"retry-after": "Tue, 01 Dec 2026 10:00:30 GMT", "date": "Tue, 01 Dec 2026 10:00:00 GMT"}, 30),
        ({"retry-after": "Tue, 01 Dec 2026 09:00:00 GMT", "date": "Tue, 01 Dec 2026 10:00:00 GMT"}, None),
        ({"retry-after": "Tue, 01 Dec 2026 10:00:30 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_how_long_a_provider_wants_to_be_left_alone(headers, expected):
    assert read_wait(headers) == expected
