"""Whose events are believed: the keys of SendGrid, Twilio and the shop, from AIRFLOW_CONN_* and the environment.

Keys never leave here but for the check of a signature; a complaint names the setting.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from retention.delivery.accounts import Account, conn_id_of, read_account
from retention.delivery.events.signatures import load_public_key
from retention.errors import ConfigError, Problem

_ENOUGH = 32

SETTINGS = {
    "sendgrid": 'the extra "event_public_key" of AIRFLOW_CONN_RETENTION_EMAIL',
    "twilio": 'the password (auth token), or the extra "auth_token", of AIRFLOW_CONN_RETENTION_SMS or '
    "AIRFLOW_CONN_RETENTION_WHATSAPP",
    "twilio_url": "RETENTION_PUBLIC_URL",
    "twilio_token": "RETENTION_SIGNING_KEY",
    "shop": "RETENTION_SHOP_SECRET",
}
"""What a source needs, as a log line may say it."""


@dataclass(frozen=True)
class Sources:
    """What signatures are held against; empty where a source is not set up. Several: one of them will do."""

    sendgrid: tuple[EllipticCurvePublicKey, ...] = field(default=(), repr=False)
    twilio: tuple[str, ...] = field(default=(), repr=False)
    shop: tuple[bytes, ...] = field(default=(), repr=False)


def read_sources() -> Sources:
    """From this process' environment. Raises ConfigError for a key that is none."""
    return Sources(_read_sendgrid(), _read_twilio(), _read_shop())


def _read_sendgrid() -> tuple[EllipticCurvePublicKey, ...]:
    account = read_account("email")
    if account is None:
        return ()
    try:
        return tuple(load_public_key(text) for text in _read_list(account, "event_public_key"))
    except ValueError:
        where, what = f"Connection {conn_id_of('email')}", 'extra "event_public_key" holds what is no public key.'
        remedy = "Copy the verification key from SendGrid: Settings, Mail Settings, Event Webhooks."
        raise ConfigError([Problem(where, 0, what, remedy)]) from None


def _read_twilio() -> tuple[str, ...]:
    """Twilio signs with the account's auth token, never with an API key's secret."""
    tokens: list[str] = []
    for channel in ("sms", "whatsapp"):
        account = read_account(channel)
        if account is None or account.provider != "twilio":
            continue
        tokens += _read_list(account, "auth_token")
        if account.login.startswith("AC") and account.password:
            tokens.append(account.password)
    return tuple(dict.fromkeys(tokens))


def _read_shop() -> tuple[bytes, ...]:
    secrets = _split(os.environ.get("RETENTION_SHOP_SECRET", ""))
    if secrets and min(map(len, secrets)) < _ENOUGH:
        what, remedy = f"is shorter than {_ENOUGH} characters.", "Make one with: openssl rand -hex 32"
        raise ConfigError([Problem("RETENTION_SHOP_SECRET", 0, what, remedy)])
    return tuple(secret.encode() for secret in secrets)


def _read_list(account: Account, key: str) -> list[str]:
    given = account.extra.get(key) or []
    return _split(given) if isinstance(given, str) else [str(it) for it in given]


def _split(text: str) -> list[str]:
    return [it.strip() for it in text.split(",") if it.strip()]
