"""How customers are scored: include/scores.yaml. Owns names, meanings and defaults of its keys; computes nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from croniter import croniter
from pydantic import Field, PlainSerializer, PlainValidator, ValidationError, model_validator

from retention.errors import ConfigError, Problem
from retention.journey.document import Document, read_document
from retention.journey.explain import explain_errors
from retention.journey.fields import Duration, Percent, Schedule, Zone
from retention.journey.files import normalise
from retention.journey.models import Block
from retention.journey.notation import parse_duration, parse_percent, refuse, show, write_duration
from retention.journey.score_rules import Churn, Dimensions, Strata, Weight

FILE = "scores.yaml"
DIMENSIONS = ("recency", "frequency", "monetary", "activity")


def _parse_currency(value: object) -> str:
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isalpha() and value.isupper():
        return value
    raise refuse(f"{show(value)} is no currency.", "Write three capitals: CNY, USD, EUR.")


def _parse_positive(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e12:
        return float(value)
    raise refuse(f"{show(value)} is no number above 0.", "Write a number such as 3.")


def _parse_rates(value: object) -> dict[str, Decimal]:
    if not isinstance(value, dict):
        raise refuse(f"{show(value)} is no list of rates.", "Write {USD: 7.1}, or {} for none.")
    return {_parse_currency(name): Decimal(str(_parse_positive(rate))) for name, rate in value.items()}


def _parse_cut(value: object) -> timedelta | float | str:
    """A share as the text it is written as, a duration, or a number."""
    if isinstance(value, str) and value.rstrip().endswith("%"):
        if not 0 < parse_percent(value) < 1:
            raise refuse(f"{show(value)} leaves nobody on one side.", "Write more than 0% and less than 100%.")
        return value
    return parse_duration(value) if isinstance(value, str) else _parse_positive(value)


def _parse_people(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000_000_000:
        return value
    raise refuse(f"{show(value)} is no number of customers.", "Write a whole number, 1 or more.")


Currency = Annotated[str, PlainValidator(_parse_currency)]
People = Annotated[int, PlainValidator(_parse_people)]
Rates = Annotated[
    dict[str, Decimal],
    PlainValidator(_parse_rates),
    PlainSerializer(lambda rates: {name: float(rate) for name, rate in rates.items()}),
]
CutValue = Annotated[
    timedelta | float | str,
    PlainValidator(_parse_cut),
    PlainSerializer(lambda cut: write_duration(cut) if isinstance(cut, timedelta) else cut),
]


class Cuts(Block):
    """Where two levels begin: two shares, two durations (recency), or two numbers."""

    mid: CutValue = Field(description="From here on the level is mid.")
    high: CutValue = Field(description="From here on the level is high.")

    @property
    def shares(self) -> tuple[float, float] | None:
        """The two shares, or None where the cuts are fixed."""
        if isinstance(self.mid, str) and isinstance(self.high, str):
            return parse_percent(self.mid), parse_percent(self.high)
        return None

    @model_validator(mode="after")
    def _fit(self) -> Cuts:
        if type(self.mid) is not type(self.high):
            raise refuse("mixes two ways of writing a cut.", "Write two shares, two durations or two numbers.")
        low, high = self.shares or (self.mid, self.high)
        in_order = high < low if isinstance(low, timedelta) else low < high  # a shorter time since is more
        if not in_order:
            raise refuse("has a mid that is not below high.", "High is the better one: {mid: 40%, high: 80%}.")
        return self


def _cuts(mid: str, high: str) -> Any:
    return Field(default=Cuts(mid=mid, high=high), description="Where mid and high begin.")


class CutsByDimension(Block):
    """The cut points of the four dimensions."""

    recency: Cuts = _cuts("40%", "80%")
    frequency: Cuts = _cuts("40%", "80%")
    monetary: Cuts = _cuts("40%", "80%")
    activity: Cuts = _cuts("40%", "80%")

    @model_validator(mode="after")
    def _fit(self) -> CutsByDimension:
        for name in DIMENSIONS:
            is_time = isinstance(getattr(self, name).mid, timedelta)
            if is_time and name != "recency":
                raise refuse(f"{name} is cut at a duration.", "Write shares or numbers; only recency is a time.")
            if name == "recency" and isinstance(self.recency.mid, float):
                raise refuse("recency is cut at a number.", "Write shares, or durations: {mid: 90d, high: 30d}.")
        return self


class Activity(Block):
    """The points of each kind of event."""

    login: Weight = Field(default=1.0, description="Points of a login.")
    view: Weight = Field(default=1.0, description="Points of a view of a product.")
    cart: Weight = Field(default=3.0, description="Points of something put into the cart.")
    participation: Weight = Field(default=5.0, description="Points of taking part in an activity.")
    community: Weight = Field(default=3.0, description="Points of what is done in the community.")


class Shares(Block):
    """How many customers are in each tier of the scheme `shares`; together 100 %."""

    high: Percent = 0.1
    mid: Percent = 0.3
    potential: Percent = 0.4
    at_risk: Percent = 0.2

    @model_validator(mode="after")
    def _whole(self) -> Shares:
        total = self.high + self.mid + self.potential + self.at_risk
        if abs(total - 1) > 1e-9:
            raise refuse(f"adds up to {round(total * 100, 2)} %.", "Together the four are 100 %.")
        return self


class Weights(Block):
    """What the points of the scheme `shares` are made of."""

    value: Weight = Field(default=40.0, description="Weight of the amount in the window.")
    depth: Weight = Field(default=20.0, description="Weight of the number of orders ever.")
    interaction: Weight = Field(default=20.0, description="Weight of activity.")
    risk: Weight = Field(
        default=20.0, description="Weight of the time since the last order: the shorter, the more points."
    )


class LifetimeValue(Block):
    """What a later purchase is worth, and below what its models are not trusted."""

    discount_rate: Percent = Field(default=0.1, description="How much less a purchase in a year is worth.")
    min_customers: People = Field(default=300, description="Of fewer customers nothing is fitted.")
    min_repeaters: People = Field(default=50, description="So many must have bought again.")
    min_spenders: People = Field(default=50, description="So many with an amount that is known, in each currency.")
    most_correlated: Percent = Field(default=0.3, description="Amounts that go with how often one buys are refused.")


def _parse_slot(value: object) -> timedelta:
    slot = parse_duration(value)
    if slot.total_seconds() % 3600 or not 1 <= slot.total_seconds() / 3600 <= 24 or 24 % (slot.total_seconds() / 3600):
        raise refuse(f"{show(value)} does not divide a day into equal slots of hours.", "Write 1h, 2h, 3h, 4h, 6h, 8h or 12h.")
    return slot


class Preferences(Block):
    """Where and when somebody answers."""

    strength: Annotated[float, PlainValidator(_parse_positive)] = Field(
        default=10.0, description="A share of answers is drawn towards the shop's as if so many more had been sent."
    )
    look_back: Duration = Field(default=timedelta(days=180), description="How far back messages count.")
    slot: Annotated[timedelta, PlainValidator(_parse_slot), PlainSerializer(write_duration)] = Field(
        default=timedelta(hours=3), description="How long the slots are that a day is divided into."
    )

    @property
    def slot_hours(self) -> int:
        """The same in hours."""
        return round(self.slot.total_seconds() / 3600)


class Scoring(Block):
    """When scores are worked out, and how long journeys wait for them."""

    schedule: Schedule = Field(default="15 5 * * *", description="When the DAG scoring runs, as cron in this time zone.")
    timezone: Zone = Field(default="Asia/Shanghai", description="The zone of the schedule, and of the days of all scores.")
    wait: Duration = Field(
        default=timedelta(hours=2), description="How long a cohort that needs scores waits for those of its day."
    )
    oldest: Duration = Field(
        default=timedelta(days=3), description="How old the last good ones may be that it then goes on with."
    )

    @property
    def zone(self) -> ZoneInfo:
        """The zone itself."""
        return ZoneInfo(self.timezone)

    def last_moment(self, moment: datetime) -> datetime:
        """The newest scheduled moment that is not after `moment`."""
        local = moment.astimezone(self.zone)
        return croniter(self.schedule, local + timedelta(seconds=1)).get_prev(datetime)


def _parse_schemes(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and value and set(value) <= {"six", "shares"} and len(set(value)) == len(value):
        return tuple(value)
    raise refuse(f"{show(value)} names no schemes.", "Write [six], [shares], or [six, shares].")


Schemes = Annotated[tuple[str, ...], PlainValidator(_parse_schemes), PlainSerializer(list)]


class Scores(Block):
    """All of include/scores.yaml. Without arguments: the defaults, which the shipped file says, too (a test compares)."""

    currency: Currency = Field(default="CNY", description="The currency that amounts are added up in.")
    rates: Rates = Field(default_factory=dict, description="What one unit of another currency is worth in it.")
    window: Duration = Field(default=timedelta(days=365), description="How far frequency and monetary look back.")
    activity_window: Duration = Field(default=timedelta(days=90), description="How far activity looks back.")
    activity: Activity = Field(default_factory=Activity, description="What counts as activity, and how much.")
    cuts: CutsByDimension = Field(default_factory=CutsByDimension, description="Where levels begin.")
    dead_band: Percent = Field(default=0.05, description="How far below its cut a level is kept.")
    new_for: Duration = Field(default=timedelta(days=30), description="How long after the first order one is new.")
    quiet_after: Duration = Field(default=timedelta(days=90), description="How long without an order is quiet.")
    schemes: Schemes = Field(default=("six",), description="Which tiers are kept.")
    shares: Shares = Field(default_factory=Shares, description="The shares of the scheme shares.")
    weights: Weights = Field(default_factory=Weights, description="What the points of the scheme shares are made of.")
    lifetime_value: LifetimeValue = Field(default_factory=LifetimeValue, description="How lifetime value is fitted.")
    preferences: Preferences = Field(default_factory=Preferences, description="Where and when somebody answers.")
    churn: Churn = Field(default_factory=Churn, description="The scorecard of churn.")
    dimensions: Dimensions = Field(default_factory=Dimensions, description="The seven dimensions of value.")
    strata: Strata = Field(default_factory=Strata, description="The five strata by expected value.")
    scoring: Scoring = Field(default_factory=Scoring, description="When scores are worked out, and who waits for them.")

    def as_written(self) -> dict[str, Any]:
        """All settings as plain data, the way the file writes them: `Scores.model_validate` reads them back."""
        return self.model_dump(mode="json")

    @model_validator(mode="after")
    def _fit(self) -> Scores:
        if self.currency in self.rates:
            raise refuse(f"rates has a rate for {self.currency} itself.", "Delete it.")
        if self.dead_band >= 0.5:
            raise refuse("dead_band is half of everything or more.", "Write less than 50%: 5% is usual.")
        if not any(self.activity.model_dump().values()):
            raise refuse("activity gives no points for anything.", "Give at least one kind a weight above 0.")
        return self


def read_scores(path: str, text: str) -> tuple[Scores | None, Document]:
    """The settings, or None and the document's problems."""
    document = read_document(path, normalise(text), kind="policy")
    if not document.is_readable:
        return None, document
    try:
        return Scores.model_validate(document.data or {}), document
    except ValidationError as error:
        explain_errors(document, Scores, error)
        return None, document


def load_scores(include: Path) -> Scores:
    """The settings of include/scores.yaml, or the defaults where there is none. Raises ConfigError with its problems."""
    path = f"include/{FILE}"
    try:
        text = (include / FILE).read_bytes().decode("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return Scores()
    except OSError as error:
        raise ConfigError([Problem(path, 1, f"it can't be read ({error.strerror}).")]) from error
    scores, document = read_scores(path, text)
    if scores is None:
        raise ConfigError(document.problems)
    return scores


def find_problems(include: Path) -> list[Problem]:
    """Everything that is wrong with include/scores.yaml."""
    try:
        load_scores(include)
    except ConfigError as error:
        return error.problems
    return []
