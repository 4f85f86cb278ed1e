"""Where and when somebody answers: the best channel and the best hours, by past response. Owns how they are kept.

A few answers prove little, so each share is drawn towards the whole shop's on the same channel, or at the same hours, as if
`strength` more messages had been sent that were answered as usual (as_of.shrunken_rate; plans choose channels by the same).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from retention.audience.scores.value_models import drop_temporary
from retention.journey.scores import Preferences
from retention.store.queries import look_as_of, run
from retention.store.staging import analyze
from retention.store.tables import customer_preferences, preference_runs


@dataclass(frozen=True)
class PreferenceRun:
    """What a refresh did: `customers` whose preferences changed. `note` says why it wrote nothing."""

    as_of: datetime
    customers: int = 0
    note: str | None = None


@dataclass(frozen=True)
class Answered:
    """How a customer answers on a channel (`kind` channel), or in a slot of the day that begins at `option` (`kind` hour):
    `responses` to `sent` messages. `usual_rate` is the whole shop's, `rate` the customer's own drawn towards it."""

    kind: str
    option: str
    sent: int
    responses: int
    usual_rate: float | None
    rate: float


def refresh_preferences(
    conn: Connection,
    as_of: datetime,
    *,
    zone: str,
    rules: Preferences | None = None,
    known_at: datetime | None = None,
) -> PreferenceRun:
    """Write whose preferences, or what they rest on, changed since the last run. In the caller's transaction; safe to repeat.

    `zone` is taken for customers who have none. What is older than the last run is not written: history is what was said
    then."""
    rules, known_at = rules or Preferences(), known_at or as_of
    if conn.scalar(select(func.count()).where(preference_runs.c.as_of > as_of)):
        return PreferenceRun(as_of, note="there are preferences of a later date")
    conn.execute(customer_preferences.delete().where(customer_preferences.c.as_of == as_of))
    conn.execute(preference_runs.delete().where(preference_runs.c.as_of == as_of))
    look_back_s, slot_hours = round(rules.look_back.total_seconds()), rules.slot_hours
    done = {
        "as_of": as_of,
        "known_at": known_at,
        "zone": zone,
        "strength": rules.strength,
        "look_back_s": look_back_s,
        "slot_hours": slot_hours,
    }
    conn.execute(preference_runs.insert().values(**done, customers=0))
    _count(conn, as_of, known_at, zone, look_back_s, slot_hours, None)
    run(conn, "score/write_preference_rates", as_of=as_of)
    written = run(conn, "score/write_preferences", as_of=as_of, strength=rules.strength).rowcount
    conn.execute(preference_runs.update().where(preference_runs.c.as_of == as_of).values(customers=written))
    return PreferenceRun(as_of, written)


def explain_preferences(
    conn: Connection, customer_id: str, as_of: datetime, *, zone: str, known_at: datetime | None = None
) -> list[Answered]:
    """How a customer answered on each channel and in each slot up to an instant, the best of each kind first; by the rules and
    the shop's rates of the run that held then, else by the defaults and no rate."""
    known_at = known_at or as_of
    look_as_of(conn, as_of, known_at=known_at, zone=zone)
    last, usual = run(conn, "score/find_preference_run").one_or_none(), Preferences()
    strength, look_back_s, slot_hours = (
        (last.strength, last.look_back_s, last.slot_hours)
        if last
        else (usual.strength, round(usual.look_back.total_seconds()), usual.slot_hours)
    )
    _count(conn, as_of, known_at, zone, look_back_s, slot_hours, [customer_id])
    look_as_of(conn, as_of, known_at=known_at, zone=zone)
    rows = run(conn, "score/list_answer_counts", strength=strength)
    return [Answered(it.kind, it.option, it.sent, it.responses, it.usual_rate, it.rate) for it in rows]


def _count(
    conn: Connection,
    as_of: datetime,
    known_at: datetime,
    zone: str,
    look_back_s: int,
    slot_hours: int,
    customers: Sequence[str] | None,
) -> None:
    """Make the temporary tables answers and answer_counts."""
    drop_temporary(conn, "answers")
    drop_temporary(conn, "answer_counts")
    look_as_of(conn, as_of, known_at=known_at, zone=zone)
    run(
        conn, "score/make_answers", as_of=as_of, known_at=known_at, zone=zone, look_back_s=look_back_s,
        slot_hours=slot_hours, customers=None if customers is None else list(customers),
    )  # fmt: skip
    run(conn, "score/count_answers")
    analyze(conn, "answer_counts")
