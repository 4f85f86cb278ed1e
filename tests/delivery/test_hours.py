"""Hours of contact: never outside the window, never later than need be, in every zone and on the days clocks change."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.delivery.hours import Window, find_opening, find_zone, is_open

ZONES = sorted(available_timezones() - {"localtime", "posixrules"})
moments = st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))
times = st.times().map(lambda t: t.replace(microsecond=0, tzinfo=None, fold=0))
windows = st.builds(Window, times, times).filter(lambda w: w.opens != w.closes)
LONGEST = timedelta(days=2, hours=3)  # a window of a minute that a change of the clocks leaves out comes the day after


@settings(max_examples=400)
@given(moments, st.sampled_from(ZONES), windows)
def test_what_is_found_is_open_and_not_before(moment, name, window):
    zone = ZoneInfo(name)
    opening = find_opening(moment, zone, window)
    assert opening >= moment
    assert is_open(opening, zone, window)
    assert opening - moment < LONGEST
    local = opening.astimezone(zone).time()
    if window.opens < window.closes:
        assert window.opens <= local < window.closes
    else:
        assert not window.closes <= local < window.opens


@settings(max_examples=400)
@given(moments, st.sampled_from(ZONES), st.integers(0, 23), st.integers(0, 23))
def test_nobody_waits_longer_than_need_be(moment, name, opens, closes):
    """By full hours no opening is missed: what lies between was closed, looked at minute by minute."""
    if opens == closes:
        return
    zone, window = ZoneInfo(name), Window(time(opens), time(closes))
    opening = find_opening(moment, zone, window)
    for minute in range(0, int((opening - moment).total_seconds() // 60) - 60, 7):
        assert not is_open(moment + timedelta(minutes=minute), zone, window)


@pytest.mark.parametrize(
    ("moment", "zone", "window", "expected"),
    [
        # In: at once. At the end: the next day.
        ("2026-12-01T10:00+08:00", "Asia/Shanghai", (8, 21), "2026-12-01T10:00+08:00"),
        ("2026-12-01T20:59:59+08:00", "Asia/Shanghai", (8, 21), "2026-12-01T20:59:59+08:00"),
        ("2026-12-01T21:00+08:00", "Asia/Shanghai", (8, 21), "2026-12-02T08:00+08:00"),
        ("2026-12-01T07:59+08:00", "Asia/Shanghai", (8, 21), "2026-12-01T08:00+08:00"),
        # Over midnight.
        ("2026-12-01T23:30+08:00", "Asia/Shanghai", (20, 2), "2026-12-01T23:30+08:00"),
        ("2026-12-01T02:00+08:00", "Asia/Shanghai", (20, 2), "2026-12-01T20:00+08:00"),
        # New York springs forward on 2026-03-08, 02:00 -> 03:00: what opens at 02:00 opens at 03:00.
        ("2026-03-08T01:30-05:00", "America/New_York", (2, 5), "2026-03-08T03:00-04:00"),
        # A window that is left out whole comes the day after.
        ("2026-03-08T01:30-05:00", "America/New_York", (2, 3), "2026-03-09T02:00-04:00"),
        # It falls back on 2026-11-01, 02:00 -> 01:00: the hour that comes twice is open twice.
        ("2026-11-01T01:30-04:00", "America/New_York", (1, 2), "2026-11-01T01:30-04:00"),
        ("2026-11-01T01:30-05:00", "America/New_York", (1, 2), "2026-11-01T01:30-05:00"),
        # Apia left out a whole day, 2011-12-30.
        ("2011-12-29T22:00-10:00", "Pacific/Apia", (8, 21), "2011-12-31T08:00+14:00"),
    ],
)
def test_days_on_which_clocks_change(moment, zone, window, expected):
    found = find_opening(datetime.fromisoformat(moment), ZoneInfo(zone), Window(time(window[0]), time(window[1])))
    assert found == datetime.fromisoformat(expected)


def test_what_is_no_zone():
    for name in (None, "", "Asia/Peking", "../etc/passwd", "UTC+8", "+08:00", "asia/shanghai", "America", "\0"):
        assert find_zone(name) is None
    assert find_zone("Asia/Shanghai").key == "Asia/Shanghai"


def test_no_window_is_always_open():
    now = datetime(2026, 12, 1, 3, tzinfo=UTC)
    assert find_opening(now, ZoneInfo("Asia/Shanghai"), None) == now
