"""Erasing a person: what the registry (store.personal) says, place by place, in the caller's transaction.

What was decided, sent and bought stays as counts under random names that nothing leads to; digests of ids and addresses stay
in erasures, so that loads refuse the person. Raw requests and replies are forgotten by delivery.events.
"""

from __future__ import annotations

import secrets
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, Text, and_, cast, delete, func, or_, select, text, tuple_, update

from retention.intake.person import IN_PLACE, Mentions, Person
from retention.store.erasures import remember
from retention.store.personal import ADDRESS, CUSTOMER, DELETE, ENROLLMENT, MERGE, MESSAGE, ORDER, PLACES, WORDS, Place
from retention.store.staging import LOAD_LOCK
from retention.store.tables import coupons, customer_merges, customers, enrollments, metadata, replies

_LOGS = ("*.log", "*.log.*", "*.txt", "*.json")


def take_turn(conn: Connection) -> None:
    """Wait for a load or a merge that is under way: none of them sees half a person."""
    conn.execute(text("select pg_advisory_xact_lock(hashtext(:key))"), {"key": LOAD_LOCK})


def count_rows(conn: Connection, person: Person) -> dict[str, int]:
    """What erasing would touch: table -> rows. The raw requests are not looked into."""
    found = {}
    for place in PLACES:
        table = metadata.tables[place.table]
        if (theirs := rows_of(place, person)) is not None:
            found[place.table] = conn.scalar(select(func.count()).select_from(table).where(theirs))
    return {table: count for table, count in found.items() if count}


def erase_person(conn: Connection, person: Person, now: datetime) -> Counter:
    """Take a person out of every table; table -> rows that went or were changed. Twice is once."""
    take_turn(conn)
    conn.execute(select(customers.c.customer_id).where(customers.c.customer_id.in_(person.ids)).with_for_update()).all()
    mine = select(enrollments.c.enrollment_id).where(enrollments.c.enrollment_id.in_(person.enrollment_ids))
    conn.execute(mine.order_by(enrollments.c.enrollment_id).with_for_update()).all()
    remember(conn, person.named(), now)
    new_names = _Names(person)
    done: Counter = Counter()
    for place in PLACES:
        table = metadata.tables[place.table]
        theirs = rows_of(place, person)
        if theirs is None:
            continue
        if place.erasing == DELETE:
            done[place.table] += conn.execute(delete(table).where(theirs)).rowcount
        elif place.tie == WORDS:
            done[place.table] += _reword(conn, table, place.reworded, theirs, person)
        else:
            if place.reworded:
                _reword(conn, table, place.reworded, theirs, person)
            done[place.table] += _alter(conn, place, table, theirs, new_names, now)
    return +done


def rows_of(place: Place, person: Person) -> Any:
    """Which rows of a place are a person's, as a condition; None where a body has to be looked into, or nobody's are."""
    table = metadata.tables[place.table]
    if place.tie == CUSTOMER:
        return table.c.customer_id.in_(person.ids)
    if place.tie == ORDER:
        return table.c.order_id.in_(person.order_ids)
    if place.tie == ENROLLMENT:
        return table.c.enrollment_id.in_(person.enrollment_ids)
    if place.tie == MESSAGE:
        return table.c.message_id.in_(person.message_ids)
    if place.tie == MERGE:
        return table.c.merge_id.in_(person.merge_ids)
    if place.tie == ADDRESS:
        by_address = func.lower(table.c.address).in_([it.lower() for it in person.addresses])
        return or_(by_address, table.c.message_id.in_(person.message_ids)) if table is replies else by_address
    if place.tie == WORDS:
        pattern = person.pattern()
        return or_(*(cast(table.c[name], Text).op("~*")(pattern) for name in place.reworded))
    return None


class _Names:
    """A random name for every id of a person, the same in all tables; nothing leads back."""

    def __init__(self, person: Person):
        self.customers = {it: f"{IN_PLACE}-{secrets.token_hex(8)}" for it in person.ids}
        self.orders = {it: f"{IN_PLACE}-{secrets.token_hex(8)}" for it in person.order_ids}
        self.codes = {it: f"{IN_PLACE}-{secrets.token_hex(8)}".upper() for it in person.codes}


def _alter(conn: Connection, place: Place, table: Table, theirs: Any, names: _Names, now: datetime) -> int:
    renamed = set(place.renamed)
    values: dict[str, Any] = {name: {} if name == "before" else None for name in place.blanked}
    if "source" in renamed:
        # No list of a source sweeps them: they are in none.
        values["source"] = IN_PLACE
    if "occurrence" in renamed:
        key = next(iter(table.primary_key.columns))
        values["occurrence"] = func.concat(f"{IN_PLACE}-", key)
    if table is customer_merges:
        values["undone_at"] = func.coalesce(table.c.undone_at, now)
    if table.name == "messages":
        values["address"] = IN_PLACE
        theirs = and_(theirs, table.c.address.is_not(None))
    if table is coupons or "coupon_code" in renamed:
        name = "code" if table is coupons else "coupon_code"
        for code, new in names.codes.items():
            conn.execute(
                update(table).where(func.coupon_key(table.c[name]) == func.coupon_key(code)).values({name: new})
            )
        if name == "coupon_code":
            # Any other code may be a personal one of the shop's.
            strange = and_(theirs, table.c[name].not_in(list(names.codes.values())))
            conn.execute(update(table).where(strange).values({name: None}))
    changed = conn.execute(update(table).where(theirs).values(values)).rowcount if values else None
    for column, new_names in (
        ("order_id", names.orders), ("kept_id", names.customers), ("merged_id", names.customers),
        ("customer_id", names.customers),
    ):  # fmt: skip
        if column in renamed:
            counts = [
                conn.execute(update(table).where(table.c[column] == old).values({column: new})).rowcount
                for old, new in new_names.items()
            ]
            changed = sum(counts) if changed is None else changed
    return changed or 0


def _reword(conn: Connection, table: Table, names: tuple[str, ...], theirs: Any, person: Person) -> int:
    """Take the mentions of a person out of columns; a rejected row goes whole, for what stands beside it is theirs, too."""
    if table.name == "rejected_rows":
        return conn.execute(update(table).where(theirs).values(raw="")).rowcount
    mentions, changed = Mentions(person), 0
    keys = list(table.primary_key.columns)
    for row in conn.execute(select(*keys, *(table.c[name] for name in names)).where(theirs)).all():
        values = {name: mentions.take_out(getattr(row, name)) for name in names}
        if any(values[name] != getattr(row, name) for name in names):
            conn.execute(update(table).where(tuple_(*keys) == tuple_(*row[: len(keys)])).values(values))
            changed += 1
    return changed


def erase_files(home: Path, person: Person) -> int:
    """Files below the home that name the person: rejected rows go whole, logs lose the mentions. How many."""
    mentions, touched = Mentions(person), 0
    for path in sorted((home / "imports").glob("*")):
        if path.is_file() and mentions.are_in(path.read_text(encoding="utf-8", errors="replace")):
            path.unlink()
            touched += 1
    for path in _list_logs(home):
        said = path.read_text(encoding="utf-8", errors="surrogateescape")
        if mentions.are_in(said):
            path.write_text(mentions.take_out(said), encoding="utf-8", errors="surrogateescape")
            touched += 1
    return touched


def _list_logs(home: Path) -> list[Path]:
    found = (path for kind in _LOGS for path in home.rglob(kind) if path.is_file() and not path.is_symlink())
    return sorted({path for path in found if path.relative_to(home).parts[0] not in ("postgres", "imports")})


__all__ = ["count_rows", "erase_files", "erase_person", "rows_of", "take_turn"]
