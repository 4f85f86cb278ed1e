"""WhatsApp by Twilio: approved content only, valid against the official document whatever a customer's name holds."""

import json
import re
from contextlib import closing
from dataclasses import replace
from urllib.parse import parse_qs

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.bench.stub import start_stub
from retention.delivery.accounts import read_account
from retention.delivery.channels.base import Call, Letter, OpenGate, Receipt
from retention.delivery.choose import open_provider
from retention.delivery.http import Answer
from retention.delivery.links import Links
from retention.delivery.render import Renderer
from retention.delivery.sheets import Sheet
from retention.delivery.tokens import STATUS, UNSUBSCRIBE, Signer
from retention.errors import AccountRefused, ConfigError
from tests.delivery.openapi import check_request
from tests.delivery.tea import CONTENT, FILES, KEY, NOW, make_row, make_version, set_accounts
from tests.delivery.test_channels import HOSTILE, speak

VERSION = make_version()


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    set_accounts(monkeypatch, "http://127.0.0.1:9")


@pytest.fixture
def open_whatsapp():
    opened = []

    def open_whatsapp(**extra):
        account = read_account("whatsapp")
        account = replace(account, extra={**account.extra, **extra})
        opened.append(open_provider("whatsapp", account, lambda: NOW))
        return opened[-1]

    yield open_whatsapp
    for provider in opened:
        provider.close()


def write(name="王小明", locale="zh-CN", n=9, each_person=False):
    row = make_row("whatsapp", n, name=name, locale=locale)
    return Renderer(VERSION, "greeting", each_person=each_person).write(row, mode="live")


def read_form(request):
    check_request("POST", request.url, dict(line.split(": ", 1) for line in request.headers), request.body)
    return {name: values[0] for name, values in parse_qs(request.body.decode(), strict_parsing=True).items()}


@pytest.mark.parametrize("locale", ["zh-CN", "en", "en-GB", "fr"])
def test_every_name_goes_out_as_content_and_the_same_both_ways(open_whatsapp, locale):
    provider = open_whatsapp()
    for name in HOSTILE:
        ours, whole = (write(name, locale, each_person=it) for it in (False, True))
        assert (ours.text, ours.variables) == (whole.text, whole.variables)
        [request] = provider.build([ours])
        form = read_form(request)
        assert (form["To"], form["From"]) == ("whatsapp:+8613800000009", "whatsapp:+15005550006")
        assert form["ContentSid"] == CONTENT["en" if locale.startswith("en") else "zh-CN"] and "Body" not in form
        assert Signer((KEY,)).read(STATUS, form["StatusCallback"].rpartition("/")[2]) == 9
        variables = json.loads(form["ContentVariables"])
        assert variables == ours.variables and list(variables) == [str(n) for n in range(1, len(variables) + 1)]
        known = speak(name) if name else ("friend" if locale.startswith("en") else "朋友")
        assert variables["1"] == known
        for value in variables.values():
            assert value.strip() and not re.search(r"[\r\n\t]| {5}", value)
            assert value in ours.text, "the preview is what the content says"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_name_is_one_line_and_none_is_empty(name):
    variables = write(name).variables
    assert all(value.strip() and not re.search(r"[\r\n\t\u2028\u2029]", value) for value in variables.values())


def test_the_shared_way_needs_no_rendering_for_each_person():
    renderer = Renderer(VERSION, "greeting")
    letters = [renderer.write(make_row("whatsapp", n, name=f"N{n}"), mode="live") for n in range(20)]
    assert len({id(it.sheet) for it in letters}) == 1 and not letters[0].sheet.is_own
    assert [it.variables["1"] for it in letters] == [f"N{n}" for n in range(20)]


def test_content_without_variables_names_none(open_whatsapp):
    letter = Letter(1, "whatsapp", "live", "+12025550123", Sheet("en", "S", True, ("Hi",), content_sid=CONTENT["en"]))
    [request] = open_whatsapp().build([letter])
    assert "ContentVariables" not in read_form(request)


@pytest.mark.parametrize(
    ("sheet", "reason"),
    [
        (Sheet("en", "S", True, ("Hi",)), "no_approved_content"),
        (Sheet("en", "S", True, ("Hi",), content_sid="HX1", variables=(("a",), (" ",))), "empty_variable 2"),
    ],
)
def test_what_may_not_go_out_is_refused_here(open_whatsapp, sheet, reason):
    letter = Letter(1, "whatsapp", "live", "+12025550123", sheet)
    assert open_whatsapp().build([letter]) == [Receipt(1, "refused", reason=reason)]


@pytest.mark.parametrize("sender", ["+15005550006", "whatsapp:+15005550006"])
def test_a_sender_with_and_without_the_prefix(open_whatsapp, sender):
    [request] = open_whatsapp(senders=sender).build([write()])
    assert read_form(request)["From"] == "whatsapp:+15005550006"


def test_a_messaging_service_and_senders_by_country(open_whatsapp):
    provider = open_whatsapp(senders={"CN": "MG" + "b" * 32, "US": "+15005550006"})
    form = read_form(provider.build([write()])[0])
    assert form["MessagingServiceSid"] == "MG" + "b" * 32 and "From" not in form
    letter = write()._replace(address="+447700900123")
    assert provider.build([letter]) == [Receipt(9, "refused", reason="no_sender")]


@pytest.mark.parametrize("key", ["segments_per_day", "max_segments"])
def test_what_is_for_sms_alone_is_refused(open_whatsapp, key):
    with pytest.raises(ConfigError, match=f'"{key}". WhatsApp has no segments'):
        open_whatsapp(**{key: 6})
    open_whatsapp(**{key: ""})  # as Airflow's form writes it


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, 63003, ("refused", "invalid 63003", "invalid")),
        (400, 63024, ("refused", "invalid 63024", "invalid")),
        (400, 63016, ("refused", "refused 63016", None)),
        (400, 21656, ("refused", "refused 21656", None)),
        (429, 63018, ("later", "twilio 63018", None)),
        (400, 63038, ("later", "twilio 63038", None)),
    ],
)
def test_answers(open_whatsapp, status, code, expected):
    said = Answer("answered", status, {}, orjson.dumps({"code": code}))
    reading = open_whatsapp().read(said, Call((write(),)))
    assert (reading.result, reading.reason, reading.suppress) == expected


@pytest.mark.parametrize(("code", "what"), [(63007, "retention_whatsapp"), (21655, CONTENT["zh-CN"])])
def test_what_every_other_message_would_hear(open_whatsapp, code, what):
    with pytest.raises(AccountRefused, match=f"{what}|{code}"):
        open_whatsapp().read(Answer("answered", 400, {}, orjson.dumps({"code": code})), Call((write(),)))


def test_an_accepted_one_costs_no_segments(monkeypatch):
    with start_stub(is_counting_repeats=True) as stub:
        set_accounts(monkeypatch, stub.url)
        receipts = []
        with closing(open_provider("whatsapp", read_account("whatsapp"), lambda: NOW)) as provider:
            letters = [write(name, n=n) for n, name in enumerate(HOSTILE, 1)]
            dead = [write(n=50)._replace(address="+15005550004")]
            provider.hand_over([*letters, *dead], OpenGate(), receipts.append)
        said = stub.fetch_record()
    assert (said["whatsapp"], said["sms"], said["duplicates"]) == (len(HOSTILE), 0, 0)
    results = {it.message_id: (it.result, it.segments, it.suppress) for it in receipts}
    assert results.pop(50) == ("refused", None, "opted_out")
    assert set(results.values()) == {("accepted", None, None)}


def test_a_variable_may_hold_the_customer_s_own_page(open_whatsapp):
    path = "templates/tea/news/whatsapp.zh-CN.txt"
    text = FILES[path].replace("2: {{ coupon.zhe }}", "2: {{ links.unsubscribe }}").replace("{{ coupon.zhe }}折", "")
    links = Links(Signer((KEY,)), "https://hello.example.com", lambda url: 1)
    version = make_version(**{path: f"{text}退订：{{{{ links.unsubscribe }}}}\n"})
    letters = [
        Renderer(version, "greeting", links=links, each_person=it).write(make_row("whatsapp", 9), mode="live")
        for it in (False, True)
    ]
    assert letters[0].variables == letters[1].variables and letters[0].text == letters[1].text
    page = json.loads(read_form(open_whatsapp().build(letters[:1])[0])["ContentVariables"])["2"]
    assert page in letters[0].text and page.startswith("https://hello.example.com/u/")
    assert Signer((KEY,)).read(UNSUBSCRIBE, page.rpartition("/")[2]) == 9


def test_a_variable_is_one_line_whatever_the_template_does():
    path = "templates/tea/news/whatsapp.zh-CN.txt"
    version = make_version(**{path: FILES[path].replace("2: {{ coupon.zhe }}", '2: {{ coupon.zhe }}{{ "\\n折" }}')})
    assert Renderer(version, "greeting").write(make_row("whatsapp", 9), mode="live").variables["2"] == "8 折"
