"""What a deployment does once before its parts start: both databases, the pools, the first login. Safe to repeat.

    python -m retention.orchestration.prepare

The service `init` of docker-compose.yaml. Reads `RETENTION_DATABASE_URL`, Airflow's own settings, and
`AIRFLOW_ADMIN_PASSWORD`: the password of the user `admin`, if Airflow's simple users are in use.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from retention.orchestration import airflow_database
from retention.orchestration.local_settings import USER, write_private
from retention.store.database import database_url
from retention.store.migrate import migrate


def main() -> None:
    migrate(database_url())
    airflow_database.main()
    path = os.environ.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE")
    password = os.environ.get("AIRFLOW_ADMIN_PASSWORD")
    if path and password:
        write_private(Path(path), json.dumps({USER: password}))
    print("both databases are ready")


if __name__ == "__main__":
    main()
