"""Holds no DAG. Raises all mistakes in journeys, templates and audiences, so that Airflow's banner shows them.

Airflow reads only files that speak of airflow and dag; an error here leaves the DAGs of other files alone.
"""

from pathlib import Path

from retention.errors import ConfigError
from retention.orchestration.dagbuild import find_problems

problems = find_problems(Path(__file__).resolve().parent.parent / "include")
if problems:
    raise ConfigError(problems)
