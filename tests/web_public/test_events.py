"""The event receiver at its HTTP boundary: who is believed, what is answered, that nothing is lost."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from starlette.testclient import TestClient

from retention.delivery.events.interpret import interpret
from retention.delivery.events.signatures import load_public_key
from retention.delivery.events.sources import Sources, read_sources
from retention.delivery.tokens import STATUS, UNSUBSCRIBE, Signer
from retention.errors import ConfigError
from retention.web.public.app import make_app
from retention.web.public.events import MAX_BODY_BYTES
from tests.delivery.sent import send
from tests.web_public import signing
from tests.web_public.signing import FORM, PUBLIC_URL, as_sendgrid, as_shop, as_twilio

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
SIGNER = Signer((signing.SIGNING_KEY,))


@pytest.fixture
def sources(monkeypatch):
    for name, value in signing.environment().items():
        monkeypatch.setenv(name, value)
    return read_sources()


def make(engine, sources, **more):
    said = {"public_url": PUBLIC_URL, "signer": SIGNER, "clock": lambda: NOW} | more
    return make_app(engine, sources=sources, **said)


@pytest.fixture
def client(engine, sources):
    return TestClient(make(engine, sources), base_url="http://127.0.0.1:8090")


def delivered(message_id, key="e1"):
    event = {"event": "delivered", "email": "a@example.com", "timestamp": AT, "sg_event_id": key}
    return json.dumps([event | {"retention_message": str(message_id)}]).encode() + b"\r\n"


def status_path(message_id=1):
    return f"/events/twilio/{SIGNER.sign(STATUS, message_id)}"


STATUS_FIELDS = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+12025550000"}
INBOUND = {"MessageSid": "SM2", "From": "+12025550000", "To": "+15005550006", "Body": "STOP & 退订"}


def test_sendgrids_events_are_kept_byte_for_byte_and_understood(client, engine, world):
    sent = send(world, "a")
    body = delivered(sent["a"])
    answer = client.post("/events/sendgrid", content=body, headers=as_sendgrid(body, AT))
    assert (answer.status_code, answer.content) == (204, b"")
    assert world.rows("select source, body, received_at, interpreted_at from inbox") == [("sendgrid", body, NOW, None)]
    assert interpret(engine, NOW).fresh == 1
    assert world.rows("select message_id, kind from outcomes") == [(sent["a"], "delivered")]


def test_the_official_vector_comes_in(engine, world):
    path = Path("/work/shared/specs/vectors/sendgrid_event_webhook_vectors.json")
    if not path.exists():
        pytest.skip(f"the official vectors are missing: {path}")
    for vector in json.loads(path.read_text())["vectors"]:
        keys = Sources(sendgrid=(load_public_key(vector["public_key"]),))
        then = datetime.fromtimestamp(1600112502, UTC)
        headers = {
            "X-Twilio-Email-Event-Webhook-Signature": vector["signature"],
            "X-Twilio-Email-Event-Webhook-Timestamp": vector["timestamp"],
        }
        client = TestClient(make(engine, keys, clock=lambda then=then: then))
        answer = client.post("/events/sendgrid", content=vector["payload"].encode(), headers=headers)
        assert answer.status_code == (204 if vector["expect"] else 403), vector["name"]
    assert world.count("inbox") == 1


@pytest.mark.parametrize("url", [PUBLIC_URL, f"{PUBLIC_URL}:443"])
def test_twilios_status_and_message(client, engine, world, url):
    sent = send(world, "a", channel="sms")
    path = status_path(sent["a"])
    body, headers = as_twilio(path, STATUS_FIELDS, url)
    assert client.post(path, content=body, headers=headers).status_code == 204
    body, headers = as_twilio("/events/twilio", INBOUND, url)
    answer = client.post("/events/twilio", content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert answer.content == b"<Response/>"
    interpret(engine, NOW)
    assert world.rows("select message_id, kind from outcomes") == [(sent["a"], "delivered")]
    assert world.rows("select text from replies") == [("STOP & 退订",)]


def test_twilios_json_is_verified_by_its_digest(client, world):
    body = json.dumps(INBOUND).encode()
    path = f"/events/twilio?bodySHA256={sha256(body).hexdigest()}"
    _, headers = as_twilio(path, {})
    headers["Content-Type"] = "application/json"
    assert client.post(path, content=body + b" ", headers=headers).status_code == 403
    assert client.post(path, content=body, headers=headers).status_code == 200


def test_the_shops_events(client, engine, world):
    body = json.dumps([{"id": "1", "customer_id": "a", "kind": "view", "occurred_at": NOW.isoformat()}]).encode()
    for _ in range(2):
        assert client.post("/events/shop", content=body, headers=as_shop(body, AT)).status_code == 204
    interpret(engine, NOW)
    assert world.rows("select customer_id, kind from events") == [("a", "view")] and world.count("inbox") == 2


def spoil(request, how):
    """Another request than the one that was signed."""
    path, body, headers = request
    headers = dict(headers)
    name = next(it for it in headers if "Signature" in it)
    if how == "body":
        body += b" " if body.endswith(b"\n") else b"&x=1"
    elif how == "no signature":
        del headers[name]
    elif how == "empty signature":
        headers[name] = ""
    elif how == "half a signature":
        headers[name] = headers[name][: len(headers[name]) // 2]
    elif how == "another's":
        headers[name] = (
            "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
        )
    elif how == "host":
        headers["Host"] = "attacker.example"
    return path, body, headers


def requests():
    body = delivered(1)
    yield "sendgrid", ("/events/sendgrid", body, as_sendgrid(body, AT))
    yield "shop", ("/events/shop", body, as_shop(body, AT))
    yield "status", (status_path(), *as_twilio(status_path(), STATUS_FIELDS))
    yield "message", ("/events/twilio", *as_twilio("/events/twilio", INBOUND))


def test_what_was_not_signed_is_refused_and_not_kept(client, world, caplog):
    for name, request in requests():
        for how in ("body", "no signature", "empty signature", "half a signature", "another's"):
            path, body, headers = spoil(request, how)
            answer = client.post(path, content=body, headers=headers)
            assert (answer.status_code, answer.text) == (403, "refused\n"), (name, how)
    assert world.count("inbox") == 0
    assert "has no signature that is right" in caplog.text and "a@example.com" not in caplog.text


def test_what_the_host_header_says_counts_for_nothing(client):
    for name, request in requests():
        path, body, headers = spoil(request, "host")
        assert client.post(path, content=body, headers=headers).status_code in (200, 204), name


AGES = [
    (as_sendgrid, "/events/sendgrid", timedelta(days=6), 204),  # it tries again for days
    (as_sendgrid, "/events/sendgrid", timedelta(days=8), 403),
    (as_sendgrid, "/events/sendgrid", timedelta(minutes=-5), 204),
    (as_sendgrid, "/events/sendgrid", timedelta(hours=-1), 403),
    (as_shop, "/events/shop", timedelta(days=2), 204),
    (as_shop, "/events/shop", timedelta(days=4), 403),
    (as_shop, "/events/shop", timedelta(hours=-1), 403),
]


def test_old_timestamps(client):
    for sign, path, age, status in AGES:
        headers = sign(b"[]", int((NOW - age).timestamp()))
        assert client.post(path, content=b"[]", headers=headers).status_code == status, (path, age)


@pytest.mark.parametrize("kind", [UNSUBSCRIBE, "x"])
def test_a_token_made_for_something_else_is_refused(client, kind):
    path = f"/events/twilio/{SIGNER.sign(kind, 1)}"
    body, headers = as_twilio(path, STATUS_FIELDS)
    assert client.post(path, content=body, headers=headers).status_code == 403


@pytest.mark.parametrize("is_stated", [True, False])
def test_too_large(client, world, is_stated):
    body = b"x" * (MAX_BODY_BYTES + 1)
    content = body if is_stated else iter([body[:9000], body[9000:]])
    assert client.post("/events/shop", content=content, headers=as_shop(body, AT)).status_code == 413
    assert world.count("inbox") == 0


def test_unknown_routes(client):
    for path in ("/", "/events", "/events/", "/events/mailgun", "/events/twilio/a/b", "/events/shop/", "/docs", "/%00"):
        assert client.post(path, content=b"x").status_code == 404, path


def test_a_get_is_no_event(client):
    assert client.get("/events/sendgrid").status_code == 405
    assert client.get("/health").text == "ok\n"


MISSING = [
    ("/events/sendgrid", '"event_public_key" of AIRFLOW_CONN_RETENTION_EMAIL'),
    ("/events/twilio", "AIRFLOW_CONN_RETENTION_SMS"),
    ("/events/twilio", "RETENTION_PUBLIC_URL"),
    ("/events/twilio/x", "RETENTION_SIGNING_KEY"),
    ("/events/shop", "RETENTION_SHOP_SECRET"),
]


def test_a_source_that_is_not_set_up_says_so_in_the_log(engine, caplog):
    client = TestClient(make(engine, Sources(), public_url=None, signer=None))
    for path, setting in MISSING:
        caplog.clear()
        assert client.post(path, content=b"x").status_code == 503
        assert setting in caplog.text


def test_settings(monkeypatch):
    assert read_sources() == Sources()
    for name, value in signing.environment().items():
        monkeypatch.setenv(name, value)
    found = read_sources()
    assert found.twilio == (signing.TOKEN,) and len(found.sendgrid) == 1 and found.shop == (signing.SECRET.encode(),)
    assert signing.TOKEN not in repr(found) and signing.SECRET not in repr(found)
    api_key = {"conn_type": "twilio", "login": "SK1", "password": "not-it", "extra": {"auth_token": "old-one, new-one"}}
    monkeypatch.setenv("AIRFLOW_CONN_RETENTION_WHATSAPP", json.dumps(api_key))
    assert read_sources().twilio == (signing.TOKEN, "old-one", "new-one")
    two = {"conn_type": "sendgrid", "extra": {"event_public_key": [signing.public_key()] * 2}}
    monkeypatch.setenv("AIRFLOW_CONN_RETENTION_EMAIL", json.dumps(two))
    assert len(read_sources().sendgrid) == 2
    two["extra"]["event_public_key"] = "a-secret-by-mistake"
    monkeypatch.setenv("AIRFLOW_CONN_RETENTION_EMAIL", json.dumps(two))
    with pytest.raises(ConfigError, match="no public key") as error:
        read_sources()
    assert "by-mistake" not in str(error.value)
    monkeypatch.delenv("AIRFLOW_CONN_RETENTION_EMAIL")
    monkeypatch.setenv("RETENTION_SHOP_SECRET", "short")
    with pytest.raises(ConfigError, match="shorter than 32"):
        read_sources()


def test_without_its_database_it_asks_for_the_events_again(sources, caplog):
    gone = create_engine("postgresql+psycopg://nobody@127.0.0.1:9/none", connect_args={"connect_timeout": 2})
    client = TestClient(make(gone, sources), raise_server_exceptions=True)
    body = delivered(1)
    answer = client.post("/events/sendgrid", content=body, headers=as_sendgrid(body, AT))
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
    assert client.get("/health").status_code == 503
    assert "could not be kept" in caplog.text and "a@example.com" not in caplog.text


def test_it_interprets_while_it_runs(engine, sources, world):
    sent = send(world, "a")
    body = delivered(sent["a"])
    with TestClient(make(engine, sources)) as client:
        assert client.post("/events/sendgrid", content=body, headers=as_sendgrid(body, AT)).status_code == 204
        for _ in range(100):
            if world.count("outcomes"):
                break
            client.get("/health")
    assert world.count("outcomes", kind="delivered") == 1


PATHS = [
    "/events/sendgrid",
    "/events/twilio",
    "/events/shop",
    "/events/twilio/x",
    "/health",
    "/",
    "/events/twilio/%ff%00",
]
ODD_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)
HEADERS = st.dictionaries(
    st.sampled_from([
        "X-Twilio-Signature", "X-Twilio-Email-Event-Webhook-Signature", "X-Twilio-Email-Event-Webhook-Timestamp", "Content-Type",
        "Retention-Timestamp", "Retention-Signature", "Content-Encoding", "Transfer-Encoding", "Host", "Cookie", "X-Forwarded-Host",
    ]),
    ODD_TEXT | st.sampled_from([FORM, "application/json", "gzip", "chunked", "", str(AT), "9" * 400, "-1"]),
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "NONSENSE"]),
    path=st.sampled_from(PATHS) | ODD_TEXT.map(lambda it: "/events/" + quote(it, safe="/?=&")),
    body=st.binary(max_size=300),
    headers=HEADERS,
)
def test_no_stranger_gets_more_than_a_plain_refusal(client, world, caplog, method, path, body, headers):
    caplog.set_level(logging.ERROR)
    said = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = client.request(method, path, content=body, headers=said)
    assert answer.status_code in (200, 400, 403, 404, 405) and (answer.status_code != 200 or "health" in path)
    assert "Traceback" not in answer.text + caplog.text
    assert world.count("inbox") == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
FIELDS = ["event", "email", "timestamp", "sg_event_id", "sg_message_id", "retention_message", "retention_batch", "type", "status",
          "url", "useragent", "reason", "attempt", "id", "customer_id", "kind", "occurred_at", "data"]  # fmt: skip
VALUES = JSON | st.sampled_from(
    ["click", "open", "bounce", "spamreport", "group_unsubscribe", "dropped", AT, "1", "view", NOW.isoformat(), {}]
)
EVENTS = st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUES) | JSON, max_size=6)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, cut=st.integers(0, 5), fields=st.dictionaries(st.sampled_from(["MessageSid", "MessageStatus", "From", "To", "Body", "ErrorCode", "OptOutType"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=20)))  # fmt: skip
def test_whatever_a_believed_sender_sends_is_kept_and_understood(client, engine, world, events, cut, fields):
    body = json.dumps(events).encode()
    body = body[: len(body) - cut]
    assert client.post("/events/sendgrid", content=body, headers=as_sendgrid(body, AT)).status_code == 204
    assert client.post("/events/shop", content=body, headers=as_shop(body, AT)).status_code == 204
    for path in ("/events/twilio", status_path()):
        form, headers = as_twilio(path, fields)
        assert client.post(path, content=form, headers=headers).status_code in (200, 204)
    done = interpret(engine, NOW)
    assert (done.requests, done.failed) == (4, 0)
    assert world.count("inbox", interpreted_at=None) == 0
