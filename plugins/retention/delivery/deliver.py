"""Deliver: hands planned batches to a provider, never one twice. Owns batches and hand-over outcomes; decides nobody in.

A batch is committed as `sending` before the provider is called and its outcomes are appended after. Whoever works on
a batch holds its advisory lock, which dies with the connection: a batch that is `sending` and not locked was left by a
process that was killed. It is never blindly sent again: the provider is asked, and what it can't tell stays in doubt.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, select, text, update

from retention.delivery.channels.base import Provider, Receipt
from retention.delivery.plan import fetch_cohort, is_stopped
from retention.delivery.render import Renderer
from retention.errors import InDoubt, RenderError, RequestRefused, RetryLater
from retention.journey.load import Version
from retention.store.queries import look_as_of, run
from retention.store.tables import batches

MAX_ATTEMPTS = 5
"""How often a batch that nobody accepted is tried before it is `failed`, visibly."""

BUSY_WAIT_S = 60
"""How long to wait for batches that another worker is sending right now."""


@dataclass(frozen=True)
class Errand:
    """One shard of one step's messages on one channel, and with what they are delivered.

    `facts_at`: as of when the content is written; None: the step's due moment."""

    version: Version
    cohort_id: int
    step_id: str
    channel: str
    shard: int = 0
    of: int = 1
    wave: int = 0
    is_stopped_by_file: bool = False
    facts_at: datetime | None = None


@dataclass(frozen=True)
class Handled:
    """A count of equal outcomes: accepted, withheld, refused, in_doubt, failed or open."""

    step: str
    channel: str
    outcome: str
    reason: str | None
    count: int


def deliver_step(
    engine: Engine,
    errand: Errand,
    *,
    provider: Provider,
    clock: Callable[[], datetime],
    on_progress: Callable[[str], None] = lambda line: None,
    refuse: Callable[[Connection], None] = lambda conn: None,
) -> list[Handled]:
    """Hand over every unfinished batch of the errand; the outcomes of the whole step and channel as counts.

    Safe to call any number of times and from several processes at once. Raises RetryLater when a provider could not
    be reached or another worker is still at it: then nobody of those was accepted by this call, and calling again
    goes on. Batches in doubt are left in doubt, and counted. `refuse` raises what ends it before the next batch, which
    then stays as it is: it is asked in the transaction that would hand the batch over, after all that was read for it.
    """
    renderer = Renderer(errand.version, errand.step_id)
    todo = _list_batches(engine, errand)
    done, give_up_at = 0, time.monotonic() + BUSY_WAIT_S
    while todo:
        busy = []
        for batch_id in todo:
            if _send_batch(engine, batch_id, errand, renderer, provider, clock, refuse):
                done += 1
                if done == len(todo) or done % 20 == 0:
                    on_progress(f"{errand.step_id}/{errand.channel}: {done} of {len(todo)} batches")
            else:
                busy.append(batch_id)
        todo = busy
        if busy and time.monotonic() > give_up_at:
            raise RetryLater(
                f"{errand.step_id}/{errand.channel}: {len(busy)} batches are being sent by another task. "
                "It is safe to run this one again."
            )
        if busy:
            time.sleep(0.5)
    with engine.connect() as conn:
        return [h for h in count_outcomes(conn, errand.cohort_id, errand.step_id) if h.channel == errand.channel]


def count_outcomes(conn: Connection, cohort_id: int, step_id: str | None = None) -> list[Handled]:
    """What became of the sends of a cohort, as counts."""
    return [Handled(*row) for row in run(conn, "deliver/count_outcomes", cohort_id=cohort_id, step=step_id)]


def _list_batches(engine: Engine, errand: Errand) -> list[int]:
    with engine.connect() as conn:
        found = run(
            conn,
            "deliver/list_batches",
            cohort_id=errand.cohort_id,
            step=errand.step_id,
            channel=errand.channel,
            wave=errand.wave,
            shard=errand.shard,
            of=errand.of,
        )
        return list(found.scalars())


def _send_batch(
    engine: Engine,
    batch_id: int,
    errand: Errand,
    renderer: Renderer,
    provider: Provider,
    clock: Callable[[], datetime],
    refuse: Callable[[Connection], None],
) -> bool:
    """Take one batch as far as it goes. False when somebody else is working on it."""
    with engine.connect() as conn:
        lock = {"space": 7001, "key": batch_id % 2**31}
        if not conn.scalar(text("select pg_try_advisory_lock(:space, :key)"), lock):
            return False
        try:
            conn.commit()
            state = conn.scalar(select(batches.c.state).where(batches.c.batch_id == batch_id))
            conn.commit()
            if state in ("sending", "unknown"):
                state = _settle(conn, batch_id, provider, clock())
            if state == "ready":
                _hand_over(conn, batch_id, errand, renderer, provider, clock, refuse)
        finally:
            conn.rollback()
            conn.execute(text("select pg_advisory_unlock(:space, :key)"), lock)
            conn.commit()
    return True


def _hand_over(
    conn: Connection,
    batch_id: int,
    errand: Errand,
    renderer: Renderer,
    provider: Provider,
    clock: Callable[[], datetime],
    refuse: Callable[[Connection], None],
) -> None:
    now = clock()
    cohort = fetch_cohort(conn, errand.cohort_id)
    journey = errand.version.journey
    step = journey.step(errand.step_id)
    _withhold(conn, batch_id, errand, now)
    # The content is that of the decision instant, whatever has been learned since.
    look_as_of(conn, errand.facts_at or journey.due_at(step, cohort.cohort_at), zone=journey.timezone)
    letters, unwritten = [], []
    pending = _list_pending(conn, batch_id)
    for row in run(conn, "deliver/load_letters", ids=pending).mappings():
        try:
            letters.append(renderer.write(row, mode=cohort.mode))
        except RenderError as error:
            unwritten.append(Receipt(row["message_id"], False, reason=f"render_error: {error}"))
    _append(conn, unwritten, None, now)
    state = "sending" if letters else "done"
    attempts = conn.scalar(
        update(batches)
        .where(batches.c.batch_id == batch_id)
        .values(
            state=state,
            attempts=batches.c.attempts + (1 if letters else 0),
            sending_at=now if letters else None,
            done_at=None if letters else now,
        )
        .returning(batches.c.attempts)
    )
    refuse(conn)
    conn.commit()  # the intent stands before the first byte goes out
    if not letters:
        return
    try:
        receipts = provider.hand_over(letters)
    except RetryLater as error:
        last = attempts >= MAX_ATTEMPTS
        _mark(conn, batch_id, "failed" if last else "ready", str(error))
        if not last:
            raise
    except InDoubt as error:
        _mark(conn, batch_id, "unknown", str(error))
    except RequestRefused as error:
        _append(conn, [Receipt(x.message_id, False, reason=str(error)) for x in letters], provider.name, clock())
        _mark(conn, batch_id, "done", str(error), done_at=clock())
    else:
        _append(conn, receipts, provider.name, clock())
        _mark(conn, batch_id, "done", None, done_at=clock())


def _withhold(conn: Connection, batch_id: int, errand: Errand, now: datetime) -> None:
    """The last check at the send instant: consent, suppression, exits, expiry and the kill switch, as they are now."""
    journey = errand.version.journey
    template = errand.version.templates[journey.step(errand.step_id).send.template]
    look_as_of(conn, now, zone=journey.timezone)
    run(
        conn,
        "deliver/withhold",
        batch_id=batch_id,
        now=now,
        is_stopped=errand.is_stopped_by_file or is_stopped(conn, journey.journey),
        exit_unsubscribed="unsubscribed" in journey.exit_when,
        exit_goal_met="goal_met" in journey.exit_when and journey.goal is not None,
        goal_event=journey.goal.event if journey.goal else "",
        goal_within_s=journey.goal.within.total_seconds() if journey.goal else 0,
        purpose=template.purpose,
    )


def _settle(conn: Connection, batch_id: int, provider: Provider, now: datetime) -> str:
    """Find out what became of a batch whose answer was lost; its new state: ready, unknown or done."""
    ids = _list_pending(conn, batch_id)
    known = provider.look_up(ids)
    _append(conn, [receipt for receipt in known.values() if receipt], provider.name, now)
    if any(message_id not in known for message_id in ids):
        state = "unknown"
    else:
        state = "ready" if any(receipt is None for receipt in known.values()) else "done"
    _mark(conn, batch_id, state, None, done_at=now if state == "done" else None)
    return state


def _list_pending(conn: Connection, batch_id: int) -> list[int]:
    return list(run(conn, "deliver/list_pending", batch_id=batch_id).scalars())


def _append(conn: Connection, receipts: Iterable[Receipt], provider: str | None, now: datetime) -> None:
    rows = [
        {
            "message_id": r.message_id,
            "kind": "accepted" if r.is_accepted else "refused",
            "provider_id": r.provider_id,
            "reason": r.reason,
        }
        for r in receipts
    ]
    if rows:
        run(conn, "deliver/append_receipts", receipts=json.dumps(rows), provider=provider, now=now)


def _mark(conn: Connection, batch_id: int, state: str, error: str | None, done_at: datetime | None = None) -> None:
    conn.execute(
        update(batches).where(batches.c.batch_id == batch_id).values(state=state, error=error, done_at=done_at)
    )
    conn.commit()
