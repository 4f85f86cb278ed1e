"""Who is dormant: neither a login nor an order for 90 days, at its edges; a new silence is a new occasion."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from retention.audience.select import fetch_audience
from tests.world import DAY, INCLUDE, LONG_AGO, shanghai

NOW = shanghai("2026-12-01 07:30")
SQL = (INCLUDE / "sql" / "audiences" / "dormant_90_days.sql").read_text(encoding="utf-8")
TICK = timedelta(seconds=1)


@pytest.fixture
def dormant(world):
    def dormant(as_of=NOW, window=3 * DAY, known_at=None):
        with world.engine.begin() as conn:
            conn.execute(text("create temporary table found (customer_id text, occurrence text) on commit drop"))
            fetch_audience(
                conn, "dormant_90_days", SQL, as_of=as_of, known_at=known_at, window_start=as_of - window,
                zone="Asia/Shanghai", into="found",
            )  # fmt: skip
            return dict(map(tuple, conn.execute(text("select customer_id, occurrence from found"))))

    return dormant


def login(world, customer_id, at, recorded=None):
    world.add("events", customer_id=customer_id, kind="login", occurred_at=at, recorded_at=recorded or at)


def test_ninety_days_at_their_edges(world, dormant):
    for name, at in (
        ("today", NOW - 90 * DAY), ("not_yet", NOW - 90 * DAY + TICK), ("within", NOW - 93 * DAY + TICK),
        ("too_long_ago", NOW - 93 * DAY),
    ):  # fmt: skip
        world.customer(name)
        login(world, name, at)
    world.customer("never")
    assert dormant() == {"today": "dormant_since:2026-09-02", "within": "dormant_since:2026-08-30"}


def test_both_have_to_be_quiet(world, dormant):
    for name in ("orders", "logs_in", "quiet", "views"):
        world.customer(name)
        login(world, name, NOW - 91 * DAY)
        world.order(f"o_{name}", name, NOW - 92 * DAY)
    world.order("o2", "orders", NOW - 5 * DAY)
    login(world, "logs_in", NOW - 5 * DAY)
    world.add("events", customer_id="views", kind="view", occurred_at=NOW - 5 * DAY, recorded_at=NOW - 5 * DAY)
    assert set(dormant()) == {"quiet", "views"}


def test_a_new_silence_is_a_new_occasion(world, dormant):
    world.customer("c")
    login(world, "c", NOW - 91 * DAY)
    assert dormant() == {"c": "dormant_since:2026-09-01"}
    login(world, "c", NOW + 5 * DAY)
    assert dormant(as_of=NOW + 95 * DAY) == {"c": "dormant_since:2026-12-06"}


def test_what_is_learned_late_was_not_known(world, dormant):
    world.customer("c", since=LONG_AGO)
    login(world, "c", NOW - 91 * DAY)
    login(world, "c", NOW - 3 * DAY, recorded=NOW + DAY)
    assert set(dormant()) == {"c"} and dormant(known_at=NOW + 2 * DAY) == {}
