"""Signatures against the official vectors of both providers, and what the vectors leave out."""

import json
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlencode

import pytest

from retention.delivery.events import signatures as it

VECTORS = Path("/work/shared/specs/vectors")


def vectors(name):
    path = VECTORS / f"{name}.json"
    if not path.exists():
        return [pytest.param(None, None, marks=pytest.mark.skip(f"the official vectors are missing: {path}"))]
    data = json.loads(path.read_text())
    return [pytest.param(data, one, id=one["name"]) for one in data["vectors"]]


@pytest.mark.parametrize(("data", "vector"), vectors("sendgrid_event_webhook_vectors"))
def test_sendgrids_vectors(data, vector):
    keys = [it.load_public_key(vector["public_key"])]
    body = vector["payload"].encode()
    assert it.is_sendgrids(keys, vector["signature"], vector["timestamp"], body) is vector["expect"]


@pytest.mark.parametrize(("data", "vector"), vectors("twilio_request_vectors"))
def test_twilios_vectors(data, vector):
    if "body" in vector:
        body, kind = vector["body"].encode(), "application/json"
    else:
        body = urlencode([*map(tuple, vector.get("params_list") or vector["params"].items())]).encode()
        kind = "application/x-www-form-urlencoded; charset=UTF-8"
    tokens = ["another", data["auth_token"]]
    assert it.is_twilios(tokens, vector["signature"], vector["url"], body, kind) is vector["expect"]
    assert not it.is_twilios(["another"], vector["signature"], vector["url"], body, kind)


def test_several_keys_one_of_them_will_do():
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.hashes import SHA256

    old, new = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    signature = b64encode(old.sign(b"1[]", ECDSA(SHA256()))).decode()
    assert it.is_sendgrids([new.public_key(), old.public_key()], signature, "1", b"[]")
    assert not it.is_sendgrids([new.public_key()], signature, "1", b"[]")
    assert not it.is_sendgrids([], signature, "1", b"[]")


@pytest.mark.parametrize("nonsense", ["", "é", "AAAA", "====", "x" * 10_000, "\x00", "MEUCIGHQ"])
def test_nonsense_is_no_signature_and_no_error(nonsense):
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    keys, form = [generate_private_key(SECP256R1()).public_key()], "application/x-www-form-urlencoded"
    assert not it.is_sendgrids(keys, nonsense, "1", b"[]")
    assert not it.is_sendgrids(keys, "AAAA", nonsense, b"[]")
    assert not it.is_twilios(["t"], nonsense, "https://x.example/", b"a=\xff%ff", form)
    assert not it.is_twilios(["t"], nonsense, "https://x.example/", b"&".join([b"a=1"] * 2000), form)
    assert not it.is_twilios(["t"], nonsense, "https://x.example/?bodySHA256=x", b"{}", nonsense)
    assert not it.is_shops([b"s"], nonsense, nonsense, b"{}")


def test_a_body_that_is_no_form_needs_its_digest():
    """Without one the signature would be about the address alone, and any body would pass."""
    url = "https://x.example/events/twilio"
    signature = it._sign("t", url)
    assert it.is_twilios(["t"], signature, url, b"", "application/x-www-form-urlencoded")
    assert not it.is_twilios(["t"], signature, url, b'{"Body": "STOP"}', "application/json")
    assert not it.is_twilios(["t"], signature, url, b"Body=STOP", "text/plain")


def test_keys_of_other_kinds_are_refused():
    from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    other = generate_private_key(SECP384R1()).public_key()
    der = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for text in ("", "nonsense", "é", b64encode(der).decode()):
        with pytest.raises(ValueError):
            it.load_public_key(text)
