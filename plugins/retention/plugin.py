"""What shows up in the Airflow UI: the journeys' timetable, and the pages of `retention.web`."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from retention.orchestration.timetable import JourneyTimetable


class RetentionPlugin(AirflowPlugin):
    """Registered by Airflow because it lies in the plugins folder."""

    name = "retention"
    timetables = [JourneyTimetable]
