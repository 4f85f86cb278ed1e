"""The few questions the launcher asks the local Airflow over its REST API. Loopback only, past any proxy."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from retention.errors import ApiRefused, NoAnswer

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class LocalAirflow:
    """A client of one Airflow, logged in with a name and a password on first need."""

    def __init__(self, address: str, user: str, password: str):
        self._address, self._login = address, {"username": user, "password": password}
        self._token: str | None = None

    def fetch_health(self) -> dict[str, str]:
        """Status by part (metadatabase, scheduler, triggerer, dag_processor): "healthy", "unhealthy" or "unknown"."""
        answer = self._ask("GET", "/api/v2/monitor/health", needs_login=False)
        return {part: (state or {}).get("status") or "unknown" for part, state in answer.items()}

    def list_dags(self) -> dict[str, dict]:
        """The DAGs by id, as Airflow describes them."""
        return {dag["dag_id"]: dag for dag in self._ask("GET", "/api/v2/dags?limit=100&exclude_stale=true")["dags"]}

    def list_import_errors(self) -> list[dict]:
        return self._ask("GET", "/api/v2/importErrors?limit=100")["import_errors"]

    def find_run(self, dag_id: str, run_id: str) -> dict | None:
        try:
            return self._ask("GET", f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}")
        except ApiRefused as refusal:
            if refusal.status == 404:
                return None
            raise

    def start_run(self, dag_id: str, run_id: str, logical_at: datetime, conf: dict) -> None:
        """Start a run. Tasks of earlier logical dates go first; where another run has this date, ours has none."""
        path = f"/api/v2/dags/{quote(dag_id)}/dagRuns"
        body = {"dag_run_id": run_id, "conf": conf}
        try:
            self._ask("POST", path, body | {"logical_date": logical_at.isoformat()})
        except ApiRefused as refusal:
            if refusal.status != 409:
                raise
            self._ask("POST", path, body | {"logical_date": None})

    def count_tasks(self, dag_id: str, run_id: str) -> tuple[int, int]:
        """How many of a run's task instances are over, and how many there are so far."""
        path = f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances?limit=200"
        states = [task["state"] for task in self._ask("GET", path)["task_instances"]]
        over = {"success", "failed", "skipped", "upstream_failed", "removed"}
        return sum(state in over for state in states), len(states)

    def _ask(self, method: str, path: str, body: dict | None = None, *, needs_login: bool = True) -> Any:
        if needs_login and self._token is None:
            self._token = self._send("POST", "/auth/token", self._login)["access_token"]
        try:
            return self._send(method, path, body)
        except ApiRefused as refusal:
            if refusal.status != 401 or not needs_login:
                raise
            self._token = self._send("POST", "/auth/token", self._login)["access_token"]
            return self._send(method, path, body)

    def _send(self, method: str, path: str, body: dict | None) -> Any:
        headers = {"Accept": "application/json"}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self._address + path, data=data, headers=headers, method=method)
        try:
            with _direct.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                raise NoAnswer(f"Airflow: {method} {path} ended in an error of its own ({error.code}).") from None
            raise ApiRefused(f"{method} {path}", error.code, error.read(500).decode(errors="replace")) from None
        except (OSError, HTTPException, ValueError) as error:
            raise NoAnswer(f"Airflow: {self._address} does not answer ({error}). Is it running?") from None
