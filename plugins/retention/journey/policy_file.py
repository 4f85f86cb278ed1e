"""What include/policy.yaml may say: frozen models, one class a block. Owns names, meanings and defaults of all keys.

A key that is left out keeps the default, which is what the shipped file says (a test compares). Rules that need more than one
key are in policy_rules.py. Descriptions are written for a marketer: editors show them on hover. Nothing here reads a file.
"""

from __future__ import annotations

from datetime import time, timedelta
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema, create_model

from retention.journey.fields import CHANNELS
from retention.journey.models import Block
from retention.journey.notation import ID_PATTERN
from retention.journey.policy_fields import (
    Age,
    Choices,
    Countries,
    Country,
    Hours,
    Journeys,
    Most,
    Period,
    Quiet,
    Wordings,
)
from retention.journey.shop import parse_names

PERIODS = ("day", "week", "month")
"""What a cap may count over, from short to long."""


class Caps(Block):
    """At most so many messages in each period; what is left out is not counted, and none is unlimited, too."""

    day: Most = Field(default=None, description="At most so many on one day of the customer's own zone, or none.")
    week: Most = Field(default=None, description="At most so many on seven days in a row, or none.")
    month: Most = Field(default=None, description="At most so many on thirty days in a row, or none.")

    def said(self) -> dict[str, int | None]:
        """The periods that the file names; None: none."""
        return {period: getattr(self, period) for period in PERIODS if period in self.model_fields_set}


def _by_channel(name: str, doc: str, kind: Any, describe: str, defaults: dict[str, Any] | None = None) -> Any:
    """A block with one key a channel."""
    fields: dict[str, Any] = {
        channel: (kind, Field(default=(defaults or {}).get(channel), description=describe.format(channel=channel)))
        for channel in CHANNELS
    }
    return create_model(name, __base__=Block, __doc__=doc, **fields)


NIGHT = Hours(opens=time(8), closes=time(21))

ChannelCaps = _by_channel(
    "ChannelCaps", "Caps for one channel each.", Caps | None, "Over all journeys, {channel} alone."
)
QuietHours = _by_channel(
    "QuietHours",
    "When nothing is handed over, by channel, in the customer's own zone.",
    Quiet,
    "No {channel} in these hours of the customer's own zone: 21:00-08:00, or none.",
    {"sms": NIGHT, "whatsapp": NIGHT, "webhook": NIGHT},
)
ProcessedIn = _by_channel(
    "ProcessedIn",
    "Where the provider of each channel handles customers' data.",
    Country | None,
    "The country in which the provider of {channel} handles customers' data. SendGrid and Twilio: US.",
)
ConsentWords = _by_channel(
    "ConsentWords",
    "What people read when they agree to marketing, by channel.",
    Wordings | None,
    "What people read when they agree to marketing by {channel}, in each language.",
)


class ContactCaps(Block):
    """How many marketing messages a customer gets at most: over all, by channel, by journey."""

    all: Caps = Field(default_factory=Caps, description="Over all journeys and channels together.")
    channels: ChannelCaps = Field(default_factory=ChannelCaps, description="Over all journeys, for one channel each.")
    journey: Caps = Field(default_factory=Caps, description="For every journey that is not named under journeys.")
    journeys: dict[str, Caps] = Field(
        default_factory=dict, description="For one journey each, in place of what journey says for the same period."
    )


def _days(days: int) -> timedelta:
    return timedelta(days=days)


class Keep(Block):
    """How long records are kept; after that the maintenance deletes them. forever: never."""

    messages: Period = Field(
        default=_days(400), description="Decisions and what came of them. Dropped by whole months."
    )
    raw_events: Period = Field(default=_days(90), description="What providers and the shop reported, as it came in.")
    outbox: Period = Field(default=_days(90), description="Messages in the outbox, with their words.")
    rejected_rows: Period = Field(
        default=_days(30), description="Rows of a source that could not be taken, to look at."
    )


def _parse_topics(value: object) -> dict[str, str]:
    return parse_names(value)


_TITLES = {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}, "minProperties": 1}
Titles = Annotated[dict[str, str], PlainValidator(_parse_topics), WithJsonSchema(_TITLES)]


class PolicyFile(Block):
    """The rules of contact: how often, when and on what people are written to, and where the shop sells."""

    markets: Countries = Field(
        default=(),
        description="The countries where customers live, by two letters. The law of each is checked before live: true; "
        "for a country that include/law.yaml does not know, all of its rows hold.",
        examples=[["CN", "US", "GB"]],
    )
    quiet_hours: QuietHours = Field(
        default_factory=QuietHours,
        description="When nothing is handed over, by channel, in the customer's own zone. It waits for the morning, or expires.",
    )
    caps: ContactCaps = Field(
        default_factory=lambda: ContactCaps(
            all=Caps(day=2, week=5), channels=ChannelCaps(sms=Caps(day=1, week=3)), journey=Caps(day=1)
        ),
        description="How many marketing messages a customer gets at most. Transactional ones are not counted.",
    )
    priority: Journeys = Field(
        default=(),
        description="Which journey goes first where one customer has several to come on one day and a cap leaves room for fewer. "
        "Journeys that are not listed come last, all alike.",
        examples=[["birthday_care"]],
    )
    choice: Choices = Field(
        default=("preference", "response"),
        description="How the channel is chosen before the journey's own order: preference is what the customer chose, response "
        "the channel on which they answered lately. [] is the journey's order alone.",
    )
    topics: dict[str, Titles] = Field(
        default_factory=dict,
        json_schema_extra={"propertyNames": {"pattern": ID_PATTERN}},
        description="What the preference page offers to choose from, with a title in each language. A journey names its topic.",
    )
    consent_words: ConsentWords = Field(
        default_factory=ConsentWords,
        description="What people read when they agree to marketing, by channel and language. It is kept with each consent.",
    )
    processed_in: ProcessedIn = Field(
        default_factory=ProcessedIn,
        description="Where the provider of each channel handles customers' data. Outside China, people in China have to agree "
        "to that first. Needed before live: true.",
    )
    adult_age: Age = Field(
        default=16,
        description="Who is known to be younger gets no marketing, for a guardian would have to agree: 10 to 21.",
    )
    keep: Keep = Field(default_factory=Keep, description="How long records are kept.")
