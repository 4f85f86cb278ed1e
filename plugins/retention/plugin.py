"""What shows up in the Airflow UI: the journeys' timetable, and the pages of `retention.web`."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from retention.orchestration.timetable import JourneyTimetable

PREFIX = "/retention"


class Pages:
    """The pages as an ASGI app that is built at its first request.

    Every task and the scheduler load this file; only the api-server should pay for FastAPI, templates and the login.
    """

    @cached_property
    def _app(self) -> Any:
        from retention.web.app import build_app
        from retention.web.auth import AIRFLOW

        return build_app(AIRFLOW)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


class RetentionPlugin(AirflowPlugin):
    """Registered by Airflow because it lies in the plugins folder."""

    name = "retention"
    timetables = [JourneyTimetable]
    fastapi_apps = [{"name": "retention", "app": Pages(), "url_prefix": PREFIX}]
    external_views = [
        {
            "name": "Retention",
            "href": f"{PREFIX}/",
            "destination": "nav",
            "url_route": "retention",
            "nav_top_level": True,
        },
        {
            "name": "Data",
            "href": f"{PREFIX}/data",
            "destination": "nav",
            "url_route": "retention_data",
            "nav_top_level": True,
        },
        {
            "name": "Segments",
            "href": f"{PREFIX}/segments",
            "destination": "nav",
            "url_route": "retention_segments",
            "nav_top_level": True,
        },
        {
            "name": "Cohorts",
            "href": f"{PREFIX}/journeys/{{DAG_ID}}",
            "destination": "dag",
            "url_route": "retention_cohorts",
        },
        {
            "name": "Numbers",
            "href": f"{PREFIX}/journeys/{{DAG_ID}}/runs/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "retention_numbers",
        },
    ]
