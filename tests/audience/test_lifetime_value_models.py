"""BG/NBD and Gamma-Gamma by themselves: the formulas, the fits, and what is refused."""

import numpy as np
import pytest
from scipy.special import hyp2f1

from retention.audience.scores import bg_nbd, gamma_gamma
from retention.audience.scores.bg_nbd import Grouped, Purchasing
from retention.audience.scores.gamma_gamma import Spending
from retention.audience.scores.value_models import ValueRules
from retention.journey.scores import load_scores, read_scores
from tests.world import INCLUDE

CDNOW = Purchasing(0.2426, 4.4136, 0.7929, 2.4259)


def people(by: Purchasing, count: int, days: int, seed: int = 1) -> tuple[np.ndarray, ...]:
    """Customers who do as the model says: frequency, recency, age in days, and the purchases in the year after."""
    random = np.random.default_rng(seed)
    rate, leaves = random.gamma(by.r, 1 / by.alpha, count) / 7, random.beta(by.a, by.b, count)
    age = random.integers(1, days, count)
    frequency, recency, later = np.zeros(count, int), np.zeros(count), np.zeros(count, int)
    at, alive = np.zeros(count), np.ones(count, bool)
    while alive.any():
        at = at + random.exponential(1, count) / np.maximum(rate, 1e-12)
        alive &= at < age + 365
        seen = alive & (at < age)
        frequency += seen
        recency = np.where(seen, at, recency)
        later += alive & ~seen
        alive &= random.random(count) >= leaves
    return frequency, np.floor(recency).astype(int), age, later


def gathered(frequency, recency, age) -> Grouped:
    return Grouped(frequency, recency, age, np.ones(len(frequency), int))


def test_the_gradients_are_right():
    frequency, recency, age, _ = people(CDNOW, 3000, 600)
    times = frequency[frequency > 0]
    mean = np.random.default_rng(2).gamma(2, 20, len(times))
    for likelihood, at in (
        (bg_nbd.Likelihood(gathered(frequency, recency, age)), np.array([0.4, 6.0, 0.7, 2.2])),
        (gamma_gamma.Likelihood(times, mean), np.array([5.0, 3.0, 14.0])),
    ):
        _, gradient = likelihood(*at)
        for i, slope in enumerate(gradient):
            step = np.zeros(len(at))
            step[i] = 1e-5
            numeric = (likelihood(*(at + step))[0] - likelihood(*(at - step))[0]) / 2e-5
            assert slope == pytest.approx(numeric, rel=1e-4)


def test_equal_customers_may_be_grouped():
    frequency, recency, age, _ = people(CDNOW, 2000, 300)
    rows, count = np.unique(np.column_stack([frequency, recency, age]), axis=0, return_counts=True)
    single, grouped = gathered(frequency, recency, age), Grouped(*rows.T, count)
    at = (0.3, 5.0, 0.6, 2.0)
    assert bg_nbd.Likelihood(single)(*at)[0] == pytest.approx(bg_nbd.Likelihood(grouped)(*at)[0])
    assert grouped.draw(10**9).total == grouped.total and 450 <= grouped.draw(500).total <= 500


def test_forecasts_are_the_papers_formula():
    frequency, recency, age = (
        np.array([0, 1, 2, 7, 30]),
        np.array([0, 12, 213, 300, 340]),
        np.array([90, 90, 272, 350, 350]),
    )
    r, alpha, a, b = vars(CDNOW).values()
    x, tx, t, ahead = frequency, recency / 7, age / 7, 39.0
    front = (a + b + x - 1) / (a - 1)
    power = ((alpha + t) / (alpha + t + ahead)) ** (r + x)
    paper = front * (1 - power * hyp2f1(r + x, b + x, a + b + x - 1, ahead / (alpha + t + ahead)))
    paper /= 1 + (x > 0) * a / np.maximum(b + x - 1, b) * ((alpha + t) / (alpha + tx)) ** (r + x)
    assert bg_nbd.expected_purchases(CDNOW, frequency, recency, age, 39 * 7) == pytest.approx(paper)


def test_forecasts_come_true_in_a_world_that_is_as_the_model_says():
    by = Purchasing(0.8, 9.0, 1.1, 4.0)
    frequency, recency, age, later = people(by, 200_000, 500, seed=5)
    expected = bg_nbd.expected_purchases(by, frequency, recency, age, 365)
    for which in (frequency == 0, frequency == 1, (frequency > 1) & (recency < age / 2), (frequency > 5)):
        assert expected[which].mean() == pytest.approx(later[which].mean(), rel=0.05)


@pytest.mark.parametrize("a", [1.0, 1 + 1e-7, 0.999999])
def test_a_of_one_is_no_hole(a):
    near = bg_nbd.purchases_if_alive(Purchasing(0.5, 6.0, 1.01, 2.0), 3, 200, 365)
    assert bg_nbd.purchases_if_alive(Purchasing(0.5, 6.0, a, 2.0), 3, 200, 365) == pytest.approx(near, rel=0.01)


def test_extremes_stay_numbers():
    frequency, recency = np.array([0, 0, 1, 500, 2000, 2000]), np.array([0, 0, 0, 3000, 10, 3640])
    age = np.array([0, 3650, 3650, 3000, 3650, 3650])
    for by in (CDNOW, Purchasing(0.1, 0.01, 0.3, 0.7), Purchasing(900.0, 5000.0, 0.01, 50.0)):
        alive = bg_nbd.p_alive(by, frequency, recency, age)
        expected = bg_nbd.expected_purchases(by, frequency, recency, age, 365)
        assert np.isfinite(alive).all() and ((alive >= 0) & (alive <= 1)).all()
        assert np.isfinite(expected).all() and (expected >= 0).all()


@pytest.mark.parametrize("by", [Purchasing(0.8, 9.0, 1.1, 4.0), Purchasing(2.0, 20.0, 0.5, 3.0)])
def test_parameters_are_found_again(by):
    frequency, recency, age, _ = people(by, 100_000, 700, seed=3)
    found = bg_nbd.fit(gathered(frequency, recency, age))
    assert found.refusal is None and found.customers == 100_000
    assert found.parameters.r / found.parameters.alpha == pytest.approx(by.r / by.alpha, rel=0.03)
    assert found.parameters.a / (found.parameters.a + found.parameters.b) == pytest.approx(
        by.a / (by.a + by.b), rel=0.06
    )


@pytest.mark.parametrize("count", [0, 1, 7])
def test_tiny_counts_are_refused(count):
    frequency, recency, age = np.arange(count), np.arange(count) * 3, np.full(count, 100)
    found = bg_nbd.fit(gathered(frequency, recency, age))
    assert (found.parameters, found.refusal) == (None, f"too few customers ({count}, at least 300)")
    found = gamma_gamma.fit(np.arange(1, count + 1), np.full(count, 10.0))
    assert (found.parameters, found.refusal) == (None, f"too few spent again ({count}, at least 50)")


def test_the_limits_are_exact():
    frequency, recency, age, _ = people(CDNOW, 300, 300)
    sums = gathered(frequency, recency, age)
    assert bg_nbd.fit(sums, min_customers=300, min_repeaters=sums.repeaters).refusal is None
    assert "too few customers" in bg_nbd.fit(sums, min_customers=301).refusal
    assert "too few bought again" in bg_nbd.fit(sums, min_repeaters=sums.repeaters + 1).refusal


def test_nobody_buys_again():
    found = bg_nbd.fit(gathered(np.zeros(5000, int), np.zeros(5000, int), np.arange(5000) % 400))
    assert found.refusal == "too few bought again (0, at least 50)" and found.parameters is None


def test_absurd_parameters_are_refused_and_shown():
    # All as regular as clockwork, to the last day: nobody ever leaves.
    n = 5000
    found = bg_nbd.fit(gathered(np.full(n, 10), np.full(n, 100), np.full(n, 100)))
    assert "ran to the limit of what makes sense" in found.refusal and found.parameters is not None


def test_a_fit_without_a_maximum_is_refused(monkeypatch):
    frequency, recency, age, _ = people(CDNOW, 1000, 300)
    real = bg_nbd.minimize
    monkeypatch.setattr(bg_nbd, "minimize", lambda *a, **k: real(*a, **(k | {"options": {"maxiter": 1}})))
    found = bg_nbd.fit(gathered(frequency, recency, age))
    assert found.refusal.startswith("no maximum was found") and found.parameters is None


def test_the_rules_are_those_of_the_file():
    assert ValueRules.of(load_scores(INCLUDE)) == ValueRules()
    scores, _ = read_scores(
        "scores.yaml", "lifetime_value: {discount_rate: 12.5%, min_customers: 1, most_correlated: 40%}"
    )
    assert ValueRules.of(scores) == ValueRules(discount_rate=0.125, min_customers=1, most_correlated=0.4)
    scores, document = read_scores(
        "scores.yaml", "lifetime_value: {min_customers: 0, min_spenders: many, discount_rate: 10}"
    )
    assert scores is None and [str(it).split(": ")[1].split(".")[1] for it in document.problems] == [
        "discount_rate",
        "min_customers",
        "min_spenders",
    ]


def spenders(by: Spending, count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    times = random.integers(1, 12, count)
    rate = random.gamma(by.q, 1 / by.v, count)
    return times, random.gamma(by.p * times) / rate / times


def test_amounts_are_found_again_and_drawn_towards_the_mean():
    by = Spending(6.0, 4.0, 15.0)
    found = gamma_gamma.fit(*spenders(by, 50_000))
    assert found.refusal is None and abs(found.correlation) < 0.02
    assert vars(found.parameters) == pytest.approx(vars(by), rel=0.06)
    assert by.mean == 30.0
    few, many, none = gamma_gamma.expected_spend(by, [1, 100, 0], [90.0, 90.0, np.nan])
    assert none == 30.0 < few < many < 90.0


def test_who_buys_often_must_not_spend_otherwise():
    times, mean = spenders(Spending(6.0, 4.0, 15.0), 2000)
    found = gamma_gamma.fit(times, mean + 10 * times)
    assert found.refusal.startswith("who buys often spends otherwise (correlation 0.") and found.parameters is None
    edge = abs(gamma_gamma.fit(times, mean).correlation)
    assert gamma_gamma.fit(times, mean, most_correlated=edge).refusal is None
    assert gamma_gamma.fit(times, mean, most_correlated=edge * 0.999).refusal


def test_p_and_q_must_be_above_one():
    wild = gamma_gamma.fit(*spenders(Spending(0.4, 5.0, 15.0), 20_000))
    assert wild.refusal.startswith("p is 0.4") and "not above 1" in wild.refusal
    endless = gamma_gamma.fit(*spenders(Spending(6.0, 0.7, 15.0), 20_000), most_correlated=1)
    assert endless.refusal.startswith("q is 0.") and "infinite" in endless.refusal


def test_the_same_amount_for_all_tells_nothing():
    assert gamma_gamma.fit(np.arange(1, 101), np.full(100, 9.9)).refusal.startswith("all spent the same (9.90)")
