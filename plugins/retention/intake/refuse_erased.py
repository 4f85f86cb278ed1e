"""Staged rows of people who were erased are refused: counted, with their line, without what they say.

Whoever comes under another id with an erased address is refused under that id, too. Only what the store does not know is
looked up, so that a load of known customers costs nothing."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, text

from retention.intake.chunks import Reject
from retention.intake.loaded import Loaded
from retention.intake.mapping import Mapping
from retention.store.erasures import find_erased, has_erased, remember
from retention.store.queries import run

REASON = "erased"
_REMEDY = "The person was erased. If they came back of their own will: retention erase CUSTOMER --lift."

_BY_CUSTOMER = ("customers", "orders", "events", "consents", "choices")
_BY_ORDER = ("order_items", "order_status")
_ADDRESSES = {"email": "email", "sms": "phone", "whatsapp": "phone", "webhook": "customer"}


def refuse_erased(conn: Connection, mapping: Mapping, loaded: Loaded, now: datetime) -> None:
    """Take the rows of the erased out of the staged tables of this transaction, and put them on the record of the load.

    Raises StoreError when somebody was erased and the key is missing or another one."""
    if not has_erased(conn):
        return
    tables = set(mapping.tables)
    people: dict[str, str] = {}
    if "customers" in tables:
        people |= _find_by_address(conn, now)
    named = _list_values(conn, [f"staged_{it}" for it in _BY_CUSTOMER if it in tables], "customer_id", "customers")
    people |= find_erased(conn, "customer", named)
    lines: set[int] = set()
    if "orders" in tables and people:
        for person, order_ids in _orders_of(conn, people).items():
            remember(conn, [("order", it) for it in order_ids], now, person)
    for table in _BY_CUSTOMER:
        if table in tables:
            lines |= _remove(conn, table, "customer_id", people)
    for table in ("orders", *_BY_ORDER):
        if table in tables:
            named = _list_values(conn, [f"staged_{table}"], "order_id", "orders")
            lines |= _remove(conn, table, "order_id", find_erased(conn, "order", named))
    if "suppressions" in tables:
        lines |= _refuse_suppressions(conn)
    _write_down(conn, loaded, lines)


def _list_values(conn: Connection, staged: Collection[str], column: str, known: str) -> set[str]:
    """What is named in the staged tables and not known to the store."""
    found: set[str] = set()
    for table in staged:
        found.update(
            conn.scalars(
                text(
                    f"select distinct {column} from {table} s where {column} is not null"
                    f" and not exists (select from {known} k where k.{column} = s.{column})"
                )
            )
        )
    return found


def _find_by_address(conn: Connection, now: datetime) -> dict[str, str]:
    """Customers that come with an erased address; their ids are kept as erased, too."""
    fresh = run(conn, "privacy/fresh_addresses").all()
    emails = find_erased(conn, "email", {row.email for row in fresh if row.email})
    phones = find_erased(conn, "phone", {row.phone for row in fresh if row.phone})
    found = {}
    for row in fresh:
        person = emails.get(row.email) or phones.get(row.phone)
        if person and row.is_new:
            found[row.customer_id] = person
            remember(conn, [("customer", row.customer_id)], now, person)
    # Of somebody who is here and takes over an erased address only this row is refused.
    here = [row.customer_id for row in fresh if not row.is_new and (row.email in emails or row.phone in phones)]
    return found | dict.fromkeys(here, "")


def _orders_of(conn: Connection, people: dict[str, str]) -> dict[str, list[str]]:
    gone = [it for it, person in people.items() if person]
    found: dict[str, list[str]] = {}
    for customer_id, order_id in conn.execute(
        text("select customer_id, order_id from staged_orders where customer_id = any(:ids)"), {"ids": gone}
    ):
        found.setdefault(people[customer_id], []).append(order_id)
    return found


def _refuse_suppressions(conn: Connection) -> set[int]:
    rows = conn.execute(
        text("select distinct channel, address from staged_suppressions where address is not null")
    ).all()
    gone: list[str] = []
    for kind in ("email", "phone", "customer"):
        gone += find_erased(conn, kind, {row.address for row in rows if _ADDRESSES.get(row.channel) == kind})
    return _remove(conn, "suppressions", "address", gone)


def _remove(conn: Connection, table: str, column: str, values: Collection[str]) -> set[int]:
    if not values:
        return set()
    gone = text(f"delete from staged_{table} where {column} = any(:values) returning row_line")
    return {line for line in conn.scalars(gone, {"values": list(values)}) if line is not None}


def _write_down(conn: Connection, loaded: Loaded, lines: set[int]) -> None:
    if not lines:
        return
    conn.execute(
        text(
            'insert into rejected_rows (import_id, line, level, "column", reason, remedy, raw)'
            " select :import_id, line, 'row', null, :reason, :remedy, '' from unnest(cast(:lines as bigint[])) as t (line)"
        ),
        {"import_id": loaded.import_id, "reason": REASON, "remedy": _REMEDY, "lines": sorted(lines)},
    )
    # What else was wrong with these lines stays on record, but not what they say.
    blanked = "update rejected_rows set raw = '' where import_id = :import_id and line = any(:lines)"
    conn.execute(text(blanked), {"import_id": loaded.import_id, "lines": sorted(lines)})
    loaded.rows_rejected += len(lines)
    loaded.rows_erased += len(lines)
    loaded.reasons[REASON] += len(lines)
    shown = [Reject(line, None, REASON, _REMEDY, "") for line in sorted(lines)[:3]]
    loaded.examples = [*loaded.examples, *shown]
