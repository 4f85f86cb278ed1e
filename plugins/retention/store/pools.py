"""Pools of uploaded codes: how many are left and for how long. Draws none: that is a plan's (delivery.coupons)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from retention.store.queries import run

SOON = timedelta(days=7)
"""A pool that lasts no longer than this is short."""

RATE_DAYS = 7
"""How many days back the present rate looks."""


@dataclass(frozen=True)
class Pool:
    """One pool. `left` can be dealt now, `lapsed` ended before anybody got them; the others are of coupons, whoever has them.
    `a_day`: codes dealt a day of late; `days`: how long `left` lasts at that, None: for ever."""

    pool: str
    left: int
    lapsed: int
    reserved: int
    issued: int
    redeemed: int
    expired: int
    a_day: float
    days: float | None


def list_pools(conn: Connection, now: datetime) -> list[Pool]:
    """Every pool that has, or ever had, a code."""
    found = run(conn, "coupons/list_pools", now=now, since=now - timedelta(days=RATE_DAYS), days=RATE_DAYS)
    return [Pool(**row, days=_last(row["left"], row["a_day"])) for row in found.mappings()]


def count_left(conn: Connection, pool: str, least_until: datetime) -> int:
    """The codes of a pool that can be dealt and are good beyond `least_until`."""
    return run(conn, "coupons/count_left", pool=pool, least_until=least_until).scalar_one()


def find_rate(conn: Connection, pool: str, now: datetime) -> float:
    """Codes of the pool dealt a day, over the days since it began or RATE_DAYS."""
    return float(
        run(
            conn, "coupons/find_rate", pool=pool, now=now, since=now - timedelta(days=RATE_DAYS), days=RATE_DAYS
        ).scalar_one()
    )


def write_shortage(pool: str, left: int, a_day: float, needed: int = 0) -> str | None:
    """A line about a pool that ends soon, or has less than `needed`; None while it has enough."""
    days = _last(left, a_day)
    if left >= max(needed, 1) and (days is None or days > SOON.days):
        return None
    lasts = f", {'' if days < 1 else 'about '}{say_days(days)}" if days is not None and left else ""
    wants = f"; {needed:,} may be needed" if needed > left else ""
    return (
        f"pool {pool} has {left:,} {'code' if left == 1 else 'codes'} left{lasts}{wants}. Whoever finds none is skipped (no_coupon). "
        f"Upload more: `retention coupons import FILE --pool {pool}`."
    )


def say_days(days: float) -> str:
    """3 days, 1 day, less than a day."""
    return "less than a day" if days < 1 else "1 day" if days < 2 else f"{int(days)} days"


def _last(left: int, a_day: float) -> float | None:
    return left / a_day if a_day else None
