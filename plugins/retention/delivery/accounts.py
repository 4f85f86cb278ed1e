"""Accounts with providers, as Airflow Connections describe them. Reads `AIRFLOW_CONN_*` without Airflow; sends nothing.

A channel's account is the Connection `retention_<channel>`, its type the provider. Without it the outbox carries the
channel. Secrets live there alone.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from retention.errors import ConfigError, Problem


@dataclass(frozen=True)
class Account:
    """One Connection: `provider` is its type, `base_url` empty where the provider's own address is meant."""

    conn_id: str
    provider: str
    login: str = ""
    password: str = field(default="", repr=False)
    base_url: str = ""
    extra: dict[str, Any] = field(default_factory=dict, repr=False)


def conn_id_of(channel: str) -> str:
    """The name of a channel's Connection: retention_email, retention_sms, ..."""
    return f"retention_{channel}"


def make_account(
    conn_id: str,
    *,
    conn_type: str,
    host: str | None,
    login: str | None,
    password: str | None,
    schema: str | None,
    port: int | None,
    extra: dict[str, Any],
) -> Account:
    """An account from a Connection's fields. A host without a schema is reached by https; one with a path keeps it."""
    base_url = ""
    if host:
        parts = urlsplit(host if "://" in host else f"{schema or 'https'}://{host}")
        place = parts.netloc if not port or re.search(r":\d*$", parts.netloc) else f"{parts.netloc}:{port}"
        base_url = urlunsplit(parts._replace(netloc=place, path="" if parts.path == "/" else parts.path))
    return Account(conn_id, conn_type, login or "", password or "", base_url, extra)


def read_account(channel: str) -> Account | None:
    """The account in the environment variable AIRFLOW_CONN_RETENTION_<CHANNEL> (a URI or JSON, as Airflow reads them),
    None where it is not set. Raises ConfigError for what is neither."""
    conn_id = conn_id_of(channel)
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        return _parse_json(conn_id, text) if text.lstrip().startswith("{") else _parse_uri(conn_id, text)
    except (ValueError, TypeError, AttributeError):
        # The text holds a secret: it is not quoted.
        remedy = 'Write JSON: {"conn_type": "sendgrid", "password": "...", "extra": {"from_email": "..."}}.'
        raise ConfigError([Problem(variable, 0, "is no Connection.", remedy)]) from None


def _parse_json(conn_id: str, text: str) -> Account:
    data = json.loads(text)
    extra = data.get("extra") or {}
    return make_account(
        conn_id,
        conn_type=data.get("conn_type") or "",
        host=data.get("host"),
        login=data.get("login"),
        password=data.get("password"),
        schema=data.get("schema"),
        port=int(data["port"]) if data.get("port") else None,
        extra=json.loads(extra) if isinstance(extra, str) else dict(extra),
    )


def _parse_uri(conn_id: str, text: str) -> Account:
    parts = urlsplit(text)
    query = dict(parse_qsl(parts.query))
    extra = json.loads(query["__extra__"]) if "__extra__" in query else query
    return make_account(
        conn_id,
        conn_type=parts.scheme.replace("-", "_"),
        host=unquote(parts.hostname or ""),
        login=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        schema=parts.path.strip("/"),
        port=parts.port,
        extra=extra,
    )


class Fields:
    """Reads an account's fields one by one and gathers what is wrong with them; `finish` raises it all at once."""

    def __init__(self, account: Account):
        self._account = account
        self._extra = dict(account.extra)
        self._problems: list[Problem] = []

    def require(self, name: str, value: str, remedy: str) -> str:
        """A field of the Connection itself that has to be there."""
        if not value:
            self.refuse(f"has no {name}.", remedy)
        return value

    def check_plain(self) -> None:
        """What goes into an address or a header has to be printable ASCII, without spaces. The value is not shown."""
        account = self._account
        for name, value in (("login", account.login), ("password", account.password), ("host", account.base_url)):
            if value and not re.fullmatch(r"[!-~]+", value):
                what = f"{name} has characters that can't be sent: other than printable ASCII, or a space."
                self.refuse(what, "Copy it anew, without line breaks.")

    def take(self, key: str, default: Any = None) -> Any:
        """A key of its extra; what is not taken is unknown. Airflow's form writes null, or nothing, for what is left empty."""
        value = self._extra.pop(key, None)
        return default if value in (None, "") else value

    def take_number(self, key: str, default: float | None, *, at_least: float) -> float | None:
        """A number, or None where it says `none`: unlimited. 0 is refused: it would block everything."""
        value = self.take(key, default)
        if value is None or value == "none":
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if not at_least <= number < float("inf"):
            self.refuse(f'extra "{key}" is {json.dumps(value)}.', f'Write a number from {at_least:g} on, or "none".')
            return default
        return number

    def refuse(self, what: str, remedy: str) -> None:
        """Note a mistake."""
        self._problems.append(Problem(f"Connection {self._account.conn_id}", 0, what, remedy))

    def finish(self, known: tuple[str, ...]) -> None:
        """Raises ConfigError with every mistake, unknown keys among them."""
        for key in self._extra:
            self.refuse(f'extra has an unknown key "{key}".', f"Keys: {', '.join(known)}.")
        if self._problems:
            raise ConfigError(self._problems)
