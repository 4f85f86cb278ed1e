"""The numbers of a cohort, counted by the database. Reads only; a cohort's people are never loaded, at most one page.

Each function is one statement, so a page costs the same few statements however large the cohort is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Row, select

from retention.store.queries import run
from retention.store.tables import cohort_runs, cohorts

LETTERS_A_PAGE = 50
COHORTS_A_PAGE = 30


@dataclass(frozen=True)
class Entry:
    """Who entered. `reachable` and `unreachable` (reason -> people) add up to `entered`, whatever the arm; `holdout` is
    part of `entered`; `refused` (reason -> people) were named and not taken in."""

    entered: int
    holdout: int
    reachable: int
    unreachable: dict[str, int]
    refused: dict[str, int]


@dataclass
class Grid:
    """Messages by row and channel. A row's key is a tuple of words; rows keep the order in which they were added."""

    cells: dict[tuple, dict[str, int]] = field(default_factory=dict)

    def add(self, key: tuple, channel: str, messages: int) -> None:
        row = self.cells.setdefault(key, {})
        row[channel] = row.get(channel, 0) + messages

    @property
    def total(self) -> int:
        return sum(sum(row.values()) for row in self.cells.values())


@dataclass
class StepFigures:
    """One step. Keys of `decisions`: (decision, reason); of `outcomes` and `later`: (outcome, reason). `decided` counts
    people, each once; `coupons` is state -> count."""

    decided: int = 0
    decisions: Grid = field(default_factory=Grid)
    outcomes: Grid = field(default_factory=Grid)
    later: Grid = field(default_factory=Grid)
    coupons: dict[str, int] = field(default_factory=dict)

    def count(self, outcome: str) -> int:
        """Messages with this outcome of the hand-over, whatever the reason."""
        return sum(sum(row.values()) for key, row in self.outcomes.cells.items() if key[0] == outcome)

    @property
    def channels(self) -> list[str]:
        """Every channel that anything was decided on."""
        return sorted({channel for row in self.decisions.cells.values() for channel in row})


def find_run(conn: Connection, journey: str, run_id: str) -> int | None:
    """The id of the cohort that an Airflow run carries, or None: it has not enrolled, or is unknown."""
    return conn.scalar(
        select(cohort_runs.c.cohort_id).where(cohort_runs.c.journey == journey, cohort_runs.c.run_id == run_id)
    )


def list_runs(conn: Connection, cohort_id: int) -> list[str]:
    """The Airflow runs that carried a cohort, the first one first."""
    found = select(cohort_runs.c.run_id).where(cohort_runs.c.cohort_id == cohort_id)
    return list(conn.scalars(found.order_by(cohort_runs.c.joined_at, cohort_runs.c.run_id)))


def find_cohort_of(conn: Connection, journey: str, cohort_id: int) -> Row | None:
    """The cohort's row if it is one of this journey's."""
    return conn.execute(select(cohorts).where(cohorts.c.cohort_id == cohort_id, cohorts.c.journey == journey)).first()


def list_cohorts(conn: Connection, journey: str, before: int | None = None) -> list[dict]:
    """A page of a journey's cohorts, newest first, from after the cohort `before`: cohort_id, cohort_at, mode, status,
    candidates, sends, waiting, in_doubt, failed (messages). One more than COHORTS_A_PAGE when there is a next page."""
    found = run(conn, "insight/cohort_list", journey=journey, before=before, most=COHORTS_A_PAGE + 1)
    return [dict(row) for row in found.mappings()]


def fetch_old_scores(conn: Connection, cohorts: Sequence[int]) -> dict[int, dict]:
    """Those of these cohorts that went by old scores: cohort_id -> scores (names), as_of, due_at."""
    rows = run(conn, "insight/cohort_notes", cohorts=list(cohorts)).mappings()
    return {row["cohort_id"]: {name: row[name] for name in ("scores", "as_of", "due_at")} for row in rows}


def count_entry(conn: Connection, cohort_id: int) -> Entry:
    """What became of everybody whom the audience named."""
    rows = run(conn, "insight/cohort_entry", cohort_id=cohort_id).all()
    unreachable: dict[str, int] = {}
    for _, reason, people in rows:
        if reason is not None:
            unreachable[reason] = unreachable.get(reason, 0) + people
    refused = {reason: people for reason, people in run(conn, "insight/cohort_refusals", cohort_id=cohort_id)}
    return Entry(
        entered=sum(people for _, _, people in rows),
        holdout=sum(people for arm, _, people in rows if arm == "holdout"),
        reachable=sum(people for _, reason, people in rows if reason is None),
        unreachable=unreachable,
        refused=refused,
    )


def count_steps(conn: Connection, cohort_id: int) -> dict[str, StepFigures]:
    """Step -> its figures, for every step that anything was decided at."""
    steps: dict[str, StepFigures] = defaultdict(StepFigures)
    for step, channel, decision, reason, people, messages in run(conn, "insight/cohort_decisions", cohort_id=cohort_id):
        steps[step].decided += people
        steps[step].decisions.add((decision, reason), channel, messages)
    for step, channel, outcome, reason, is_later, messages in run(conn, "insight/cohort_outcomes", cohort_id=cohort_id):
        grid = steps[step].later if is_later else steps[step].outcomes
        grid.add((outcome, reason), channel, messages)
    for step, state, coupons in run(conn, "insight/cohort_coupons", cohort_id=cohort_id):
        steps[step].coupons[state] = coupons
    return dict(steps)


def list_troubles(conn: Connection, cohort_id: int) -> list[dict]:
    """What needs a person: step, channel, state (unknown: in doubt; failed), messages, error."""
    return [dict(row) for row in run(conn, "insight/cohort_troubles", cohort_id=cohort_id).mappings()]


def list_letters(
    conn: Connection, cohort_id: int, *, after: int = 0, step: str | None = None, channel: str | None = None
) -> list[dict]:
    """A page of the cohort's outbox after a message id: message_id, step, channel, address, locale, subject, beginning
    (of the text), customer_id. One more row than LETTERS_A_PAGE comes back when there is a next page."""
    most = LETTERS_A_PAGE + 1
    found = run(conn, "insight/cohort_letters", cohort_id=cohort_id, after=after, step=step, channel=channel, most=most)
    return [dict(row) for row in found.mappings()]


def fetch_letter(conn: Connection, cohort_id: int, message_id: int) -> dict | None:
    """One message as it lies in the outbox, if it is one of this cohort's."""
    found = run(conn, "insight/cohort_letter", cohort_id=cohort_id, message_id=message_id).mappings().first()
    return dict(found) if found else None
