"""How good the facts have to be: include/quality.yaml. Owns the limits of each check and how they are written.

checks:
  customers_unreachable: {warn: 20%, stop: 60%, min_rows: 200}
  orders_many: false              # switched off
sources:                          # what is different for one source
  - source: cdnow
    customers_unreachable: {stop: never}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError

from retention.errors import ConfigError, Problem
from retention.journey.document import Document, read_document, write_path
from retention.journey.explain import explain_errors
from retention.journey.files import normalise
from retention.journey.notation import refuse, show, write_percent

FILE = "quality.yaml"


@dataclass(frozen=True)
class Limit:
    """What is still good: a share of the rows (0.05 is 5%) or, if not `is_share`, a number of them."""

    value: Decimal
    is_share: bool = True

    def __str__(self) -> str:
        return write_percent(float(self.value)) if self.is_share else f"{int(self.value):,}"


@dataclass(frozen=True)
class Rule:
    """The limits of a check. Beyond `warn` it warns, beyond `stop` the journeys wait; None: it never does. It judges
    nothing below `min_rows` rows. `days_back` (volume only): how many days ago the last whole day of the source was."""

    warn: Limit | None
    stop: Limit | None
    min_rows: int
    days_back: int = 1


def _share(warn: str | None, stop: str | None, min_rows: int) -> Rule:
    return Rule(warn and parse_limit(warn), stop and parse_limit(stop), min_rows)


def parse_limit(value: object) -> Limit | None:
    """`5%`, `0.1%`, a number of rows, or `never`, which is None."""
    if value == "never":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise refuse(f"{show(value)} is negative.", "Write 0 if a single one is too many.")
        return Limit(Decimal(value), is_share=False)
    limit = _parse_percent(value)
    if limit.value > 1:
        raise refuse(f"{show(value)} is more than all of them.", "Write at most 100%, or never.")
    return limit


def parse_volume(value: object) -> Limit | None:
    """`50%` or `300%` of what is usual, or `never`, which is None."""
    return None if value == "never" else _parse_percent(value)


def _parse_percent(value: object) -> Limit:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,2})?%", value):
        return Limit(Decimal(value[:-1]) / 100)
    number = re.fullmatch(r"([0-9]{1,6}(\.[0-9]{1,2})?)\s*(%|percent|pct)?", str(value).strip())
    guess = f'Did you mean "{number[1]}%"? ' if number and not isinstance(value, bool) else ""
    raise refuse(f"{show(value)} is no limit.", f"{guess}Write a percentage such as 5%, or never.")


def _parse_count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise refuse(f"{show(value)} is no number of rows.", "Write a whole number, 0 or more.")


def _parse_days(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 31:
        return value
    raise refuse(f"{show(value)} is no number of days.", "Write 1 for yesterday, up to 31.")


def _is_on(value: object) -> object:
    """None for a check that is switched off."""
    if value is None:
        raise refuse("nothing is written here.")
    return None if value is False else value


Count = Annotated[int, PlainValidator(_parse_count)]
ShareLimit = Annotated[Limit | None, PlainValidator(parse_limit)]
VolumeLimit = Annotated[Limit | None, PlainValidator(parse_volume)]


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class ShareRule(_Block):
    """What a file says about a check of rows; what it leaves out stays as it is."""

    warn: ShareLimit = Field(None, description="Beyond it the check warns: 5%, a number of rows, or never.")
    stop: ShareLimit = Field(None, description="Beyond it the journeys wait: 5%, a number of rows, or never.")
    min_rows: Count = Field(0, description="Below so many rows nothing is judged.")


class VolumeRule(_Block):
    """What a file says about a check of a day's volume; what it leaves out stays as it is."""

    warn: VolumeLimit = Field(None, description="A day's volume beyond it warns: 50% of what is usual, or never.")
    stop: VolumeLimit = Field(None, description="A day's volume beyond it makes the journeys wait: 20%, or never.")
    min_rows: Count = Field(0, description="A usual day has at least so many orders, else nothing is judged.")
    days_back: Annotated[int, PlainValidator(_parse_days)] = Field(1, description="The last whole day: 1 is yesterday.")


Share = Annotated[ShareRule | None, BeforeValidator(_is_on)]
Volume = Annotated[VolumeRule | None, BeforeValidator(_is_on)]


class Checks(_Block):
    """One block a check, or false for one that is switched off."""

    rows_rejected: Share = None
    customers_unreachable: Share = None
    customers_sharing_address: Share = None
    birthdays_impossible: Share = None
    birthdays_on_one_day: Share = None
    orders_in_future: Share = None
    orders_too_old: Share = None
    orders_without_customer: Share = None
    orders_few: Volume = None
    orders_many: Volume = None
    items_without_order: Share = None
    events_in_future: Share = None
    events_without_customer: Share = None


class SourceChecks(Checks):
    """What is different for one source."""

    source: str = Field(description="The source, as its mapping names it.")


class _File(_Block):
    checks: Checks = Checks()
    sources: tuple[SourceChecks, ...] = ()


def _volume(warn: str, stop: str, min_rows: int) -> Rule:
    return Rule(parse_volume(warn), parse_volume(stop), min_rows)


DEFAULTS: Mapping[str, Rule] = {
    "rows_rejected": _share("1%", "10%", 100),
    "customers_unreachable": _share("20%", "60%", 200),
    "customers_sharing_address": _share("5%", "25%", 200),
    "birthdays_impossible": _share("1%", "10%", 200),
    "birthdays_on_one_day": _share("3%", "15%", 500),
    "orders_in_future": _share("0.1%", "1%", 200),
    "orders_too_old": _share("0.1%", "5%", 200),
    "orders_without_customer": _share("1%", "20%", 200),
    "orders_few": _volume("50%", "20%", 20),
    "orders_many": _volume("300%", "1000%", 20),
    "items_without_order": _share("1%", "20%", 200),
    "events_in_future": _share("0.1%", "1%", 200),
    "events_without_customer": _share("5%", None, 200),
}
"""What holds where the file says nothing; the shipped file says the same (a test compares)."""


@dataclass(frozen=True)
class QualityPolicy:
    """The rules of all checks: what the file says for every source, and for one of them. Empty: the defaults."""

    checks: Checks = field(default_factory=Checks)
    sources: Mapping[str, Checks] = field(default_factory=dict)

    def rule(self, check: str, source: str) -> Rule | None:
        """The rule of a check for a source, or None if it is switched off there."""
        rule: Rule | None = DEFAULTS[check]
        for said in filter(None, (self.checks, self.sources.get(source))):
            if check in said.model_fields_set:
                block = getattr(said, check)
                changes = {} if block is None else {name: getattr(block, name) for name in block.model_fields_set}
                rule = None if block is None else replace(rule or DEFAULTS[check], **changes)
        return rule


def read_policy(path: str, text: str) -> tuple[QualityPolicy | None, Document]:
    """The policy, or None and the document's problems."""
    document = read_document(path, normalise(text), kind="policy")
    if not document.is_readable:
        return None, document
    try:
        said = _File.model_validate(document.data)
    except ValidationError as error:
        explain_errors(document, _File, error)
        return None, document
    _find_contradictions(document, ("checks",), said.checks)
    by_source: dict[str, Checks] = {}
    for index, block in enumerate(said.sources):
        if block.source in by_source:
            document.complain(("sources", index), f"the source {show(block.source)} stands twice.", "Keep one of them.")
        by_source[block.source] = block
        _find_contradictions(document, ("sources", index), block)
    return (None if document.problems else QualityPolicy(said.checks, by_source)), document


def _find_contradictions(document: Document, place: tuple, said: Checks) -> None:
    """A warning that could never be given, because the journeys would wait before."""
    for check in DEFAULTS:
        block = getattr(said, check)
        if block is None or not {"warn", "stop"} <= block.model_fields_set or not block.warn or not block.stop:
            continue
        if block.warn.is_share != block.stop.is_share:
            continue
        is_low = check == "orders_few"
        if block.warn.value < block.stop.value if is_low else block.warn.value > block.stop.value:
            path: tuple[Any, ...] = (*place, check, "warn")
            what = f"{write_path(path, document.data)}{block.warn} is beyond stop, {block.stop}: it would never warn."
            document.complain(path, what, f"Write {'more' if is_low else 'less'} than {block.stop}, or never.")


def load_policy(include: Path) -> QualityPolicy:
    """The policy of include/quality.yaml, or the defaults where there is none. Raises ConfigError with its problems."""
    place = include / FILE
    path = f"include/{FILE}"
    try:
        text = place.read_bytes().decode("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return QualityPolicy()
    except OSError as error:
        raise ConfigError([Problem(path, 1, f"it can't be read ({error.strerror}).")]) from error
    policy, document = read_policy(path, text)
    if policy is None:
        raise ConfigError(document.problems)
    return policy


def find_problems(include: Path) -> list[Problem]:
    """Everything that is wrong with include/quality.yaml."""
    try:
        load_policy(include)
    except ConfigError as error:
        return error.problems
    return []
