"""The stand-in of SendGrid, Twilio and a gateway: by the official SDKs, held against the official documents, and at its worst."""

import hmac
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from openapi_schema_validator import OAS30Validator, OAS31Validator
from python_http_client.exceptions import BadRequestsError, UnauthorizedError
from sendgrid import SendGridAPIClient
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from retention.bench.stub import start_stub
from retention.bench.stub_book import Window
from retention.bench.stub_faults import AFTER, KINDS
from retention.bench.stub_gateway import SECRETS
from retention.bench.stub_twilio import count_segments
from tests.delivery.openapi import _inline, read_document

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "AC" + "0" * 32
MAIL, MESSAGES = "/v3/mail/send", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
KEY = {"Authorization": "Bearer SG.x"}
LOGIN = (ACCOUNT, "secret")


@pytest.fixture(scope="module")
def shared():
    with start_stub(is_counting_repeats=True) as stub:
        yield stub


@pytest.fixture
def stub(shared):
    shared.set_faults()
    shared.clear()
    return shared


@pytest.fixture
def web(stub):
    with httpx.Client(base_url=stub.url, timeout=5) as client:
        yield client


@pytest.fixture
def twilio(stub):
    client = Client(*LOGIN)
    client.api.base_url = stub.url
    return client


def make_person(n, **more):
    return {"to": [{"email": f"p{n}@example.com"}], "custom_args": {"message": str(n), "mode": "live"}, **more}


def make_mail(*people, **more):
    return {
        "from": {"email": "news@shop.example.com"},
        "subject": "Hello",
        "content": [{"type": "text/plain", "value": "Hello"}],
        "personalizations": list(people) or [make_person(1)],
        **more,
    }


def make_sms(**more):
    return {"To": "+8613800138000", "From": "+15005550006", "Body": "你好", **more}


def write_request(body=None, *, path=MESSAGES, headers=""):
    """An SMS as it goes over the wire."""
    body = urlencode(make_sms()).encode() if body is None else body
    login = b64encode(":".join(LOGIN).encode()).decode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\n{headers}"
    )
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def connect(stub):
    return socket.create_connection(("127.0.0.1", stub.port), timeout=5)


def wait_until(is_so):
    until = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


def read_to_end(line):
    data = b""
    while part := line.recv(65536):
        data += part
    return data


def check_answer(name, path, status, method, body):
    """Hold an answer against the official document, and see that the document says something of it."""
    document = read_document(name)
    answer = document["paths"][path][method]["responses"][str(status)]
    schema = _inline(answer["content"]["application/json"]["schema"], document)
    assert schema["properties"]
    validator = OAS31Validator if document["openapi"].startswith("3.1") else OAS30Validator
    validator(schema).validate(body)
    assert set(body) <= set(schema["properties"])


# SendGrid


def test_the_official_sdk_sends(stub):
    client = SendGridAPIClient("SG.x", host=stub.url)
    answer = client.send(make_mail(*map(make_person, range(1000))))
    assert answer.status_code == 202
    assert answer.body == b""
    assert re.fullmatch(r"[\w-]{22}", answer.headers["X-Message-Id"])
    assert json.loads(client.client.scopes.get().body) == {"scopes": ["mail.send"]}
    said = stub.fetch_record()
    assert (said["requests"], said["accepted"], said["emails"], said["sms"], said["duplicates"]) == (
        1,
        1000,
        1000,
        0,
        0,
    )
    assert said["by_status"] == {"200": 1, "202": 1}
    assert 0 < said["first_at"] <= said["last_at"] <= time.time() + 1


def test_who_has_no_key_is_sent_away(stub, web):
    nobody = SendGridAPIClient("SG.x", host=stub.url)
    nobody.client.request_headers["Authorization"] = "Bearer "
    with pytest.raises(UnauthorizedError):
        nobody.send(make_mail())
    assert web.post(MAIL, json=make_mail()).json() == {
        "errors": [
            {
                "message": "The provided authorization grant is invalid, expired, or revoked",
                "field": None,
                "help": None,
            }
        ]
    }
    for path in (
        "/v3/scopes",
        '/v3/messages?query=to_email="x@y.co"',
        MESSAGES,
        f"/2010-04-01/Accounts/{ACCOUNT}.json",
    ):
        assert web.get(path).status_code == 401
    answer = web.post(MESSAGES, data=make_sms())
    assert (answer.status_code, answer.json()["code"]) == (401, 20003)
    assert stub.fetch_record()["accepted"] == 0


@pytest.mark.parametrize(
    ("mail", "field"),
    [
        (make_mail(*map(make_person, range(3)), {"to": [{"email": "no address"}]}), "personalizations.3.to.0.email"),
        (make_mail({"to": [{"email": "please-refuse-me@example.com"}]}), "personalizations.0.to.0.email"),
        (make_mail({"to": [{"email": "王@example.com"}]}), "personalizations.0.to.0.email"),
        (make_mail({"to": [{"email": "a..b@example.com"}]}), "personalizations.0.to.0.email"),
        (make_mail({"to": [{"email": "a@example"}]}), "personalizations.0.to.0.email"),
        (make_mail({"to": []}), "personalizations.0.to"),
        (make_mail({"to": [{"email": "a@b.co"}] * 2}), "personalizations.0"),
        (make_mail(*map(make_person, range(1001))), "personalizations"),
        (make_mail(make_person(1, cc=[{"email": f"c{n}@b.co"} for n in range(1000)])), "personalizations"),
        (make_mail(personalizations=[]), "personalizations"),
        (make_mail(make_person(1, substitutions={"-a-": "x" * 9_998})), "personalizations.0.substitutions"),
        (make_mail(make_person(1, substitutions={"-a-": "王" * 3_400})), "personalizations.0.substitutions"),
        (make_mail(custom_args={"a": "x" * 10_000}), "personalizations.0.custom_args"),
        (make_mail(**{"from": {}}), "from.email"),
        (make_mail(**{"from": {"email": "news"}}), "from.email"),
        (make_mail(subject=""), "subject"),
        (make_mail(content=[]), "content"),
        (make_mail(content=[{"type": "text/plain", "value": ""}]), "content.0.value"),
        (make_mail(content=[{"type": kind, "value": "x"} for kind in ("text/html", "text/plain")]), "content"),
        (make_mail(make_person(1, substitutions={"-a-": 1})), None),
        (make_mail(personalizations=["nobody"]), None),
        (make_mail(content="text"), None),
    ],
)
def test_a_refusal_names_the_field_and_accepts_nobody(stub, mail, field):
    with pytest.raises(BadRequestsError) as caught:
        SendGridAPIClient("SG.x", host=stub.url).send(mail)
    [error] = caught.value.to_dict["errors"]
    assert error["field"] == field
    assert error["message"]
    said = stub.fetch_record()
    assert (said["accepted"], said["by_status"]) == (0, {"400": 1})


def test_what_is_just_allowed_is_taken(web):
    people = [make_person(1, substitutions={"-a-": "x" * 9_997}), make_person(2, subject="Own")]
    assert web.post(MAIL, headers=KEY, json=make_mail(*people)).status_code == 202
    bare = {"from": {"email": "a@b.co"}, "template_id": "d-1", "personalizations": [make_person(3)]}
    assert web.post(MAIL, headers=KEY, json=bare).status_code == 202
    assert web.post(MAIL, headers={**KEY, "Content-Type": "text/plain"}, json=bare).status_code == 415


def test_every_recipient_is_a_message(stub, web):
    person = make_person(1, cc=[{"email": "c@b.co"}], bcc=[{"email": "d@b.co"}])
    web.post(MAIL, headers=KEY, json=make_mail(person, make_person(2)))
    assert stub.fetch_record()["emails"] == 4


def test_activity_finds_what_was_accepted(stub, web):
    ids = [
        web.post(MAIL, headers=KEY, json=make_mail(*map(make_person, span), subject=f"No {n}")).headers["X-Message-Id"]
        for n, span in enumerate((range(10), range(5, 15)))
    ]
    web.post(MAIL, headers=KEY, json=make_mail(make_person(99), {"to": [{"email": "refuse@b.co"}]}))

    def ask(query, **more):
        answer = web.get("/v3/messages", headers=KEY, params={"query": query, **more})
        return answer.json()["messages"] if answer.status_code == 200 else answer.status_code

    assert [row["subject"] for row in ask("unique_args['message']=\"7\"")] == ["No 1", "No 0"]
    [row] = ask('(unique_args[\'message\']="3") AND (unique_args[\'mode\']="live") AND to_email="p3@example.com"')
    assert row["msg_id"].partition(".")[0] == ids[0]
    assert (row["to_email"], row["status"]) == ("p3@example.com", "delivered")
    assert ask('unique_args[\'message\']="3" AND to_email="p4@example.com"') == []
    assert ask("unique_args['message']=\"99\"") == ask("unique_args['other']=\"3\"") == []
    assert len(ask("unique_args['mode']=\"live\"")) == 10
    assert len(ask("unique_args['mode']=\"live\"", limit=3)) == 3
    assert len(ask('subject="No 0"', limit=1000)) == 10
    web.post(MAIL, headers=KEY, json=make_mail(make_person(3)))
    assert len(ask("unique_args['message']=\"3\"")) == 2
    assert ask("bad_field=1") == ask("") == ask('to_email="a"', limit=1001) == 400
    answer = web.get("/v3/messages", headers=KEY, params={"query": 'to_email="p7@example.com"'}).json()
    check_answer("sendgrid/tsg_email_activity_v3.json", "/v3/messages", 200, "get", answer)
    stub.clear()
    assert ask("unique_args['message']=\"3\"") == []


# Twilio


def test_the_official_sdk_sends_and_lists(stub, web, twilio):
    sent = twilio.messages.create(
        to="+8613800138000", from_="+15005550006", body="你好", status_callback="https://x.co/1"
    )
    assert re.fullmatch(r"SM[0-9a-f]{32}", sent.sid)
    assert (sent.status, sent.num_segments, sent.error_code, sent.from_) == ("queued", "1", None, "+15005550006")
    assert abs(sent.date_created - datetime.now(UTC)) < timedelta(seconds=5)
    by_service = twilio.messages.create(to="+8613800138001", messaging_service_sid="MG" + "0" * 32, body="x" * 161)
    assert (by_service.from_, by_service.messaging_service_sid) == (None, "MG" + "0" * 32)
    assert by_service.num_segments == "2"
    assert [it.sid for it in twilio.messages.list(to="+8613800138000")] == [sent.sid]
    assert [it.sid for it in twilio.messages.list()] == [by_service.sid, sent.sid]
    today = datetime.now(UTC)
    assert len(twilio.messages.list(date_sent_after=today.date())) == 2
    assert len(twilio.messages.list(date_sent_after=today - timedelta(minutes=1))) == 2
    assert twilio.messages.list(date_sent_after=today + timedelta(minutes=1)) == []
    assert twilio.messages.list(date_sent_before=today.date() - timedelta(days=2)) == []
    assert twilio.api.accounts(ACCOUNT).fetch().status == "active"
    path = "/2010-04-01/Accounts/{AccountSid}/Messages.json"
    made = web.post(MESSAGES, auth=LOGIN, data=make_sms())
    check_answer("twilio/twilio_api_v2010.json", path, 201, "post", made.json())
    check_answer("twilio/twilio_api_v2010.json", path, 200, "get", web.get(MESSAGES, auth=LOGIN).json())


def test_lists_have_pages(twilio):
    for n in range(7):
        twilio.messages.create(to="+8613800138000", from_="+15005550006", body=str(n))
    assert [it.body for it in twilio.messages.list(page_size=3)] == list("6543210")
    assert [it.body for it in twilio.messages.list(to="+8613800138000", page_size=7)] == list("6543210")
    first = twilio.messages.page(page_size=4)
    assert [it.body for it in first.next_page()] == list("210")
    assert first.next_page().next_page() is None


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"To": "+15005550001"}, 21211), ({"To": "+15005550002"}, 21612), ({"To": "+15005550003"}, 21408),
        ({"To": "+15005550004"}, 21610), ({"To": "+15005550009"}, 21614), ({"To": "123"}, 21211), ({"To": ""}, 21604),
        ({"From": "+15005550001"}, 21212), ({"From": "+15005550007"}, 21606), ({"From": "+15005550008"}, 21611),
        ({"From": ""}, 21603), ({"Body": ""}, 21602), ({"Body": "x" * 1601}, 21617), ({"StatusCallback": "x"}, 21609),
    ],
)  # fmt: skip
def test_twilio_refuses_by_code(stub, web, twilio, more, code):
    answer = web.post(MESSAGES, auth=LOGIN, data=make_sms(**more))
    said = answer.json()
    assert (answer.status_code, said["code"], said["status"]) == (400, code, 400)
    assert said["more_info"] == f"https://www.twilio.com/docs/errors/{code}"
    form = make_sms(**more)
    with pytest.raises(TwilioRestException) as caught:
        twilio.messages.create(
            to=form["To"], from_=form["From"], body=form["Body"], status_callback=form.get("StatusCallback")
        )
    assert caught.value.code == code
    assert stub.fetch_record()["accepted"] == 0


CONTENT = "HX" + "a" * 32


def make_whatsapp(**more):
    return {"To": "whatsapp:+8613800138000", "From": "whatsapp:+15005550006", "ContentSid": CONTENT,
            "ContentVariables": '{"1": "你好"}', **more}  # fmt: skip


def test_whatsapp_by_the_official_sdk(stub, twilio):
    form = make_whatsapp()
    sent = twilio.messages.create(
        to=form["To"], from_=form["From"], content_sid=CONTENT, content_variables=form["ContentVariables"]
    )
    assert [it.sid for it in twilio.messages.list(to=form["To"])] == [sent.sid]
    assert twilio.messages.list(to=form["To"].removeprefix("whatsapp:")) == []
    said = stub.fetch_record()
    assert (said["whatsapp"], said["sms"], said["accepted"]) == (1, 0, 1)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"To": "whatsapp:+15005550004"}, 21610), ({"To": "whatsapp:123"}, 63024), ({"From": "+15005550006"}, 63007),
        ({"To": "+8613800138000"}, 63007), ({"ContentSid": ""}, 63016), ({"ContentSid": "", "Body": "free words"}, 63016),
        ({"ContentSid": "HX1"}, 21655), ({"ContentSid": "HX" + "0" * 32}, 21655), ({"ContentVariables": "{"}, 21656),
        ({"ContentVariables": '{"1": ""}'}, 21656), ({"ContentVariables": '{"1": "a\\nb"}'}, 21656),
        ({"ContentVariables": '{"1": 1}'}, 21656), ({"ContentVariables": '["x"]'}, 21656),
    ],
)  # fmt: skip
def test_whatsapp_is_refused_by_code(stub, web, more, code):
    said = web.post(MESSAGES, auth=LOGIN, data=make_whatsapp(**more)).json()
    assert said.get("code") == code and stub.fetch_record()["accepted"] == 0


def make_push(*ids, **more):
    told = {"customer_id": "c1", "address": "c1", "locale": "en", "purpose": "marketing", "journey": "j", "step": "s"}
    return {"batch": 1, "mode": "live", "messages": [{"id": n, "text": "Hi", **told} for n in ids], **more}


def push(web, body, secret=SECRETS[0], signed=None, **more):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    mac = hmac.new(secret.encode(), b"1700000000." + (body if signed is None else signed), "sha256").hexdigest()
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k", "Retention-Timestamp": "1700000000"}
    return web.post("/messages", headers={**headers, "Retention-Signature": mac, **more}, content=body)


def test_the_gateway_takes_what_is_signed(stub, web):
    assert push(web, make_push(1, 2)).json() == {"refused": []}
    assert push(web, make_push(3), secret=SECRETS[1]).status_code == 200
    assert push(web, make_push()).json() == {"refused": []}
    assert stub.fetch_record()["duplicates"] == 0
    push(web, make_push(2, 4))
    said = stub.fetch_record()
    assert (said["webhook"], said["accepted"], said["duplicates"]) == (5, 5, 1)


def test_the_gateway_refuses(stub, web):
    assert push(web, make_push(1), secret="another").status_code == 401
    assert push(web, make_push(1), signed=b"x").status_code == 401
    assert push(web, make_push(1), **{"Retention-Timestamp": "1700000001"}).status_code == 401
    assert web.post("/messages", json=make_push(1)).status_code == 401
    for body in (b"{", b"[]", make_push(1, mode="x"), make_push(1, batch="x"), make_push(1, messages=[{"id": 1}])):
        assert push(web, body).status_code == 400
    assert push(web, make_push(1), **{"Idempotency-Key": ""}).status_code == 400
    assert stub.fetch_record()["accepted"] == 0


@pytest.mark.parametrize(("kind", "status"), [("status_500", 500), ("status_429", 429), ("accept_then_500", 500)])
def test_the_gateway_is_struck_too(stub, web, kind, status):
    stub.set_faults(**{kind: 1})
    answer = push(web, make_push(1))
    assert answer.status_code == status and ("Retry-After" in answer.headers) is (status == 429)
    assert stub.fetch_record()["webhook"] == (kind == "accept_then_500")


def test_an_account_that_is_none(web):
    assert web.post(MESSAGES.replace(ACCOUNT, "AC1"), auth=LOGIN, data=make_sms()).json()["code"] == 20404
    assert web.get("/nowhere").status_code == 404
    assert web.delete(MESSAGES).status_code == 405


@pytest.mark.parametrize(
    ("text", "segments"),
    [("x" * 160, 1), ("x" * 161, 2), ("x" * 306, 2), ("x" * 307, 3), ("€" * 80, 1), ("€" * 81, 2), ("[\\]^{|}~", 1),
     ("王" * 70, 1), ("王" * 71, 2), ("王" * 135, 3), ("😀" * 35, 1), ("😀" * 36, 2), ("`" + "x" * 70, 2)],
)  # fmt: skip
def test_segments(text, segments):
    assert count_segments(text) == segments


# The wire


def test_pipelined_requests_are_answered_in_their_order(stub):
    ask = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
    for delay in (0, 40):
        stub.set_faults(delay_ms=delay)
        with connect(stub) as line:
            last = write_request(headers="Connection: close\r\n")
            line.sendall(write_request() + ask + write_request() + last + write_request())
            assert re.findall(rb"HTTP/1.1 (\d+)", read_to_end(line)) == [b"201", b"404", b"201", b"201"]
        with connect(stub) as line:
            line.sendall(write_request() + b"this is no request\r\n\r\n")
            assert re.findall(rb"HTTP/1.1 (\d+)", read_to_end(line)) == [b"201", b"400"]
    assert stub.fetch_record()["sms"] == 8


def test_a_request_in_crumbs_and_in_chunks(stub):
    body = urlencode(make_sms()).encode()
    head = write_request(b"", headers="Connection: close\r\n").replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked"
    )
    chunked = head + b"".join(b"%x\r\n%b\r\n" % (len(body[n : n + 9]), body[n : n + 9]) for n in range(0, len(body), 9))
    with connect(stub) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for n in range(0, len(chunked), 7):
            line.sendall(chunked[n : n + 7])
            time.sleep(0.0005)
        line.sendall(b"0\r\n\r\n")
        assert b"201 Created" in read_to_end(line)


def test_who_asks_is_told_to_continue(stub):
    head, _, body = write_request(headers="Expect: 100-continue\r\nConnection: close\r\n").partition(b"\r\n\r\n")
    with connect(stub) as line:
        line.sendall(head + b"\r\n\r\n")
        assert line.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(body)
        assert read_to_end(line).startswith(b"HTTP/1.1 201")


def test_a_body_may_be_large_but_not_too_large(stub, web):
    fill = {"-a-": "x" * 8000}
    mail = json.dumps(make_mail(*(make_person(n, substitutions=fill) for n in range(1000)))).encode()
    headers = {**KEY, "Content-Type": "application/json"}
    began = time.monotonic()
    assert web.post(MAIL, headers=headers, content=mail).status_code == 202
    assert time.monotonic() - began < 1
    assert web.post(MAIL, headers=headers, content=b" " * 30_000_001).status_code == 413
    assert web.post(MAIL, headers=headers, content=(b" " * 1_000_000 for _ in range(31))).status_code == 413
    asked = write_request(headers="Expect: 100-continue\r\n").replace(b"Content-Length: ", b"Content-Length: 9999999")
    with connect(stub) as line:
        line.sendall(asked.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        assert read_to_end(line).startswith(b"HTTP/1.1 413")
    assert stub.fetch_record()["accepted"] == 1000


def test_what_is_no_http_is_refused(stub):
    with connect(stub) as line:
        line.sendall(b"hello\r\n\r\n")
        assert read_to_end(line).startswith(b"HTTP/1.1 400")


def test_it_listens_on_this_machine_alone(stub):
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert [row[1] for row in listening if row[1].endswith(f":{stub.port:04X}")][:1] == [f"0100007F:{stub.port:04X}"]


# Faults


def strike(stub, kind, request=None):
    """What a client gets from a request that surely meets the fault, whether the line was closed, and the record."""
    stub.set_faults(**{kind: 1})
    data, is_closed = b"", False
    with connect(stub) as line:
        try:
            line.sendall(request or write_request())
            while not is_closed:
                line.settimeout(0.15 if "hang" in kind or is_whole(data) else 5)
                part = line.recv(65536)
                data, is_closed = data + part, not part
        except ConnectionError:
            is_closed = True
        except TimeoutError:
            pass
    return data, is_closed, stub.fetch_record()


def is_whole(data):
    head, end, body = data.partition(b"\r\n\r\n")
    return bool(end) and len(body) == int(re.search(rb"Content-Length: (\d+)", head)[1])


@pytest.mark.parametrize(
    ("kind", "start", "is_closed", "accepted"),
    [
        ("status_500", b"HTTP/1.1 500", False, 0),
        ("status_429", b"HTTP/1.1 429", False, 0),
        ("accept_then_hang", b"", False, 1),
        ("accept_then_cut", b"", True, 1),
        ("cut_mid_body", b"", True, 0),
        ("cut_mid_answer", b"HTTP/1.1 201", True, 1),
        ("hang_before", b"", False, 0),
        ("accept_then_500", b"HTTP/1.1 500", False, 1),
    ],
)
def test_faults(stub, kind, start, is_closed, accepted):
    data, closed, said = strike(stub, kind)
    assert data.startswith(start)
    assert bool(data) == bool(start)
    assert (closed, said["accepted"], said["faults"]) == (is_closed, accepted, {kind: 1})
    assert sum(said["by_status"].values()) == kind.startswith("status") + kind.endswith("500") - (kind == "status_500")
    if kind == "status_429":
        assert b"Retry-After: 1" in data
        assert b'"code":20429' in data
    if kind == "cut_mid_answer":
        assert not is_whole(data)


def test_every_fault_has_its_row():
    [rows] = [it.args[1] for it in test_faults.pytestmark]
    assert {row[0] for row in rows} == set(KINDS)


@pytest.mark.parametrize("kind", AFTER)
def test_what_is_refused_meets_no_fault_of_acceptance(stub, kind):
    data, _, said = strike(stub, kind, write_request(urlencode(make_sms(To="+15005550001")).encode()))
    assert data.startswith(b"HTTP/1.1 400")
    assert (said["accepted"], said["faults"]) == (0, {})


def test_mail_is_struck_too(stub, web):
    stub.set_faults(status_500=1)
    assert web.post(MAIL, headers=KEY, json=make_mail()).json()["errors"]
    stub.set_faults(status_429=1)
    assert web.post(MAIL, headers=KEY, json=make_mail()).headers["Retry-After"] == "1"
    stub.set_faults(accept_then_cut=1)
    with pytest.raises(httpx.RemoteProtocolError):
        web.post(MAIL, headers=KEY, json=make_mail())
    assert web.get("/v3/scopes", headers=KEY).status_code == 200
    assert stub.fetch_record()["accepted"] == 1


def test_a_body_is_cut_at_its_head_or_in_its_middle(stub):
    stub.set_faults(cut_mid_body=1)
    body = urlencode(make_sms(Body="x" * 1000)).encode()
    head = write_request(body).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    ends = []
    for _ in range(12):
        with connect(stub) as line:
            line.settimeout(0.04)
            line.sendall(head)
            try:
                ends.append("head" if line.recv(10) == b"" else "answer")
            except TimeoutError:
                line.sendall(body[: len(body) // 2 + 1])
                line.settimeout(5)
                ends.append("middle" if line.recv(10) == b"" else "answer")
    assert set(ends) == {"head", "middle"}
    assert stub.fetch_record()["accepted"] == 0


def test_who_hangs_before_the_body_reads_none_of_it(stub):
    stub.set_faults(hang_before=1)
    with connect(stub) as line:
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.sendall(write_request(b"x" * 29_000_000))


@pytest.mark.parametrize("kind", ["hang_before", "accept_then_hang"])
def test_who_hung_is_forgotten_when_the_client_goes(stub, kind):
    stub.set_faults(**{kind: 1})
    folder = Path(f"/proc/{stub.pid}/fd")
    lines = [connect(stub) for _ in range(10)]
    for line in lines:
        line.sendall(write_request())
    wait_until(lambda: stub.fetch_record()["faults"].get(kind) == 10)
    during = len(list(folder.iterdir()))
    for line in lines:
        line.close()
    wait_until(lambda: len(list(folder.iterdir())) <= during - 10)


def test_faults_are_drawn_by_weight_and_seed(stub, web):
    def run(**weights):
        stub.set_faults(**weights)
        return [web.post(MESSAGES, auth=LOGIN, data=make_sms()).status_code for _ in range(200)]

    first = run(status_500=0.2, status_429=0.1, seed=7)
    assert 20 <= first.count(500) <= 60
    assert 8 <= first.count(429) <= 35
    assert run(status_500=0.2, status_429=0.1, seed=7) == first != run(status_500=0.2, status_429=0.1, seed=8)
    assert set(run(seed=7)) == {201}
    faults = stub.fetch_record()["faults"]
    assert faults["status_500"] > faults["status_429"] > 0
    for wrong in ({"status_503": 1}, {"status_500": 1.5}, {"status_500": True}, {"delay_ms": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            stub.set_faults(**wrong)


def test_answers_can_be_late(stub, web):
    stub.set_faults(delay_ms=60)
    began = time.monotonic()
    web.post(MESSAGES, auth=LOGIN, data=make_sms())
    web.get("/v3/scopes", headers=KEY)
    assert 0.12 <= time.monotonic() - began < 2


# What it keeps


def test_repeats_are_counted(stub, web):
    def count():
        return stub.fetch_record()["duplicates"]

    for n in (1, 2, 1):
        web.post(MAIL, headers=KEY, json=make_mail(make_person(n)))
    assert count() == 1
    for callback in ("https://x.co/1", "https://x.co/2", "https://x.co/1", None, None):
        web.post(MESSAGES, auth=LOGIN, data=make_sms(**({"StatusCallback": callback} if callback else {})))
    assert count() == 3
    web.post(MESSAGES, auth=LOGIN, data=make_sms(Body="other"))
    assert count() == 3
    stub.clear()
    assert (count(), stub.fetch_record()["accepted"]) == (0, 0)


def test_what_is_accepted_is_in_the_record_before_the_answer(tmp_path):
    record = tmp_path / "accepted.jsonl"
    with start_stub(record) as stub, httpx.Client(base_url=stub.url) as web:
        mail_id = web.post(MAIL, headers=KEY, json=make_mail(*map(make_person, range(3)))).headers["X-Message-Id"]
        rows = [json.loads(line) for line in record.read_text().splitlines()]
        assert [(row["kind"], row["to"], row["args"], row["id"]) for row in rows] == [
            ("email", f"p{n}@example.com", {"message": str(n), "mode": "live"}, mail_id) for n in range(3)
        ]
        sid = web.post(MESSAGES, auth=LOGIN, data=make_sms(StatusCallback="https://x.co/1")).json()["sid"]
        stub.set_faults(accept_then_cut=1)
        with pytest.raises(httpx.RemoteProtocolError):
            web.post(MESSAGES, auth=LOGIN, data=make_sms())
        stub.set_faults(status_500=1)
        web.post(MESSAGES, auth=LOGIN, data=make_sms())
        os.kill(stub.pid, signal.SIGKILL)
    one, two = (json.loads(line) for line in record.read_text().splitlines()[3:])
    at = one.pop("at")
    assert one == {"kind": "sms", "to": "+8613800138000", "callback": "https://x.co/1", "body": "你好", "id": sid}
    assert (two["callback"], two["body"]) == (None, "你好")
    assert rows[0]["at"] < at <= two["at"] <= time.time()


def test_without_a_record_repeats_are_not_counted_and_memory_has_an_end(monkeypatch):
    from retention.bench import stub_book

    monkeypatch.setattr(stub_book, "MEMORY", 100)
    for is_counting, remembered in ((False, range(51, 101)), (True, range(250, 251))):
        book = stub_book.Book(is_counting_repeats=is_counting)
        for n in range(250):
            book.accept_emails(stub_book.Batch(f"id{n}", float(n), "a@b.co", "x", [(f"p{n}@b.co", {"n": str(n)})]))
        assert book.summarize()["duplicates"] == (0 if is_counting else None)
        assert book.summarize()["accepted"] == 250
        assert sum(len(it.batches) for it in book.drawers) in remembered
        [(batch, _)] = [it for drawer in book.drawers for it in drawer.find_emails([("n", "249")])]
        assert batch.id == "id249"


# The limit


def test_no_second_has_more_than_the_rate(tmp_path):
    record = tmp_path / "accepted.jsonl"
    with start_stub(record, rate=40) as stub:

        taken, refused, at_most = [], [], time.monotonic() + 30

        def push(_):
            said = []
            with httpx.Client(base_url=stub.url) as web:
                while (len(taken) < 80 or not refused) and time.monotonic() < at_most:
                    said.append(web.post(MESSAGES, auth=LOGIN, data=make_sms()))
                    (taken if said[-1].status_code == 201 else refused).append(1)
            return said

        with ThreadPoolExecutor(3) as pool:
            answers = [it for part in pool.map(push, range(3)) for it in part]
        late = [it for it in answers if it.status_code == 429]
        assert late[0].json()["code"] == 20429
        assert late[0].headers["Retry-After"] == "1"
        said = stub.fetch_record()
        assert said["rate_limited"] == len(late) == said["by_status"]["429"]
        with httpx.Client(base_url=stub.url) as web:
            sent = [web.post(MAIL, headers=KEY, json=make_mail(*map(make_person, range(5)))) for _ in range(41)]
        assert [it.status_code for it in sent] == [202] * 40 + [429]
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    at = [row["at"] for row in rows if row["kind"] == "sms"]
    assert len(at) == sum(it.status_code == 201 for it in answers) >= 80
    assert all(later - sooner > 1 for sooner, later in zip(at, at[40:], strict=False))


def test_a_window_slides():
    window, passed = Window(3), []
    for tick in range(400):
        now = tick / 100
        if window.has_room(now):
            window.take(now)
            passed.append(now)
    assert all(sum(start <= it <= start + 1 for it in passed) <= 3 for start in passed)
    assert len(passed) == 12
    slow = Window(0.5)
    slow.take(0.0)
    assert not slow.has_room(2.0)
    assert slow.has_room(2.1)
    assert Window(None).has_room(0)


# The process


def test_it_goes_with_whoever_started_it():
    code = (
        "import time; from retention.bench.stub import start_stub\n"
        "with start_stub() as stub: print(stub.pid, flush=True); time.sleep(60)"
    )
    path = os.pathsep.join(filter(None, (str(ROOT / "plugins"), os.environ.get("PYTHONPATH"))))
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    with parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not is_alive(pid))


def test_it_stops_when_told_and_says_one_line():
    command = [sys.executable, "-m", "retention.bench.stub", "--port", "0"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, ("plugins", os.environ.get("PYTHONPATH"))))}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=env
    )
    port = json.loads(process.stdout.readline())["port"]
    assert httpx.get(f"http://127.0.0.1:{port}/_record").json()["requests"] == 0
    process.terminate()
    said, errors = process.communicate(timeout=5)
    assert (process.returncode, said, errors) == (0, b"", b"")


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
