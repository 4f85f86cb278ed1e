"""Permissions: what the receiver of a message lets us send, and how they change it themselves. Append-only history.

Consent is to marketing, per channel; choices are about topics and profiling. Knows no page: `web.public` asks and shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from retention.delivery.events.outcomes import Happened, append_outcomes, make_key
from retention.journey.fields import CHANNELS
from retention.store.queries import run

UNDO_WITHIN = timedelta(days=1)
"""How long "that was a mistake" brings back what stood before; later, consent is given anew."""


@dataclass(frozen=True)
class Receiver:
    """Whom a message went to. `address` is the message's, `addresses` the customer's of now, by channel.

    `is_test`: the message is a test cohort's, which nobody got: nothing is changed by it."""

    message_id: int
    channel: str
    address: str
    locale: str
    planned_at: datetime
    is_test: bool
    customer_id: str
    addresses: Mapping[str, str]

    def spellings(self, *channels: str) -> list[str]:
        """Every address of theirs on these channels, in small letters."""
        own = [self.addresses.get(channel) for channel in channels]
        found = [*own, self.address if self.channel in channels else None]
        return sorted({address.lower() for address in found if address})


@dataclass(frozen=True)
class Permission:
    """One channel: whether marketing is permitted, and whether its address is suppressed."""

    channel: str
    address: str
    is_granted: bool
    is_suppressed: bool


def find_receiver(conn: Connection, message_id: int) -> Receiver | None:
    """Whom a message went to; None for one that is not kept, or whose customer is gone."""
    row = run(conn, "pages/find_receiver", message_id=message_id).first()
    if row is None:
        return None
    ways = {"email": row.email, "sms": row.phone, "whatsapp": row.phone, "webhook": row.customer_id}
    addresses = {channel: address for channel, address in ways.items() if address}
    return Receiver(
        row.message_id, row.channel, row.address, row.locale, row.planned_at, row.is_test, row.customer_id, addresses
    )


def list_permissions(conn: Connection, receiver: Receiver) -> list[Permission]:
    """The channels that concern the customer: those with an address, WhatsApp and webhook only once they were asked or used."""
    channels = [channel for channel in CHANNELS if channel in receiver.addresses]
    addresses = [_spell(channel, receiver.addresses[channel]) for channel in channels]
    found = run(conn, "pages/list_consents", customer_id=receiver.customer_id, channels=channels, addresses=addresses)
    by_channel = {row.channel: row for row in found}
    return [
        Permission(channel, receiver.addresses[channel], bool(row.is_granted), row.is_suppressed)
        for channel in channels
        if (row := by_channel[channel]).is_granted is not None
        or channel in ("email", "sms")
        or channel == receiver.channel
    ]


def _spell(channel: str, address: str) -> str:
    """As addresses of messages and suppressions are spelled."""
    return address.lower() if channel == "email" else address


def list_choices(conn: Connection, receiver: Receiver) -> dict[str, bool]:
    """The latest choice on each subject; a subject that was never asked about is not in it."""
    found = run(conn, "pages/list_choices", customer_id=receiver.customer_id)
    return {subject: is_granted for subject, is_granted in found}


def withdraw(
    conn: Connection, receiver: Receiver, channels: Sequence[str], *, source: str, wording: str, now: datetime
) -> None:
    """End marketing on these channels, from now on. Twice is once. The message is on record as the one that led to it."""
    if receiver.is_test:
        return
    _take_turns(conn, receiver)
    people = {"emails": receiver.spellings("email"), "phones": receiver.spellings("sms", "whatsapp")}
    run(
        conn, "pages/withdraw_consents",
        customer_id=receiver.customer_id, channels=list(channels), source=source, wording=wording, now=now, **people,
    )  # fmt: skip
    key, moment = make_key("unsubscribed"), now.timestamp()
    append_outcomes(conn, [Happened(receiver.message_id, "unsubscribed", key, moment, reason=source)], now)


def restore(conn: Connection, receiver: Receiver, *, wording: str, now: datetime) -> bool:
    """Bring back what was withdrawn here within UNDO_WITHIN; whether there was anything. Twice is once."""
    if receiver.is_test:
        return True
    _take_turns(conn, receiver)
    people = {"emails": receiver.spellings("email"), "phones": receiver.spellings("sms", "whatsapp")}
    found = run(
        conn, "pages/restore_consents",
        customer_id=receiver.customer_id, wording=wording, since=now - UNDO_WITHIN, now=now, **people,
    )  # fmt: skip
    return bool(found.all())


def grant(conn: Connection, receiver: Receiver, wordings: Mapping[str, str], *, now: datetime) -> None:
    """Permit marketing on the channels that are the keys of `wordings`, in the words agreed to. Twice is once."""
    if wordings and not receiver.is_test:
        _take_turns(conn, receiver)
        channels, words = list(wordings), list(wordings.values())
        run(conn, "pages/grant_consents", customer_id=receiver.customer_id, channels=channels, wordings=words, now=now)


def choose(conn: Connection, receiver: Receiver, choices: Mapping[str, tuple[bool, str]], *, now: datetime) -> None:
    """Note choices: subject -> (granted, the words shown). Twice is once."""
    if choices and not receiver.is_test:
        _take_turns(conn, receiver)
        granted, words = [it[0] for it in choices.values()], [it[1] for it in choices.values()]
        run(
            conn, "pages/note_choices",
            customer_id=receiver.customer_id, subjects=list(choices), granted=granted, wordings=words, now=now,
        )  # fmt: skip


def _take_turns(conn: Connection, receiver: Receiver) -> None:
    """Two answers of one person at once are noted one after the other: the second sees what the first changed."""
    key = f"retention.permissions|{receiver.customer_id}"
    conn.execute(text("select pg_advisory_xact_lock(hashtext(:key))"), {"key": key})
