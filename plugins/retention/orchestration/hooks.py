"""Hooks of the providers' Connections, for Airflow's form and its Test button. Deliveries do without them.

Airflow loads this file with the first Connection of such a type: what is heavy is imported when it is needed.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from retention.errors import RetentionError
from retention.orchestration.connections import read_connection

if TYPE_CHECKING:
    from retention.delivery.channels import HttpProvider


class AccountHook(BaseHook):
    """The account of one channel with a provider."""

    conn_name_attr = "conn_id"
    default_conn_name = ""
    channel = ""

    def __init__(self, conn_id: str = "", **kwargs):
        super().__init__(**kwargs)
        self.conn_id = conn_id or self.default_conn_name

    def get_conn(self) -> HttpProvider:
        """The provider; `close` it. Raises ConfigError for what is wrong with the Connection, or with our settings."""
        from retention.delivery.choose import open_provider
        from retention.orchestration.cohort import read_clock

        # Airflow tests a Connection under a name that it makes up: people know it by the one that deliveries look for.
        account = read_connection(self.get_connection(self.conn_id), self.default_conn_name)
        return open_provider(self.channel, account, read_clock)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the provider knows the account; sends nothing. One line for the person who pressed the button."""
        try:
            with closing(self.get_conn()) as provider:
                return True, provider.check()
        except RetentionError as error:
            return False, " ".join(str(error).splitlines())


class SendGridHook(AccountHook):
    """E-mail by SendGrid."""

    conn_type = "sendgrid"
    hook_name = "SendGrid (retention e-mail)"
    default_conn_name = "retention_email"
    channel = "email"


class TwilioHook(AccountHook):
    """SMS by Twilio. A Connection for WhatsApp is tested as one for SMS: the account and its fields are the same."""

    conn_type = "twilio"
    hook_name = "Twilio (retention SMS, WhatsApp)"
    default_conn_name = "retention_sms"
    channel = "sms"


class WebhookHook(AccountHook):
    """A gateway of the company's own."""

    conn_type = "webhook"
    hook_name = "Webhook (retention)"
    default_conn_name = "retention_webhook"
    channel = "webhook"
