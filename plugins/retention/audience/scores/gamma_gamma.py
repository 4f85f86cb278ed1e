"""Gamma-Gamma: what a customer spends in a purchase. Owns the formulas and the fit; knows no database.

Fader, Hardie: The Gamma-Gamma model of monetary value (2013), brucehardie.com/notes/025. A customer is two numbers: how
many purchases with a known amount, and the mean amount of one. The model takes it that how much one spends says nothing of
how often one buys; where that is not so, a fit is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, gammaln

from retention.audience.scores.bg_nbd import at_bound, climb, total

BOUNDS = {"p": (1e-2, 1e4), "q": (1e-2, 1e4), "v": (1e-4, 1e9)}
FIRST_TRY = 20_000
MOST_CORRELATED = 0.3


@dataclass(frozen=True)
class Spending:
    """The three parameters. Amounts of one customer are Gamma(p, nu), and nu is Gamma(q, v) over the customers."""

    p: float
    q: float
    v: float

    @property
    def mean(self) -> float:
        """What a purchase of a customer of whom nothing is known is worth."""
        return self.p * self.v / (self.q - 1)


@dataclass(frozen=True)
class SpendFit:
    """What a fit found. `correlation`: of how often with how much. `refusal` says why its parameters must not be used."""

    customers: int
    correlation: float | None = None
    parameters: Spending | None = None
    log_likelihood: float | None = None
    refusal: str | None = None


class Likelihood:
    """The log-likelihood and its gradient. `times`: purchases with a known amount; `mean`: of one, above 0."""

    def __init__(self, times: np.ndarray, mean: np.ndarray):
        self.x, self.m = times.astype(float), mean.astype(float)
        self.xs, self.at = np.unique(self.x, return_inverse=True)
        self.count = np.bincount(self.at, minlength=len(self.xs)).astype(float)
        self.log_m, self.x_log_x = np.log(self.m).sum(), total(self.x, np.log(self.x))
        self.x_log_m, self.x_sum, self.sums = total(self.x, np.log(self.m)), self.x.sum(), self.x * self.m

    def __call__(self, p: float, q: float, v: float) -> tuple[float, np.ndarray]:
        xs, n, people = self.xs, self.count, len(self.x)
        log_sum = np.log(self.sums + v)
        value = total(n, gammaln(p * xs + q) - gammaln(p * xs)) - people * gammaln(q) + people * q * np.log(v)
        value += p * (self.x_log_m + self.x_log_x) - self.log_m - total(p * self.x + q, log_sum)
        rise = digamma(p * xs + q)
        gradient = [
            total(n * xs, rise - digamma(p * xs)) + self.x_log_m + self.x_log_x - total(self.x, log_sum),
            total(n, rise) - people * digamma(q) + people * np.log(v) - log_sum.sum(),
            people * q / v - ((p * self.x + q) / (self.sums + v)).sum(),
        ]
        return float(value), np.array(gradient)


def fit(
    times: np.ndarray, mean: np.ndarray, *, min_customers: int = 50, most_correlated: float = MOST_CORRELATED
) -> SpendFit:
    """The parameters that make these amounts most likely, or why there are none to be had. `mean` must be above 0."""
    people = len(times)
    if people < min_customers:
        return SpendFit(people, refusal=f"too few spent again ({people}, at least {min_customers})")
    if mean.std() <= 1e-9 * mean.mean():
        return SpendFit(people, refusal=f"all spent the same ({mean[0]:.2f}): nothing to tell customers apart by")
    spread = np.std(times) > 0
    correlation = float(np.corrcoef(times, mean)[0, 1]) if spread else 0.0
    if abs(correlation) > most_correlated:
        text = f"who buys often spends otherwise (correlation {correlation:.2f}, at most {most_correlated:g})"
        return SpendFit(people, correlation, refusal=text)
    middle = float(np.median(mean))
    starts = [(p, q, middle * (q - 1) / p) for p, q in ((6.0, 4.0), (2.0, 2.0), (20.0, 3.0), (1.5, 10.0))]
    step = max(1, -(-people // FIRST_TRY))
    order = np.lexsort((times, mean))[::step]
    _, start = climb(Likelihood(times[order], mean[order]), starts, BOUNDS.values(), len(order))
    best, found = climb(Likelihood(times, mean), [start], BOUNDS.values(), people)
    parameters, likelihood = Spending(*found), -float(best.fun) * people
    if not best.success or not np.isfinite(likelihood):
        return SpendFit(people, correlation, refusal=f"no maximum was found ({best.message})")
    refusal = at_bound(vars(parameters), BOUNDS)
    if parameters.p <= 1:
        refusal = f"p is {parameters.p:.3g}, not above 1: single amounts of a customer tell too little of the next"
    elif parameters.q <= 1:
        refusal = f"q is {parameters.q:.3g}, not above 1: the mean over all customers would be infinite"
    return SpendFit(people, correlation, parameters, likelihood, refusal)


def expected_spend(by: Spending, times, mean) -> np.ndarray:
    """What a purchase will be worth on average: the customer's own mean, drawn towards everybody's the less is known. Without
    a known amount (`times` 0) it is everybody's."""
    times, mean = np.asarray(times, float), np.asarray(mean, float)
    own = np.where(times > 0, np.nan_to_num(mean), 0.0)
    return by.p * (by.v + own * times) / (by.p * times + by.q - 1)
