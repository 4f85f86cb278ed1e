"""A dry run: the real statements in one transaction that is rolled back. Nothing is written, sent or spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, text

from retention.audience.entry import Entered, enter_cohort
from retention.delivery.links import show_links
from retention.delivery.plan import Decided, count_decisions, plan_step
from retention.delivery.receipts import write_ids
from retention.delivery.render import Renderer
from retention.delivery.segments import count_segments
from retention.errors import RenderError
from retention.intake.data_holds import find_fit_moment, find_hold
from retention.journey.coupon import Coupon
from retention.journey.coupon_words import describe_coupon
from retention.journey.load import Version, load_version
from retention.journey.policy import Policy
from retention.orchestration.past_days import is_past_run
from retention.store.queries import look_as_of, run
from retention.store.versions import content_of_cohort

COUNTED_SMS = 2000
"""Up to so many SMS are rendered to count their segments; beyond, their mean is scaled up and said to be."""


@dataclass(frozen=True)
class DryRun:
    """What a cohort would do. `sms` and `coupons` are estimates by step; `groups`: who enters by audience and arm, where there are
    several; `examples` hold rendered texts, no address.

    `data_hold`: why none of it would happen now, where data are held."""

    journey: str
    cohort_at: datetime
    entered: Entered
    decided: list[Decided]
    due: dict[str, datetime]
    sms: dict
    coupons: list[dict]
    groups: dict[str, dict[str, int]]
    examples: list[dict]
    data_hold: str | None = None

    def as_dict(self) -> dict:
        """For --json: `journey, date, enrolled, holdout, steps: [{step, channel, decision, reason, count}]` and more."""
        return {
            "journey": self.journey,
            "date": self.cohort_at.date().isoformat(),
            "cohort_at": self.cohort_at.isoformat(),
            "mode": self.entered.mode,
            "is_joined": self.entered.is_joined,
            "would_be_held": self.entered.held,
            "data_hold": self.data_hold,
            "enrolled": self.entered.enrolled,
            "holdout": self.entered.holdout,
            "eligible": self.entered.eligible,
            "refused": self.entered.refused,
            "due": {step: moment.isoformat() for step, moment in self.due.items()},
            "steps": [d.as_dict() for d in self.decided],
            "sms": self.sms,
            "coupons": self.coupons,
            "groups": self.groups,
            "examples": self.examples,
        }


def dry_run(
    engine: Engine,
    version: Version,
    cohort_at: datetime,
    *,
    policy: Policy,
    now: datetime,
    mode: str | None = None,
    examples: int = 5,
) -> DryRun:
    """Enter and plan the cohort of `cohort_at` and take it all back.

    Every step is decided on the facts of `cohort_at`, as if nothing happened in between and every message arrived.
    A cohort that is there already is shown with the decisions it has. Raises AudienceError.
    """
    with engine.connect() as conn:
        try:
            journey = version.journey
            is_early = cohort_at.astimezone(journey.zone).date() < journey.starts_on
            how = {
                "mode": "test" if is_early else mode,
                "is_past": is_past_run(journey, "manual", cohort_at, now),
                "now": max(now, cohort_at),
                "known_at": find_fit_moment(conn, cohort_at),
            }
            entered = enter_cohort(conn, version, cohort_at, **how)
            if entered.held:
                held = entered.held
                entered = enter_cohort(conn, version, cohort_at, **how, is_size_approved=True)
                entered = Entered(**{**entered.as_dict(), "held": held})
            if entered.is_joined:
                version = load_version(content_of_cohort(conn, entered.cohort_id))
            due = {step.id: version.journey.due_at(step, cohort_at) for step in version.journey.steps}
            for step_id, moment in due.items():
                plan_step(
                    conn,
                    version,
                    entered.cohort_id,
                    step_id,
                    policy=policy,
                    now=moment,
                    facts_at=cohort_at,
                    is_stopped_by_file=version.journey.status == "stopped",
                    is_dry=True,
                )
                _pretend_it_arrived(conn, entered.cohort_id, step_id)
            look_as_of(conn, cohort_at, zone=version.journey.timezone)
            return DryRun(
                journey=version.journey.journey,
                cohort_at=cohort_at.astimezone(version.journey.zone),
                entered=entered,
                decided=count_decisions(conn, entered.cohort_id),
                due={step_id: moment.astimezone(version.journey.zone) for step_id, moment in due.items()},
                sms=_estimate_sms(conn, version, entered.cohort_id),
                coupons=_estimate_coupons(conn, version, entered.cohort_id),
                groups=_count_groups(conn, version, entered.cohort_id),
                examples=_write_examples(conn, version, entered.cohort_id, examples),
                data_hold=find_hold(conn),
            )
        finally:
            conn.rollback()


def _pretend_it_arrived(conn: Connection, cohort_id: int, step_id: str) -> None:
    conn.execute(
        text(
            "update coupons k set state = 'issued' from messages m where m.coupon_id = k.coupon_id"
            " and m.cohort_id = :cohort_id and m.step = :step and m.step = k.step and k.state = 'reserved'"
        ),
        {"cohort_id": cohort_id, "step": step_id},
    )


def _write(conn: Connection, version: Version, cohort_id: int, channel: str | None, most: int) -> list[dict]:
    picked = run(conn, "plan/pick_examples", cohort_id=cohort_id, channel=channel, most=most).all()
    step_of = {row.message_id: row.step for row in picked}
    renderers = {step_id: Renderer(version, step_id, links=show_links()) for step_id in set(step_of.values())}
    batches = write_ids({row.batch_id for row in picked})
    letters = run(conn, "deliver/load_letters", ids=write_ids(step_of), batch_ids=batches)
    rows = {row.message_id: row for row in letters}
    written = []
    for message_id, step_id in step_of.items():
        row = rows[message_id]
        shown = {"step": step_id, "channel": row.channel, "customer": row.customer_id, "locale": row.locale}
        try:
            letter = renderers[step_id].write(row, mode="test")
            written.append({**shown, "subject": letter.subject, "text": letter.text})
        except RenderError as error:
            written.append({**shown, "subject": None, "text": "", "error": str(error)})
    return written


def _write_examples(conn: Connection, version: Version, cohort_id: int, most: int) -> list[dict]:
    return _write(conn, version, cohort_id, None, most)


def _estimate_sms(conn: Connection, version: Version, cohort_id: int) -> dict:
    messages = conn.scalar(
        text("select count(*) from messages where cohort_id = :c and decision = 'send' and channel = 'sms'"),
        {"c": cohort_id},
    )
    written = _write(conn, version, cohort_id, "sms", COUNTED_SMS)
    counted = sum(count_segments(letter["text"])[1] for letter in written)
    is_estimate = messages > len(written)
    segments = round(counted * messages / len(written)) if written else 0
    return {"messages": messages, "segments": segments, "is_estimate": is_estimate}


def _estimate_coupons(conn: Connection, version: Version, cohort_id: int) -> list[dict]:
    """Per step with a coupon: how many, and what they cost if every one is redeemed on an average order."""
    averages = run(conn, "insight/average_order", cohort_id=cohort_id).all()
    found = []
    for step in version.journey.steps:
        given = step.coupons
        if not given:
            continue
        counts = _count_terms(conn, cohort_id, step.id, given)
        count = sum(counts)
        cost = None
        if averages and all(it.kind == "percent_off" for it in given):
            most = max(float(it.value) for it in given)
            cost = {
                "currency": averages[0].currency,
                "average_order": float(averages[0].average),
                "at_most": round(float(averages[0].average) * most / 100 * count, 2),
            }
        elif len(given) == 1 and given[0].currency and given[0].value is not None:
            cost = {"currency": given[0].currency, "at_most": round(float(given[0].value) * count, 2)}
        first = given[0]
        found.append(
            {
                "step": step.id,
                "kind": first.kind,
                "value": float(first.value) if first.value is not None else None,
                "title": " / ".join(describe_coupon(it) for it in given),
                "count": count,
                "parts": [{"title": describe_coupon(it), "count": n} for it, n in zip(given, counts, strict=True)],
                "cost": cost,
            }
        )
    return found


def _count_terms(conn: Connection, cohort_id: int, step_id: str, given: Sequence[Coupon]) -> list[int]:
    """How many of a step's coupons have each of these terms."""
    found = conn.execute(
        text(
            "select k.kind, k.value, k.minimum, k.gift, count(*)::int as coupons from coupons k join enrollments e using (enrollment_id)"
            " where e.cohort_id = :c and k.step = :step and k.state in ('reserved', 'issued', 'redeemed') group by 1, 2, 3, 4"
        ),
        {"c": cohort_id, "step": step_id},
    ).all()
    return [
        sum(it.coupons for it in found if (it.kind, it.value, it.minimum, it.gift) == (c.kind, c.value, c.minimum, c.gift))
        for c in given
    ]


def _count_groups(conn: Connection, version: Version, cohort_id: int) -> dict[str, dict[str, int]]:
    """How many entered by audience and in which arm, where the journey has several."""
    several = {"audience": len(version.journey.audience) > 1, "arm": version.journey.variants is not None}
    found: dict[str, dict[str, int]] = {}
    for name in [it for it, has_several in several.items() if has_several]:
        rows = conn.execute(
            text(f"select {name}, count(*)::int from enrollments where cohort_id = :c group by 1 order by 1"), {"c": cohort_id}
        )
        found[name] = dict(map(tuple, rows))
    return found
