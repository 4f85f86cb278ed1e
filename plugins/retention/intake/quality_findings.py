"""What the checks find: counts of one source's facts against the limits. Reads, writes nothing, names nobody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from statistics import median
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row

from retention.intake.quality_kinds import KINDS, Kind
from retention.intake.quality_policy import Limit, Rule
from retention.journey.notation import write_percent
from retention.store.queries import run

OLDEST = datetime(1990, 1, 1, tzinfo=UTC)
"""No shop of today took an order before."""

DAYS = 28
LEAST_HISTORY = 14
"""Days of orders that a usual day is known by: at most, at least."""

SAMPLED_ROWS = 500_000
NEWEST_EVENTS = 1_000_000
"""Of more orders and lines a sample of about so many is looked up at the other table; of events the newest ones."""

VERDICTS = ("good", "warn", "stop")
"""From better to worse; `too_few` rows is none of them."""


@dataclass(frozen=True)
class Finding:
    """A check's answer before it is a row."""

    verdict: str
    found: Decimal | None
    limit: Limit | None
    detail: str


@dataclass(frozen=True)
class _Count:
    """`part` of `whole` rows; `scope` says of which, `note` adds what else is to know."""

    part: int
    whole: int
    scope: str
    note: str = ""


@dataclass(frozen=True)
class Scene:
    """What one source is looked at with. `since`: from when on its rows count as fresh, None where no moment tells."""

    source: str
    now: datetime
    zone: str
    since: datetime | None
    rows_read: int
    rows_rejected: int

    @property
    def fresh(self) -> str:
        if self.since is None:
            return "on record"
        if self.since == self.now:
            return "of this load"
        return f"learned since {self.since.astimezone(ZoneInfo(self.zone)):%Y-%m-%d %H:%M}"

    @property
    def all(self) -> str:
        return f"of {self.source}"


def look_over(conn: Connection, scene: Scene, wanted: dict[str, Rule]) -> dict[str, Finding]:
    """The finding of each wanted check, in their order; each table is read as seldom as it takes."""
    found: dict[str, Finding] = {}

    def judge(name: str, counts: Iterable[_Count]) -> None:
        if name in wanted:
            found[name] = _judge(KINDS[name], wanted[name], list(counts))

    judge("rows_rejected", [_Count(scene.rows_rejected, scene.rows_read, "read")])
    if wanted.keys() & {"customers_unreachable", "birthdays_impossible"}:
        this_year = scene.now.astimezone(ZoneInfo(scene.zone)).year
        known = run(conn, "intake/quality_customers", source=scene.source, since=scene.since, this_year=this_year).one()
        judge("customers_unreachable", _both(scene, known, "unreachable", "customers"))
        judge("birthdays_impossible", _both(scene, known, "impossible", "dated"))
    if "customers_sharing_address" in wanted:
        known = run(conn, "intake/quality_shared_addresses", source=scene.source, since=scene.since).one()
        judge("customers_sharing_address", _both(scene, known, "sharing", "customers"))
    if "birthdays_on_one_day" in wanted:
        judge("birthdays_on_one_day", _find_common_birthday(conn, scene))
    if wanted.keys() & {name for name, kind in KINDS.items() if "orders" in kind.tables}:
        _look_over_orders(conn, scene, wanted, found)
    if "items_without_order" in wanted:
        percent, sampled = _sample(scene.rows_read)
        known = run(conn, "intake/quality_items", since=scene.since, percent=percent).one()
        judge("items_without_order", [_Count(known.unknown, known.items, scene.fresh + sampled)])
    if wanted.keys() & {"events_in_future", "events_without_customer"}:
        known = run(conn, "intake/quality_events", since=scene.since, now=scene.now, most=NEWEST_EVENTS).one()
        judge("events_in_future", [_Count(known.future, known.events, scene.fresh)])
        judge("events_without_customer", [_Count(known.unknown, known.events, scene.fresh)])
    return {name: found[name] for name in KINDS if name in found}


def _both(scene: Scene, row: Row, part: str, whole: str) -> list[_Count]:
    """The fresh rows, and all of the source; only the latter where nothing is fresh."""
    numbers = row._mapping
    fresh = _Count(numbers[f"fresh_{part}"], numbers[f"fresh_{whole}"], scene.fresh)
    return [*([fresh] if fresh.whole else []), _Count(numbers[part], numbers[whole], scene.all)]


def _find_common_birthday(conn: Connection, scene: Scene) -> list[_Count]:
    rows = run(conn, "intake/quality_birthdays", source=scene.source, since=scene.since).all()
    found = []
    for count, scope in (("fresh_customers", scene.fresh), ("customers", scene.all)):
        whole = sum(getattr(row, count) for row in rows)
        if not whole and count == "fresh_customers":
            continue
        most = max(rows, key=lambda row: getattr(row, count), default=None)
        day = f"{most.month:02}-{most.day:02}{' (lunar)' if most.calendar == 'lunar' else ''}" if most else ""
        found.append(_Count(getattr(most, count) if most else 0, whole, scope, day))
    return found


def _look_over_orders(conn: Connection, scene: Scene, wanted: dict[str, Rule], found: dict[str, Finding]) -> None:
    zone = ZoneInfo(scene.zone)
    today = scene.now.astimezone(zone).date()
    volumes = [name for name in ("orders_few", "orders_many") if name in wanted]
    back = {name: today - timedelta(days=wanted[name].days_back) for name in volumes}
    first, last = (edge(back.values(), default=today) for edge in (min, max))
    rows = run(
        conn,
        "intake/quality_orders",
        source=scene.source,
        since=scene.since,
        now=scene.now,
        oldest_at=OLDEST,
        zone=scene.zone,
        first_at=datetime.combine(first - timedelta(days=DAYS), time(), zone),
        end_at=datetime.combine(last + timedelta(days=1), time(), zone),
    ).all()

    def total(column: str) -> int:
        return sum(getattr(row, column) for row in rows)

    def judge(name: str, counts: list[_Count]) -> None:
        if name in wanted:
            known, fresh = counts
            found[name] = _judge(KINDS[name], wanted[name], [fresh, known] if fresh.whole else [known])

    everything, fresh = total("orders"), total("fresh_orders")
    for name, part in (("orders_in_future", "future"), ("orders_too_old", "old")):
        judge(name, [_Count(total(part), everything, scene.all), _Count(total(f"fresh_{part}"), fresh, scene.fresh)])
    if "orders_without_customer" in wanted:
        counts = []
        # Where all of it is fresh, once is enough.
        whole_fresh = fresh if fresh < everything else 0
        for since, whole, scope in ((None, everything, scene.all), (scene.since, whole_fresh, scene.fresh)):
            percent, sampled = _sample(whole)
            looked, unknown = 0, 0
            if whole:
                looked, unknown = run(
                    conn, "intake/quality_orphans", source=scene.source, since=since, percent=percent
                ).one()
            counts.append(_Count(unknown, looked, scope + sampled))
        judge("orders_without_customer", counts)
    by_day = {row.day: row.orders for row in rows if row.day is not None}
    newest_at = max((row.newest_at for row in rows if row.newest_at), default=None)
    newest = newest_at.astimezone(zone).date() if newest_at else None
    for name, day in back.items():
        found[name] = judge_volume(wanted[name], by_day, day, newest, is_low=name == "orders_few")


def _sample(rows: int) -> tuple[float, str]:
    """What percentage of a table's pages to look at for about SAMPLED_ROWS of so many rows, and how to say so."""
    return (100.0, "") if rows <= SAMPLED_ROWS else (100.0 * SAMPLED_ROWS / rows, " (a sample)")


def _judge(kind: Kind, rule: Rule, counts: list[_Count]) -> Finding:
    """The worst of the counts that are large enough; of equal verdicts the larger share."""
    judged = [(_weigh(rule, it), it) for it in counts if it.whole and it.whole >= rule.min_rows]
    if not judged:
        whole = max((it.whole for it in counts), default=0)
        return Finding(
            "too_few", None, None, f"too few to judge: {whole:,} {kind.noun}, fewer than {max(1, rule.min_rows):,}"
        )
    (verdict, limit), worst = max(judged, key=lambda it: (VERDICTS.index(it[0][0]), it[1].part / it[1].whole))
    share = _round(Decimal(worst.part) / worst.whole, ROUND_CEILING)
    is_share = limit is None or limit.is_share
    shown = write_percent(float(share)) if is_share else f"{worst.part:,}"
    says = f"{kind.says}{f': {worst.note}' if worst.note else ''}"
    detail = f"{shown}: {worst.part:,} of the {worst.whole:,} {kind.noun} {worst.scope} {says}"
    return Finding(verdict, share if is_share else Decimal(worst.part), limit, detail)


def _weigh(rule: Rule, count: _Count) -> tuple[str, Limit | None]:
    share = _round(Decimal(count.part) / count.whole, ROUND_CEILING)

    def is_beyond(limit: Limit | None) -> bool:
        return limit is not None and (share if limit.is_share else count.part) > limit.value

    if is_beyond(rule.stop):
        return "stop", rule.stop
    if is_beyond(rule.warn):
        return "warn", rule.warn
    return "good", rule.warn or rule.stop


def judge_volume(rule: Rule, by_day: dict[date, int], day: date, newest: date | None, *, is_low: bool) -> Finding:
    """A day's orders against the median of the same weekday, or of all days where too few of those are known."""
    before = [day - timedelta(days=n) for n in range(1, DAYS + 1)]
    began = min((it for it in before if by_day.get(it)), default=day)
    history = [it for it in before if it >= began]
    if len(history) < LEAST_HISTORY:
        detail = f"too few to judge: {len(history)} days of orders before {day}, fewer than {LEAST_HISTORY}"
        return Finding("too_few", None, None, detail)
    same = [it for it in history if it.weekday() == day.weekday()]
    compared, among = (same, f"the {len(same)} {day:%A}s") if len(same) >= 3 else (history, f"the {len(history)} days")
    usual, count = Decimal(median(by_day.get(it, 0) for it in compared)), by_day.get(day, 0)
    if is_low and usual < max(1, rule.min_rows):
        detail = f"too few to judge: {_say(usual)} orders on a usual day, fewer than {max(1, rule.min_rows):,}"
        return Finding("too_few", None, None, detail)
    # Where hardly anything is usual, a few orders more are no flood: a usual day counts as min_rows at least.
    compared_with = usual if is_low else max(usual, Decimal(rule.min_rows), Decimal(1))
    share = _round(count / compared_with, ROUND_FLOOR if is_low else ROUND_CEILING)

    def is_beyond(limit: Limit | None) -> bool:
        return limit is not None and (share < limit.value if is_low else share > limit.value)

    verdict = "stop" if is_beyond(rule.stop) else "warn" if is_beyond(rule.warn) else "good"
    limit = rule.stop if verdict == "stop" else rule.warn or rule.stop
    detail = f"{write_percent(float(share))}: {count:,} orders on {day:%A} {day}; "
    detail += f"{_say(usual)} are usual (median of {among} before)"
    if newest and newest < day:
        detail += f"; the newest order is of {newest}"
    return Finding(verdict, share, limit, detail)


def _round(share: Decimal, how: str) -> Decimal:
    """To hundredths of a percent, as fine as limits are written, and away from the limit: rounding changes no verdict."""
    return share.quantize(Decimal("0.0001"), how)


def _say(usual: Decimal) -> str:
    return f"{usual.normalize():,f}"
