"""Airflow's Connections as accounts: where providers' secrets live."""

from __future__ import annotations

from typing import Any

from retention.delivery.accounts import Account, conn_id_of, make_account


def find_account(channel: str) -> Account | None:
    """The account of a channel, from the Connection `retention_<channel>` wherever Airflow keeps it; None without one."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return read_connection(BaseHook.get_connection(conn_id_of(channel)), conn_id_of(channel))
    except AirflowNotFoundException:
        return None


def read_connection(connection: Any, conn_id: str) -> Account:
    """The account in a Connection of Airflow's; `conn_id` is the name that messages about it use."""
    return make_account(
        conn_id,
        conn_type=connection.conn_type,
        host=connection.host,
        login=connection.login,
        password=connection.password,
        schema=connection.schema,
        port=connection.port,
        extra=connection.extra_dejson,
    )
