"""Plan: one decision with one reason for everybody, once."""

import random
from datetime import timedelta

import pytest
from sqlalchemy import text

from retention.bench.world import NO_RULES
from retention.delivery.channels import BATCH_SIZES
from retention.journey.load import load_version
from retention.journey.policy import Policy
from retention.orchestration import cohort
from retention.store.queries import look_as_of
from retention.store.tables import SKIP_REASONS
from tests.world import LONG_AGO, example, shanghai

AT = shanghai("2026-12-01 06:00")
GREETING = shanghai("2026-12-01 10:00")
LAST_DAY = shanghai("2026-12-07 10:00")


@pytest.fixture
def enter(world):
    def enter(version=None, at=AT, **options):
        return cohort.enroll(world.engine, version or example(holdout="0%"), at, clock=lambda: at, **options).cohort_id

    return enter


def plan(world, cohort_id, step="greeting", at=GREETING, **options):
    """By no rules of contact: those are test_contact.py's."""
    return cohort.plan(world.engine, cohort_id, step, clock=lambda: at, **{"policy": NO_RULES, **options})


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
    content = dict(example(holdout="0%").content)
    path = "journeys/birthday_care.yaml"
    content[path] = content[path].replace("channels: [sms, email]", "all: [sms, email]")
    plan(world, enter(load_version(content)))
    sent = world.rows(
        "select customer_id, channel, role from messages join enrollments using (enrollment_id)"
        " where decision = 'send' order by 1, 2"
    )
    assert sent == [("both", "email", "also"), ("both", "sms", "first"), ("mail_only", "email", "first")]


def test_the_holdout_gets_nothing(world, enter):
    for i in range(40):
        world.customer(f"c{i}", "12-04")
    plan(world, enter(example(holdout="50%")))
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

    from sqlalchemy import create_engine

    from tests.world import World

    def build(one):
        for i in range(60):
            one.customer(
                f"c{i:02}", "12-04" if i % 3 else "12-20", consent=[(), ("email",), ("email", "sms")][i % 3 - 1]
            )
            if i % 7 == 0:
                one.order(f"o{i}", f"c{i:02}", AT + timedelta(hours=1))

    def decide(one):
        made = cohort.enroll(one.engine, example(holdout="20%"), AT, clock=lambda: GREETING)
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


def test_what_was_corrected_since_counts_as_it_was_known(world, enter):
    for name in ("used", "moved", "other"):
        world.customer(name, "12-04")
    cohort_id = enter()
    plan(world, cohort_id)
    deliver(world, cohort_id)
    between, later = GREETING + timedelta(days=2), LAST_DAY + timedelta(hours=1)
    codes = dict(world.rows("select customer_id, code from coupons"))
    world.order("o1", "used", between, coupon=codes["used"])
    world.add("order_status", order_id="o1", status="refunded", occurred_at=between, recorded_at=between)
    world.order("o2", "moved", between)
    with world.engine.begin() as conn:
        conn.execute(
            text("update order_items set coupon_code = null, recorded_at = :t where order_id = 'o1'"), {"t": later}
        )
        conn.execute(
            text("update orders set customer_id = 'other', recorded_at = :t where order_id = 'o2'"), {"t": later}
        )
    plan(world, cohort_id, "last_day", later + timedelta(hours=1))
    assert world.decisions("last_day") == {
        "used": ("skip", "sms", "not_needed"),
        "moved": ("skip", "sms", "goal_met"),
        "other": ("send", "sms", None),
    }


def test_a_goal_may_be_any_event(world, enter):
    for name in ("came", "came_late", "looked"):
        world.customer(name, "12-04")
    cohort_id = enter(example(holdout="0%", goal="{event: login, within: 2d, target: 12%}"))
    plan(world, cohort_id)
    deliver(world, cohort_id)
    for name, kind, days in (("came", "login", 1), ("came_late", "login", 3), ("looked", "view", 1)):
        at = AT + timedelta(days=days)
        world.add("events", customer_id=name, kind=kind, occurred_at=at, recorded_at=at)
    plan(world, cohort_id, "last_day", LAST_DAY)
    assert {name: reason for name, (_, _, reason) in world.decisions("last_day").items()} == {
        "came": "goal_met",
        "came_late": None,
        "looked": None,
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
    version = example(holdout="0%")
    content = dict(version.content)
    path = "journeys/birthday_care.yaml"
    content[path] = content[path].replace("day 6, 10:00", "day 1, 10:00").replace("    only_if: coupon_unused\n", "")
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


def on_one_channel(channel: str, purpose: str):
    """The shipped journey with one channel, from which nobody exits."""
    changes = {"channels: [sms, email]": f"channels: [{channel}]", "purpose: marketing": f"purpose: {purpose}"}
    content = dict(example(holdout="0%", exit_when="[]").content)
    for before, after in changes.items():
        content = {path: words.replace(before, after) for path, words in content.items()}
    words = {"whatsapp": f"---\ncontent_sid: HX{'0' * 32}\n---\nHello.\n", "webhook": "Hello.\n"}.get(channel)
    for path in [path for path in content if path.endswith("sms.zh-CN.txt") and words]:
        content[path.replace("sms", channel)] = words
    return load_version(content)


def live_an_eventful_life(world, who: str, draw: random.Random) -> None:
    """Records, consents and suppressions of one customer, some learned late, some after the step was due."""

    def some_time(days: float = 20):
        return GREETING + timedelta(days=draw.uniform(-days, days / 4))

    def record(n):
        return {
            "email": draw.choice([None, "not an address", f"{who}.{n}@example.com", f"{who.upper()}.{n}@Example.com"]),
            "phone": draw.choice([None, f"+1202{n}{int(who[1:]):06}"]),
        }

    since, *changes = sorted(some_time() for _ in range(draw.randrange(1, 4)))
    world.customer(who, "12-20", consent=(), since=draw.choice([LONG_AGO, since]), **record(1))
    for n, at in enumerate(changes, start=2):
        world.change_customer(who, at, **record(n))
    at = some_time()
    for channel in BATCH_SIZES:
        for purpose in ("marketing", "transactional"):
            for _ in range(draw.choice([0, 1, 1, 2, 3])):
                at = draw.choice([at, some_time()])  # two at one moment: the one that came in later counts
                world.add(
                    "consents", customer_id=who, channel=channel, purpose=purpose, is_granted=draw.random() < 0.7,
                    source="test", occurred_at=at, recorded_at=at + timedelta(days=draw.choice([0, 0, 3])),
                )  # fmt: skip
    phone = f"+12021{int(who[1:]):06}"
    for channel, address in (("email", f"{who}.1@example.com"), ("sms", phone), ("whatsapp", phone), ("webhook", who)):
        for _ in range(draw.choice([0, 0, 1, 2])):
            at = draw.choice([at, some_time()])
            world.add(
                "suppressions", channel=channel, address=address, is_suppressed=draw.random() < 0.7, reason="bounce",
                occurred_at=at, recorded_at=at + timedelta(days=draw.choice([0, 0, 3])),
            )  # fmt: skip


@pytest.mark.parametrize("purpose", ["marketing", "transactional"])
@pytest.mark.parametrize("channel", BATCH_SIZES)
def test_a_plan_reaches_whom_as_of_reach_says(world, enter, channel, purpose):
    """The plan looks a whole cohort up at once; the view, one by one."""
    draw = random.Random(f"{channel} {purpose}")
    world.customer("first", "12-04")
    cohort_id = enter(on_one_channel(channel, purpose))
    for n in range(120):
        if n % 20:  # of the others nothing is known
            live_an_eventful_life(world, f"c{n}", draw)
        world.add(
            "enrollments", cohort_id=cohort_id, mode="test", journey="birthday_care", customer_id=f"c{n}",
            occurrence="birthday:2026", arm="main", is_eligible=True, entered_at=AT,
        )  # fmt: skip
    plan(world, cohort_id)
    with world.engine.connect() as conn:
        look_as_of(conn, GREETING)
        found = conn.execute(
            text(
                "select e.customer_id, m.reason, m.address,"
                " case when r.customer_id is null then 'no_address' else r.reason end as expected,"
                " case when r.reason is null then r.address end as expected_address"
                " from messages m join enrollments e using (enrollment_id)"
                " left join as_of.reach r on r.customer_id = e.customer_id and r.channel = m.channel"
                " and r.purpose = :purpose"
            ),
            {"purpose": purpose},
        ).all()
    assert len(found) == 121
    for row in found:
        assert (row.reason, row.address) == (row.expected, row.expected_address), row
    assert {row.reason for row in found} == {None, "suppressed", "no_consent", "no_address"}


def test_batches_rarely_mix_languages(world, enter, monkeypatch):
    monkeypatch.setattr("retention.delivery.plan.BATCH_SIZES", {"email": 5, "sms": 3})
    for n in range(40):
        consent = [("sms", "email"), ("email",), ()][n % 3]
        world.customer(f"c{n:02}", "12-04", locale=["zh-CN", "en", None, "en-GB"][n % 4], consent=consent)
    cohort_id = enter()
    plan(world, cohort_id)

    def dealt(channel):
        """(ordinal, size, locales and enrollments) of the batches, in order."""
        found = world.rows(
            "select b.ordinal, b.size, array_agg(m.locale || ' ' || lpad(m.enrollment_id::text, 9, '0') order by m.locale,"
            " m.enrollment_id) from batches b join messages m using (batch_id) where b.channel = :channel"
            " group by b.batch_id order by b.ordinal",
            channel=channel,
        )
        for _, size, members in found:
            assert size == len(members)
        return found

    for channel, size in (("sms", 3), ("email", 5)):
        batches = dealt(channel)
        assert [ordinal for ordinal, *_ in batches] == list(range(len(batches)))
        assert {one for _, one, _ in batches[:-1]} == {size}
        members = [member for *_, together in batches for member in together]
        assert members == sorted(members)  # default_locale counts as the locale it becomes
        assert {member.split()[0] for member in members} == {"zh-CN", "en", "en-GB"}
    before = dealt("email")
    for n in range(2, 40, 3):
        world.consent(f"c{n:02}", "email", True, GREETING - timedelta(minutes=1))
    plan(world, cohort_id, at=GREETING + timedelta(hours=1))
    after = dealt("email")
    assert after[: len(before)] == before
    added = [member for *_, together in after[len(before) :] for member in together]
    assert [ordinal for ordinal, *_ in after] == list(range(len(after)))
    assert len(added) == 13 and added == sorted(added)


def test_a_plan_leaves_the_settings_of_its_transaction_alone(world, enter):
    from retention.delivery.plan import plan_step

    for n in range(3):
        world.customer(f"c{n}", "12-04")
    cohort_id = enter()
    names = ("work_mem", "jit", "enable_nestloop", "enable_mergejoin")
    with world.engine.connect() as conn:
        conn.execute(text("set local work_mem = '5MB'"))
        before = [conn.scalar(text(f"show {name}")) for name in names]
        for step in ("greeting", "last_day"):  # as a dry run does
            plan_step(conn, example(holdout="0%"), cohort_id, step, policy=Policy(), now=GREETING, facts_at=GREETING)
            assert [conn.scalar(text(f"show {name}")) for name in names] == before
