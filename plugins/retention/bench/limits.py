"""The raw parts of a delivery, each alone in one process: what the machine allows before anything is kept together."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from itertools import islice

from sqlalchemy import Engine, text

from retention.bench.world import NOON, make_version
from retention.delivery.accounts import read_account
from retention.delivery.channels.base import Letter
from retention.delivery.choose import open_provider
from retention.delivery.http import Turn
from retention.delivery.links import open_links
from retention.delivery.render import Renderer
from retention.store.queries import look_as_of, run

SAMPLE = 20_000
"""Messages that are rendered, written and posted."""

_KEYS = {"enrollment_id": "enrollments", "cohort_id": "cohorts", "coupon_id": "coupons", "batch_id": "batches"}
_TWIN = "create table twin_{table} (like {table} including all)"


def measure(engine: Engine, cohort_id: int, step: str, channel: str) -> dict[str, float]:
    """Messages a second of each part: insert_select, render, body, http, copy."""
    rows, letters = _load(engine, cohort_id, step), []
    renderer = Renderer(make_version(), step, links=open_links(engine))

    def render() -> None:
        letters.extend(renderer.write(row, mode="live") for row in rows)
        if channel == "sms":
            for letter in letters:
                letter.text  # noqa: B018 - an SMS is filled in here, an e-mail by its provider

    found = {"insert_select": _insert_select(engine, cohort_id, step), "render": len(rows) / _time(render)}
    return found | _measure_http(channel, letters) | {"copy": _copy(engine, [row.message_id for row in rows])}


def _measure_http(channel: str, letters: list[Letter]) -> dict[str, float]:
    provider = open_provider(channel, read_account(channel), lambda: NOON)
    size = 1000 if channel == "email" else 50
    requests = []

    def write() -> None:
        for batch in _batched(letters, size):
            requests.extend(provider.build(batch))

    def post() -> None:
        answered = []

        def hear(request, answer):
            answered.append(answer.status)
            return ()

        provider.client.exchange(requests, hear, Turn)
        assert set(answered) <= {201, 202}, set(answered)

    try:
        return {"body": len(letters) / _time(write), "http": len(letters) / _time(post)}
    finally:
        provider.close()


def _load(engine: Engine, cohort_id: int, step: str) -> list:
    with engine.connect() as conn:
        look_as_of(conn, NOON)
        wanted = text(
            "select message_id, batch_id from messages where cohort_id = :cohort and step = :step and decision = 'send' limit :n"
        )
        found = conn.execute(wanted, {"cohort": cohort_id, "step": step, "n": SAMPLE}).all()
        ids, batch_ids = zip(*found, strict=True)
        return run(conn, "deliver/load_letters", ids=list(ids), batch_ids=list(set(batch_ids))).all()


def _insert_select(engine: Engine, cohort_id: int, step: str) -> float:
    """The rows of messages, with all indexes and constraints."""
    columns = (
        "enrollment_id, cohort_id, step, channel, attempt, role, decision, reason, address, locale, coupon_id, batch_id,"
        " due_at, not_before, not_after, planned_at"
    )
    with engine.connect() as conn:
        conn.execute(text(_TWIN.format(table="messages")))
        for key, table in _KEYS.items():
            conn.execute(text(f"alter table twin_messages add foreign key ({key}) references {table}"))
        insert = (
            f"insert into twin_messages ({columns}) select {columns} from messages where cohort_id = :c and step = :s"
        )
        began = time.perf_counter()
        count = conn.execute(text(insert), {"c": cohort_id, "s": step}).rowcount
        took = time.perf_counter() - began
        conn.rollback()
    return count / took


def _copy(engine: Engine, ids: list[int]) -> float:
    """The rows of outcomes, with their indexes."""
    lines = "".join(f"{i}\taccepted\tsendgrid\tabcdefghijklmnopqrstuv\t2026-06-01Z\t2026-06-01Z\n" for i in ids)
    with engine.connect() as conn:
        conn.execute(text(_TWIN.format(table="outcomes")))
        cursor = conn.connection.cursor()
        began = time.perf_counter()
        columns = "message_id, kind, provider, provider_id, occurred_at, recorded_at"
        with cursor.copy(f"copy twin_outcomes ({columns}) from stdin") as copy:
            stream = io.StringIO(lines)
            while part := stream.read(1 << 18):
                copy.write(part)
        took = time.perf_counter() - began
        conn.rollback()
    return len(ids) / took


def _batched(letters: list[Letter], size: int):
    iterator = iter(letters)
    while batch := list(islice(iterator, size)):
        yield batch


def _time(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
