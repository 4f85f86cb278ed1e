"""A step once more: for whom, what forbids it, and never twice by mistake."""

from datetime import date, timedelta

import pytest
from sqlalchemy import text

from retention.bench.world import NO_RULES
from retention.errors import DataHeld, RetentionError
from retention.insight.status import stop_sending
from retention.orchestration import cohort
from retention.orchestration.rerun import count_fates, rerun
from retention.orchestration.rerun_words import Wish, parse_days, sum_up, write_numbers
from tests.delivery.test_plan import AT, GREETING, deliver, plan
from tests.world import DAY, example

HOUR = timedelta(hours=1)
TODAY = date(2026, 12, 1)
LATER = GREETING + 3 * HOUR
VERSION = example(holdout="0%")


@pytest.fixture
def sent(world):
    """A cohort whose greeting went out to these customers by e-mail; "c0", "c1", ... by number."""

    def sent(count=4, version=VERSION, is_delivered=True, policy=NO_RULES):
        for n in range(count):
            world.customer(f"c{n}", "12-04", consent=("email",))
        made = cohort.enroll(world.engine, version, AT, clock=lambda: AT).cohort_id
        plan(world, made, policy=policy)
        if is_delivered:
            deliver(world, made)
        return made

    return sent


def message_of(world, customer_id) -> int:
    [(found,)] = world.rows(
        "select max(message_id) from messages join enrollments using (enrollment_id) where customer_id = :who",
        who=customer_id,
    )
    return found


def hear(world, customer_id, kind, reason=None, at=GREETING + HOUR):
    message_id = message_of(world, customer_id)
    if kind in ("refused", "unknown", "withheld"):
        with world.engine.begin() as conn:
            conn.execute(text("delete from outcomes where message_id = :id"), {"id": message_id})
            if kind == "unknown":
                conn.execute(text("update batches set state = 'unknown', in_doubt = 1"))
    world.add("outcomes", message_id=message_id, kind=kind, reason=reason, occurred_at=at, recorded_at=at)


def again(
    world, who, *, key="run 1", is_dry=False, at=LATER, step="greeting", policy=NO_RULES, first=TODAY, last=None, **more
):
    wish = Wish("birthday_care", step, first, last or first, who, "the printer was on fire")
    done = rerun(
        world.engine, VERSION, wish, key=key, actor="ada", policy=policy, is_dry=is_dry, clock=lambda: at, **more
    )  # fmt: skip
    if not is_dry:
        for it in done:
            for shard in it.shards:
                for channel in ("sms", "email"):
                    cohort.deliver(world.engine, it.cohort_id, step, channel, **shard, clock=lambda: at)
    return done


def arrived(world) -> dict[str, int]:
    """customer -> how many messages lie in the outbox."""
    return dict(
        world.rows(
            "select customer_id, count(*)::int from outbox join messages using (message_id)"
            " join enrollments using (enrollment_id) group by 1"
        )
    )


def test_failed_only(world, sent):
    sent()
    hear(world, "c1", "bounced")
    hear(world, "c2", "refused", "invalid")
    hear(world, "c3", "refused", "unaccounted")
    before = arrived(world)
    [dry] = again(world, "failed", is_dry=True)
    assert (dry.sends, dry.twice, dry.held_back) == (2, 0, {}) and dry.fates == {
        "arrived": 1,
        "failed": 2,
        "unknown": 1,
    }
    assert arrived(world) == before and world.count("audit_log") == 0, "a dry run leaves nothing"
    [done] = again(world, "failed")
    assert (done.fates, done.sends, done.twice) == (dry.fates, dry.sends, dry.twice), "a dry run is the real thing"
    assert arrived(world) == before | {"c1": 2, "c2": before["c2"] + 1}
    assert world.rows("select role, attempt from messages where attempt > 1") == [("repeat", 2)] * 2
    [next_run] = again(world, "failed", key="run 2")
    assert (next_run.sends, next_run.fates["arrived"]) == (0, 3), "a second run changes nothing"
    assert arrived(world) == before | {"c1": 2, "c2": before["c2"] + 1}


def test_the_same_run_again_changes_nothing(world, sent):
    sent()
    [first] = again(world, "everyone")
    assert (first.sends, first.twice) == (4, 4) and set(arrived(world).values()) == {2}
    [cleared] = again(world, "everyone", at=LATER + HOUR)
    assert (cleared.sends, cleared.twice, cleared.note) == (4, 4, "was done by this re-run already")
    assert set(arrived(world).values()) == {2} and world.count("audit_log", action="rerun") == 1
    again(world, "everyone", key="run 2")
    assert set(arrived(world).values()) == {3}, "another re-run is another decision"


def test_killed_between_plan_and_delivery(world, sent):
    made = sent()
    wish = Wish("birthday_care", "greeting", TODAY, TODAY, "everyone", "why not")
    rerun(world.engine, VERSION, wish, key="run 1", actor="ada", policy=NO_RULES, is_dry=False, clock=lambda: LATER)
    assert set(arrived(world).values()) == {1}
    again(world, "everyone")
    assert set(arrived(world).values()) == {2}, "what was decided is delivered, once"
    assert made


def test_never_attempted_is_what_a_clear_does(world, sent):
    sent(is_delivered=False)
    world.customer("no", "12-04", consent=())
    world.customer("late", "12-04", consent=())
    with world.engine.begin() as conn:  # they are in the cohort, too
        for who in ("no", "late"):
            conn.execute(
                text(
                    "insert into enrollments (cohort_id, mode, journey, customer_id, occurrence, arm, is_eligible, entered_at)"
                    " select cohort_id, mode, journey, :who, 'birthday:2026', 'main', true, cohort_at from cohorts"
                ),
                {"who": who},
            )
    [done] = again(world, "never_attempted", key="run 0")
    assert (done.fates, done.sends, done.held_back) == ({"waiting": 4}, 4, {"no_consent": 2})
    assert arrived(world) == {f"c{n}": 1 for n in range(4)}
    world.consent("late", "email", True, GREETING - HOUR)
    [done] = again(world, "never_attempted")
    assert (done.fates, done.sends, done.twice) == ({"arrived": 4, "again": 2}, 1, 0)
    assert arrived(world) == {f"c{n}": 1 for n in range(4)} | {"late": 1}
    assert again(world, "never_attempted", key="run 2")[0].sends == 0


def test_a_plain_clear_leaves_failed_unknown_and_arrived_alone(world, sent):
    made = sent()
    hear(world, "c1", "bounced")
    hear(world, "c2", "refused", "invalid")
    hear(world, "c3", "unknown")
    before = arrived(world)
    for _ in range(2):
        plan(world, made, at=LATER)
        deliver(world, made, at=LATER)
    assert arrived(world) == before and world.count("messages") == 4


def test_unknown_is_settled_by_somebodys_word(world, sent):
    sent()
    hear(world, "c3", "unknown")
    before = arrived(world)
    codes = world.rows("select code, state from coupons order by code")
    [done] = again(world, "unknown")
    assert (done.sends, done.twice) == (1, 1), "it may have arrived"
    assert arrived(world) == before | {"c3": before["c3"] + 1}
    settled = "select count(*)::int from outcomes where kind = 'refused' and reason = 'by_hand'"
    assert world.rows(settled) == [(1,)]
    assert world.rows("select code from coupons order by code") == [(code,) for code, _ in codes], "the same code again"
    assert world.rows("select state, in_doubt from batches order by batch_id") == [("done", 0), ("done", 0)]
    assert again(world, "unknown", key="run 2")[0].sends == 0


def test_the_coupon_is_the_same_and_spent_codes_stay_spent(world, sent):
    sent()
    codes = set(world.rows("select code from coupons"))
    again(world, "everyone")
    assert set(world.rows("select code from coupons")) == codes
    bodies = world.rows("select m.coupon_id, count(*)::int from messages m group by 1")
    assert all(count == 2 for _, count in bodies)


@pytest.mark.parametrize("change", ["withdrawn", "suppressed", "stopped", "ordered", "expired"])
def test_what_forbids_a_message_forbids_it_here(world, sent, change):
    sent(1)
    at = LATER
    if change == "withdrawn":
        world.consent("c0", "email", False, GREETING + HOUR)
    if change == "suppressed":
        world.suppress("email", "c0@example.com", GREETING + HOUR)
    if change == "stopped":
        with world.engine.begin() as conn:
            stop_sending(conn, "birthday_care", reason="test", actor="test", now=GREETING + HOUR)
    if change == "ordered":
        world.order("o1", "c0", GREETING + HOUR)
    if change == "expired":
        at = GREETING + 2 * DAY
    [done] = again(world, "everyone", at=at)
    assert arrived(world) == {"c0": 1}
    if change in ("stopped", "expired"):
        assert (done.sends, done.held_back) == (0, {change: 1})


def test_other_contacts_count_for_the_caps_and_its_own_does_not(world, sent):
    rules, made = cohort.read_rules(), sent(1, is_delivered=False, policy=cohort.read_rules())
    deliver(world, made)
    [done] = again(world, "everyone", policy=rules)
    assert (done.sends, done.held_back) == (1, {}), "whoever asks for a second one knows that it is one"
    with world.engine.begin() as conn:
        conn.execute(
            text(
                "insert into contact_slots (customer_id, mode, day, nth, journey, channel, enrollment_id, step)"
                " select 'c0', 'test', date '2026-12-01', 7, 'birthday_care', 'email', enrollment_id, 'last_day' from enrollments"
            )
        )
    [capped] = again(world, "everyone", policy=rules, key="run 2")
    assert (capped.sends, capped.held_back) == (0, {"frequency_cap": 1})


def test_several_cohorts_and_what_can_not_be(world, sent):
    sent(2)
    world.customer("next", "12-05", consent=("email",))
    at = AT + DAY
    later = cohort.enroll(world.engine, VERSION, at, clock=lambda: at).cohort_id
    plan(world, later, at=GREETING + DAY)
    deliver(world, later, at=GREETING + DAY)
    both = again(world, "everyone", last=TODAY + DAY, at=GREETING + DAY + HOUR, is_dry=True)
    assert [it.sends for it in both] == [2, 1] and sum_up(both) == {"sends": 3, "twice": 3, "held_back": 0}
    early = again(world, "everyone", step="last_day", at=GREETING + DAY, is_dry=True)
    assert early[0].note == "the step is not due before 2026-12-07 10:00: nothing to repeat yet"
    with pytest.raises(RetentionError, match='step: there is no step "lastday" in these cohorts. Did you mean "last_day"?'):
        again(world, "everyone", step="lastday", is_dry=True)
    with pytest.raises(
        RetentionError, match=r"had no cohort on 2026-01-01. The last days with one: 2026-12-02, 2026-12-01."
    ):
        again(world, "everyone", first=date(2026, 1, 1), is_dry=True)
    with pytest.raises(RetentionError, match='who: "fialed" is not known. Did you mean "failed"?'):
        again(world, "fialed", is_dry=True)


def test_who_why_and_how_many_are_on_record(world, sent):
    made = sent()
    again(world, "everyone", approved_by="bob")
    [(actor, journey, cohort_id, detail)] = world.rows(
        "select actor, journey, cohort_id, detail from audit_log where action = 'rerun'"
    )
    assert (actor, journey, cohort_id) == ("ada", "birthday_care", made)
    assert detail == {
        "key": "run 1", "step": "greeting", "who": "everyone", "reason": "the printer was on fire", "approved_by": "bob",
        "fates": {"arrived": 4}, "sends": 4, "twice": 4, "held_back": {},
        "planned_at": LATER.isoformat(),
    }  # fmt: skip


def test_held_data_hold_it_up(world, sent, monkeypatch):
    sent(1)
    monkeypatch.setattr(cohort, "find_hold", lambda conn: "orders: too few")
    with pytest.raises(DataHeld):
        again(world, "everyone")
    assert arrived(world) == {"c0": 1}


def test_days_are_read():
    assert parse_days("2026-12-01") == (date(2026, 12, 1), date(2026, 12, 1))
    assert parse_days("2026-12-01..2026-12-07") == (date(2026, 12, 1), date(2026, 12, 7))
    with pytest.raises(RetentionError, match='"yesterday" is no day and no span of days'):
        parse_days("yesterday")


def test_what_became_of_it(world, sent):
    sent()
    world.suppress("email", "c0@example.com", GREETING + HOUR)
    done = again(world, "everyone", is_dry=True)
    wish = Wish("birthday_care", "greeting", TODAY, TODAY, "everyone", "a typo")
    words = write_numbers(wish, done)
    assert "**4** people would get a message, **4** of them had it before, or may have" in words
    assert "| 2026-12-01 06:00 | test | 4 arrived | 4 | 4 |" in words
    again(world, "everyone")
    assert count_fates(world.engine, "run 1") == {"accepted": 3, "withheld: suppressed": 1}
    assert count_fates(world.engine, "another") == {}
