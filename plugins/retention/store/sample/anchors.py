"""The few customers who are placed on purpose, so that even a tiny store has somebody for every journey today.

Customer i of the store is anchor i as long as there are anchors. They have good addresses, consent on every channel and
a name; all else about them is drawn as for the others. In a store of thousands they are lost in the crowd.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Anchor:
    """`is_chinese`, and what is placed: a birthday `birthday_in` days after today (negative: before), or a `role`."""

    is_chinese: bool
    birthday_in: int | None = None
    role: str = ""


def _pair(**placed) -> list[Anchor]:
    return [Anchor(True, **placed), Anchor(False, **placed)]


# A birthday is greeted three days ahead: -7 is the cohort of ten days ago, 3 is today's.
_ROUND = [
    *_pair(birthday_in=-7),
    *_pair(birthday_in=3),
    *_pair(role="first_delivery"),
    *_pair(role="silent"),
]

ANCHORS: tuple[Anchor, ...] = (
    *_ROUND,
    *_ROUND,
    *_ROUND,
    *_pair(role="born_29_february"),
    Anchor(True, role="born_in_leap_month"),
    Anchor(True, role="born_on_lunar_day_30"),
)
"""`first_delivery`: the first order was delivered in the last 24 hours. `silent`: the last order and the last login lie
90 days back, to the day. `born_...`: the rare birthdays."""


def anchored(customers: int, role: str) -> np.ndarray:
    """The indexes of the customers of a store of that size who are placed in `role`."""
    return np.array([i for i, a in enumerate(ANCHORS[:customers]) if a.role == role], dtype=int)


def is_anchor(customers: int) -> np.ndarray:
    """A mask over the customers."""
    return np.arange(customers) < len(ANCHORS)
