"""A step's conditions, answered for a whole cohort at once: each is one statement, any and none join their answers.

Asked as of the step's due moment (the views of as_of look there); whom a step is sent to is what plan.py makes of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import count
from typing import Any

from sqlalchemy import Connection

from retention.journey.conditions import OUTCOMES, Condition, Since
from retention.store.queries import run
from retention.store.staging import analyze

ROOT = 0
"""The node of planned_conditions that tells for whom all of a step's conditions hold."""


def answer(conn: Connection, asked: dict[str, Any], conditions: tuple[Condition, ...] | None) -> bool:
    """Fill planned_conditions for planned_people; whether there are conditions at all."""
    run(conn, "condition/make")
    if not conditions:
        return False
    numbers = count(ROOT + 1)
    parts = [_answer(conn, asked, each, numbers) for each in conditions]
    run(conn, "condition/all_of", node=ROOT, parts=parts, count=len(parts))
    analyze(conn, "planned_conditions")
    return True


def _answer(conn: Connection, asked: dict[str, Any], condition: Condition, numbers: Iterator[int]) -> int:
    """Answer one condition; its node."""
    node = next(numbers)
    for joined, name in (("any", "condition/any_of"), ("none", "condition/none_of")):
        if parts := getattr(condition, joined):
            run(conn, name, node=node, parts=[_answer(conn, asked, each, numbers) for each in parts])
            return node
    name, about = _ask(condition, asked)
    run(conn, name, node=node, **about)
    return node


def _ask(condition: Condition, asked: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The statement for a condition, and what it is told."""
    seen_at = asked["seen_at"]
    key = condition.key
    if key in OUTCOMES:
        about = {"of_step": getattr(condition, key), "kinds": list(OUTCOMES[key]), "seen_at": seen_at}
        return "condition/outcome", about
    if key == "sent":
        return "condition/sent", {"of_step": condition.sent, "seen_at": seen_at}
    if key == "coupon":
        if condition.coupon == "used":
            return "condition/coupon_used", {}
        return "condition/coupon_unused", {"due_at": asked["due_at"], "seen_at": seen_at}
    if key == "ordered":
        return "condition/ordered", _look_back(condition.ordered, seen_at)
    if condition.bought:
        about = {"categories": list(condition.bought.category)}
        return "condition/bought", about | _look_back(condition.bought.when, seen_at)
    if condition.event:
        return "condition/event", {"kinds": list(condition.event.kind)} | _look_back(condition.event.when, seen_at)
    if condition.tier:
        return "condition/tier", {"scheme": condition.scheme, "tiers": list(condition.tier)}
    if condition.churn:
        return "condition/churn", {"states": list(condition.churn)}
    if condition.stratum:
        return "condition/stratum", {"strata": list(condition.stratum)}
    if condition.value:
        return "condition/value", {"least": condition.value.min, "most": condition.value.max}
    if condition.attribute:
        name, values = condition.attribute
        return "condition/trait", {"trait": f"attributes.{name}", "values": list(values)}
    return "condition/trait", {"trait": key, "values": list(getattr(condition, key))}


def _look_back(since: Since | None, seen_at: datetime) -> dict[str, Any]:
    if since is None or since.is_entry:
        return {"since_entry": True, "since": None}
    # Before all that can be known, where it may be ever.
    start = seen_at - since.within if since.within else datetime(1900, 1, 1, tzinfo=seen_at.tzinfo)
    return {"since_entry": False, "since": start}


__all__ = ["answer"]
