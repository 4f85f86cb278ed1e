"""The Airflow DAG maintenance: lets go of what was kept long enough. Never raises."""

from retention.orchestration.maintenance_dag import build_dag

if made := build_dag():
    dag = made
