"""Conditions of a step: what SQL answers for a cohort is what a plain reading of the facts says of each."""

import json
import random
from datetime import timedelta

import pytest
from sqlalchemy import text

from retention.delivery import conditions
from retention.journey.conditions import OUTCOMES, Condition
from retention.journey.load import load_version
from retention.journey.models import Step
from retention.orchestration import cohort
from retention.store.queries import look_as_of
from tests.delivery.test_plan import AT, GREETING, LAST_DAY, deliver, plan
from tests.world import DAY, LONG_AGO, example

SEEN = LAST_DAY
HOUR = timedelta(hours=1)
TIERS = ("diamond", "gold", "silver", "potential")
PEOPLE = [f"c{n:02}" for n in range(24)]


def parse(*written) -> tuple[Condition, ...]:
    send = {"template": "birthday/last_day", "channels": ["sms"]}
    return Step.model_validate({"id": "it", "at": "day 6, 10:00", "only_if": list(written), "send": send}).only_if


def ask(world, cohort_id, *written, seen_at=SEEN) -> set[str]:
    """For whom the conditions hold, as of the last day's moment."""
    with world.engine.connect() as conn:
        conn.execute(
            text(
                "create temporary table planned_people on commit drop as select enrollment_id, customer_id, arm, entered_at"
                " from enrollments where cohort_id = :cohort_id"
            ),
            {"cohort_id": cohort_id},
        )
        look_as_of(conn, seen_at, zone="Asia/Shanghai")
        assert conditions.answer(conn, {"seen_at": seen_at, "due_at": seen_at}, parse(*written))
        found = conn.execute(
            text("select customer_id from planned_conditions join planned_people using (enrollment_id) where node = 0")
        )
        return {customer_id for (customer_id,) in found}


@pytest.fixture
def cohort_id(world):
    for customer_id in PEOPLE:
        world.customer(customer_id, "12-04", attributes={"level": customer_id[-1]})
    made = cohort.enroll(world.engine, example(holdout="0%"), AT, clock=lambda: AT)
    plan(world, made.cohort_id)
    deliver(world, made.cohort_id)
    return made.cohort_id


def order(world, number, customer_id, at, recorded=None, status=None, category="coffee"):
    world.add("orders", order_id=f"o{number}", customer_id=customer_id, occurred_at=at, recorded_at=recorded or at)
    world.add(
        "order_items", order_id=f"o{number}", line=1, category=category, quantity=1, amount=9, currency="CNY",
        recorded_at=recorded or at,
    )  # fmt: skip
    if status:
        world.add("order_status", order_id=f"o{number}", status=status, occurred_at=at, recorded_at=recorded or at)


def test_conditions_are_what_a_plain_reading_of_the_facts_says(world, cohort_id):
    draw = random.Random(7)
    orders, events, tiers, churn, outcomes = [], [], {}, {}, []
    message_of = dict(world.rows("select customer_id, message_id from messages join enrollments using (enrollment_id)"))

    def moment():
        at = SEEN + draw.choice([-90, -40, -9, -6.1, -5, -1, -0.01, 0, 0.01, 2]) * DAY
        return at, at + draw.choice([0, 0, 0, 3, 100]) * DAY

    for number in range(70):
        who, (at, known), category = draw.choice(PEOPLE), moment(), draw.choice(["coffee", "tea"])
        status = draw.choice([None, "paid", "cancelled"])
        order(world, number, who, at, known, status, category)
        orders.append((who, at, known, status, category))
        who, (at, known), kind = draw.choice(PEOPLE), moment(), draw.choice(["login", "complaint_opened", "review"])
        world.add("events", customer_id=who, kind=kind, occurred_at=at, recorded_at=known)
        events.append((who, at, known, kind))
    for who in PEOPLE[:16]:
        since = SEEN + draw.choice([-30, -1, 1]) * DAY
        tiers[who] = draw.choice(TIERS), since
        world.add("tiers", customer_id=who, scheme="six", tier=tiers[who][0], previous=None, since=since)
        churn[who] = draw.choice(["active", "warning", "churned"]), since
        world.add("churn", customer_id=who, state=churn[who][0], previous=None, since=since, score=50)
    for number in range(40):
        who, (at, known), kind = draw.choice(PEOPLE), moment(), draw.choice(["opened", "clicked", "replied", "bounced"])
        is_machine = draw.random() < 0.3
        world.add(
            "outcomes", message_id=message_of[who], kind=kind, is_machine=is_machine, event_key=number,
            occurred_at=at, recorded_at=known,
        )  # fmt: skip
        outcomes.append((who, at, known, kind, is_machine))
    known_order = [it for it in orders if it[1] <= SEEN and it[2] <= SEEN]

    def begins(when):
        if when == "since entry":
            return AT
        return LONG_AGO if when == "ever" else SEEN - int(when.split()[1][:-1]) * DAY

    def holds(who, written) -> bool:
        [(key, said)] = written.items()
        if key == "any":
            return any(holds(who, it) for it in said)
        if key == "none":
            return not any(holds(who, it) for it in said)
        if key == "ordered":
            return any(it[0] == who and it[3] != "cancelled" and it[1] >= begins(said) for it in known_order)
        if key == "bought":
            start = begins(said.get("when", "ever"))
            return any(
                it[0] == who and it[3] != "cancelled" and it[1] >= start and it[4] in said["category"] for it in known_order
            )
        if key == "event":
            start = begins(said.get("when", "since entry"))
            return any(
                it[0] == who and it[3] in said["kind"] and start <= it[1] <= SEEN and it[2] <= SEEN for it in events
            )
        if key in ("tier", "churn"):
            found = {"tier": tiers, "churn": churn}[key].get(who)
            return bool(found) and found[0] in said and found[1] <= SEEN
        if key == "attribute":
            return who[-1] in said["level"]
        return any(
            it[0] == who and it[3] in OUTCOMES[key] and it[1] <= SEEN and it[2] <= SEEN and not it[4] for it in outcomes
        )

    def leaf():
        when = draw.choice(["since entry", "ever", "within 10d"])
        return draw.choice([
            {"ordered": when}, {"bought": {"category": draw.choice([["tea"], ["coffee", "tea"]]), "when": when}},
            {"event": {"kind": draw.choice([["login"], ["review", "complaint_opened"]]), "when": when}},
            {"tier": draw.sample(TIERS, 2)}, {"churn": [draw.choice(["active", "warning", "churned"])]},
            {"attribute": {"level": draw.sample("0123456789", 4)}}, {draw.choice(["opened", "clicked", "replied"]): "greeting"},
        ])  # fmt: skip

    def tree(depth):
        if depth == 0 or draw.random() < 0.4:
            return leaf()
        return {draw.choice(["any", "none"]): [tree(depth - 1) for _ in range(draw.randint(1, 3))]}

    sizes = set()
    for _ in range(80):
        written = [tree(2) for _ in range(draw.randint(1, 2))]
        expected = {who for who in PEOPLE if all(holds(who, it) for it in written)}
        assert ask(world, cohort_id, *written) == expected, written
        sizes.add(len(expected))
    assert len(sizes) > 8, "the draws tell people apart"


def test_scores_by_value_and_stratum_and_who_somebody_is(world, cohort_id):
    world.add("strata", customer_id="c01", stratum=1, previous=None, basis="purchases", value=900, since=SEEN - DAY)
    world.add("strata", customer_id="c02", stratum=4, previous=None, basis="purchases", value=9, since=SEEN - DAY)
    assert ask(world, cohort_id, {"stratum": [1, 2]}) == {"c01"}
    assert ask(world, cohort_id, {"value": {"min": 1}}) == set(), "nobody has a value yet"
    world.change_customer("c03", LONG_AGO, country="US", locale="en")
    assert ask(world, cohort_id, {"country": ["US"]}) == ask(world, cohort_id, {"locale": "en"}) == {"c03"}
    assert ask(world, cohort_id, {"accepted": "greeting"}) == set(PEOPLE)
    assert ask(world, cohort_id, {"accepted": "last_day"}) == set()


def test_a_step_goes_to_those_for_whom_all_hold(world, cohort_id):
    only = 'only_if: [{none: [{ordered: since entry}]}, {attribute: {level: ["1", "2", "3"]}}]'
    for number, who in enumerate(["c01", "c04"]):
        order(world, number, who, GREETING)
    version = example(holdout="0%", exit_when="[]")
    content = dict(version.content)
    path = "journeys/birthday_care.yaml"
    content[path] = content[path].replace("only_if: coupon_unused", only)
    later = cohort.enroll(world.engine, load_version(content), AT, mode="test", clock=lambda: AT)
    assert later.is_joined, "the same cohort: it keeps the text it entered on"
    with world.engine.begin() as conn:
        conn.execute(text("update journey_versions set content = :content"), {"content": json.dumps(content)})
    plan(world, cohort_id, "last_day", at=LAST_DAY)
    got = {who for who, (decision, _, _) in world.decisions("last_day").items() if decision == "send"}
    assert got == {"c02", "c03", "c11", "c12", "c13", "c21", "c22", "c23"}
    assert world.decisions("last_day")["c01"][2] == "not_needed"


def test_sent_is_what_went_out_or_is_to(world, cohort_id):
    message_of = dict(world.rows("select customer_id, message_id from messages join enrollments using (enrollment_id)"))
    with world.engine.begin() as conn:
        conn.execute(text("delete from outcomes"))
    for who, kind, reason in (
        ("c01", "accepted", None), ("c02", "withheld", "exited"), ("c03", "refused", "invalid"), ("c04", "refused", "unaccounted"),
    ):  # fmt: skip
        at = GREETING + HOUR
        world.add("outcomes", message_id=message_of[who], kind=kind, reason=reason, occurred_at=at, recorded_at=at)
    assert ask(world, cohort_id, {"sent": "greeting"}) == set(PEOPLE) - {"c02", "c03"}, "all others are to get it"
    assert ask(world, cohort_id, {"none": [{"sent": "greeting"}]}) == {"c02", "c03"}
    assert ask(world, cohort_id, {"sent": "last_day"}) == set()
