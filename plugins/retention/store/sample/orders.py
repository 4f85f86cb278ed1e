"""What becomes of the sample's orders, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from retention.store.sample.anchors import anchored, is_anchor
from retention.store.sample.people import People
from retention.store.sample.period import DAYS, SECOND, Period, draws, record
from retention.store.sample.purchases import Purchases

CANCELLED_SHARE = 0.03
"""Of all orders; half of them before they are paid."""
REFUNDED_SHARE = 0.025
"""Of delivered orders, one to fourteen days after the delivery."""


@dataclass(frozen=True)
class Category:
    """How long a purchase lasts (`cycle_days`) and how much the category is liked, as a share."""

    cycle_days: int
    share: float


CATEGORIES = {
    "skincare": Category(45, 0.22),
    "coffee": Category(30, 0.20),
    "pet_food": Category(35, 0.14),
    "vitamins": Category(60, 0.14),
    "snacks": Category(20, 0.20),
    "home": Category(180, 0.10),
}
ITEMS_SHARES = (0.45, 0.30, 0.17, 0.08)
"""Of orders with one, two, three and four lines."""

COUPON_SHARE = 0.08
COUPON_CODES = ("WELCOME10", "SPRING15", "DOUBLE11", "THANKS5", "SAVE20")

# How much a category is wanted, by the time since it was last bought in cycles: nearly not at all while it lasts, most
# when it runs out, less once it was bought elsewhere or given up.
_WANTED_AT = np.array([0, 0.6, 1.0, 1.4, 2.5])
_WANTED = np.array([0.02, 0.1, 4.0, 4.0, 0.8])
_WANTED_IF_NEW = 0.5


def draw_status(people: People, purchases: Purchases, seed: int, period: Period) -> tuple[dict, np.ndarray]:
    """The columns of the table order_status, and for each order the day of delivery (infinite: not, or not yet)."""
    rng = draws(seed, "orders.status")
    count = len(purchases.placed)
    placed = purchases.placed
    paid = placed + rng.uniform(20, 900, count) * SECOND
    delivered = paid + rng.uniform(1, 4.6, count)
    # nobody delivers at night: what would arrive before eight arrives eight hours later, still within five days
    local_hour = (delivered * 24 + people.hours_ahead[purchases.customer]) % 24
    delivered += np.where(local_hour < 8, 8 / 24, 0)
    refunded = delivered + rng.uniform(1, 14, count)
    is_unpaid = rng.random(count) < 0.5
    cancelled = np.where(is_unpaid, placed + 30 * 60 * SECOND, paid + rng.uniform(0.05, 0.9, count))
    is_cancelled = rng.random(count) < CANCELLED_SHARE
    is_refunded = rng.random(count) < REFUNDED_SHARE

    anchor = is_anchor(len(people.ids))[purchases.customer]
    is_cancelled &= ~anchor
    is_refunded &= ~anchor
    just_delivered = np.isin(purchases.customer, anchored(len(people.ids), "first_delivery"))
    delivered[just_delivered] = DAYS - rng.uniform(0.3, 0.6, int(just_delivered.sum()))

    never = np.inf
    moments = {
        "placed": placed,
        "paid": np.where(is_cancelled & is_unpaid, never, paid),
        "delivered": np.where(is_cancelled, never, delivered),
        "cancelled": np.where(is_cancelled, cancelled, never),
        "refunded": np.where(is_refunded & ~is_cancelled, refunded, never),
    }
    order = np.concatenate([np.flatnonzero(at < DAYS) for at in moments.values()])
    status = np.repeat(np.array(list(moments), object), [int((at < DAYS).sum()) for at in moments.values()])
    at = np.concatenate([at[at < DAYS] for at in moments.values()])
    # a carrier tells us of a delivery hours later, sometimes days
    recorded = record(rng, at, seconds=300, late_share=0.01, late_days=(0.5, 3), on_time=anchor[order])
    columns = {
        "order_id": purchases.ids[order],
        "status": status,
        "occurred_at": period.instants(at),
        # nothing is known of an order before the order is
        "recorded_at": period.instants(np.maximum(recorded, purchases.recorded[order])),
    }
    return columns, np.where(moments["delivered"] < DAYS, moments["delivered"], never)


def draw_items(people: People, purchases: Purchases, seed: int, period: Period) -> tuple[dict, np.ndarray]:
    """The columns of the table order_items, and for each order the index of its first line's category.

    Amounts are exact: the lines of an order sum to what it is worth.
    """
    rng = draws(seed, "orders.items")
    count = len(purchases.placed)
    lines = rng.choice(len(ITEMS_SHARES), size=count, p=ITEMS_SHARES) + 1
    ranked = _rank_categories(rng, purchases, lines, len(people.ids))
    order = np.repeat(np.arange(count), lines)
    line = np.arange(len(order)) - np.repeat(np.cumsum(lines) - lines, lines)
    category = ranked[order, line] if count else np.zeros(0, int)
    cents = _split(rng, purchases.spend_cents, lines, order, line)
    code = np.full(count, None, object)
    uses = np.flatnonzero(rng.random(count) < COUPON_SHARE)
    typed = np.array([*COUPON_CODES, *(c.lower() for c in COUPON_CODES)], object)
    # people type codes as they like: every sixth in small letters
    code[uses] = typed[rng.integers(len(COUPON_CODES), size=len(uses)) + 5 * (rng.random(len(uses)) < 1 / 6)]
    columns = {
        "order_id": purchases.ids[order],
        "line": line + 1,
        "category": np.array(list(CATEGORIES), object)[category],
        "quantity": rng.choice(3, size=len(order), p=(0.75, 0.19, 0.06)) + 1,
        "amount": np.array([Decimal(c).scaleb(-2) for c in cents.tolist()], object),
        "currency": people.currency[purchases.customer][order],
        "coupon_code": code[order],
        "recorded_at": period.instants(purchases.recorded[order]),
    }
    return columns, ranked[:, 0]


def _rank_categories(rng: np.random.Generator, purchases: Purchases, lines: np.ndarray, customers: int) -> np.ndarray:
    """For each order the categories in the order in which they are wanted: by taste and by how long the last ones last.

    Goes through everybody's first orders, then the second ones, and so on: what was bought before is known.
    """
    cycle = np.array([c.cycle_days for c in CATEGORIES.values()], float)
    taste = rng.gamma(1.5 * np.array([c.share for c in CATEGORIES.values()]) * len(cycle), size=(customers, len(cycle)))
    last = np.full((customers, len(cycle)), np.nan)
    ranked = np.zeros((len(purchases.placed), len(cycle)), int)
    by_turn = np.argsort(purchases.nth, kind="stable")
    turns = np.searchsorted(purchases.nth[by_turn], np.arange(purchases.nth.max(initial=-1) + 2))
    for begin, end in zip(turns[:-1], turns[1:], strict=True):
        orders = by_turn[begin:end]
        who = purchases.customer[orders]
        elapsed = (purchases.placed[orders, None] - last[who]) / cycle
        wanted = np.where(np.isnan(elapsed), _WANTED_IF_NEW, np.interp(elapsed, _WANTED_AT, _WANTED))
        # the largest of log-weight plus Gumbel noise are a draw without replacement
        score = np.log(wanted * taste[who] + 1e-12) + rng.gumbel(size=wanted.shape)
        ranked[orders] = np.argsort(-score, axis=1, kind="stable")
        rows = np.repeat(np.arange(len(orders)), lines[orders])
        nth = np.arange(len(rows)) - np.repeat(np.cumsum(lines[orders]) - lines[orders], lines[orders])
        last[who[rows], ranked[orders][rows, nth]] = purchases.placed[orders][rows]
    return ranked


def _split(rng: np.random.Generator, total: np.ndarray, lines: np.ndarray, order: np.ndarray, line: np.ndarray):
    """Each order's cents over its lines, at least one cent each, the rounding on the first line."""
    weight = rng.gamma(3.0, size=len(order))
    share = weight / np.bincount(order, weight, minlength=len(total))[order]
    cents = 1 + np.floor(share * (total - lines)[order]).astype(np.int64)
    rest = total - np.bincount(order, cents, minlength=len(total)).astype(np.int64)
    cents[line == 0] += rest
    return cents
