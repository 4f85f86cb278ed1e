"""Runs for days gone by: a backfill, or a run that somebody triggers for a past moment. In which mode their cohort enters.

What the scheduler makes up after an outage is none of these (docs/decisions/0006): those days were promised.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from retention.errors import ConfigError, Problem
from retention.journey.firing import next_moment
from retention.journey.models import Journey

LIVE = "live, for past dates too"
"""The words by which a run says that it means it."""


def is_past_run(journey: Journey, run_type: str, cohort_at: datetime, now: datetime) -> bool:
    """Whether a run is for a day gone by: every backfill; and one by hand, when a later cohort has been due since."""
    if run_type == "backfill":
        return True
    return run_type == "manual" and next_moment(journey, cohort_at) <= now


def read_mode(params: Mapping[str, Any], run_type: str) -> str | None:
    """The mode a run asks for: live, test or None (as the journey says, and for a day gone by, test).

    A backfill may carry on the run of a live cohort: asked for a test, it still joins the cohort that is there. Raises
    ConfigError for who wants to be live and to pretend to be on time.
    """
    mode, is_on_time = params.get("mode"), bool(params.get("on_time"))
    if mode == LIVE:
        if is_on_time:
            raise ConfigError(
                [
                    Problem(
                        "param on_time", 0, "only a test may pretend to be on time.", f'Leave it, or the mode "{LIVE}".'
                    )
                ]
            )
        return "live"
    if run_type == "backfill":
        return None
    return "test" if is_on_time else mode
