"""Holds: while one stands nobody enters, nothing is planned and nothing is handed over. Owns data_holds.

Placed by a check that finds facts beyond its limit (intake.quality), lifted by the same check or by a person.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, select, text, update
from sqlalchemy.dialects.postgresql import insert

from retention.store.audit import note
from retention.store.queries import run
from retention.store.tables import data_holds


def place_hold(conn: Connection, check: str, source: str, *, import_id: int, reason: str, now: datetime) -> None:
    """Let everything wait because of this check of a source; one that stands gets the newer reason, and stays as old."""
    values = {"import_id": import_id, "reason": reason}
    made = insert(data_holds).values(check=check, source=source, placed_at=now, **values)
    is_new = conn.scalar(
        made.on_conflict_do_update(
            index_elements=["check", "source"], index_where=data_holds.c.lifted_at.is_(None), set_=values
        ).returning(text("xmax = 0"))
    )
    detail = {"check": check, "source": source, **values}
    note(conn, now, "quality", "hold_data" if is_new else "hold_data_still", None, detail)


def lift_hold(conn: Connection, check: str, source: str, reason: str, now: datetime) -> None:
    """The facts are better now: let go of what this check of a source holds, if it does."""
    lifted = conn.execute(
        update(data_holds)
        .where(data_holds.c.lifted_at.is_(None), data_holds.c.check == check, data_holds.c.source == source)
        .values(lifted_at=now, lifted_by="quality", lift_reason=reason)
    ).rowcount
    if lifted:
        note(conn, now, "quality", "lift_data_hold", None, {"check": check, "source": source, "reason": reason})


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
