"""Who the sample's customers are: Chinese and English ones, where they live, how they signed up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from faker import Faker

from retention.store.sample.addresses import draw_emails, draw_phones
from retention.store.sample.anchors import ANCHORS, anchored, is_anchor
from retention.store.sample.birthdays import draw_birthdays
from retention.store.sample.period import DAYS, Period, draws, record, shape_days

CHINESE_SHARE = 0.70
BRITISH_SHARE = 0.30
"""Of those who are not Chinese; the others live in the United States."""
UNSAID_SHARE = 0.005
"""Customers without a name, without a locale, without a time zone: each a share of its own."""

US_ZONES = {
    "America/New_York": 0.45,
    "America/Chicago": 0.28,
    "America/Denver": 0.07,
    "America/Los_Angeles": 0.19,
    "Pacific/Honolulu": 0.01,
}
ACQUIRED_BY = {"search": 0.34, "social": 0.26, "ads": 0.20, "store": 0.14, "referral": 0.06}
"""attributes.acquired_by; every `referral` that had somebody to refer it has an event of that kind."""

_POOL = 400


@dataclass(frozen=True)
class People:
    """`columns` of the table customers, and what the other parts need: days of sign-up and of its record, `hours_ahead`
    of the store's clocks, and how each was acquired."""

    columns: dict[str, np.ndarray]
    signed_up: np.ndarray
    recorded: np.ndarray
    hours_ahead: np.ndarray
    acquired_by: np.ndarray

    @property
    def ids(self) -> np.ndarray:
        return self.columns["customer_id"]

    @property
    def currency(self) -> np.ndarray:
        """What each pays in."""
        return np.where(self.columns["country"] == "CN", "CNY", "USD").astype(object)


def draw_people(customers: int, seed: int, period: Period) -> People:
    """All customers, sign-ups spread evenly over the period; the anchors signed up when their story asks for it."""
    rng = draws(seed, "people")
    is_chinese = rng.random(customers) < CHINESE_SHARE
    anchor = is_anchor(customers)
    is_chinese[anchor] = [a.is_chinese for a in ANCHORS[:customers]]
    is_british = ~is_chinese & (rng.random(customers) < BRITISH_SHARE)
    country = np.select([is_chinese, is_british], ["CN", "GB"], "US").astype(object)
    zone = rng.choice(list(US_ZONES), size=customers, p=list(US_ZONES.values())).astype(object)
    zone[is_chinese], zone[is_british] = "Asia/Shanghai", "Europe/London"
    locale = np.select([is_chinese, is_british], ["zh-CN", "en-GB"], "en-US").astype(object)
    ahead = {z: period.hours_ahead(z) for z in ("Asia/Shanghai", "Europe/London", *US_ZONES)}
    hours_ahead = np.array([ahead[z] for z in zone], dtype=int)
    is_female = rng.random(customers) < 0.58
    acquired_by = rng.choice(list(ACQUIRED_BY), size=customers, p=list(ACQUIRED_BY.values())).astype(object)

    signed_up = rng.uniform(0, DAYS, customers)
    signed_up[anchor] = rng.uniform(30, DAYS - 150, int(anchor.sum()))
    signed_up = shape_days(signed_up, hours_ahead)
    signed_up[anchored(customers, "first_delivery")] = DAYS - 3.75
    signed_up[anchored(customers, "silent")] = DAYS - 90 + 0.35
    recorded = record(rng, signed_up, seconds=3, late_share=0.01, late_days=(0.5, 6), on_time=anchor)

    name, first, last = _draw_names(draws(seed, "names"), seed, is_chinese, is_female)
    for values in (name, locale, zone):
        values[(rng.random(customers) < UNSAID_SHARE) & ~anchor] = None
    gender = np.where(is_female, "female", "male")
    columns = {
        "customer_id": np.array([f"C{n:06d}" for n in range(1, customers + 1)], object),
        "name": name,
        "email": draw_emails(draws(seed, "emails"), first, last),
        "phone": draw_phones(draws(seed, "phones"), country),
        **draw_birthdays(draws(seed, "birthdays"), is_chinese, period.today),
        "locale": locale,
        "timezone": zone,
        "country": country,
        "attributes": np.array(
            [f'{{"gender": "{g}", "acquired_by": "{a}"}}' for g, a in zip(gender, acquired_by, strict=True)], object
        ),
        "occurred_at": period.instants(signed_up),
        "recorded_at": period.instants(recorded),
    }
    return People(columns, signed_up, recorded, hours_ahead, acquired_by)


def _draw_names(
    rng: np.random.Generator, seed: int, is_chinese: np.ndarray, is_female: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Full names as they are written, and a first and last name in Latin letters for the e-mail address.

    Faker takes too long to be asked 20,000 times: it fills pools, which are combined.
    """
    count = len(is_chinese)
    chinese, english = Faker("zh_CN"), Faker("en_US")
    chinese.seed_instance(seed)
    english.seed_instance(seed)

    def pick(draw) -> np.ndarray:
        pool = np.array([draw() for _ in range(_POOL)], object)
        return pool[rng.integers(_POOL, size=count)]

    def by_gender(fake: Faker) -> np.ndarray:
        return np.where(is_female, pick(fake.first_name_female), pick(fake.first_name_male))

    english_first, english_last = by_gender(english), pick(english.last_name)
    first = np.where(is_chinese, pick(chinese.first_romanized_name), english_first)
    last = np.where(is_chinese, pick(chinese.last_romanized_name), english_last)
    name = np.where(is_chinese, pick(chinese.last_name) + by_gender(chinese), english_first + " " + english_last)
    return name, first, last
