"""The Airflow DAG scoring: works scores out every day. Never raises: see journeys_check.py."""

from pathlib import Path

from retention.orchestration.scoring_dag import build_dag

if made := build_dag(Path(__file__).resolve().parent.parent / "include"):
    dag = made
