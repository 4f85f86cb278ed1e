"""How the stand-in misbehaves on command: which fault strikes which request. Does none of it itself."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

BEFORE = ("hang_before", "cut_mid_body")
"""Strike when the head has come: the body is not read to its end, nobody is accepted."""

INSTEAD = ("status_500", "status_429")
"""Strike when the body has come: nobody is accepted."""

AFTER = ("accept_then_hang", "accept_then_cut", "cut_mid_answer", "accept_then_500")
"""Strike only a request that was accepted."""

KINDS = (*BEFORE, *INSTEAD, *AFTER)


class Faults:
    """Draws for each kind by itself, always in the same order, from one seeded row of numbers; the first that hits is it.

    So the same requests in the same order meet the same faults.
    """

    def __init__(self) -> None:
        self.set({})

    def set(self, weights: Mapping[str, Any]) -> str | None:
        """Replace all weights (a probability each), `delay_ms` and `seed`. Says what is wrong, and then changes nothing."""
        for name, value in weights.items():
            if name not in (*KINDS, "delay_ms", "seed"):
                return f'unknown fault "{name}". Known: {", ".join((*KINDS, "delay_ms", "seed"))}'
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or value < 0
                or (name in KINDS and value > 1)
            ):
                return f"{name}: {value!r} is not a number that fits"
        self._weights = [(name, weights[name]) for name in KINDS if weights.get(name)]
        self.delay_s = weights.get("delay_ms", 0) / 1000
        self.random = random.Random(weights.get("seed", 0))
        return None

    def draw(self) -> str | None:
        """The fault for the next request, or None."""
        hit = None
        for name, weight in self._weights:
            if self.random.random() < weight and hit is None:
                hit = name
        return hit
