"""When things are due: across summer time, at the turn of the year, for cohorts on either side of midnight."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from retention.journey.models import Coupon, Journey


def journey(zone: str, at: str, expires: str = "24h", **more) -> Journey:
    step = {"id": "hello", "at": at, "send": {"template": "t", "channels": ["email"]}, "expires": expires}
    about = {"journey": "j", "title": "J", "schedule": "0 0 * * *", "starts_on": "2026-01-01", "audience": "a"}
    return Journey.model_validate({**about, "timezone": zone, "steps": [step], **more})


def due(zone: str, at: str, cohort_at: datetime) -> datetime:
    found = journey(zone, at)
    # In UTC: Python calls times of the repeated hour unequal to everything in another zone.
    return found.due_at(found.steps[0], cohort_at).astimezone(UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_day_0_is_the_cohorts_local_day_not_that_of_utc() -> None:
    # 06:00 in Shanghai is 22:00 UTC of the day before.
    cohort_at = utc("2026-11-30 22:00")
    assert journey("Asia/Shanghai", "day 0, 10:00").cohort_day(cohort_at) == date(2026, 12, 1)
    assert due("Asia/Shanghai", "day 0, 10:00", cohort_at) == utc("2026-12-01 02:00")


def test_a_cohort_just_before_and_just_after_midnight() -> None:
    assert due("Asia/Shanghai", "day 0, 23:59", utc("2026-12-01 15:59")) == utc("2026-12-01 15:59")
    assert due("Asia/Shanghai", "day 0, 23:59", utc("2026-12-01 16:00")) == utc("2026-12-02 15:59")


def test_over_the_turn_of_the_year() -> None:
    assert due("Asia/Shanghai", "day 6, 10:00", utc("2026-12-28 22:00")) == utc("2027-01-04 02:00")


def test_over_29_february() -> None:
    assert due("Asia/Shanghai", "day 1, 10:00", utc("2028-02-27 22:00")) == utc("2028-02-29 02:00")


def test_the_clock_on_the_wall_is_kept_when_summer_time_begins_and_ends() -> None:
    before, after = utc("2027-03-13 12:00"), utc("2027-11-06 12:00")
    assert due("America/New_York", "day 0, 10:00", before) == utc("2027-03-13 15:00")
    assert due("America/New_York", "day 1, 10:00", before) == utc("2027-03-14 14:00")
    assert due("America/New_York", "day 0, 10:00", after) == utc("2027-11-06 14:00")
    assert due("America/New_York", "day 1, 10:00", after) == utc("2027-11-07 15:00")


def test_a_time_that_is_left_out_is_moved_on() -> None:
    found = journey("America/New_York", "day 1, 02:30")
    moment = found.due_at(found.steps[0], utc("2027-03-13 12:00"))
    assert moment == utc("2027-03-14 07:30") and f"{moment:%H:%M}" == "03:30"


def test_a_time_that_comes_twice_is_the_first() -> None:
    assert due("America/New_York", "day 1, 01:30", utc("2027-11-06 12:00")) == utc("2027-11-07 05:30")


def test_expiry_is_elapsed_time_and_both_are_in_the_journeys_zone() -> None:
    found = journey("America/New_York", "day 0, 10:00", expires="1d")
    step, cohort_at = found.steps[0], utc("2027-03-13 12:00")
    assert found.expires_at(step, cohort_at) == utc("2027-03-14 15:00")
    for moment in (found.due_at(step, cohort_at), found.expires_at(step, cohort_at)):
        assert moment.tzinfo == ZoneInfo("America/New_York")


def test_length_ends_with_the_last_expiry() -> None:
    assert journey("Asia/Shanghai", "day 6, 10:00", expires="2d").length == timedelta(days=8, hours=10)


def test_a_coupons_last_day_counts_whole() -> None:
    found = journey("Asia/Shanghai", "day 0, 10:00")
    week = Coupon(kind="percent_off", value=20, valid="7d")
    assert found.coupon_valid_until(week, utc("2026-12-28 02:00")) == utc("2027-01-04 15:59:59")
    # Over the end of summer time, and for a coupon that is given just before midnight.
    london = journey("Europe/London", "day 0, 23:30")
    short = Coupon(kind="percent_off", value=20, valid="1h")
    assert london.coupon_valid_until(week, utc("2027-10-25 09:00")) == utc("2027-11-01 23:59:59")
    assert london.coupon_valid_until(short, utc("2027-12-01 23:30")) == utc("2027-12-02 23:59:59")


@pytest.mark.parametrize("hour", range(24))
def test_due_is_never_before_the_day_began(hour: int) -> None:
    cohort_at = utc(f"2027-03-28 {hour:02}:00")
    found = journey("Europe/London", "day 0, 00:00")
    moment = found.due_at(found.steps[0], cohort_at)
    assert moment.date() == found.cohort_day(cohort_at)
