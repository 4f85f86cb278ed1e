"""Whether a journey keeps to the law of the countries it reaches, as the table knows it. Reads no file.

Each rule of the table that asks for something of a journey, its templates, the shop or the rules of contact has a function here
and gives (path, line, what, remedy). A journey reaches all markets of the shop, on all its channels, in all its languages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from retention.errors import Problem
from retention.journey.document import Document
from retention.journey.files import Files
from retention.journey.law import Row
from retention.journey.models import Journey, Step
from retention.journey.policy import Policy
from retention.journey.policy_fields import Hours, known_countries
from retention.journey.shop import Shop, choose_locale
from retention.journey.templates import Part, TemplateFolder

Found = Iterator[tuple[str, int, str, str]]


@dataclass(frozen=True)
class Case:
    """What is held against the table: a whole journey and all that stands around it. Paths begin with `prefix`."""

    journey: Journey
    document: Document
    templates: dict[str, TemplateFolder]
    files: Files
    shop: Shop
    policy: Policy
    policy_document: Document
    prefix: str

    @cached_property
    def steps(self) -> list[tuple[int, Step, TemplateFolder]]:
        """The steps that send marketing, or what is marketing whatever it says."""
        found = []
        for index, step in enumerate(self.journey.steps):
            for folder in (self.templates[name] for name in step.send.templates):
                if not step.retired and (folder.template.purpose == "marketing" or self.has_coupon(step, folder)):
                    found.append((index, step, folder))
        return found

    @staticmethod
    def has_coupon(step: Step, folder: TemplateFolder) -> bool:
        """Whether the step gives a coupon, or its words speak of one."""
        return step.coupon is not None or any(use[0] in step.send.order for use in folder.coupon_uses)

    def channels(self, row: Row) -> list[str]:
        """The channels of marketing that the row is about, each once."""
        return list(dict.fromkeys(c for _, step, _ in self.steps for c in step.send.order if row.is_on(c)))

    def parts(self, row: Row) -> Iterator[tuple[TemplateFolder, str, str, Part]]:
        """Every text that the row is about: its template, channel and locale."""
        seen = set()
        for _, step, folder in self.steps:
            for (channel, locale), part in sorted(folder.template.parts.items()):
                place = (folder.name, channel, locale)
                if channel in step.send.order and row.is_on(channel) and place not in seen:
                    seen.add(place)
                    yield folder, channel, locale, part

    def file(self, folder: TemplateFolder, channel: str, locale: str, ending: str) -> str:
        """The path of a part's file, as problems show it."""
        return f"{self.prefix}templates/{folder.name}/{channel}.{locale}.{ending}"

    def in_policy(self, *path: str) -> tuple[str, int]:
        """Where something stands, or should stand, in the rules of contact."""
        return self.policy_document.path, self.policy_document.line(path)


def check_law(case: Case) -> list[Problem]:
    """Every row that the journey does not keep, with what to do: at the place that has to change."""
    law, found = case.policy.law, {}
    rows: dict[str, tuple[Row, list[str]]] = {}
    for country in case.policy.said.markets or ("",):
        for row in law.rows_for(country):
            rows.setdefault(row.id, (row, []))[1].append(country)
    for row, countries in rows.values():
        for finding in _CHECKS[row.rule](case, row):
            found.setdefault(finding, []).append((row.id, law.is_everywhere(row.id), countries))
    return sorted(
        Problem(path, line, f"{what} ({_say_why(case.policy, broken)}).", remedy)
        for (path, line, what, remedy), broken in found.items()
    )


def _say_why(policy: Policy, broken: list[tuple[str, bool, list[str]]]) -> str:
    """The countries that want it and the rows that say so; the same may be wanted by several."""
    ids = ", ".join(row_id for row_id, _, _ in broken)
    if any(is_everywhere for _, is_everywhere, _ in broken):
        return f"everywhere; law.yaml: {ids}"
    wanting = dict.fromkeys(country for _, _, countries in broken for country in countries)
    if "" in wanting:
        return f"no markets are named, so every row holds; law.yaml: {ids}"
    strange = [known_countries()[country] for country in wanting if not policy.law.knows(country)]
    if strange:
        return f"the table does not know {strange[0]}, so every row holds; law.yaml: {ids}"
    return f"{', '.join(known_countries()[country] for country in wanting)}; law.yaml: {ids}"


def _check_coupon(case: Case, row: Row) -> Found:
    for _, step, folder in case.steps:
        if folder.template.purpose != "marketing":
            head = f"templates/{folder.name}/template.yaml"
            line = _find_line(case.files[head], "purpose:")
            what = f"a message with a coupon is marketing, whatever it says; step {step.id} calls it transactional"
            yield case.prefix + head, line, what, "Write purpose: marketing, or take the coupon out."


def _check_abroad(case: Case, row: Row) -> Found:
    unsaid = [c for c in case.channels(row) if getattr(case.policy.said.processed_in, c) is None]
    if unsaid:
        what = f"processed_in: nothing says in which country the provider of {' and '.join(unsaid)} handles customers' data"
        example = ", ".join(f"{channel}: US" for channel in unsaid)
        remedy = f"Write processed_in: {{{example}}} for SendGrid and Twilio, or the country of yours."
        yield *case.in_policy("processed_in"), what, remedy


def _check_minors(case: Case, row: Row) -> Found:
    if case.steps and case.policy.adult_age < row.age:
        what = f"adult_age: {case.policy.adult_age} is too young: below {row.age} a guardian has to agree"
        yield *case.in_policy("adult_age"), what, f"Write {row.age} or more."


def _check_wording(case: Case, row: Row) -> Found:
    for channel in case.channels(row):
        if not case.policy.consent_words.get(channel):
            what = f"consent_words: there is no text for {channel}, so no consent to it could be proved"
            remedy = f"Write under consent_words what people read when they agree: {channel}: {{en: ...}}."
            yield *case.in_policy("consent_words", channel), what, remedy


def _check_storage(case: Case, row: Row) -> Found:
    for kind in row.kinds:
        if case.steps and case.policy.retention[kind] is None:
            what = f"keep.{kind}: forever is longer than any purpose needs"
            yield *case.in_policy("keep", kind), what, "Write how long it is kept, such as 90d."


def _check_hours(case: Case, row: Row) -> Found:
    for index, step, _ in case.steps:
        if step.zone != "customer" or step.expires.days >= 1:
            continue
        start = step.at.time
        end = (step.at.offset + step.expires).seconds // 60
        sent = Hours(start, start.replace(hour=end // 60, minute=end % 60))
        for channel in step.send.order:
            if row.is_on(channel) and not sent.narrow(row.hours):
                path = ("steps", index, "at")
                what = f"steps[{index}] ({step.id}): at: {sent} is outside {row.hours} of the customer's day: no {channel} ever goes"
                remedy = f"Write a time from {row.hours.opens:%H:%M} on, or a longer expires."
                yield case.document.path, case.document.line(path), what, remedy


def _check_sender(case: Case, row: Row) -> Found:
    signatures = case.shop.sms_signature
    for folder, channel, locale, part in case.parts(row):
        if not signatures:
            what = "sms_signature is missing: the name in 【】 that the carrier has registered"
            yield case.prefix + "shop.yaml", 1, what, "Add sms_signature: {zh-CN: ..., en: ...}."
            return
        signature = signatures[choose_locale(locale, list(signatures), case.journey.default_locale)]
        allowed = ["{{ shop.sms_signature }}", signature]
        if case.shop.name_in(locale, case.journey.default_locale) == signature:
            allowed.append("{{ shop.name }}")
        heads = [f"【{word}】" for word in allowed]
        if not locale.startswith("zh"):
            heads += allowed
        words = re.sub(r"\{\{\s*([\w.]+)\s*\}\}", r"{{ \1 }}", part.text.lstrip())
        if not words.startswith(tuple(heads)):
            example = "【{{ shop.sms_signature }}】" if locale.startswith("zh") else "{{ shop.sms_signature }}:"
            what = f"the {channel} does not begin with who sends it, {signature}"
            yield case.file(folder, channel, locale, "txt"), 1, what, f"Begin it with {example}"


def _check_words(case: Case, row: Row) -> Found:
    for folder, channel, locale, part in case.parts(row):
        if not any(_holds(part.text, word) for word in row.words):
            example = "回复TD退订" if locale.startswith("zh") else "Reply STOP to end"
            what = f"the {channel} does not say how to have no more of them"
            yield case.file(folder, channel, locale, "txt"), 1, what, f"End it with: {example}"


def _check_ad_mark(case: Case, row: Row) -> Found:
    marks = "|".join(map(re.escape, row.words))
    for folder, channel, locale, part in case.parts(row):
        if not re.match(rf"[\s\[(（【<「]*({marks})(?![A-Za-z])", part.subject or ""):
            path = case.file(folder, channel, locale, "html")
            line = _find_line(case.files[path.removeprefix(case.prefix)], "subject:")
            example = f"（{row.words[0]}）" if locale.startswith("zh") else f"({row.words[-1]})"
            what = f"the subject does not begin with {' or '.join(row.words)}, the mark of advertising"
            yield path, line, what, f"Begin it with {example}."


def _needs_variable(name: str, what: str) -> Callable[[Case, Row], Found]:
    """Both bodies of each e-mail have to show this variable; to ask for it in an {% if %} is not enough."""
    shown = re.compile(rf"\{{\{{-?\s*{re.escape(name)}\b")

    def check(case: Case, row: Row) -> Found:
        for folder, channel, locale, part in case.parts(row):
            if channel != "email":
                continue
            for ending, text in (("html", part.html or ""), ("txt", part.text)):
                if not shown.search(text):
                    path = case.file(folder, channel, locale, ending)
                    yield path, 1, what, f"Put {{{{ {name} }}}} into it."

    return check


_UNSUBSCRIBE = _needs_variable("links.unsubscribe", "the e-mail has no link to have no more of them")
_PREFERENCES = _needs_variable("links.preferences", "the e-mail leads to no page on which profiling can be refused")
_ADDRESS = _needs_variable("shop.postal_address", "the e-mail does not have the sender's postal address in it")


def _check_address(case: Case, row: Row) -> Found:
    if case.channels(row) and not case.shop.postal_address:
        what = "postal_address is missing, which marketing e-mails have to show"
        yield case.prefix + "shop.yaml", 1, what, "Add postal_address: {zh-CN: ..., en: ...}."
    yield from _ADDRESS(case, row)


def _holds(text: str, word: str) -> bool:
    """Whether the word stands in a text, not just as a part of another."""
    edge = "[A-Za-z]" if word.isascii() else "(?!)."
    return re.search(rf"(?<!{edge}){re.escape(word)}(?!{edge})", text, re.IGNORECASE) is not None


def _find_line(text: str, start: str) -> int:
    return next((n for n, line in enumerate(text.split("\n"), 1) if line.startswith(start)), 1)


_CHECKS: dict[str, Callable[[Case, Row], Found]] = {
    "coupon_is_marketing": _check_coupon,
    "agree_abroad": _check_abroad,
    "may_refuse_profiling": _PREFERENCES,
    "minors": _check_minors,
    "sender_first": _check_sender,
    "opt_out_words": _check_words,
    "ad_mark": _check_ad_mark,
    "opt_out_link": _UNSUBSCRIBE,
    "postal_address": _check_address,
    "consent_wording": _check_wording,
    "hours": _check_hours,
    "storage_limits": _check_storage,
}
