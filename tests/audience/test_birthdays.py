"""Who the shipped audience `birthday_in_3_days` names, day by day."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from retention.orchestration.cohort import enroll
from tests.world import SHANGHAI, World, example, shanghai

EVERYBODY = dict(holdout="0%")


def enter(world, moment, **options):
    """Enter a cohort as a test; the customers that are in, with their occurrences."""
    at = shanghai(moment) if isinstance(moment, str) else moment
    before = world.entered()
    enroll(world.engine, example(**EVERYBODY), at, clock=lambda: at, **options)
    return {c: o for c, o in world.entered().items() if c not in before}


@pytest.mark.parametrize(
    ("moment", "occurrence"),
    [
        ("2027-02-25 06:00", "birthday:2027"),  # kept on 28 February
        ("2028-02-26 06:00", "birthday:2028"),  # a leap year: on the 29th itself
        ("2100-02-25 06:00", "birthday:2100"),  # no leap year, though divisible by 4
    ],
)
def test_29_february_is_kept_on_the_last_day_of_february(world, moment, occurrence):
    world.customer("leap", "02-29")
    assert enter(world, moment) == {"leap": occurrence}


def test_29_february_is_not_kept_a_day_early_in_a_leap_year(world):
    world.customer("leap", "02-29")
    assert enter(world, "2028-02-25 06:00") == {}


def test_birthdays_of_early_january_are_planned_in_december_of_the_year_before(world):
    for day in ("01-01", "01-02", "01-03"):
        world.customer(day, day)
    assert enter(world, "2026-12-29 06:00") == {"01-01": "birthday:2027"}
    assert enter(world, "2026-12-30 06:00") == {"01-02": "birthday:2027"}
    assert enter(world, "2026-12-31 06:00") == {"01-03": "birthday:2027"}
    assert enter(world, "2027-01-01 06:00") == {}


def test_the_day_is_that_of_the_journeys_zone(world):
    world.customer("c", "12-04")
    # 30 November 22:00 UTC is 1 December 06:00 in Shanghai.
    assert enter(world, datetime(2026, 11, 30, 22, tzinfo=UTC)) == {"c": "birthday:2026"}


def test_nobody_without_a_birthday_and_no_impossible_day(world):
    world.customer("none")
    world.customer("april31", "04-31")
    for day in range(25, 31):
        assert enter(world, f"2026-04-{day} 06:00") == {}


# 2025 had a leap sixth month: plain 2025-06-25..07-24, leap 2025-07-25..08-22 (29 days). Source: Hong Kong Observatory.
@pytest.mark.parametrize(
    ("birthday", "is_leap", "greeted_on", "occurrence"),
    [
        ("06-10", False, date(2025, 7, 1), "birthday:lunar:2025"),  # born in the plain month: the plain one
        ("06-10", True, date(2025, 7, 31), "birthday:lunar:2025"),  # born in a leap month: the leap one
        ("06-30", True, date(2025, 8, 19), "birthday:lunar:2025"),  # it has 29 days: the last one
        ("06-10", True, date(2026, 7, 20), "birthday:lunar:2026"),  # 2026 has no leap month: the plain one
        ("12-29", False, date(2027, 2, 2), "birthday:lunar:2026"),  # the lunar year ends in February
        ("12-30", False, date(2027, 2, 2), "birthday:lunar:2026"),  # the twelfth month of 2026 has 29 days
        ("01-01", False, date(2027, 2, 3), "birthday:lunar:2027"),  # New Year is on 6 February 2027
    ],
)
def test_lunar_birthdays(world, birthday, is_leap, greeted_on, occurrence):
    world.customer("lunar", birthday, lunar=True, leap_month=is_leap)
    found = {}
    for offset in range(-12, 13):
        moment = datetime(greeted_on.year, greeted_on.month, greeted_on.day, 6, tzinfo=SHANGHAI) + timedelta(
            days=offset
        )
        found |= {moment.date(): o for o in enter(world, moment).values()}
    assert found == {greeted_on: occurrence}


def test_a_birthday_learned_late_is_found_inside_the_window_and_not_after_it(world):
    world.customer("yesterday", "12-03", since=shanghai("2026-12-01 12:00"))
    world.customer("too_late", "12-01", since=shanghai("2026-12-01 12:00"))
    assert enter(world, "2026-12-01 06:00") == {}
    assert enter(world, "2026-12-02 06:00") == {"yesterday": "birthday:2026"}


def test_what_is_recorded_after_the_cohorts_moment_changes_nothing(world):
    world.customer("c", "12-04")
    world.change_customer("c", shanghai("2026-12-01 06:01"), birth_day=20)
    assert enter(world, "2026-12-01 06:00") == {"c": "birthday:2026"}


def test_a_corrected_birthday_gives_no_second_greeting(world):
    world.customer("c", "12-04")
    assert enter(world, "2026-12-01 06:00") == {"c": "birthday:2026"}
    world.change_customer("c", shanghai("2026-12-05 10:00"), birth_day=20)
    assert enter(world, "2026-12-17 06:00") == {}
    # Corrected across the turn of the year: another occurrence, still the same person.
    world.change_customer("c", shanghai("2026-12-20 10:00"), birth_month=1, birth_day=9)
    assert enter(world, "2027-01-06 06:00") == {}
    refused = "select occurrence, reason from entry_refusals where reason <> 'backlog'"
    assert world.rows(refused) == [("birthday:2027", "reenter_after")]


def test_the_next_years_birthday_is_a_new_one(world):
    world.customer("c", "12-04")
    assert enter(world, "2026-12-01 06:00") == {"c": "birthday:2026"}
    assert enrolled_again(world, "2027-12-01 06:00") == 2


def enrolled_again(world, moment):
    enter(world, moment)
    return world.count("enrollments", customer_id="c")


corrections = st.lists(
    st.tuples(
        st.integers(0, 500),  # the day on which it is recorded
        st.sampled_from(["solar", "lunar"]),
        st.integers(1, 12),
        st.integers(1, 30),
        st.booleans(),
        st.sampled_from(["a", "b"]),  # the address it comes with
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=corrections, order=st.randoms(use_true_random=False))
def test_no_late_or_corrected_fact_gives_a_second_entry_inside_reenter_after(engine, changes, order):
    """Whatever is learned, whenever, and in whatever order the cohorts run: 300 days between two entries, by person
    and by address."""
    world = World(engine)
    with engine.begin() as conn:
        conn.execute(
            text("truncate customers, customer_history, consents, cohorts, enrollments, entry_refusals cascade")
        )
    start = datetime(2026, 1, 1, 6, tzinfo=SHANGHAI)
    for person in ("p", "q"):
        world.customer(person, email=f"{person}@example.com", phone=None)
    for day, calendar, month, day_of_month, is_leap, address in sorted(changes):
        world.change_customer(
            "p" if address == "a" else "q",
            start + timedelta(days=day, hours=-1),
            birth_calendar=calendar,
            birth_month=month,
            birth_day=min(day_of_month, 28) if calendar == "solar" else day_of_month,
            birth_leap_month=is_leap and calendar == "lunar",
            email=f"{address}@example.com" if day % 2 else "shared@example.com",
        )
    version = example(**EVERYBODY)
    days = list(range(0, 520))
    # Begun in the middle, as a backfill or a re-run would have it; every fourth day is enough to meet the windows.
    pivot = order.randrange(len(days))
    for day in (days[pivot:] + days[:pivot])[::4]:
        at = start + timedelta(days=day)
        enroll(engine, version, at, clock=lambda at=at: at)
    entries = world.rows("select customer_id, email, entered_at from enrollments order by entered_at")
    for i, (person, email, at) in enumerate(entries):
        for other, other_email, later in entries[i + 1 :]:
            if person == other or (email and email == other_email):
                assert abs(later - at) >= timedelta(days=300)
