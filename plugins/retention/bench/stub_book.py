"""What the stand-in accepted: counters, the record file, repeats, and a memory to answer questions from. Knows no HTTP.

One clock: instants are the time at the start, real or given, plus a monotonic clock, so that they neither jump nor go back.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

MAX_PEOPLE = 1024
"""More than a batch of e-mail can have: a place is the batch's number times this, plus the person's."""

MEMORY = 200_000
"""How many messages are remembered at most, where neither a record nor the count of repeats was asked for."""


_epoch = time.time() - time.monotonic()


def set_clock(at: float) -> None:
    """Let it be `at` (seconds since 1970) now, for tests that play at another time."""
    global _epoch
    _epoch = at - time.monotonic()


def read_clock() -> float:
    """Seconds since 1970; never goes back."""
    return _epoch + time.monotonic()


class Window:
    """Lets at most `rate` pass in any second, closed at both ends; below one, one in any 1/rate seconds."""

    def __init__(self, rate: float | None):
        self._most = max(1, int(rate)) if rate else 0
        self._span = 1 / rate if rate and rate < 1 else 1.0
        self._taken: deque[float] = deque(maxlen=self._most or None)

    def has_room(self, now: float) -> bool:
        return not self._most or len(self._taken) < self._most or now - self._taken[0] > self._span

    def take(self, now: float) -> None:
        if self._most:
            self._taken.append(now)  # the oldest falls out


class Batch(NamedTuple):
    """One accepted request of e-mail: `people` are (address, custom_args or None)."""

    id: str
    at: float
    sender: str
    subject: str
    people: list[tuple[str, dict[str, str] | None]]


class Sms(NamedTuple):
    """One accepted SMS or WhatsApp message (`to` begins with whatsapp:). `sender` or `service` is None; `content` is what
    was approved, and `body` then its variables."""

    sid: str
    account: str
    at: float
    to: str
    sender: str | None
    service: str | None
    body: str
    callback: str | None
    segments: int
    content: str | None = None


class Drawer:
    """A part of the memory: e-mail found by argument or address, SMS by number. E-mail is indexed when first asked for; of what went
    to the gateway the ids are kept."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.sms: list[Sms] = []
        self.sms_to: dict[str, list[Sms]] = {}
        self.pushed: set[int] = set()
        self.count = 0
        self._indexed = 0
        self._places: dict[int, int | list[int]] = {}

    def find_emails(self, words: Iterable[tuple[str, str]]) -> Iterator[tuple[Batch, int]]:
        """Those that may have all the (name, value) pairs, newest first; the caller looks again. No words: all."""
        self._index()
        lists = []
        for word in words:
            held = self._places.get(hash(word), [])
            lists.append([held] if isinstance(held, int) else held)
        if not lists:
            for batch in reversed(self.batches):
                yield from ((batch, n) for n in range(len(batch.people)))
            return
        for place in reversed(min(lists, key=len)):
            yield self.batches[place // MAX_PEOPLE], place % MAX_PEOPLE

    def _index(self) -> None:
        places = self._places
        for number in range(self._indexed, len(self.batches)):
            for n, (address, args) in enumerate(self.batches[number].people):
                place = number * MAX_PEOPLE + n
                for word in (("to_email", address), *(args.items() if args else ())):
                    key = hash(word)
                    held = places.get(key)
                    if held is None:
                        places[key] = place
                    elif isinstance(held, int):
                        places[key] = [held, place]
                    else:
                        held.append(place)
        self._indexed = len(self.batches)


class Book:
    """Owns all that is known of what came. `record` is a file that gets a line a message before its answer goes out."""

    def __init__(self, record: Path | None = None, *, is_counting_repeats: bool = False):
        self._file = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if record else None
        self._is_whole = is_counting_repeats or record is not None
        self.clear()

    def clear(self) -> None:
        """Forget everything. The record file stays as it is."""
        self.requests = self.emails = self.sms = self.whatsapp = self.webhook = self.bytes = self.rate_limited = (
            self.repeats
        ) = 0
        self.by_status: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.first_at: float | None = None
        self.last_at: float | None = None
        self._seen: set[int] = set()
        self.drawers = [Drawer()]

    def note_request(self) -> None:
        """One of the POST endpoints that take messages was called."""
        self.requests += 1
        if self.first_at is None:
            self.first_at = read_clock()

    def accept_emails(self, batch: Batch) -> None:
        """Write it down: in the file first."""
        self._note_count(len(batch.people), batch.at).batches.append(batch)
        self.emails += len(batch.people)
        if self._is_whole:
            for to, args in batch.people:
                words = orjson.dumps(args, option=orjson.OPT_SORT_KEYS) if args else (to, batch.subject)
                self._note_repeat(hash(words))
        if self._file is not None:
            self._write(
                {"kind": "email", "to": to, "args": args or {}, "id": batch.id, "at": batch.at}
                for to, args in batch.people
            )

    def accept_sms(self, it: Sms) -> None:
        """Write it down: in the file first."""
        drawer = self._note_count(1, it.at)
        drawer.sms.append(it)
        drawer.sms_to.setdefault(it.to, []).append(it)
        is_sms = not it.to.startswith("whatsapp:")
        self.sms, self.whatsapp = self.sms + is_sms, self.whatsapp + (not is_sms)
        if self._is_whole:
            self._note_repeat(hash(it.callback or (it.to, it.body)))
        if self._file is not None:
            line = {"to": it.to, "callback": it.callback, "body": it.body, "id": it.sid, "at": it.at}
            self._write([{"kind": "sms", **line} if is_sms else {"kind": "whatsapp", **line, "content": it.content}])

    def accept_pushes(self, messages: list[dict[str, Any]], at: float) -> None:
        """Write down what the gateway took: in the file first."""
        drawer = self._note_count(len(messages), at)
        drawer.pushed.update(it["id"] for it in messages)
        self.webhook += len(messages)
        if self._is_whole:
            for it in messages:
                self._note_repeat(hash(("webhook", it["id"])))
        if self._file is not None:
            self._write({"kind": "webhook", **it, "at": at} for it in messages)

    def _note_count(self, messages: int, at: float) -> Drawer:
        self.last_at = at
        drawer = self.drawers[0]
        if not self._is_whole and drawer.count >= MEMORY // 2:
            drawer = Drawer()
            self.drawers = [drawer, self.drawers[0]]
        drawer.count += messages
        return drawer

    def _note_repeat(self, key: int) -> None:
        if key in self._seen:
            self.repeats += 1
        self._seen.add(key)

    def _write(self, rows: Iterable[dict[str, Any]]) -> None:
        data = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        while data:
            data = data[os.write(self._file or 0, data) :]

    def summarize(self) -> dict[str, Any]:
        """The answer to GET /_record. `requests` are those that bring messages, `bytes` their bodies; `by_status`
        are answers that went out whole; `duplicates` is None where they were not counted."""
        return {
            "requests": self.requests,
            "accepted": self.emails + self.sms + self.whatsapp + self.webhook,
            "by_status": {str(status): n for status, n in sorted(self.by_status.items())},
            "duplicates": self.repeats if self._is_whole else None,
            "emails": self.emails,
            "sms": self.sms,
            "whatsapp": self.whatsapp,
            "webhook": self.webhook,
            "bytes": self.bytes,
            "rate_limited": self.rate_limited,
            "first_at": self.first_at,
            "last_at": self.last_at,
            "faults": dict(self.faults),
        }
