"""Render: turns decided messages into letters. Compiled once per template part; sandboxed; a missing name is an error."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Protocol

from babel import UnknownLocaleError
from babel.dates import format_skeleton
from jinja2 import Template, TemplateError

from retention.delivery import sheets
from retention.delivery.channels.base import Letter
from retention.delivery.links import Links, mark_links
from retention.delivery.sheets import Sheet
from retention.errors import RenderError
from retention.journey.load import Version
from retention.journey.template_syntax import make_environment
from retention.journey.templates import Part
from retention.journey.templates import Template as Words
from retention.journey.variables import CouponFacts, fill_variables

_TEXT = make_environment(is_html=False)
_HTML = make_environment(is_html=True)

_LINE_BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters of a name that turn the words around it, or are none: control characters and bidi overrides."""


class Row(Protocol):
    """What `deliver/load_letters` brings of a message; `coupon_valid_until` is an instant, `coupon_gift` JSON."""

    message_id: int
    customer_id: str
    channel: str
    address: str
    locale: str
    name: str | None
    template: str | None
    facts: str | None
    coupon_code: str | None
    coupon_valid_until: datetime | None
    coupon_kind: str | None
    coupon_value: Any
    coupon_minimum: Any
    coupon_currency: str | None
    coupon_gift: str | None


@dataclass(frozen=True)
class _Words:
    """A template's words for one channel and locale, compiled. `pages` and `link_ids`: whose tokens its letters hold."""

    locale: str
    parts: dict[str, Template]
    is_personal: bool
    pages: tuple[str, str]
    link_ids: tuple[int, ...]


class Renderer:
    """Writes the letters of one step of one version. Not shared between threads.

    `links`: makes web addresses lead over ours; None: they stay as they are written, and there are no pages.
    `each_person`: render every letter by itself, also where a sheet would do; for comparing the two ways."""

    def __init__(self, version: Version, step_id: str, *, links: Links | None = None, each_person: bool = False):
        self._version = version
        self._journey = version.journey
        self._step_id = step_id
        self._own = version.templates[self._journey.step(step_id).send.template]
        self._links = links
        self._begin = links.begin() if links else {}
        self._each_person = each_person
        self._compiled: dict[tuple[str, str, str], _Words] = {}
        self._sheets: dict[tuple, Sheet] = {}
        self._days: dict[tuple[datetime, str], str] = {}

    def write(self, row: Row, *, mode: str, batch_id: int = 0) -> Letter:
        """One letter. Raises RenderError, which names the template and no person."""
        template = self._version.templates[row.template] if row.template else self._own
        words = self._words(template, row.channel, row.locale)
        name = " ".join(_UNSEEN.sub("", " ".join(row.name.split())).split()) if row.name else ""
        day = self._write_day(row, words.locale) if row.coupon_code else ""
        values = (name, row.coupon_code or "", day)
        if self._links:
            values += self._links.sign(row.message_id, words.link_ids, words.pages)
        if words.is_personal or self._each_person:
            sheet = self._render(template, row, words, values, is_own=True)
        else:
            key = (template.name, row.facts, row.channel, words.locale, _terms_of(row), bool(name), bool(row.coupon_code))
            sheet = self._sheets.get(key)
            if sheet is None:
                sheet = self._sheets[key] = self._render(template, row, words, values, is_own=False)
        return Letter(row.message_id, row.channel, mode, row.address, sheet, values, batch_id, row.customer_id)

    def _render(self, template: Words, row: Row, words: _Words, values: tuple[str, ...], *, is_own: bool) -> Sheet:
        locale, parts = words.locale, words.parts
        coupon = None
        if row.coupon_code:
            kind, value, minimum, currency, gift = _terms_of(row)
            names = json.loads(gift) if gift else None
            coupon = CouponFacts(row.coupon_code, value, values[2], kind, minimum, currency, names)
        filled = fill_variables(
            locale=locale,
            default_locale=self._journey.default_locale,
            shop=self._version.shop,
            customer_name=values[0],
            coupon=coupon,
            facts=json.loads(row.facts) if row.facts else None,
        )
        place = f"template {template.name} ({row.channel}, {locale})"
        written = {}
        try:
            for field, part in parts.items():
                is_html = field == "html"
                given = filled if is_own else sheets.make_gaps(filled, is_html=is_html)
                if self._links:
                    tokens = values[len(sheets.PERSONAL) :] if is_own else None
                    links = sheets.write_links(self._begin, tokens, len(words.link_ids), is_html=is_html)
                    given = {**given, "links": links}
                text = part.render(given)
                # A subject is one header line, whatever somebody's name holds; WhatsApp takes one line a variable, too.
                text = _LINE_BREAKS.sub(" ", text).strip() if field == "subject" or field.isdecimal() else text
                text = text.strip() if field == "text" else text
                written[field] = (text,) if is_own else sheets.cut(text)
        except TemplateError as error:
            raise RenderError(f"{place}: {error.message}") from error
        except Exception as error:  # a template may do anything; its text is not ours to show
            raise RenderError(f"{place}: {type(error).__name__}") from error
        sender = self._version.shop.name_in(locale, self._journey.default_locale)
        return Sheet(
            locale, sender, template.purpose == "marketing", is_own=is_own,
            variables=tuple(written.pop(field) for field in parts if field.isdecimal()),
            content_sid=template.parts[row.channel, locale].content_sid,
            journey=self._journey.journey, step=self._step_id, **written,
        )  # fmt: skip

    def _words(self, template: Words, channel: str, asked: str) -> _Words:
        if (template.name, channel, asked) not in self._compiled:
            locale, part = template.part(channel, asked, self._journey.default_locale)
            sources, link_ids = _list_sources(part), ()
            pages = ("", "")
            # What WhatsApp approved is not ours to rewrite.
            if self._links and channel != "whatsapp":
                urls: list[str] = []
                for field in [it for it in ("html", "text") if it in sources]:
                    website = self._version.shop.website
                    sources[field] = mark_links(sources[field], urls, website=website, is_html=field == "html")
                link_ids = tuple(map(self._links.number, urls))
            if self._links:
                uses = "".join(sources.values())
                pages = tuple(page if name in uses else "" for name, page in zip(sheets.PAGES, "up", strict=True))
            compiled = {field: _compile(source, field == "html") for field, source in sources.items()}
            is_personal = any(sheets.needs_each_person(source) for source in sources.values())
            self._compiled[template.name, channel, asked] = _Words(locale, compiled, is_personal, pages, link_ids)
        return self._compiled[template.name, channel, asked]

    def _write_day(self, row: Row, locale: str) -> str:
        # Dates in the customer's own English, say, where the words are only "en".
        own = row.locale if row.locale.split("-")[0] == locale.split("-")[0] else locale
        key = (row.coupon_valid_until, own)
        if key not in self._days:
            last_day = row.coupon_valid_until.astimezone(self._journey.zone).date()
            self._days[key] = format_day(last_day, own)
        return self._days[key]


@lru_cache(maxsize=512)
def _compile(source: str, is_html: bool) -> Template:
    """Once a process: a task that delivers many batches, and a replay, would compile the same words again and again."""
    return (_HTML if is_html else _TEXT).from_string(source)


def _terms_of(row: Row) -> tuple:
    return row.coupon_kind, row.coupon_value, row.coupon_minimum, row.coupon_currency, row.coupon_gift


def _list_sources(part: Part) -> dict[str, str]:
    sources = {"subject": part.subject, "html": part.html, "text": part.text, **part.variables}
    return {field: source for field, source in sources.items() if source is not None}


def format_day(day: date, locale: str) -> str:
    """A day as a reader of this locale writes it: 12月3日, December 3 (en-US), 3 December (en-GB)."""
    try:
        return format_skeleton("MMMMd", day, locale=locale.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return day.isoformat()
