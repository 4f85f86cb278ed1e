"""The law, as far as the engine can keep to it: include/law.yaml, rows by country with their sources. Owns which rows there
are for a country and what they ask for of a person; what they ask for of a journey is checked in law_check.py.

Not legal advice: counsel has to confirm the table for each company. A country without rows gets all rows of all others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, PlainValidator, ValidationError, model_validator

from retention.journey.document import Document, read_document
from retention.journey.explain import explain_errors
from retention.journey.fields import ChannelList, Id, Text
from retention.journey.models import Block
from retention.journey.notation import did_you_mean, list_options, refuse, show
from retention.journey.policy_fields import Age, Countries, Hours, OpenHours, parse_country
from retention.journey.policy_file import Keep

EVERYWHERE = "*"

RULES = {
    "coupon_is_marketing": "",
    "agree_abroad": "",
    "may_refuse_profiling": "",
    "minors": "age",
    "sender_first": "",
    "opt_out_words": "words",
    "ad_mark": "words",
    "opt_out_link": "",
    "postal_address": "",
    "consent_wording": "",
    "hours": "hours",
    "storage_limits": "kinds",
}
"""What a row can ask for, and the key that says how much of it ("": there is none)."""

_SUBJECTS = {
    "agree_abroad": "abroad",
    "may_refuse_profiling": "profiling",
    "minors": "adult",
    "consent_wording": "wording",
}
"""Rules that ask for something of each person, as `consents_needed` spells it."""


def _parse_rule(value: object) -> str:
    if isinstance(value, str) and value in RULES:
        return value
    raise refuse(f"unknown rule {show(value)}.", f"{did_you_mean(value, RULES)} {list_options('Rules', RULES)}".strip())


def _parse_texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(it, str) and it.strip() for it in value):
        raise refuse(f"{show(value)} is not a list of words.", 'Write it in brackets: [STOP, "退订"].')
    return tuple(value)


def _parse_kinds(value: object) -> tuple[str, ...]:
    kinds = _parse_texts(value)
    for kind in kinds:
        if kind not in Keep.model_fields:
            raise refuse(f"unknown kind of record {show(kind)}.", list_options("Kinds", Keep.model_fields))
    return kinds


def _parse_sources(value: object) -> tuple[str, ...]:
    sources = _parse_texts(value)
    for source in sources:
        if not re.fullmatch(r"https?://[\w.\-]+/\S+", source):
            raise refuse(f"{show(source)} is not a web address.", "Link the statute, with https://.")
    return sources


class Row(Block):
    """One thing that the law of some countries asks for."""

    id: Id = Field(description="The row's name: refusals quote it.")
    countries: Annotated[tuple[str, ...], PlainValidator(lambda value: _parse_where(value))] = Field(
        description="Two letters each, or the name of a group, or * for everywhere."
    )
    rule: Annotated[str, PlainValidator(_parse_rule)] = Field(description="What is asked for.")
    channels: ChannelList | None = Field(default=None, description="Only on these channels.")
    age: Age | None = Field(default=None, description="Younger people need a guardian's consent.")
    hours: OpenHours | None = Field(
        default=None, description="When messages may be handed over, in the receiver's time."
    )
    words: Annotated[tuple[str, ...], PlainValidator(_parse_texts)] = Field(default=(), description="One of these.")
    kinds: Annotated[tuple[str, ...], PlainValidator(_parse_kinds)] = Field(
        default=(), description="Records with a period."
    )
    says: Text = Field(description="What the law says, in a sentence.")
    sources: Annotated[tuple[str, ...], PlainValidator(_parse_sources)] = Field(description="Links to the statutes.")

    @model_validator(mode="after")
    def _has_what_its_rule_needs(self) -> Row:
        needed = RULES[self.rule]
        if needed and not getattr(self, needed):
            raise refuse(f"the rule {self.rule} needs {needed}.", f"Add {needed}.")
        for key in set(RULES.values()) - {needed, ""}:
            if getattr(self, key):
                raise refuse(f"the rule {self.rule} has no {key}.", f"Delete {key}.")
        return self

    def is_on(self, channel: str) -> bool:
        """Whether the row is about this channel."""
        return self.channels is None or channel in self.channels


def _parse_where(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise refuse(f"{show(value)} is not a list.", 'Write it in brackets: [CN], [EEA] or ["*"].')
    return tuple(str(it) if it == EVERYWHERE or _is_group(it) else parse_country(it) for it in value)


def _is_group(word: object) -> bool:
    return isinstance(word, str) and re.fullmatch("[A-Z]{3,8}", word) is not None


class LawFile(Block):
    """The whole table."""

    groups: dict[str, Countries] = Field(
        default_factory=dict, description="Names for several countries with the same law."
    )
    rows: tuple[Row, ...] = Field(min_length=1, description="What the law asks for, by country.")


@dataclass(frozen=True)
class Law:
    """The table with its groups written out: each row with the countries it is for (None: all)."""

    rows: tuple[tuple[Row, frozenset[str] | None], ...] = field(default=())

    def knows(self, country: str | None) -> bool:
        """Whether a row names this country."""
        return any(countries is not None and country in countries for _, countries in self.rows)

    def rows_for(self, country: str | None, channel: str | None = None) -> list[Row]:
        """The rows of a country; all rows for one that the table does not know. `channel`: those about it alone."""
        is_known = self.knows(country)
        return [
            row
            for row, countries in self.rows
            if (countries is None or not is_known or country in countries) and (channel is None or row.is_on(channel))
        ]

    def is_everywhere(self, row_id: str) -> bool:
        """Whether this row is for all countries."""
        return any(row.id == row_id and countries is None for row, countries in self.rows)

    def hours(self, channel: str, country: str | None) -> Hours | None:
        """When marketing may be handed over on a channel; None: at any time."""
        return narrow(row.hours for row in self.rows_for(country, channel) if row.hours)

    def subjects(self, channel: str, country: str | None) -> tuple[str, ...]:
        """What the law asks for of each person before marketing on a channel."""
        found = [_SUBJECTS[row.rule] for row in self.rows_for(country, channel) if row.rule in _SUBJECTS]
        return tuple(dict.fromkeys(found))

    def home(self, rule: str, country: str | None) -> frozenset[str]:
        """The countries of the rows with this rule that hold for `country`."""
        rows = {row.id for row in self.rows_for(country) if row.rule == rule}
        return frozenset().union(*(countries or frozenset() for row, countries in self.rows if row.id in rows))


def narrow(windows: Iterable[Hours]) -> Hours | None:
    """What all of them leave open; None where there is no window. Windows that leave nothing open have been refused."""
    found: Hours | None = None
    for window in windows:
        found = window if found is None else (found.narrow(window) or found)
    return found


def read_law(path: str, text: str) -> tuple[Law | None, Document]:
    """The table, or None and the document's problems."""
    document = read_document(path, text, kind="table of law")
    if not document.is_readable:
        return None, document
    try:
        said = LawFile.model_validate(document.data)
    except ValidationError as error:
        explain_errors(document, LawFile, error)
        return None, document
    first: dict[str, int] = {}
    for index, row in enumerate(said.rows):
        if row.id in first:
            document.complain(
                ("rows", index, "id"), f"rows[{index}]: the id {show(row.id)} is used twice.", "Rename one."
            )
        first.setdefault(row.id, index)
        for word in row.countries:
            if _is_group(word) and word not in said.groups:
                remedy = f"{did_you_mean(word, said.groups)} {list_options('Groups', said.groups)}".strip()
                document.complain(("rows", index, "countries"), f"rows[{index}]: unknown group {show(word)}.", remedy)
    if document.problems:
        return None, document
    return Law(tuple((row, _write_out(row, said)) for row in said.rows)), document


def _write_out(row: Row, said: LawFile) -> frozenset[str] | None:
    if EVERYWHERE in row.countries:
        return None
    return frozenset(code for word in row.countries for code in said.groups.get(word, (word,)))
