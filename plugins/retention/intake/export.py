"""Everything that is held about a person, as one document: what they may ask for."""

from __future__ import annotations

import base64
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from retention.errors import RetentionError
from retention.intake.erase import rows_of
from retention.intake.person import find_person
from retention.store.personal import PLACES
from retention.store.tables import metadata


def export_person(conn: Connection, customer_id: str, now: datetime) -> dict:
    """A document for JSON: the ids, and by table every row that is tied to the person. Raises RetentionError for a stranger."""
    person = find_person(conn, customer_id)
    if not person.is_known:
        raise RetentionError(f"export {customer_id}: nothing is held under this id. Check the spelling.")
    tables = {}
    for place in PLACES:
        theirs = rows_of(place, person)
        if theirs is None or not place.is_exported:
            continue
        table = metadata.tables[place.table]
        rows = conn.execute(select(table).where(theirs).order_by(*table.primary_key.columns)).mappings()
        if found := [{name: _write(value) for name, value in row.items() if value is not None} for row in rows]:
            tables[place.table] = found
    return {"customer_ids": list(person.ids), "exported_at": now.isoformat(), "tables": tables}


def _write(value: Any) -> Any:
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, (bytes, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    return value
