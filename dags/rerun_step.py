"""The Airflow DAG rerun_step: a step once more, from a form. Never raises: see journeys_check.py."""

from pathlib import Path

from retention.orchestration.rerun_dag import build_dag

if made := build_dag(Path(__file__).resolve().parent.parent / "include"):
    dag = made
