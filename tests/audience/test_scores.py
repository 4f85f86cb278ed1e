"""Sums, levels and tiers in Postgres: each threshold at, just below and just above its edge; odd orders; tiny counts."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from retention.audience.scores import explain_scores, find_run, read_tiers, refresh_scores
from retention.audience.select import fetch_audience
from retention.errors import RetentionError
from retention.journey.scores import Scores
from retention.store.queries import look_as_of
from tests.world import DAY, INCLUDE, LONG_AGO, shanghai

NOW = shanghai("2026-12-01 00:00")
TICK = timedelta(microseconds=1)
FIXED = {
    "cuts": {
        "recency": {"mid": "60d", "high": "20d"},
        "frequency": {"mid": 3, "high": 6},
        "monetary": {"mid": 100, "high": 1000},
        "activity": {"mid": 5, "high": 10},
    }
}


def config(**changes) -> Scores:
    return Scores.model_validate(FIXED | changes)


QUANTILES = Scores()


@pytest.fixture
def shop(world):
    return Shop(world)


class Shop:
    """Customers with orders, events and scores, by the line."""

    def __init__(self, world):
        self.world, self.engine, self.count = world, world.engine, 0

    def customer(self, customer_id="c", since=LONG_AGO):
        self.world.add("customers", customer_id=customer_id, occurred_at=since, recorded_at=since)
        return customer_id

    def order(self, customer_id="c", ago=DAY, amount=10, currency="CNY", status=None, recorded=None, at=None):
        self.count += 1
        at = at or NOW - ago
        self.world.add(
            "orders", order_id=f"o{self.count}", customer_id=customer_id, amount=amount,
            currency=None if amount is None else currency, occurred_at=at, recorded_at=recorded or at,
        )  # fmt: skip
        if status:
            self.state(f"o{self.count}", status, at)
        return f"o{self.count}"

    def state(self, order_id, status, at, recorded=None):
        self.world.add("order_status", order_id=order_id, status=status, occurred_at=at, recorded_at=recorded or at)

    def events(self, kind, count, customer_id="c", ago=DAY):
        for _ in range(count):
            at = NOW - ago
            self.world.add("events", customer_id=customer_id, kind=kind, occurred_at=at, recorded_at=at)

    def score(self, as_of=NOW, config=QUANTILES, **how):
        return refresh_scores(self.engine, as_of, now=as_of, config=config, **how)

    def sums(self, customer_id="c"):
        with self.engine.connect() as conn:
            row = conn.execute(text("select * from customer_sums where customer_id = :c"), {"c": customer_id}).one()
            return row._mapping

    def levels(self, customer_id="c"):
        code = self.sums(customer_id)["levels"]
        return code // 27, code // 9 % 3, code // 3 % 3, code % 3

    def tiers(self, as_of=NOW, scheme="six"):
        with self.engine.connect() as conn:
            return {customer: it.tier for customer, it in read_tiers(conn, as_of, scheme).items()}


# --- the edges of every level, fixed cuts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "level"),
    [
        (20 * DAY - TICK, 2),
        (20 * DAY, 2),
        (20 * DAY + TICK, 1),
        (60 * DAY - TICK, 1),
        (60 * DAY, 1),
        (60 * DAY + TICK, 0),
    ],
)
def test_recency_at_its_edges(shop, ago, level):
    shop.customer()
    shop.order(ago=ago)
    shop.score(config=config())
    assert shop.levels()[0] == level


@pytest.mark.parametrize(("orders", "level"), [(2, 0), (3, 1), (4, 1), (5, 1), (6, 2), (7, 2)])
def test_frequency_at_its_edges(shop, orders, level):
    shop.customer()
    for _ in range(orders):
        shop.order()
    shop.score(config=config())
    assert shop.levels()[1] == level


@pytest.mark.parametrize(
    ("amount", "level"),
    [("99.9999", 0), ("100", 1), ("100.0001", 1), ("999.9999", 1), ("1000", 2), ("1000.0001", 2), ("0", 0), ("-5", 0)],
)
def test_monetary_at_its_edges(shop, amount, level):
    shop.customer()
    shop.order(amount=Decimal(amount))
    shop.score(config=config())
    assert shop.levels()[2] == level


@pytest.mark.parametrize(("logins", "level"), [(0, 0), (4, 0), (5, 1), (6, 1), (9, 1), (10, 2), (11, 2)])
def test_activity_at_its_edges(shop, logins, level):
    shop.customer()
    shop.events("login", logins)
    shop.score(config=config())
    assert shop.levels()[3] == level


def test_activity_is_weighted_and_has_a_window(shop):
    shop.customer()
    for kind in ("login", "view", "cart", "participation", "community", "review"):
        shop.events(kind, 1, ago=90 * DAY - TICK)
        shop.events(kind, 1, ago=90 * DAY)  # just out of the window
    shop.score(config=config())
    sums = shop.sums()
    assert [sums[k] for k in ("logins", "views", "carts", "participations", "community")] == [1] * 5
    assert sums["last_login_at"] == NOW - 90 * DAY + TICK
    with shop.engine.connect() as conn:
        [activity] = [d for d in explain_scores(conn, "c", NOW).dimensions if d.name == "activity"]
    assert activity.value == 1 + 1 + 3 + 5 + 3


# --- the edges of tiers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ago", "tier"), [(30 * DAY - TICK, "new"), (30 * DAY, "new"), (30 * DAY + TICK, "potential")])
def test_new_at_its_edge(shop, ago, tier):
    shop.customer()
    shop.order(ago=ago)
    shop.score(config=config())
    assert shop.tiers() == {"c": tier}


@pytest.mark.parametrize(
    ("ago", "tier"), [(90 * DAY - TICK, "potential"), (90 * DAY, "churn_warning"), (90 * DAY + TICK, "churn_warning")]
)
def test_churn_warning_needs_three_months_without_an_order(shop, ago, tier):
    shop.customer()
    shop.order(ago=ago, amount=500)
    shop.score(config=config())
    assert shop.levels() == (0, 0, 1, 0)
    assert shop.tiers() == {"c": tier}


def make(shop, customer_id, last_order, orders, amount, points):
    shop.customer(customer_id)
    shop.order(customer_id, ago=300 * DAY, amount=0)
    for _ in range(orders - 1):
        shop.order(customer_id, ago=last_order * DAY, amount=Decimal(amount) / (orders - 1))
    shop.events("login", points, customer_id)


def test_each_definition_gives_its_tier(shop):
    make(shop, "diamond", 5, 8, 2000, 12)
    make(shop, "gold", 40, 8, 2000, 6)
    make(shop, "silver", 5, 4, 200, 12)
    make(shop, "churn_warning", 100, 2, 200, 0)
    make(shop, "potential", 70, 4, 80, 6)
    shop.customer("new")
    shop.order("new", ago=3 * DAY, amount=5000)
    shop.customer("never")
    shop.score(config=config())
    assert shop.tiers() == {
        "never": "potential",
        **{name: name for name in ("new", "diamond", "gold", "silver", "churn_warning", "potential")},
    }


# --- windows, odd orders, money -----------------------------------------------------------------------------------------


def test_the_window_of_orders(shop):
    shop.customer()
    shop.order(ago=365 * DAY - TICK, amount=1)
    shop.order(ago=365 * DAY, amount=2)
    shop.score()
    sums = shop.sums()
    assert (sums["orders"], sums["amount"], sums["orders_before"], sums["amount_before"]) == (1, 1, 1, 2)
    assert sums["first_order_at"] == NOW - 365 * DAY


def test_refunds_cancellations_and_second_thoughts(shop):
    shop.customer()
    shop.order(amount=1, ago=50 * DAY)
    shop.order(amount=2, status="cancelled")
    shop.order(amount=4, status="refunded")
    again = shop.order(amount=8, status="cancelled", ago=9 * DAY)
    shop.state(again, "paid", NOW - 8 * DAY)
    twice = shop.order(amount=16, status="paid", ago=9 * DAY)
    shop.state(twice, "refunded", NOW - 9 * DAY)  # at the same moment the later state counts: refunded
    tomorrow = shop.order(amount=32, ago=7 * DAY)
    shop.state(tomorrow, "cancelled", NOW + DAY)
    unknown = shop.order(amount=64, ago=7 * DAY)
    shop.state(unknown, "refunded", NOW - DAY, recorded=NOW + TICK)
    shop.score()
    sums = shop.sums()
    assert (sums["orders"], sums["amount"]) == (4, 1 + 8 + 32 + 64)
    shop.score(NOW + DAY)
    sums = shop.sums()
    assert (sums["orders"], sums["amount"]) == (2, 1 + 8)
    assert sums["last_order_at"] == NOW - 9 * DAY


def test_what_gives_money_back_is_no_order(shop):
    shop.customer()
    shop.order(amount=100, ago=40 * DAY)
    shop.order(amount=-30)
    shop.order("c", amount=0, ago=3 * DAY)  # a gift is an order
    shop.score()
    sums = shop.sums()
    assert (sums["orders"], sums["amount"], sums["returns"]) == (2, 70, 1)
    assert sums["last_order_at"] == NOW - 3 * DAY


def test_one_currency_at_a_time(shop):
    shop.customer()
    shop.order(amount=10)
    shop.order(amount=5, currency="USD")
    shop.order(amount=7, currency="EUR")
    shop.score()
    sums = shop.sums()
    assert (sums["orders"], sums["amount"], sums["unpriced_orders"]) == (3, 10, 2)
    done = shop.score(NOW + DAY, Scores.model_validate({"rates": {"USD": 7.1}}))
    assert done.is_rebuild  # another rate makes other sums
    sums = shop.sums()
    assert (sums["orders"], sums["amount"], sums["unpriced_orders"]) == (3, Decimal("45.5"), 1)


def test_orders_that_are_worth_their_lines(shop):
    shop.customer()
    line = {"quantity": 1, "recorded_at": NOW - DAY}
    both, mixed, bare = (shop.order(amount=None) for _ in range(3))
    for number, (order, amount, currency) in enumerate(
        [(both, 3, "CNY"), (both, 4, "CNY"), (mixed, 5, "CNY"), (mixed, 6, "USD")]
    ):
        shop.world.add("order_items", order_id=order, line=number, amount=amount, currency=currency, **line)
    shop.score()
    sums = shop.sums()
    assert (sums["orders"], sums["amount"], sums["unpriced_orders"]) == (3, 7, 2), (mixed, bare)


def test_amounts_add_up_exactly(shop):
    shop.customer()
    for _ in range(10):
        shop.order(amount=Decimal("0.1"))
    shop.score()
    assert shop.sums()["amount"] == 1


# --- quantiles: ties and tiny counts ------------------------------------------------------------------------------------


def test_nobody(shop):
    done = shop.score()
    assert (done.customers, done.moved, shop.tiers()) == (0, 0, {})


def test_one_customer_exceeds_nobody(shop):
    shop.customer()
    shop.order(ago=50 * DAY, amount=10**6)
    shop.score()
    assert shop.levels() == (0, 0, 0, 0)
    assert shop.tiers() == {"c": "potential"}


def test_seven_customers(shop):
    for n in range(7):
        shop.customer(f"c{n}")
        shop.order(f"c{n}", amount=n + 1, ago=(60 - n) * DAY)
    shop.score()
    # 40 % of seven are 2.8 people: the first three do not exceed them; 80 % are 5.6.
    assert [shop.levels(f"c{n}")[2] for n in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    assert [shop.levels(f"c{n}")[0] for n in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    assert [shop.levels(f"c{n}")[1] for n in range(7)] == [0] * 7  # equal ones are equal, and exceed nobody


def test_equal_values_have_equal_levels(shop):
    for n in range(10):
        shop.customer(f"c{n}")
        shop.order(f"c{n}", amount=5 if n < 5 else 6, ago=50 * DAY)
    shop.score()
    assert [shop.levels(f"c{n}")[2] for n in range(10)] == [0] * 5 + [1] * 5


# --- time ---------------------------------------------------------------------------------------------------------------


def test_a_level_is_kept_within_the_dead_band(shop):
    """Rises at 100, falls below 90: what goes to and fro in between changes nothing."""
    shop.customer()
    shop.order(amount=100, ago=100 * DAY)
    wide = config(dead_band="10%")
    expected = [(0, 1), (-5, 1), (+3, 1), (-8, 1), (-1, 0), (+10, 0), (+1, 1)]  # 100 95 98 90 89 99 100
    for day, (change, level) in enumerate(expected):
        if change:
            shop.order(amount=change, at=NOW + day * DAY - timedelta(hours=1))
        shop.score(NOW + day * DAY, wide)
        assert shop.levels()[2] == level, day


def test_only_those_with_news_are_looked_at_and_only_changes_are_written(shop):
    for n in range(20):
        shop.customer(f"c{n}")
        shop.order(f"c{n}", ago=(50 + n) * DAY, amount=n + 1)
    shop.score()
    shop.order("c3", at=NOW + timedelta(hours=12), amount=3)
    shop.events("login", 2, "c4", ago=-timedelta(hours=12))
    done = shop.score(NOW + DAY)
    assert (done.is_rebuild, done.touched, done.customers) == (False, 2, 20)
    quiet = shop.score(NOW + DAY + timedelta(hours=10))
    assert quiet.touched == 0
    again = shop.score(NOW + DAY + timedelta(hours=10))
    assert again.is_repeat and again.run_id == quiet.run_id


def test_what_is_written_down_while_a_run_looks_is_found_by_the_next(shop):
    shop.customer()
    shop.score()
    shop.order(at=NOW - timedelta(hours=1), amount=9)  # committed after the run, dated before it
    shop.score(NOW + DAY)
    assert shop.sums()["amount"] == 9


def test_the_past_stays(shop):
    shop.customer()
    shop.order(ago=20 * DAY)
    shop.score()
    shop.score(NOW + 15 * DAY)
    assert shop.tiers(NOW) == shop.tiers(NOW + 15 * DAY - TICK) == {"c": "new"}
    assert shop.tiers(NOW + 15 * DAY) == {"c": "potential"}
    assert shop.tiers(NOW - TICK) == {}
    with pytest.raises(RetentionError, match="is not later. Read a past moment with read_tiers"):
        shop.score(NOW + DAY)
    with shop.engine.connect() as conn:
        assert find_run(conn, NOW - TICK) is None
        assert find_run(conn, NOW + 20 * DAY).as_of == NOW + 15 * DAY
        assert explain_scores(conn, "c", NOW - TICK) is None
        told = explain_scores(conn, "c", NOW + 20 * DAY)
        assert [(c.tier, c.previous, c.since) for c in told.history] == [
            ("new", None, NOW),
            ("potential", "new", NOW + 15 * DAY),
        ]
        assert explain_scores(conn, "nobody", NOW).sums == {}


def test_who_is_no_customer_any_more_has_no_tier(shop):
    shop.customer("a"), shop.customer("b")
    shop.score()
    with shop.engine.begin() as conn:
        conn.execute(text("delete from customers where customer_id = 'a'"))
        conn.execute(
            text("insert into customer_history (customer_id, occurred_at, recorded_at, replaced_at) values ('a', :l, :l, :n)"),
            {"l": LONG_AGO, "n": NOW + timedelta(hours=3)},
        )  # fmt: skip
    shop.score(NOW + DAY)
    assert (shop.tiers(NOW), shop.tiers(NOW + DAY)) == ({"a": "potential", "b": "potential"}, {"b": "potential"})


def test_a_change_of_tier_is_something_journeys_start_from(shop):
    shop.customer("c"), shop.customer("from_the_start")
    shop.order("c", ago=89 * DAY, amount=500)
    shop.order("from_the_start", ago=95 * DAY, amount=500)
    shop.score(config=config())
    shop.score(NOW + 2 * DAY, config())
    sql = (INCLUDE / "sql" / "audiences" / "became_churn_warning.sql").read_text()

    def named(as_of):
        with shop.engine.connect() as conn:
            conn.execute(text("create temporary table named (customer_id text, occurrence text) on commit drop"))
            fetch_audience(conn, "became_churn_warning", sql, as_of=as_of, window_start=as_of - 3 * DAY,
                           zone="Asia/Shanghai", into="named")  # fmt: skip
            return [tuple(row) for row in conn.execute(text("select * from named"))]

    assert named(NOW + 2 * DAY) == [("c", "churn_warning:2026-12-03T00:00")]
    assert named(NOW + 2 * DAY - TICK) == named(NOW + 5 * DAY) == []
    with shop.engine.begin() as conn:
        look_as_of(conn, NOW + DAY)
        seen = conn.execute(text("select customer_id, tier from as_of.tiers order by 1")).all()
        assert [tuple(row) for row in seen] == [("c", "potential"), ("from_the_start", "churn_warning")]


# --- the second scheme --------------------------------------------------------------------------------------------------


def test_the_shares_are_the_shares(shop):
    for n in range(100):
        shop.customer(f"c{n:02}")
        for k in range(1 + n // 10):
            shop.order(f"c{n:02}", ago=(200 - n - k) * DAY, amount=10 + n)
        shop.events("login", n, f"c{n:02}")
    both = Scores.model_validate({"schemes": ["six", "shares"]})
    shop.score(config=both)
    tiers = shop.tiers(scheme="shares")
    counts = {tier: list(tiers.values()).count(tier) for tier in ("high", "mid", "potential", "at_risk")}
    assert counts["high"] <= 10 and counts["high"] + counts["mid"] <= 40
    assert counts["at_risk"] >= 20 and counts["high"] >= 6
    assert tiers["c99"] == "high" and tiers["c50"] == "potential" and tiers["c00"] == "at_risk"
    assert shop.score(NOW + timedelta(hours=7), both).moved == 0
    shop.score(NOW + timedelta(hours=9), Scores())  # not kept any more
    assert shop.tiers(NOW + timedelta(hours=9), "shares") == {}
    assert len(shop.tiers(NOW + timedelta(hours=8), "shares")) == 100


def test_all_alike_are_all_at_risk_by_shares_and_none_is_lost(shop):
    for n in range(7):
        shop.customer(f"c{n}")
    shop.score(config=Scores.model_validate({"schemes": ["shares"]}))
    assert set(shop.tiers(scheme="shares").values()) == {"at_risk"}
    assert len(shop.tiers(scheme="shares")) == 7 and shop.tiers() == {}
