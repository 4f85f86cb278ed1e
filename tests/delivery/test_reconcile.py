"""Doubts are settled by what the provider reported or says, or by a person; never by sending."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from retention.delivery.channels.base import Provider, Receipt
from retention.delivery.reconcile import reconcile
from retention.errors import AccountRefused, BooksOpen, InDoubt
from retention.orchestration import cohort
from tests.delivery.test_deliver import GREETING, deliver, outcomes, planned  # noqa: F401 - planned is a fixture

LATER = GREETING + timedelta(hours=1)


class Knowing(Provider):
    """Loses every answer; when asked it knows the messages it is told to know."""

    name = "knowing"

    def __init__(self, known=()):
        self.known, self.asked, self.reached = set(known), [], []

    def hand_over(self, letters, gate, receive):
        self.reached += [letter.message_id for letter in letters]
        raise InDoubt("timeout")

    def look_up(self, messages):
        self.asked += messages
        return {
            it.message_id: Receipt(it.message_id, "accepted", "p1") for it in messages if it.message_id in self.known
        }


@pytest.fixture
def lost(world, planned):  # noqa: F811
    """A cohort of ten whose answers were all lost; its id and its messages."""
    cohort_id = planned(10)
    deliver(world, cohort_id, Knowing())
    assert outcomes(world) == {"unknown timeout": 10}
    return cohort_id, [row[0] for row in world.rows("select message_id from messages order by 1")]


def settle(world, provider, now=LATER, **options):
    return reconcile(world.engine, now=now, provider_of=lambda channel, mode: provider, **options)


def in_doubt(world):
    return world.rows("select state, in_doubt from batches")


def test_what_the_provider_knows_is_settled_and_the_rest_reported(world, lost):
    cohort_id, messages = lost
    provider = Knowing(messages[:7])
    done = settle(world, provider)
    assert (done.by_events, done.by_asking, done.closed) == (0, 7, 0)
    [left] = done.left
    assert (left.journey, left.cohort_id, left.step, left.channel, left.count) == (
        "birthday_care",
        cohort_id,
        "greeting",
        "sms",
        3,
    )
    assert left.message_ids == tuple(messages[7:]) and left.since == GREETING
    assert in_doubt(world) == [("unknown", 3)] and world.count("coupons", state="issued") == 7
    assert all(it.address.startswith("+") and it.batch_id == 1 for it in provider.asked)
    deliver(world, cohort_id, provider)
    assert provider.reached == [], "never sent again"
    assert settle(world, Knowing(messages)).by_asking == 3
    assert in_doubt(world) == [("done", 0)] and world.count("outcomes", kind="accepted") == 10


def test_its_events_settle_them(world, lost):
    _, messages = lost
    for message_id in messages[:4]:
        world.add("outcomes", message_id=message_id, kind="delivered", occurred_at=LATER, recorded_at=LATER)
    world.add("outcomes", message_id=messages[0], kind="opened", occurred_at=LATER, recorded_at=LATER)
    done = settle(world, Knowing())
    assert (done.by_events, [left.count for left in done.left]) == (4, [6])
    assert settle(world, Knowing()).by_events == 0


def test_it_is_not_asked_too_soon(world, lost):
    provider = Knowing(lost[1])
    done = settle(world, provider, now=GREETING + timedelta(minutes=1))
    assert provider.asked == [] and done.left[0].count == 10


def test_it_is_asked_about_the_time_since_they_were_handed_over_however_late_that_was_noticed(world, planned):  # noqa: F811
    class Dying(Knowing):
        def hand_over(self, letters, gate, receive):
            raise KeyboardInterrupt

    cohort_id = planned(10)
    with pytest.raises(KeyboardInterrupt):
        deliver(world, cohort_id, Dying())
    deliver(world, cohort_id, Knowing(), at=GREETING + timedelta(minutes=20))
    assert outcomes(world) == {"unknown its sender ended": 10}
    provider = Knowing()
    settle(world, provider)
    assert {it.sending_at for it in provider.asked} == {GREETING.timestamp()}


def test_one_cohort_alone(world, lost):
    assert settle(world, Knowing(lost[1]), cohort_id=lost[0] + 1).by_asking == 0
    assert settle(world, Knowing(lost[1]), cohort_id=lost[0]).by_asking == 10


def test_a_provider_that_can_t_be_asked_is_said_and_stops_nothing(world, lost):
    class Refusing(Knowing):
        def look_up(self, messages):
            raise AccountRefused("SendGrid refuses the key (401).")

    done = settle(world, Refusing())
    assert done.troubles == ["sms: SendGrid refuses the key (401)."] and done.left[0].count == 10


def test_a_person_gives_them_up_on_the_record(world, lost):
    cohort_id, _ = lost
    cohort.plan(world.engine, cohort_id, "last_day", clock=lambda: GREETING + timedelta(days=6))
    with pytest.raises(BooksOpen, match="10 in doubt - `retention reconcile`"):
        cohort.settle(world.engine, cohort_id, clock=lambda: LATER)
    done = settle(world, Knowing(), close_by="ada")
    assert (done.closed, done.left) == (10, [])
    assert outcomes(world)["refused unaccounted"] == 10 and in_doubt(world) == [("done", 0)]
    [(actor, action, detail)] = world.rows("select actor, action, detail from audit_log where action = 'close_doubts'")
    assert (actor, detail) == ("ada", {"messages": 10})
    with world.engine.begin() as conn:
        conn.execute(text("delete from coupons where step = 'last_day'"))
    cohort.deliver(world.engine, cohort_id, "last_day", "sms", clock=lambda: GREETING + timedelta(days=6))
    cohort.settle(world.engine, cohort_id, clock=lambda: LATER)
    assert world.rows("select status from cohorts") == [("settled",)]
