"""How old the scores are that an audience sees, and whether they will do. Reads no clock; changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from retention.journey.scores import Scoring
from retention.store.queries import run

TABLES = {
    "tiers": "tiers",
    "tier_changes": "tiers",
    "customer_values": "values",
    "churn": "churn",
    "churn_changes": "churn",
    "customer_points": "points",
    "strata": "strata",
    "strata_changes": "strata",
    "customer_preferences": "preferences",
}
"""What an audience reads -> the score that has to be fresh for it."""


@dataclass(frozen=True)
class ScoreStanding:
    """When a score was last worked out: until the moment asked for (None: never), and at all."""

    as_of: datetime | None
    newest: datetime


@dataclass(frozen=True)
class Freshness:
    """The scores that a cohort goes by. `as_of`: how they stand, the oldest of them; None: one was never worked out.
    `due_at`: the run that should be there. `may_come`: whether it still can (time runs one way)."""

    scores: tuple[str, ...]
    as_of: datetime | None
    due_at: datetime
    may_come: bool
    is_young: bool

    @property
    def is_fresh(self) -> bool:
        """Whether the run that should be there is."""
        return self.as_of is not None and self.as_of >= self.due_at

    def __str__(self) -> str:
        local = self.as_of and self.as_of.astimezone(self.due_at.tzinfo)
        stand = f"stand at {local.isoformat(timespec='minutes')}" if local else "were never worked out"
        return f"scores ({', '.join(self.scores)}): they {stand}; those of {self.due_at.isoformat(timespec='minutes')} are due"


def find_scores(audiences: Iterable[str]) -> tuple[str, ...]:
    """The scores that the SQL of these audiences reads, by its tables; () where it reads none."""
    read: set[str] = set()
    for text in audiences:
        bare = re.sub(r"--[^\n]*|/\*.*?\*/|'[^']*'", " ", text.lower(), flags=re.DOTALL)
        read |= set(re.findall(r'(?:\bfrom|\bjoin|,)\s+(?:lateral\s+|only\s+)*(?:"?as_of"?\s*\.\s*)?"?(\w+)"?', bare))
    return tuple(sorted({TABLES[name] for name in read if name in TABLES}))


def fetch_standings(conn: Connection, as_of: datetime) -> dict[str, ScoreStanding]:
    """By score, as of a moment; a score that was never worked out is missing."""
    return {row.score: ScoreStanding(row.as_of, row.newest) for row in run(conn, "score/list_standings", as_of=as_of)}


def judge_freshness(conn: Connection, scores: tuple[str, ...], cohort_at: datetime, rules: Scoring) -> Freshness:
    """How the scores stand that a cohort of this moment sees, by the rules."""
    return judge_standings(conn, scores, cohort_at, rules.last_moment(cohort_at), rules.oldest)


def judge_standings(
    conn: Connection, scores: tuple[str, ...], cohort_at: datetime, due_at: datetime, oldest: timedelta = timedelta(0)
) -> Freshness:
    """The same, by the moment they are due at and how old they may be."""
    found = fetch_standings(conn, cohort_at)
    # Values have no run while no model was ever good; strata come after them and do.
    stands = [_look(found, score) for score in scores]
    known = [it.as_of for it in stands if it and it.as_of]
    as_of = min(known) if len(known) == len(scores) else None
    late = [it for it in stands if (it is None or it.as_of is None or it.as_of < due_at)]
    may_come = not any(it and it.newest > cohort_at for it in late)
    is_young = as_of is not None and cohort_at - as_of <= oldest
    return Freshness(scores, as_of, due_at, may_come, is_young)


def _look(found: Mapping[str, ScoreStanding], score: str) -> ScoreStanding | None:
    return found.get("strata" if score == "values" else score)
