"""The providers' words as their official documents spell them: none of theirs is unknown to us, none of ours unknown to them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from retention.delivery.events import sendgrid, twilio

SPECS = Path("/work/shared/specs")


def read(name):
    path = SPECS / name
    if not path.exists():
        pytest.skip(f"the official documents are missing: {path}")
    return path.read_text(encoding="utf-8-sig")


def test_twilios_statuses():
    schemas = json.loads(read("twilio/twilio_api_v2010.json"))["components"]["schemas"]
    known = set(schemas["message_enum_status"]["enum"])
    assert set(twilio.KINDS) <= known
    # What comes from a person is no status of a message of ours; partially delivered is WhatsApp's, of several devices.
    assert known - set(twilio.KINDS) <= {"receiving", "received", "partially_delivered"}


def test_twilios_codes():
    known = {int(row["code"]) for row in csv.DictReader(read("twilio/twilio_sms_error_codes.csv").splitlines())}
    assert set(twilio.CODES) <= known


def test_sendgrids_events():
    schemas = json.loads(read("sendgrid/tsg_webhooks_v3.json"))["components"]["schemas"]
    fields = schemas["EventWebhookRequest"]["properties"]
    listed = {name for name, it in fields.items() if it.get("type") == "boolean"} - {"enabled"}
    # The settings say spam_report, the event itself spamreport (Event Webhook reference).
    assert {"spamreport" if name == "spam_report" else name for name in listed} == set(sendgrid.KINDS)
