"""Which pools the journeys draw from, and which of them end soon: what is told before anybody is left without."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection

from retention.errors import Problem
from retention.journey.load import Version
from retention.journey.notation import did_you_mean
from retention.store.pools import count_left, find_rate, list_pools, write_shortage


def pools_of(version: Version) -> dict[str, int]:
    """Pool -> how many codes of it one person may need on her way through the journey."""
    needs: dict[str, int] = {}
    for step in version.journey.steps:
        for pool in {it.pool for it in step.coupons if it.pool and not step.retired}:
            own = any(it.pool == pool and it.per_person == "step" for it in step.coupons)
            needs[pool] = needs.get(pool, 0) + 1 if own else max(needs.get(pool, 0), 1)
    return needs


def warn_of_needs(conn: Connection, version: Version, people: int, now: datetime) -> list[str]:
    """Lines about the pools that a cohort of so many people in mode live may find short."""
    lines = []
    for pool, each in sorted(pools_of(version).items()):
        line = write_shortage(pool, count_left(conn, pool, now), find_rate(conn, pool, now), needed=each * people)
        lines += [line] if line else []
    return lines


def list_shortages(conn: Connection, now: datetime, versions: Iterable[Version] = ()) -> list[str]:
    """A line for every pool that is drawn from, by a live journey or of late, and ends soon."""
    drawn = {pool for version in versions if _is_drawing(version) for pool in pools_of(version)}
    known = {pool.pool: pool for pool in list_pools(conn, now)}
    lines = []
    for name in sorted(drawn | {name for name, pool in known.items() if pool.a_day}):
        pool = known.get(name)
        line = write_shortage(name, pool.left if pool else 0, pool.a_day if pool else 0)
        lines += [line] if line else []
    return lines


def find_pool_notes(conn: Connection, now: datetime, versions: Iterable[Version]) -> list[Problem]:
    """What `retention check` says of pools that can't serve a journey as it stands."""
    notes, known = [], [pool.pool for pool in list_pools(conn, now)]
    for version in versions:
        path = f"journeys/{version.journey.journey}.yaml"
        for pool in pools_of(version):
            number = _find_line(version.content.get(path, ""), pool)
            if pool not in known:
                remedy = f"{did_you_mean(pool, known)} Upload its codes: `retention coupons import FILE --pool {pool}`.".strip()
                notes.append(Problem(f"include/{path}", number, f'there is no pool "{pool}".', remedy))
                continue
            left = count_left(conn, pool, now)
            line = write_shortage(pool, left, find_rate(conn, pool, now))
            if line:
                what, _, remedy = line.partition(". ")
                notes.append(Problem(f"include/{path}", number, f"{what}.", remedy))
    return notes


def _is_drawing(version: Version) -> bool:
    return version.journey.live and version.journey.status != "stopped"


def _find_line(written: str, pool: str) -> int:
    found = re.search(rf"\bpool:\s*[\"']?{re.escape(pool)}\b", written)
    return written.count("\n", 0, found.start()) + 1 if found else 1
