"""Who sent a request: signatures of SendGrid, Twilio and the shop, over the bytes as they came. Reads no setting, no clock.

Twilio signs a form's fields, not its bytes: those are taken apart for the check, and thrown away after it.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from binascii import Error as NoBase64
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

MAX_FIELDS = 1000
"""Of a form. Twilio's have about thirty."""


def load_public_key(text: str) -> EllipticCurvePublicKey:
    """SendGrid's verification key, as its settings page shows it (base64, DER). Raises ValueError for anything else."""
    key = load_der_public_key(b64decode("".join(text.split()), validate=True))
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("no key of the curve P-256")  # noqa: TRY004
    return key


def is_sendgrids(keys: Sequence[EllipticCurvePublicKey], signature: str, timestamp: str, body: bytes) -> bool:
    """ECDSA over SHA-256 of the timestamp and the raw body; one of the keys will do. The trailing CRLF counts."""
    try:
        given = b64decode(signature.encode("ascii"), validate=True)
        said = timestamp.encode("ascii") + body
    except (NoBase64, ValueError):
        return False
    for key in keys:
        try:
            key.verify(given, said, ECDSA(SHA256()))
        except InvalidSignature:
            continue
        return True
    return False


def is_twilios(tokens: Sequence[str], signature: str, url: str, body: bytes, content_type: str) -> bool:
    """HMAC-SHA1 over the public address (with its query) and the sorted fields of the form; of anything but a form, over
    the address alone, whose query holds the body's SHA-256. Twilio signs the address with or without its port."""
    fields: list[tuple[str, str]] = []
    if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        try:
            fields = read_form(body)
        except ValueError:
            return False
    else:
        stated = dict(parse_qsl(urlsplit(url).query)).get("bodySHA256", "")
        if not _is_same(sha256(body).hexdigest(), stated):
            return False
    said = "".join(name + value for name, value in sorted(set(fields)))
    expected = [_sign(token, spelling + said) for token in tokens for spelling in _spell(url)]
    return any(_is_same(it, signature) for it in expected)


def is_shops(secrets: Sequence[bytes], signature: str, timestamp: str, body: bytes) -> bool:
    """HMAC-SHA256 in hexadecimal digits over the timestamp, a full stop and the raw body."""
    said = timestamp.encode("utf-8", "replace") + b"." + body
    return any(_is_same(hmac.new(secret, said, "sha256").hexdigest(), signature) for secret in secrets)


def read_form(body: bytes) -> list[tuple[str, str]]:
    """The fields of a form. Raises ValueError if there are too many."""
    return parse_qsl(
        body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace", max_num_fields=MAX_FIELDS
    )


def _sign(token: str, said: str) -> str:
    return b64encode(hmac.new(token.encode(), said.encode("utf-8", "replace"), "sha1").digest()).decode()


def _is_same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode("utf-8", "replace"))


def _spell(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    bare = host if host.endswith("]") or ":" not in host else host.rpartition(":")[0]
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return tuple(urlunsplit(parts._replace(netloc=netloc)) for netloc in (bare, f"{bare}:{port}"))
