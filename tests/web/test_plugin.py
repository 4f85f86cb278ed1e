"""The pages as Airflow gets them: behind its real login, and loaded only by who shows them."""

import os
import subprocess
import sys

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from retention.store.database import ROOT

pytestmark = pytest.mark.airflow

PATHS = ["/", "/data", "/segments", "/journeys/j", "/journeys/j/runs/r", "/journeys/j/cohorts/1", "/journeys/j/cohorts/1/messages/1"]


@pytest.fixture
def pages(engine):
    from retention.web.app import build_app
    from retention.web.auth import AIRFLOW

    return TestClient(build_app(AIRFLOW, engine=lambda: engine))


@pytest.mark.parametrize("path", PATHS)
def test_airflows_login_guards_every_page(pages, path):
    assert pages.get(path).status_code == 401


def test_airflows_rights_count_for_each_journey(pages, monkeypatch):
    """With somebody logged in: what Airflow's own dependency asks, and that the answer counts."""
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.core_api import security
    from airflow.models.dag import DagModel

    from retention.web import auth

    asked = []

    class Rights:
        def is_authorized_dag(self, *, method, access_entity, details, user):
            asked.append((method, access_entity, details.id, user))
            return details.id == "mine"

        def get_authorized_dag_ids(self, *, user, method):
            return {"mine"}

    monkeypatch.setattr(security, "get_auth_manager", Rights)
    monkeypatch.setattr(auth, "get_auth_manager", Rights)
    monkeypatch.setattr(DagModel, "get_team_name", lambda dag_id: None)
    pages.app.dependency_overrides[security.get_user] = lambda: "ada"
    assert pages.get("/").status_code == 200
    assert pages.get("/journeys/theirs/cohorts/1").status_code == 403
    assert pages.get("/journeys/mine/cohorts/1").status_code == 404
    assert asked == [("GET", DagAccessEntity.RUN, dag_id, "ada") for dag_id in ("theirs", "mine")]


def test_the_mounted_plugin_answers():
    from retention.plugin import PREFIX, Pages

    outer = FastAPI()
    outer.mount(PREFIX, Pages())
    assert TestClient(outer).get(f"{PREFIX}/").status_code == 401


def test_the_plugin_is_light_until_a_page_is_asked_for():
    code = """
import sys
from retention.plugin import PREFIX, RetentionPlugin as it
assert not [name for name in sys.modules if name.startswith("retention.web")], "every task would load the pages"
assert it.timetables
assert [app["url_prefix"] for app in it.fastapi_apps] == [PREFIX]
assert all(view["href"].startswith(PREFIX + "/") for view in it.external_views)
assert {view["destination"] for view in it.external_views} == {"nav", "dag", "dag_run"}
assert len({view["url_route"] for view in it.external_views}) == 5
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, env=environment)
