"""The channel webhook: what goes out is the published format, signed as the documents say; every answer is understood."""

import hmac
import json
import re
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import jsonschema
import orjson
import pytest

from retention.bench.stub_gateway import SECRETS
from retention.delivery.accounts import make_account, read_account
from retention.delivery.channels.base import Call, Letter, OpenGate, Sent
from retention.delivery.choose import open_provider
from retention.delivery.http import Answer
from retention.delivery.render import Renderer
from retention.delivery.sheets import Sheet
from retention.errors import AccountRefused, ConfigError
from tests.delivery.tea import NOW, make_row, make_version, set_accounts
from tests.delivery.test_channels import HOSTILE, speak
from tests.delivery.test_contract import answering

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "webhook.schema.json").read_text(encoding="utf-8"))
DOCUMENT = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")
VERSION = make_version()


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    set_accounts(monkeypatch, "http://127.0.0.1:9")


@pytest.fixture
def open_gateway():
    opened = []

    def open_gateway(clock=lambda: NOW, password=None, base_url=None, **extra):
        account = read_account("webhook")
        account = replace(
            account,
            password=password if password is not None else account.password,
            base_url=base_url if base_url is not None else account.base_url,
            extra={**account.extra, **extra},
        )
        opened.append(open_provider("webhook", account, clock))
        return opened[-1]

    yield open_gateway
    for provider in opened:
        provider.close()


def check(body: dict) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(body)


def say(name: str, body: dict) -> None:
    """An answer, as the schema has it."""
    jsonschema.Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{name}", "required": [], "properties": {},
                                     "additionalProperties": True}).validate(body)  # fmt: skip


def headers_of(request) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in request.headers())


# --- what goes out --------------------------------------------------------------------------------------------------


def test_the_schema_is_one_and_the_documents_example_fits_it():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    [example] = re.findall(r"```json\n(\{\"batch\".*?)```", DOCUMENT, re.S)
    check(json.loads(example))


@pytest.mark.parametrize("locale", ["zh-CN", "en"])
@pytest.mark.parametrize("each_person", [False, True])
def test_any_name_fits_the_format(open_gateway, locale, each_person):
    renderer = Renderer(VERSION, "greeting", each_person=each_person)
    names = [*HOSTILE, "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), '"}]}', "\\u0000"]
    rows = [make_row("webhook", n, name=name, locale=locale) for n, name in enumerate(names, 1)]
    letters = [renderer.write(row, mode="live", batch_id=12) for row in rows]
    [request] = open_gateway().build(letters)
    body = json.loads(request.body)
    check(body)
    assert (body["batch"], body["mode"]) == (12, "live")
    for told, letter, row in zip(body["messages"], letters, rows, strict=True):
        assert (told["id"], told["customer_id"], told["address"]) == (row.message_id, row.customer_id, row.address)
        assert (told["text"], told.get("title")) == (letter.text, letter.subject)
        assert (told["journey"], told["step"], told["purpose"]) == ("tea_news", "greeting", "marketing")
        assert ("title" in told) is (locale == "zh-CN")
        assert "\n" not in told.get("title", "") and "\r" not in told.get("title", "")
        if row.name:
            assert speak(row.name) in told["text"]
    for line in request.headers():
        assert line.isascii() and line.isprintable()


def test_a_request_is_signed_by_the_first_secret_when_it_begins(open_gateway):
    now = [NOW]
    provider = open_gateway(clock=lambda: now[0], password=" first-secret-of-ours , second-secret-of-ours")
    [request] = provider.build([Letter(7, "webhook", "live", "c1", Sheet("en", "Shop", True, ("Hello",)))])
    for later in (timedelta(0), timedelta(hours=1)):
        now[0] = NOW + later
        headers = headers_of(request)
        stamp = str(int(now[0].timestamp()))
        signed = hmac.new(b"first-secret-of-ours", stamp.encode() + b"." + request.body, "sha256").hexdigest()
        assert (headers["Retention-Timestamp"], headers["Retention-Signature"]) == (stamp, signed)
    assert headers["Content-Type"] == "application/json"


def test_the_idempotency_key_is_that_of_the_messages(open_gateway):
    def key(*ids, batch=1, text="Hello"):
        sheet = Sheet("en", "Shop", True, (text,))
        [request] = open_gateway().build([Letter(n, "webhook", "live", "c", sheet, (), batch) for n in ids])
        return headers_of(request)["Idempotency-Key"]

    assert key(1, 2) == key(1, 2) != key(1, 3)
    assert len({key(1), key(2), key(12), key(1, 2)}) == 4
    assert re.fullmatch("[0-9a-f]{32}", key(1))


def test_a_batch_is_cut(open_gateway):
    letters = [Letter(n, "webhook", "live", f"c{n}", Sheet("en", "S", True, ("Hi",))) for n in range(1, 101)]
    assert [len(it.what.letters) for it in open_gateway(batch_size="30").build(letters)] == [30, 30, 30, 10]
    [whole] = open_gateway().build(letters)
    check(json.loads(whole.body))


def test_the_receiving_end_of_the_documents_works(open_gateway, monkeypatch):
    [source] = re.findall(r"```python\n(import hmac.*?)```", DOCUMENT, re.S)
    assert len([line for line in source.splitlines() if line.strip()]) <= 10
    there: dict = {}
    exec(source, there)
    there["SECRETS"] = [b"an-older-secret-of-ours", SECRETS[0].encode()]
    monkeypatch.setattr(there["time"], "time", NOW.timestamp)
    letters = [Letter(n, "webhook", "live", f"c{n}", Sheet("en", "S", True, ("Hi",))) for n in (1, 2, 3)]
    provider = open_gateway()
    [request] = provider.build(letters)
    status, said = there["receive"](headers_of(request), request.body, lambda it: it["id"] != 2)
    say("answer", said)
    reading = provider.read(Answer("answered", status, {}, orjson.dumps(said)), request.what)
    receipts = {it.message_id: provider.make_receipt(it, reading, request.what) for it in letters}
    assert [receipts[n].result for n in (1, 2, 3)] == ["accepted", "refused", "accepted"]
    assert (receipts[2].reason, receipts[2].suppress) == ("gateway invalid", "invalid")
    there["SECRETS"] = [b"another-secret"]
    assert there["receive"](headers_of(request), request.body, bool)[0] == 401
    there["SECRETS"] = [SECRETS[0].encode()]
    assert there["receive"](headers_of(request), request.body + b" ", bool)[0] == 401
    monkeypatch.setattr(there["time"], "time", lambda: NOW.timestamp() + 301)
    assert there["receive"](headers_of(request), request.body, bool)[0] == 401


# --- what comes back ------------------------------------------------------------------------------------------------

LETTERS = tuple(Letter(n, "webhook", "live", f"c{n}", Sheet("en", "S", True, ("Hi",))) for n in (1, 2, 3))


def read(provider, status, body=b""):
    """Result, reason and suppression of each of three messages."""
    call = Call(LETTERS)
    reading = provider.read(Answer("answered", status, {}, body), call)
    receipts = [provider.make_receipt(it, reading, call) for it in LETTERS]
    return reading.result, [(it.result, it.reason, it.suppress) for it in receipts]


@pytest.mark.parametrize(
    "body", [b"", b" \n", b"OK", b"<html>", b"null", b"[]", b"{}", b'{"refused": []}', b'{"x": 1}']
)
@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_all_are_taken(open_gateway, status, body):
    assert read(open_gateway(), status, body) == ("accepted", [("accepted", None, None)] * 3)


@pytest.mark.parametrize(
    ("row", "reason", "suppress"),
    [
        ({"id": 2, "reason": "opted_out"}, "gateway opted_out", "opted_out"),
        ({"id": "2", "reason": "blocked"}, "gateway blocked", "blocked"),
        ({"id": 2, "reason": "quota_45009"}, "gateway quota_45009", None),
        ({"id": 2}, "gateway refused", None),
        ({"id": 2, "reason": "no such number: +8613800138000"}, "gateway refused", None),
        ({"id": 2, "reason": "13800138000"}, "gateway refused", None),
        ({"id": 2, "reason": "u13800138000"}, "gateway refused", None),
        ({"id": 2, "reason": {"a": 1}}, "gateway refused", None),
    ],
)
def test_one_is_refused(open_gateway, row, reason, suppress):
    _, receipts = read(open_gateway(), 200, orjson.dumps({"refused": [row]}))
    assert receipts == [("accepted", None, None), ("refused", reason, suppress), ("accepted", None, None)]


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"refused": 1}', b'{"refused": [2]}', b'{"refused": [{"id": 9}]}', b'{"refused": [{"id": true}]}',
     b'{"refused": [{"id": 2}, {}]}', b'{"refused": [{"id": "\\u0662"}', b'{"refused": {"2": "x"}}'],
)  # fmt: skip
def test_a_refusal_that_is_not_understood_leaves_all_in_doubt(open_gateway, body):
    _, receipts = read(open_gateway(), 200, body)
    assert receipts == [("unknown", "webhook answer not understood", None)] * 3


@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, "later"), (408, "later"), (409, "later"), (425, "later"), (500, "later"), (503, "later"), (400, "split"),
     (413, "split"), (422, "split"), (100, "unknown")],
)  # fmt: skip
def test_other_answers(open_gateway, status, expected):
    assert read(open_gateway(), status)[0] == expected


@pytest.mark.parametrize("status", [401, 403, 404, 405, 410, 415, 418, 301, 302, 307])
def test_a_gateway_that_wants_nothing(open_gateway, status):
    with pytest.raises(AccountRefused, match=f"{status}.*Connection retention_webhook"):
        read(open_gateway(), status)


def test_a_bad_request_is_halved_down_to_the_one(monkeypatch):
    """By the stub: a customer whom it refuses with 400, and two whom it names."""
    from retention.bench.stub import start_stub

    with start_stub(is_counting_repeats=True) as stub:
        set_accounts(monkeypatch, stub.url)
        sheet = Sheet("en", "S", True, ("Hi",))
        ids = {n: f"c{n}" for n in range(1, 21)} | {7: "bad-7", 3: "refused-opted_out", 12: "refused-later"}
        letters = [Letter(n, "webhook", "live", it, sheet) for n, it in ids.items()]
        receipts = {}
        with closing(open_provider("webhook", read_account("webhook"), lambda: NOW)) as provider:
            provider.hand_over(letters, OpenGate(), lambda it: receipts.update({it.message_id: it}))
        said = stub.fetch_record()
    assert (said["webhook"], said["duplicates"]) == (17, 0)
    assert {n for n, it in receipts.items() if it.result == "refused"} == {3, 7, 12}
    assert (receipts[7].reason, receipts[7].suppress) == ("refused 400", None)
    assert (receipts[3].reason, receipts[3].suppress) == ("gateway opted_out", "opted_out")


# --- asking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"messages": [{"id": 1, "status": "accepted"}, {"id": "2", "status": "refused", "reason": "blocked"}]},
         {1: "accepted", 2: "refused"}),
        ({"messages": [{"id": 1, "status": "lost"}, {"id": 99, "status": "accepted"}, 5, {}]}, {}),
        ({"messages": {"1": "accepted"}}, {}),
        ([], {}),
    ],
)  # fmt: skip
def test_the_status_address(open_gateway, body, found):
    with answering(200, body=orjson.dumps(body)) as (url, asked):
        provider = open_gateway(status_url=f"{url}/status")
        got = provider.look_up([Sent(n, 1, f"c{n}", 0.0) for n in (1, 2, 3)])
    assert {n: it.result for n, it in got.items()} == found
    [(path, headers, _)] = asked
    assert path == "/status?ids=1,2,3"
    signed = hmac.new(
        SECRETS[0].encode(), headers["Retention-Timestamp"].encode() + b".ids=1,2,3", "sha256"
    ).hexdigest()
    assert headers["Retention-Signature"] == signed


def test_without_a_status_address_doubts_stay(open_gateway):
    assert open_gateway(status_url=None).look_up([Sent(1, 1, "c1", 0.0)]) == {}


# --- the Connection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "http://gateway.example.com/x", "ftp://gateway.example.com/", "https://", "https:///x", "file:///etc/passwd",
     "https://user:word@gateway.example.com/", "https://gateway.example.com/?key=1", "https://gateway.example.com/#x",
     "https://gateway.example.com/a b", "https://gateway.example.com/\r\nX: y", "http://127.0.0.1.example.com/",
     "http://169.254.169.254/latest", "https://gateway.example.com:99999/", "javascript://gateway.example.com/"],
)  # fmt: skip
def test_addresses_that_are_refused(open_gateway, url):
    with pytest.raises(ConfigError, match="Connection retention_webhook: (has no host|host is no address)"):
        open_gateway(base_url=url)
    if url:
        with pytest.raises(ConfigError, match="status_url"):
            open_gateway(status_url=url)


@pytest.mark.parametrize(
    "url", ["https://gateway.example.com/x/", "http://127.0.0.1:8080", "http://localhost:1/x", "http://[::1]:80/"]
)
def test_addresses_that_are_taken(open_gateway, url):
    assert open_gateway(base_url=url).build(LETTERS)[0].url == url


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": ""}, "has no password"),
        ({"password": "short"}, "password shorter than 16"),
        ({"password": "long-enough-for-a-secret,short"}, "password shorter than 16"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 101}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"timeout_s": 61}, "timeout_s"),
        ({"timeout_s": "none"}, "timeout_s"),
        ({"per_second": 0}, "per_second"),
        ({"colour": "red"}, "unknown key"),
    ],
)
def test_a_wrong_connection(open_gateway, change, said):
    with pytest.raises(ConfigError, match=said) as caught:
        open_gateway(**change)
    assert "short," not in str(caught.value) and "long-enough" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("https://gateway.example.com/messages", 443, "https://gateway.example.com:443/messages"),
        ("https://gateway.example.com:8443/messages", 443, "https://gateway.example.com:8443/messages"),
        ("gateway.example.com", None, "https://gateway.example.com"),
        ("https://gateway.example.com/", None, "https://gateway.example.com"),
        ("gateway.example.com", 8443, "https://gateway.example.com:8443"),
    ],
)
def test_a_port_stands_where_it_belongs(host, port, url):
    account = make_account(
        "retention_webhook", conn_type="webhook", host=host, login=None, password="x", schema=None, port=port, extra={}
    )
    assert account.base_url == url
