"""The six tiers: which combination of levels is which, and how the gaps between the definitions are closed.

Levels are (recency, frequency, monetary, activity), each 0 low, 1 mid, 2 high. Computes no level and reads no database.
"""

from __future__ import annotations

from itertools import product

LEVELS = ("low", "mid", "high")

NAMES = ("new", "diamond", "gold", "silver", "churn_warning", "potential")
"""The tiers as they are tried: the first that fits."""

DEFINITIONS = {
    "diamond": (2, 2, 2, 2),
    "gold": (1, 2, 2, 1),
    "silver": (2, 1, 1, 2),
    "churn_warning": (0, 0, 1, 0),
    "potential": (0, 1, 0, 1),
}

# Nobody is raised by a tie, and a warning too many costs less than one too few.
_BY_CAUTION = ("churn_warning", "potential", "silver", "gold", "diamond")


def find_tier(levels: tuple[int, int, int, int], *, is_quiet: bool) -> str:
    """The tier of somebody whose first order is not new.

    `is_quiet`: has ordered, but not for so long as churn_warning asks for; nobody else can be in it. Who fits no definition
    is in the nearest one: each level that is missing counts 2, each that is too many 1. Of equally near ones the more
    cautious.
    """
    possible = [name for name in _BY_CAUTION if is_quiet or name != "churn_warning"]
    return min(possible, key=lambda name: _distance(levels, DEFINITIONS[name]))


def _distance(levels: tuple[int, ...], wanted: tuple[int, ...]) -> int:
    return sum(2 * max(want - has, 0) + max(has - want, 0) for has, want in zip(levels, wanted, strict=True))


def make_table() -> bytes:
    """The tier of each combination as its place in NAMES (1 is the first): 81 of those who ordered lately, 81 of the quiet.

    A combination's place is its levels read as digits to the base of 3.
    """
    return bytes(
        NAMES.index(find_tier(levels, is_quiet=is_quiet)) + 1
        for is_quiet in (False, True)
        for levels in product(range(3), repeat=4)
    )


def read_levels(code: int) -> tuple[int, int, int, int]:
    """The four levels of a code as it is kept: 80 is all high."""
    return code // 27, code // 9 % 3, code // 3 % 3, code % 3
