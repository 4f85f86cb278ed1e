"""Lifetime value in the database: what counts as a purchase, whose money it is, how values are kept and read."""

from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import text

from retention.audience.scores import bg_nbd, gamma_gamma
from retention.audience.scores.bg_nbd import Purchasing
from retention.audience.scores.gamma_gamma import Spending
from retention.audience.scores.lifetime_value import refresh_values
from retention.audience.scores.value_models import ValueRules, fit_models, is_fit_due, read_models
from tests.audience.buyers import ZONE, Buyers, moment


@pytest.fixture
def shop(world):
    return Buyers(world)


def refresh(shop, day, known=None, **rules):
    with shop.engine.begin() as conn:
        known_at = moment(known) if known else None
        return refresh_values(conn, moment(day), zone=ZONE, known_at=known_at, rules=ValueRules(**rules))


def fit(shop, day, **rules):
    with shop.engine.begin() as conn:
        return fit_models(conn, moment(day), zone=ZONE, rules=ValueRules(**rules))


# What is a purchase


def test_nobody_bought(shop):
    shop.world.customer("c")
    assert shop.sums() == {}
    shop.models()
    assert refresh(shop, "2026-07-01").customers == 0
    assert shop.values("2026-07-01") == {}


def test_one_purchase_is_no_repeat(shop):
    shop.buy("c", "2026-06-01")
    assert shop.sums() == {"c": (0, 0, 30, "CNY", 0, None, 1)}


def test_who_bought_today_has_no_age(shop):
    shop.buy("c", "2026-07-01")
    assert shop.sums() == {"c": (0, 0, 0, "CNY", 0, None, 1)}


def test_all_of_one_day_is_one_purchase(shop):
    for day, amount in (
        ("2026-06-01", 50),
        ("2026-06-01", 7),
        ("2026-06-11", 20),
        ("2026-06-11", 10),
        ("2026-06-21", 40),
    ):
        shop.buy("c", day, amount)
    assert shop.sums() == {"c": (2, 20, 30, "CNY", 2, 35, 1)}


def test_a_day_is_the_shops(shop):
    shop.buy("c", "2026-06-01 15:30")
    shop.buy("c", "2026-06-01 16:30")
    assert shop.sums()["c"][:3] == (1, 1, 30)
    assert shop.sums(zone="UTC")["c"][:3] == (0, 0, 30)


@pytest.mark.parametrize("status", ["cancelled", "refunded"])
def test_what_was_undone_is_no_purchase(shop, status):
    shop.buy("c", "2026-06-01", status=status)
    shop.buy("c", "2026-06-11")
    shop.buy("c", "2026-06-21", status=status)
    shop.buy("d", "2026-06-21", status=status)
    assert shop.sums() == {"c": (0, 0, 20, "CNY", 0, None, 1)}


def test_the_last_state_counts(shop):
    back = shop.buy("c", "2026-06-01", status="cancelled")
    shop.turn(back, "delivered", moment("2026-06-03"))
    same = shop.buy("d", "2026-06-01")
    for status in ("cancelled", "paid"):
        shop.turn(same, status, moment("2026-06-02"))
    late = shop.buy("e", "2026-06-01")
    shop.turn(late, "cancelled", moment("2026-06-02"), moment("2026-07-02"))
    assert set(shop.sums()) == {"c", "e"}
    assert set(shop.sums("2026-06-02 12:00")) == {"e"}
    assert set(shop.sums(known="2026-07-03")) == {"c"}


def test_a_credit_is_no_purchase_but_lessens_what_was_spent(shop):
    for day, amount in (
        ("2026-05-01", 100),
        ("2026-05-02", -100),
        ("2026-06-01", 60),
        ("2026-06-11", 60),
        ("2026-06-12", -20),
    ):
        shop.buy("c", day, amount)
    shop.buy("only", "2026-06-01", -5)
    # The credit of the first purchase, too: nobody can tell which purchase it is of.
    assert shop.sums() == {"c": (2, 41, 61, "CNY", 2, None, 1)}
    shop.buy("c", "2026-06-21", 90)
    assert shop.sums()["c"] == (3, 51, 61, "CNY", 3, 30, 1)


def test_credits_of_the_first_day_and_before_do_not_count(shop):
    for day, amount in (("2026-05-01", -7), ("2026-05-02", 30), ("2026-05-02", -30), ("2026-06-01", 40)):
        shop.buy("c", day, amount)
    assert shop.sums() == {"c": (1, 30, 60, "CNY", 1, 40, 1)}


def test_zero_is_an_amount_and_nothing_is_not(shop):
    for customer, amount in (("zero", 0), ("unknown", None)):
        shop.buy(customer, "2026-06-01", 10)
        shop.buy(customer, "2026-06-11", amount)
        shop.buy(customer, "2026-06-21", 30)
    shop.buy("never", "2026-06-01", None)
    shop.buy("never", "2026-06-11", None)
    assert shop.sums() == {
        "zero": (2, 20, 30, "CNY", 2, 15, 1),
        "unknown": (2, 20, 30, "CNY", 1, 30, 1),
        "never": (1, 10, 30, None, 0, None, None),
    }


def test_an_order_without_a_total_is_worth_its_lines(shop):
    shop.buy("c", "2026-06-01", None)
    order = shop.buy("c", "2026-06-11", None)
    shop.line(order, 1, 20)
    shop.line(order, 2, -5)
    assert shop.sums() == {"c": (1, 10, 30, "CNY", 1, 15, 1)}


def test_currencies_never_meet(shop):
    for day, amount, currency in (
        ("2026-05-01", 10, "CNY"),
        ("2026-05-11", 20, "CNY"),
        ("2026-05-21", 1000, "USD"),
        ("2026-06-01", 40, "CNY"),
    ):
        shop.buy("c", day, amount, currency)
    shop.buy("tie", "2026-05-01", 10, "USD")
    shop.buy("tie", "2026-05-11", 10, "CNY")
    both = shop.buy("lines", "2026-06-11", None)
    shop.line(both, 1, 20, "USD")
    shop.line(both, 2, 20, "EUR")
    assert shop.sums() == {
        "c": (3, 31, 61, "CNY", 2, 30, 0.75),
        "tie": (1, 10, 61, "CNY", 1, 10, 0.5),
        "lines": (0, 0, 20, "EUR", 0, None, 0.5),
    }


def test_some_customers_only(shop):
    for customer in "abc":
        shop.buy(customer, "2026-06-01")
    assert set(shop.sums(customers=["a", "c", "x"])) == {"a", "c"}
    assert shop.sums(customers=[]) == {}


# Fits


def crowd(shop, count=400, seed=4, currency="CNY", prefix="k"):
    """Customers who buy as the model has it, for half a year to 2026-07-01."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        rate, leaves, mean = random.gamma(0.9, 1 / 5), random.beta(1, 4), random.gamma(20) / random.gamma(4, 1 / 4)
        at = random.uniform(0, 120)
        while at < 181:
            amount = round(float(random.gamma(6, mean / 6)), 2) + 0.01
            at_ = moment("2026-01-01") + timedelta(days=float(at))
            rows.append((f"{prefix}{i}-{len(rows)}", f"{prefix}{i}", amount, currency, at_, at_))
            if len(rows) > 1 and random.random() < leaves:
                break
            at += 7 * random.exponential(1 / max(rate, 1e-9))
    with shop.engine.begin() as conn, conn.connection.cursor() as cursor:
        with cursor.copy(
            "copy orders (order_id, customer_id, amount, currency, occurred_at, recorded_at) from stdin"
        ) as copy:
            for row in rows:
                copy.write_row(row)


def test_a_fit_is_kept_with_date_and_likelihood(shop):
    crowd(shop)
    fitted = fit(shop, "2026-07-01")
    assert fitted.purchases.refusal is None and fitted.spends["CNY"].refusal is None
    [row] = shop.world.rows("select as_of, zone, customers, r, log_likelihood, refusal from purchase_models")
    found = fitted.purchases
    assert row == (moment("2026-07-01"), ZONE, 400, found.parameters.r, found.log_likelihood, None)
    with shop.engine.connect() as conn:
        models = read_models(conn, moment("2026-07-01"))
        assert models.purchases == found.parameters and models.spends["CNY"] == fitted.spends["CNY"].parameters
        assert read_models(conn, moment("2026-07-01") - timedelta(seconds=1)) is None


def test_fits_again_as_of_the_same_instant_change_nothing(shop):
    crowd(shop)
    fit(shop, "2026-07-01")
    before = shop.snapshot("purchase_models", "spend_models")
    fit(shop, "2026-07-01", min_customers=10_000)
    assert shop.snapshot("purchase_models", "spend_models") == before


def test_a_bad_fit_is_kept_with_its_reason_and_the_last_good_one_goes_on(shop):
    crowd(shop)
    good = fit(shop, "2026-07-01").purchases.parameters
    bad = fit(shop, "2026-07-02", min_customers=401, most_correlated=0)
    assert bad.purchases.refusal == "too few customers (400, at least 401)"
    rows = shop.world.rows("select refusal, r from purchase_models order by as_of")
    assert rows == [(None, good.r), ("too few customers (400, at least 401)", None)]
    [(_, reason)] = shop.world.rows("select as_of, refusal from spend_models where refusal is not null")
    assert reason.startswith("who buys often spends otherwise")
    with shop.engine.connect() as conn:
        models = read_models(conn, moment("2026-07-03"))
    assert models.purchases == good and models.spends["CNY"]
    # Tried again with better facts, or better rules, the same day becomes a good one.
    assert fit(shop, "2026-07-02").purchases.refusal is None
    assert shop.world.rows("select count(*) from purchase_models where refusal is null") == [(2,)]


def test_a_currency_of_its_own_has_a_model_of_its_own(shop):
    crowd(shop)
    crowd(shop, 20, currency="USD", prefix="u")
    fitted = fit(shop, "2026-07-01")
    assert fitted.spends["USD"].refusal.startswith("too few spent again") and fitted.spends["CNY"].refusal is None
    refresh(shop, "2026-07-01")
    values = shop.values("2026-07-01")
    assert all((values[f"u{i}"][4:] == (None, None)) and values[f"u{i}"][2] > 0 for i in range(20))
    assert all(values[f"k{i}"][5] > 0 for i in range(400))


def test_a_fit_is_due_once_a_month_of_the_shop(shop):
    with shop.engine.begin() as conn:
        assert is_fit_due(conn, moment("2026-07-01"), ZONE)
    fit(shop, "2026-06-30 16:00")  # 1 July in Shanghai; refused, but tried
    with shop.engine.begin() as conn:
        assert not is_fit_due(conn, moment("2026-07-31 15:59"), ZONE)
        assert is_fit_due(conn, moment("2026-07-31 16:00"), ZONE)
        assert is_fit_due(conn, moment("2026-06-30 15:59"), ZONE)


# Values


BY, SPEND = Purchasing(0.8, 8.0, 0.9, 3.0), Spending(6.0, 4.0, 20.0)


def test_a_value_is_what_the_formulas_say(shop):
    shop.models()
    for day, amount in (("2026-03-01", 50), ("2026-04-10", 90), ("2026-05-01", 70)):
        shop.buy("c", day, amount)
    shop.buy("once", "2026-03-01", 50)
    run = refresh(shop, "2026-07-01", discount_rate=0.0)
    assert (run.is_full, run.customers, run.note) == (True, 2, None)
    for customer, frequency, recency, spent in (("c", 2, 61, 80.0), ("once", 0, 0, None)):
        alive = bg_nbd.p_alive(BY, frequency, recency, 122)
        purchases = bg_nbd.expected_purchases(BY, frequency, recency, 122, 365.25)
        spend = gamma_gamma.expected_spend(SPEND, frequency, spent)
        found = shop.values("2026-07-01")[customer]
        assert found == (
            frequency,
            pytest.approx(alive),
            pytest.approx(purchases),
            "CNY",
            pytest.approx(spend),
            pytest.approx(purchases * spend),
        )
    refresh(shop, "2026-07-01", discount_rate=0.1)
    value = shop.values("2026-07-01")["c"]
    # Discounted to the middle of each month: a little less than half a year's rate on average.
    assert 0.94 < value[5] / (value[2] * value[4]) < 0.97


def test_money_of_another_currency_is_no_value_in_this_one(shop):
    shop.models()
    shop.buy("c", "2026-03-01", 50)
    shop.buy("c", "2026-04-01", 50)
    shop.buy("c", "2026-05-01", 9000, "USD")
    shop.buy("none", "2026-05-01", None)
    refresh(shop, "2026-07-01", discount_rate=0.0)
    _, _, purchases, currency, spend, value = shop.values("2026-07-01")["c"]
    assert (currency, value) == ("CNY", pytest.approx(purchases * spend * 2 / 3)) and spend < 60
    assert shop.values("2026-07-01")["none"][3:] == (None, None, None)


def test_without_a_good_model_nothing_is_written(shop):
    shop.buy("c", "2026-03-01")
    run = refresh(shop, "2026-07-01")
    assert (run.customers, run.note) == (0, "no model was good so far")
    assert shop.world.count("value_runs") == 0


def test_a_day_writes_only_those_whose_facts_changed(shop):
    shop.models()
    for customer in ("still", "buys", "cancels", "vanishes", "late", "fixed"):
        shop.buy(customer, "2026-03-01", order_id=f"{customer}-1")
    for customer in ("still", "cancels"):
        shop.buy(customer, "2026-04-01", order_id=f"{customer}-2")
    for customer in ("lined", "relined"):
        shop.buy(customer, "2026-03-01", None, order_id=f"{customer}-1")
    shop.line("relined-1", 1, 5)
    refresh(shop, "2026-07-01")
    shop.buy("buys", "2026-07-01 10:00")
    shop.buy("new", "2026-07-01 10:00")
    shop.buy("late", "2026-05-05", known="2026-07-01 11:00")
    for order in ("cancels-2", "vanishes-1"):
        shop.turn(order, "cancelled", moment("2026-07-01 11:00"))
    shop.line("lined-1", 1, 5, day="2026-07-01 11:00")
    with shop.engine.begin() as conn:
        at = {"at": moment("2026-07-01 11:00")}
        conn.execute(text("update orders set amount = 99, recorded_at = :at where order_id = 'fixed-1'"), at)
        conn.execute(text("update order_items set amount = 9, recorded_at = :at where order_id = 'relined-1'"), at)
    run = refresh(shop, "2026-07-02")
    assert (run.is_full, run.customers) == (False, 8)
    written = dict(
        shop.world.rows("select customer_id, frequency from customer_values where as_of = :at", at=moment("2026-07-02"))
    )
    assert written == {
        "buys": 1,
        "new": 0,
        "cancels": 0,
        "vanishes": None,
        "late": 1,
        "fixed": 0,
        "lined": 0,
        "relined": 0,
    }
    before, after = shop.values("2026-07-01 12:00"), shop.values("2026-07-02")
    assert before.keys() - after.keys() == {"vanishes"} and after.keys() - before.keys() == {"new"}
    assert after["still"][0] == 1 and after["still"][1] < before["still"][1]
    assert refresh(shop, "2026-07-03").customers == 0


def test_p_alive_of_a_day_needs_no_row_of_that_day(shop):
    shop.models()
    shop.buy("c", "2026-03-01")
    shop.buy("c", "2026-04-01")
    refresh(shop, "2026-07-01")
    _, alive, purchases, _, _, value = shop.values("2026-07-01")["c"]
    later = shop.values("2026-07-31")["c"]
    assert later[1] == pytest.approx(bg_nbd.p_alive(BY, 1, 31, 152))
    assert (later[2] / purchases, later[5] / value) == pytest.approx((later[1] / alive, later[1] / alive))


def test_run_again_the_same_comes_out(shop):
    shop.models()
    shop.buy("c", "2026-03-01")
    refresh(shop, "2026-07-01")
    shop.buy("d", "2026-07-01 10:00")
    first = refresh(shop, "2026-07-02")
    before = shop.snapshot("customer_values", "value_runs")
    assert refresh(shop, "2026-07-02") == first
    assert shop.snapshot("customer_values", "value_runs") == before


def test_history_is_not_rewritten(shop):
    shop.models()
    shop.buy("c", "2026-03-01")
    refresh(shop, "2026-07-02")
    before = shop.snapshot("customer_values", "value_runs")
    run = refresh(shop, "2026-07-01")
    assert (run.customers, run.note) == (0, "there are values of a later date")
    assert shop.snapshot("customer_values", "value_runs") == before


def test_a_new_model_or_rate_writes_everybody(shop):
    shop.models()
    shop.buy("c", "2026-03-01")
    refresh(shop, "2026-07-01")
    assert not refresh(shop, "2026-07-02").is_full
    assert refresh(shop, "2026-07-03", discount_rate=0.2).is_full
    shop.models("2026-07-04", r=0.7)
    assert refresh(shop, "2026-07-05", discount_rate=0.2).is_full
    assert [row[0] for row in shop.world.rows("select is_full from value_runs order by as_of")] == [
        True,
        False,
        True,
        True,
    ]


def test_what_was_not_known_yet_is_not_shown(shop):
    shop.models()
    shop.buy("c", "2026-03-01")
    refresh(shop, "2026-07-01")
    shop.buy("d", "2026-06-01", known="2026-07-10")
    refresh(shop, "2026-07-02", known="2026-07-11")
    assert shop.values("2026-07-05").keys() == {"c"}
    assert shop.values("2026-07-05", known="2026-07-12").keys() == {"c", "d"}
