"""Deliver: one shard of a step, batch by batch, until nothing of it is left that can go out now. Decides nobody in.

What becomes of a batch is batch_worker's; here is in which order they are taken, and when to give up or come back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from retention.delivery.batch_worker import BatchWorker, Errand
from retention.delivery.channels.base import Provider
from retention.errors import RetryLater, TooEarly
from retention.store.queries import run

BUSY_WAIT_S = 60
"""How long to wait for batches that another worker is sending right now."""

RETRY_WAITS_S = (0.5, 1, 2, 4, 8)
"""Between tries of the same batch."""


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

    Safe to call any number of times and from several processes at once. Raises TooEarly when all that is left waits for
    its receivers' hours, ProviderPaused when the provider is not to be asked for a while, RetryLater when another worker is still at it, AccountRefused when a person has to act:
    then nobody of what is left was accepted, and calling again goes on. What is in doubt is left in doubt, and counted.
    `refuse` raises what ends it before the next batch, which then stays as it is: it is asked in the transaction that
    would hand the batch over, after all that was read for it.
    """
    with engine.connect() as conn, ExitStack() as ways_out:
        worker = BatchWorker(conn, engine, errand, provider, clock, refuse)
        ways_out.enter_context(closing(worker.gate))
        todo = worker.list_batches()
        openings: list[datetime] = []
        total, done, tries, alone_since = len(todo), 0, 0, None  # since when there is nothing else to do than to wait
        while todo:
            busy, again = [], []
            for batch_id in todo:
                state = worker.send(batch_id)
                if isinstance(state, datetime):
                    openings.append(state)
                elif state is None:
                    busy.append(batch_id)
                elif state == "ready":
                    again.append(batch_id)
                else:
                    done += 1
                    if done == total or done % 20 == 0:
                        on_progress(f"{errand.step_id}/{errand.channel}: {done} of {total} batches")
            has_waited = len(busy) == len(todo)
            alone_since = (alone_since if has_waited else None) or time.monotonic()
            todo = [*again, *busy]
            if again:
                time.sleep(RETRY_WAITS_S[min(tries, len(RETRY_WAITS_S) - 1)])
                tries += 1
            elif busy and time.monotonic() > alone_since + BUSY_WAIT_S:
                raise RetryLater(
                    f"{errand.step_id}/{errand.channel}: {len(busy)} batches are being sent by another task. "
                    "It is safe to run this one again."
                )
            elif busy:
                time.sleep(0.5)
        if openings:
            opens = min(openings).astimezone(errand.version.journey.zone)
            raise TooEarly(f"{errand.step_id}/{errand.channel}: {len(openings)} of {total} batches", opens)
        return [h for h in count_outcomes(conn, errand.cohort_id, errand.step_id) if h.channel == errand.channel]


def count_outcomes(conn: Connection, cohort_id: int, step_id: str | None = None) -> list[Handled]:
    """What became of the sends of a cohort, as counts."""
    return [Handled(*row) for row in run(conn, "deliver/count_outcomes", cohort_id=cohort_id, step=step_id)]
