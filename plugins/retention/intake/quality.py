"""Looks the facts over after a load, and holds everything back while they are not fit. Owns the report of a load.

A check compares what it finds with the limits of include/quality.yaml. Beyond `stop` it places a hold: while one stands
nobody enters, nothing is planned and nothing is handed over. A hold goes when the same check of the same source finds
better, or when a person accepts the facts as they are. Nothing here names a person: counts and days only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection, Row, select, text
from sqlalchemy.dialects.postgresql import insert

from retention.intake.data_holds import (
    fetch_holds,
    find_fit_moment,
    find_hold,
    find_last_lift,
    lift_hold,
    lift_holds,
    place_hold,
)
from retention.intake.quality_findings import Scene, look_over
from retention.intake.quality_kinds import KINDS, find_remedy
from retention.intake.quality_policy import Limit, QualityPolicy, Rule
from retention.store.queries import run
from retention.store.tables import imports, quality_checks


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
    scene = Scene(source, now, zone, since, rows_read, rows_rejected)
    wanted = {name: rule for name in KINDS if (rule := _rule_here(policy, name, source, tables))}
    checks = [
        Check(name, it.verdict, it.found, it.limit and it.limit.value, it.detail, import_id, source, load.name, now)
        for name, it in look_over(conn, scene, wanted).items()
    ]
    _write(conn, checks)
    for check in checks:
        if check.verdict == "stop":
            place_hold(conn, check.check, source, import_id=import_id, reason=_say_beyond(check), now=now)
        elif check.verdict in ("good", "warn") and _is_cleared(conn, check):
            lift_hold(conn, check.check, source, f"load {import_id}: {check.detail}", now)
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


def _say_beyond(check: Check) -> str:
    return f"{check.detail}; the limit is {check.limit_text}"


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


def _look_again(
    conn: Connection, load: Row, tables: set[str], done: set[str], policy: QualityPolicy, now: datetime, zone: str
) -> None:
    """Lift what this load mended without bringing rows of its own: the customers of orders that were held for them. And
    what is no longer looked at."""
    for hold in fetch_holds(conn):
        kind, is_its_own = KINDS.get(hold["check"]), hold["source"] == load.source
        rule = policy.rule(hold["check"], hold["source"]) if kind else None
        if rule is None and is_its_own:
            lift_hold(conn, hold["check"], hold["source"], "the check is switched off in include/quality.yaml", now)
        if rule is None or kind.later not in tables or (is_its_own and hold["check"] in done):
            continue
        its_load = conn.execute(select(imports).where(imports.c.import_id == hold["import_id"])).one()
        since = None if its_load.is_history else hold["placed_at"]
        scene = Scene(hold["source"], now, zone, since, its_load.rows_read, 0)
        found = look_over(conn, scene, {hold["check"]: rule})[hold["check"]]
        if found.verdict in ("good", "warn"):
            lift_hold(
                conn, hold["check"], hold["source"], f"load {load.import_id} of {load.source}: {found.detail}", now
            )


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


__all__ = [
    "KINDS", "Check", "check_quality", "fetch_checks", "fetch_checks_of", "fetch_holds", "find_fit_moment", "find_hold",
    "find_last_lift", "find_remedy", "lift_holds", "list_loads",
]  # fmt: skip
