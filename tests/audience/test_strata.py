"""Five strata by expected value: borders, ties, tiny counts, the dead band, what stands in where there is no value."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from retention.audience.scores.lifetime_value import refresh_values
from retention.audience.scores.strata import explain_stratum, refresh_strata
from retention.errors import RetentionError
from retention.journey.scores import Scores
from retention.store.queries import look_as_of
from tests.audience.buyers import ZONE, Buyers, moment
from tests.world import DAY, LONG_AGO

NOW = moment("2026-07-01")
TICK = timedelta(microseconds=1)
WHOLE = {"borders": ["80%", "60%", "40%", "20%"], "dead_band": "0%"}


@pytest.fixture
def shop(world):
    return Shop(world)


class Shop(Buyers):
    def customer(self, customer_id):
        self.world.add("customers", customer_id=customer_id, occurred_at=LONG_AGO, recorded_at=LONG_AGO)
        return customer_id

    def modelled(self, values, currency="CNY", as_of=NOW, model=True):
        """A run of lifetime value that says this of everybody: customer -> value (None: purchases alone, 2 of them)."""
        if model:
            self.models("2026-01-01")
        with self.engine.begin() as conn:
            conn.execute(
                text("insert into value_runs (as_of, known_at, zone, purchase_model_id, spend_model_ids, discount_rate, is_full,"
                     " customers) values (:at, :at, :z, (select max(model_id) from purchase_models), '{}', 0.1, true, 0)"),
                {"at": as_of, "z": ZONE},
            )  # fmt: skip
            for customer_id, value in values.items():
                conn.execute(
                    text("insert into customer_values (customer_id, as_of, frequency, first_on, last_on, currency, spend_days,"
                         " mean_spend, share, p_alive, purchases, spend, value) values (:c, :at, 0, '2026-06-01', '2026-06-01',"
                         " :k, 1, 1, 1, 1, 2, :s, :v)"),
                    {"c": customer_id, "at": as_of, "k": currency, "v": value, "s": None if value is None else value / 2},
                )  # fmt: skip

    def score(self, as_of=NOW, rates=None, **strata):
        with self.engine.begin() as conn:
            said = Scores.model_validate({"strata": WHOLE | strata, "rates": rates or {}})
            return refresh_strata(conn, as_of, now=as_of, zone=ZONE, config=said)

    def explain(self, customer_id, as_of=NOW):
        with self.engine.begin() as conn:
            return explain_stratum(conn, customer_id, as_of)

    def seen(self, as_of=NOW, view="strata"):
        with self.engine.begin() as conn:
            look_as_of(conn, as_of)
            return dict(tuple(row) for row in conn.execute(text(f"select customer_id, stratum from as_of.{view}")))


@pytest.mark.parametrize(
    ("values", "strata"),
    [
        ([], []),
        ([5], [5]),  # nobody exceeds nobody, as with tiers
        ([1, 2, 3, 4, 5, 6, 7], [5, 5, 4, 3, 3, 2, 1]),
        ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]),
        ([5, 5, 5, 5, 9], [5, 5, 5, 5, 1]),  # ties are together, in the lower one
        ([1, 9, 9, 9, 9], [5, 4, 4, 4, 4]),
        ([0, 0, 1, 2], [5, 5, 5, 3]),  # of those of whom something is expected
        ([4, 4, 4], [5, 5, 5]),
    ],
)
def test_borders_and_ties(shop, values, strata):
    shop.modelled({shop.customer(f"c{n}"): value for n, value in enumerate(values)})
    done = shop.score()
    assert list(shop.seen().values()) == strata and done.customers == len(values) == done.moved
    assert done.found["by_value"] == len(values)


def test_the_shipped_borders(shop):
    shop.modelled({shop.customer(f"c{n:03}"): n + 1 for n in range(100)})
    with shop.engine.begin() as conn:
        refresh_strata(conn, NOW, now=NOW, zone=ZONE)
    found = list(shop.seen().values())
    assert [found.count(n) for n in (1, 2, 3, 4, 5)] == [5, 15, 30, 30, 20]
    told = shop.explain("c095")
    assert (told.stratum, told.value, told.basis) == (1, 96, "lifetime_value")
    assert told.cuts == (95, 80, 50, 20) and told.kept == (93, 78, 48, 18)
    assert shop.explain("c094").stratum == 2  # at the border, not above it


def test_a_stratum_is_kept_until_the_dead_band_is_left(shop):
    names = [shop.customer(f"c{n:03}") for n in range(100)]
    shop.modelled({name: n + 1 for n, name in enumerate(names)})
    shop.score(dead_band="5%")
    states = []
    for day, value in enumerate((80, 75.5, 75, 80, 80.5), 1):  # cut 80, kept down to 75
        at = NOW + day * DAY
        others = {name: n + 1 for n, name in enumerate(names) if n != 80}
        shop.modelled(others | {"c080": value}, as_of=at, model=False)
        shop.score(at, dead_band="5%")
        states.append(shop.seen(at)["c080"])
    assert states == [1, 1, 2, 2, 1]
    assert shop.seen()["c080"] == 1
    assert [it.stratum for it in shop.explain("c080", at).history] == [1, 2, 1]


def test_it_is_what_is_expected_and_not_what_was_spent(shop):
    """Who spent much and has gone is below who buys steadily."""
    for name in ("gone", "steady"):
        shop.customer(name)
    for n in range(1, 6):
        shop.buy("gone", f"2025-0{n}-01", 500), shop.buy("steady", f"2026-0{n}-20", 40)
    shop.models("2026-01-01")
    with shop.engine.begin() as conn:
        refresh_values(conn, NOW, zone=ZONE)
    shop.score(borders=["49%", "48%", "47%", "20%"])
    assert shop.seen() == {"gone": 5, "steady": 1}


def test_currencies_by_rate_and_purchases_where_there_is_none(shop):
    shop.modelled({shop.customer(name): 10 for name in ("yuan", "more")})
    with shop.engine.begin() as conn:
        conn.execute(text("update customer_values set currency = 'USD' where customer_id = 'more'"))
    shop.customer("euros"), shop.customer("unknown")
    with shop.engine.begin() as conn:
        for name, currency, value in (("euros", "EUR", 1000), ("unknown", None, None)):
            conn.execute(text("insert into customer_values (customer_id, as_of, frequency, first_on, last_on, currency, p_alive,"
                              " purchases, spend, value) values (:c, :at, 0, '2026-06-01', '2026-06-01', :k, 1, 3, :v, :v)"),
                         {"c": name, "at": NOW, "k": currency, "v": value})  # fmt: skip
    done = shop.score(rates={"USD": 7.0})
    told = {name: (shop.explain(name).basis, shop.explain(name).value) for name in ("yuan", "more", "euros", "unknown")}
    # Spending 5 and 35 a purchase: 20 at the median, three times.
    assert told == {"yuan": ("lifetime_value", 10), "more": ("lifetime_value", 70), "euros": ("purchases", 60),
                    "unknown": ("purchases", 60)}  # fmt: skip
    assert (done.found["by_value"], done.found["by_purchases"], done.found["typical"]) == (2, 2, 20)


def test_without_any_model_the_past_year_less_the_points_of_churn_stands_in(shop):
    for name in ("much", "churns", "little", "before", "cancelled", "credit", "lines"):
        shop.customer(name)
    shop.buy("much", "2026-06-01", 100), shop.buy("churns", "2026-06-01", 100), shop.buy("little", "2026-06-01", 30)
    shop.buy("before", "2025-06-30", 900), shop.buy("cancelled", "2026-06-01", 900, status="cancelled")
    shop.buy("credit", "2026-06-01", 50), shop.buy("credit", "2026-06-02", -20), shop.customer("looks")
    shop.line(shop.buy("lines", "2026-06-01", None), 1, 60)
    shop.world.add("churn", customer_id="churns", since=NOW - DAY, state="churned", score=80)
    done = shop.score()
    told = {
        name: shop.explain(name).value
        for name in ("much", "churns", "little", "before", "cancelled", "credit", "lines")
    }
    assert told == {
        "much": 100,
        "churns": pytest.approx(20),
        "little": 30,
        "before": 0,
        "cancelled": None,
        "credit": 30,
        "lines": 60,
    }
    assert done.found["is_modelled"] is False and shop.explain("much").basis == "past_year"
    assert set(shop.seen()) == {"much", "churns", "little", "before", "credit", "lines"}
    assert shop.explain("looks").note.startswith("no customer then, or one who never bought")


def test_a_first_model_takes_the_place_of_past_spending_without_a_memory(shop):
    for n in range(5):
        shop.buy(shop.customer(f"c{n}"), "2026-06-01", 10 * (n + 1))
    shop.score(dead_band="19%")
    assert shop.seen()["c4"] == 1
    later = NOW + DAY
    shop.modelled({f"c{n}": 10 * (5 - n) for n in range(5)}, as_of=later)
    shop.score(later, dead_band="19%")
    assert shop.seen(later) == {"c0": 1, "c1": 2, "c2": 3, "c3": 4, "c4": 5}
    assert shop.seen(later, "strata_changes")["c4"] == 5 and shop.seen(NOW)["c4"] == 1
    assert [(it.stratum, it.basis) for it in shop.explain("c2", later).history] == [
        (3, "past_year"),
        (3, "lifetime_value"),
    ]


def test_only_changes_are_written_and_time_runs_one_way(shop):
    shop.modelled({shop.customer(f"c{n}"): n + 1 for n in range(5)})
    assert shop.score().moved == 5 and shop.score().is_repeat
    assert shop.score(NOW + TICK).moved == 0
    with pytest.raises(RetentionError, match="strata stands at"):
        shop.score(NOW)
    with shop.engine.begin() as conn:
        conn.execute(text("delete from customers where customer_id = 'c0'"))
        conn.execute(text("delete from customer_history"))
    assert shop.score(NOW + DAY).moved >= 1
    assert "c0" in shop.seen(NOW) and "c0" not in shop.seen(NOW + DAY)
