"""One Airflow DAG for each journey in include/journeys. Never raises: see journeys_check.py for what is wrong."""

from pathlib import Path

from retention.orchestration.dagbuild import build_dags

globals().update(build_dags(Path(__file__).resolve().parent.parent / "include"))
