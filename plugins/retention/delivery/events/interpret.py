"""Interpret: what waits in the inbox becomes outcomes, suppressions, consents, replies and events of the shop.

A turn is one transaction: killed in the middle of one, nothing of it is there, and the next begins where it began. Safe to
repeat, and by several at once.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import InterfaceError, OperationalError

from retention.delivery.events.effects import append_inbound, apply_effects
from retention.delivery.events.forget import forget_in
from retention.delivery.events.gathered import Effect, Gathered, Odd, ShopEvent, Waiting
from retention.delivery.events.outcomes import append_outcomes, join_texts, write_numbers
from retention.delivery.events.sendgrid import read_sendgrid
from retention.delivery.events.shop import read_shop
from retention.delivery.events.twilio import read_message, read_status
from retention.delivery.receipts import write_ids
from retention.store.erasures import find_erased
from retention.store.queries import run

READERS = {
    "sendgrid": read_sendgrid,
    "twilio_status": read_status,
    "twilio_message": read_message,
    "shop": read_shop,
}

MOST_REQUESTS = 500
MOST_BYTES = 8_000_000
"""Of a turn: some ten thousand events."""

_LOCK = "retention.permissions"
_TRIES = 3

log = logging.getLogger("retention.events")


@dataclass
class Interpreted:
    """What was done: requests and their events, those that were new, those kept as odd; requests that failed and wait."""

    requests: int = 0
    events: int = 0
    fresh: int = 0
    odd: int = 0
    failed: int = 0

    def add(self, more: Interpreted) -> None:
        """Count these, too."""
        for name, value in vars(more).items():
            setattr(self, name, getattr(self, name) + value)


def interpret(engine: Engine, now: datetime, *, most_turns: int | None = None) -> Interpreted:
    """Understand all that waits, or `most_turns` of it. A request that can't be understood is left, with why, and tried again
    later; the others go on."""
    total = Interpreted()
    for _ in count() if most_turns is None else range(most_turns):
        done = _take_turn(engine, now)
        if done is None:
            break
        total.add(done)
    return total


def reopen(engine: Engine, *, source: str | None = None, reason: str | None = None) -> int:
    """Have requests with odd events understood anew: after a kind was registered, say. Returns how many."""
    with engine.begin() as conn:
        return run(conn, "events/reopen_arrivals", source=source, reason=reason).rowcount


def _take_turn(engine: Engine, now: datetime) -> Interpreted | None:
    """One transaction's worth; None when nothing waits."""
    claimed: list[Row] = []
    for attempt in range(1, _TRIES + 1):
        try:
            with engine.begin() as conn:
                claimed = list(run(conn, "events/claim_arrivals", most=MOST_REQUESTS, bytes=MOST_BYTES, now=now))
                return _interpret(conn, claimed, now) if claimed else None
        except Exception as error:
            if _may_pass(error):
                if attempt == _TRIES:
                    raise
                continue
            log.warning("a turn of %d requests failed (%s): one by one", len(claimed), _name(error))
            break
    return _go_one_by_one(engine, [row.inbox_id for row in claimed], now)


def _go_one_by_one(engine: Engine, inbox_ids: list[int], now: datetime) -> Interpreted:
    total = Interpreted()
    for inbox_id in inbox_ids:
        try:
            with engine.begin() as conn:
                claimed = list(run(conn, "events/claim_arrival", inbox_id=inbox_id))
                done = _interpret(conn, claimed, now)
        except Exception as error:
            if _may_pass(error):
                raise
            log.error("request %d can't be understood (%s): it is kept and tried again", inbox_id, _name(error))
            with engine.begin() as conn:
                run(conn, "events/note_failure", inbox_id=inbox_id, error=_name(error), now=now)
            total.failed += 1
            continue
        total.add(done)
    return total


def _interpret(conn: Connection, claimed: list[Row], now: datetime) -> Interpreted:
    gathered = Gathered()
    for slot, row in enumerate(claimed):
        waiting = Waiting(slot, row.inbox_id, row.source, row.body, row.message_id, row.received_at)
        READERS[row.source](waiting, gathered)
    again = [row.inbox_id for row in claimed if row.is_again]
    if again:
        run(conn, "events/forget_odd", ids=write_ids(again))
    if gathered.effects or gathered.odd_effects or gathered.inbound:
        # Permissions are changed by one at a time: what brings back has to see what ended.
        conn.execute(text("select pg_advisory_xact_lock(hashtext(:key))"), {"key": _LOCK})
    fresh: Counter[int] = Counter()
    effects = _append_outcomes(conn, gathered, fresh, now)
    _append_shop_events(conn, gathered, fresh, now)
    effects += _append_odd(conn, gathered, now)
    append_inbound(conn, gathered, fresh, now)
    apply_effects(conn, effects, now)
    odd = Counter(it.slot for it in gathered.odd)
    slots = range(len(claimed))
    run(
        conn,
        "events/close_arrivals",
        ids=write_ids(row.inbox_id for row in claimed),
        events=write_ids(gathered.counts.get(slot, 0) for slot in slots),
        fresh=write_ids(fresh[slot] for slot in slots),
        odd=write_ids(odd[slot] for slot in slots),
        now=now,
    )
    return Interpreted(len(claimed), sum(gathered.counts.values()), fresh.total(), len(gathered.odd))


def _append_outcomes(conn: Connection, gathered: Gathered, fresh: Counter[int], now: datetime) -> list[Effect]:
    """Append; what is not ours joins the odd. Returns the effects of what is new, each event's once."""
    came = append_outcomes(conn, gathered.outcomes, now)
    fresh.update(came.fresh)
    for place, fault in came.faults.items():
        row, (inbox_id, position) = gathered.outcomes[place], gathered.positions[place]
        source = "sendgrid" if row.provider == "sendgrid" else "twilio_status"
        key, word = row.event_key, gathered.words[place] or None
        gathered.odd.append(Odd(row.slot, source, key, inbox_id, position, word, fault, row.message_id))
        effect = gathered.effects.get(place)
        if effect and (effect.suppress or effect.withdraw):
            # The address is in the event and the account is ours: what ended there ended.
            gathered.odd_effects[source, key] = effect._replace(message_id=None)
    unique = {(gathered.outcomes[place].message_id, gathered.outcomes[place].event_key): place for place in came.new}
    return [gathered.effects[place] for place in unique.values()]


def _append_shop_events(conn: Connection, gathered: Gathered, fresh: Counter[int], now: datetime) -> None:
    if not gathered.shop:
        return
    # A repeated event is new once: the first of them.
    told = _leave_out_erased(conn, gathered, list({it.source_key: it for it in reversed(gathered.shop)}.values()))
    found = run(
        conn,
        "events/append_shop_events",
        slots=write_ids(it.slot for it in told),
        source_keys=join_texts([it.source_key for it in told]),
        customers=join_texts([it.customer_id for it in told]),
        kinds=join_texts([it.kind for it in told]),
        moments=write_ids(it.occurred_at for it in told),
        data=join_texts([it.data for it in told]),
        now=now,
    )
    for slot, new, places in found:
        fresh[slot] += new
        for place in places or ():
            it = told[place - 1]
            gathered.odd.append(
                Odd(it.slot, "shop", it.event_key, it.inbox_id, it.position, it.kind[:40], "unknown_kind")
            )


def _leave_out_erased(conn: Connection, gathered: Gathered, told: list[ShopEvent]) -> list[ShopEvent]:
    """Without events of people who were erased: they are odd, and what the shop said of them is not kept."""
    erased = find_erased(conn, "customer", {it.customer_id for it in told})
    theirs = [it for it in told if it.customer_id in erased]
    if theirs:
        gathered.odd += [Odd(it.slot, "shop", it.event_key, it.inbox_id, it.position, None, "erased") for it in theirs]
        forget_in(conn, {it.inbox_id for it in theirs}, customer_ids=list(erased))
    return [it for it in told if it.customer_id not in erased]


def _append_odd(conn: Connection, gathered: Gathered, now: datetime) -> list[Effect]:
    """Keep the odd ones, each once. Returns the effects of those that are new."""
    odd = gathered.odd
    if not odd:
        return []
    found = run(
        conn,
        "events/append_odd",
        sources=join_texts([it.source for it in odd]),
        keys=write_ids(it.event_key for it in odd),
        inbox_ids=write_ids(it.inbox_id for it in odd),
        positions=write_ids(it.position for it in odd),
        words=join_texts([it.word for it in odd]),
        reasons=join_texts([it.reason for it in odd]),
        message_ids=write_numbers([it.message_id for it in odd]),
        now=now,
    )
    new = {(source, key) for source, key in found}
    return [effect for which, effect in gathered.odd_effects.items() if which in new]


def _may_pass(error: Exception) -> bool:
    """Whether it is not about a request: no connection, two that waited for each other. Class 54 is: something too large."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    return isinstance(error, (OperationalError, InterfaceError)) and not state.startswith("54")


def _name(error: Exception) -> str:
    """What may be said of an error: its kind and the database's code. Its text may quote people's data."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return f"{type(error).__name__} {state}" if state else type(error).__name__
