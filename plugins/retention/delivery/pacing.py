"""Pacing: how fast an account's provider may be asked, whether it may be asked at all. Owns what its workers share.

All workers of an account share one row of `provider_accounts`: the next free moment of its rate (a token bucket), how
long the provider asked to be left alone, a circuit that opens when it keeps failing, and what of the day's budget is
used. So ten workers do not send at ten times the rate, and a provider that is down is asked by one of them now and then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.dialects.postgresql import insert

from retention.delivery.channels.base import OpenGate, Provider, read_wait
from retention.delivery.http import Answer, Turn
from retention.errors import ProviderPaused
from retention.store.database import Listener
from retention.store.queries import run
from retention.store.tables import provider_accounts

HEADROOM = 0.97
"""Of the allowed rate: clocks and networks are not exact, and a provider counts what arrives."""

SLICE_S = 0.25
"""How long a turn is at most: so soon a stop, or another worker, has its say."""

OPENS_AT = 5
"""Failures in a row that open the circuit."""

SHORTEST_S, LONGEST_S = 30, 600
"""How long a circuit is open the first time; twice as long each time, at most the second."""

TRIAL_S = 90
"""How long the others wait while one worker tries a provider again."""

PATIENCE_S = 15.0
"""A pause this short is waited for; for a longer one a task gives its worker back."""

STOP_LOOK_S = 1.0
"""How old the last look at the kill switch may be when a request begins: the net below what is heard of at once."""

HEAR_S = 0.01
"""How often, at most, is listened for a stop."""

STOPS = "retention_stops"
"""Where the database tells of stops, as they are committed: the journey, or * for all."""

LONGEST_BACKOFF_S = 600.0
"""The longest wait after a 429 that names none: it begins with a second and doubles."""


def find_pause(conn: Connection, account: str) -> float:
    """For how many seconds nothing goes to the account: it asked for that, or its circuit is open. A day's budget that
    is used up is looked at by who would send."""
    seen = run(conn, "pacing/look_at_account", account=account, journey="").mappings().first()
    return max(seen["blocked_s"] or 0.0, seen["open_s"] or 0.0, 0.0) if seen else 0.0


def find_reason(conn: Connection, account: str) -> ProviderPaused | None:
    """Why nothing goes to the account right now, and for how long; None where nothing is in the way."""
    seen = run(conn, "pacing/look_at_account", account=account, journey="").mappings().first()
    wait_s = max(seen["blocked_s"] or 0.0, seen["open_s"] or 0.0) if seen else 0.0
    return ProviderPaused(account, wait_s, seen["error"] or "it asked to wait") if wait_s > 0 else None


def note_pause(conn: Connection, paused: ProviderPaused) -> None:
    """Write down, for all workers, that the provider asked to be left alone."""
    run(conn, "pacing/note_wait", account=paused.account, seconds=paused.wait_s, error=paused.why)


class FreeGate(OpenGate):
    """For a provider without an account: nothing is shared, and nothing is in the way."""

    is_stopped = is_down = is_closed = is_trial_lost = False
    is_open: Callable[[], bool] = staticmethod(lambda: True)

    def close(self) -> None:
        """Nothing to give back."""

    def enter(self) -> None:
        """Never waits."""

    def leave(self) -> None:
        """Nothing to tell."""


def open_gate(engine: Engine, provider: Provider, *, channel: str, journey: str) -> SharedGate | FreeGate:
    """The gate of one deliver task to a provider."""
    return SharedGate(engine, provider, channel=channel, journey=journey) if provider.account else FreeGate()


class SharedGate:
    """A worker's way to the wire; see base.Gate. One per deliver task and account. `is_stopped` and `is_down` say why
    nothing more goes out: the journey's kill switch, or the provider; `is_closed`: its receivers' hours are over, which `is_open` tells.
    `is_trial_lost`: a provider that keeps failing was tried with this batch, and failed again. `close` it."""

    def __init__(self, engine: Engine, provider: Provider, *, channel: str, journey: str):
        self._engine, self._provider, self._journey = engine, provider, journey
        self._account = provider.account
        rate = getattr(provider, "per_second", None)
        self._rate = rate * HEADROOM if rate else None
        budget = getattr(provider, "segments_per_day", None)
        self._budget = int(budget) if budget else None
        self._failures, self._error = 0, ""
        self._has_failed = self._is_trial = self.is_trial_lost = False
        self._refusals = 0  # 429 in a row
        self._next_cost = 1  # what the next message takes of the day's budget, as far as we know
        self._listener: Listener | None = None
        self._heard_at = float("-inf")
        self._looked_at = float("-inf")
        self.is_stopped = self.is_down = self.is_closed = False
        self.is_open: Callable[[], bool] = lambda: True
        with engine.begin() as conn:
            first = insert(provider_accounts).values(account=self._account, channel=channel)
            conn.execute(first.on_conflict_do_nothing())

    def enter(self) -> None:
        """Ask before a batch. Waits out a short pause; raises ProviderPaused for a long one."""
        self.is_stopped = self.is_down = self.is_closed = self._is_trial = self.is_trial_lost = False
        self._listener = self._listener or Listener(self._engine, STOPS)
        while True:
            seen = self._look()
            if (seen["blocked_s"] or 0) > 0:
                self._wait_or_leave(seen["blocked_s"], seen["error"])
                continue
            if self._budget is not None and seen["used"] + self._next_cost > self._budget:
                raise self._pause(seen["day_s"], f"the {self._budget:,} segments of the day are used up")
            if seen["open_s"] is None:
                self._has_failed = seen["failures"] > 0
                return
            if seen["open_s"] > 0:
                raise self._pause(seen["open_s"], f"it keeps failing ({seen['error']})")
            if self._write("pacing/try_account", seconds=TRIAL_S).first():
                self._has_failed = self._is_trial = True
                return  # it is us who try

    def leave(self) -> None:
        """Tell the others after a batch what was heard in it."""
        if self._failures:
            self._note_failures()
        elif self._has_failed and not self.is_down:
            self._write("pacing/note_success")
            self._has_failed = False

    def ask_turn(self, costs: Sequence[int]) -> Turn:
        """See base.Gate."""
        if self.is_down or self.is_stopped:
            return Turn(0, is_end=True)
        if time.monotonic() - self._looked_at > STOP_LOOK_S and self._look()["is_stopped"]:
            self.is_stopped = True
            return Turn(0, is_end=True)
        if not self.is_open():
            self.is_closed = True
            return Turn(0, is_end=True)
        if self._rate is None and self._budget is None:
            return Turn(len(costs))
        return self._take(costs)

    def may_begin(self) -> bool:
        """See base.Gate."""
        if self._listener and not self.is_stopped:
            now = time.monotonic()
            if now - self._heard_at >= HEAR_S:
                self._heard_at = now
                if {self._journey, "*"} & set(self._listener.hear()):
                    self.is_stopped = self._look()["is_stopped"]
        return not self.is_stopped

    def close(self) -> None:
        """Stop listening."""
        if self._listener:
            self._listener.close()
            self._listener = None

    def note(self, answer: Answer) -> None:
        """See base.Gate."""
        if answer.status == 429:
            wait_s = read_wait(answer.headers)
            if not self.is_down:  # what was under way with it says the same once more
                self._refusals += 1
            if wait_s is None:
                wait_s = min(2.0 ** min(self._refusals - 1, 20), LONGEST_BACKOFF_S)
            self.is_down = True
            self._write("pacing/note_wait", seconds=wait_s, error="429: too many requests")
        elif answer.fate != "answered" or answer.status >= 500:
            if self.is_down:
                return  # said already: what was under way with it says nothing new
            self._failures += 1
            self._error = answer.error or f"status {answer.status}"
            if self._failures >= OPENS_AT:
                self._note_failures()
        else:
            if self._failures:
                self._has_failed = True
            self._failures = self._refusals = 0

    def _take(self, costs: Sequence[int], most_of_budget: int | None = None) -> Turn:
        count, cost = 0, 0
        most = self._rate * SLICE_S if self._rate else float("inf")
        if most_of_budget is not None:
            most = min(most, most_of_budget)
        while count < len(costs) and (not count or cost + costs[count] <= most):
            cost += costs[count]
            count += 1
        seconds = cost / self._rate if self._rate else 0.0
        taken = self._write("pacing/take_turn", seconds=seconds, cost=cost, budget=self._budget).first()
        now = time.monotonic()
        if taken:
            return Turn(count, now + taken.wait_s, seconds / count)
        seen = self._look()
        left = cost if self._budget is None else self._budget - seen["used"]
        if costs[0] > left:
            self.is_down, self._next_cost = True, costs[0]
            return Turn(0, is_end=True)
        if cost > left:
            return self._take(costs, left)
        return Turn(0, now + min(max(seen["taken_s"] - 0.5, 0.01), 1.0))

    def _note_failures(self) -> None:
        opened = self._write(
            "pacing/note_failures",
            failures=self._failures, error=self._error, is_trial=self._is_trial,
            limit=OPENS_AT, shortest=SHORTEST_S, longest=LONGEST_S,
        ).scalar()  # fmt: skip
        self._failures = 0
        self.is_trial_lost = self._is_trial
        self.is_down = self.is_down or (opened or 0) > 0

    def _look(self) -> Any:
        with self._connect() as conn:
            seen = run(conn, "pacing/look_at_account", account=self._account, journey=self._journey).mappings().one()
        self._looked_at = time.monotonic()
        return seen

    def _write(self, name: str, **parameters: Any) -> Any:
        with self._connect() as conn:
            return run(conn, name, account=self._account, **parameters)

    def _connect(self) -> Connection:
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def _wait_or_leave(self, seconds: float, why: str) -> None:
        if seconds > PATIENCE_S:
            raise self._pause(seconds, why)
        time.sleep(seconds + 0.01)

    def _pause(self, seconds: float, why: str) -> ProviderPaused:
        return ProviderPaused(self._account, seconds, why)
