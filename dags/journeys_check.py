"""Holds no DAG. Raises all mistakes in journeys, templates, audiences, the rules of contact, the law, mappings and
include/sync.yaml: Airflow's banner shows them.

Airflow reads only files that speak of airflow and dag; an error here leaves the DAGs of other files alone.
"""

from pathlib import Path

from retention.errors import ConfigError
from retention.orchestration import dagbuild, sync_dag

include = Path(__file__).resolve().parent.parent / "include"
problems = dagbuild.find_problems(include) + sync_dag.find_problems(include)
if problems:
    raise ConfigError(problems)
