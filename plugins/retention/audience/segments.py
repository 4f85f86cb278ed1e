"""Who is in which tier and why, as a table for marketers; how many, and who moved. Reads what scoring kept; decides nothing."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row

from retention.audience.scores.read import Run, find_run
from retention.audience.scores.six import LEVELS, read_levels
from retention.errors import RetentionError
from retention.journey.scores import DIMENSIONS, Scores
from retention.journey.segments import Segments
from retention.store.queries import run, statement

LOCALES = ("zh-CN", "en")
A_FETCH = 5_000
"""Rows in memory at a time, however many there are."""

_HEADS = {
    "zh-CN": ("客户", "分层", "依据", "核心需求", "建议关怀"),
    "en": ("customer", "tier", "basis", "core need", "suggested care"),
}
_WORDS: dict[str, dict[str, str]] = {
    "zh-CN": {
        "since": "{since} 起", "recency": "最近购买", "frequency": "购买次数", "monetary": "消费金额", "activity": "活跃度",
        "low": "低", "mid": "中", "high": "高", "colon": "：", "comma": "，", "stop": "；", "then": "（当时）",
        "never": "从未下单", "last": "最近下单 {day}",
        "orders": "近 {days} 天 {orders} 单，共 {amount} {currency}", "points": "近 {days} 天活跃 {points:g} 分",
    },
    "en": {
        "since": "since {since}", "recency": "recency", "frequency": "frequency", "monetary": "monetary", "activity": "activity",
        "low": "low", "mid": "mid", "high": "high", "colon": " ", "comma": ", ", "stop": "; ", "then": " (then)",
        "never": "never ordered", "last": "last order {day}",
        "orders": "orders in {days} days: {orders}, {currency} {amount}", "points": "points of activity in {days} days: {points:g}",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Spread:
    """How a scheme's tiers stood. `counts`: tier -> people at each of `moments`, the last of which is now. `moves`:
    (from, to) -> people between `moved_since` and now; None is nowhere."""

    run: Run
    scheme: str
    moments: tuple[datetime, ...]
    counts: dict[str, list[int]]
    moved_since: datetime
    moves: dict[tuple[str | None, str | None], int]

    @property
    def people(self) -> int:
        """Everybody who is in a tier now."""
        return sum(column[-1] for column in self.counts.values())


def find_scores(conn: Connection, as_of: datetime, scheme: str | None = None) -> tuple[Run, str]:
    """The run that held at `as_of`, and the scheme: the one asked for or the run's first. Raises RetentionError."""
    found = find_run(conn, as_of)
    if found is None:
        raise RetentionError(
            f"scores: there are none as of {as_of.isoformat(timespec='minutes')}. Score first, or name a later date."
        )
    kept = Scores.model_validate(found.config).schemes
    if scheme is not None and scheme not in kept:
        raise RetentionError(
            f'scheme "{scheme}": scores of this date have {", ".join(kept)}. It is `schemes` in include/scores.yaml.'
        )
    return found, scheme or kept[0]


def list_segments(
    conn: Connection, as_of: datetime, words: Segments, *, locale: str, zone: ZoneInfo, scheme: str | None = None
) -> Iterator[tuple[str, ...]]:
    """The table by customer id: customer, tier, basis, core need, suggested care; first its heads. In constant memory.

    A basis has the levels and, as of the latest run, the sums behind them; as of the past the levels at the change, marked so.
    """
    found, scheme = find_scores(conn, as_of, scheme)
    latest = find_run(conn, datetime.max.replace(tzinfo=as_of.tzinfo))
    is_latest = latest is not None and latest.run_id == found.run_id
    basis = _Basis(locale, zone, Scores.model_validate(found.config), scheme)
    said = {
        tier: tuple(it.say(what, locale) for what in ("name", "core_need", "care"))
        for tier, it in words.of(scheme).items()
    }
    yield _HEADS[locale]
    streaming = conn.execution_options(stream_results=True, yield_per=A_FETCH)
    rows = streaming.execute(
        statement("score/list_segments"), {"scheme": scheme, "as_of": found.as_of, "is_latest": is_latest}
    )
    for row in rows:
        name, need, care = said.get(row.tier, (row.tier, "", ""))
        yield row.customer_id, name, basis.say(row), need, care


def month_before(moment: datetime, zone: ZoneInfo, months: int = 1) -> datetime:
    """The same time of a day so many months earlier; the last day of a month that is too short."""
    local = moment.astimezone(zone)
    year, month = divmod(local.year * 12 + local.month - 1 - months, 12)
    return local.replace(year=year, month=month + 1, day=min(local.day, monthrange(year, month + 1)[1]))


class _Basis:
    """Why somebody is in a tier, in one line."""

    def __init__(self, locale: str, zone: ZoneInfo, config: Scores, scheme: str):
        self._words, self._zone, self._config = _WORDS[locale], zone, config
        self._has_levels = scheme == "six"  # the other one goes by points, not by levels
        self._points = config.activity
        self._levels = {code: self._say_levels(code) for code in range(81)}

    def _say_levels(self, code: int) -> str:
        word = self._words
        named = zip(DIMENSIONS, read_levels(code), strict=True)
        return word["comma"].join(f"{word[name]}{word['colon']}{word[LEVELS[level]]}" for name, level in named)

    def say(self, row: Row[Any]) -> str:
        word, parts = self._words, [self._words["since"].format(since=self._day(row.since))]
        if row.levels is not None and self._has_levels:
            parts.append(self._levels[row.levels] + ("" if row.has_sums else word["then"]))
        if row.has_sums:
            last = row.last_order_at
            parts.append(word["last"].format(day=self._day(last)) if last else word["never"])
            if row.orders:
                worth = {"orders": row.orders, "amount": _money(row.amount), "currency": self._config.currency}
                parts.append(word["orders"].format(days=self._config.window.days, **worth))
            points = (
                row.logins * self._points.login + row.views * self._points.view + row.carts * self._points.cart
                + row.participations * self._points.participation + row.community * self._points.community
            )  # fmt: skip
            parts.append(word["points"].format(days=self._config.activity_window.days, points=round(points, 2)))
        return word["stop"].join(parts)

    def _day(self, moment: datetime) -> str:
        return f"{moment.astimezone(self._zone):%Y-%m-%d}"


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def count_spread(
    conn: Connection,
    as_of: datetime,
    words: Segments,
    *,
    moments: Sequence[datetime],
    moved_since: datetime,
    scheme: str | None = None,
) -> Spread:
    """How many were in each tier at `moments` and as of the run that held at `as_of`, and who moved since `moved_since`."""
    found, scheme = find_scores(conn, as_of, scheme)
    steps = [*sorted(it for it in moments if it < found.as_of), found.as_of]
    counts = {tier: [0] * len(steps) for tier in words.of(scheme)}
    for row in run(conn, "score/count_tiers", scheme=scheme, moments=steps):
        column = counts.setdefault(row.tier, [0] * len(steps))
        for place in range(row.step, len(steps)):
            column[place] += row.people
    moves = run(conn, "score/count_moves", scheme=scheme, since=moved_since, as_of=found.as_of)
    return Spread(
        found, scheme, tuple(steps), counts, moved_since, {(row.previous, row.tier): row.people for row in moves}
    )
