"""Receipts into outcomes: the one way a provider's answer gets on record. Changes no batch and no coupon."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from retention.delivery.channels.base import Receipt
from retention.store.queries import run


def append_receipts(
    conn: Connection, receipts: Sequence[Receipt], provider: str | None, now: datetime, *, is_locked: bool = False
) -> None:
    """Append one outcome a receipt, and what it says of its address; one that is there already stays as it is.

    Receipts of messages that may be handed over later leave no outcome. `is_locked`: the caller holds the batch, and none
    of these had an answer; then one that has is an error."""
    alike: dict[str | None, list[int]] = defaultdict(list)
    others: list[Receipt] = []
    for receipt in receipts:
        if is_locked and receipt.result == "accepted" and receipt.reason is None and receipt.segments is None:
            alike[receipt.provider_id].append(receipt.message_id)
        elif receipt.result != "later":
            others.append(receipt)
    for provider_id, ids in alike.items():
        run(conn, "deliver/append_accepted", ids=write_ids(ids), provider=provider, provider_id=provider_id, now=now)
    if others:
        run(
            conn,
            "deliver/append_receipts",
            ids=write_ids(it.message_id for it in others),
            kinds=[it.result for it in others],
            reasons=[it.reason for it in others],
            provider_ids=[it.provider_id for it in others],
            segments=[it.segments for it in others],
            provider=provider,
            now=now,
        )
    dead = [it for it in others if it.suppress]
    if dead:
        ids, reasons = write_ids(it.message_id for it in dead), [it.suppress for it in dead]
        run(conn, "deliver/suppress_addresses", ids=ids, reasons=reasons, now=now)


def write_ids(ids: Iterable[int]) -> str:
    """Ids as an array in Postgres' own spelling: the driver takes a list apart one by one."""
    return "{" + ",".join(map(str, ids)) + "}"
