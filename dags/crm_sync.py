"""The Airflow DAG crm_sync of include/sync.yaml; none without sources. Never raises: see journeys_check.py."""

from pathlib import Path

from retention.orchestration.sync_dag import build_dag

if made := build_dag(Path(__file__).resolve().parent.parent / "include"):
    dag = made
