"""Who has left a journey before its last step: asked with the plan as of the step's moment, and again just before sending."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from retention.journey.models import Journey
from retention.store.queries import run
from retention.store.staging import analyze

NODE = -1
"""The node of planned_conditions that tells who has left; decide_step.sql knows it."""


def describe_exits(journey: Journey, purpose: str) -> dict[str, Any]:
    """What ends the journey for steps of a purpose, as the statements take it."""
    ending = [each for each in journey.exit_when if each.ends_all or purpose == "marketing"]
    words = {each.what for each in ending}
    goal = journey.goal
    return {
        "exit_unsubscribed": "unsubscribed" in words,
        "exit_goal_met": "goal_met" in words and goal is not None,
        "goal_event": goal.event if goal else "",
        "goal_within_s": goal.within.total_seconds() if goal else 0,
        "exit_ordered": "ordered" in words,
        "exit_refunded": "refunded" in words,
        "exit_complained": "complained" in words,
        "exit_kinds": sorted({kind for each in ending for kind in each.kinds}),
    }


def find_left(conn: Connection, asked: dict[str, Any]) -> bool:
    """Note in planned_conditions who has left by an order, a refund, a complaint or an event; whether the journey asks."""
    if asked["exit_ordered"]:
        run(conn, "condition/ordered", node=NODE, since_entry=True, since=None)
    if asked["exit_refunded"]:
        run(conn, "condition/refunded", node=NODE, first_entered_at=asked["first_entered_at"])
    if asked["exit_complained"]:
        run(conn, "condition/complained", node=NODE)
    if asked["exit_kinds"]:
        run(conn, "condition/event", node=NODE, kinds=asked["exit_kinds"], since_entry=True, since=None)
    is_asked = bool(asked["exit_kinds"]) or any(asked[f"exit_{it}"] for it in ("ordered", "refunded", "complained"))
    if is_asked:
        analyze(conn, "planned_conditions")
    return is_asked


__all__ = ["describe_exits", "find_left"]
