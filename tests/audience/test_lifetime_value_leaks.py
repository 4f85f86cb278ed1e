"""No leak from the future: what is worked out today as of a past date is what is worked out with later facts deleted.

And: what was written day by day, for those whose facts had changed, is what one run over everybody gives."""

from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import text

from retention.audience.scores.calibration import calibrate_purchases
from retention.audience.scores.lifetime_value import refresh_values
from retention.audience.scores.next_purchase import find_next_purchases, fit_cycles
from retention.audience.scores.value_models import sum_purchases
from tests.audience.buyers import ZONE, Buyers, moment

BEGIN, THEN = moment("2026-01-01"), moment("2026-05-01")

# Back to what was known at a moment: later rows go, and what was replaced later is as it was.
FORGET = """
delete from orders where recorded_at > :at;
insert into orders (order_id, customer_id, amount, currency, source, occurred_at, recorded_at)
select order_id, customer_id, amount, currency, source, occurred_at, recorded_at
from order_history where recorded_at <= :at and replaced_at > :at;
delete from order_history where replaced_at > :at;
delete from order_items where recorded_at > :at;
insert into order_items (order_id, line, product_id, category, quantity, amount, currency, coupon_code, recorded_at)
select order_id, line, product_id, category, quantity, amount, currency, coupon_code, recorded_at
from order_item_history where recorded_at <= :at and replaced_at > :at;
delete from order_item_history where replaced_at > :at;
delete from order_status where recorded_at > :at or occurred_at > :at;
delete from orders where occurred_at > :at
"""


def live(shop: Buyers, random: Random, begin, days: int, people: int = 25) -> None:
    """Days in a shop: purchases, corrections, cancellations, credits, late facts, facts of a day to come."""
    with shop.engine.begin() as conn:
        known = [row[0] for row in conn.execute(text("select order_id from orders order by order_id"))]

        def do(sql, **values):
            conn.execute(text(sql), values)

        for hour in sorted(random.uniform(0, days * 24) for _ in range(days * 5)):
            at = begin + timedelta(hours=hour)
            happened = at + timedelta(hours=random.choice([0, 0, 0, -1, -30, -900, 20]))
            what = random.random()
            if what < 0.55 or not known:
                shop.orders += 1
                order = f"O{shop.orders}"
                known.append(order)
                amount = random.choice([None, 0, -5, 10, 20, 99.5])
                do(
                    "insert into orders (order_id, customer_id, amount, currency, occurred_at, recorded_at)"
                    " values (:order, :customer, :amount, :currency, :happened, :at)",
                    order=order,
                    customer=f"c{random.randrange(people)}",
                    amount=amount,
                    currency=None if amount is None else random.choice(["CNY", "CNY", "USD"]),
                    happened=happened,
                    at=at,
                )
                for line in range(random.randrange(3)):
                    do(
                        "insert into order_items (order_id, line, category, quantity, amount, currency, recorded_at)"
                        " values (:order, :line, :category, 1, :amount, :currency, :at)",
                        order=order,
                        line=line,
                        category=random.choice(["tea", "cups"]),
                        amount=random.choice([5, 40, -3]),
                        currency=random.choice(["CNY", "USD"]),
                        at=at,
                    )
            elif what < 0.75:
                do(
                    "insert into order_status (order_id, status, occurred_at, recorded_at)"
                    " values (:order, :status, :happened, :at) on conflict do nothing",
                    order=random.choice(known),
                    status=random.choice(["paid", "delivered", "cancelled", "refunded"]),
                    happened=happened,
                    at=at,
                )
            elif what < 0.9:
                do(
                    "update orders set amount = :amount, currency = 'CNY', customer_id = :customer, recorded_at = :at,"
                    " occurred_at = occurred_at + :shift where order_id = :order and recorded_at < :at",
                    order=random.choice(known),
                    amount=random.choice([1, 70]),
                    customer=f"c{random.randrange(people)}",
                    shift=timedelta(hours=random.choice([0, 0, 30])),
                    at=at,
                )
            elif what < 0.94:
                do(
                    "insert into order_items (order_id, line, category, quantity, amount, currency, recorded_at)"
                    " values (:order, 9, 'tea', 1, 15, 'CNY', :at) on conflict do nothing",
                    order=random.choice(known),
                    at=at,
                )
            elif what < 0.97:
                do(
                    "update order_items set amount = amount + 1, recorded_at = :at"
                    " where order_id = :order and recorded_at < :at",
                    order=random.choice(known),
                    at=at,
                )
            else:
                do(
                    "with gone as (delete from orders where order_id = :order and recorded_at < :at returning *)"
                    " insert into order_history (order_id, customer_id, amount, currency, source, occurred_at, recorded_at,"
                    " replaced_at) select order_id, customer_id, amount, currency, source, occurred_at, recorded_at, :at from gone",
                    order=random.choice(known),
                    at=at,
                )


def look(shop: Buyers, at) -> dict:
    """Everything that is worked out as of an instant."""
    with shop.engine.begin() as conn:
        sum_purchases(conn, at, zone=ZONE, known_at=at)
        sums = sorted(map(tuple, conn.execute(text("select * from purchase_sums"))))
        fit_cycles(conn, at, zone=ZONE)
        again = find_next_purchases(conn, at, zone=ZONE, min_customers=2)
        run = refresh_values(conn, at, zone=ZONE)
        values = sorted(map(tuple, conn.execute(text("select * from customer_values where as_of = :at"), {"at": at})))
        earlier = at - timedelta(days=40)
        judged = calibrate_purchases(conn, earlier, until=at, zone=ZONE, keep=False)
        conn.rollback()
    assert sums and again and run.customers and judged.positives
    return {"sums": sums, "again": again, "values": values, "judged": judged}


@pytest.mark.parametrize("seed", range(4))
def test_later_facts_change_nothing(world, seed):
    shop, random = Buyers(world), Random(seed)
    shop.models("2026-01-01")
    live(shop, random, BEGIN, 200)
    today = look(shop, THEN)
    assert look(shop, THEN + timedelta(days=60))["sums"] != today["sums"]
    with shop.engine.begin() as conn:
        for statement in FORGET.split(";"):
            conn.execute(text(statement), {"at": THEN})
    assert look(shop, THEN) == today


@pytest.mark.parametrize("seed", range(4))
def test_day_by_day_is_all_at_once(world, seed):
    """Of every day the view shows what one run over everybody shows."""
    shop, random = Buyers(world), Random(100 + seed)
    shop.models("2026-01-01")
    live(shop, random, BEGIN, 60)
    for day in range(60, 72):
        at = BEGIN + timedelta(days=day)
        live(shop, random, at - timedelta(days=1), 1)
        with shop.engine.begin() as conn:
            done = refresh_values(conn, at, zone=ZONE)
        assert done.is_full == (day == 60)
        written = shop.world.rows(
            "select distinct on (customer_id) customer_id, frequency, first_on, last_on, currency, spend_days, mean_spend, share"
            " from customer_values order by customer_id, as_of desc"
        )
        with shop.engine.begin() as conn:
            sum_purchases(conn, at, zone=ZONE, known_at=at)
            columns = "customer_id, frequency, first_on, last_on, currency, spend_days, mean_spend, share"
            fresh = conn.execute(text(f"select {columns} from purchase_sums order by customer_id")).all()
        assert [row for row in written if row[1] is not None] == [tuple(row) for row in fresh]
