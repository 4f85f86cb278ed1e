"""The outbox: a provider that reaches nobody. What would have gone out can be looked at in the table `outbox`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Engine, select

from retention.delivery.channels.base import Letter, Provider, Receipt
from retention.delivery.segments import count_segments
from retention.store.queries import run
from retention.store.tables import outbox


class OutboxProvider(Provider):
    """Carries every channel. Like a real provider it commits by itself, before the caller hears of it."""

    name = "outbox"

    def __init__(self, engine: Engine, clock: Callable[[], datetime]):
        self._engine = engine
        self._clock = clock

    def hand_over(self, letters: Sequence[Letter]) -> list[Receipt]:
        """Keep the letters; handing the same message over twice leaves one."""
        rows = []
        for letter in letters:
            encoding, segments = count_segments(letter.text) if letter.channel == "sms" else (None, None)
            rows.append({**asdict(letter), "encoding": encoding, "segments": segments})
        with self._engine.begin() as conn:
            run(conn, "deliver/insert_outbox", letters=json.dumps(rows), now=self._clock())
        return [Receipt(letter.message_id, True, f"outbox:{letter.message_id}") for letter in letters]

    def look_up(self, message_ids: Sequence[int]) -> dict[int, Receipt | None]:
        """Certain for every message: it is in the table, or it never arrived."""
        with self._engine.connect() as conn:
            there = set(conn.scalars(select(outbox.c.message_id).where(outbox.c.message_id.in_(message_ids))))
        return {m: Receipt(m, True, f"outbox:{m}") if m in there else None for m in message_ids}
