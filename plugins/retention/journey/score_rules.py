"""Churn, the seven dimensions and the strata in include/scores.yaml. Owns names, meanings and defaults of the keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, model_validator

from retention.journey.fields import EVENT_KINDS, Duration, Percent
from retention.journey.models import Block
from retention.journey.notation import did_you_mean, parse_percent, refuse, show, write_percent

STRATA = 5
"""How many strata there are; 1 is the best."""


def _is_number(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _parse_weight(value: object) -> float:
    if _is_number(value, 0, 1_000_000):
        return float(value)
    raise refuse(f"{show(value)} is no weight.", "Write 0 or more.")


def _parse_count(value: object) -> float:
    if _is_number(value, 0, 1_000_000):
        return float(value)
    raise refuse(f"{show(value)} is no number of 0 or more.", "Write a number such as 3.")


def _parse_points(value: object) -> float:
    if _is_number(value, 0, 100):
        return float(value)
    raise refuse(f"{show(value)} is no number of points.", "Write 0 to 100.")


def _parse_categories(value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and all(isinstance(it, str) and it.strip() for it in value):
        return tuple(dict.fromkeys(value))
    raise refuse(f"{show(value)} is no list of categories.", "Write [food, hygiene], or [] for none.")


def _parse_events(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise refuse(f"{show(value)} is no list of events.", "Write [review].")
    for kind in value:
        if kind not in EVENT_KINDS:
            raise refuse(f"unknown event {show(kind)}.", did_you_mean(kind, EVENT_KINDS))
    return tuple(dict.fromkeys(value))


def _parse_borders(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) != STRATA - 1:
        raise refuse(f"{show(value)} makes no {STRATA} strata.", "Write four shares: [95%, 80%, 50%, 20%].")
    shares = [parse_percent(it) for it in value]
    if any(low >= high for high, low in zip(shares, shares[1:], strict=False)) or not 0 < shares[-1] < shares[0] < 1:
        raise refuse(
            "borders do not fall from one to the next.",
            "From the best down, between 0% and 100%: [95%, 80%, 50%, 20%].",
        )
    return tuple(write_percent(it) for it in shares)


Weight = Annotated[float, PlainValidator(_parse_weight)]
Count = Annotated[float, PlainValidator(_parse_count)]
Points = Annotated[float, PlainValidator(_parse_points)]
Categories = Annotated[tuple[str, ...], PlainValidator(_parse_categories), PlainSerializer(list)]
Events = Annotated[tuple[str, ...], PlainValidator(_parse_events), PlainSerializer(list)]
Borders = Annotated[tuple[str, ...], PlainValidator(_parse_borders), PlainSerializer(list)]


class Indicator(Block):
    """One line of the scorecard: nothing up to `begins`, all of its weight from `full` on, evenly in between."""

    weight: Weight = Field(description="How much it counts beside the others; 0 switches it off.")
    begins: Any
    full: Any

    @model_validator(mode="after")
    def _rise(self) -> Indicator:
        if not self.begins < self.full:
            raise refuse("has a full that is not above begins.", "It rises from begins to full.")
        return self


class Overdue(Indicator):
    """How long nothing was bought, in the customer's own intervals."""

    weight: Weight = 40.0
    begins: Count = Field(default=1.0, description="So many intervals without a purchase are nothing.")
    full: Count = Field(default=3.0, description="From so many on it counts in full.")


class NoLogin(Indicator):
    """How long the customer was not seen: no login, no purchase."""

    weight: Weight = 20.0
    begins: Duration = Field(default=timedelta(days=30), description="So long is nothing.")
    full: Duration = Field(default=timedelta(days=90), description="From then on it counts in full.")


class NoResponse(Indicator):
    """Messages since the last sign of life."""

    weight: Weight = 20.0
    begins: Count = Field(default=0.0, description="So many unanswered messages are nothing.")
    full: Count = Field(default=3.0, description="From so many on it counts in full.")
    window: Duration = Field(default=timedelta(days=90), description="How far back messages count.")
    grace: Duration = Field(default=timedelta(days=3), description="So long a message may wait for an answer.")


class Complaints(Indicator):
    """Complaints; one that was solved counts half."""

    weight: Weight = 10.0
    begins: Count = Field(default=0.0, description="So many are nothing.")
    full: Count = Field(default=2.0, description="From so many on they count in full.")
    window: Duration = Field(default=timedelta(days=180), description="How far back complaints count.")


class Undone(Indicator):
    """Cancelled or refunded ones among the orders."""

    weight: Weight = 10.0
    begins: Percent = Field(default=0.0, description="This share of the orders is nothing.")
    full: Percent = Field(default=0.5, description="From this share on it counts in full.")
    window: Duration = Field(default=timedelta(days=180), description="How far back orders count.")


class Churn(Block):
    """The scorecard: who is lost, and who may soon be."""

    overdue: Overdue = Field(default_factory=Overdue, description="Overdue by the customer's own rhythm.")
    no_login: NoLogin = Field(default_factory=NoLogin, description="Not seen for long.")
    no_response: NoResponse = Field(default_factory=NoResponse, description="Does not answer.")
    complaints: Complaints = Field(default_factory=Complaints, description="Complains.")
    undone: Undone = Field(default_factory=Undone, description="Cancels or gives back.")
    warning: Points = Field(default=45.0, description="From so many points on it is an early warning.")
    churned: Points = Field(default=70.0, description="From so many points on the customer counts as lost.")
    dead_band: Points = Field(default=5.0, description="A state is kept until so many points below its threshold.")
    least_known: Percent = Field(
        default=0.3, description="If less of the weight than this has data, there is no score."
    )

    @model_validator(mode="after")
    def _fit(self) -> Churn:
        if not 0 < self.warning < self.churned:
            raise refuse("warning is not between 0 and churned.", "A warning comes first: {warning: 45, churned: 70}.")
        if self.dead_band >= self.warning:
            raise refuse("dead_band reaches down to 0.", "Write less than warning: 5 is usual.")
        if not any(getattr(self, name).weight for name in INDICATORS):
            raise refuse("no indicator has a weight.", "Give at least one a weight above 0.")
        return self


INDICATORS = ("overdue", "no_login", "no_response", "complaints", "undone")
"""The lines of the scorecard, in the order in which they are kept."""


class PurchaseKinds(Block):
    """Necessary and discretionary purchases, weighed against each other."""

    necessary: Weight = Field(default=40.0, description="Weight of what is bought because it is needed.")
    discretionary: Weight = Field(default=60.0, description="Weight of all the rest.")


class PurchasePeriods(Block):
    """The recent purchases and those before, weighed against each other."""

    recent: Weight = Field(default=70.0, description="Weight of the last `recent`.")
    before: Weight = Field(default=30.0, description="Weight of what lies before.")


class PurchaseFacts(Block):
    """Amount, number and interval, weighed against each other."""

    amount: Weight = Field(default=50.0, description="Weight of what was spent.")
    orders: Weight = Field(default=30.0, description="Weight of how many orders there were.")
    interval: Weight = Field(default=20.0, description="Weight of how soon orders followed each other.")


class Purchases(Block):
    """What was bought: two kinds, two periods, three facts of each."""

    weight: Weight = 40.0
    necessary: Categories = Field(default=(), description="Categories that are needed; all others are discretionary.")
    recent: Duration = Field(default=timedelta(days=365), description="How far the recent period goes back.")
    kinds: PurchaseKinds = Field(default_factory=PurchaseKinds, description="Weights of the two kinds.")
    periods: PurchasePeriods = Field(default_factory=PurchasePeriods, description="Weights of the two periods.")
    facts: PurchaseFacts = Field(default_factory=PurchaseFacts, description="Weights of the three facts.")

    @model_validator(mode="after")
    def _fit(self) -> Purchases:
        for name in ("kinds", "periods", "facts"):
            if not any(getattr(self, name).model_dump().values()):
                raise refuse(f"{name} weighs nothing at all.", "Give at least one a weight above 0.")
        return self


class Told(Block):
    """A dimension that events tell of."""

    weight: Weight = Field(description="How much it counts beside the others; 0 switches it off.")
    events: Events = Field(description="The kinds of events that count.")


def _told(weight: float, *events: str) -> Any:
    return Field(default=Told(weight=weight, events=events), description=f"Events: {', '.join(events)}.")


class Dimensions(Block):
    """What a customer is worth beyond money: seven dimensions of 0 to 100 points."""

    purchases: Purchases = Field(default_factory=Purchases, description="What was bought.")
    referrals: Told = _told(15, "referral")
    advocacy: Told = _told(10, "review")
    answers: Told = _told(10, "answer")
    participation: Told = _told(10, "participation", "community")
    surveys: Told = _told(5, "survey")
    suggestions: Told = _told(10, "suggestion")
    dead_band: Points = Field(default=5.0, description="Points are written anew when one of them moved so far.")

    @model_validator(mode="after")
    def _fit(self) -> Dimensions:
        if not any(getattr(self, name).weight for name in DIMENSIONS_OF_VALUE):
            raise refuse("no dimension has a weight.", "Give at least one a weight above 0.")
        return self


DIMENSIONS_OF_VALUE = (
    "purchases", "referrals", "advocacy", "answers", "participation", "surveys", "suggestions",
)  # fmt: skip


class Strata(Block):
    """Five strata by what a customer will be worth."""

    borders: Borders = Field(
        default=("95%", "80%", "50%", "20%"),
        description="Who exceeds so many is above, from the best down.",
    )
    dead_band: Percent = Field(default=0.02, description="A stratum is kept until so far below its border.")

    @model_validator(mode="after")
    def _fit(self) -> Strata:
        if self.dead_band >= self.shares[-1]:
            raise refuse("dead_band reaches below the lowest border.", "Write less than that: 2% is usual.")
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """The borders as parts of one."""
        return tuple(parse_percent(it) for it in self.borders)
