"""Forgetting a person in what came back: raw requests, replies. What was counted stays counted.

For privacy's erasure. Understand what waits (interpret) before: an event that is forgotten is never understood.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple
from urllib.parse import quote_plus

import orjson
from sqlalchemy import Connection, delete, or_, select, update

from retention.delivery.events.json_events import BROKEN, load_events
from retention.store.tables import inbox, replies

_AT_ONCE = 200
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


class Forgotten(NamedTuple):
    """Requests that were rewritten without the person, and replies that were deleted."""

    requests: int
    replies: int


def forget_person(
    conn: Connection,
    *,
    emails: Collection[str] = (),
    phones: Collection[str] = (),
    customer_ids: Collection[str] = (),
    message_ids: Collection[int] = (),
) -> Forgotten:
    """Take every event of a person out of the inbox, and delete their replies. Looks at every body that is kept. Twice is once.

    An event goes if it names any of the addresses or ids; in its place stands null, so that the others keep theirs. A
    request that was about them alone, or that can't be taken apart, goes as a whole: nothing of its body is left."""
    wanted = _Wanted.make([*emails, *phones], customer_ids, message_ids)
    rewritten = 0
    for inbox_id, source, message_id, body in list(_find(conn, wanted)):
        left = b"" if source.startswith("twilio") else _take_out(body, wanted)
        if left != body:
            conn.execute(update(inbox).where(inbox.c.inbox_id == inbox_id).values(body=left))
            rewritten += 1
    theirs = or_(replies.c.address.in_(list(phones)), replies.c.message_id.in_(list(message_ids)))
    gone = conn.execute(delete(replies).where(theirs)).rowcount
    return Forgotten(rewritten, gone)


def forget_in(conn: Connection, inbox_ids: Collection[int], *, customer_ids: Collection[str]) -> None:
    """Take every event of these customers out of these requests."""
    wanted = _Wanted.make([], customer_ids, [])
    chosen = select(inbox.c.inbox_id, inbox.c.body).where(inbox.c.inbox_id.in_(list(inbox_ids)))
    for inbox_id, body in conn.execute(chosen).all():
        if wanted.is_in(body):
            conn.execute(update(inbox).where(inbox.c.inbox_id == inbox_id).values(body=_take_out(body, wanted)))


class _Wanted(NamedTuple):
    """What names them: `pattern` in a text in small letters, or the id that a callback's address bears."""

    pattern: re.Pattern[str]
    message_ids: frozenset[int]

    @classmethod
    def make(cls, addresses: Collection[str], customer_ids: Collection[str], message_ids: Collection[int]) -> _Wanted:
        # An address is no part of a longer one, and an id that may be one letter is a whole value.
        parts = [
            ("" if not spelt[0].isalnum() else r"(?<![\w.+\-])") + re.escape(spelt) + r"(?![\w\-])"
            for address in addresses
            if address
            for spelt in {address.lower(), quote_plus(address).lower()}
        ]
        parts += [re.escape(orjson.dumps(it.lower()).decode()) for it in customer_ids if it]
        parts += [rf'"retention_message":\s*"?{it}(?!\d)' for it in message_ids]
        return cls(re.compile("|".join(parts) or r"(?!)"), frozenset(message_ids))

    def is_in(self, body: bytes) -> bool:
        """Whether a body, or the JSON of an event, names them."""
        text = body.decode("utf-8", "replace")
        if "\\u" in text:
            text = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return bool(self.pattern.search(text.lower()))


def _find(conn: Connection, wanted: _Wanted) -> Iterable[tuple[int, str, int | None, bytes]]:
    at = 0
    columns = (inbox.c.inbox_id, inbox.c.source, inbox.c.message_id, inbox.c.body)
    while rows := conn.execute(
        select(*columns).where(inbox.c.inbox_id > at).order_by(inbox.c.inbox_id).limit(_AT_ONCE)
    ).all():
        at = rows[-1].inbox_id
        for row in rows:
            if row.body and (row.message_id in wanted.message_ids or wanted.is_in(row.body)):
                yield tuple(row)


def _take_out(body: bytes, wanted: _Wanted) -> bytes:
    """A body that names them, without their events."""
    events = load_events(body)
    nested = len(events) == 1 and isinstance(events[0], dict) and isinstance(events[0].get("events"), list)
    events = events[0]["events"] if nested else events
    if BROKEN in events:
        return b""
    try:
        kept = [None if event is None or wanted.is_in(orjson.dumps(event)) else event for event in events]
        return orjson.dumps(kept)
    except TypeError:  # numbers of any length
        return b""
