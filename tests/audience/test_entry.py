"""Entry: once by occurrence, no backlog, the brake, holdout and arms, read-only audiences."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from retention.errors import AudienceError, CohortHeld, RetentionError
from retention.journey.load import load_version
from retention.orchestration.cohort import enroll
from tests.world import example, shanghai

AT = shanghai("2026-12-01 06:00")


def with_audience(sql, **changes):
    content = dict(example(**changes).content)
    content["sql/audiences/birthday_in_3_days.sql"] = sql
    return load_version(content)


def enter(world, version, at=AT, **options):
    return enroll(world.engine, version, at, clock=lambda: at, **options)


EVERYBODY = "select customer_id, 'all:' || customer_id as occurrence from customers"


def test_a_second_run_joins_the_cohort(world):
    world.customer("c", "12-04")
    first = enter(world, example(holdout="0%"))
    world.customer("d", "12-04")
    second = enter(world, example(holdout="0%"))
    assert (first.is_joined, second.is_joined) == (False, True)
    assert first.cohort_id == second.cohort_id
    assert second.enrolled == 1


def test_two_runs_at_once_make_one_cohort(world):
    for i in range(50):
        world.customer(f"c{i}", "12-04")
    version = example(holdout="0%")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: enter(world, version), range(4)))
    assert len({r.cohort_id for r in results}) == 1
    assert world.count("enrollments") == 50


def test_overlapping_windows_enter_nobody_twice(world):
    world.customer("c", "12-04")
    for day in range(3):
        enter(world, example(holdout="0%"), AT + timedelta(days=day))
    assert world.count("enrollments") == 1


def test_switched_on_over_years_of_history_nobody_of_the_past_enters(world):
    for i in range(30):
        world.customer(f"old{i}", since=AT - timedelta(days=100 + i))
    world.customer("new", since=AT - timedelta(days=1))
    since = (
        "select customer_id, 'joined:' || customer_id as occurrence from customers"
        " where occurred_at > :window_start and occurred_at <= :as_of"
    )
    entered = enter(world, with_audience(since, holdout="0%"))
    assert world.entered() == {"new": "joined:new"}
    assert entered.refused == {"backlog": 30}
    again = enter(world, with_audience(since, holdout="0%"), AT + timedelta(days=1))
    assert again.enrolled == 0
    assert world.count("entry_refusals") == 30


def test_a_backlog_may_be_let_in_little_by_little(world):
    for i in range(30):
        world.customer(f"old{i}", since=AT - timedelta(days=100 + i))
    since = (
        "select customer_id, 'joined:' || customer_id as occurrence from customers"
        " where occurred_at > :window_start and occurred_at <= :as_of"
    )
    version = with_audience(since, holdout="0%", entry="{window: 3d, backlog: ramp, max_per_day: 10}")
    sizes = [enter(world, version, AT + timedelta(days=day)).enrolled for day in range(4)]
    assert sizes == [10, 10, 10, 0]


def test_a_cohort_far_above_its_usual_size_waits_for_a_person(world):
    version = with_audience(EVERYBODY, holdout="0%", entry="{window: 3d, reenter_after: never, hold_above: 5}")
    for i in range(6):
        world.customer(f"c{i}")
    with pytest.raises(CohortHeld, match=r"6 customers, above 5; it is held.*retention approve birthday_care"):
        enter(world, version)
    assert world.count("enrollments") == 0
    assert world.rows("select status, candidates from cohorts") == [("held", 6)]
    with pytest.raises(CohortHeld):  # a cleared task does not let it in
        enter(world, version)
    assert enter(world, version, is_size_approved=True, actor="ada").enrolled == 6
    assert world.rows("select actor, action from audit_log order by audit_id") == [
        ("engine", "hold"),
        ("ada", "approve_size"),
    ]


def test_the_usual_size_is_three_times_the_median_of_the_last_cohorts(world):
    version = with_audience(
        "select 'p' || n || '-' || :as_of::date as customer_id, 'x' as occurrence"
        " from generate_series(1, case when :as_of < '2026-12-04 12:00+08' then 200 else 601 end) as n",
        holdout="0%",
    )
    for day in range(4):
        assert enter(world, version, AT + timedelta(days=day)).enrolled == 200
    with pytest.raises(CohortHeld, match="601 customers, above 600"):
        enter(world, version, AT + timedelta(days=4))


def test_one_address_enters_once(world):
    world.customer("a", "12-04", email="Same@Example.com", phone=None)
    world.customer("b", "12-05", email="same@example.com ".strip(), phone=None)
    enter(world, example(holdout="0%"))
    enter(world, example(holdout="0%"), AT + timedelta(days=1))
    assert world.entered() == {"a": "birthday:2026"}
    # The wide look back of the first cohort notes last year's birthday; this year's is refused for the address.
    assert world.rows("select customer_id, occurrence, reason from entry_refusals where reason <> 'backlog'") == [
        ("b", "birthday:2026", "same_address")
    ]


def test_broken_addresses_are_nobodys(world):
    world.customer("a", "12-04", email="none", phone=None)
    world.customer("b", "12-05", email="none", phone=None)
    enter(world, example(holdout="0%"))
    enter(world, example(holdout="0%"), AT + timedelta(days=1))
    assert set(world.entered()) == {"a", "b"}


def test_who_cannot_be_reached_is_enrolled_and_says_why(world):
    world.customer("silent", "12-04", consent=())
    world.customer("nowhere", "12-04", email=None, phone=None)
    world.customer("bounced", "12-04", phone=None)
    world.suppress("email", "bounced@example.com")
    world.customer("fine", "12-04")
    entered = enter(world, example(holdout="0%"))
    assert (entered.enrolled, entered.eligible) == (4, 1)
    assert dict(world.rows("select customer_id, ineligible_reason from enrollments")) == {
        "silent": "no_consent",
        "nowhere": "no_address",
        "bounced": "suppressed",
        "fine": None,
    }


def test_the_holdout_is_a_fair_lot_that_stays(world):
    version = with_audience(
        "select 'p' || n as customer_id, 'x:' || :as_of::date as occurrence from generate_series(1, 5000) as n",
        holdout="20%",
        entry="{window: 12h, reenter_after: 12h, hold_above: 10000}",
    )
    first = enter(world, version)
    arms = dict(world.rows("select customer_id, arm from enrollments"))
    assert abs(first.holdout / 5000 - 0.20) < 0.02  # 3.5 standard errors
    enter(world, version, AT + timedelta(days=1))
    again = dict(
        world.rows("select customer_id, arm from enrollments where entered_at = :at", at=AT + timedelta(days=1))
    )
    assert again == arms


def test_capacity_is_dealt_out_within_the_arms(world):
    version = with_audience(
        "select 'p' || n as customer_id, 'x' as occurrence from generate_series(1, 2000) as n",
        holdout="50%",
        entry="{window: 3d, max_per_day: 200}",
    )
    entered = enter(world, version)
    assert 200 <= entered.enrolled <= 202  # rounded up once an arm
    assert 90 <= entered.holdout <= 110
    assert entered.refused == {"max_per_day": 2000 - entered.enrolled}


def test_a_draining_journey_takes_nobody_in(world):
    world.customer("c", "12-04")
    assert enter(world, example(status="draining", holdout="0%")).enrolled == 0


def test_a_test_and_a_live_cohort_know_nothing_of_each_other(world):
    world.customer("c", "12-04")
    enter(world, example(live="true", holdout="0%"), mode="test")
    entered = enter(world, example(live="true", holdout="0%"), mode="live")
    assert (entered.mode, entered.enrolled) == ("live", 1)


def test_going_live_takes_effect_at_the_next_cohort(world):
    assert enter(world, example(live="false")).mode == "test"
    assert enter(world, example(live="true")).mode == "test"
    assert enter(world, example(live="true"), AT + timedelta(days=1)).mode == "live"


def test_an_outbox_journey_cannot_be_run_live(world):
    assert enter(world, example(live="false"), mode="live").mode == "test"


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("select customer_id from customers", r":1: it returns the columns customer_id\. Return exactly"),
        ("select customer_id, 'x' as why from customers", r":1: it returns the columns customer_id, why"),
        (
            "select customer_id, 'x' as occurrence\nfrom custmers",
            r":2: relation \"custmers\" does not exist\. An audience sees",
        ),
        ("select customer_id, null as occurrence from customers", "without customer_id or occurrence"),
        ("select customer_id, 'x' as occurrence\n, from customers", ":2: syntax error"),
        ("select customer_id, 'x' as occurrence from public.customers", "permission denied"),
        ("select 'a' as customer_id, pg_read_file('/etc/passwd') as occurrence", "permission denied"),
        (
            "with gone as (delete from customers returning customer_id) select customer_id, 'x' as occurrence from gone",
            ".",
        ),
        ("select customer_id, 'x' as occurrence from customers; drop table customers", "syntax error"),
        ("select 'a' as customer_id, ('secret@example.com')::int::text as occurrence", 'integer: "…"'),
    ],
)
def test_an_audience_only_reads_and_its_mistakes_have_a_place(world, sql, complaint):
    world.customer("c")
    with pytest.raises(AudienceError, match=complaint) as caught:
        enter(world, with_audience(sql))
    assert str(caught.value).startswith("include/sql/audiences/birthday_in_3_days.sql:")
    assert "secret@" not in str(caught.value)
    assert world.count("customers") == 1
    assert world.count("cohorts") == 0


def test_an_audience_is_cut_off_after_its_time(world, monkeypatch):
    from retention.audience import entry, select

    monkeypatch.setattr(entry, "fetch_audience", lambda *a, **k: select.fetch_audience(*a, **k, time_limit_s=1))
    slow = "select 'a' as customer_id, pg_sleep(30)::text as occurrence"
    with pytest.raises(AudienceError, match="ran longer than 1 s"):
        enter(world, with_audience(slow))


def test_an_audience_sees_nothing_of_the_future(world):
    world.customer("c", "12-04")
    world.order("o1", "c", AT - timedelta(hours=2))
    world.order("late", "c", AT - timedelta(hours=2), recorded=AT + timedelta(hours=1))
    world.order("future", "c", AT + timedelta(hours=1))
    version = with_audience("select customer_id, order_id as occurrence from orders", holdout="0%")
    enter(world, version)
    assert world.entered() == {"c": "o1"}


def test_nobody_enters_before_a_moment_has_come(world):
    world.customer("c", "12-04")
    with pytest.raises(RetentionError, match="cohort of 2026-12-01 06:00: that moment has not come yet"):
        enroll(world.engine, example(), AT, clock=lambda: AT - timedelta(minutes=1))
    assert world.count("cohorts") == 0


def test_a_live_journey_has_no_cohort_before_it_starts(world):
    world.customer("c", "12-04")
    version = example(live="true", starts_on="2026-12-02")
    with pytest.raises(RetentionError, match="starts on 2026-12-02"):
        enter(world, version)
    entered = enter(world, version, mode="test")
    assert (entered.mode, entered.enrolled) == ("test", 1)


def test_no_day_takes_in_more_than_its_places_and_every_arm_has_its_share(world):
    """Three places a day, a holdout of a fifth: who rounds up takes in four a day, who rounds down never has a holdout."""
    for n in range(400):
        world.customer(f"c{n:03}")
    version = with_audience(EVERYBODY, holdout="20%", entry="{reenter_after: never, max_per_day: 3}")
    held = 0
    for day in range(60):
        entered = enter(world, version, AT + timedelta(days=day))
        assert entered.enrolled == 3
        held += entered.holdout
    assert 24 <= held <= 48, held
