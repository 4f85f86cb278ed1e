"""When Airflow makes a journey's runs: at its cron moments; missed ones are made up, but not the years before it ran."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk.timezone import coerce_datetime, utcnow
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.trigger import CronTriggerTimetable


class JourneyTimetable(CronTriggerTimetable):
    """Cron in the journey's zone. The very first run looks back no further than `look_back` (docs/decisions/0006)."""

    def __init__(self, cron: str, *, timezone: Any, look_back: timedelta):
        super().__init__(cron, timezone=timezone)
        self._look_back = look_back

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        # A backfill names its last day, the scheduler none: who asks for a past day gets it.
        is_first = last_automated_data_interval is None and restriction.latest is None
        if is_first and restriction.earliest is not None:
            earliest = max(restriction.earliest, coerce_datetime(utcnow() - self._look_back))
            restriction = TimeRestriction(earliest, restriction.latest, restriction.catchup)
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )

    def serialize(self) -> dict[str, Any]:
        return {**super().serialize(), "look_back_s": self._look_back.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> JourneyTimetable:
        plain = CronTriggerTimetable.deserialize(data)
        return cls(plain._expression, timezone=plain._timezone, look_back=timedelta(seconds=data["look_back_s"]))
