"""Render: turns a decided message into a letter. Compiled once per template part; sandboxed; a missing name is an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from babel import UnknownLocaleError
from babel.dates import format_skeleton
from jinja2 import Template, TemplateError

from retention.delivery.channels.base import Letter
from retention.errors import RenderError
from retention.journey.load import Version
from retention.journey.template_syntax import make_environment
from retention.journey.variables import CouponFacts, fill_variables

_TEXT = make_environment(is_html=False)
_HTML = make_environment(is_html=True)

_LINE_BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


class Renderer:
    """Writes the letters of one step of one version. Not shared between threads."""

    def __init__(self, version: Version, step_id: str):
        self._version = version
        self._journey = version.journey
        self._template = version.templates[self._journey.step(step_id).send.template]
        self._compiled: dict[tuple[str, str], tuple[str, dict[str, Template]]] = {}

    def write(self, row: Mapping[str, Any], *, mode: str) -> Letter:
        """One letter from a row of `deliver/load_letters`: message_id, channel, address, locale, name, coupon_code,
        coupon_value, coupon_valid_until (an instant). Raises RenderError, which names the template and no person."""
        locale, parts = self._parts(row["channel"], row["locale"])
        values = self._values(row, locale)
        try:
            written = {field: part.render(values) for field, part in parts.items()}
        except TemplateError as error:
            raise RenderError(f"{self._place(row, locale)}: {error.message}") from error
        except Exception as error:  # a template may do anything; its text is not ours to show
            raise RenderError(f"{self._place(row, locale)}: {type(error).__name__}") from error
        subject = written.get("subject")
        return Letter(
            message_id=row["message_id"],
            channel=row["channel"],
            mode=mode,
            address=row["address"],
            locale=locale,
            # A subject is one header line, whatever somebody's name holds.
            subject=_LINE_BREAKS.sub(" ", subject).strip() if subject is not None else None,
            html=written.get("html"),
            text=written["text"].strip(),
        )

    def _place(self, row: Mapping[str, Any], locale: str) -> str:
        return f"template {self._template.name} ({row['channel']}, {locale})"

    def _parts(self, channel: str, asked: str) -> tuple[str, dict[str, Template]]:
        if (channel, asked) not in self._compiled:
            locale, part = self._template.part(channel, asked, self._journey.default_locale)
            sources = {"subject": part.subject, "html": part.html, "text": part.text}
            compiled = {
                field: (_HTML if field == "html" else _TEXT).from_string(source)
                for field, source in sources.items()
                if source is not None
            }
            self._compiled[channel, asked] = (locale, compiled)
        return self._compiled[channel, asked]

    def _values(self, row: Mapping[str, Any], locale: str) -> dict[str, Any]:
        coupon = None
        if row["coupon_code"]:
            # Dates in the customer's own English, say, where the words are only "en".
            own = row["locale"] if row["locale"].split("-")[0] == locale.split("-")[0] else locale
            last_day = row["coupon_valid_until"].astimezone(self._journey.zone).date()
            coupon = CouponFacts(row["coupon_code"], row["coupon_value"], format_day(last_day, own))
        return fill_variables(
            locale=locale,
            default_locale=self._journey.default_locale,
            shop=self._version.shop,
            customer_name=row["name"],
            coupon=coupon,
        )


def format_day(day: date, locale: str) -> str:
    """A day as a reader of this locale writes it: 12月3日, December 3 (en-US), 3 December (en-GB)."""
    try:
        return format_skeleton("MMMMd", day, locale=locale.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return day.isoformat()
