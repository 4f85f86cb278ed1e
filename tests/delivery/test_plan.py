"""Plan: one decision with one reason for everybody, once."""

from datetime import timedelta

import pytest

from retention.orchestration import cohort
from retention.store.tables import SKIP_REASONS
from tests.world import LONG_AGO, shanghai, shipped

AT = shanghai("2026-12-01 06:00")
GREETING = shanghai("2026-12-01 10:00")
LAST_DAY = shanghai("2026-12-07 10:00")


@pytest.fixture
def enter(world):
    def enter(version=None, at=AT, **options):
        return cohort.enroll(world.engine, version or shipped(holdout="0%"), at, clock=lambda: at, **options).cohort_id

    return enter


def plan(world, cohort_id, step="greeting", at=GREETING, **options):
    return cohort.plan(world.engine, cohort_id, step, clock=lambda: at, **options)


def deliver(world, cohort_id, step="greeting", at=GREETING):
    for channel in ("email", "sms"):
        cohort.deliver(world.engine, cohort_id, step, channel, clock=lambda: at)


def test_everybody_has_a_decision(world, enter):
    world.customer("both", "12-04")
    world.customer("mail_only", "12-04", consent=("email",))
    world.customer("silent", "12-04", consent=())
    world.customer("nowhere", "12-04", email="not an address", phone=None)
    world.customer("bounced", "12-04", phone=None)
    world.suppress("email", "bounced@example.com")
    plan(world, enter())
    assert world.decisions() == {
        "both": ("send", "sms", None),
        "mail_only": ("send", "email", None),
        "silent": ("skip", "sms", "no_consent"),
        "nowhere": ("skip", "sms", "no_address"),
        "bounced": ("skip", "email", "suppressed"),
    }


def test_each_channel_of_all(world, enter):
    world.customer("both", "12-04")
    world.customer("mail_only", "12-04", consent=("email",))
    content = dict(shipped(holdout="0%").content)
    path = "journeys/birthday_care.yaml"
    content[path] = content[path].replace("channels: [sms, email]", "all: [sms, email]")
    from retention.journey.load import load_version

    plan(world, enter(load_version(content)))
    sent = world.rows(
        "select customer_id, channel, role from messages join enrollments using (enrollment_id)"
        " where decision = 'send' order by 1, 2"
    )
    assert sent == [("both", "email", "also"), ("both", "sms", "first"), ("mail_only", "email", "first")]


def test_the_holdout_gets_nothing(world, enter):
    for i in range(40):
        world.customer(f"c{i}", "12-04")
    plan(world, enter(shipped(holdout="50%")))
    by_arm = dict(
        world.rows(
            "select arm || ' ' || decision || ' ' || coalesce(reason, ''), count(*)::int from messages"
            " join enrollments using (enrollment_id) group by 1"
        )
    )
    assert set(by_arm) == {"holdout skip holdout", "main send "}
    assert sum(by_arm.values()) == 40


def test_two_customers_on_one_address(world, enter):
    for name in ("a", "b"):
        world.customer(name, "12-04", email="pair@example.com", phone=None)
    plan(world, enter())
    assert sorted(world.decisions().values()) == [("send", "email", None), ("skip", "email", "duplicate_address")]


def test_a_skipped_twin_does_not_take_the_address_away(world, enter):
    world.customer("a", "12-04", email="pair@example.com", phone=None, consent=())
    world.customer("b", "12-04", email="pair@example.com", phone=None)
    plan(world, enter())
    assert world.decisions()["b"] == ("send", "email", None)


def test_planning_again_adds_nothing(world, enter):
    for i in range(20):
        world.customer(f"c{i}", "12-04", consent=("email",) if i % 2 else ())
    cohort_id = enter()
    first = plan(world, cohort_id)
    rows = world.rows("select * from messages order by message_id")
    coupons = world.rows("select code from coupons order by 1")
    for _ in range(3):
        assert plan(world, cohort_id).decided == first.decided
    assert world.rows("select * from messages order by message_id") == rows
    assert world.rows("select code from coupons order by 1") == coupons


def test_a_consent_that_comes_while_the_step_is_open_is_a_new_attempt(world, enter):
    world.customer("c", "12-04", consent=())
    cohort_id = enter()
    plan(world, cohort_id)
    world.consent("c", "sms", True, GREETING - timedelta(minutes=1))
    plan(world, cohort_id, at=GREETING + timedelta(hours=1))
    assert world.rows("select attempt, decision, reason from messages order by attempt") == [
        (1, "skip", "no_consent"),
        (2, "send", None),
    ]


def test_final_skips_stay(world, enter):
    world.customer("c", "12-04", phone=None)
    world.suppress("email", "c@example.com")
    cohort_id = enter()
    plan(world, cohort_id)
    world.add(
        "suppressions", channel="email", address="c@example.com", is_suppressed=False, reason="lifted",
        occurred_at=GREETING - timedelta(minutes=1), recorded_at=GREETING - timedelta(minutes=1),
    )  # fmt: skip
    plan(world, cohort_id, at=GREETING + timedelta(hours=1))
    assert world.decisions() == {"c": ("skip", "email", "suppressed")}
    assert world.count("messages") == 1


def test_decided_twice_from_the_same_facts_is_equal_row_for_row(world, enter, server, template_database):
    """The same company in two databases; in the second, later facts have arrived before anything is decided."""
    import uuid

    from sqlalchemy import create_engine, text

    from tests.world import World

    def build(one):
        for i in range(60):
            one.customer(
                f"c{i:02}", "12-04" if i % 3 else "12-20", consent=[(), ("email",), ("email", "sms")][i % 3 - 1]
            )
            if i % 7 == 0:
                one.order(f"o{i}", f"c{i:02}", AT + timedelta(hours=1))

    def decide(one):
        made = cohort.enroll(one.engine, shipped(holdout="20%"), AT, clock=lambda: GREETING)
        cohort.plan(one.engine, made.cohort_id, "greeting", clock=lambda: GREETING)
        return one.rows(
            "select e.customer_id, e.occurrence, e.arm, e.is_eligible, m.step, m.channel, m.attempt, m.decision,"
            " m.reason, m.address, m.locale, m.due_at, m.not_after, b.ordinal, k.kind, k.value, k.valid_until"
            " from messages m join enrollments e using (enrollment_id) left join batches b using (batch_id)"
            " left join coupons k using (coupon_id) order by e.customer_id, m.step"
        )

    build(world)
    first = decide(world)
    name = f"t_{uuid.uuid4().hex[:12]}"
    with create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT").connect() as conn:
        conn.execute(text(f"create database {name} template {template_database}"))
    other = World(create_engine(server.url(name)))
    build(other)
    later = GREETING + timedelta(hours=5)
    for i in range(60):
        other.change_customer(f"c{i:02}", later, birth_day=9, email=f"new{i}@example.com", locale="en-US", phone=None)
        other.consent(f"c{i:02}", "email", i % 2 == 0, later)
        other.order(f"later{i}", f"c{i:02}", AT + timedelta(minutes=5 + i), recorded=later)
    assert decide(other) == first
    assert {row[7] for row in first} == {"send", "skip"}
    other.engine.dispose()


def test_who_ordered_or_left_in_between_gets_no_second_step(world, enter):
    for name in ("bought", "refunded", "left", "used", "waits"):
        world.customer(name, "12-04")
    cohort_id = enter()
    plan(world, cohort_id)
    deliver(world, cohort_id)
    between = GREETING + timedelta(days=2)
    world.order("o1", "bought", between)
    world.order("o2", "refunded", between)
    world.add("order_status", order_id="o2", status="refunded", occurred_at=between, recorded_at=between)
    world.consent("left", "sms", False, between)
    (code,) = world.rows("select code from coupons where customer_id = 'used'")[0]
    world.order("o3", "used", between, coupon=code.lower())
    world.add("order_status", order_id="o3", status="refunded", occurred_at=between, recorded_at=between)
    plan(world, cohort_id, "last_day", LAST_DAY)
    assert world.decisions("last_day") == {
        "bought": ("skip", "sms", "goal_met"),
        "refunded": ("send", "sms", None),
        "left": ("skip", "email", "exited"),
        "used": ("skip", "sms", "not_needed"),
        "waits": ("send", "sms", None),
    }


def test_the_second_step_carries_the_same_code(world, enter):
    world.customer("c", "12-04")
    cohort_id = enter()
    for step, at in (("greeting", GREETING), ("last_day", LAST_DAY)):
        plan(world, cohort_id, step, at)
        deliver(world, cohort_id, step, at)
    assert world.count("coupons") == 1
    ((code, valid_until),) = world.rows("select code, valid_until from coupons")
    assert valid_until == shanghai("2026-12-08 23:59:59")  # the last day counts whole
    texts = [text for (text,) in world.rows("select text from outbox")]
    assert len(texts) == 2 and all(code in text for text in texts)


def test_after_three_days_of_outage_the_late_is_served_and_the_expired_is_counted(world, enter):
    world.customer("c", "12-04")
    cohort_id = enter()
    plan(world, cohort_id, at=GREETING + timedelta(days=1, hours=20))  # expires after 2 d
    assert world.decisions("greeting") == {"c": ("send", "sms", None)}
    world.customer("d", "12-05")
    other = enter(at=AT + timedelta(days=1))
    plan(world, other, at=GREETING + timedelta(days=3))
    assert world.decisions("greeting")["d"] == ("skip", "sms", "expired")


def test_of_what_is_made_up_nobody_gets_two_steps_a_day(world, enter):
    version = shipped(holdout="0%")
    content = dict(version.content)
    path = "journeys/birthday_care.yaml"
    content[path] = content[path].replace("day 6, 10:00", "day 1, 10:00").replace("    only_if: coupon_unused\n", "")
    from retention.journey.load import load_version

    world.customer("c", "12-04")
    cohort_id = enter(load_version(content))
    late = GREETING + timedelta(days=1, hours=4)
    plan(world, cohort_id, "greeting", late)
    deliver(world, cohort_id, "greeting", late)
    plan(world, cohort_id, "last_day", late + timedelta(hours=12))  # late, too, and on the next day: allowed
    assert world.decisions("last_day")["c"][0] == "send"
    world.customer("d", "12-05")
    second = enter(load_version(content), at=AT + timedelta(days=1))
    much_later = GREETING + timedelta(days=2, hours=23, minutes=30)
    plan(world, second, "greeting", much_later)
    plan(world, second, "last_day", much_later)
    assert world.decisions("greeting")["d"] == ("send", "sms", None)
    assert world.decisions("last_day")["d"] == ("skip", "sms", "frequency_cap")


@pytest.mark.parametrize("who", ["file", "one", "all"])
def test_a_stopped_journey_plans_nothing_to_send(world, enter, who):
    from retention.insight.status import stop_sending

    world.customer("c", "12-04")
    cohort_id = enter()
    if who != "file":
        with world.engine.begin() as conn:
            stop_sending(conn, "birthday_care" if who == "one" else None, reason="x", actor="ada", now=GREETING)
    plan(world, cohort_id, is_stopped=who == "file")
    assert world.decisions() == {"c": ("skip", "sms", "stopped")}


def test_reasons_follow_the_published_order(world, enter):
    """Somebody to whom several apply is recorded with the first."""
    world.customer("c", "12-04", consent=())
    world.suppress("email", "c@example.com")
    cohort_id = enter()
    world.order("o", "c", AT + timedelta(hours=1))
    plan(world, cohort_id, at=GREETING + timedelta(days=9))
    assert world.decisions() == {"c": ("skip", "email", "goal_met")}
    assert SKIP_REASONS.index("goal_met") < SKIP_REASONS.index("expired") < SKIP_REASONS.index("suppressed")


def test_coupon_codes_cannot_be_guessed(world, enter):
    for i in range(300):
        world.customer(f"c{i}", "12-04")
    plan(world, enter())
    codes = [code for (code,) in world.rows("select code from coupons")]
    assert len(set(codes)) == 300
    assert all(len(code) == 10 and set(code) <= set("ABCDEFGHJKLMNPQRSTUVWXYZ23456789") for code in codes)
    # Every place takes many letters: nothing of the enrollment shows through.
    assert all(len({code[place] for code in codes}) > 24 for place in range(10))


def test_two_plans_at_once_decide_once(world, enter):
    from concurrent.futures import ThreadPoolExecutor

    for i in range(100):
        world.customer(f"c{i}", "12-04")
    cohort_id = enter()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: plan(world, cohort_id), range(4)))
    assert world.count("messages", decision="send") == 100
    assert LONG_AGO < AT
