"""The kinds of value a journey's keys take, each with its check and its place in the JSON schema.

How single values are written is in notation.py; here they become types for the models. A validator that needs to know
what exists (templates, audiences) finds it in the validation context under `known`; without it, it takes any name.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from retention.journey import notation
from retention.journey.notation import Moment, did_you_mean, list_options, refuse, show

CHANNELS = ("email", "sms", "whatsapp", "webhook")
"""The channels a journey may name."""

EVENT_KINDS = (
    "login", "view", "cart", "participation", "referral", "review", "answer", "survey", "suggestion",
    "complaint_opened", "complaint_solved", "community",
)  # fmt: skip
"""The event kinds a goal may wait for, besides `order`."""

RESERVED_STEP_IDS = ("enroll", "settle")
"""Names Airflow's graph of a journey has already."""

RESERVED_ARMS = ("holdout", "main")
"""Arms that are there without being written."""

OWN_DAGS = ("reconcile", "crm_sync", "maintenance", "rerun_step", "scoring", "watch")
"""DAGs of ours. A journey is a DAG of its id, and Airflow would show one of the two, now this, now that."""


@dataclass(frozen=True)
class Known:
    """What exists beside the journey; given as validation context under the key `known`."""

    templates: Collection[str]
    audiences: Collection[str]
    journeys: Collection[str] | None = None
    """None: of a stored version, which was held against the others when it was new."""


def _word(parse: Any, schema: dict, write: Any = None) -> Any:
    parts = [PlainValidator(parse), WithJsonSchema({"type": "string", **schema})]
    return [*parts, PlainSerializer(write, return_type=str, when_used="json")] if write else parts


Duration = Annotated[
    timedelta,
    *_word(
        notation.parse_duration,
        {"pattern": notation.DURATION_PATTERN, "examples": ["90m", "24h", "3d", "2w"]},
        notation.write_duration,
    ),
]
OptionalDuration = Annotated[
    timedelta | None,
    *_word(
        notation.parse_optional_duration,
        {"pattern": notation.DURATION_PATTERN[:-1] + "$|^never$", "examples": ["300d", "90d", "never"]},
        lambda value: "never" if value is None else notation.write_duration(value),
    ),
]
Percent = Annotated[
    float,
    *_word(
        notation.parse_percent,
        {"pattern": notation.PERCENT_PATTERN, "examples": ["10%", "12.5%"]},
        notation.write_percent,
    ),
]
When = Annotated[
    Moment,
    *_word(notation.parse_moment, {"pattern": notation.MOMENT_PATTERN, "examples": ["day 0, 10:00", "entry + 2h"]}, str),
]
Day = Annotated[date, *_word(notation.parse_date, {"format": "date", "examples": ["2026-11-01"]})]
Schedule = Annotated[
    str,
    *_word(notation.parse_schedule, {"pattern": r"^\S+( \S+){4}$", "examples": ["0 6 * * *", "0 6 * * 1"]}),
]
Zone = Annotated[str, *_word(notation.parse_timezone, {"examples": ["Asia/Shanghai", "Europe/London"]})]
Locale = Annotated[
    str, *_word(notation.parse_locale, {"pattern": notation.LOCALE_PATTERN, "examples": ["zh-CN", "en"]})
]


def _parse_id(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(notation.ID_PATTERN, value):
        return value
    near = re.sub(r"[^a-z0-9]+", "_", str(value).lower()).strip("_")[:60] if isinstance(value, str) else ""
    meant = f'Did you mean "{near}"? ' if re.fullmatch(notation.ID_PATTERN, near) else ""
    rule = "An id is made of small letters, digits and _, begins with a letter and has at most 60 characters."
    raise refuse(f"{show(value)} can't be an id.", meant + rule)


def _parse_step_id(value: object) -> str:
    if value in RESERVED_STEP_IDS:
        raise refuse(f"{show(value)} is the name of a task every run has.", "Choose another id.")
    return _parse_id(value)


Id = Annotated[str, *_word(_parse_id, {"pattern": notation.ID_PATTERN})]
StepId = Annotated[str, *_word(_parse_step_id, {"pattern": notation.ID_PATTERN})]


def _parse_text(value: object) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    remedy = "Put it in quotes to make it text." if isinstance(value, int | float) else "Write some text."
    raise refuse(f"{show(value)} is not text." if value != "" else "the text is empty.", remedy)


Text = Annotated[str, *_word(_parse_text, {"minLength": 1})]


def _known_of(info: ValidationInfo) -> Known | None:
    return (info.context or {}).get("known")


def _parse_audience(value: object, info: ValidationInfo) -> str:
    name, known = _parse_text(value), _known_of(info)
    if known is None or name in known.audiences:
        return name
    near = did_you_mean(name.removesuffix(".sql"), known.audiences)
    meaning = near or "An audience is a file in include/sql/audiences, named without .sql."
    raise refuse(f"unknown audience {show(name)}.", f"{meaning} {list_options('Audiences', known.audiences)}")


def _parse_audiences(value: object, info: ValidationInfo) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        return (_parse_audience(value, info),)
    if not value:
        raise refuse("the list is empty.", "Name at least one audience.")
    names = tuple(_parse_audience(each, info) for each in value)
    for name in names:
        if names.count(name) > 1:
            raise refuse(f"{show(name)} is listed twice.", "Name each audience once; the first that names somebody counts.")
    return names


def _parse_variants(value: object) -> dict[str, int]:
    how = "Write each with its share, together 100: {warm: 50, plain: 50}."
    if not isinstance(value, dict):
        raise refuse(f"{show(value)} is not a group of variants.", how)
    for name, share in value.items():
        _parse_variant(name)
        if isinstance(share, bool) or not isinstance(share, int) or not 1 <= share <= 99:
            raise refuse(f"{show(share)} is no share for {show(name)}.", f"Write a whole number from 1 to 99. {how}")
    if len(value) < 2:
        raise refuse("one variant is nothing to compare.", f"{how} Or delete the line.")
    if sum(value.values()) != 100:
        raise refuse(f"the shares add up to {sum(value.values())}.", how)
    return dict(value)


def _parse_variant(name: object) -> str:
    if name in RESERVED_ARMS:
        meaning = {"holdout": "those who get nothing", "main": "the only arm of a journey without variants"}[name]
        raise refuse(f"{show(name)} is the name of {meaning}.", "Choose another name.")
    return _parse_id(name)


def _parse_template(value: object, info: ValidationInfo) -> str:
    name, known = _parse_text(value), _known_of(info)
    if known is None or name in known.templates:
        return name
    near = did_you_mean(name, known.templates)
    meaning = near or "A template is a folder in include/templates with a template.yaml in it."
    raise refuse(f"unknown template {show(name)}.", f"{meaning} {list_options('Templates', known.templates)}")


def _parse_channels(value: object) -> tuple[str, ...]:
    listed = list_options("Channels", CHANNELS)
    if not isinstance(value, list | tuple):
        example = f"[{value}]" if value in CHANNELS else "[sms, email]"
        raise refuse(f"{show(value)} is not a list.", f"Write it in brackets: {example}.")
    if not value:
        raise refuse("the list is empty.", f"Name at least one channel. {listed}")
    for channel in value:
        if channel not in CHANNELS:
            near = did_you_mean(channel, CHANNELS)
            raise refuse(f"unknown channel {show(channel)}.", f"{near} {listed}".strip())
    if len(set(value)) < len(value):
        twice = next(channel for channel in value if list(value).count(channel) > 1)
        raise refuse(f"{show(twice)} is listed twice.", "Name each channel once.")
    return tuple(value)


_CHANNELS_SCHEMA = {
    "type": "array",
    "items": {"type": "string", "enum": list(CHANNELS)},
    "minItems": 1,
    "uniqueItems": True,
    "examples": [["sms", "email"]],
}
ChannelList = Annotated[tuple[str, ...], PlainValidator(_parse_channels), WithJsonSchema(_CHANNELS_SCHEMA)]


def _parse_goal_event(value: object) -> str:
    options = ("order", *EVENT_KINDS)
    if value in options:
        return str(value)
    raise refuse(f"unknown event {show(value)}.", f"{did_you_mean(value, options)} {list_events()}".strip())


def list_events() -> str:
    """What a goal may wait for, as a sentence."""
    return f"Events: {', '.join(('order', *EVENT_KINDS))}."


def _whole_number(least: int, most: int, word: str | None, refused_zero: str = "") -> Any:
    def parse(value: object) -> int | None:
        if word and (value == word or value is None):
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            if least <= value <= most:
                return value
            if value == 0 and refused_zero:
                raise refuse("0 would let nobody through.", refused_zero)
            raise refuse(f"{value} is out of range.", f"Write a number from {least} to {most}.")
        percent = isinstance(value, str) and value.rstrip("% ％").isdecimal()
        how = f"Write a number from {least} to {most}{f', or {word}' if word else ''}."
        if percent:
            how = "Write the number alone, without quotes or a sign."
        raise refuse(f"{show(value)} is not a whole number.", how)

    number = {"type": "integer", "minimum": least, "maximum": most}
    schema = {"anyOf": [number, {"const": word}]} if word else number
    write = PlainSerializer(lambda value: word if value is None else value, when_used="json")
    return [PlainValidator(parse), WithJsonSchema(schema), write]


_NO_ZERO = "Unlimited is spelt none; to let nobody in, set status: draining."
Limit = Annotated[int | None, *_whole_number(1, 10_000_000, "none", _NO_ZERO)]
HoldAbove = Annotated[int | None, *_whole_number(1, 10_000_000, "auto", "To let nobody in, set status: draining.")]

_NAMES = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "uniqueItems": True}
Audiences = Annotated[
    tuple[str, ...],
    PlainValidator(_parse_audiences),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "minLength": 1}, _NAMES],
            "examples": ["birthday_in_3_days", ["churned", "early_warning"]],
        }
    ),
]
Variants = Annotated[
    dict[str, int],
    PlainValidator(_parse_variants),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 99},
            "propertyNames": {"pattern": notation.ID_PATTERN},
            "minProperties": 2,
            "examples": [{"warm": 50, "plain": 50}],
        }
    ),
]


def _parse_journey(value: object, info: ValidationInfo) -> str:
    name, known = _parse_id(value), _known_of(info)
    if known is None or known.journeys is None or name in known.journeys:
        return name
    near = did_you_mean(name, known.journeys)
    raise refuse(f"unknown journey {show(name)}.", f"{near} {list_options('Journeys', known.journeys)}".strip())


def _parse_journeys(value: object, info: ValidationInfo) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(dict.fromkeys(_parse_journey(each, info) for each in values))


def _parse_rests(value: object, info: ValidationInfo) -> dict[str, timedelta]:
    if not isinstance(value, dict):
        raise refuse(f"{show(value)} is not a group of journeys.", "Write each with a time: {birthday_care: 7d}.")
    return {_parse_journey(name, info): notation.parse_duration(rest) for name, rest in value.items()}


Journeys = Annotated[
    tuple[str, ...],
    PlainValidator(_parse_journeys),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string", "pattern": notation.ID_PATTERN}, "uniqueItems": True},
                {"type": "string", "pattern": notation.ID_PATTERN},
            ],
            "examples": [["winback"]],
        }
    ),
]
Rests = Annotated[
    dict[str, timedelta],
    PlainValidator(_parse_rests),
    PlainSerializer(lambda it: {name: notation.write_duration(rest) for name, rest in it.items()}, when_used="json"),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"type": "string", "pattern": notation.DURATION_PATTERN},
            "propertyNames": {"pattern": notation.ID_PATTERN},
            "examples": [{"birthday_care": "7d"}],
        }
    ),
]
TemplateName = Annotated[
    str,
    PlainValidator(_parse_template),
    WithJsonSchema({"type": "string", "minLength": 1, "examples": ["birthday/greeting"]}),
]
GoalEvent = Annotated[
    str, PlainValidator(_parse_goal_event), WithJsonSchema({"type": "string", "enum": ["order", *EVENT_KINDS]})
]
