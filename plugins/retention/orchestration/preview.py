"""A whole journey as its receivers would see it: every message, in every language, for each value by which words or coupons
differ. Invented people, or one customer; no coupon is drawn, nothing is written."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from retention.delivery.choices import OF_ENROLLMENTS, find_values
from retention.delivery.links import show_links
from retention.delivery.render import Renderer
from retention.delivery.segments import count_segments
from retention.delivery.send_test import TEST_CODE
from retention.errors import RetentionError
from retention.journey.conditions import SIX
from retention.journey.coupon import Coupon
from retention.journey.load import Version
from retention.journey.models import Step
from retention.journey.templates import Template
from retention.store.queries import look_as_of

NAMES = {"zh": "王小明", "en": "Alex"}


@dataclass(frozen=True)
class Person:
    """Whose messages they are: name, locale, and by step the values by which words and coupons differ."""

    name: str | None
    locale: str
    facts: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Shown:
    """One message as `who` would see it; `who` is empty for everybody. `segments` are those of an SMS."""

    step: str
    channel: str
    locale: str
    who: tuple[str, ...]
    text: str
    subject: str | None = None
    html: str | None = None
    segments: int = 0


@dataclass(frozen=True)
class _Row:
    message_id: int
    customer_id: str
    channel: str
    address: str
    locale: str
    name: str | None
    template: str
    facts: str | None
    coupon_code: str | None
    coupon_valid_until: datetime | None
    coupon_kind: str | None
    coupon_value: Any
    coupon_minimum: Any
    coupon_currency: str | None
    coupon_gift: str | None


def find_customer(conn: Connection, version: Version, customer_id: str, now: datetime) -> Person:
    """A customer as of now, by the plan's own statements. Raises RetentionError for a stranger."""
    look_as_of(conn, now, zone=version.journey.timezone)
    row = conn.execute(
        text("select name, locale from as_of.customers where customer_id = :id"), {"id": customer_id}
    ).first()
    if row is None:
        raise RetentionError(f'--customer "{customer_id}": nobody has this id. Check the spelling.')
    own = {step.id: find_values(conn, version, step, customer_id) for step in version.journey.steps}
    facts = {}
    for step in version.journey.steps:  # a later step speaks of the coupon that an earlier one chose
        facts[step.id] = {k: v for it in (*_coupon_steps(version, step), step) for k, v in own[it.id].items()}
    return Person(row.name, row.locale or "", facts)


def preview(version: Version, now: datetime, person: Person | None = None) -> list[Shown]:
    """Every message of the journey in the order of its steps, alike ones shown once. `person`: theirs alone, once for each arm and
    audience by which it differs.

    Coupons are dated as if the cohort entered `now`. Raises RenderError."""
    shown: list[Shown] = []
    for step in version.journey.steps:
        if step.retired:
            continue
        renderer = Renderer(version, step.id, links=show_links(), each_person=True)
        for channel in step.send.order:
            for locale in _list_locales(version, step, channel, person):
                shown += _show(version, renderer, step, channel, locale, now, person)
    return shown


def _show(
    version: Version, renderer: Renderer, step: Step, channel: str, locale: str, now: datetime, person: Person | None
) -> list[Shown]:
    found: dict[tuple, list[str]] = {}
    for label, facts in _list_cases(version, step, person.facts[step.id] if person else None):
        letter = renderer.write(_make_row(version, step, channel, locale, facts, now, person), mode="test")
        found.setdefault((letter.text, letter.subject, letter.html), []).append(label)
    return [
        Shown(
            step.id, channel, locale, (() if len(found) == 1 else ("everybody else",)) if "" in who else tuple(who),
            said, subject, html, count_segments(said)[1] if channel == "sms" else 0,
        )
        for (said, subject, html), who in found.items()
    ]  # fmt: skip


def _list_cases(version: Version, step: Step, own: dict[str, str] | None) -> list[tuple[str, dict[str, str]]]:
    """(who, values) of everybody whose words or coupon may differ: first those with no value at all. `own`: of one customer, for
    whom only what an enrollment brings may differ."""
    templates = [version.templates[name] for name in step.send.templates]
    branches = [it for it in (step.send.instead, *(_branch_of(each) for each in _coupon_steps(version, step))) if it]
    values: dict[str, set[str]] = {}
    for branch in branches:
        values.setdefault(branch.by, set()).update(branch.cases)
    for name in sorted({name for template in templates for name in template.customer_uses}):
        values.setdefault(name, set()).update(SIX if name == "tier" else _list_compared(templates, name))
    cases = [("", own or {})]
    for name in sorted(values):
        if own is not None and name not in OF_ENROLLMENTS:
            continue
        order = {tier: place for place, tier in enumerate(SIX)}
        for value in sorted(values[name], key=lambda it: (order.get(it, len(order)), it)):
            cases.append((f"{name} {value}", {**(own or {}), name: value}))
    return cases


def _list_compared(templates: list[Template], name: str) -> set[str]:
    """The values that words compare with."""
    asked = re.compile(rf"customer\.{name}\s*==\s*[\"']([^\"']+)[\"']")
    sources = [it for template in templates for part in template.parts.values() for it in (part.text, part.html or "")]
    return {value for source in sources for value in asked.findall(source)}


def _make_row(
    version: Version, step: Step, channel: str, locale: str, facts: dict[str, str], now: datetime, person: Person | None
) -> _Row:
    instead = step.send.instead
    template = instead.cases.get(facts.get(instead.by, "")) if instead else None
    giving = _coupon_steps(version, step)
    coupon = _choose_coupon(giving[-1], facts) if giving else None
    given_at = now + giving[-1].at.offset if giving else now
    name = person.name if person else NAMES.get(locale.split("-")[0], NAMES["en"])
    return _Row(
        message_id=0, customer_id="", channel=channel, address="someone@example.com", locale=locale, name=name,
        template=template or step.send.template, facts=json.dumps(facts) if facts else None,
        coupon_code=TEST_CODE if coupon else None,
        coupon_valid_until=version.journey.coupon_valid_until(coupon, given_at) if coupon else None,
        coupon_kind=coupon.kind if coupon else None, coupon_value=coupon.value if coupon else None,
        coupon_minimum=coupon.minimum if coupon else None, coupon_currency=coupon.currency if coupon else None,
        coupon_gift=json.dumps(coupon.gift) if coupon and coupon.gift else None,
    )  # fmt: skip


def _coupon_steps(version: Version, step: Step) -> list[Step]:
    """The steps up to this one that give a coupon; the last of them is spoken of."""
    steps = version.journey.steps[: version.journey.steps.index(step) + 1]
    return [each for each in steps if each.coupon and not each.retired]


def _branch_of(step: Step) -> Any:
    return step.coupon.instead if step.coupon else None


def _choose_coupon(step: Step, facts: dict[str, str]) -> Coupon:
    instead = step.coupon.instead
    return (instead.cases.get(facts.get(instead.by, "")) if instead else None) or step.coupon


def _list_locales(version: Version, step: Step, channel: str, person: Person | None) -> list[str]:
    if person:
        return [person.locale or version.journey.default_locale]
    found = {it for name in step.send.templates for it in version.templates[name].locales(channel)}
    return sorted(found, key=lambda it: (it != version.journey.default_locale, it))


__all__ = ["Person", "Shown", "find_customer", "preview"]
