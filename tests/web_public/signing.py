"""Requests signed as SendGrid, Twilio and a shop sign them, by the standard library and cryptography alone."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PUBLIC_URL = "https://hello.shop.example.com"
TOKEN = "auth-token-of-twilio-0123456789"
SECRET = "a-shops-secret-of-32-characters-or-more"
KEY = generate_private_key(SECP256R1())
SIGNING_KEY = "signs-our-own-ids-0123456789-abcdefgh"
FORM = "application/x-www-form-urlencoded"


def public_key() -> str:
    der = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b64encode(der).decode()


def environment() -> dict[str, str]:
    """What `retention serve` needs to verify them."""
    email = {"conn_type": "sendgrid", "password": "SG.x", "extra": {"event_public_key": public_key()}}
    sms = {"conn_type": "twilio", "login": "AC1", "password": TOKEN, "extra": {"senders": "MG1"}}
    return {
        "AIRFLOW_CONN_RETENTION_EMAIL": json.dumps(email),
        "AIRFLOW_CONN_RETENTION_SMS": json.dumps(sms),
        "RETENTION_SHOP_SECRET": SECRET,
        "RETENTION_PUBLIC_URL": PUBLIC_URL,
        "RETENTION_SIGNING_KEY": SIGNING_KEY,
    }


def as_sendgrid(body: bytes, at: int) -> dict[str, str]:
    signature = KEY.sign(str(at).encode() + body, ECDSA(SHA256()))
    return {
        "X-Twilio-Email-Event-Webhook-Signature": b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": str(at),
        "Content-Type": "application/json",
    }


def as_twilio(path: str, fields: dict[str, str], url: str = PUBLIC_URL) -> tuple[bytes, dict[str, str]]:
    said = url + path + "".join(name + fields[name] for name in sorted(fields))
    digest = hmac.new(TOKEN.encode(), said.encode(), "sha1").digest()
    return urlencode(fields).encode(), {"X-Twilio-Signature": b64encode(digest).decode(), "Content-Type": FORM}


def as_shop(body: bytes, at: int) -> dict[str, str]:
    digest = hmac.new(SECRET.encode(), str(at).encode() + b"." + body, "sha256").hexdigest()
    return {"Retention-Timestamp": str(at), "Retention-Signature": digest, "Content-Type": "application/json"}
