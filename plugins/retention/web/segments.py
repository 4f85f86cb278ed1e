"""What the page Segments shows: how tiers are spread, how that changed, who moved, what each needs. Nobody's name."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from retention.audience.scores.read import find_run
from retention.audience.segments import Spread, count_spread, find_scores, month_before
from retention.journey.scores import Scores
from retention.journey.segments import Segments, load_segments
from retention.web.plots import draw_flow, stack_columns
from retention.web.segment_words import LANGUAGES, WORDS, say_short
from retention.web.views import ZONE, snapshot
from retention.web.words import group_digits, share

MONTHS = 12
LARGEST = 8
STALE = timedelta(days=3)

Moves = dict[tuple[str | None, str | None], int]


def view_segments(
    engine: Engine, include: Path, now: datetime, *, date: str | None, scheme: str | None, language: str
) -> dict[str, Any]:
    """The page as of the end of a day (default: now); for a day without scores it says so."""
    zone, words = ZoneInfo(ZONE), WORDS[language]
    asked = _read_day(date, now, zone)
    texts = load_segments(include)
    base = {
        "lang": language,
        "languages": LANGUAGES,
        "say": words,
        "short": lambda number: say_short(number, language),
        "date": asked.astimezone(zone).date().isoformat(),
        "is_newest": asked == now,
        "earlier": month_before(asked, zone).date().isoformat(),
        "later": month_before(asked, zone, -1).date().isoformat(),
        "scheme": None,
        "schemes": (),
    }
    with snapshot(engine) as conn:
        found = find_run(conn, asked)
        if found is None:
            return base | {"spread": None}
        kept = Scores.model_validate(found.config).schemes
        _, chosen = find_scores(conn, asked, scheme if scheme in kept else None)
        moments = [month_before(found.as_of, zone, n) for n in range(MONTHS, 0, -1)]
        spread = count_spread(conn, asked, texts, moments=moments, moved_since=moments[-1], scheme=chosen)
    return base | _describe(spread, texts, zone, language, asked) | {"scheme": chosen, "schemes": kept}


def _read_day(given: str | None, now: datetime, zone: ZoneInfo) -> datetime:
    try:
        day = datetime.fromisoformat(given).date() if given else None
        moment = datetime.combine(day + timedelta(days=1), time(), zone) - timedelta(seconds=1) if day else now
        month_before(moment, zone, MONTHS + 1)
        month_before(moment, zone, -1)
    except (ValueError, OverflowError):
        return now
    return min(moment, now)


def _describe(spread: Spread, texts: Segments, zone: ZoneInfo, language: str, asked: datetime) -> dict[str, Any]:
    words = WORDS[language]
    known = texts.of(spread.scheme)
    # A tier that has been renamed in the code is still shown, under its old name.
    names = {tier: known[tier].say("name", language) if tier in known else tier for tier in spread.counts}
    before = {tier: column[-2] if len(column) > 1 else 0 for tier, column in spread.counts.items()}
    now = {tier: column[-1] for tier, column in spread.counts.items()}
    is_comparable = len(spread.moments) > 1 and sum(before.values()) > 0
    flows = _add_stayers(spread.moves, now) if is_comparable else {}
    day = f"{spread.run.as_of.astimezone(zone):%Y-%m-%d %H:%M}"
    since = f"{spread.moved_since.astimezone(zone):%Y-%m-%d}"
    age = asked - spread.run.as_of
    return {
        "spread": spread,
        "names": names,
        "as_of": words["as_of"].format(moment=day, zone=ZONE, people=group_digits(spread.people)),
        "stale": words["stale"].format(date=f"{asked.astimezone(zone):%Y-%m-%d}", days=age.days) if age > STALE else None,
        "since": since,
        "rows": [
            {
                "tier": tier,
                "count": count,
                "share": share(count, spread.people),
                "percent": round(100 * count / spread.people, 2) if spread.people else 0,
                "change": count - before[tier] if is_comparable else None,
            }
            for tier, count in now.items()
        ],
        "trend": _draw_trend(spread, zone),
        "flow": draw_flow(flows, [*names, None]) if flows else None,
        "matrix": _lay_matrix(flows, names) if flows else None,
        "largest": sorted(((a, b, n) for (a, b), n in flows.items() if a != b), key=lambda it: -it[2])[:LARGEST],
        "is_comparable": is_comparable,
        "care": [(tier, it.say("core_need", language), it.say("care", language)) for tier, it in known.items()],
    }  # fmt: skip


def _draw_trend(spread: Spread, zone: ZoneInfo) -> Any:
    """From the first month with scores on."""
    totals = [sum(column[n] for column in spread.counts.values()) for n in range(len(spread.moments))]
    first = next((n for n, total in enumerate(totals) if total), len(totals))
    labels = [f"{it.astimezone(zone):%Y-%m}" for it in spread.moments[first:]]
    if len(labels) < 2:
        return None
    return stack_columns({tier: column[first:] for tier, column in spread.counts.items()}, labels)


def _add_stayers(moves: Moves, now: dict[str, int]) -> Moves:
    """The moves, and who stayed where they were."""
    arrived = {tier: sum(n for (_, to), n in moves.items() if to == tier) for tier in now}
    stayed = {(tier, tier): count - arrived[tier] for tier, count in now.items() if count > arrived[tier]}
    return {**moves, **stayed}


def _lay_matrix(flows: Moves, names: dict[str, str]) -> dict[str, Any]:
    """Rows from where, columns to where; nowhere only if somebody came or went. `heat`: 0 to 4, by the share of the row."""
    sources = [key for key in (*names, None) if key or any(a is None for a, _ in flows)]
    targets = [key for key in (*names, None) if key or any(b is None for _, b in flows)]
    rows = []
    for source in sources:
        whole = sum(n for (a, _), n in flows.items() if a == source)
        cells = []
        for target in targets:
            n = flows.get((source, target), 0)
            cells.append((target, n, min(4, int(n / whole * 8) + 1) if n and source != target else 0))
        rows.append((source, whole, cells))
    totals = [sum(n for (_, b), n in flows.items() if b == target) for target in targets]
    return {"targets": targets, "rows": rows, "totals": totals}
