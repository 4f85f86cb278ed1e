"""Whose first order has arrived: by delivery, payment or the order itself, whatever the shop tells; the first one alone."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from retention.audience.select import fetch_audience
from tests.world import DAY, INCLUDE, shanghai

NOW = shanghai("2026-12-01 14:00")
SQL = (INCLUDE / "sql" / "audiences" / "first_order_received.sql").read_text(encoding="utf-8")
TICK = timedelta(seconds=1)


@pytest.fixture
def received(world):
    def received(as_of=NOW, window=2 * DAY, known_at=None):
        with world.engine.begin() as conn:
            conn.execute(text("create temporary table found (customer_id text, occurrence text) on commit drop"))
            fetch_audience(
                conn, "first_order_received", SQL, as_of=as_of, known_at=known_at, window_start=as_of - window,
                zone="Asia/Shanghai", into="found",
            )  # fmt: skip
            found = conn.execute(text("select customer_id, occurrence from found")).all()
        assert len(found) == len(set(found)), "each once"
        return dict(map(tuple, found))

    return received


@pytest.fixture
def order(world):
    def order(order_id, at, customer_id=None, recorded=None, **statuses):
        """An order with the moments of its statuses; its customer has its name unless told otherwise."""
        customer_id = customer_id or f"c_{order_id}"
        if not world.rows("select 1 from customers where customer_id = :id", id=customer_id):
            world.customer(customer_id)
        world.add("orders", order_id=order_id, customer_id=customer_id, occurred_at=at, recorded_at=recorded or at)
        for status, moment in statuses.items():
            world.add(
                "order_status", order_id=order_id, status=status, occurred_at=moment, recorded_at=recorded or moment
            )

    return order


def test_by_its_delivery(received, order):
    for name, at in (("now", NOW), ("later", NOW + TICK), ("edge", NOW - 2 * DAY + TICK), ("past", NOW - 2 * DAY)):
        order(name, NOW - 20 * DAY, paid=NOW - 20 * DAY, delivered=at)
    order("under_way", NOW - DAY, paid=NOW - DAY)
    assert received() == {"c_now": "first_order:now", "c_edge": "first_order:edge"}


def test_by_its_payment_in_a_shop_that_tells_of_no_deliveries(received, order):
    order("paid", NOW - 5 * DAY, paid=NOW - DAY)
    order("unpaid", NOW - DAY, placed=NOW - DAY)
    assert received() == {"c_paid": "first_order:paid"}


def test_by_the_order_in_a_shop_that_tells_of_nothing(received, order):
    order("new", NOW - DAY)
    order("old", NOW - 3 * DAY)
    assert received() == {"c_new": "first_order:new"}


def test_who_hears_nothing_of_a_delivery_waits_ten_days(received, order):
    order("seen", NOW - 12 * DAY, paid=NOW - 12 * DAY, delivered=NOW - 9 * DAY)
    for name, at in (("ten", NOW - 10 * DAY), ("nine", NOW - 10 * DAY + TICK), ("twelve", NOW - 12 * DAY)):
        order(name, at, paid=at)
    assert received() == {"c_ten": "first_order:ten"}


def test_the_first_order_alone_and_once(received, order):
    order("first", NOW - 30 * DAY, "ann", delivered=NOW - 28 * DAY)
    order("second", NOW - 4 * DAY, "ann", delivered=NOW - DAY)
    order("both_a", NOW - 4 * DAY, "bob", delivered=NOW - DAY)
    order("both_b", NOW - 4 * DAY, "bob", delivered=NOW - DAY)
    order("overtaken", NOW - 5 * DAY, "cid", delivered=NOW - DAY)
    order("faster", NOW - 4 * DAY, "cid", delivered=NOW - 2 * DAY + TICK)
    assert received() == {"bob": "first_order:both_a", "cid": "first_order:overtaken"}


def test_what_came_to_nothing_is_no_first_order(received, order):
    order("gone", NOW - 30 * DAY, "ann", paid=NOW - 30 * DAY, cancelled=NOW - 29 * DAY)
    order("kept", NOW - 4 * DAY, "ann", delivered=NOW - DAY)
    order("back", NOW - 4 * DAY, "bob", delivered=NOW - DAY, refunded=NOW - TICK)
    assert received() == {"ann": "first_order:kept"}


def test_what_is_learned_late_was_not_known(received, order):
    order("late", NOW - 3 * DAY, recorded=NOW + DAY, delivered=NOW - DAY)
    assert received() == {} and received(known_at=NOW + DAY) == {"c_late": "first_order:late"}
    assert received(as_of=NOW + DAY - TICK, known_at=NOW + DAY) == {"c_late": "first_order:late"}, (
        "still within the window"
    )
