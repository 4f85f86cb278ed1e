"""Plan: decides a step for every enrollment of a cohort, once, with one reason. Hands nothing to anybody."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, select, text

from retention.delivery import choices, conditions, contact, coupons, exits
from retention.delivery.channels import BATCH_SIZES
from retention.journey.load import Version
from retention.journey.policy import Policy
from retention.store.queries import look_as_of, run
from retention.store.staging import analyze
from retention.store.tables import REDECIDABLE, cohorts

_ROOMY = {"work_mem": "128MB", "jit": "off"}
"""Room for a million people: more than that is sorted and joined by way of the disk."""

_OWN_ROWS = {"enable_nestloop": "off", "enable_mergejoin": "off"}
"""For statements that put nothing but the cohort's own rows together. Nobody has counted those yet, and whatever Postgres
takes their number to be, it must not go through one table once for every row of another."""

_SORTED = {"enable_hashagg": "off"}
"""For grouping a million numbers: they are sorted in half the time that a hash table takes, which outgrows the cache."""


@dataclass(frozen=True)
class Decided:
    """A count of equal decisions: `reason` is None for a send."""

    step: str
    channel: str
    decision: str
    reason: str | None
    count: int

    def as_dict(self) -> dict:
        return asdict(self)


def fetch_cohort(conn: Connection, cohort_id: int) -> Row:
    """The cohort's row. Raises NoResultFound for an id that isn't there."""
    return conn.execute(select(cohorts).where(cohorts.c.cohort_id == cohort_id)).one()


def is_stopped(conn: Connection, journey: str) -> bool:
    """Whether `retention stop` stands for this journey or for all."""
    return conn.scalar(
        text("select exists (select from stops where lifted_at is null and (journey is null or journey = :journey))"),
        {"journey": journey},
    )


def plan_step(
    conn: Connection,
    version: Version,
    cohort_id: int,
    step_id: str,
    *,
    policy: Policy,
    now: datetime,
    facts_at: datetime | None = None,
    is_stopped_by_file: bool = False,
    is_dry: bool = False,
    on_warning: Callable[[str], None] = lambda line: None,
) -> list[Decided]:
    """Decide one step of a cohort in the caller's transaction; the counts of all its decisions.

    Facts are those that had occurred and were recorded by the step's due moment (or `facts_at`: a dry run of the
    future sees only its beginning). `now` says what has expired and dates the rows. Calling it again adds nothing but
    new attempts for skips that may be decided again and come out differently. `is_dry`: all of it will be taken back, so no
    code of a pool is drawn meanwhile.
    """
    plan = _Plan(
        conn, version, cohort_id, step_id, policy, now, facts_at, is_stopped_by_file, on_warning, is_dry=is_dry
    )
    plan.decide("plan/find_people")
    return count_decisions(conn, cohort_id, step_id)


def plan_fallback(
    conn: Connection,
    version: Version,
    cohort_id: int,
    step_id: str,
    *,
    policy: Policy,
    now: datetime,
    facts_at: datetime | None = None,
    is_stopped_by_file: bool = False,
    on_warning: Callable[[str], None] = lambda line: None,
) -> list[Decided]:
    """Decide the step anew, on its other channels, for those whose message bounced; like plan_step. Who can't be reached
    on another channel keeps what was decided. Calling it again adds nothing."""
    plan = _Plan(conn, version, cohort_id, step_id, policy, now, facts_at, is_stopped_by_file, on_warning)
    plan.decide("plan/find_bounced", is_fallback=True)
    return count_decisions(conn, cohort_id, step_id)


def plan_repeat(
    conn: Connection,
    version: Version,
    cohort_id: int,
    step_id: str,
    *,
    fates: Sequence[str],
    policy: Policy,
    now: datetime,
    facts_at: datetime | None = None,
    is_stopped_by_file: bool = False,
    is_dry: bool = False,
    on_warning: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Decide the step anew for those of planned_fates who stand at one of `fates`, like plan_step: what comes of it is marked as a
    repeat and speaks of the same coupon. Who gets nothing now keeps what was decided before.

    Rows of reason (None: a message), is_twice (an earlier one has arrived, or may have), people. For the caps it is the same
    contact again: whoever asks for a second one knows that it is one."""
    plan = _Plan(
        conn, version, cohort_id, step_id, policy, now, facts_at, is_stopped_by_file, on_warning, is_dry=is_dry
    )
    plan.asked |= {"fates": list(fates)}
    return count_people(conn) if plan.decide("rerun/find_people", is_repeat=True) else []


def count_people(conn: Connection) -> list[Row]:
    """What the plan of this transaction has decided, in people: rows of reason, is_twice, people. Needs planned_fates."""
    return list(run(conn, "rerun/count_decisions"))


class _Plan:
    """One step of one cohort under way: what its statements are asked, and their order."""

    def __init__(
        self,
        conn: Connection,
        version: Version,
        cohort_id: int,
        step_id: str,
        policy: Policy,
        now: datetime,
        facts_at: datetime | None,
        is_stopped_by_file: bool,
        on_warning: Callable[[str], None],
        is_dry: bool = False,
    ):
        self.conn, self.policy, self.on_warning, self.is_dry = conn, policy, on_warning, is_dry
        cohort = fetch_cohort(conn, cohort_id)
        self.version = version
        self.journey = journey = version.journey
        self.step = step = journey.step(step_id)
        due_at, not_after = journey.due_at(step, cohort.cohort_at), journey.expires_at(step, cohort.cohort_at)
        conn.execute(
            text("select pg_advisory_xact_lock(hashtext(:key))"),
            {"key": f"retention.plan|{cohort.mode}|{journey.journey}"},
        )
        seen_at = facts_at or due_at
        look_as_of(conn, seen_at, zone=journey.timezone)
        local_now = now.astimezone(journey.zone)
        self.is_made_up = local_now.date() > due_at.astimezone(journey.zone).date()
        purpose = version.templates[step.send.template].purpose
        self.asked = {
            "cohort_id": cohort_id,
            "mode": cohort.mode,
            "journey": journey.journey,
            "step": step_id,
            "now": now,
            "due_at": due_at,
            "not_after": not_after,
            "seen_at": seen_at,
            "is_expired": step.zone == "journey" and now >= not_after,
            "is_stopped": is_stopped_by_file or is_stopped(conn, journey.journey),
            "is_retired": step.retired,
            "local_midnight": local_now.replace(hour=0, minute=0, second=0, microsecond=0),
            "redecidable": list(REDECIDABLE),
            "on_each": step.send.each,
            "purpose": purpose,
            "default_locale": journey.default_locale,
            "batch_sizes": json.dumps(BATCH_SIZES),
            "has_coupons": any(each.coupons for each in journey.steps),
            **exits.describe_exits(journey, purpose),
        }
        self.offers = coupons.describe_offers(journey, step, due_at)
        self.speaking = coupons.list_speaking(version, step)

    def decide(self, people: str, *, is_fallback: bool = False, is_repeat: bool = False) -> bool:
        """Decide for those whom the statement `people` finds, and write it down; whether there was anybody."""
        conn, asked = self.conn, self.asked | {"is_fallback": is_fallback, "is_repeat": is_repeat}
        with _set_for_now(conn, _ROOMY):
            first_entered_at, last_id = _find_people(conn, people, asked)
            if last_id is None:
                return False
            asked |= {"first_entered_at": first_entered_at, "last_id": last_id}
            self._judge(asked)
            with _set_for_now(conn, _OWN_ROWS), _set_for_now(conn, _SORTED):
                run(conn, "plan/refuse_duplicates", **asked)
            if self.is_made_up and not is_fallback:
                run(conn, "plan/cap_made_up", **asked)
            if self.journey.one_a_day:
                run(conn, "plan/keep_one_a_day", **asked)
            with _set_for_now(conn, _OWN_ROWS):
                is_claimed = contact.cap_contacts(conn, asked, self.policy, self.step)
                coupons.reserve(
                    conn, asked, self.offers, speaking=self.speaking, is_dry=self.is_dry, on_warning=self.on_warning
                )
                if self.step.send.each and (self.offers or self.speaking):
                    run(conn, "plan/promote_channels")
                if is_claimed:
                    contact.claim_contacts(conn, asked, self.step)
                run(conn, "plan/insert_messages", **asked)
        return True

    def _judge(self, asked: dict) -> None:
        """Who is reached, on which channel, within which hours."""
        conn, step = self.conn, self.step
        run(conn, "plan/make_decisions")
        has_condition = conditions.answer(conn, asked, step.only_if)
        has_exits = exits.find_left(conn, asked)
        choices.choose(conn, self.version, step)
        has_favourites = contact.find_favourites(conn, asked, self.policy, step)
        for place, channel in enumerate(step.send.order, start=1):
            run(
                conn, "plan/decide_step", **asked, place=place, channel=channel, has_favourites=has_favourites,
                has_condition=has_condition, has_exits=has_exits,
            )  # fmt: skip
            if asked["is_fallback"]:
                run(conn, "plan/leave_bounced", **asked)
            analyze(conn, "planned_decisions")
            contact.refuse_unlawful(conn, asked, self.policy, self.journey, channel)
        with _set_for_now(conn, _OWN_ROWS):
            if len(step.send.order) > 1:
                run(conn, "plan/choose_channel")
                if has_favourites:
                    run(conn, "plan/prefer_favourites")
        warned = contact.set_hours(conn, asked, self.policy, self.journey, step)
        if warned.people:
            self.on_warning(contact.write_warning(warned))


def _find_people(conn: Connection, people: str, asked: dict) -> tuple[datetime | None, int | None]:
    """Fill planned_people; when the first of them entered and the greatest of their numbers, None if there is nobody."""
    for table in ("attempts", "people", "decisions", "favourites", "coupons", "offers", "conditions", "values", "choices"):
        # A dry run plans several steps in one transaction.
        conn.execute(text(f"drop table if exists pg_temp.planned_{table}"))
    with _set_for_now(conn, _OWN_ROWS):
        run(conn, "plan/find_attempts", **asked)
        analyze(conn, "planned_attempts")
        run(conn, people, **asked)
    analyze(conn, "planned_people")
    return conn.execute(text("select min(entered_at), max(enrollment_id) from planned_people")).one()


@contextmanager
def _set_for_now(conn: Connection, wanted: dict[str, str]) -> Iterator[None]:
    """Settings of Postgres for a part of the transaction; then it goes on with those of before."""
    setting = text("select current_setting(:name), set_config(:name, :value, true)")
    before = {name: conn.execute(setting, {"name": name, "value": value}).one()[0] for name, value in wanted.items()}
    yield
    for name, value in before.items():
        conn.execute(setting, {"name": name, "value": value})


def count_decisions(conn: Connection, cohort_id: int, step_id: str | None = None) -> list[Decided]:
    """The decisions that stand, of one step or of all, as counts."""
    return [Decided(*row) for row in run(conn, "plan/count_decisions", cohort_id=cohort_id, step=step_id)]
