"""Looks the facts over after a load, and holds everything back while they are not fit. Owns checks and data holds.

A check compares what it finds with the limits of include/quality.yaml. Beyond `stop` it places a hold: while one stands
nobody enters, nothing is planned and nothing is handed over. A hold goes when the same check of the same source finds
better, or when a person accepts the facts as they are. Nothing here names a person: counts and days only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from statistics import median
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, select, text, update
from sqlalchemy.dialects.postgresql import insert

from retention.intake.quality_policy import DEFAULTS, Limit, QualityPolicy, Rule
from retention.journey.notation import write_percent
from retention.store.audit import note
from retention.store.queries import run
from retention.store.tables import data_holds, imports, quality_checks

OLDEST = datetime(1990, 1, 1, tzinfo=UTC)
"""No shop of today took an order before."""

DAYS = 28
LEAST_HISTORY = 14
"""Days of orders that a usual day is known by: at most, at least."""

SAMPLED_ROWS = 500_000
NEWEST_EVENTS = 1_000_000
"""Of more orders and lines a sample of about so many is looked up at the other table; of events the newest ones."""


@dataclass(frozen=True)
class Kind:
    """A check: what loads it concerns, its finding in words ("125 of the 1,000 <noun> of this load <says>"), what to do.

    `later`: a table whose loads may mend what it found, though they bring none of its own rows.
    """

    tables: frozenset[str]
    noun: str
    says: str
    remedy: str
    later: str | None = None


def _kind(tables: str, noun: str, says: str, remedy: str, later: str | None = None) -> Kind:
    return Kind(frozenset(tables.split()), noun, says, remedy, later)


KINDS: dict[str, Kind] = {
    "rows_rejected": _kind(
        "", "rows", "were rejected", "`retention loads LOAD` writes them to a file, each with its reason."
    ),
    "customers_unreachable": _kind(
        "customers", "customers", "have no usable e-mail address or phone number",
        "Was a column renamed, or left empty? Correct the export or the mapping and load again.",
    ),
    "customers_sharing_address": _kind(
        "customers", "customers", "have the e-mail address or phone number of another one",
        "Leave placeholders empty at the source; `retention customers merge` joins two ids of one person.",
    ),
    "birthdays_impossible": _kind(
        "customers", "years of birth", "lie in the future or before 1900",
        "Check the birthday's format in the mapping; leave unknown ones empty.",
    ),
    "birthdays_on_one_day": _kind(
        "customers", "birthdays", "are on the same day", "It looks like a form's default: leave unknown ones empty.",
    ),
    "orders_in_future": _kind(
        "orders", "orders", "are later than the load", "Check the column of their time and its time zone in the mapping.",
    ),
    "orders_too_old": _kind(
        "orders", "orders", "are from before 1990", "An empty date reads as 1970 or 1900: correct it at the source.",
    ),
    "orders_without_customer": _kind(
        "orders", "orders", "are of a customer who is not known",
        "Load the customers; check that both use the same ids, and the same prefix.", later="customers",
    ),
    "orders_few": _kind("orders", "orders", "", "Is the export whole, and is it the newest? Load what is missing."),
    "orders_many": _kind(
        "orders", "orders", "", "Are orders in it twice, under other ids? For a big sale raise the limit.",
    ),
    "items_without_order": _kind(
        "order_items", "order lines", "are of an order that is not known", "Load the orders.", later="orders"
    ),
    "events_in_future": _kind(
        "events", "events", "are later than the load", "Check the column of their time and its time zone in the mapping.",
    ),
    "events_without_customer": _kind(
        "events", "events", "are of a customer who is not known",
        "Load the customers; check that both use the same ids.", later="customers",
    ),
}  # fmt: skip
"""Every check, in the order of a report. rows_rejected concerns every load."""

VERDICTS = ("good", "warn", "stop")
"""From better to worse; `too_few` rows is none of them."""


def find_remedy(check: str, import_id: int) -> str:
    """What to do about a check of a load that is not good; nothing for one that there is no more."""
    return KINDS[check].remedy.replace("LOAD", str(import_id)) if check in KINDS else ""


@dataclass(frozen=True)
class Check:
    """What a check found, beside the limit that applied: that of its verdict, the nearest one where all is good.

    Both are shares (0.05) or numbers of rows, as the limit is written; None where nothing was judged. `detail` says
    it in words, what was found first: "5.1%: 51 of the 1,000 ...".
    """

    check: str
    verdict: str
    found: Decimal | None
    limit: Decimal | None
    detail: str
    import_id: int
    source: str
    name: str = ""
    checked_at: datetime | None = None

    @property
    def found_text(self) -> str:
        """What was found as people read it: 5.1%, or 51; empty where nothing was judged."""
        return "" if self.found is None else self.detail.partition(":")[0]

    @property
    def says(self) -> str:
        """The detail without what was found."""
        return self.detail.removeprefix(f"{self.found_text}: ")

    @property
    def limit_text(self) -> str:
        """The limit as the policy writes it; empty where none applies."""
        return "" if self.limit is None else str(Limit(self.limit, is_share=self.found_text.endswith("%")))

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return find_remedy(self.check, self.import_id)

    def as_dict(self) -> dict:
        """For --json: source, import_id, check, verdict, found, limit (numbers or null), detail, remedy."""
        numbers = {"found": self.found, "limit": self.limit}
        return {
            "source": self.source,
            "import_id": self.import_id,
            "check": self.check,
            "verdict": self.verdict,
            **{name: None if value is None else float(value) for name, value in numbers.items()},
            "detail": self.detail,
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class _Finding:
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
class _Scene:
    """What one source is looked at with. `since`: from when on its rows count as fresh, None where no moment tells."""

    source: str
    now: datetime
    zone: str
    since: datetime | None
    rows_read: int
    rows_rejected: int

    @property
    def fresh(self) -> str:
        if self.since is None or self.since == self.now:
            return "of this load"
        return f"learned since {self.since.astimezone(ZoneInfo(self.zone)):%Y-%m-%d %H:%M}"

    @property
    def all(self) -> str:
        return f"of {self.source}"


def check_quality(
    conn: Connection,
    *,
    import_id: int,
    source: str,
    tables: set[str],
    rows_read: int,
    rows_rejected: int,
    policy: QualityPolicy,
    now: datetime,
    zone: str = "Asia/Shanghai",
) -> list[Check]:
    """Look the facts over that a load brought, in its transaction: write what was found, place and lift holds.

    `tables`: those that the load brought rows to, their planner figures fresh; `now`: the moment its rows are recorded
    with; `zone`: where a day begins. Only checks that concern the tables run. Called again for the same load, it
    replaces what it wrote.
    """
    load = conn.execute(select(imports).where(imports.c.import_id == import_id)).one()
    placed_at = conn.scalar(text(
        "select min(placed_at) from data_holds where source = :source and lifted_at is null"
    ), {"source": source})  # fmt: skip
    # While a hold stands, rows since it was placed stay under suspicion: a small good load does not clear a large bad one.
    since = None if load.is_history else min(now, placed_at or now)
    scene = _Scene(source, now, zone, since, rows_read, rows_rejected)
    wanted = {name: rule for name in KINDS if (rule := _rule_here(policy, name, source, tables))}
    checks = [
        Check(name, it.verdict, it.found, it.limit and it.limit.value, it.detail, import_id, source, load.name, now)
        for name, it in _look_over(conn, scene, wanted).items()
    ]
    _write(conn, checks)
    for check in checks:
        if check.verdict == "stop":
            _hold(conn, check, now)
        elif check.verdict in ("good", "warn") and _is_cleared(conn, check):
            _lift(conn, check.check, source, f"load {import_id}: {check.detail}", now)
    _look_again(conn, load, tables, {check.check for check in checks}, policy, now, zone)
    return checks


def _rule_here(policy: QualityPolicy, name: str, source: str, tables: set[str]) -> Rule | None:
    concerns = not KINDS[name].tables or bool(KINDS[name].tables & tables)
    return policy.rule(name, source) if concerns else None


def _write(conn: Connection, checks: list[Check]) -> None:
    for check in checks:
        values = {
            "verdict": check.verdict,
            "found": check.found,
            "limit": check.limit,
            "detail": check.detail,
            "checked_at": check.checked_at,
        }
        made = insert(quality_checks).values(import_id=check.import_id, check=check.check, **values)
        conn.execute(made.on_conflict_do_update(index_elements=["import_id", "check"], set_=values))


# --- what is found ---------------------------------------------------------------------------------------------------


def _look_over(conn: Connection, scene: _Scene, wanted: dict[str, Rule]) -> dict[str, _Finding]:
    """The finding of each wanted check, in their order; each table is read as seldom as it takes."""
    found: dict[str, _Finding] = {}

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


def _both(scene: _Scene, row: Row, part: str, whole: str) -> list[_Count]:
    """The fresh rows, and all of the source; only the latter where nothing is fresh."""
    numbers = row._mapping
    fresh = _Count(numbers[f"fresh_{part}"], numbers[f"fresh_{whole}"], scene.fresh)
    return [*([fresh] if fresh.whole else []), _Count(numbers[part], numbers[whole], scene.all)]


def _find_common_birthday(conn: Connection, scene: _Scene) -> list[_Count]:
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


def _look_over_orders(conn: Connection, scene: _Scene, wanted: dict[str, Rule], found: dict[str, _Finding]) -> None:
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
        found[name] = _judge_volume(wanted[name], by_day, day, newest, is_low=name == "orders_few")


def _sample(rows: int) -> tuple[float, str]:
    """What percentage of a table's pages to look at for about SAMPLED_ROWS of so many rows, and how to say so."""
    return (100.0, "") if rows <= SAMPLED_ROWS else (100.0 * SAMPLED_ROWS / rows, " (a sample)")


def _judge(kind: Kind, rule: Rule, counts: list[_Count]) -> _Finding:
    """The worst of the counts that are large enough; of equal verdicts the larger share."""
    judged = [(_weigh(rule, it), it) for it in counts if it.whole and it.whole >= rule.min_rows]
    if not judged:
        whole = max((it.whole for it in counts), default=0)
        return _Finding(
            "too_few", None, None, f"too few to judge: {whole:,} {kind.noun}, fewer than {max(1, rule.min_rows):,}"
        )
    (verdict, limit), worst = max(judged, key=lambda it: (VERDICTS.index(it[0][0]), it[1].part / it[1].whole))
    share = _round(Decimal(worst.part) / worst.whole, ROUND_CEILING)
    is_share = limit is None or limit.is_share
    shown = write_percent(float(share)) if is_share else f"{worst.part:,}"
    says = f"{kind.says}{f': {worst.note}' if worst.note else ''}"
    detail = f"{shown}: {worst.part:,} of the {worst.whole:,} {kind.noun} {worst.scope} {says}"
    return _Finding(verdict, share if is_share else Decimal(worst.part), limit, detail)


def _weigh(rule: Rule, count: _Count) -> tuple[str, Limit | None]:
    share = _round(Decimal(count.part) / count.whole, ROUND_CEILING)

    def is_beyond(limit: Limit | None) -> bool:
        return limit is not None and (share if limit.is_share else count.part) > limit.value

    if is_beyond(rule.stop):
        return "stop", rule.stop
    if is_beyond(rule.warn):
        return "warn", rule.warn
    return "good", rule.warn or rule.stop


def _judge_volume(rule: Rule, by_day: dict[date, int], day: date, newest: date | None, *, is_low: bool) -> _Finding:
    """A day's orders against the median of the same weekday, or of all days where too few of those are known."""
    before = [day - timedelta(days=n) for n in range(1, DAYS + 1)]
    began = min((it for it in before if by_day.get(it)), default=day)
    history = [it for it in before if it >= began]
    if len(history) < LEAST_HISTORY:
        detail = f"too few to judge: {len(history)} days of orders before {day}, fewer than {LEAST_HISTORY}"
        return _Finding("too_few", None, None, detail)
    same = [it for it in history if it.weekday() == day.weekday()]
    compared, among = (same, f"the {len(same)} {day:%A}s") if len(same) >= 3 else (history, f"the {len(history)} days")
    usual, count = Decimal(median(by_day.get(it, 0) for it in compared)), by_day.get(day, 0)
    if is_low and usual < max(1, rule.min_rows):
        detail = f"too few to judge: {_say(usual)} orders on a usual day, fewer than {max(1, rule.min_rows):,}"
        return _Finding("too_few", None, None, detail)
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
    return _Finding(verdict, share, limit, detail)


def _round(share: Decimal, how: str) -> Decimal:
    """To hundredths of a percent, as fine as limits are written, and away from the limit: rounding changes no verdict."""
    return share.quantize(Decimal("0.0001"), how)


def _say(usual: Decimal) -> str:
    return f"{usual.normalize():,f}"


# --- holds -----------------------------------------------------------------------------------------------------------


def _say_beyond(check: Check) -> str:
    return f"{check.detail}; the limit is {check.limit_text}"


def _hold(conn: Connection, check: Check, now: datetime) -> None:
    values = {"import_id": check.import_id, "reason": _say_beyond(check)}
    made = insert(data_holds).values(check=check.check, source=check.source, placed_at=now, **values)
    is_new = conn.scalar(
        made.on_conflict_do_update(
            index_elements=["check", "source"], index_where=data_holds.c.lifted_at.is_(None), set_=values
        ).returning(text("xmax = 0"))
    )
    detail = {"check": check.check, "source": check.source, **values}
    note(conn, now, "quality", "hold_data" if is_new else "hold_data_still", None, detail)


def _is_cleared(conn: Connection, check: Check) -> bool:
    """Whether this verdict speaks for the whole source: rejected rows of one mapping say nothing about another's."""
    if check.check != "rows_rejected":
        return True
    standing = [hold for hold in fetch_holds(conn) if (hold["check"], hold["source"]) == (check.check, check.source)]
    if not standing:
        return False
    latest = run(
        conn, "intake/quality_latest_verdicts",
        source=check.source, check=check.check, placed_at=standing[0]["placed_at"],
    )  # fmt: skip
    return all(row.verdict != "stop" for row in latest)


def _lift(conn: Connection, check: str, source: str, reason: str, now: datetime) -> None:
    lifted = conn.execute(
        update(data_holds)
        .where(data_holds.c.lifted_at.is_(None), data_holds.c.check == check, data_holds.c.source == source)
        .values(lifted_at=now, lifted_by="quality", lift_reason=reason)
    ).rowcount
    if lifted:
        note(conn, now, "quality", "lift_data_hold", None, {"check": check, "source": source, "reason": reason})


def _look_again(
    conn: Connection, load: Row, tables: set[str], done: set[str], policy: QualityPolicy, now: datetime, zone: str
) -> None:
    """Lift what this load mended without bringing rows of its own: the customers of orders that were held for them."""
    for hold in fetch_holds(conn):
        kind = KINDS.get(hold["check"])
        is_done = hold["check"] in done and hold["source"] == load.source
        if kind is None or kind.later not in tables or is_done:
            continue
        rule = policy.rule(hold["check"], hold["source"])
        its_load = conn.execute(select(imports).where(imports.c.import_id == hold["import_id"])).one()
        since = None if its_load.is_history else hold["placed_at"]
        scene = _Scene(hold["source"], now, zone, since, its_load.rows_read, 0)
        found = _look_over(conn, scene, {hold["check"]: rule}).get(hold["check"]) if rule else None
        if found and found.verdict in ("good", "warn"):
            _lift(conn, hold["check"], hold["source"], f"load {load.import_id} of {load.source}: {found.detail}", now)


def fetch_checks(conn: Connection, import_id: int | None = None) -> list[Check]:
    """The checks of a load; None: of the latest load of each source and mapping."""
    return fetch_checks_of(conn, None if import_id is None else [import_id])


def fetch_checks_of(conn: Connection, import_ids: list[int] | None) -> list[Check]:
    """The checks of these loads; None: of the latest load of each source and mapping."""
    found = run(conn, "intake/quality_fetch_checks", import_ids=import_ids).mappings()
    return [Check(**row) for row in found]


def list_loads(conn: Connection, before: int | None, most: int) -> list[dict]:
    """The loads as the table imports has them, newest first, from before that one (None: from the newest)."""
    return [dict(row) for row in run(conn, "intake/quality_loads", before=before, most=most).mappings()]


def fetch_holds(conn: Connection) -> list[dict]:
    """The holds that stand, oldest first: check, source, import_id, reason, placed_at."""
    columns = (data_holds.c[name] for name in ("check", "source", "import_id", "reason", "placed_at"))
    standing = select(*columns).where(data_holds.c.lifted_at.is_(None)).order_by(data_holds.c.hold_id)
    return [dict(row) for row in conn.execute(standing).mappings()]


def lift_holds(conn: Connection, *, reason: str, actor: str, now: datetime, source: str | None = None) -> int:
    """Accept the facts as they are, of one source or of all: what waited goes on. The number of holds lifted.

    The next load is judged anew; what is always so belongs into include/quality.yaml."""
    lifted = conn.execute(
        update(data_holds)
        .where(data_holds.c.lifted_at.is_(None), *([] if source is None else [data_holds.c.source == source]))
        .values(lifted_at=now, lifted_by=actor, lift_reason=reason)
        .returning(data_holds.c.check, data_holds.c.source)
    ).all()
    for check, of_source in lifted:
        note(conn, now, actor, "accept_data", None, {"check": check, "source": of_source, "reason": reason})
    return len(lifted)


def find_hold(conn: Connection) -> str | None:
    """Why everything waits and what to do about it, in one line, or None while the facts are fit."""
    holds = fetch_holds(conn)
    if not holds:
        return None
    told = "; and ".join(
        f"{hold['check']} (source {hold['source']}, load {hold['import_id']}, since "
        f"{hold['placed_at'].astimezone(UTC):%Y-%m-%d %H:%M} UTC): {hold['reason']}"
        for hold in holds
    )
    return (
        f"data: not fit to go on with: {told}. Nobody enters, nothing is planned or sent until then: correct the source "
        'and load again, or, if it is right as it is, `retention quality --accept "reason"`. What waits then goes on by '
        "itself."
    )


def find_fit_moment(conn: Connection, moment: datetime) -> datetime:
    """As of when facts may be decided on that should be those of `moment`: the moment itself or, where a hold stood
    then, when it was lifted. What was known under a hold is what nobody should decide on."""
    while lifted_at := run(conn, "intake/quality_fit_moment", moment=moment).scalar():
        moment = lifted_at
    return moment


def find_last_lift(conn: Connection) -> datetime | None:
    """When a hold was lifted last."""
    return conn.scalar(text("select max(lifted_at) from data_holds"))


__all__ = [
    "DEFAULTS", "KINDS", "Check", "check_quality", "fetch_checks", "fetch_checks_of", "fetch_holds", "find_fit_moment",
    "find_hold", "find_last_lift", "lift_holds",
]  # fmt: skip
