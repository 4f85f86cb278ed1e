"""Brings Airflow's own database to what is installed, creating it if it is missing, and makes a pool a channel.

Run as a program of its own, for importing Airflow takes seconds:

    python -m retention.orchestration.airflow_database

Safe to repeat, also after it was killed.
"""

from __future__ import annotations

from retention.journey.fields import CHANNELS
from retention.store.migrate import create_database


def list_pools() -> dict[str, str]:
    """Description by name. One a channel, so that a slow provider does not take all the workers."""
    return {
        f"retention_{channel}": f"deliveries by {channel}: its slots are how many run at once" for channel in CHANNELS
    }


def main() -> None:
    from airflow.configuration import conf
    from airflow.models.pool import Pool
    from airflow.utils.db import upgradedb

    create_database(conf.get("database", "sql_alchemy_conn"))
    upgradedb()
    for name, description in list_pools().items():
        # One that is there stays as its people have set it.
        if Pool.get_pool(name) is None:
            Pool.create_or_update_pool(name, conf.getint("core", "parallelism"), description, include_deferred=False)


if __name__ == "__main__":
    main()
