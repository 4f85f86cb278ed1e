"""The mailroom: puts requests into the inbox, all that wait together in one transaction, and has them interpreted after.

Who waits for `keep` hears of it when the request is on disk. Knows no provider.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from retention.delivery.events.inbox import Arrival, store_arrivals
from retention.delivery.events.interpret import interpret

MOST_TOGETHER = 500
LOOKS_AGAIN_S = 5.0
"""How often the inbox is looked at though nothing came in here: other processes fill it, and failures are tried again."""

log = logging.getLogger("retention.events")


class Mailroom:
    """One for an app, on one event loop. `clock` tells the present."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]):
        self._engine, self._clock = engine, clock
        self._waiting: list[tuple[Arrival, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._bell = asyncio.Event()

    async def keep(self, arrival: Arrival) -> None:
        """Returns once it is committed. Raises SQLAlchemyError when it could not be."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((arrival, kept))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await kept

    async def _write(self) -> None:
        """Those that come in while one transaction is on its way share the next."""
        while self._waiting:
            some, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
            try:
                await asyncio.to_thread(self._store, [arrival for arrival, _ in some])
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait have to hear of it
                for _, kept in some:
                    if not kept.done():
                        kept.set_exception(error)
                continue
            for _, kept in some:
                if not kept.done():
                    kept.set_result(None)
            self._bell.set()

    def _store(self, arrivals: list[Arrival]) -> None:
        with self._engine.begin() as conn:
            store_arrivals(conn, arrivals, self._clock())

    async def interpret_for_ever(self) -> None:
        """Interpret what comes in, until cancelled. A database that is away is waited for."""
        while True:
            self._bell.clear()
            try:
                # A turn at a time, so that the process can end between two.
                done = await asyncio.to_thread(interpret, self._engine, self._clock(), most_turns=1)
                if done.requests or done.failed:
                    log.info(
                        "%d requests interpreted: %d events, %d new, %d odd, %d failed",
                        done.requests, done.events, done.fresh, done.odd, done.failed,
                    )  # fmt: skip
                    continue
            except SQLAlchemyError as error:
                log.error("what waits in the inbox could not be interpreted (%s): tried again", type(error).__name__)
            try:
                await asyncio.wait_for(self._bell.wait(), LOOKS_AGAIN_S)
            except TimeoutError:
                continue
