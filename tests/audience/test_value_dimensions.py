"""The seven dimensions: points by the share that has no more, ties, tiny counts, kinds and periods, what nobody has."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from retention.audience.scores.value_dimensions import explain_points, refresh_points
from retention.errors import RetentionError
from retention.journey.scores import Scores
from retention.store.queries import look_as_of
from tests.world import DAY, LONG_AGO, shanghai

NOW = shanghai("2026-12-01 12:00")
TICK = timedelta(microseconds=1)


def config(purchases=None, rates=None, **dimensions) -> Scores:
    said = {"dimensions": ({"purchases": purchases} if purchases else {}) | dimensions}
    return Scores.model_validate(said | ({"rates": rates} if rates else {}))


@pytest.fixture
def shop(world):
    return Shop(world)


class Shop:
    def __init__(self, world):
        self.world, self.engine, self.count = world, world.engine, 0

    def customer(self, customer_id="c"):
        self.world.add("customers", customer_id=customer_id, occurred_at=LONG_AGO, recorded_at=LONG_AGO)
        return customer_id

    def buy(self, customer_id="c", ago=DAY, amount=10, currency="CNY", status=None, lines=(), product=None):
        """An order; `lines`: (category, amount)."""
        self.count += 1
        key, at = f"o{self.count}", NOW - ago
        worth = {"amount": amount, "currency": None if amount is None else currency}
        self.world.add("orders", order_id=key, customer_id=customer_id, occurred_at=at, recorded_at=at, **worth)
        for n, (category, worth) in enumerate(lines):
            self.world.add("order_items", order_id=key, line=n, category=category, product_id=product, quantity=1, amount=worth,
                           currency=currency, recorded_at=at)  # fmt: skip
        if status:
            self.world.add("order_status", order_id=key, status=status, occurred_at=at, recorded_at=at)

    def events(self, kind, count, customer_id="c", ago=DAY):
        for _ in range(count):
            at = NOW - ago
            self.world.add("events", customer_id=customer_id, kind=kind, occurred_at=at, recorded_at=at)

    def score(self, config=None, as_of=NOW):
        with self.engine.begin() as conn:
            return refresh_points(conn, as_of, now=as_of, zone="Asia/Shanghai", config=config)

    def explain(self, customer_id="c", as_of=NOW):
        with self.engine.begin() as conn:
            return explain_points(conn, customer_id, as_of)

    def parts(self, customer_id="c"):
        return {it.name: (it.input, it.points) for it in self.explain(customer_id).dimensions[0].parts}

    def seen(self, column="points", as_of=NOW):
        with self.engine.begin() as conn:
            look_as_of(conn, as_of)
            return dict(
                tuple(row) for row in conn.execute(text(f"select customer_id, {column} from as_of.customer_points"))
            )


@pytest.mark.parametrize(
    ("counts", "points"),
    [
        ([3], [100]),
        ([1, 2, 3, 4, 5, 6, 7], [14, 28, 42, 57, 71, 85, 100]),
        ([0, 5], [None, 100]),  # nothing of anything: no row
        ([1, 1, 1, 9], [75, 75, 75, 100]),  # equal ones have equal points
        ([2, 2], [100, 100]),
    ],
)
def test_points_are_the_share_that_has_no_more(shop, counts, points):
    for n, count in enumerate(counts):
        shop.customer(f"c{n}")
        shop.events("referral", count, f"c{n}")
    done = shop.score()
    assert shop.seen("referrals") == {f"c{n}": it for n, it in enumerate(points) if it is not None}
    assert shop.seen() == shop.seen("referrals")  # the only dimension with data weighs all
    assert done.customers == done.moved == sum(it is not None for it in points)
    left_out = ["purchases", "advocacy", "answers", "participation", "surveys", "suggestions"]
    assert done.found["left_out"] == left_out
    assert {it.name for it in shop.explain("c0").dimensions if it.left_out} == set(left_out)


def test_each_dimension_has_its_events_and_its_weight(shop):
    kinds = {"referral": "referrals", "review": "advocacy", "answer": "answers", "participation": "participation",
             "survey": "surveys", "suggestion": "suggestions"}  # fmt: skip
    for kind, name in kinds.items():
        shop.events(kind, 1, shop.customer(name))
    shop.buy(shop.customer("purchases")), shop.events("community", 1, shop.customer("speaks"))
    shop.events("login", 9, shop.customer("looks"))
    shop.score()
    weights = {"purchases": 40, "referrals": 15, "advocacy": 10, "answers": 10, "participation": 10, "surveys": 5,
               "suggestions": 10, "speaks": 10}  # fmt: skip
    assert shop.seen() == weights  # a hundred points of one dimension each
    assert {it.name: it.contribution for it in shop.explain("surveys").dimensions if it.contribution} == {"surveys": 5}


def test_a_shop_without_anybody(shop):
    assert shop.score().customers == 0
    shop.customer()
    assert shop.score(as_of=NOW + TICK).customers == 0 and shop.explain().points is None


def test_necessary_and_discretionary_recent_and_before(shop):
    rules = config({"necessary": ["food"]})
    shop.customer(), shop.customer("other")
    shop.buy(ago=365 * DAY - TICK, amount=100, lines=[("food", 30), ("toys", 70)])
    shop.buy(ago=5 * DAY, amount=20, lines=[("food", 20)])
    shop.buy(ago=365 * DAY, amount=7, lines=[("toys", 7)])
    shop.buy(ago=375 * DAY, amount=8)  # without lines: discretionary
    shop.buy(ago=380 * DAY, amount=1)
    shop.buy("other", amount=50, lines=[("food", 50)])
    shop.score(rules)
    told = {name: value for name, (value, _) in shop.parts().items()}
    assert told == {
        "necessary_recent_amount": 50, "necessary_recent_orders": 2, "necessary_recent_interval": pytest.approx(360),
        "necessary_before_amount": 0, "necessary_before_orders": 0, "necessary_before_interval": None,
        "discretionary_recent_amount": 70, "discretionary_recent_orders": 1, "discretionary_recent_interval": None,
        "discretionary_before_amount": 16, "discretionary_before_orders": 3,
        "discretionary_before_interval": pytest.approx(7.5),
    }  # fmt: skip
    assert shop.parts()["necessary_before_amount"] == (0, None)  # nobody has any: its weight goes to the rest
    assert shop.parts()["necessary_recent_amount"] == shop.parts("other")["necessary_recent_amount"] == (50, 100)
    weights = {it.name: it.weight for it in shop.explain().dimensions[0].parts}
    assert sum(weights.values()) == pytest.approx(1) and weights["necessary_before_amount"] == 0
    # As the statement, so the explanation: points are the weighted parts.
    told = shop.explain()
    assert told.dimensions[0].points == pytest.approx(
        sum(it.points * it.weight for it in told.dimensions[0].parts if it.points), abs=0.01
    )


def test_odd_orders(shop):
    rules = config({"necessary": ["food"]}, rates={"USD": 7.0})
    shop.world.add("products", product_id="p", category="food", occurred_at=LONG_AGO, recorded_at=LONG_AGO)
    for name in ("refunded", "cancelled", "credit", "dollars", "euros", "lines", "free", "by_product", "twice"):
        shop.customer(name)
        shop.buy(name, amount=10)
    shop.buy("refunded", amount=99, status="refunded"), shop.buy("cancelled", amount=99, status="cancelled")
    (
        shop.buy("credit", amount=-25),
        shop.buy("dollars", amount=2, currency="USD"),
        shop.buy("euros", amount=2, currency="EUR"),
    )
    shop.buy("lines", amount=None, lines=[("food", 3), ("toys", 4)]), shop.buy("free", amount=0)
    shop.buy("by_product", amount=5, lines=[(None, 5)], product="p"), shop.buy("stranger", amount=5)
    shop.buy("twice", amount=10)  # at the same moment: an interval is a day at least
    shop.score(rules)

    def told(name):
        return tuple(
            shop.parts(name)[f"{kind}_recent_{fact}"][0]
            for kind in ("discretionary", "necessary")
            for fact in ("amount", "orders")
        )

    assert told("refunded") == told("cancelled") == (10, 1, 0, 0)
    assert told("credit") == (-15, 1, 0, 0) and shop.parts("credit")["discretionary_recent_amount"][1] == 0
    assert told("dollars") == (24, 2, 0, 0) and told("euros") == (10, 2, 0, 0) and told("free") == (10, 2, 0, 0)
    assert told("lines") == (14, 2, 3, 1) and told("by_product") == (10, 1, 5, 1)
    assert shop.parts("twice")["discretionary_recent_interval"] == (1, 100)
    assert "stranger" not in shop.seen()


def test_a_shorter_interval_is_better(shop):
    for name, every in (("often", 10), ("rare", 50), ("once", None)):
        shop.buy(shop.customer(name), ago=100 * DAY)
        if every:
            shop.buy(name, ago=(100 - every) * DAY)
    shop.score()
    assert [shop.parts(name)["discretionary_recent_interval"] for name in ("often", "rare", "once")] == [
        (10, 100),
        (50, 50),
        (None, 0),
    ]


def test_written_is_what_moved_by_the_dead_band(shop):
    rules = config(dead_band=25)
    for n in range(4):
        shop.events("survey", n + 1, shop.customer(f"c{n}"))  # 25, 50, 75, 100
    shop.score(rules)
    assert shop.score(rules).is_repeat and shop.score(rules, NOW + TICK).moved == 0
    shop.events("survey", 2, "c0")  # three, as c2: 75; c1 falls to 25, by 25; c2 and c3 stay
    later = NOW + DAY
    assert shop.score(rules, later).moved == 2
    assert shop.seen("surveys", later) == {"c0": 75, "c1": 25, "c2": 75, "c3": 100}
    assert shop.seen("surveys") == {"c0": 25, "c1": 50, "c2": 75, "c3": 100}  # as it was
    assert shop.explain("c0", later).kept["surveys"] == 75 and shop.explain("c0").kept["surveys"] == 25
    assert shop.score(config(dead_band=25.1), later + DAY).moved == 0
    shop.events("suggestion", 1, "c0")  # a dimension that nobody had: all are written
    assert shop.score(config(dead_band=100), later + 2 * DAY).moved == 4
    with pytest.raises(RetentionError, match="points stands at"):
        shop.score(rules, later)


def test_who_is_gone_has_no_points(shop):
    for name in ("stays", "goes"):
        shop.events("survey", 1, shop.customer(name))
    shop.score()
    with shop.engine.begin() as conn:
        conn.execute(text("delete from customers where customer_id = 'goes'"))
        conn.execute(text("delete from customer_history"))
    assert shop.score(as_of=NOW + DAY).moved == 1
    assert shop.seen(as_of=NOW + DAY) == {"stays": 100} and shop.seen() == {"stays": 100, "goes": 100}


def test_what_is_not_known_yet_does_not_count(shop):
    shop.customer()
    shop.events("survey", 1, ago=-TICK), shop.buy(ago=-TICK)
    shop.world.add("events", customer_id="c", kind="survey", occurred_at=NOW - DAY, recorded_at=NOW + TICK)
    shop.events("survey", 1, ago=timedelta(0))
    shop.score()
    assert shop.explain().dimensions[5].input == 1 and shop.explain().dimensions[0].left_out
