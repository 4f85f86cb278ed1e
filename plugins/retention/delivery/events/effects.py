"""What events change besides being on record: addresses that are not to be used again, consents that end or come back.

Ends are taken at their word, whatever the mode and whoever's the message was. What comes back is held against all that stood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from retention.delivery.events.gathered import Effect, Gathered
from retention.delivery.events.outcomes import Happened, append_outcomes, join_texts, make_key, write_numbers
from retention.delivery.receipts import write_ids
from retention.store.queries import run

OWN_REASONS = ("stop", "opted_out")
"""Suppressions of a person's own making: by a STOP that we heard, or that only their provider did (21610)."""


def append_inbound(conn: Connection, gathered: Gathered, fresh: Counter[int], now: datetime) -> None:
    """Keep what people wrote, each message once; note what it ends and brings back; put it on record with the newest message
    to their number."""
    told = {it.provider_id: it for it in gathered.inbound}
    if not told:
        return
    found = run(
        conn,
        "events/append_replies",
        channels=join_texts([it.channel for it in told.values()]),
        addresses=join_texts([it.address for it in told.values()]),
        provider_ids=join_texts(list(told)),
        meanings=join_texts([it.meaning for it in told.values()]),
        texts=join_texts([it.text for it in told.values()]),
        moments=write_ids(it.occurred_at for it in told.values()),
        now=now,
    ).all()
    ends = [
        Effect(it.channel, it.address, it.moment, it.message_id, "stop", it.channel)
        for it in found
        if it.meaning == "stop"
    ]
    _note_ends(conn, ends, now)
    turned = [(it.channel, it.address) for it in found if it.meaning != "reply"]
    lifted = {(channel, address) for channel, address, _ in _bring_back(conn, turned, now)}
    rows = []
    for it in found:
        fresh[told[it.provider_id].slot] += 1
        if it.message_id is not None:
            kind, reason = "replied", None
            if it.meaning == "stop":
                kind, reason = "unsubscribed", "stop"
            elif it.meaning == "start" and (it.channel, it.address) in lifted:
                kind, reason = "resubscribed", "start"
            key = make_key(it.provider_id)
            rows.append(Happened(it.message_id, kind, key, it.moment, "twilio", it.provider_id, reason))
    append_outcomes(conn, rows, now)


def apply_effects(conn: Connection, effects: Sequence[Effect], now: datetime) -> None:
    """Note what ends, then what comes back: in whatever order they were told, their own times decide."""
    _note_ends(conn, effects, now)
    _bring_back(conn, [(it.channel, it.address) for it in effects if it.withdraw and it.channel != "email"], now)
    asked = [it.message_id for it in effects if it.channel == "email" and (it.withdraw or it.is_return)]
    returned = [it for it in asked if it is not None]
    if returned:
        found = run(conn, "events/find_returns", ids=write_ids(returned)).all()
        _grant_back(conn, [(it.customer_id, "email", None, "provider", it.moment) for it in found], now)


def _note_ends(conn: Connection, effects: Sequence[Effect], now: datetime) -> None:
    gone = [it for it in effects if it.suppress]
    if gone:
        run(
            conn,
            "events/append_suppressions",
            channels=join_texts([it.channel for it in gone]),
            addresses=join_texts([it.address for it in gone]),
            reasons=join_texts([it.suppress for it in gone]),
            moments=write_ids(it.occurred_at for it in gone),
            now=now,
        )
    ended = [it for it in effects if it.withdraw]
    if ended:
        run(
            conn,
            "events/withdraw_consents",
            message_ids=write_numbers([it.message_id for it in ended]),
            channels=join_texts([it.channel for it in ended]),
            addresses=join_texts([it.address for it in ended]),
            sources=join_texts([it.withdraw for it in ended]),
            moments=write_ids(it.occurred_at for it in ended),
            now=now,
        )


def _bring_back(conn: Connection, numbers: Iterable[tuple[str, str]], now: datetime) -> list[tuple[str, str, float]]:
    """What START lifts of these numbers, and the consents that go with it. Returns channel, number and moment of each."""
    asked = sorted(set(numbers))
    if not asked:
        return []
    lifted = run(
        conn,
        "events/lift_suppressions",
        channels=join_texts([channel for channel, _ in asked]),
        addresses=join_texts([address for _, address in asked]),
        own_reasons=list(OWN_REASONS),
        now=now,
    )
    found = [(it.channel, it.address, it.moment) for it in lifted]
    _grant_back(conn, [(None, channel, address, channel, moment) for channel, address, moment in found], now)
    return found


def _grant_back(
    conn: Connection, back: Sequence[tuple[str | None, str, str | None, str, float]], now: datetime
) -> None:
    """Consents of a customer, or of all with a number: (customer, channel, number, source, moment) each."""
    if not back:
        return
    customers, channels, addresses, sources, moments = zip(*back, strict=True)
    run(
        conn,
        "events/grant_back",
        customers=join_texts(customers),
        channels=join_texts(channels),
        addresses=join_texts(addresses),
        sources=join_texts(sources),
        moments=write_ids(moments),
        now=now,
    )
