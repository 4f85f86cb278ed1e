"""The next purchase in a category: the customer's own median, drawn towards the category's."""

from datetime import date

import pytest

from retention.audience.scores.next_purchase import find_next_purchases, fit_cycles
from tests.audience.buyers import ZONE, Buyers, moment


@pytest.fixture
def shop(world):
    return Buyers(world)


def take(shop, customer, *days, category="tea", **values) -> str:
    for day in days:
        order = shop.buy(customer, day, None, order_id=f"{customer}-{category}-{day}")
        shop.line(order, 1, 10, category=category, **({"day": day} | values))
    return order


def find(shop, day="2026-07-01", fit=True, known=None, **settings):
    known_at = moment(known) if known else None
    with shop.engine.begin() as conn:
        if fit:
            fit_cycles(conn, moment(day), zone=ZONE, known_at=known_at)
        settings = {"min_customers": 3} | settings
        return find_next_purchases(conn, moment(day), zone=ZONE, known_at=known_at, **settings)


def by_customer(found):
    return {it.customer_id: (it.intervals, it.own_days, it.usual_days, it.days, it.due_on) for it in found}


def test_own_rhythm_drawn_towards_the_categorys(shop):
    for i in range(3):
        take(shop, f"usual{i}", "2026-04-01", "2026-05-01")  # 30 days
    take(shop, "own", "2026-05-01", "2026-05-11", "2026-05-21", "2026-06-30")  # 10, 10, 40
    take(shop, "once", "2026-06-01")
    found = by_customer(find(shop))
    assert found["own"] == (3, 10, 30, 20, date(2026, 7, 20))
    assert found["once"] == (0, None, 30, 30, date(2026, 7, 1))
    assert found["usual0"] == (1, 30, 30, 30, date(2026, 5, 31))  # overdue, and it says so
    assert by_customer(find(shop, weight=1))["own"][3] == 15
    alone = by_customer(find(shop, weight=0))
    assert alone["own"][3] == 10 and "once" not in alone


def test_one_who_buys_daily_counts_once_in_the_category(shop):
    take(shop, "daily", *[f"2026-06-{day:02}" for day in range(1, 28)])
    for i in range(2):
        take(shop, f"monthly{i}", "2026-04-01", "2026-05-01")
    assert by_customer(find(shop))["monthly0"][2] == 30


def test_few_customers_make_no_category(shop):
    take(shop, "a", "2026-04-01", "2026-05-01")
    take(shop, "b", "2026-04-01", "2026-05-01")
    take(shop, "c", "2026-06-01")
    assert find(shop) == []
    take(shop, "own", "2026-04-01", "2026-04-08", "2026-04-15", "2026-04-22")
    assert by_customer(find(shop, min_customers=4)) == {"own": (3, 7, None, 7, date(2026, 4, 29))}
    assert len(find(shop, min_customers=3)) == 4


def test_nobody(shop):
    assert find(shop) == []


def test_what_is_no_purchase_in_a_category(shop):
    for i in range(3):
        take(shop, f"usual{i}", "2026-04-01", "2026-05-01")
    take(shop, "c", "2026-05-01")
    for number, (status, amount, quantity) in enumerate(
        (("cancelled", 10, 1), ("refunded", 10, 1), (None, -10, 1), (None, 10, 0))
    ):
        order = shop.buy("c", f"2026-06-1{number}", None, status=status)
        shop.line(order, 1, amount, quantity=quantity)
    order = shop.buy("c", "2026-06-20", 10)
    shop.line(order, 1, 10, category=None)
    found = by_customer(find(shop))
    assert found["c"] == (0, None, 30, 30, date(2026, 5, 31))


def test_several_lines_of_a_day_are_one_and_categories_stand_apart(shop):
    for i in range(3):
        take(shop, f"usual{i}", "2026-04-01", "2026-05-01")
        take(shop, f"usual{i}", "2026-04-01", "2026-04-06", category="milk")
    order = shop.buy("c", "2026-05-01", None)
    for line, category in enumerate(("tea", "tea", "milk")):
        shop.line(order, line, 10, category=category)
    found = {it.category: it.due_on for it in find(shop, customers=["c"])}
    assert found == {"tea": date(2026, 5, 31), "milk": date(2026, 5, 6)}


def test_a_products_category_serves_where_the_line_has_none(shop):
    for i in range(3):
        take(shop, f"usual{i}", "2026-04-01", "2026-05-01")
    at = moment("2026-01-01")
    shop.world.add("products", product_id="P", category="tea", occurred_at=at, recorded_at=at)
    order = shop.buy("c", "2026-05-01", None)
    shop.world.add(
        "order_items", order_id=order, line=1, product_id="P", quantity=1, amount=3, currency="CNY", recorded_at=at
    )
    assert [it.due_on for it in find(shop, customers=["c"])] == [date(2026, 5, 31)]


def test_cycles_of_then(shop):
    for i in range(3):
        take(shop, f"usual{i}", "2026-04-01", "2026-05-01")
    find(shop, "2026-06-01")
    for i in range(3):
        take(shop, f"usual{i}", "2026-06-02", "2026-06-03", "2026-06-04")
    take(shop, "c", "2026-05-01")
    assert by_customer(find(shop, "2026-06-01", fit=False))["c"][2] == 30
    assert by_customer(find(shop))["c"][2] == 15.5
    assert by_customer(find(shop, "2026-06-01", fit=False))["c"][2] == 30
    assert find(shop, "2026-05-31", fit=False) == []
