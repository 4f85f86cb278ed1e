"""What the sample's customers do besides buying, with probabilities that are written down here and can be checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retention.store.sample.anchors import anchored, is_anchor
from retention.store.sample.orders import CATEGORIES
from retention.store.sample.people import People
from retention.store.sample.period import DAYS, SECOND, Period, draws, record, shape_days
from retention.store.sample.purchases import Purchases


@dataclass(frozen=True)
class Response:
    """The `probability` of an event for each `per`, which follows within `days` (from, to)."""

    per: str
    probability: float
    days: tuple[float, float]


RESPONSES = {
    "review": Response("delivered order", 0.18, (0.2, 21)),
    "survey": Response("delivered order", 0.07, (0.1, 7)),
    "complaint_opened": Response("delivered order", 0.03, (0.05, 5)),
    "complaint_solved": Response("complaint_opened", 0.85, (0.1, 6)),
    "suggestion": Response("delivered order", 0.02, (0.5, 21)),
    "answer": Response("delivered order", 0.03, (1, 21)),
    "community": Response("delivered order", 0.06, (0.5, 21)),
    "participation": Response("activity while interested", 0.08, (0, 3)),
    "login": Response("order", 0.70, (-35 / 1440, -1 / 1440)),
    "cart": Response("order", 0.80, (-35 / 1440, -1 / 1440)),
    "referral": Response("sign-up by referral", 1.0, (0, 0)),
}
"""Every kind but `view`. Trials whose time had not run out when the period ended may still answer: to check a
probability, count trials older than the longest wait. For login, view and cart, visits without an order come on top
(`VISITS`). A referral needs somebody who had ordered before."""

VIEWS_PER_ORDER = 2.0
"""On average, Poisson, shortly before the order."""


@dataclass(frozen=True)
class Visits:
    """Visits without an order, each a login: `base` a week plus `by_rate` times the customer's rate of purchase, from
    sign-up until `fading_days` (on average) after the customer is lost. `views` on average, a cart with `cart`."""

    base: float = 0.02
    by_rate: float = 1.5
    fading_days: float = 30.0
    views: float = 1.5
    cart: float = 0.15


VISITS = Visits()

SURVEY_REASONS = (
    "price_too_high", "found_better_elsewhere", "not_needed_now", "quality_disappointed", "delivery_too_slow",
    "arrived_damaged", "service_unfriendly", "out_of_stock", "too_many_messages", "website_difficult",
    "choice_too_small", "did_not_suit_me", "other",
)  # fmt: skip
"""Why people say that they buy less."""

ACTIVITY_EVERY_DAYS = 30
DEVICES = ("app", "web", "mini_program")
COMPLAINTS = ("delivery", "quality", "service", "billing")

Part = tuple[str, np.ndarray, np.ndarray, np.ndarray]
"""Events of one kind: kind, customer indexes, days, data as JSON texts."""


def draw_events(
    people: People, purchases: Purchases, delivered: np.ndarray, category: np.ndarray, seed: int, period: Period
) -> dict[str, np.ndarray]:
    """The columns of the table events, by time. `delivered` and `category`: as orders.py gives them, one an order."""
    interested_until = _interested_until(draws(seed, "interest"), people, purchases)
    parts = [
        *_order_visits(draws(seed, "order_visits"), purchases, category),
        *_other_visits(draws(seed, "other_visits"), people, purchases, interested_until),
        *_after_delivery(seed, purchases, delivered),
        *_complaints(draws(seed, "complaints"), purchases, delivered),
        _participations(draws(seed, "participations"), people, interested_until),
        _referrals(draws(seed, "referrals"), people, purchases),
    ]
    kind = np.repeat(np.array([p[0] for p in parts], object), [len(p[1]) for p in parts])
    customer, days, data = (np.concatenate([p[i] for p in parts]) for i in (1, 2, 3))
    silent = anchored(len(people.ids), "silent")
    days = np.maximum(days, people.signed_up[customer])
    # the silent ones have said nothing since their order
    hushed = np.isin(customer, silent) & (days >= DAYS - 89)
    kept = np.flatnonzero((days < DAYS) & ~hushed)
    kept = kept[np.argsort(days[kept], kind="stable")]
    recorded = record(
        draws(seed, "events.recorded"),
        days[kept],
        seconds=20,
        late_share=0.01,
        late_days=(0.5, 4),
        on_time=is_anchor(len(people.ids))[customer[kept]],
    )
    return {
        "customer_id": people.ids[customer[kept]],
        "kind": kind[kept],
        "occurred_at": period.instants(days[kept]),
        "recorded_at": period.instants(recorded),
        "source_key": np.array([f"sample:{n}" for n in range(1, len(kept) + 1)], object),
        "data": data[kept],
    }


def _interested_until(rng: np.random.Generator, people: People, purchases: Purchases) -> np.ndarray:
    until = purchases.lost_at + rng.exponential(VISITS.fading_days, len(purchases.lost_at))
    silent = anchored(len(people.ids), "silent")
    until[silent] = purchases.first_order[silent]
    return np.minimum(until, DAYS)


def _json(key: str, values) -> np.ndarray:
    return np.array([f'{{"{key}": "{value}"}}' for value in values], object)


def _order_visits(rng: np.random.Generator, purchases: Purchases, category: np.ndarray) -> list[Part]:
    count = len(purchases.placed)
    viewed = _json("category", CATEGORIES)
    parts = []
    for kind in ("login", "cart"):
        does = np.flatnonzero(rng.random(count) < RESPONSES[kind].probability)
        days = purchases.placed[does] + rng.uniform(*RESPONSES[kind].days, len(does))
        data = viewed[category[does]] if kind == "cart" else _json("device", DEVICES)[rng.integers(3, size=len(does))]
        parts.append((kind, purchases.customer[does], days, data))
    views = np.repeat(np.arange(count), rng.poisson(VIEWS_PER_ORDER, count))
    days = purchases.placed[views] + rng.uniform(*RESPONSES["cart"].days, len(views))
    return [*parts, ("view", purchases.customer[views], days, viewed[category[views]])]


def _other_visits(rng: np.random.Generator, people: People, purchases: Purchases, until: np.ndarray) -> list[Part]:
    weeks = np.maximum(until - people.signed_up, 0) / 7
    visits = rng.poisson((VISITS.base + VISITS.by_rate * purchases.rate) * weeks)
    customer = np.repeat(np.arange(len(weeks)), visits)
    days = people.signed_up[customer] + rng.random(len(customer)) * weeks[customer] * 7
    days = shape_days(days, people.hours_ahead[customer])
    viewed = _json("category", CATEGORIES)
    category = rng.integers(len(CATEGORIES), size=len(customer))
    views = np.repeat(np.arange(len(customer)), rng.poisson(VISITS.views, len(customer)))
    carts = np.flatnonzero(rng.random(len(customer)) < VISITS.cart)
    later = days + rng.uniform(1, 20, len(days)) / 1440
    devices = _json("device", DEVICES)[rng.integers(3, size=len(customer))]
    return [
        ("login", customer, days, devices),
        ("view", customer[views], later[views], viewed[category[views]]),
        ("cart", customer[carts], later[carts], viewed[category[carts]]),
    ]


def _after_delivery(seed: int, purchases: Purchases, delivered: np.ndarray) -> list[Part]:
    orders = purchases.ids
    stars = (0.04, 0.05, 0.13, 0.33, 0.45)
    parts = []
    for kind in ("review", "survey", "suggestion", "answer", "community"):
        rng = draws(seed, f"after_delivery.{kind}")
        does = _respond(rng, kind, delivered)
        days = delivered[does] + rng.uniform(*RESPONSES[kind].days, len(does))
        if kind == "review":
            rating = rng.choice(5, size=len(does), p=stars) + 1
            data = [f'{{"order_id": "{orders[o]}", "rating": {r}}}' for o, r in zip(does, rating, strict=True)]
        elif kind == "survey":
            data = _json("reason", SURVEY_REASONS)[rng.integers(len(SURVEY_REASONS), size=len(does))]
        elif kind == "community":
            data = _json("action", ("post", "comment", "like"))[rng.integers(3, size=len(does))]
        else:
            data = ["{}"] * len(does)
        parts.append((kind, purchases.customer[does], days, np.array(data, object)))
    return parts


def _respond(rng: np.random.Generator, kind: str, delivered: np.ndarray) -> np.ndarray:
    return np.flatnonzero((rng.random(len(delivered)) < RESPONSES[kind].probability) & np.isfinite(delivered))


def _complaints(rng: np.random.Generator, purchases: Purchases, delivered: np.ndarray) -> list[Part]:
    opens = _respond(rng, "complaint_opened", delivered)
    opened_at = delivered[opens] + rng.uniform(*RESPONSES["complaint_opened"].days, len(opens))
    about = np.array(COMPLAINTS, object)[rng.integers(len(COMPLAINTS), size=len(opens))]
    orders = purchases.ids[opens]
    data = np.array([f'{{"order_id": "{o}", "about": "{a}"}}' for o, a in zip(orders, about, strict=True)], object)
    solved = np.flatnonzero(rng.random(len(opens)) < RESPONSES["complaint_solved"].probability)
    solved_at = opened_at[solved] + rng.uniform(*RESPONSES["complaint_solved"].days, len(solved))
    customer = purchases.customer[opens]
    return [
        ("complaint_opened", customer, opened_at, data),
        ("complaint_solved", customer[solved], solved_at, _json("order_id", orders[solved])),
    ]


def _participations(rng: np.random.Generator, people: People, until: np.ndarray) -> Part:
    """Every thirty days there is an activity, open to whom is interested when it starts."""
    starts = np.arange(ACTIVITY_EVERY_DAYS, DAYS, ACTIVITY_EVERY_DAYS)
    customer, days, data = [], [], []
    names = _json("activity", (f"activity_{n + 1:02d}" for n in range(len(starts))))
    for name, start in zip(names, starts, strict=True):
        takes_part = rng.random(len(until)) < RESPONSES["participation"].probability
        who = np.flatnonzero((people.signed_up <= start) & (start < until) & takes_part)
        when = start + rng.uniform(*RESPONSES["participation"].days, len(who))
        customer.append(who)
        days.append(shape_days(when, people.hours_ahead[who]))
        data.append(np.full(len(who), name, object))
    return "participation", np.concatenate(customer), np.concatenate(days), np.concatenate(data)


def _referrals(rng: np.random.Generator, people: People, purchases: Purchases) -> Part:
    """Who signed up by referral was sent by somebody who had ordered before, at the moment of the sign-up."""
    by_first_order = np.argsort(purchases.first_order, kind="stable")
    friends = np.flatnonzero(people.acquired_by == "referral")
    candidates = np.searchsorted(purchases.first_order[by_first_order], people.signed_up[friends])
    chosen = np.floor(rng.random(len(friends)) * candidates).astype(int)
    has_referrer = candidates > 0
    friends, chosen = friends[has_referrer], chosen[has_referrer]
    days = people.signed_up[friends] + SECOND
    return "referral", by_first_order[chosen], days, _json("friend_id", people.ids[friends])
