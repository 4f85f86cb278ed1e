"""BG/NBD: how often customers buy, and whether they still do. Owns the formulas and the fit; knows no database.

Fader, Hardie, Lee: "Counting your customers" the easy way: an alternative to the Pareto/NBD model. Marketing Science 24
(2005) 275-284. A customer is three numbers: `frequency`, the purchases after the first; `recency`, the age at the last
one; `age`, the time since the first. Time comes in days and is counted in weeks, as in the paper.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, digamma, gammaln, hyp2f1

DAYS_A_WEEK = 7.0
FIRST_TRY = 20_000  # customers on whom the starting points compete; the winner goes on with everybody
STARTS = ((0.25, 5.0, 0.8, 2.5), (1.0, 20.0, 1.0, 1.0), (0.5, 50.0, 0.3, 5.0), (3.0, 10.0, 2.0, 10.0))
BOUNDS = {"r": (1e-3, 1e3), "alpha": (1e-3, 1e5), "a": (1e-3, 1e3), "b": (1e-3, 1e4)}


@dataclass(frozen=True)
class Purchasing:
    """The four parameters. Rates of purchase are Gamma(r, alpha) over the customers, in purchases a week; the chance to
    leave after a purchase is Beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float


@dataclass(frozen=True)
class PurchaseFit:
    """What a fit found. `refusal` says why its parameters must not be used; None: they may."""

    customers: int
    repeaters: int
    parameters: Purchasing | None = None
    log_likelihood: float | None = None
    refusal: str | None = None


@dataclass(frozen=True)
class Grouped:
    """Customers by the three numbers (a count, and days), with how many there are of each."""

    frequency: np.ndarray
    recency: np.ndarray
    age: np.ndarray
    customers: np.ndarray

    @property
    def total(self) -> int:
        return int(self.customers.sum())

    @property
    def repeaters(self) -> int:
        return int(self.customers[self.frequency > 0].sum())

    def draw(self, most: int) -> Grouped:
        """At most `most` of the customers: every n-th of them in order, so the same ones each time."""
        step = max(1, -(-self.total // most))
        order = np.lexsort((self.recency, self.age, self.frequency))
        kept = np.diff(np.cumsum(self.customers[order]) // step, prepend=0)
        chosen = order[kept > 0]
        return Grouped(self.frequency[chosen], self.recency[chosen], self.age[chosen], kept[kept > 0])


def total(weights: np.ndarray, values: np.ndarray) -> float:
    """The weighted sum. Not by `@`: that asks BLAS, whose threads wait for each other, forty times longer on a busy machine."""
    return float((weights * values).sum())


class Likelihood:
    """The log-likelihood and its gradient. Whatever depends on one of the three numbers alone is worked out once for each
    value of it, so that a group costs one sum of two powers and no more."""

    def __init__(self, grouped: Grouped):
        known = grouped.age > 0  # who came today says nothing yet
        self.x = grouped.frequency[known].astype(float)
        self.weight = grouped.customers[known].astype(float)
        self.repeats = self.x > 0
        self.xs, self.at_x = np.unique(self.x, return_inverse=True)
        self.count = np.bincount(self.at_x, self.weight, len(self.xs))
        self.ages, self.at_age = np.unique(grouped.age[known] / DAYS_A_WEEK, return_inverse=True)
        self.recencies, self.at_recency = np.unique(grouped.recency[known] / DAYS_A_WEEK, return_inverse=True)

    def __call__(self, r: float, alpha: float, a: float, b: float) -> tuple[float, np.ndarray]:
        """Its value, and its derivatives by the four parameters."""
        xs, n, weight = self.xs, self.count, self.weight
        after = np.maximum(b + xs - 1, b)  # b + x - 1; of x = 0, where it means nothing, something positive
        log_age, log_recency = np.log(alpha + self.ages)[self.at_age], np.log(alpha + self.recencies)[self.at_recency]
        alive = -(r + self.x) * log_age
        left = np.where(self.repeats, np.log(a / after)[self.at_x] - (r + self.x) * log_recency, -np.inf)
        either = np.logaddexp(alive, left)
        gone = np.exp(left - either)  # of the two ways to have been silent since, the share of having left
        alone = gammaln(r + xs) - gammaln(r) + r * np.log(alpha) + betaln(a, b + xs) - betaln(a, b)
        value = total(n, alone) + total(weight, either)

        gone_at_x = np.bincount(self.at_x, weight * gone, len(xs))
        pace = gone / (alpha + self.recencies)[self.at_recency] + (1 - gone) / (alpha + self.ages)[self.at_age]
        common = total(n, digamma(a + b) - digamma(a + b + xs))
        gradient = [
            total(n, digamma(r + xs) - digamma(r) + np.log(alpha))
            - total(weight, gone * log_recency + (1 - gone) * log_age),
            n.sum() * r / alpha - total(weight * (r + self.x), pace),
            common + gone_at_x.sum() / a,
            common + total(n, digamma(b + xs) - digamma(b)) - (gone_at_x / after).sum(),
        ]
        return float(value), np.array(gradient)


def climb(likelihood, starts, bounds, n: float):
    """The best maximum that L-BFGS-B finds from `starts`, over the logarithms of positive parameters; (found, parameters)."""

    def cost(logs: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = np.exp(logs)
        value, gradient = likelihood(*parameters)
        return -value / n, -gradient * parameters / n

    limits = [tuple(np.log(b)) for b in bounds]
    options = {"maxiter": 300, "ftol": 1e-11, "gtol": 1e-7}
    with np.errstate(over="ignore", invalid="ignore"):
        tries = [minimize(cost, np.log(s), jac=True, method="L-BFGS-B", bounds=limits, options=options) for s in starts]
    best = min(tries, key=lambda found: found.fun if np.isfinite(found.fun) else np.inf)
    return best, tuple(float(v) for v in np.exp(best.x))


def at_bound(values: dict[str, float], bounds: dict[str, tuple[float, float]]) -> str | None:
    """The first parameter that ran into a limit of what is sensible, in words."""
    for name, value in values.items():
        low, high = bounds[name]
        if value <= low * 1.01 or value >= high * 0.99:
            return f"{name} ran to the limit of what makes sense ({value:.4g})"
    return None


def fit(grouped: Grouped, *, min_customers: int = 300, min_repeaters: int = 50) -> PurchaseFit:
    """The parameters that make what these customers did most likely, or why there are none to be had."""
    total, repeaters = grouped.total, grouped.repeaters
    if total < min_customers:
        return PurchaseFit(total, repeaters, refusal=f"too few customers ({total}, at least {min_customers})")
    if repeaters < min_repeaters:
        return PurchaseFit(total, repeaters, refusal=f"too few bought again ({repeaters}, at least {min_repeaters})")
    drawn = grouped.draw(FIRST_TRY)
    best, start = climb(Likelihood(drawn), STARTS, BOUNDS.values(), drawn.total)
    best, found = climb(Likelihood(grouped), [start], BOUNDS.values(), total)
    parameters = Purchasing(*found)
    likelihood = -float(best.fun) * total
    if not best.success or not np.isfinite(likelihood):
        refusal = f"no maximum was found ({best.message})"
        return PurchaseFit(total, repeaters, refusal=refusal)
    return PurchaseFit(total, repeaters, parameters, likelihood, at_bound(vars(parameters), BOUNDS))


def p_alive(by: Purchasing, frequency, recency, age) -> np.ndarray:
    """The chance that a customer still is one; recency and age in days. Who never bought again had no occasion to leave:
    the model says 1. include/sql/score knows the same formula, as as_of.p_alive."""
    x, recency, age = (np.asarray(v, float) for v in (frequency, recency, age))
    odds = np.log(by.a / np.maximum(by.b + x - 1, by.b)) + (by.r + x) * (
        np.log(by.alpha + age / DAYS_A_WEEK) - np.log(by.alpha + recency / DAYS_A_WEEK)
    )
    return np.where(x > 0, 1 / (1 + np.exp(np.minimum(odds, 500.0))), 1.0)


def purchases_if_alive(by: Purchasing, frequency, age, days) -> np.ndarray:
    """Expected purchases in the next `days` of a customer who is still one: the paper's (10) without its last factor,
    p_alive. It depends on frequency and age alone.

    Euler's transformation of 2F1 takes the large powers out of it, so that hundreds of purchases do no harm."""
    r, alpha, a, b = astuple(by)
    if abs(a - 1) < 1e-6:
        a = 1 + 1e-6  # the formula has 0/0 there, and the same limit from both sides
    x, t, ahead = (
        np.asarray(frequency, float),
        np.asarray(age, float) / DAYS_A_WEEK,
        np.asarray(days, float) / DAYS_A_WEEK,
    )
    c = a + b + x - 1
    c = np.where(np.abs(c) < 1e-9, 1e-9, c)  # a pole of 2F1 against a zero in front of it
    z = ahead / (alpha + t + ahead)
    return c / (a - 1) * (1 - (1 - z) ** (a - 1) * hyp2f1(a + b - 1 - r, a - 1, c, z))


def expected_purchases(by: Purchasing, frequency, recency, age, days) -> np.ndarray:
    """Expected purchases in the next `days`."""
    return p_alive(by, frequency, recency, age) * purchases_if_alive(by, frequency, age, days)
