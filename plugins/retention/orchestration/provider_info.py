"""What Airflow asks an installed package for (entry point `apache_airflow_provider`): our connection types and their form.

Every process of Airflow reads it: it imports nothing. Without the package being installed (`plugins/` alone on the path)
Airflow does not know the types; Connections of them work all the same, from the environment or by `airflow connections add`.
"""

from __future__ import annotations

from typing import Any

_NUMBER = {"type": ["string", "null"], "pattern": r"^\s*(\d+(\.\d+)?|none)?\s*$"}
"""Text, since unlimited is spelt `none`."""

_PORT = "443; Airflow 3.3.2 can't test a Connection without"
"""Its list of Connections sends 0 for none, and takes it for another port than the stored one (apache/airflow#73298)."""


def get_provider_info() -> dict[str, Any]:
    """By the schema airflow/provider_info.schema.json. The package's name has to be the installed distribution's."""
    return {
        "package-name": "retention",
        "name": "Retention",
        "description": "Customer journeys: e-mail by SendGrid, SMS and WhatsApp by Twilio, a gateway of your own.",
        "connection-types": [
            {
                "connection-type": "sendgrid",
                "hook-class-name": "retention.orchestration.hooks.SendGridHook",
                "hook-name": "SendGrid (retention e-mail)",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login"],
                    "relabeling": {"password": "API key", "host": "API address"},
                    "placeholders": {
                        "password": "SG.xxxx, with the scope mail.send",
                        "host": "empty: https://api.sendgrid.com",
                        "port": _PORT,
                        "extra": '{"from_email": "news@shop.example.com", "reply_to": "hello@shop.example.com"}',
                    },
                },
                "conn-fields": {
                    "from_email": _describe_field("Sender", "The verified sender: news@shop.example.com"),
                    "from_name": _describe_field("Sender's name", "Empty: the shop's name in the letter's language"),
                    "reply_to": _describe_field("Reply to", "Where answers go; empty: to the sender"),
                    "per_second": _describe_field(
                        "Requests a second", "Of up to 1,000 people each. Empty: 100; none: unlimited", _NUMBER
                    ),
                    "event_public_key": _describe_field(
                        "Key of its events", "SendGrid's verification key, for `retention serve`"
                    ),
                },
            },
            {
                "connection-type": "twilio",
                "hook-class-name": "retention.orchestration.hooks.TwilioHook",
                "hook-name": "Twilio (retention SMS, WhatsApp)",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {
                        "login": "Account SID",
                        "password": "Auth token",
                        "host": "API address",
                    },
                    "placeholders": {
                        "login": "AC..., or an API key's SID: SK...",
                        "password": "the auth token, or the API key's secret",
                        "host": "empty: https://api.twilio.com",
                        "port": _PORT,
                        "extra": '{"senders": {"CN": "MG0123456789abcdef0123456789abcdef", "*": "+15005550006"}, "segments_per_day": 50000}',
                    },
                },
                "conn-fields": {
                    # As text: Airflow's editor of objects formats what is typed at every key, and loses its place.
                    "senders": _describe_field(
                        "Senders",
                        "A number or a messaging service (MG...) for everybody, or several by country, with * for the rest: "
                        '{"CN": "MG...", "*": "+15005550006"}',
                    ),
                    "account_sid": _describe_field("Account of the API key", "AC...; only with an API key as login"),
                    "auth_token": _describe_field(
                        "Auth token", "Only with an API key as login: checks Twilio's events, for `retention serve`"
                    ),
                    "per_second": _describe_field(
                        "Segments a second", "WhatsApp: messages. Empty: 100, WhatsApp 80; none: unlimited", _NUMBER
                    ),
                    "segments_per_day": _describe_field(
                        "Segments a day", "The budget; SMS only. Empty: unlimited", _NUMBER
                    ),
                    "max_segments": _describe_field(
                        "Segments a message", "A longer one is refused; SMS only. Empty: 6; none: any", _NUMBER
                    ),
                },
            },
            {
                "connection-type": "webhook",
                "hook-class-name": "retention.orchestration.hooks.WebhookHook",
                "hook-name": "Webhook (retention)",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login"],
                    "relabeling": {"password": "Signing secret", "host": "Gateway's address"},
                    "placeholders": {
                        "password": "16 characters or more, known to the gateway",
                        "host": "https://gateway.shop.example.com/messages",
                        "port": _PORT,
                        "extra": '{"batch_size": 100, "status_url": "https://gateway.shop.example.com/messages/status"}',
                    },
                },
                "conn-fields": {
                    "batch_size": _describe_field("Messages a request", "1 to 100. Empty: 100", _NUMBER),
                    "per_second": _describe_field("Requests a second", "Empty: 10; none: unlimited", _NUMBER),
                    "timeout_s": _describe_field("Seconds to wait", "For an answer, 1 to 60. Empty: 30", _NUMBER),
                    "status_url": _describe_field(
                        "Status address", "Where the gateway can be asked what became of a message. Empty: it can't"
                    ),
                },
            },
        ],
    }


def _describe_field(label: str, description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": schema or {"type": ["string", "null"]}}
