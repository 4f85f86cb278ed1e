"""The Airflow DAG reconcile: settles messages whose answer was lost. Never raises."""

from retention.orchestration.reconcile_dag import build_dag

if made := build_dag():
    dag = made
