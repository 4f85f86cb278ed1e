"""What goes out: valid against the providers' documents for every shipped template, the same text both ways, no name a
command. What comes back: every answer read as what it means."""

import json
import unicodedata
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.delivery.accounts import read_account
from retention.delivery.channels import PROVIDERS
from retention.delivery.channels.base import Call, Letter, Receipt
from retention.delivery.channels.sendgrid import SendGridProvider
from retention.delivery.channels.twilio import TwilioProvider
from retention.delivery.choose import open_provider
from retention.delivery.http import Answer
from retention.delivery.render import Renderer
from retention.delivery.sheets import Sheet, needs_each_person
from retention.delivery.tokens import STATUS, UNSUBSCRIBE, Signer
from retention.errors import AccountRefused, ConfigError
from retention.journey.files import read_files
from retention.journey.load import load
from tests.delivery.openapi import check_request
from tests.world import INCLUDE

KEY = "0123456789abcdef0123456789abcdef"
NOW = datetime(2026, 12, 1, 2, 0, tzinfo=UTC)
SID = "AC" + "a" * 32
SHIPPED = load(read_files(INCLUDE)).versions
STEPS = [(name, step.id) for name, version in SHIPPED.items() for step in version.journey.steps]
HOSTILE = [
    "李雷",
    "",
    None,
    'O\'Neil "Bo" <b>&amp;',
    "🎂👩‍👩‍👧 emoji",
    "{{ coupon.code }}{% for %}{#",
    "-mark- -0t- -name-",
    "<%asm_group_unsubscribe_raw_url%> [unsubscribe] %name%",
    "line\r\nBcc: all@example.com\r\n\r\nbody",
    "a\u2028b\u0085c\x00d\x1b[2J",
    "\ue0000t\ue001 \ue0001h\ue001",
    "x" * 3000,
    "妞" * 4000,
    "\u202egnp.exe",
    "&#x27;); drop table",
]


def speak(name):
    """A name as it stands in a message: in one line, without what is no character or turns the words around it."""
    kept = "".join(it for it in " ".join(name.split()) if not unicodedata.category(it) == "Cc" and it not in "\u202e")
    return " ".join(kept.split())


@dataclass
class Row:
    message_id: int = 7
    customer_id: str = "c"
    channel: str = "email"
    address: str = "ann@example.com"
    locale: str = "zh-CN"
    name: str | None = "Ann"
    template: str | None = None
    facts: str | None = None
    coupon_code: str | None = "ABCDEFGH23"
    coupon_kind: str | None = "percent_off"
    coupon_value: Any = 20
    coupon_minimum: Any = None
    coupon_currency: str | None = None
    coupon_gift: str | None = None
    coupon_valid_until: datetime | None = datetime(2026, 12, 8, 15, 59, tzinfo=UTC)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("RETENTION_SIGNING_KEY", KEY)
    monkeypatch.setenv("RETENTION_PUBLIC_URL", "https://hello.example.com/")
    email = {"conn_type": "sendgrid", "password": "SG.secret", "extra": {"from_email": "news@example.com"}}
    sms = {"conn_type": "twilio", "login": SID, "password": "secret", "extra": {"senders": {"*": "+15005550006"}}}
    monkeypatch.setenv("AIRFLOW_CONN_RETENTION_EMAIL", json.dumps(email))
    monkeypatch.setenv("AIRFLOW_CONN_RETENTION_SMS", json.dumps(sms))


@pytest.fixture
def open_channel():
    opened = []

    def open_channel(channel, **extra):
        account = read_account(channel)
        opened.append(open_provider(channel, replace(account, extra={**account.extra, **extra}), lambda: NOW))
        return opened[-1]

    yield open_channel
    for provider in opened:
        provider.close()


def check(request):
    headers = dict(line.split(": ", 1) for line in request.headers)
    check_request(request.method, request.url, headers, request.body)


def filled(body: dict, person: dict) -> tuple[str, str, str | None]:
    """What SendGrid makes of a request for one person: every mark in subject and content replaced by its value."""
    parts = [body["subject"], *(part["value"] for part in body["content"])]
    for mark, value in person.get("substitutions", {}).items():
        parts = [part.replace(mark, value) for part in parts]
    return parts[0], parts[1], parts[2] if len(parts) > 2 else None


# --- what goes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["zh-CN", "en", "en-GB", "fr"])
@pytest.mark.parametrize(("journey", "step"), STEPS)
def test_every_shipped_email_is_valid_and_the_same_both_ways(open_channel, journey, step, locale):
    provider = open_channel("email")
    shared, each = (Renderer(SHIPPED[journey], step, each_person=it) for it in (False, True))
    rows = [Row(n, name=name, locale=locale, address=f"c{n}@example.com") for n, name in enumerate(HOSTILE, 1)]
    filled_by_provider = [shared.write(row, mode="live") for row in rows]
    rendered_here = [each.write(row, mode="live") for row in rows]
    for ours, whole in zip(filled_by_provider, rendered_here, strict=True):
        assert (ours.subject, ours.text, ours.html) == (whole.subject, whole.text, whole.html)
        assert "\n" not in ours.subject and "\r" not in ours.subject
        assert not {"\ue000", "\ue001"} & set(ours.text.replace("\ue0000t\ue001", "").replace("\ue0001h\ue001", ""))
    assert sum(letter.sheet.is_own for letter in filled_by_provider) == 0
    for letters in (filled_by_provider, rendered_here):
        seen = {}
        for request in provider.build(letters):
            check(request)
            body = orjson.loads(request.body)
            for person, letter in zip(body["personalizations"], request.what.letters, strict=True):
                assert filled(body, person) == (letter.subject, letter.text, letter.html)
                assert person["custom_args"]["retention_message"] == str(letter.message_id)
                seen[letter.message_id] = person
        assert set(seen) == {row.message_id for row in rows}
        if SHIPPED[journey].templates[SHIPPED[journey].journey.step(step).send.template].purpose == "marketing":
            for message_id, person in seen.items():
                [link] = person["headers"].values()
                assert link.startswith("<https://hello.example.com/u/") and link.endswith(">")
                assert Signer((KEY,)).read(UNSUBSCRIBE, link[1:-1].rpartition("/")[2]) == message_id
            assert orjson.loads(request.body)["headers"] == {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
        else:
            assert not any("headers" in it for it in (body, *seen.values())), "service can't be unsubscribed from"
    # Most of them share a request, whichever way they are written.
    assert len(provider.build(filled_by_provider)) <= 5


@pytest.mark.parametrize("locale", ["zh-CN", "en"])
@pytest.mark.parametrize(("journey", "step"), STEPS)
def test_every_shipped_sms_is_valid_and_the_same_both_ways(open_channel, journey, step, locale):
    provider = open_channel("sms", max_segments="none")
    for name in HOSTILE:
        if name and len(name) > 1000:
            continue  # Twilio takes 1,600 characters: the next test
        row = Row(9, channel="sms", address="+8613800138000", name=name, locale=locale)
        ours, whole = (Renderer(SHIPPED[journey], step, each_person=it).write(row, mode="live") for it in (False, True))
        assert ours.text == whole.text
        [request] = provider.build([ours])
        check(request)
        form = parse_qs(request.body.decode())
        assert form["Body"] == [ours.text] and form["To"] == ["+8613800138000"] and form["From"] == ["+15005550006"]
        [callback] = form["StatusCallback"]
        assert callback.startswith("https://hello.example.com/events/twilio/")
        assert Signer((KEY,)).read(STATUS, callback.rpartition("/")[2]) == 9


def test_what_is_too_long_to_pay_for_is_refused_before_it_goes_out(open_channel):
    row = Row(9, channel="sms", address="+8613800138000", name="x" * 3000)
    letter = Renderer(SHIPPED["birthday_care"], "greeting").write(row, mode="live")
    assert open_channel("sms").build([letter]) == [Receipt(9, "refused", reason="too_long 46")]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["zh-CN", "en"]), st.sampled_from(["email", "sms"]))
def test_any_name_reads_the_same_both_ways(name, locale, channel):
    address = "a@example.com" if channel == "email" else "+8613800138000"
    row = Row(name=name, locale=locale, channel=channel, address=address)
    ours, whole = (
        Renderer(SHIPPED["birthday_care"], "greeting", each_person=it).write(row, mode="live") for it in (False, True)
    )
    assert (ours.subject, ours.text, ours.html) == (whole.subject, whole.text, whole.html)


@pytest.mark.parametrize(
    ("source", "is_each"),
    [
        ("Hello {{ customer.name }}", False),
        ("{% if customer.name %}{{ customer.name }}{% else %}you{% endif %}", False),
        ("{% if not customer.name and coupon.code %}x{% endif %}", False),
        ('{{ customer.name | default("friend", true) }}', False),
        ("{{ customer.name | trim }}", False),
        ("{{ shop.name | upper }} {% if coupon.value >= 20 %}{{ coupon.zhe }}{% endif %}", False),
        ("{{ customer.name | upper }}", True),
        ("{{ customer.name | default('x') | title }}", True),
        ('{% if customer.name == "Ann" %}x{% endif %}', True),
        ('{% if not (coupon.code | lower == "a") %}x{% endif %}', True),
        ("a \ue0000t\ue001 b", True),
    ],
)
def test_which_templates_need_each_person(source, is_each):
    assert needs_each_person(source) is is_each


def test_a_letter_for_each_person_travels_together_until_it_is_too_long(open_channel):
    def letter(n, size):
        sheet = Sheet("en", "Shop", True, ("t" * size,), (f"s{n}",), ("<p>" + "h" * size,), is_own=True)
        return Letter(n, "email", "live", f"c{n}@example.com", sheet)

    requests = open_channel("email").build([*(letter(n, 400) for n in range(30)), letter(90, 6000), letter(91, 60_000)])
    assert [len(it.what.letters) for it in requests] == [30, 1, 1]
    for request in requests:
        check(request)
    assert "substitutions" not in orjson.loads(requests[-1].body)["personalizations"][0]


def test_a_transactional_letter_offers_no_way_out_of_it(open_channel):
    sheet = Sheet("en", "Shop", False, ("Your order",), ("Order",), ("<p>Your order",))
    [request] = open_channel("email").build([Letter(1, "email", "live", "a@example.com", sheet)])
    check(request)
    body = orjson.loads(request.body)
    assert "headers" not in body and "headers" not in body["personalizations"][0]


def test_the_sender_follows_the_country(open_channel):
    service = "MG" + "b" * 32
    provider = open_channel("sms", senders={"CN": service, "US": "+15005550006"})
    sheet = Sheet("en", "Shop", True, ("Hello",))

    def build(number):
        [made] = provider.build([Letter(1, "sms", "live", number, sheet)])
        return made

    assert parse_qs(build("+8613800138000").body.decode())["MessagingServiceSid"] == [service]
    assert parse_qs(build("+12025550123").body.decode())["From"] == ["+15005550006"]
    assert build("+14165550123") == Receipt(1, "refused", reason="no_sender")  # Canada shares the United States' +1


# --- what comes back ------------------------------------------------------------------------------------------------

LETTER = Letter(1, "sms", "live", "+8613800138000", Sheet("en", "Shop", True, ("Hello",)))


def answer(status, body=None, **headers):
    return Answer("answered", status, headers, orjson.dumps(body) if body is not None else b"")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (201, {"sid": "SM1"}, ("accepted", None, None)),
        (201, {}, ("unknown", "twilio no sid", None)),
        (429, {"code": 20429}, ("later", "twilio 20429", None)),
        (503, None, ("later", "twilio 503", None)),
        (502, None, ("unknown", "twilio 502", None)),
        (504, None, ("unknown", "twilio 504", None)),
        (408, None, ("later", "twilio 408", None)),
        (425, None, ("later", "twilio 425", None)),
        (400, {"code": 21611}, ("later", "twilio 21611", None)),
        (400, {"code": 21610}, ("refused", "opted_out 21610", "opted_out")),
        (400, {"code": 21211, "message": "+8613800138000 is not valid"}, ("refused", "invalid 21211", "invalid")),
        (400, {"code": 21614}, ("refused", "not_mobile 21614", "not_mobile")),
        (400, {"code": 21408}, ("refused", "region 21408", None)),
        (400, {"code": 99999}, ("refused", "refused 99999", None)),
        (400, {"code": "x"}, ("split", "refused 400", None)),
    ],
)
def test_twilio_s_answers(open_channel, status, body, expected):
    reading = open_channel("sms").read(answer(status, body), Call((LETTER,)))
    assert (reading.result, reading.reason, reading.suppress) == expected


@pytest.mark.parametrize(("status", "code"), [(401, 20003), (404, 20404), (400, 21606), (400, 21212)])
def test_twilio_refuses_the_account(open_channel, status, code):
    with pytest.raises(AccountRefused, match=f"{code}.*Connection retention_sms"):
        open_channel("sms").read(answer(status, {"code": code}), Call((LETTER,)))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (202, None, ("accepted", None, None)),
        (429, None, ("later", "sendgrid 429", None)),
        (500, None, ("later", "sendgrid 500", None)),
        (502, None, ("unknown", "sendgrid 502", None)),
        (504, None, ("unknown", "sendgrid 504", None)),
        (408, None, ("later", "sendgrid 408", None)),
        (200, None, ("unknown", "sendgrid 200", None)),
        (413, None, ("split", "invalid 413", None)),
        (400, {"errors": [{"field": "personalizations.3.to.0.email"}]}, ("split", "invalid 400", "invalid")),
        (400, {"errors": [{"field": "personalizations.3.substitutions"}]}, ("split", "invalid 400", None)),
        (400, {"errors": [{"field": None}]}, ("split", "invalid 400", None)),
        (400, ["?"], ("split", "invalid 400", None)),
    ],
)
def test_sendgrid_s_answers(open_channel, status, body, expected):
    reading = open_channel("email").read(answer(status, body), Call((LETTER,)))
    assert (reading.result, reading.reason, reading.suppress) == expected


@pytest.mark.parametrize(("status", "field"), [(401, None), (403, None), (400, "from.email"), (400, "content.0.value")])
def test_sendgrid_refuses_the_account(open_channel, status, field):
    with pytest.raises(AccountRefused, match="Connection retention_email"):
        open_channel("email").read(answer(status, {"errors": [{"field": field}]}), Call((LETTER,)))


@pytest.mark.parametrize("channel", ["email", "sms"])
@pytest.mark.parametrize("status", [301, 404, 405, 410])
def test_whoever_answers_there_is_not_the_provider(open_channel, channel, status):
    with pytest.raises(AccountRefused, match=f"Connection retention_{channel}"):
        open_channel(channel).read(answer(status), Call((LETTER,)))


@pytest.mark.parametrize(("channel", "status"), [("email", 200), ("email", 204), ("sms", 200), ("sms", 204)])
def test_a_success_that_is_not_the_provider_s_ends_the_sending(open_channel, channel, status):
    reading = open_channel(channel).read(answer(status), Call((LETTER,)))
    assert reading.result == "unknown" and "does not answer like" in reading.ends
    assert f"Connection retention_{channel}" in reading.ends and "api." in reading.ends


# --- accounts and tokens --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{not json", "is no Connection"),
        ('{"conn_type": "smtp"}', 'has the type "smtp", which does not carry email. Types: sendgrid, outbox.'),
        ('{"conn_type": "sendgrid"}', "has no password"),
        ('{"conn_type": "sendgrid", "password": "SG.hidden"}', 'extra has no "from_email"'),
        ('{"conn_type": "sendgrid", "password": "SG.hidden\\n", "extra": {"from_email": "a@b.co"}}', "password has characters"),
        ('{"conn_type": "sendgrid", "password": "SG.hiddené", "extra": {"from_email": "a@b.co"}}', "password has characters"),
        (
            '{"conn_type": "sendgrid", "password": "SG.hidden", "host": "h\u00f6st", "extra": {"from_email": "a@b.co"}}',
            "host has characters",
        ),
        (
            '{"conn_type": "sendgrid", "password": "SG.hidden", "extra": {"from_email": "a@b@c"}}',
            '"from_email" is no e-mail address',
        ),
        (
            '{"conn_type": "sendgrid", "password": "SG.hidden", "extra": {"from_email": "a@b.co", "form_name": "x"}}',
            'extra has an unknown key "form_name". Keys: from_email,',
        ),
        (
            '{"conn_type": "sendgrid", "password": "SG.hidden", "extra": {"from_email": "a@b.co", "per_second": 0}}',
            'extra "per_second" is 0. Write a number from 0.01 on, or "none".',
        ),
    ],
)
def test_a_wrong_connection_is_named_and_keeps_its_secret(monkeypatch, value, said):
    monkeypatch.setenv("AIRFLOW_CONN_RETENTION_EMAIL", value)
    with pytest.raises(ConfigError) as caught:
        open_provider("email", read_account("email"), lambda: NOW)
    assert said in str(caught.value) and "SG.hidden" not in str(caught.value)


def test_connections_as_uris_and_as_json_are_the_same(monkeypatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_RETENTION_SMS",
        f"twilio://{SID}:s%2Fecret@127.0.0.1:8080/http?__extra__=%7B%22senders%22%3A+%7B%22%2A%22%3A+%22x%22%7D%7D",
    )
    uri = read_account("sms")
    fields = {"conn_type": "twilio", "login": SID, "password": "s/ecret", "host": "127.0.0.1", "port": 8080}
    as_json = {**fields, "schema": "http", "extra": {"senders": {"*": "x"}}}
    monkeypatch.setenv("AIRFLOW_CONN_RETENTION_SMS", json.dumps(as_json))
    assert uri == read_account("sms")
    assert uri.base_url == "http://127.0.0.1:8080" and "secret" not in repr(uri)


@pytest.mark.parametrize("url", ["", "http://hello.example.com", "hello.example.com"])
def test_a_provider_needs_an_address_to_report_to(monkeypatch, url):
    monkeypatch.setenv("RETENTION_PUBLIC_URL", url)
    with pytest.raises(ConfigError, match="RETENTION_PUBLIC_URL"):
        open_provider("sms", read_account("sms"), lambda: NOW)


def test_a_token_serves_one_purpose_and_outlives_its_key():
    old, new = Signer(("o" * 32,)), Signer(("n" * 32, "o" * 32))
    token = old.sign(STATUS, 12345678901)
    assert new.read(STATUS, token) == 12345678901 and new.read(UNSUBSCRIBE, token) is None
    assert Signer(("n" * 32,)).read(STATUS, token) is None
    for forged in ("", ".", "s1", "s1.", token[:-1], token + "A", "s3" + token[2:], "\u0661" + token, token.upper()):
        assert new.read(STATUS, forged) is None
    assert token.isascii() and len(token) < 40


def test_the_registry_has_the_providers_and_types_name_their_channel(open_channel):
    assert PROVIDERS["email"] == {"sendgrid": SendGridProvider} and PROVIDERS["sms"] == {"twilio": TwilioProvider}
    for channel in ("email", "sms"):  # the contract of all of them: test_contract.py
        assert open_channel(channel).account.endswith(f":retention_{channel}")


@pytest.mark.parametrize("sender", ["+15005550006", "12345", "Shop", "MG" + "b" * 32])
def test_who_may_send_sms(open_channel, sender):
    open_channel("sms", senders={"*": sender})


@pytest.mark.parametrize("sender", ["+1", "MG123", "A name too long", "\u5e97", "", 7])
def test_who_may_not(open_channel, sender):
    with pytest.raises(ConfigError, match="no sender for"):
        open_channel("sms", senders={"*": sender})


def test_a_name_turns_no_words_around_and_holds_no_commands():
    row = Row(name="\u202eevil\u2066\x00\x1b[2J\x9d")
    letter = Renderer(SHIPPED["birthday_care"], "greeting").write(row, mode="live")
    assert not set("\u202e\u2066\x00\x1b\x9d") & set(letter.text + letter.subject) and "evil[2J" in letter.text
