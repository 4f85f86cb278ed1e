"""Which orders used which coupons, and what that cost: matched by the database, in sets, as of an instant."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection, text

from retention.store.queries import look_as_of, run
from retention.store.staging import analyze

OVERLAP = timedelta(days=1)
"""How much of the time before the last look is looked at again: a load's facts count as known since it began."""


@dataclass(frozen=True)
class Matched:
    """What came of a look: coupons looked at, how many changed, and to which state."""

    as_of: datetime
    is_whole: bool
    looked_at: int
    changed: int
    states: dict[str, int]


@dataclass
class CouponFigures:
    """A journey's coupons. `states`: state -> coupons; orders by verdict: `counted`, `late`, `again`, `undone`; `shared`: of
    those that count, by somebody else. `cost` by currency is of counted orders, `late_cost` of late and further ones;
    `unknown`: counted orders whose cost nobody can tell; `points` that counted orders promise."""

    states: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    shared: int = 0
    cost: Counter[str] = field(default_factory=Counter)
    late_cost: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    points: Decimal = Decimal(0)

    @property
    def out(self) -> int:
        """Coupons that customers have or had: issued, redeemed, expired."""
        return self.states["issued"] + self.states["redeemed"] + self.states["expired"]

    def as_dict(self) -> dict:
        """For --json."""
        return {
            **{state: self.states[state] for state in ("reserved", "issued", "redeemed", "expired", "given_back")},
            "orders": {verdict: self.orders[verdict] for verdict in ("counted", "late", "again", "undone")},
            "shared": self.shared,
            "cost": {currency: float(cost) for currency, cost in sorted(self.cost.items())},
            "late_cost": {currency: float(cost) for currency, cost in sorted(self.late_cost.items())},
            "cost_unknown": self.unknown,
            "points": int(self.points),
        }

    def say(self) -> str:
        """One line for people."""
        share = f" ({self.states['redeemed'] / self.out:.1%})" if self.out else ""
        cost = ", ".join(f"{currency} {cost:,.2f}" for currency, cost in sorted(self.cost.items()))
        costs = [it for it in (cost, f"{self.points:,.0f} points" if self.points else "") if it]
        odd = [
            f"{count:,} {what}"
            for count, what in (
                (self.orders["late"], "late"), (self.orders["again"], "used again"), (self.orders["undone"], "refunded or cancelled"),
                (self.shared, "by somebody else"), (self.unknown, "of unknown cost"),
            )
            if count
        ]  # fmt: skip
        return (
            f"{self.out:,} coupons out, {self.states['redeemed']:,} redeemed{share}, {self.states['expired']:,} expired"
            + (f"; cost {' + '.join(costs)}" if costs else "")
            + (f"; orders {', '.join(odd)}" if odd else "")
        )


def match_coupons(conn: Connection, *, as_of: datetime, now: datetime, is_whole: bool = False) -> Matched:
    """Hold coupons against orders as of an instant, in the caller's transaction: those with news since the last look, or
    all (`is_whole`, and whenever a later look was taken or history was loaded since). The same facts give the same result
    however often and in whatever steps it is done; one look at a time."""
    conn.execute(text("select pg_advisory_xact_lock(hashtext('retention.coupons'))"))
    last = run(conn, "coupons/last_match", as_of=as_of).one()
    is_whole = is_whole or last.as_of is None or last.is_stale
    since = datetime(1, 1, 2, tzinfo=UTC) if is_whole else last.as_of - OVERLAP
    look_as_of(conn, as_of)
    conn.execute(text("set local jit = off"))
    conn.execute(text("drop table if exists pg_temp.touched_keys, pg_temp.touched_coupons, pg_temp.touched_lines"))
    if is_whole:
        run(conn, "coupons/find_all_keys")
    else:
        run(conn, "coupons/find_touched_keys", since=since)
    analyze(conn, "touched_keys")
    looked_at = run(conn, "coupons/find_touched", since=since, as_of=as_of, is_whole=is_whole).rowcount
    analyze(conn, "touched_coupons")
    run(conn, "coupons/find_lines")
    analyze(conn, "touched_lines")
    run(conn, "coupons/forget_uses")
    # Of what it gathers on its way Postgres knows no number, and must not go through all of it for every row of the rest.
    conn.execute(text("set local enable_nestloop = off"))
    run(conn, "coupons/match_uses")
    conn.execute(text("set local enable_nestloop = on"))
    run(conn, "coupons/promote_uses")
    states = {state: coupons for state, coupons in run(conn, "coupons/move_states", as_of=as_of, now=now)}
    changed = sum(states.values())
    run(conn, "coupons/note_match", as_of=as_of, now=now, is_whole=is_whole, looked_at=looked_at, changed=changed)
    return Matched(as_of, is_whole, looked_at, changed, states)


def count_coupons(conn: Connection, journey: str | None = None, *, mode: str = "live") -> dict[str, CouponFigures]:
    """Journey -> its coupons, for those that ever gave one; test never counts among live."""
    found: dict[str, CouponFigures] = defaultdict(CouponFigures)
    for row in run(conn, "insight/journey_coupons", journey=journey, mode=mode):
        found[row.journey].states[row.state] += row.coupons
    for row in run(conn, "insight/journey_redemptions", journey=journey, mode=mode):
        figures = found[row.journey]
        figures.orders[row.verdict] += row.orders
        if row.verdict == "counted":
            figures.shared += row.shared
            figures.unknown += row.unknown
            figures.points += row.points
        if row.currency and row.verdict != "undone":
            (figures.cost if row.verdict == "counted" else figures.late_cost)[row.currency] += row.cost
    return dict(found)
