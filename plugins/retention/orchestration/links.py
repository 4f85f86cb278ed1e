"""From a task to its cohort's numbers: a button on the task's page in the Airflow UI."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.configuration import conf
from airflow.sdk import BaseOperatorLink

NUMBERS_PAGE = "retention_numbers"
"""The page's route inside the Airflow UI, as plugin.py registers it."""


class NumbersLink(BaseOperatorLink):
    """Opens the page of the run's cohort."""

    name = "Numbers"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        base = (conf.get("api", "base_url", fallback="") or "").rstrip("/")
        return f"{base}/dags/{quote(ti_key.dag_id)}/runs/{quote(ti_key.run_id)}/plugin/{NUMBERS_PAGE}"
