"""Holds a request to SendGrid or Twilio against their official OpenAPI documents, and against what these leave out.

The documents are public and live outside the project. They are closed here - a key that they do not name is refused -
and the limits that they tell in words only are rules below. What is right is theirs to say: no exception is made for
what we happen to send.
"""

from __future__ import annotations

import gzip
import ipaddress
import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from email_validator import EmailNotValidError, validate_email
from jsonschema import FormatChecker
from openapi_schema_validator import OAS30Validator, OAS31Validator

SPECS = Path(__file__).resolve().parents[3] / "shared" / "specs"
DOCUMENTS = {
    "/v3/mail/": "sendgrid/tsg_mail_v3.json",
    "/v3/messages": "sendgrid/tsg_email_activity_v3.json",
    "/v3/scopes": "",  # in none of the documents that we have: its authorization is checked, and that it carries nothing
    "/2010-04-01/": "twilio/twilio_api_v2010.json",
}
MAX_SENDGRID_BODY_BYTES = 30_000_000
MAX_ARGUMENT_BYTES = 10_000
MAX_RECIPIENTS = 1000
MAX_TWILIO_CHARACTERS = 1600
NOT_OURS = frozenset(
    ("x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding",
     "to", "from", "subject", "reply-to", "cc", "bcc")
)  # fmt: skip
"""Headers of a letter that SendGrid writes itself."""

formats = FormatChecker(formats=())


def check_request(method: str, url: str, headers: dict[str, str], body: bytes) -> None:
    """Raise AssertionError, with the place of the first violation, for a request that the provider would not take.

    Of `url` only path and query count, so that it may lead to a stub. Skips the test where the documents are missing.
    """
    parts = urlsplit(url)
    try:
        _check(method.upper(), parts.path, parts.query, {k.lower(): v for k, v in headers.items()}, body)
    except _Violation as wrong:
        raise AssertionError(f"{method.upper()} {parts.path}: {wrong}") from None


class _Violation(Exception):
    def __init__(self, place: str, what: str):
        super().__init__(f"{place}: {what[:300]}")


def _check(method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> None:
    _check_http_headers(headers, body)
    name = next((name for prefix, name in DOCUMENTS.items() if path.startswith(prefix)), None)
    if name is None:
        raise _Violation("path", "no official document has it")
    if not name:
        _check_authorization("bearer", headers)
        if method != "GET" or query or body:
            raise _Violation("body", "only a bare GET")
        return
    template, in_path = _find_path(name, path)
    operation = _read_operation(name, template, method)
    for scheme in operation.schemes:
        _check_authorization(scheme, headers)
    _check_parameters(operation, {"path": in_path, "query": _read_pairs(query, "query"), "header": headers})
    if not operation.bodies:
        if body:
            raise _Violation("body", "the operation has none")
        return
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in operation.bodies:
        raise _Violation("headers.content-type", f"{kind!r} is not one of {sorted(operation.bodies)}")
    value = _read_body(kind, operation.bodies[kind].schema, headers, body)
    _check_schema(operation.bodies[kind], value, "body")
    rules = RULES.get((method, template))
    if rules:
        for place, what in rules(value, body):
            raise _Violation(place, what)


@dataclass(frozen=True)
class _Operation:
    """What a document says of a request: schemes of authorization, parameters, and what a body of a type holds to."""

    schemes: list[str]
    parameters: list[tuple[dict[str, Any], Any]]
    bodies: dict[str, Any]


@lru_cache
def read_document(name: str) -> dict[str, Any]:
    """One of the official documents; skips the test, saying so, where it is missing."""
    file = SPECS / name
    if not file.exists():
        pytest.skip(f"{file} is not there")
    return json.loads(file.read_text(encoding="utf-8"))


def content_of_messages(document: dict[str, Any], field: str) -> dict[str, Any]:
    """What the document says of a field of a message that is sent."""
    post = document["paths"]["/2010-04-01/Accounts/{AccountSid}/Messages.json"]["post"]
    return _inline(post["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"], document)[
        "properties"
    ][field]


@lru_cache
def _read_operation(name: str, template: str, method: str) -> _Operation:
    document = read_document(name)
    path = document["paths"][template]
    if method.lower() not in path:
        raise _Violation("method", f"{template} has no {method}")
    written = path[method.lower()]
    validator = OAS30Validator if document["openapi"].startswith("3.0") else OAS31Validator

    def validate_by(schema: dict[str, Any]) -> Any:
        return validator(schema, format_checker=formats)

    security = [scheme for wanted in written.get("security", document.get("security", [])) for scheme in wanted]
    parameters = _inline([*path.get("parameters", []), *written.get("parameters", [])], document)
    content = _inline(written.get("requestBody", {}), document).get("content", {})
    if template == "/v3/mail/send":
        # The document has a text here; its own words, SendGrid's SDK and the same key of one person have an object.
        content["application/json"]["schema"]["properties"]["custom_args"] = {"type": "object"}
    for it in parameters if template.endswith("/Messages.json") else ():
        if it["name"] in ("To", "From"):  # the filters are for what a message was sent to and from
            it["schema"] = content_of_messages(document, it["name"])
    return _Operation(
        [document["components"]["securitySchemes"][it]["scheme"] for it in security],
        [(it, validate_by(it["schema"])) for it in parameters],
        {kind: validate_by(media["schema"]) for kind, media in content.items()},
    )


def _inline(part: Any, document: dict[str, Any]) -> Any:
    """The same with references followed and every object that names its keys closed to others."""
    if isinstance(part, list):
        return [_inline(it, document) for it in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("$ref"), str):
        target: Any = document
        for step in part["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        part = {**target, **{k: v for k, v in part.items() if k != "$ref"}}
    made = {k: _inline(v, document) for k, v in part.items() if k not in ("example", "examples", "x-twilio")}
    if made.get("type") == "object" and isinstance(made.get("properties"), dict):
        made.setdefault("additionalProperties", False)
    # Where the format of a value is said in words only.
    told = str(made.get("description", ""))
    for place in (made, made.get("schema")):
        if isinstance(place, dict) and place.get("format") == "phone-number" and "alphanumeric sender ID" in told:
            place["format"] = "sender"
        elif isinstance(place, dict) and place.get("format") == "phone-number" and "channel address" in told:
            place["format"] = "recipient"
        if isinstance(place, dict) and place.get("format") == "date-time" and "YYYY-MM-DD" in told:
            place["format"] = "date or date-time"
    return made


def _find_path(name: str, path: str) -> tuple[str, dict[str, str]]:
    """The document's path with the fewest variables that this one is an instance of, and their values."""
    for template in sorted(read_document(name)["paths"], key=lambda it: it.count("{")):
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
        if found := re.fullmatch(pattern, path):
            return template, {variable: unquote(value) for variable, value in found.groupdict().items()}
    raise _Violation("path", "the official document does not have it")


def _check_http_headers(headers: dict[str, str], body: bytes) -> None:
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9a-z-]+", name):
            raise _Violation(f"headers.{name!r}", "no name of a header")
        if not re.fullmatch(r"[\x20-\x7e\t]*", str(value)):
            raise _Violation(f"headers.{name}", "has a line break or a letter that is not ASCII")
    if headers.get("content-length", str(len(body))) != str(len(body)):
        raise _Violation("headers.content-length", f"is not {len(body)}")


def _check_authorization(scheme: str, headers: dict[str, str]) -> None:
    said, _, credentials = headers.get("authorization", "").partition(" ")
    if said.lower() != scheme or not credentials.strip():
        raise _Violation("headers.authorization", f"no {scheme} credentials")
    if scheme == "basic":
        try:
            login, colon, secret = b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:
            raise _Violation("headers.authorization", "not base64") from None
        if not (login and colon and secret):
            raise _Violation("headers.authorization", "no login or no password")


def _check_parameters(operation: _Operation, given: dict[str, Any]) -> None:
    unknown = set(given["query"])
    for parameter, validator in operation.parameters:
        name, place = parameter["name"], parameter["in"]
        key = name.lower() if place == "header" else name
        unknown.discard(key)
        if key in given[place]:
            value = given[place][key] if place == "query" else [given[place][key]]
            _check_schema(validator, _convert({key: value}, {key: validator.schema}, place)[key], f"{place}.{name}")
        elif parameter.get("required"):
            raise _Violation(f"{place}.{name}", "is missing")
    for name in unknown:
        raise _Violation(f"query.{name}", "the official document does not have it")


def _check_schema(validator: Any, value: Any, place: str) -> None:
    for error in validator.iter_errors(value):
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
        raise _Violation(place + where, error.message if len(error.message) < 300 else f"breaks {error.validator}")


def _read_body(kind: str, schema: dict[str, Any], headers: dict[str, str], body: bytes) -> Any:
    if headers.get("content-encoding") == "gzip":
        try:
            body = gzip.decompress(body)
        except OSError:
            raise _Violation("body", "is not gzip") from None
    if kind == "application/json":
        return _read_json(body)
    text = body.decode("latin-1")
    if not text.isascii():
        raise _Violation("body", "is not form-encoded: it has letters beyond ASCII")
    return _convert(_read_pairs(text, "body"), schema["properties"], "body")


def _read_pairs(text: str, place: str) -> dict[str, list[str]]:
    read: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict") if text else []
    except ValueError:
        raise _Violation(place, "is not form-encoded UTF-8") from None
    for name, value in pairs:
        read.setdefault(name, []).append(value)
    return read


def _convert(given: dict[str, list[str]], schemas: dict[str, Any], place: str) -> dict[str, Any]:
    """Text as the types that the document has for it; what can't be read stays text, for the schema to refuse."""
    made: dict[str, Any] = {}
    for name, values in given.items():
        kind = schemas.get(name, {}).get("type")
        if kind == "array":
            made[name] = values
            continue
        if len(values) > 1:
            raise _Violation(f"{place}.{name}", "is given twice")
        value = values[0]
        if kind == "boolean":
            made[name] = {"true": True, "false": False}.get(value, value)
        elif kind == "integer" and re.fullmatch(r"-?[0-9]+", value):
            made[name] = int(value)
        elif kind == "number" and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
            made[name] = float(value)
        else:
            made[name] = value
    return made


def _read_json(body: bytes) -> Any:
    def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            raise _Violation("body", "an object has a key twice")
        return made

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        return json.loads(body.decode(), object_pairs_hook=read_object, parse_constant=refuse)
    except ValueError as wrong:
        raise _Violation("body", f"is not JSON ({wrong})") from None


# What the documents' formats mean.


def _format(name: str) -> Callable[[Callable[[str], Any]], Callable[[Any], bool]]:
    def register(read: Callable[[str], Any]) -> Callable[[Any], bool]:
        def is_valid(value: Any) -> bool:
            return not isinstance(value, str) or bool(read(value))

        return formats.checks(name, raises=ValueError)(is_valid)

    return register


@_format("email")
def _is_email(value: str) -> bool:
    try:
        # SendGrid takes no letters beyond ASCII before the @.
        found = validate_email(value, check_deliverability=False, globally_deliverable=False, allow_smtputf8=False)
    except EmailNotValidError:
        return False
    return "." in found.ascii_domain


@_format("uri")
def _is_uri(value: str) -> bool:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:([!#$&-;=?-Z\[\]_a-z~]|%[0-9A-Fa-f]{2})+", value):
        return False
    parts = urlsplit(value)
    return parts.scheme.lower() not in ("http", "https") or bool(parts.hostname and "_" not in parts.hostname)


@_format("phone-number")
def _is_phone_number(value: str) -> bool:
    return bool(re.fullmatch(r"\+[1-9][0-9]{6,14}", value))


@_format("recipient")
def _is_recipient(value: str) -> bool:
    """A number, or one on WhatsApp."""
    return _is_phone_number(value.removeprefix("whatsapp:"))


@_format("sender")
def _is_sender(value: str) -> bool:
    """A number, a short code, a name of up to eleven letters and digits, or a number on WhatsApp."""
    if value.startswith("whatsapp:"):
        return _is_recipient(value)
    is_name = re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z0-9 +&_-]{1,11}", value)
    return bool(_is_phone_number(value) or re.fullmatch(r"[0-9]{3,8}", value) or is_name)


@_format("date")
def _is_date(value: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value) and date.fromisoformat(value))


@_format("date-time")
def _is_date_time(value: str) -> bool:
    """RFC 3339: with a zone."""
    return bool(re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]", value) and datetime.fromisoformat(value).tzinfo)


@_format("date or date-time")
def _is_date_or_date_time(value: str) -> bool:
    return _is_date(value) if len(value) == 10 else _is_date_time(value)


# What the documents leave out or say in words only. Each rule yields place and fault.


def _is_one_line(text: str) -> bool:
    return not re.search(r"[\r\n]", text)


def _check_mail(mail: dict[str, Any], body: bytes) -> Iterator[tuple[str, str]]:
    if len(body) > MAX_SENDGRID_BODY_BYTES:
        yield "body", f"is longer than {MAX_SENDGRID_BODY_BYTES:,} bytes"
    people = mail["personalizations"]
    if not people:
        yield "body.personalizations", "is empty"
    yield from _check_letter_headers(mail.get("headers", {}), "body.headers")
    yield from _check_arguments(mail.get("custom_args", {}), "body.custom_args")
    yield from _check_content(mail)
    recipients = 0
    for at, person in enumerate(people):
        place = f"body.personalizations[{at}]"
        yield from _check_person(person, mail, place)
        recipients += sum(len(person.get(line, ())) for line in ("to", "cc", "bcc"))
    if recipients > MAX_RECIPIENTS:
        yield "body.personalizations", f"have more than {MAX_RECIPIENTS} recipients"
    if "reply_to" in mail and "reply_to_list" in mail:
        yield "body.reply_to_list", "beside reply_to"
    senders = [("from", mail["from"]), ("reply_to", mail.get("reply_to", {}))]
    senders += [(f"reply_to_list[{at}]", it) for at, it in enumerate(mail.get("reply_to_list", ()))]
    for name, it in senders:
        if not _is_one_line(it.get("name", "")):
            yield f"body.{name}.name", "has a line break"


def _check_content(mail: dict[str, Any]) -> Iterator[tuple[str, str]]:
    order = ["text/plain", "text/html"]
    content = mail.get("content", [])
    if not content and not mail.get("template_id"):
        yield "body.content", "is missing, and there is no template_id"
    ranks = [order.index(it["type"]) if it["type"] in order else len(order) for it in content]
    if ranks != sorted(ranks) or len({it["type"] for it in content}) < len(content):
        yield "body.content", "text/plain comes first, then text/html, then others, each once"
    for at, it in enumerate(content):
        if not it["value"].strip():
            yield f"body.content[{at}].value", "is empty"


def _check_person(person: dict[str, Any], mail: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    if not person["to"]:
        yield f"{place}.to", "is empty"
    seen: set[str] = set()
    for line in ("to", "cc", "bcc"):
        for at, it in enumerate(person.get(line, ())):
            if it["email"].lower() in seen:
                yield f"{place}.{line}[{at}].email", "is there twice"
            seen.add(it["email"].lower())
            if not _is_one_line(it.get("name", "")):
                yield f"{place}.{line}[{at}].name", "has a line break"
    yield from _check_letter_headers(person.get("headers", {}), f"{place}.headers")
    filled = person.get("substitutions", {})
    if sum(len(name.encode()) + len(value.encode()) for name, value in filled.items()) > MAX_ARGUMENT_BYTES:
        yield f"{place}.substitutions", f"come to more than {MAX_ARGUMENT_BYTES:,} bytes"
    if "" in filled:
        yield f"{place}.substitutions", "one has no name"
    yield from _check_arguments(person.get("custom_args", {}), f"{place}.custom_args")
    subject = person.get("subject", mail.get("subject"))
    if subject is None:
        if not mail.get("template_id"):
            yield f"{place}.subject", "is missing, here and for all, and there is no template_id"
        return
    for name, value in filled.items():
        subject = subject.replace(name, value) if name else subject
    if not subject:
        yield f"{place}.subject", "is empty once filled"
    if not _is_one_line(subject):
        yield f"{place}.subject", "has a line break"


def _check_arguments(arguments: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    for name, value in arguments.items():
        if not isinstance(value, str):
            yield f"{place}.{name}", "is no text"
    if len(json.dumps(arguments, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_ARGUMENT_BYTES:
        yield place, f"come to more than {MAX_ARGUMENT_BYTES:,} bytes"


def _check_letter_headers(headers: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        if name.strip().lower() in NOT_OURS:
            yield f"{place}.{name}", "is SendGrid's own"
        elif not re.fullmatch(r"[\x21-\x39\x3b-\x7e]+", name):
            yield f"{place}.{name!r}", "no name of a header"
        elif not isinstance(value, str):
            yield f"{place}.{name}", "is no text"
        elif not re.fullmatch(r"[\x20-\x7e\t]*", value):
            yield f"{place}.{name}", "has a line break, or letters beyond ASCII that are not encoded (RFC 2047)"


def _check_message(form: dict[str, Any], body: bytes) -> Iterator[tuple[str, str]]:
    if ("From" in form) == ("MessagingServiceSid" in form):
        yield "body.From", "exactly one of From and MessagingServiceSid"
    text = form.get("Body")
    if text is None and not form.get("MediaUrl") and not form.get("ContentSid"):
        yield "body.Body", "is missing, and there is neither MediaUrl nor ContentSid"
    if text is not None and not 1 <= len(text) <= MAX_TWILIO_CHARACTERS:
        yield "body.Body", f"has {len(text)} characters, not 1 to {MAX_TWILIO_CHARACTERS}"
    if form["To"].startswith("whatsapp:") != form.get("From", form["To"]).startswith("whatsapp:"):
        yield "body.From", "is on another channel than To"
    if "ContentVariables" in form:
        if "ContentSid" not in form:
            yield "body.ContentVariables", "without ContentSid"
        values = _read_json(form["ContentVariables"].encode())
        if not isinstance(values, dict) or not all(isinstance(it, str) for it in values.values()):
            yield "body.ContentVariables", "are no texts by name"
    if callback := form.get("StatusCallback"):
        parts = urlsplit(callback)
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
            yield "body.StatusCallback", "is neither https nor on this machine"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


RULES: dict[tuple[str, str], Callable[[Any, bytes], Iterator[tuple[str, str]]]] = {
    ("POST", "/v3/mail/send"): _check_mail,
    ("POST", "/2010-04-01/Accounts/{AccountSid}/Messages.json"): _check_message,
}
