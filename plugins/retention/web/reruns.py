"""The page of a run of the DAG rerun_step: who asked for what and why, how many, and what became of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine

from retention.journey.load import load_version
from retention.orchestration.rerun_words import WHO, say_fates
from retention.store.queries import run
from retention.store.versions import content_of_cohort
from retention.web import words
from retention.web.views import snapshot


def view_rerun(engine: Engine, key: str) -> dict[str, Any] | None:
    """What the run `key` counted and did, from the audit log; None before it has counted."""
    with snapshot(engine) as conn:
        entries = run(conn, "rerun/list_entries", key=key).all()
        counted = [it for it in entries if it.action == "rerun_counted"]
        done = [it for it in entries if it.action == "rerun"]
        told = done or counted
        if not told:
            return None
        rejected = next((it for it in entries if it.action == "rerun_rejected"), None)
        journey = _read_journey(conn, told[0].cohort_id)
        fates = run(conn, "rerun/count_made", key=key).all() if done else []
    about = told[0].detail
    rows = [
        {
            "cohort_id": it.cohort_id,
            "moment": f"{it.cohort_at.astimezone(journey.zone):%Y-%m-%d %H:%M}",
            "mode": it.mode,
            "sends": it.detail["sends"],
            "twice": it.detail["twice"],
            "held_back": [
                (reason, words.SKIPS.get(reason, ""), count) for reason, count in sorted(it.detail["held_back"].items())
            ],
            "note": it.detail.get("note"),
            "before": say_fates(it.detail["fates"]),
        }
        for it in told
    ]
    return {
        "journey": journey,
        "step": about["step"],
        "who": about["who"].replace("_", " "),
        "who_means": WHO.get(about["who"], ""),
        "reason": about["reason"],
        "actor": told[0].actor,
        "approved_by": about.get("approved_by"),
        "rejected_by": rejected.actor if rejected else None,
        "is_done": bool(done),
        "at": f"{told[0].at.astimezone(journey.zone):%Y-%m-%d %H:%M}",
        "rows": rows,
        "sends": sum(it["sends"] for it in rows),
        "twice": sum(it["twice"] for it in rows),
        "fates": [(it.fate, it.messages) for it in fates],
    }


def _read_journey(conn: Connection, cohort_id: int) -> Any:
    return load_version(content_of_cohort(conn, cohort_id)).journey
