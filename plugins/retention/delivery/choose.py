"""Who carries a message: the provider of the channel's account, or the outbox. The default reaches nobody."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine, select

from retention.delivery.accounts import Account, conn_id_of
from retention.delivery.channels import PROVIDERS, HttpProvider, OutboxProvider, Provider
from retention.delivery.channels.base import Ours
from retention.delivery.tokens import read_signer
from retention.errors import ConfigError, Problem
from retention.store.tables import provider_accounts

FindAccount = Callable[[str], Account | None]
"""The account of a channel, or None: Airflow's Connections, or the environment alone."""


def choose_provider(
    engine: Engine, channel: str, *, mode: str, find_account: FindAccount, clock: Callable[[], datetime]
) -> Provider:
    """The provider for one channel's messages of a cohort; `close` it.

    Test cohorts always go to the outbox, live ones where the channel has no account. Raises ConfigError when the account
    can't be used, or is gone though it carried messages before: then they are not put into the outbox in silence.
    """
    if mode != "live":
        return OutboxProvider(engine, clock)
    account = find_account(channel)
    if account is not None and account.provider == "outbox":
        return OutboxProvider(engine, clock)
    if account is not None:
        return open_provider(channel, account, clock)
    with engine.connect() as conn:
        used = conn.scalar(select(provider_accounts.c.account).where(provider_accounts.c.channel == channel).limit(1))
    if used:
        remedy = (
            f'Bring it back, or say that nobody is to be reached: a Connection {conn_id_of(channel)} of type "outbox".'
        )
        raise ConfigError([Problem(f"Connection {conn_id_of(channel)}", 0, f"is gone; {used} used it.", remedy)])
    return OutboxProvider(engine, clock)


def open_provider(channel: str, account: Account, clock: Callable[[], datetime]) -> HttpProvider:
    """The provider of an account; `clock` tells the present, for requests that bear it.

    Raises ConfigError for a type that does not carry the channel, and for bad fields."""
    known = PROVIDERS[channel]
    if account.provider not in known:
        what = f'has the type "{account.provider}", which does not carry {channel}.'
        raise ConfigError([Problem(f"Connection {account.conn_id}", 0, what, f"Types: {', '.join(known)}, outbox.")])
    return known[account.provider](account, Ours(read_signer(), read_public_url(), clock))


def read_public_url() -> str:
    """Where customers and providers reach us: RETENTION_PUBLIC_URL. Raises ConfigError."""
    url = os.environ.get("RETENTION_PUBLIC_URL", "").rstrip("/")
    is_here = url.startswith(("http://127.0.0.1", "http://localhost"))
    if not url.startswith("https://") and not is_here:
        what = "is no https address." if url else "is not set."
        remedy = "It is where links in messages lead and providers report to: https://hello.shop.example.com."
        raise ConfigError([Problem("RETENTION_PUBLIC_URL", 0, what, remedy)])
    return url
