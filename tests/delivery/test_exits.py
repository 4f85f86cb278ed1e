"""Exits: what ends a journey, at the plan and just before sending; the same as a plain reading of the facts."""

import random
import re
from datetime import timedelta

import pytest

from retention.journey.exits import EXITS, Exit
from retention.journey.load import load_version
from retention.journey.models import Journey
from retention.orchestration import cohort
from tests.delivery.test_plan import AT, GREETING, deliver, plan
from tests.world import DAY, example

HOUR = timedelta(hours=1)
SENT = GREETING + 4 * HOUR
WAYS = ("ordered", "refunded", "complained", "{event: [review, login]}")


def version_with(exits, *, transactional=False):
    content = dict(example(holdout="0%", exit_when=exits).content)
    if transactional:
        path = "templates/birthday/greeting/template.yaml"
        content[path] = content[path].replace("purpose: marketing", "purpose: transactional")
        journey = "journeys/birthday_care.yaml"
        content[journey] = content[journey].replace("    coupon: {kind: percent_off, value: 20, valid: 7d}\n", "", 1)
        content[journey] = content[journey].replace("    only_if: coupon_unused\n", "")
        content = {path: without_coupon(said) if path.startswith("templates/") else said for path, said in content.items()}
    return load_version(content)


def without_coupon(said):
    return re.sub(r"coupon\.\w+", "shop.name", said)


class Facts:
    """Random facts around the entry; some are known only later."""

    def __init__(self, world, seed, people):
        self.world, self.draw, self.said = world, random.Random(seed), []
        for number in range(len(people) * 3):
            who = self.draw.choice(people)
            at = AT + self.draw.uniform(-20, 50) * HOUR / 6
            known = at + self.draw.choice((0, 0, 5, 30)) * HOUR / 3
            if self.draw.random() < 0.5:
                kind = self.draw.choice(("review", "login", "view", "complaint_opened", "complaint_solved", "complaint_opened"))
                world.add("events", customer_id=who, kind=kind, occurred_at=at, recorded_at=known, data={})
                self.said.append((who, kind, number, at, known))
            else:
                world.order(f"o{number}", who, at, recorded=known)
                self.said.append((who, "placed", number, at, known))
                if self.draw.random() < 0.5:
                    word, at = self.draw.choice(("cancelled", "refunded")), at + self.draw.uniform(0, 5) * HOUR
                    known = max(known, at + self.draw.choice((0, 9)) * HOUR)
                    world.add("order_status", order_id=f"o{number}", status=word, occurred_at=at, recorded_at=known)
                    self.said.append((who, word, number, at, known))

    def left(self, way, moment):
        """By a plain reading: who has left by `way` as of the moment."""
        seen = [it for it in self.said if it[3] <= moment and it[4] <= moment]
        found = set()
        for who, what, number, at, _ in seen:
            undone = any(it[1] in ("cancelled", "refunded") and it[2] == number for it in seen)
            solved = any(it[0] == who and it[1] == "complaint_solved" and at < it[3] <= AT for it in seen)
            known = any(it[1] == "placed" and it[2] == number for it in seen)
            if (
                (way == "ordered" and what == "placed" and at >= AT and not undone)
                or (way == "refunded" and what in ("cancelled", "refunded") and at >= AT and known)
                or (way == "complained" and what == "complaint_opened" and not solved)
                or (way.startswith("{") and what in ("review", "login") and at >= AT)
            ):
                found.add(who)
        return found


@pytest.mark.parametrize("way", WAYS)
def test_exits_are_what_a_plain_reading_of_the_facts_says(world, way):
    people = [f"c{n:02}" for n in range(24)]
    for who in people:
        world.customer(who, "12-04")
    facts = Facts(world, WAYS.index(way), people)
    cohort_id = cohort.enroll(world.engine, version_with(f"[{way}]"), AT, clock=lambda: AT).cohort_id
    plan(world, cohort_id)
    planned = {who for who, (_, _, reason) in world.decisions().items() if reason == "exited"}
    assert planned == facts.left(way, GREETING)
    deliver(world, cohort_id, at=SENT)
    withheld = world.rows(
        "select customer_id from outcomes join messages using (message_id) join enrollments using (enrollment_id)"
        " where kind = 'withheld' and outcomes.reason = 'exited'"
    )
    late = facts.left(way, SENT)
    # Who ordered and took it back in between was skipped all the same.
    assert {who for (who,) in withheld} == late - planned
    assert planned and late - planned


@pytest.mark.parametrize(
    ("exits", "goes"),
    [("[ordered, goal_met]", True), ("[{ordered: everything}]", False), ("[{goal_met: everything}]", False),
     ("[{event: review, ends: everything}]", False), ("[{event: review}]", True)],
)  # fmt: skip
def test_service_goes_on_unless_everything_ends(world, exits, goes):
    world.customer("ann", "12-04")
    world.order("o1", "ann", AT + HOUR)
    world.add("events", customer_id="ann", kind="review", occurred_at=AT, recorded_at=AT, data={})
    cohort_id = cohort.enroll(world.engine, version_with(exits, transactional=True), AT, clock=lambda: AT).cohort_id
    plan(world, cohort_id)
    assert (world.decisions()["ann"][0] == "send") == goes


def test_service_is_not_withheld_either(world):
    world.customer("ann", "12-04")
    cohort_id = cohort.enroll(world.engine, version_with("[ordered]", transactional=True), AT, clock=lambda: AT).cohort_id
    plan(world, cohort_id)
    world.order("o1", "ann", GREETING + HOUR)
    deliver(world, cohort_id, at=SENT)
    assert world.count("outcomes", kind="accepted") == 1


@pytest.mark.filterwarnings("ignore:Pydantic serializer")
def test_exits_as_written():
    written = ["unsubscribed", {"refunded": "everything"}, {"event": ["review"], "ends": "everything"}, {"event": ["login"]}]
    steps = [{"id": "s", "at": "day 1, 10:00", "send": {"template": "t", "channels": ["sms"]}}]
    journey = Journey.model_validate({
        "journey": "j", "title": "J", "schedule": "0 6 * * *", "starts_on": "2026-11-01", "audience": "a",
        "exit_when": written, "steps": steps,
    })  # fmt: skip
    assert journey.exit_when[1] == Exit("refunded", (), True)
    assert journey.model_dump(mode="json")["exit_when"] == written
    assert set(EXITS) == {"unsubscribed", "goal_met", "ordered", "refunded", "complained"}


def test_an_exit_is_for_good_where_a_complaint_is_solved(world):
    world.customer("ann", "12-04")
    for number, (kind, at) in enumerate([("complaint_opened", AT + HOUR), ("complaint_solved", AT + 2 * HOUR)]):
        world.add("events", customer_id="ann", kind=kind, occurred_at=at, recorded_at=at, data={})
    world.customer("bob", "12-04")
    for number, (kind, at) in enumerate([("complaint_opened", AT - DAY), ("complaint_solved", AT - HOUR)], 2):
        world.add("events", customer_id="bob", kind=kind, occurred_at=at, recorded_at=at, data={})
    plan(world, cohort.enroll(world.engine, version_with("[complained]"), AT, clock=lambda: AT).cohort_id)
    assert {who: reason for who, (_, _, reason) in world.decisions().items()} == {"ann": "exited", "bob": None}
