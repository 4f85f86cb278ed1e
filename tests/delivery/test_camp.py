"""The new-customer camp, played day by day: who gets what on which day, and nobody two things on one."""

from collections import defaultdict
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from retention.journey.files import read_files
from retention.journey.policy import read_policy
from retention.orchestration import cohort
from retention.orchestration.replay import replay
from retention.store.database import ROOT
from retention.store.scratch import scratch_store
from tests.world import DAY, SHANGHAI, shanghai, shipped

RULES = read_policy(read_files(ROOT / "include"))
FIRST = date(2026, 12, 1)
NOON = shanghai("2026-12-01 14:00")
RECEIVED = shanghai("2026-12-01 12:40")
NEW_YORK = ZoneInfo("America/New_York")
STEPS = ["thanks", "first_use", "points", "coupon", "questions", "upkeep", "adviser", "know_how", "community"]
SERVICE = ["thanks", "first_use", "questions", "upkeep", "know_how"]
HOUR = timedelta(hours=1)


@pytest.fixture
def buyer(world):
    def buyer(name, at=RECEIVED, **who):
        world.customer(name, **who)
        world.order(f"o_{name}", name, at - 3 * DAY)
        status(world, f"o_{name}", "paid", at - 3 * DAY)
        status(world, f"o_{name}", "delivered", at)
        return name

    return buyer


def status(world, order_id, what, at):
    world.add("order_status", order_id=order_id, status=what, occurred_at=at, recorded_at=at)


def play(world, *, days=9, holdout="0%", **changes):
    """name -> [(step, decision or why not, when handed over)], in the order of time, as the replay decided."""
    versions = {"new_customer_camp": shipped("new_customer_camp", holdout=holdout, **changes)}
    found = defaultdict(list)
    with scratch_store(world.engine, as_it_happened=True) as scratch:
        done = replay(scratch, versions, FIRST, FIRST + timedelta(days=days), policy=RULES)
        with scratch.connect() as conn:
            rows = conn.execute(
                text(
                    "select e.customer_id, m.step, coalesce(o.reason, m.reason, o.kind) as what, o.occurred_at"
                    " from messages m join enrollments e using (enrollment_id) left join outcomes o using (message_id)"
                    " order by m.due_at, m.step, m.attempt"
                )
            )
            for customer_id, *rest in rows:
                found[customer_id].append(tuple(rest))
            words = "select m.step, o.text from outbox o join messages m using (message_id) where o.locale = 'zh-CN'"
            tips = [
                body
                for step, body in conn.execute(text(words))
                if step in ("thanks", "first_use", "upkeep", "know_how")
            ]
    assert all("咖啡" in body for body in tips), "about what was bought"
    assert done.troubles == []
    return found


def sent(of):
    return [step for step, what, _ in of if what == "accepted"]


def test_the_whole_camp_one_thing_a_day(world, buyer):
    buyer("ann")
    buyer("bob", shanghai("2026-12-01 20:05"))
    buyer("abroad", country="US", timezone="America/New_York", locale="en")
    found = play(world)
    for name in ("ann", "bob", "abroad"):
        assert sent(found[name]) == [it for it in STEPS if it != "questions"], name
        assert {what for step, what, _ in found[name] if step == "questions"} == {"not_needed"}
    for name, zone in (("ann", SHANGHAI), ("bob", SHANGHAI), ("abroad", NEW_YORK)):
        days = [at.astimezone(zone).date() for _, what, at in found[name] if what == "accepted"]
        assert len(set(days)) == len(days) == 8, name
    [(_, _, thanked)] = [it for it in found["ann"] if it[0] == "thanks"]
    assert thanked == shanghai("2026-12-01 14:30"), "half an hour after the next cohort"
    [(_, _, thanked)] = [it for it in found["bob"] if it[0] == "thanks"]
    assert thanked == shanghai("2026-12-02 08:30")


def test_thanks_come_within_a_day_whenever_the_parcel_came(world, buyer):
    moments = {f"h{hour:02}": shanghai(f"2026-12-01 {hour:02}:07") for hour in range(24)}
    for name, at in moments.items():
        buyer(name, at)
    found = play(world, days=1)
    for name, at in moments.items():
        [thanked] = [when for step, what, when in found[name] if (step, what) == ("thanks", "accepted")]
        assert timedelta() < thanked - at < DAY, name


def test_who_gets_less(world, buyer):
    buyer("no", consent=())
    buyer("again")
    world.order("o2", "again", shanghai("2026-12-03 20:00"))
    buyer("refunded")
    status(world, "o_refunded", "refunded", shanghai("2026-12-03 09:00"))
    buyer("complains")
    at = shanghai("2026-12-05 11:00")
    world.add("events", customer_id="complains", kind="complaint_opened", occurred_at=at, recorded_at=at)
    found = play(world)
    assert sent(found["no"]) == SERVICE, "who may get no marketing"
    assert sent(found["again"]) == ["thanks", "first_use", "points", "questions", "upkeep", "know_how"]
    assert {what for step, what, _ in found["again"] if step in ("coupon", "adviser", "community")} == {"exited"}
    assert sent(found["refunded"]) == ["thanks", "first_use"], "a refund ends everything"
    assert sent(found["complains"]) == ["thanks", "first_use", "points", "coupon", "upkeep"], "so does a complaint"
    assert {what for _, what, when in found["refunded"] if when is None} == {"exited"}


def test_the_holdout_gets_the_service(world, buyer):
    for number in range(12):
        buyer(f"c{number}")
    versions = shipped("new_customer_camp", holdout="50%")
    made = cohort.enroll(world.engine, versions, NOON, clock=lambda: NOON)
    assert 0 < made.holdout < 12
    for step, day in (("points", 2), ("upkeep", 4)):
        cohort.plan(world.engine, made.cohort_id, step, policy=RULES, clock=lambda day=day: NOON + day * DAY)
    assert {what for what, *_ in world.decisions("upkeep").values()} == {"send"}
    assert [reason for _, _, reason in world.decisions("points").values()].count("holdout") == made.holdout


def test_what_is_held_up_until_another_steps_day_is_withheld(world, buyer):
    buyer("ann")
    version = shipped("new_customer_camp", holdout="0%")
    made = cohort.enroll(world.engine, version, NOON, clock=lambda: NOON)
    day_1, day_2 = shanghai("2026-12-02 10:00"), shanghai("2026-12-03 10:00")
    for step, at in (("first_use", day_1), ("points", day_2)):
        cohort.plan(world.engine, made.cohort_id, step, policy=RULES, clock=lambda at=at: at)
    with world.engine.begin() as conn:  # the provider was down for a day, and the step had time
        conn.execute(text("update messages set not_after = :at"), {"at": day_2 + DAY})
    for step in ("points", "first_use"):
        for channel in ("sms", "email"):
            cohort.deliver(world.engine, made.cohort_id, step, channel, clock=lambda: day_2 + HOUR)
    outcomes = dict(
        world.rows("select step, coalesce(o.reason, o.kind) from outcomes o join messages using (message_id)")
    )
    assert outcomes == {"points": "accepted", "first_use": "frequency_cap"}


def test_a_step_that_is_made_up_keeps_to_one_a_day(world, buyer):
    buyer("ann")
    version = shipped("new_customer_camp", holdout="0%")
    late = shanghai("2026-12-04 17:00")
    made = cohort.enroll(world.engine, version, NOON, clock=lambda: NOON)
    for step in ("questions", "coupon"):  # after an outage, in the wrong order
        cohort.plan(world.engine, made.cohort_id, step, policy=RULES, clock=lambda: late)
    assert world.decisions("questions")["ann"][0] == "send"
    assert world.decisions("coupon")["ann"] == ("skip", "email", "frequency_cap")
