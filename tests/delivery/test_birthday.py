"""The shipped birthday care: a present by tier, one reminder to who has not used it, thanks to who has."""

from datetime import timedelta

import pytest

from retention.journey.files import read_files
from retention.journey.policy import read_policy
from retention.orchestration import cohort
from retention.store.database import ROOT
from tests.delivery.test_plan import AT, GREETING, deliver, plan
from tests.world import DAY, shanghai, shipped

RULES = read_policy(read_files(ROOT / "include"))
MOMENTS = {
    "greeting": GREETING,
    "last_day": shanghai("2026-12-07 10:00"),
    "thanks": shanghai("2026-12-09 10:00"),
}
ENDS = shanghai("2026-12-08 23:59:59")


class Birthday:
    """A cohort played step by step; `between` is called before each step that follows."""

    def __init__(self, world, holdout="0%"):
        self.world = world
        self.version = shipped("birthday_care", holdout=holdout)
        self.cohort_id = cohort.enroll(world.engine, self.version, AT, clock=lambda: AT).cohort_id

    def go(self, *steps):
        for step in steps:
            plan(self.world, self.cohort_id, step, MOMENTS[step], policy=RULES)
            deliver(self.world, self.cohort_id, step, MOMENTS[step])

    def code(self, name):
        return self.world.rows("select code from coupons where customer_id = :name", name=name)[0][0]

    def got(self):
        rows = self.world.rows(
            "select customer_id, m.step, coalesce(m.reason, m.decision) from messages m"
            " join enrollments using (enrollment_id) order by m.due_at"
        )
        found = {}
        for name, step, what in rows:
            found.setdefault(name, {})[step] = what
        return found


def test_who_used_it_is_thanked_who_has_not_is_reminded_who_ordered_without_is_left_alone(world):
    names = ("used", "used_late", "took_it_back", "without", "waits", "left", "early")
    for name in names:
        world.customer(name, "12-04")
    world.order("o0", "early", AT + timedelta(hours=2))
    birthday = Birthday(world)
    birthday.go("greeting")
    third = GREETING + 2 * DAY
    world.order("o1", "used", third, coupon=birthday.code("used").lower())
    world.order("o2", "without", third)
    world.order("o3", "took_it_back", third, coupon=birthday.code("took_it_back"))
    world.add("order_status", order_id="o3", status="cancelled", occurred_at=third, recorded_at=third)
    world.consent("left", "sms", False, third)
    birthday.go("last_day")
    world.order("o4", "used_late", ENDS - timedelta(hours=1), coupon=birthday.code("used_late"))
    birthday.go("thanks")
    assert birthday.got() == {
        "used": {"greeting": "send", "last_day": "not_needed", "thanks": "send"},
        "used_late": {"greeting": "send", "last_day": "send", "thanks": "send"},
        "took_it_back": {"greeting": "send", "last_day": "not_needed", "thanks": "not_needed"},
        "without": {"greeting": "send", "last_day": "not_needed", "thanks": "not_needed"},
        "waits": {"greeting": "send", "last_day": "send", "thanks": "not_needed"},
        "left": {"greeting": "send", "last_day": "exited", "thanks": "exited"},
        # An order of that morning is no reason to forget a birthday; it is one to offer no more.
        "early": {"greeting": "send", "last_day": "not_needed", "thanks": "not_needed"},
    }


@pytest.mark.parametrize(
    ("tier", "present", "sms"),
    [("diamond", ("gift", 45), "手工马克杯一只"), ("gold", ("percent_off", 25), "7.5折券"), ("silver", ("percent_off", 20), "8折券"),
     (None, ("percent_off", 20), "8折券")],
)  # fmt: skip
def test_the_present_goes_by_tier_and_all_of_it_ends_with_the_seventh_day(world, tier, present, sms):
    world.customer("ann", "12-04", locale="zh-CN")
    if tier:
        world.add("tiers", customer_id="ann", scheme="six", tier=tier, previous=None, since=AT - DAY)
    Birthday(world).go("greeting")
    [(kind, value, until)] = world.rows("select kind, value, valid_until from coupons")
    assert (kind, value) == present and until == ENDS
    assert MOMENTS["last_day"].date() == (ENDS - DAY).date(), "the reminder comes one day before the coupon ends"
    [(said,)] = world.rows("select text from outbox")
    assert sms in said


def test_the_holdout_gets_no_coupon_and_so_no_thanks(world):
    for n in range(30):
        world.customer(f"c{n}", "12-04")
    birthday = Birthday(world, holdout="50%")
    birthday.go(*MOMENTS)
    held = {name for (name,) in world.rows("select customer_id from enrollments where arm = 'holdout'")}
    assert 5 < len(held) < 25
    assert {name for name, steps in birthday.got().items() if set(steps.values()) == {"holdout"}} == held


def test_who_can_not_be_written_to_does_not_count_for_the_lift(world):
    """No step is for people without consent, so they say nothing about what the journey achieves."""
    world.customer("silent", "12-04", consent=())
    Birthday(world)
    assert world.rows("select is_eligible, ineligible_reason from enrollments") == [(False, "no_consent")]
