"""The harness that holds requests against the providers' documents: lets the official SDKs pass, catches each violation."""

import copy
import gzip
import json
from base64 import b64encode
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from tests.delivery import openapi
from tests.delivery.openapi import DOCUMENTS, check_request, read_document

MAIL = "http://127.0.0.1:8000/v3/mail/send"
SENDGRID = {"Authorization": "Bearer SG.x", "Content-Type": "application/json"}
ACCOUNT = "AC" + "0" * 32
MESSAGES = f"http://127.0.0.1:8000/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
TWILIO = {
    "Authorization": "Basic " + b64encode(f"{ACCOUNT}:secret".encode()).decode(),
    "Content-Type": "application/x-www-form-urlencoded",
}


@pytest.fixture(autouse=True)
def documents():
    """Skips where they are missing."""
    for name in filter(None, DOCUMENTS.values()):
        read_document(name)


def make_mail():
    return {
        "personalizations": [
            {
                "to": [{"email": "wang@example.com"}],
                "substitutions": {"-name-": "王芳", "-none-": ""},
                "custom_args": {"retention_message": "7"},
                "headers": {"List-Unsubscribe": "<https://shop.example.com/u/7>"},
            }
        ],
        "from": {"email": "news@shop.example.com", "name": "Shop"},
        "subject": "Hello -name-",
        "content": [{"type": "text/plain", "value": "Hi"}, {"type": "text/html", "value": "<p>Hi</p>"}],
        "headers": {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click", "X-Name": "=?utf-8?b?546L?="},
    }


def make_form():
    return {
        "To": "+15005550006",
        "From": "+15005550006",
        "Body": "你好",
        "StatusCallback": "https://shop.example.com/e/t",
    }


def send_mail(mail, **headers):
    check_request("POST", MAIL, SENDGRID | headers, json.dumps(mail).encode())


def send_form(form, **headers):
    check_request("POST", MESSAGES, TWILIO | headers, urlencode(form, doseq=True).encode())


# What the official SDKs send passes.


def test_mail_of_the_official_sdk_passes(monkeypatch):
    import python_http_client
    from sendgrid import SendGridAPIClient
    from sendgrid.helpers import mail as helpers

    sent = []

    class Answer:
        def getcode(self):
            return 202

        def read(self):
            return b""

        def info(self):
            return {}

    def record(self, opener, request, timeout=None):
        sent.append((request.get_method(), request.full_url, dict(request.header_items()), request.data or b""))
        return Answer()

    monkeypatch.setattr(python_http_client.Client, "_make_request", record)
    letter = helpers.Mail(helpers.From("news@shop.example.com", "Shop"), subject="Hello -name-")
    letter.content = [helpers.HtmlContent("<p>Hi</p>"), helpers.PlainTextContent("Hi")]
    person = helpers.Personalization()
    person.add_to(helpers.To("wang@example.com", "王芳"))
    person.add_substitution(helpers.Substitution("-name-", "王芳"))
    person.add_custom_arg(helpers.CustomArg("retention_message", "7"))
    person.add_header(helpers.Header("List-Unsubscribe", "<https://shop.example.com/u/7>"))
    letter.add_personalization(person)
    letter.custom_arg = helpers.CustomArg("run", "1")
    letter.header = helpers.Header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
    letter.category = helpers.Category("birthday")
    letter.asm = helpers.Asm(helpers.GroupId(3), helpers.GroupsToDisplay([3]))
    letter.reply_to = helpers.ReplyTo("care@shop.example.com")
    letter.tracking_settings = helpers.TrackingSettings(subscription_tracking=helpers.SubscriptionTracking(False))
    letter.mail_settings = helpers.MailSettings(sandbox_mode=helpers.SandBoxMode(True))
    sdk = SendGridAPIClient("SG.x")
    sdk.send(letter)
    sdk.client.messages.get(query_params={"limit": 1, "query": "to_email='wang@example.com'"})
    sdk.client.scopes.get()
    assert [it[0] for it in sent] == ["POST", "GET", "GET"]
    for it in sent:
        check_request(*it)


def test_messages_of_the_official_sdk_pass():
    import requests
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    sent = []

    class Record(requests.adapters.BaseAdapter):
        def send(self, request, **_):
            sent.append((request.method, request.url, dict(request.headers), (request.body or "").encode()))
            answer = requests.Response()
            answer.status_code = 201 if request.method == "POST" else 200
            answer._content = b'{"sid": "SM1", "messages": [], "meta": {"key": "messages"}}'
            return answer

        def close(self):
            pass

    http = TwilioHttpClient()
    http.session.mount("https://", Record())
    sdk = Client(ACCOUNT, "secret", http_client=http)
    callback = "https://shop.example.com/e/t?m=7"
    sdk.messages.create(to="+15005550006", from_="Shop", body="你好 👍", status_callback=callback, smart_encoded=True)
    sdk.messages.create(
        to="whatsapp:+15005550006",
        from_="whatsapp:+15005550006",
        content_sid="HX" + "a" * 32,
        content_variables='{"1": "x"}',
    )
    sdk.messages.list(to="whatsapp:+15005550006", limit=20)
    sdk.messages.create(to="+15005550006", messaging_service_sid="MG" + "0" * 32, body="x", validity_period=60)
    sdk.messages.list(to="+15005550006", date_sent_after=datetime(2026, 11, 23, tzinfo=UTC), limit=20)
    sdk.api.accounts(ACCOUNT).fetch()
    assert [it[0] for it in sent] == ["POST", "POST", "GET", "POST", "GET", "GET"]
    for it in sent:
        check_request(*it)


def test_the_examples_of_the_document_pass():
    document = read_document("sendgrid/tsg_mail_v3.json")
    body = document["components"]["requestBodies"]["PostMailSend"]["content"]["application/json"]
    assert len(body["examples"]) > 1
    for it in body["examples"].values():
        send_mail(it["value"])


def test_what_is_just_allowed_passes():
    mail = make_mail()
    person = mail["personalizations"][0] | {"substitutions": {"-é-": "x" * 9996}, "custom_args": {"k": "x" * 9992}}
    mail["personalizations"] = [copy.deepcopy(person) for _ in range(1000)]
    send_mail(mail)
    send_form(make_form() | {"Body": "王" * 1600, "StatusCallback": "http://127.0.0.1:8080/e/t"})
    mail = gzip.compress(json.dumps(make_mail()).encode())
    check_request("POST", MAIL, SENDGRID | {"content-encoding": "gzip"}, mail)


# Each violation is caught.


def change(data, place, value):
    *steps, last = place
    for step in steps:
        data = data[step]
    if value is None:
        del data[last]
    else:
        data[last] = value


PERSON = ("personalizations", 0)
WRONG_MAIL = [
    # what is in the document
    (("personalizations",), None, "body: 'personalizations' is a required property"),
    (("from",), None, "body: 'from' is a required property"),
    ((*PERSON, "to"), None, r"body.personalizations\[0\]: 'to' is a required property"),
    ((*PERSON, "to", 0, "email"), "wang", r"body.personalizations\[0\].to\[0\].email: 'wang' is not a 'email'"),
    ((*PERSON, "to", 0, "email"), "a b@example.com", r"to\[0\].email"),
    ((*PERSON, "to", 0, "email"), "wang@example.com\n", r"to\[0\].email"),
    ((*PERSON, "to", 0, "email"), "王@example.com", r"to\[0\].email"),
    ((*PERSON, "to", 0, "email"), "wang@localhost", r"to\[0\].email"),
    (("from", "email"), "Shop <news@shop.example.com>", "body.from.email"),
    ((*PERSON, "substitutions", "-name-"), 7, r"body.personalizations\[0\].substitutions.-name-: 7 is not of type"),
    (("subject",), "", "body.subject"),
    (("content", 0, "value"), "", r"body.content\[0\].value"),
    (("categories",), ["a", "a"], "body.categories"),
    (("send_at",), "soon", "body.send_at"),
    (("personalizations",), [{"to": [{"email": "a@example.com"}]}] * 1001, "body.personalizations: breaks maxItems"),
    # keys that are not
    (("colour",), "red", r"body: .*'colour' was unexpected"),
    ((*PERSON, "colour"), "red", r"body.personalizations\[0\]: .*'colour' was unexpected"),
    ((*PERSON, "to", 0, "phone"), "1", r"to\[0\]: .*'phone' was unexpected"),
    (("tracking_settings",), {"clicks": {}}, "body.tracking_settings: .*'clicks' was unexpected"),
    # what the document says in words, or not at all
    (("personalizations",), [], "body.personalizations: is empty"),
    ((*PERSON, "to"), [], r"\[0\].to: is empty"),
    ((*PERSON, "cc"), [{"email": "Wang@example.com"}], r"\[0\].cc\[0\].email: is there twice"),
    ((*PERSON, "cc"), [{"email": f"a{n}@example.com"} for n in range(1000)], "more than 1000 recipients"),
    ((*PERSON, "substitutions"), {"-é-": "x" * 9997}, r"\[0\].substitutions: come to more than 10,000 bytes"),
    ((*PERSON, "substitutions"), {"-é-": "é" * 4999}, r"\[0\].substitutions: come to more than 10,000 bytes"),
    ((*PERSON, "substitutions"), {"": "x"}, "has no name"),
    ((*PERSON, "substitutions"), {"-name-": "Wang\r\nBcc: x"}, r"\[0\].subject: has a line break"),
    ((*PERSON, "custom_args"), {"k": 7}, r"\[0\].custom_args.k: is no text"),
    ((*PERSON, "custom_args"), {"k": "x" * 9993}, r"\[0\].custom_args: come to more"),
    (("custom_args",), {"k": 7}, "body.custom_args.k: is no text"),
    ((*PERSON, "subject"), "a\nb", r"\[0\].subject: has a line break"),
    (("subject",), "a\rb", "subject: has a line break"),
    (("subject",), None, r"\[0\].subject: is missing"),
    (("from", "name"), "Shop\nBcc: x", "body.from.name: has a line break"),
    ((*PERSON, "to", 0, "name"), "W\nBcc: x", r"to\[0\].name: has a line break"),
    (("content",), None, "body.content: is missing"),
    (("content",), [{"type": "text/html", "value": "x"}, {"type": "text/plain", "value": "x"}], "body.content: text/plain"),
    (("content", 1, "type"), "text/plain", "body.content: text/plain comes first"),
    (("content", 0, "value"), " \n", r"body.content\[0\].value: is empty"),
    (("headers", "X-Name"), "王", "body.headers.X-Name: has a line break, or letters beyond ASCII"),
    (("headers", "X-Name"), "a\r\nBcc: x@example.com", "body.headers.X-Name: has a line break"),
    (("headers", "X-Name"), 7, "body.headers.X-Name: is no text"),
    (("headers", "X Name"), "x", "body.headers.'X Name': no name"),
    ((*PERSON, "headers", "List-Unsubscribe"), "<https://shop.example.com/王>", r"\[0\].headers.List-Unsubscribe: has"),
    (("reply_to_list",), [{"email": "a@example.com"}], "body.reply_to_list: beside reply_to"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value", "said"), WRONG_MAIL, ids=lambda it: str(it)[:40])
def test_wrong_mail_is_caught(place, value, said):
    mail = make_mail() | ({"reply_to": {"email": "b@example.com"}} if place == ("reply_to_list",) else {})
    send_mail(mail)
    change(mail, place, value)
    with pytest.raises(AssertionError, match=f"POST /v3/mail/send: .*{said}"):
        send_mail(mail)


SENDGRIDS_OWN = [
    "x-sg-id", "x-sg-eid", "received", "dkim-signature", "Content-Type", "Content-Transfer-Encoding",
    "To", "From", "Subject", "Reply-To", "CC", "BCC",
]  # fmt: skip


@pytest.mark.parametrize("name", SENDGRIDS_OWN)
def test_headers_that_are_sendgrids_own_are_caught(name):
    for written in (name, name.lower(), name.upper()):
        for place in (("headers", written), (*PERSON, "headers", written)):
            mail = make_mail()
            change(mail, place, "x")
            with pytest.raises(AssertionError, match=f"headers.{written}: is SendGrid's own"):
                send_mail(mail)


def test_a_body_that_is_too_long_is_caught():
    mail = make_mail()
    mail["content"][1]["value"] = "x" * 30_000_000
    with pytest.raises(AssertionError, match="longer than 30,000,000 bytes"):
        send_mail(mail)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b'{"send_at": NaN}', "is not JSON"),
        (b'{"subject": "a", "subject": "b"}', "has a key twice"),
        (b"[]", "is not of type 'object'"),
    ],
)
def test_what_is_no_mail_is_caught(body, said):
    with pytest.raises(AssertionError, match=f"body: .*{said}"):
        check_request("POST", MAIL, SENDGRID, body)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Authorization": ""}, "headers.authorization: no bearer"),
        ({"Authorization": "Basic eDp5"}, "headers.authorization: no bearer"),
        ({"Content-Type": "text/plain"}, "headers.content-type"),
        ({"Content-Length": "1"}, "headers.content-length"),
        ({"Content-Encoding": "br"}, "header.Content-Encoding: 'br' is not one of"),
        ({"Content-Encoding": "gzip"}, "body: is not gzip"),
        ({"X-Name": "a\r\nb"}, "headers.x-name: has a line break"),
        ({"X-Name": "é"}, "headers.x-name: .*not ASCII"),
        ({"X Name": "x"}, "no name of a header"),
    ],
)
def test_wrong_http_headers_are_caught(headers, said):
    with pytest.raises(AssertionError, match=said):
        send_mail(make_mail(), **headers)


WRONG_FORMS = [
    ({"To": None}, "body: 'To' is a required property"),
    ({"To": "15005550006"}, "body.To: '15005550006' is not a 'recipient'"),
    ({"To": "+1 500 555 0006"}, "body.To"),
    ({"To": "+1234567890123456"}, "body.To"),
    ({"To": "+15005550006\n"}, "body.To"),
    ({"To": ["+15005550006", "+15005550007"]}, "body.To: is given twice"),
    ({"From": None}, "body.From: exactly one of From and MessagingServiceSid"),
    ({"MessagingServiceSid": "MG" + "0" * 32}, "body.From: exactly one"),
    ({"From": None, "MessagingServiceSid": "MG1"}, "body.MessagingServiceSid: 'MG1' is too short"),
    ({"From": "A name too long"}, "body.From"),
    ({"From": ""}, "body.From"),
    ({"Body": None}, "body.Body: is missing"),
    ({"Body": ""}, "body.Body: has 0 characters"),
    ({"Body": "x" * 1601}, "body.Body: has 1601 characters"),
    ({"StatusCallback": "http://shop.example.com/e"}, "body.StatusCallback: is neither https nor on this machine"),
    ({"StatusCallback": "/e"}, "body.StatusCallback: '/e' is not a 'uri'"),
    ({"StatusCallback": "https://shop_one.example.com/"}, "body.StatusCallback"),
    ({"StatusCallback": "https://shop.example.com/王"}, "body.StatusCallback"),
    ({"ValidityPeriod": "soon"}, "body.ValidityPeriod"),
    ({"SmartEncoded": "yes"}, "body.SmartEncoded"),
    ({"SendAt": "2026-11-23"}, "body.SendAt: '2026-11-23' is not a 'date-time'"),
    ({"Colour": "red"}, r"body: .*'Colour' was unexpected"),
    ({"To": "whatsapp:5006", "From": "whatsapp:+15005550006"}, "body.To: 'whatsapp:5006' is not a 'recipient'"),
    ({"To": "whatsapp:+15005550006"}, "body.From: is on another channel"),
    ({"To": "whatsapp:+15005550006", "From": "whatsapp:Shop"}, "body.From: 'whatsapp:Shop' is not a 'sender'"),
    ({"ContentSid": "HX1"}, "body.ContentSid: 'HX1' is too short"),
    ({"ContentVariables": "{}"}, "body.ContentVariables: without ContentSid"),
    ({"ContentSid": "HX" + "a" * 32, "ContentVariables": '{"1": 2}'}, "body.ContentVariables: are no texts"),
    ({"ContentSid": "HX" + "a" * 32, "ContentVariables": "{"}, "body: is not JSON"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG_FORMS, ids=lambda it: str(it)[:40])
def test_wrong_messages_are_caught(changes, said):
    send_form(make_form())
    form = {name: value for name, value in (make_form() | changes).items() if value is not None}
    with pytest.raises(AssertionError, match=f"Messages.json: {said}"):
        send_form(form)


@pytest.mark.parametrize("body", [b"To=%FF", "To=王".encode(), b"To", json.dumps(make_form()).encode()])
def test_what_is_no_form_is_caught(body):
    with pytest.raises(AssertionError, match="body: is not form-encoded"):
        check_request("POST", MESSAGES, TWILIO, body)


@pytest.mark.parametrize(
    ("authorization", "said"), [("Bearer x", "no basic"), ("Basic x", "not base64"), ("Basic eA==", "no login")]
)
def test_wrong_credentials_are_caught(authorization, said):
    with pytest.raises(AssertionError, match=f"headers.authorization: {said}"):
        send_form(make_form(), Authorization=authorization)


LOOKS = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"


@pytest.mark.parametrize(
    ("path", "headers", "said"),
    [
        ("/v3/messages?limit=1", SENDGRID, "query.query: is missing"),
        ("/v3/messages?limit=0&query=x", SENDGRID, "query.limit: .* less than the minimum"),
        ("/v3/messages?limit=1001&query=x", SENDGRID, "query.limit: .* greater than the maximum"),
        ("/v3/messages?limit=x&query=x", SENDGRID, "query.limit: .* not of type"),
        ("/v3/messages?query=x&query=y", SENDGRID, "query.query: is given twice"),
        ("/v3/messages?query=x&colour=red", SENDGRID, "query.colour: the official document does not have it"),
        ("/v3/messages?query=%FF", SENDGRID, "query: is not form-encoded"),
        ("/v3/scopes?x=1", SENDGRID, "only a bare GET"),
        ("/v3/scopes", TWILIO, "no bearer"),
        ("/v3/mail/send", SENDGRID, "method: /v3/mail/send has no GET"),
        ("/v3/mail", SENDGRID, "path: no official document has it"),
        ("/v3/mail/sent", SENDGRID, "path: the official document does not have it"),
        (LOOKS.replace(ACCOUNT, "AC1"), TWILIO, "path.AccountSid: 'AC1' is too short"),
        (f"{LOOKS}?To=5006", TWILIO, "query.To: '5006' is not a 'recipient'"),
        (f"{LOOKS}?PageSize=1001", TWILIO, "query.PageSize: .* greater than the maximum"),
        (f"{LOOKS}?DateSent%3E=2026-13-01", TWILIO, "query.DateSent>: '2026-13-01' is not a 'date or date-time'"),
        (f"{LOOKS}?DateSentAfter=2026-11-01", TWILIO, "query.DateSentAfter: the official document does not have it"),
    ],
)
def test_wrong_questions_are_caught(path, headers, said):
    with pytest.raises(AssertionError, match=said):
        check_request("GET", f"http://127.0.0.1:8000{path}", headers, b"")


def test_a_question_with_a_body_is_caught():
    with pytest.raises(AssertionError, match="body: the operation has none"):
        check_request("GET", "/v3/messages?query=x", SENDGRID, b"{}")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v3/messages?limit=1&query=x", SENDGRID),
        ("/v3/scopes", SENDGRID),
        (f"{LOOKS}?{urlencode({'To': '+15005550006', 'DateSent>': '2026-11-01', 'PageSize': 50})}", TWILIO),
        (f"/2010-04-01/Accounts/{ACCOUNT}.json", TWILIO),
    ],
)
def test_questions_pass_at_any_host(path, headers):
    for host in ("https://api.sendgrid.com", "http://127.0.0.1:8000", ""):
        check_request("get", host + path, headers, b"")


def test_a_missing_document_skips_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(openapi, "SPECS", tmp_path)
    with pytest.raises(pytest.skip.Exception, match="missing.json is not there"):
        read_document("missing.json")
