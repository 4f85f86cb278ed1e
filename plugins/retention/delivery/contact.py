"""The rules of contact, applied to the decisions of a plan: what the law asks for, favourite channels, hours, turns, caps.

Works on the temporary tables of a plan (planned_decisions and its kin), in its transaction. Can only take people out, or
put their message off; decides nobody in. Transactional messages keep to the hours and are free of caps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from retention.delivery.hours import Window, find_opening, find_zone, start_of
from retention.journey.models import Journey, Step
from retention.journey.policy import Policy
from retention.store.queries import run
from retention.store.staging import analyze, is_empty

CAP_DAYS = {"day": 1, "week": 7, "month": 30}
"""How many days of the customer's own zone a cap looks at, in a row."""

RESPONSES_COUNT = timedelta(days=180)
"""How far back responses tell which channel somebody answers on, until preferences were worked out with their own rules."""


@dataclass(frozen=True)
class Warned:
    """Customers whose zone is none: they are written to by the journey's. A count, and the words that were no zone."""

    people: int
    zones: tuple[str, ...]


def find_favourites(conn: Connection, asked: dict, policy: Policy, step: Step) -> bool:
    """Fill planned_favourites; whether anybody has a favourite among the step's channels."""
    has_choice = not step.send.each and len(step.send.order) > 1
    run(
        conn, "plan/find_favourites",
        mode=asked["mode"], seen_at=asked["seen_at"], look_back_s=round(RESPONSES_COUNT.total_seconds()),
        choice=list(policy.choice) if has_choice else [], channels=list(step.send.order),
    )  # fmt: skip
    analyze(conn, "planned_favourites")
    return not is_empty(conn, "planned_favourites")


def refuse_unlawful(conn: Connection, asked: dict, policy: Policy, journey: Journey, channel: str) -> None:
    """Take out of planned_decisions who has not agreed to what the law, or the journey's topic, asks for on this channel."""
    places = run(conn, "plan/list_places", channel=channel).all()
    pairs = []
    for country in {place.country for place in places}:
        needed = policy.consents_needed(asked["purpose"], channel, country or None)
        if getattr(journey, "topic", None) and asked["purpose"] == "marketing":
            needed = (*needed, f"topic:{journey.topic}")
        pairs += [(country, subject) for subject in needed]
    if pairs:
        run(
            conn, "plan/refuse_unlawful", **asked, channel=channel, adult_age=policy.adult_age,
            countries=[country for country, _ in pairs], subjects=[subject for _, subject in pairs],
        )  # fmt: skip


def set_hours(conn: Connection, asked: dict, policy: Policy, journey: Journey, step: Step) -> Warned:
    """Fill planned_hours for all who may get a message; those whose hours begin too late are expired."""
    conn.execute(text("drop table if exists pg_temp.planned_hours"))
    run(conn, "plan/make_hours")
    waves: dict[str, dict[tuple, int]] = {}
    rows, people, unknown = [], 0, set()
    for place in run(conn, "plan/list_places", channel=None):
        zone = find_zone(place.zone)
        if zone is None and place.zone:
            people += place.people
            unknown.add(place.zone)
        window = _window(policy, place.channel, asked["purpose"], place.country or None)
        row = _reckon(asked, step, zone or journey.zone, window)
        # Those with the same hours go together; where there are none, one wave is enough for a moment, unless the last check
        # has to know whose day it is.
        own = row["batch_zone"] if window or journey.one_a_day else ""
        key = (row["not_before"], row["not_after"], row["opens"], row["closes"], own)
        wave = waves.setdefault(place.channel, {}).setdefault(key, len(waves[place.channel]))
        rows.append({**row, "channel": place.channel, "zone": place.zone, "country": place.country, "wave": wave})
    if rows:
        names = list(rows[0])
        into = f"insert into planned_hours ({', '.join(names)}) values ({', '.join(':' + name for name in names)})"
        conn.execute(text(into), rows)
    analyze(conn, "planned_hours")
    if any(row["not_before"] >= row["not_after"] for row in rows):
        run(conn, "plan/expire_late")
    return Warned(people, tuple(sorted(unknown)))


def cap_contacts(conn: Connection, asked: dict, policy: Policy, step: Step) -> bool:
    """Take out who has had enough, or has something of a higher priority to come that day. Whether the others' contacts are
    to be claimed.

    One plan at a time does this in a mode: what it counts stays true until it commits."""
    if asked["purpose"] != "marketing":
        return False
    journey, mode = asked["journey"], asked["mode"]
    caps = {cap.scope: cap for channel in step.send.order for cap in policy.caps(journey, channel)}
    if not caps:
        return False  # then these contacts count for no other journey's caps either
    conn.execute(text("select pg_advisory_xact_lock(hashtext(:key))"), {"key": f"retention.contacts|{mode}"})
    conn.execute(text("drop table if exists pg_temp.planned_contacts"))
    reach = max((CAP_DAYS[cap.period] for cap in caps.values()), default=1)
    run(conn, "plan/find_contacts", mode=mode, reach=reach)
    analyze(conn, "planned_contacts")
    higher = _list_higher(policy, journey)
    if higher and "all/day" in caps:
        run(
            conn,
            "plan/yield_turn",
            mode=mode,
            step=asked["step"],
            higher=higher,
            now=asked["now"],
            most=caps["all/day"].most,
        )
    if not is_empty(conn, "planned_contacts"):
        for cap in caps.values():
            whose = cap.scope.partition("/")[0]
            run(
                conn, "plan/cap_contacts", step=asked["step"],
                days=CAP_DAYS[cap.period], most=cap.most,
                journey=journey if whose.startswith("journey") else None,
                channel=whose if whose != "all" and not whose.startswith("journey") else None,
            )  # fmt: skip
        if step.send.each:
            run(conn, "plan/promote_channels")
    return True


def claim_contacts(conn: Connection, asked: dict, step: Step) -> None:
    """Claim the contacts of all who are still to get a message."""
    run(
        conn, "plan/claim_slots", mode=asked["mode"], journey=asked["journey"], step=asked["step"], on_each=step.send.each
    )  # fmt: skip


def _list_higher(policy: Policy, journey: str) -> list[str]:
    rank = policy.rank(journey)
    return [other for other in policy.priority if policy.rank(other) < rank]


def _window(policy: Policy, channel: str, purpose: str, country: str | None) -> Window | None:
    hours = policy.hours(channel, purpose, country)
    return Window(hours.opens, hours.closes) if hours else None


def _reckon(asked: dict, step: Step, zone: ZoneInfo, window: Window | None) -> dict:
    """From when and until when somebody in this zone may get the message, and on which of her days it counts."""
    due_at: datetime = asked["due_at"]
    own_at = due_at
    if step.zone == "customer":
        own_at = max(due_at, start_of(due_at.date(), time(due_at.hour, due_at.minute), zone))
    not_before = find_opening(own_at, zone, window)
    return {
        "not_before": not_before,
        "not_after": own_at.astimezone(UTC) + step.expires,
        # Hours may begin later than a plan that is late itself; what counts is the day on which it goes out.
        "day": max(not_before, asked["now"].astimezone(UTC)).astimezone(zone).date(),
        "batch_zone": zone.key,
        "opens": window.opens if window else None,
        "closes": window.closes if window else None,
    }


def write_warning(warned: Warned) -> str:
    """One line for whoever watches the plan."""
    zones: Sequence[str] = warned.zones[:3]
    return (
        f"{warned.people} people have a time zone that is none ({', '.join(zones)}{', ...' if len(warned.zones) > 3 else ''}): "
        "they are written to by the journey's. Put it right at its source, or in the mapping."
    )
