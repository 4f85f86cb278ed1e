"""Why did or didn't somebody get a message: every decision about one customer. Reads only."""

from __future__ import annotations

from sqlalchemy import Connection, text

from retention.store.queries import run


def explain_customer(conn: Connection, customer_id: str) -> list[dict] | None:
    """The story of a customer by time, or None for somebody we never heard of.

    Each entry: at (instant), mode, journey, what (entered, not taken in, send, skip, accepted, withheld, consent
    granted, ...), step, channel, detail (occurrence or reason).
    """
    is_known = conn.scalar(
        text(
            "select exists (select from customers where customer_id = :id)"
            " or exists (select from enrollments where customer_id = :id)"
            " or exists (select from customer_merges where merged_id = :id)"
        ),
        {"id": customer_id},
    )
    if not is_known:
        return None
    return [dict(row) for row in run(conn, "insight/explain_customer", customer_id=customer_id).mappings()]
