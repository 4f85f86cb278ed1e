"""Preferences: the channel and the hours somebody answers on, drawn towards the shop's; by date, without the future."""

import random
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from retention.audience.scores.next_purchase import fit_cycles
from retention.audience.scores.preferences import explain_preferences, refresh_preferences
from retention.errors import ConfigError
from retention.intake.merge import merge_customers
from retention.journey.scores import Preferences, Scores, read_scores
from retention.store.queries import look_as_of
from tests.world import shanghai

ZONE = "Asia/Shanghai"
START = shanghai("2026-09-01 00:00")
NOW = shanghai("2026-12-01 02:00")
RULES = Preferences.model_validate({"strength": 4, "look_back": "60d"})


class Mailbox:
    """Messages by the line, without a plan: sent at, on a channel, answered or not."""

    def __init__(self, engine):
        self.engine, self.enrolled = engine, {}
        with engine.begin() as conn:
            conn.execute(text("insert into journey_versions (journey, content_hash, content, created_at) values ('j', 'h', '{}', :at)"), {"at": START})  # fmt: skip
            for mode in ("live", "test"):
                conn.execute(text("insert into cohorts (mode, journey, cohort_at, version_id, status, is_on_time, candidates, created_at) select :m, 'j', :at, max(version_id), 'open', false, 0, :at from journey_versions"), {"m": mode, "at": START})  # fmt: skip
            conn.execute(text("insert into batches (cohort_id, step, channel, wave, ordinal, size, state, planned_at) select cohort_id, 's', 'email', 0, 0, 1, 'done', :at from cohorts"), {"at": START})  # fmt: skip

    def enrollment(self, conn, customer, mode):
        if (customer, mode) not in self.enrolled:
            made = conn.execute(text("insert into enrollments (cohort_id, mode, journey, customer_id, occurrence, arm, is_eligible, entered_at) select cohort_id, mode, 'j', :c, 'o', 'main', true, :at from cohorts where mode = :m returning enrollment_id, cohort_id"), {"c": customer, "m": mode, "at": START}).one()  # fmt: skip
            self.enrolled[customer, mode] = (*made, [0])
        return self.enrolled[customer, mode]

    def send(self, customer, channel, at, *answers, mode="live", known=None, accepted=True):
        """`answers`: (kind, instant, known at, is_machine)."""
        with self.engine.begin() as conn:
            enrollment, cohort, count = self.enrollment(conn, customer, mode)
            count[0] += 1
            message = conn.execute(text("insert into messages (enrollment_id, cohort_id, step, channel, attempt, role, decision, address, locale, batch_id, due_at, not_before, not_after, planned_at) select :e, :c, :s, :k, 1, 'first', 'send', 'x', 'en', min(batch_id), :at, :at, :at, :at from batches returning message_id"), {"e": enrollment, "c": cohort, "s": f"s{count[0]}", "k": channel, "at": at}).scalar_one()  # fmt: skip
            said = [("accepted", at, known or at, False)] if accepted else []
            for kind, when, known_at, is_machine in (*said, *answers):
                conn.execute(text("insert into outcomes (message_id, kind, occurred_at, recorded_at, is_machine) values (:i, :k, :at, :known, :m)"), {"i": message, "k": kind, "at": when, "known": known_at, "m": is_machine})  # fmt: skip

    def many(self, customer, channel, at, sent, answered, **how):
        for n in range(sent):
            day = at + timedelta(minutes=n)
            self.send(customer, channel, day, *([("clicked", day, day, False)] if n < answered else []), **how)


@pytest.fixture
def mailbox(engine):
    return Mailbox(engine)


def refresh(engine, as_of=NOW, rules=RULES, **how):
    with engine.begin() as conn:
        return refresh_preferences(conn, as_of, zone=ZONE, rules=rules, **how)


def prefer(engine, as_of=NOW, known=None):
    """customer -> channel, sent, responses, rate, hour, sent, responses, rate."""
    with engine.begin() as conn:
        look_as_of(conn, as_of, known_at=known)
        rows = conn.execute(text("select customer_id, channel, channel_sent, channel_responses, channel_rate, hour, hour_sent, hour_responses, hour_rate from as_of.customer_preferences order by 1"))  # fmt: skip
        return {row[0]: tuple(row[1:]) for row in rows}


def test_few_answers_are_drawn_towards_the_shops(world, mailbox):
    for who in ("one_click", "steady", "silent", "crowd"):
        world.customer(who)
    at = shanghai("2026-11-20 10:30")
    mailbox.many("crowd", "email", at, 10, 4)
    mailbox.many("crowd", "sms", at, 9, 0)
    mailbox.many("one_click", "sms", at, 1, 1)
    mailbox.many("one_click", "email", at, 5, 3)
    mailbox.many("steady", "sms", at, 10, 9)
    mailbox.many("silent", "email", at, 5, 0)
    assert refresh(world.engine).customers == 3
    found = prefer(world.engine)
    assert set(found) == {"crowd", "one_click", "steady"}, "who answered nothing prefers nothing"
    email, sms = 7 / 20, 10 / 20
    # One text message of one is 100 %, but it proves less than three e-mails of five beside a shop that answers both alike.
    assert found["one_click"][:3] == ("sms", 1, 1)
    assert found["one_click"][3] == pytest.approx((1 + 4 * sms) / (1 + 4))
    assert found["steady"][:3] == ("sms", 10, 9) and found["steady"][3] == pytest.approx((9 + 4 * sms) / 14)
    assert found["crowd"][:3] == ("email", 10, 4) and found["crowd"][3] == pytest.approx((4 + 4 * email) / 14)
    assert found["steady"][4:7] == (9, 10, 9), "the slot from nine to twelve"
    mailbox.many("steady", "sms", at, 30, 0)  # now text messages are rarely answered here
    refresh(world.engine, NOW + timedelta(minutes=1))
    assert prefer(world.engine, NOW + timedelta(minutes=1))["one_click"][0] == "email"


def test_hours_are_the_customers_own(world, mailbox):
    world.customer("here")
    world.customer("there", timezone="America/New_York")
    world.customer("nowhere", timezone="Mars/Olympus")
    for who in ("here", "there", "nowhere"):
        mailbox.many(who, "email", shanghai("2026-11-20 09:00"), 1, 1)
        mailbox.many(who, "email", shanghai("2026-11-20 08:50"), 2, 0)
    refresh(world.engine)
    found = {who: row[4:7] for who, row in prefer(world.engine).items()}
    # 09:00 in Shanghai is 20:00 of the day before in New York; both of its messages fall into one slot there, from 18 to 21.
    assert found == {"here": (9, 1, 1), "there": (18, 3, 1), "nowhere": (9, 1, 1)}
    refresh(world.engine, NOW + timedelta(days=1), Preferences.model_validate({"slot": "12h"}))
    assert prefer(world.engine, NOW + timedelta(days=1))["here"][4:7] == (0, 3, 1)


def test_what_is_no_answer(world, mailbox):
    at = shanghai("2026-11-20 10:00")
    for n, answer in enumerate(
        [("clicked", at, at, True), ("opened", at, at, True), ("delivered", at, at, False), ("bounced", at, at, False)]
    ):
        world.customer(f"c{n}")
        mailbox.send(f"c{n}", "email", at, answer)
    world.customer("test")
    mailbox.many("test", "email", at, 1, 1, mode="test")
    world.customer("withheld")
    mailbox.send("withheld", "email", at, ("clicked", at, at, False), accepted=False)
    world.customer("old")
    mailbox.many("old", "email", NOW - timedelta(days=61), 1, 1)
    refresh(world.engine)
    assert prefer(world.engine) == {}
    for kind in ("opened", "read", "clicked", "replied"):
        world.customer(kind)
        mailbox.send(kind, "email", at, (kind, at, at, False), (kind, at, at, True))
    refresh(world.engine, NOW + timedelta(hours=1))
    assert {who: row[2] for who, row in prefer(world.engine, NOW + timedelta(hours=1)).items()} == {
        "opened": 1, "read": 1, "clicked": 1, "replied": 1,
    }  # fmt: skip


def test_only_changes_are_written_and_what_goes_is_gone(world, mailbox):
    world.customer("a")
    world.customer("b")
    mailbox.many("a", "email", NOW - timedelta(days=50), 2, 1)
    mailbox.many("b", "email", NOW - timedelta(days=1), 2, 1)
    assert refresh(world.engine).customers == 2
    assert refresh(world.engine).customers == 2, "the same moment again writes the same"
    assert world.count("customer_preferences") == 2
    later = NOW + timedelta(days=20)
    assert refresh(world.engine, later).customers == 1
    assert set(prefer(world.engine, later)) == {"b"} and set(prefer(world.engine, NOW)) == {"a", "b"}
    assert refresh(world.engine, later + timedelta(days=1)).customers == 0
    assert "later date" in refresh(world.engine, NOW).note


def test_a_merged_customer_keeps_the_answers(world, mailbox):
    world.customer("kept")
    world.customer("other")
    mailbox.many("other", "sms", NOW - timedelta(days=2), 2, 2)
    refresh(world.engine)
    with world.engine.begin() as conn:
        merge_customers(conn, "kept", "other", reason="same", actor="test", now=NOW + timedelta(hours=1))
    refresh(world.engine, NOW + timedelta(days=1))
    assert set(prefer(world.engine, NOW + timedelta(days=1))) == {"kept"}
    assert prefer(world.engine, NOW + timedelta(days=1))["kept"][:3] == ("sms", 2, 2)


def test_explained_with_every_channel_and_slot(world, mailbox):
    world.customer("a")
    mailbox.many("a", "email", shanghai("2026-11-20 10:00"), 4, 1)
    mailbox.many("a", "sms", shanghai("2026-11-20 20:00"), 2, 0)
    with world.engine.begin() as conn:
        before = explain_preferences(conn, "a", NOW, zone=ZONE)
    assert [(it.kind, it.option, it.usual_rate) for it in before] == [
        ("channel", "email", None), ("channel", "sms", None), ("hour", "09", None), ("hour", "18", None),
    ]  # fmt: skip
    refresh(world.engine)
    with world.engine.begin() as conn:
        found = explain_preferences(conn, "a", NOW, zone=ZONE)
        nobody = explain_preferences(conn, "x", NOW, zone=ZONE)
    assert (found[0].option, found[0].sent, found[0].responses, found[0].usual_rate) == ("email", 4, 1, 0.25)
    assert found[0].rate == pytest.approx(0.25) == prefer(world.engine)["a"][3] and nobody == []


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_the_past_does_not_know_the_future(engine, world, seed):
    """Preferences of each day, made as time went by, are those made today with all that came later known."""
    with engine.begin() as conn:
        conn.execute(text("truncate customers, cohorts, journey_versions, outcomes, customer_preferences, preference_runs cascade"))  # fmt: skip
    rng, mailbox = random.Random(seed), Mailbox(engine)
    for n in range(4):
        world.customer(f"c{n}", consent=(), timezone=rng.choice(("Asia/Shanghai", "Europe/Berlin", None)))
    facts = []
    for _ in range(40):
        at = START + timedelta(minutes=rng.randrange(80 * 1440))
        answers = []
        for _ in range(rng.choice((0, 0, 1, 2))):
            when = at + timedelta(hours=rng.randrange(1, 200))
            answers.append((rng.choice(("opened", "clicked", "replied")), when, when + timedelta(hours=rng.choice((0, 30, 400))), rng.random() < 0.2))  # fmt: skip
        facts.append((at, f"c{rng.randrange(4)}", rng.choice(("email", "sms")), answers))
    days = [START + timedelta(days=days) for days in (20, 40, 41, 79)]
    as_it_was = {}
    told = set()
    for day in days:
        for n, (at, who, channel, answers) in enumerate(facts):
            if at <= day and n not in told:
                told.add(n)
                # What was not known yet is there already: a later record must not be seen.
                mailbox.send(who, channel, at, *answers)
        refresh(engine, day)
        as_it_was[day] = prefer(engine, day)
    rows = "select customer_id, as_of, channel, channel_sent, channel_responses, hour, hour_sent, hour_responses from customer_preferences order by 1, 2"  # fmt: skip
    then = world.rows(rows)
    with engine.begin() as conn:
        conn.execute(text("delete from customer_preferences"))
        conn.execute(text("delete from preference_runs"))
    for n, (at, who, channel, answers) in enumerate(facts):
        if n not in told:
            mailbox.send(who, channel, at, *answers)
    for day in days:
        refresh(engine, day)
        with engine.begin() as conn:
            for who, row in prefer(engine, day).items():
                explained = explain_preferences(conn, who, day, zone=ZONE)
                best = {it.kind: it for it in reversed(explained)}
                assert (best["channel"].option, best["channel"].rate) == (row[0], pytest.approx(row[3]))
                assert (int(best["hour"].option), best["hour"].rate) == (row[4], pytest.approx(row[7]))
    assert world.rows(rows) == then and any(as_it_was.values())
    assert {day: prefer(engine, day) for day in days} == as_it_was
    # With the facts that came later gone, too.
    with engine.begin() as conn:
        conn.execute(text("delete from customer_preferences"))
        conn.execute(text("delete from preference_runs"))
        conn.execute(text("delete from outcomes where recorded_at > :day or occurred_at > :day"), {"day": days[1]})
    for day in days[:2]:
        refresh(engine, day)
        assert prefer(engine, day) == as_it_was[day]


def test_its_rules_stand_in_scores_yaml():
    assert Scores().preferences == Preferences() and Preferences().slot_hours == 3
    for line, said in (("slot: 5h", "does not divide"), ("strength: 0", "above 0"), ("slot: 90m", "does not divide")):
        scores, document = read_scores("include/scores.yaml", f"preferences: {{{line}}}")
        assert scores is None and said in str(ConfigError(document.problems)), line
    assert Scores.model_validate(Scores().as_written()) == Scores()


def test_audiences_see_preferences_and_next_purchases(world, mailbox):
    """By the reader's role, and nothing behind them."""
    from retention.audience.library import count_one, read_library

    world.customer("a", consent=())
    mailbox.many("a", "sms", NOW - timedelta(days=2), 2, 2)
    refresh(world.engine)
    for n, day in enumerate((90, 60, 30, 2)):
        world.order(f"o{n}", "a", NOW - timedelta(days=day))

    def count(sql):
        return count_one(world.engine, read_library({"sql/audiences/mine.sql": sql}, [])["mine"], NOW)

    sql = "select customer_id, 'x' as occurrence from {} where {}"
    assert (
        count(sql.format("customer_preferences", "channel = 'sms' and hour = 0 and channel_rate > 0.5")).customers == 1
    )
    assert count(sql.format("next_purchases", "category = 'coffee' and due_on between '2026-12-25' and '2026-12-31'")).customers == 1  # fmt: skip
    assert "permission denied" in count(sql.format("public.customer_preferences", "true")).error


def test_next_purchases_of_audiences_are_those_of_the_engine(world):
    from retention.audience.scores.next_purchase import find_next_purchases

    rng = random.Random(3)
    for n in range(160):
        world.order(f"o{n}", f"c{rng.randrange(16)}", at := NOW - timedelta(hours=rng.randrange(9000)))
        if n % 7 == 0:
            world.add("order_status", order_id=f"o{n}", status="cancelled", occurred_at=at + timedelta(hours=3), recorded_at=at + timedelta(hours=3))  # fmt: skip
        if n % 14 == 0:
            world.add("order_status", order_id=f"o{n}", status="paid", occurred_at=at + timedelta(hours=4), recorded_at=at + timedelta(hours=4))  # fmt: skip
    for at, has_cycles in ((NOW - timedelta(days=1), False), (NOW, True)):
        with world.engine.begin() as conn:
            if has_cycles:
                assert fit_cycles(conn, at, zone=ZONE) == 1
            found = [tuple(vars(it).values()) for it in find_next_purchases(conn, at, zone=ZONE)]
            look_as_of(conn, at, zone=ZONE)
            seen = [tuple(row) for row in conn.execute(text("select * from as_of.next_purchases order by customer_id, due_on, category"))]  # fmt: skip
        assert seen == found and found
