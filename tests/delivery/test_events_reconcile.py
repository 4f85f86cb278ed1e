"""Doubts are settled by the provider's events, as they really come in; so are the coupons in them."""

from __future__ import annotations

from datetime import UTC

from tests.delivery.test_deliver import planned  # noqa: F401 - a fixture
from tests.delivery.test_events_interpret import event, put, status
from tests.delivery.test_reconcile import LATER, Knowing, in_doubt, lost, settle  # noqa: F401 - lost is a fixture


def test_what_waits_in_the_inbox_settles_doubts_and_their_coupons(world, lost):  # noqa: F811
    cohort_id, messages = lost
    assert world.count("coupons", state="reserved") == 10
    at = LATER.astimezone(UTC)
    known = dict(world.rows("select message_id, lower(address) from messages"))
    put(world.engine, "sendgrid", [event("delivered", it, email=known[it]) for it in messages[:6]], at=at)
    put(world.engine, "twilio_status", status("SM1", "read", known[messages[6]]), messages[6], at=at)
    done = settle(world, Knowing())
    assert (done.by_events, done.by_asking, done.left[0].count) == (7, 0, 3)
    assert world.count("coupons", state="issued") == 7 and in_doubt(world) == [("unknown", 3)]
    assert world.count("outcomes", kind="accepted", reason="settled by event read") == 1


def test_an_event_that_comes_before_the_answer_is_noted_changes_nothing(world, planned):  # noqa: F811
    """SendGrid may be faster than our own commit."""
    from tests.delivery.test_deliver import deliver, outcomes

    cohort_id = planned(2)
    [(first, address)] = world.rows("select message_id, lower(address) from messages order by 1 limit 1")
    put(world.engine, "sendgrid", [event("processed", first, email=address)], at=LATER.astimezone(UTC))
    assert settle(world, Knowing()).by_events == 0
    deliver(world, cohort_id)
    assert outcomes(world)["accepted"] == 2
