"""The outbox: a provider that reaches nobody. What would have gone out can be looked at in the table `outbox`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Engine, select

from retention.delivery.channels.base import Gate, Letter, Provider, Receipt, Receive, Sent
from retention.delivery.segments import count_segments
from retention.store.queries import run
from retention.store.tables import outbox


class OutboxProvider(Provider):
    """Carries every channel. Like a real provider it commits by itself, before the caller hears of it."""

    name = "outbox"
    knows_all = True

    def __init__(self, engine: Engine, clock: Callable[[], datetime]):
        self._engine = engine
        self._clock = clock

    def hand_over(self, letters: Sequence[Letter], gate: Gate, receive: Receive) -> None:
        """Keep the letters; handing the same message over twice leaves one."""
        rows = [_describe(letter) for letter in letters]
        with self._engine.begin() as conn:
            run(conn, "deliver/insert_outbox", letters=json.dumps(rows), now=self._clock())
        for row in rows:
            receive(_receipt(row["message_id"], row["segments"]))

    def look_up(self, messages: Sequence[Sent]) -> dict[int, Receipt | None]:
        """Certain for every message: it is in the table, or it never arrived."""
        ids = [it.message_id for it in messages]
        wanted = select(outbox.c.message_id, outbox.c.segments).where(outbox.c.message_id.in_(ids))
        with self._engine.connect() as conn:
            there = dict(conn.execute(wanted).all())
        return {m: _receipt(m, there[m]) if m in there else None for m in ids}


def _describe(letter: Letter) -> dict:
    text = letter.text
    encoding, segments = count_segments(text) if letter.channel == "sms" else (None, None)
    return {
        "message_id": letter.message_id,
        "channel": letter.channel,
        "mode": letter.mode,
        "address": letter.address,
        "locale": letter.locale,
        "subject": letter.subject,
        "html": letter.html,
        "text": text,
        "encoding": encoding,
        "segments": segments,
    }


def _receipt(message_id: int, segments: int | None) -> Receipt:
    return Receipt(message_id, "accepted", f"outbox:{message_id}", segments=segments)
