"""One worker's way with batches: found, locked, withheld from, handed over, put back or closed. Owns a batch's states.

A batch is committed as `sending` before the provider is called and its outcomes are appended after. Whoever works on
a batch holds its advisory lock, which dies with the connection: a batch that is `sending` and not locked was left by a
process that was killed. It is never blindly sent again: the provider is asked, and what it can't tell is in doubt. Doubt
is written down message by message, so that the others of its batch can go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select, text, update
from sqlalchemy.exc import DBAPIError

from retention.delivery.channels.base import Letter, Provider, Receipt, Sent
from retention.delivery.exits import describe_exits
from retention.delivery.hours import Window, find_opening, find_zone
from retention.delivery.links import open_links
from retention.delivery.pacing import open_gate
from retention.delivery.plan import fetch_cohort, is_stopped
from retention.delivery.receipts import append_receipts, write_ids
from retention.delivery.render import Renderer
from retention.errors import AccountRefused, InDoubt, RenderError, RequestRefused, RetryLater
from retention.journey.load import Version
from retention.store.queries import look_as_of, run
from retention.store.tables import batches, messages

MAX_ATTEMPTS = 5
"""How often a batch that nobody accepted is tried before it is `failed`, visibly. What an outage costs is not counted."""

MAX_TRIALS = 20
"""How often a batch is tried, others included, when it is the one that an account is tried with that keeps failing."""

LATE_S = 60
"""How long to try to write down a provider's answers when the database has gone away."""


@dataclass(frozen=True)
class Errand:
    """One shard of one step's messages on one channel, and with what they are delivered.

    `facts_at`: as of when the content is written; None: the step's due moment. `choices`: what takes somebody out who has
    refused it since (see withhold)."""

    version: Version
    cohort_id: int
    step_id: str
    channel: str
    shard: int = 0
    of: int = 1
    wave: int = 0
    is_stopped_by_file: bool = False
    facts_at: datetime | None = None
    choices: tuple[str, ...] = ()


class BatchWorker:
    """One process's work on one errand, over one connection."""

    def __init__(
        self,
        conn: Connection,
        engine: Engine,
        errand: Errand,
        provider: Provider,
        clock: Callable[[], datetime],
        refuse: Callable[[Connection], None],
    ):
        self.conn, self.engine, self.errand, self.provider = conn, engine, errand, provider
        self.clock, self.refuse = clock, refuse
        self.journey = errand.version.journey
        self.step = self.journey.step(errand.step_id)
        self.cohort = fetch_cohort(conn, errand.cohort_id)
        self.renderer = Renderer(errand.version, errand.step_id, links=open_links(engine))
        self.gate = open_gate(engine, provider, channel=errand.channel, journey=self.journey.journey)
        self.is_first_try = True
        conn.commit()

    def list_batches(self) -> list[int]:
        errand = self.errand
        found = run(
            self.conn, "deliver/list_batches",
            cohort_id=errand.cohort_id, step=errand.step_id, channel=errand.channel, wave=errand.wave,
            shard=errand.shard, of=errand.of,
        )  # fmt: skip
        listed = list(found.scalars())
        self.conn.commit()
        return listed

    def send(self, batch_id: int) -> str | datetime | None:
        """Take one batch as far as it goes; its state, None when somebody else is working on it, or from when on its
        receivers may be written to."""
        lock = {"space": 7001, "key": batch_id % 2**31}
        if not self.conn.scalar(text("select pg_try_advisory_lock(:space, :key)"), lock):
            self.conn.commit()
            return None
        try:
            self.conn.commit()
            batch = self.conn.execute(select(batches).where(batches.c.batch_id == batch_id)).one()
            self.conn.commit()
            state = batch.state
            self.is_first_try = batch.sending_at is None
            if state == "sending":
                state = self._find_out(batch_id)
            if state == "failed":
                again = update(batches).where(batches.c.batch_id == batch_id)
                self.conn.execute(again.values(state="ready", attempts=0, error=None))
                self.conn.commit()
            if state in ("ready", "failed"):
                now = self.clock()
                opens_at = self._find_opening(batch, now)
                if opens_at > now:
                    last = self.conn.scalar(
                        select(func.max(messages.c.not_after)).where(messages.c.batch_id == batch_id)
                    )
                    self.conn.commit()
                    if opens_at < last:
                        return opens_at
                    now = opens_at  # they are open too late: who is left has expired
                self.gate.enter()
                self.gate.is_open = lambda: self._find_opening(batch, self.clock()) <= self.clock()
                letters = self._prepare(batch_id, now)
                state = self._hand_over(batch_id, letters) if letters else self._end_state(batch_id)
            return state
        finally:
            self.conn.rollback()
            self.conn.execute(text("select pg_advisory_unlock(:space, :key)"), lock)
            self.conn.commit()

    def _find_opening(self, batch: Row, now: datetime) -> datetime:
        """From when on the batch may be handed over: `now` where it may. A test that is on time waits for nothing."""
        if self.cohort.is_on_time:
            return now
        zone = find_zone(batch.zone) or self.journey.zone
        window = Window(batch.opens, batch.closes) if batch.opens else None
        return find_opening(max(now, batch.not_before or now), zone, window)

    def _prepare(self, batch_id: int, now: datetime) -> list[Letter]:
        """Withhold whom the present forbids, write the others' letters, and commit the intent to hand them over."""
        conn = self.conn
        wanted, withheld = self._withhold(batch_id, now)
        # The content is that of the decision instant, whatever has been learned since.
        facts_at = self.errand.facts_at or self.journey.due_at(self.step, self.cohort.cohort_at)
        look_as_of(conn, facts_at, zone=self.journey.timezone)
        letters, unwritten = [], []
        for row in run(conn, "deliver/load_letters", ids=wanted, batch_ids=[batch_id]).all():
            try:
                letters.append(self.renderer.write(row, mode=self.cohort.mode, batch_id=batch_id))
            except RenderError as error:
                unwritten.append(Receipt(row.message_id, "refused", reason=f"render_error: {error}"))
        self._append(batch_id, unwritten, None, now)
        self._settle_coupons(batch_id, withheld, now)
        self._give_back_slots(batch_id, withheld)
        change = update(batches).where(batches.c.batch_id == batch_id)
        if letters:
            conn.execute(change.values(state="sending", attempts=batches.c.attempts + 1, sending_at=now))
        else:
            conn.execute(change.values(state=self._end_state(batch_id), done_at=now))
        self.refuse(conn)
        conn.commit()  # the intent stands before the first byte goes out
        return letters

    def _hand_over(self, batch_id: int, letters: Sequence[Letter]) -> str:
        receipts: dict[int, Receipt] = {}
        error: str | None = None

        def receive(receipt: Receipt) -> None:
            receipts[receipt.message_id] = receipt

        def mark_rest(result: str, reason: str | None = None) -> None:
            for letter in letters:
                if letter.message_id not in receipts:
                    receive(Receipt(letter.message_id, result, reason=reason))

        try:
            self.provider.hand_over(letters, self.gate, receive)
            if self.gate.is_stopped:
                mark_rest("withheld", "stopped")
            mark_rest("later")
        except RetryLater as late:
            error = str(late)
            mark_rest("later", error)
        except InDoubt as doubt:
            mark_rest("unknown", str(doubt))
        except RequestRefused as refusal:
            mark_rest("refused", str(refusal))
        except AccountRefused as refusal:
            mark_rest("later")
            self._finish(batch_id, receipts.values(), "ready", str(refusal), is_counted=False)
            raise
        except BaseException as error:
            if not self.provider.has_written:  # nobody can have been accepted
                mark_rest("later")
                self._finish(batch_id, receipts.values(), "ready", type(error).__name__, is_counted=False)
                raise
            # A task that is cleared, say. What was heard is kept; who finds the batch `sending` finds out about the rest.
            self._finish(batch_id, receipts.values(), "sending", None)
            raise
        self.gate.leave()
        late = [it for it in receipts.values() if it.result == "later"]
        if late:
            return self._put_back(batch_id, receipts.values(), error or late[0].reason)
        state = "unknown" if any(it.result == "unknown" for it in receipts.values()) else self._end_state(batch_id)
        return self._finish(batch_id, receipts.values(), state, None)

    def _put_back(self, batch_id: int, receipts: Iterable[Receipt], error: str | None) -> str:
        """Some were not accepted and may be later, unless the batch alone keeps failing."""
        if self.gate.is_closed:
            return self._finish(batch_id, receipts, "ready", None, is_counted=False)
        if self.gate.is_down:
            # An outage is not a batch's fault; but one that the provider is tried with again and again may be.
            state = "failed" if self.gate.is_trial_lost and self._count_tries(batch_id) >= MAX_TRIALS else "ready"
            self._finish(batch_id, receipts, state, error, is_counted=self.gate.is_trial_lost)
            if state == "failed":
                return state
            self.gate.enter()  # waits, or ends the task for as long as the provider wants
            return "ready"
        is_over = self._count_tries(batch_id) >= MAX_ATTEMPTS
        return self._finish(batch_id, receipts, "failed" if is_over else "ready", error)

    def _count_tries(self, batch_id: int) -> int:
        return self.conn.scalar(select(batches.c.attempts).where(batches.c.batch_id == batch_id))

    def _finish(
        self, batch_id: int, receipts: Iterable[Receipt], state: str, error: str | None, *, is_counted: bool = True
    ) -> str:
        now = self.clock()
        values: dict[str, Any] = {"state": state, "error": error, "done_at": now if state == "done" else None}
        if not is_counted:
            values["attempts"] = batches.c.attempts - 1
        final = [it for it in receipts if it.result != "later"]
        try:
            self._write(batch_id, final, values, now)
        except DBAPIError as gone:
            if not gone.connection_invalidated or not any(it.result == "accepted" for it in final):
                raise
            self._write_late(batch_id, final, now)
            raise
        return state

    def _write(self, batch_id: int, final: Sequence[Receipt], values: dict[str, Any], now: datetime) -> None:
        lost = sum(it.result == "unknown" for it in final)
        if lost:
            values["in_doubt"] = batches.c.in_doubt + lost
        self._append(batch_id, final, self.provider.name, now)
        self.conn.execute(update(batches).where(batches.c.batch_id == batch_id).values(**values))
        self.conn.commit()

    def _write_late(self, batch_id: int, final: Sequence[Receipt], now: datetime) -> None:
        """The database went away after the provider had answered. What it said must not be lost: keep trying for a while.

        The lock is gone, somebody else may have found the batch by now: answers settle what he put down as in doubt, and
        the batch itself is left to whoever has it."""
        give_up_at = time.monotonic() + LATE_S
        while time.monotonic() < give_up_at:
            time.sleep(0.5)
            try:
                with self.engine.begin() as conn:
                    append_receipts(conn, final, self.provider.name, now)
                    if self.step.coupon:
                        run(
                            conn,
                            "deliver/settle_coupons",
                            ids=[it.message_id for it in final],
                            batch_id=batch_id,
                            now=now,
                        )
                    run(conn, "deliver/close_batches", now=now)
                return
            except DBAPIError:
                continue

    def _find_out(self, batch_id: int) -> str:
        """What became of a batch whose sender died; its new state: ready, unknown or done."""
        pending = [Sent(*row) for row in run(self.conn, "deliver/list_pending", batch_id=batch_id)]
        known = self.provider.look_up(pending) if self.provider.knows_all else {}
        receipts = [receipt for receipt in known.values() if receipt]
        lost = [it for it in pending if it.message_id not in known]
        receipts += [Receipt(it.message_id, "unknown", reason="its sender ended") for it in lost]
        state = "ready" if any(receipt is None for receipt in known.values()) else self._end_state(batch_id)
        return self._finish(batch_id, receipts, "unknown" if lost and state == "done" else state, None)

    def _end_state(self, batch_id: int) -> str:
        """Done, unless an earlier try left somebody in doubt."""
        has_doubts = select(batches.c.in_doubt > 0).where(batches.c.batch_id == batch_id)
        return "unknown" if not self.is_first_try and self.conn.scalar(has_doubts) else "done"

    def _withhold(self, batch_id: int, now: datetime) -> tuple[str, str | None]:
        """The last check at the send instant: consent, suppression, exits, expiry, kill switch, as they are now.

        The messages that may go, and those that were withheld: arrays of ids in Postgres' own spelling."""
        journey = self.journey
        template = self.errand.version.templates[self.step.send.template]
        look_as_of(self.conn, now, zone=journey.timezone)
        judged = run(
            self.conn,
            "deliver/withhold",
            batch_id=batch_id,
            now=now,
            is_stopped=self.errand.is_stopped_by_file or is_stopped(self.conn, journey.journey),
            purpose=template.purpose,
            choices=list(self.errand.choices),
            one_a_day=journey.one_a_day,
            **describe_exits(journey, template.purpose),
        )
        return judged.one()

    def _append(self, batch_id: int, receipts: Sequence[Receipt], provider: str | None, now: datetime) -> None:
        append_receipts(self.conn, receipts, provider, now, is_locked=True)
        self._settle_coupons(batch_id, write_ids(it.message_id for it in receipts) if receipts else None, now)
        gone = [it.message_id for it in receipts if it.result in ("refused", "withheld")]
        self._give_back_slots(batch_id, write_ids(gone) if gone else None)

    def _give_back_slots(self, batch_id: int, ids: str | None) -> None:
        if ids:
            run(self.conn, "deliver/give_back_slots", ids=ids, batch_id=batch_id)

    def _settle_coupons(self, batch_id: int, ids: str | None, now: datetime) -> None:
        if ids and self.step.coupon:
            run(self.conn, "deliver/settle_coupons", ids=ids, batch_id=batch_id, now=now)
