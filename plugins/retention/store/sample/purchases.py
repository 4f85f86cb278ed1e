"""When the sample's customers buy and how much they spend: the published fit of the CDNOW data.

Repeat purchases: the BG/NBD model, Fader, Hardie and Lee, "'Counting Your Customers' the Easy Way", Marketing Science
24 (2005), with the estimates of that paper, in weeks. Spend: the Gamma-Gamma model, Fader, Hardie and Lee, "RFM and
CLV", Journal of Marketing Research 42 (2005), with the estimates of that paper, in dollars. Both for CDNOW's customers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retention.store.sample.anchors import anchored, is_anchor
from retention.store.sample.people import People
from retention.store.sample.period import DAYS, SECOND, Period, draws, record, shape_days


@dataclass(frozen=True)
class BGNBD:
    """Rates of purchase are Gamma(r, alpha) a week; after each repeat a customer is lost by a chance of Beta(a, b)."""

    r: float = 0.243
    alpha: float = 4.414
    a: float = 0.793
    b: float = 2.426


@dataclass(frozen=True)
class GammaGamma:
    """An order's value is Gamma(p, v'), v' the customer's own and Gamma(q, v): on average p * v / (q - 1)."""

    p: float = 6.25
    q: float = 3.74
    v: float = 15.44


REPEATS = BGNBD()
SPEND = GammaGamma()
SCALE = {"USD": 1.0, "CNY": 7.0}
"""How much of each currency stands for a dollar of the fit."""

FIRST_ORDER_AT_ONCE = 0.6
"""The share of first orders within the hour of sign-up; the others follow after a day and a half on average."""


@dataclass(frozen=True)
class Purchases:
    """One entry an order, by time: `customer` (index), `placed` and `recorded` (days), `spend_cents` in the customer's
    currency, `nth` order of the customer from 0. One entry a customer: the weekly `rate`, `lost_at` (days; infinite for
    whom the period ended first) and `first_order` (days, may lie after the end)."""

    customer: np.ndarray
    placed: np.ndarray
    recorded: np.ndarray
    spend_cents: np.ndarray
    nth: np.ndarray
    rate: np.ndarray
    lost_at: np.ndarray
    first_order: np.ndarray

    @property
    def ids(self) -> np.ndarray:
        return np.array([f"O{n:07d}" for n in range(1, len(self.placed) + 1)], object)

    def columns(self, people: People, period: Period) -> dict[str, np.ndarray]:
        """The columns of the table orders."""
        return {
            "order_id": self.ids,
            "customer_id": people.ids[self.customer],
            "occurred_at": period.instants(self.placed),
            "recorded_at": period.instants(self.recorded),
        }


def draw_repeats(
    rng: np.random.Generator, horizon_weeks: np.ndarray, fit: BGNBD = REPEATS
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Repeat purchases after a first one at week 0, for one customer each horizon.

    Returns customer index and week of each repeat, and the weekly rate and week of loss (infinite: not yet) of each
    customer. A loss can only follow a repeat: that is the model's definition.
    """
    count = len(horizon_weeks)
    rate = rng.gamma(fit.r, 1 / fit.alpha, count)
    chance_of_loss = rng.beta(fit.a, fit.b, count)
    lost_at = np.full(count, np.inf)
    who, when = [], []
    active, week = np.arange(count), np.zeros(count)
    while len(active):
        # a rate may be so small that its wait overflows: that is simply never
        with np.errstate(divide="ignore", over="ignore"):
            week = week + rng.exponential(size=len(active)) / rate[active]
        bought = week < horizon_weeks[active]
        active, week = active[bought], week[bought]
        who.append(active)
        when.append(week)
        lost = rng.random(len(active)) < chance_of_loss[active]
        lost_at[active[lost]] = week[lost]
        active, week = active[~lost], week[~lost]
    return np.concatenate(who or [active]), np.concatenate(when or [week]), rate, lost_at


def draw_spend(rng: np.random.Generator, customer: np.ndarray, count: int, fit: GammaGamma = SPEND) -> np.ndarray:
    """The value in dollars of each order, `customer` being whose it is among `count` customers."""
    own = rng.gamma(fit.q, 1 / fit.v, count)
    return rng.gamma(fit.p, 1.0, len(customer)) / own[customer]


def draw_purchases(people: People, seed: int) -> Purchases:
    """All orders of the period, by time. Everybody's first order follows the sign-up; for a few of the last days it is
    still to come."""
    rng = draws(seed, "purchases")
    count = len(people.ids)
    at_once = rng.random(count) < FIRST_ORDER_AT_ONCE
    soon = people.signed_up + rng.uniform(2, 60, count) * 60 * SECOND
    later = shape_days(people.signed_up + rng.exponential(1.5, count), people.hours_ahead)
    first = np.where(at_once | (later < soon), soon, later)
    # these have one order and no more, at a time of day that their story needs
    alone = np.concatenate([anchored(count, "first_delivery"), anchored(count, "silent")])
    first[alone] = people.signed_up[alone] + 0.01
    horizon = np.maximum(DAYS - first, 0) / 7
    horizon[alone] = 0
    repeater, week, rate, lost = draw_repeats(rng, horizon)
    customer = np.concatenate([np.arange(count), repeater])
    placed = np.concatenate([first, first[repeater] + week * 7])
    # shaping the day may pull a repeat before the first order of the same day
    shaped = shape_days(placed[count:], people.hours_ahead[repeater])
    placed[count:] = np.maximum(shaped, first[repeater] + 60 * SECOND)
    spend = draw_spend(draws(seed, "spend"), customer, count)

    kept = np.flatnonzero(placed < DAYS)
    kept = kept[np.argsort(placed[kept], kind="stable")]
    customer, placed, spend = customer[kept], placed[kept], spend[kept]
    scale = np.array([SCALE[c] for c in people.currency[customer]], float)
    recorded = record(
        draws(seed, "orders.recorded"),
        placed,
        seconds=40,
        late_share=0.01,
        late_days=(0.5, 5),
        on_time=is_anchor(count)[customer],
    )
    return Purchases(
        customer=customer,
        placed=placed,
        recorded=recorded,
        spend_cents=np.maximum(np.round(spend * scale * 100), 100).astype(np.int64),
        nth=_rank_within(customer, count),
        rate=rate,
        lost_at=first + lost * 7,
        first_order=first,
    )


def _rank_within(customer: np.ndarray, count: int) -> np.ndarray:
    """0, 1, 2, ... along the orders of each customer."""
    by_customer = np.argsort(customer, kind="stable")
    starts = np.searchsorted(customer[by_customer], np.arange(count))
    rank = np.empty(len(customer), int)
    rank[by_customer] = np.arange(len(customer)) - starts[customer[by_customer]]
    return rank
