"""Reconcile: settles messages whose answer was lost, by what the provider has reported since or says when asked.

Never sends. What neither settles stays in doubt and is listed; a person may close it, on the record.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Engine

from retention.delivery.channels.base import Provider, Receipt, Sent
from retention.delivery.events.interpret import interpret
from retention.delivery.pacing import find_reason, note_pause
from retention.delivery.receipts import append_receipts, write_ids
from retention.errors import ConfigError, DeliveryError, ProviderPaused
from retention.store.audit import note
from retention.store.queries import run

REPORTED = ("processed", "deferred", "sent", "delivered", "undelivered", "bounced", "dropped", "opened", "clicked", "failed",
            "complained", "unsubscribed", "resubscribed", "replied", "read")  # fmt: skip
"""Outcomes that a provider reports only of what it accepted."""

SETTLES_AFTER = timedelta(minutes=5)
"""How old a doubt is before its provider is asked: it has to have had time to list what it took."""

ASKED_AT_ONCE = 1000


@dataclass(frozen=True)
class Doubts:
    """Doubts of one step and channel that stay: how many, since when, and the message ids of the first of them."""

    journey: str
    cohort_id: int
    step: str
    channel: str
    mode: str
    count: int
    since: datetime
    message_ids: tuple[int, ...]


@dataclass(frozen=True)
class Reconciled:
    """What came of it: settled by events, by asking, closed by a person; what stays; providers that could not be asked,
    or refused to answer."""

    by_events: int
    by_asking: int
    closed: int
    left: list[Doubts]
    troubles: list[str]

    def as_dict(self) -> dict:
        """For --json; instants as ISO text."""
        left = [{**asdict(it), "since": it.since.isoformat()} for it in self.left]
        return {**asdict(self), "left": left}


def reconcile(
    engine: Engine,
    *,
    now: datetime,
    cohort_id: int | None = None,
    provider_of: Callable[[str, str], Provider],
    close_by: str | None = None,
    on_progress: Callable[[str], None] = lambda line: None,
) -> Reconciled:
    """Settle what can be settled, of one cohort or of all. Safe to repeat, and beside running deliveries.

    `provider_of` opens the provider of a channel and mode. `close_by`: a person's name; what nothing settles is then
    recorded as refused with the reason `unaccounted`, is never sent, and no longer keeps the cohort's books open.
    """
    interpret(engine, now)  # what came in may settle some
    with engine.begin() as conn:
        settled = [row.message_id for row in run(conn, "deliver/settle_by_events", kinds=list(REPORTED), now=now)]
        by_events = len(settled)
        _settle_coupons(conn, settled, now)
        doubts = _list(conn, cohort_id)
    by_asking, troubles = 0, []
    old = [it for it in doubts if now.timestamp() - it["sending_at"] >= SETTLES_AFTER.total_seconds()]
    for (channel, mode), some in _by_provider(old):
        try:
            with closing(provider_of(channel, mode)) as provider:
                for part in _cut(some, ASKED_AT_ONCE):
                    by_asking += _ask(engine, provider, part, now)
                    on_progress(f"{channel}: {by_asking} settled by asking")
                    if provider.trouble:
                        raise provider.trouble
        except (ConfigError, DeliveryError) as error:
            troubles.append(f"{channel}: {error}")
    with engine.begin() as conn:
        left = _list(conn, cohort_id)
        if close_by and left:
            receipts = [Receipt(it["message_id"], "refused", reason="unaccounted") for it in left]
            append_receipts(conn, receipts, None, now)
            for (journey, cohort), count in Counter((it["journey"], it["cohort_id"]) for it in left).items():
                note(conn, now, close_by, "close_doubts", journey, {"messages": count}, cohort)
        run(conn, "deliver/close_batches", now=now)
    closed = len(left) if close_by else 0
    return Reconciled(by_events, by_asking, closed, [] if close_by else list(_count(left)), troubles)


def _ask(engine: Engine, provider: Provider, part: list[dict[str, Any]], now: datetime) -> int:
    """How many of these the provider settled. Raises ProviderPaused where nothing may be asked of it right now."""
    with engine.connect() as conn:
        paused = find_reason(conn, provider.account) if provider.account else None
        taken: dict[int, set[str]] = defaultdict(set)
        for row in run(conn, "deliver/list_taken", ids=write_ids(it["message_id"] for it in part)):
            taken[row.message_id].add(row.provider_id)
    if paused:
        raise paused
    found = provider.look_up(
        [
            Sent(it["message_id"], it["batch_id"], it["address"], it["sending_at"], frozenset(taken[it["message_id"]]))
            for it in part
        ]
    )
    receipts = [receipt for receipt in found.values() if receipt]
    with engine.begin() as conn:
        append_receipts(conn, receipts, provider.name, now)
        _settle_coupons(conn, [receipt.message_id for receipt in receipts], now)
        if isinstance(provider.trouble, ProviderPaused):
            note_pause(conn, provider.trouble)
    return len(receipts)


def _settle_coupons(conn: Connection, message_ids: list[int], now: datetime) -> None:
    if message_ids:
        run(conn, "deliver/settle_coupons", ids=write_ids(message_ids), batch_id=None, now=now)


def _list(conn: Connection, cohort_id: int | None) -> list[dict[str, Any]]:
    return [dict(row) for row in run(conn, "deliver/list_doubts", cohort_id=cohort_id).mappings()]


def _by_provider(doubts: list[dict[str, Any]]) -> Iterator[tuple[tuple[str, str], list[dict[str, Any]]]]:
    def key(it: dict[str, Any]) -> tuple[str, str]:
        return it["channel"], it["mode"]

    for found, group in groupby(sorted(doubts, key=key), key):
        yield found, list(group)


def _cut(rows: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    for at in range(0, len(rows), size):
        yield rows[at : at + size]


def _count(doubts: list[dict[str, Any]]) -> Iterator[Doubts]:
    def key(it: dict[str, Any]) -> tuple:
        return it["journey"], it["cohort_id"], it["step"], it["channel"], it["mode"]

    for found, group in groupby(sorted(doubts, key=key), key):
        rows = list(group)
        since = datetime.fromtimestamp(min(it["sending_at"] for it in rows), UTC)
        yield Doubts(*found, len(rows), since, tuple(it["message_id"] for it in rows[:10]))
