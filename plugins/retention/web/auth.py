"""Who may look: Airflow's login, and its rights per DAG. The only module of `web` that knows Airflow."""

from __future__ import annotations

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag

from retention.web.app import Guards


def list_readable(user: GetUserDep) -> set[str]:
    """The journeys whose DAG this user may read."""
    return get_auth_manager().get_authorized_dag_ids(user=user, method="GET")


AIRFLOW = Guards(login=get_user, journey=requires_access_dag("GET", DagAccessEntity.RUN), list_readable=list_readable)
"""A journey's pages take its id from the path parameter `dag_id`, where Airflow looks for it."""
