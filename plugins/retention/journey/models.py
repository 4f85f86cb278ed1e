"""What a journey is: frozen models, one class a block of the YAML. Owns names, meanings and defaults of all keys.

Descriptions are written for a marketer: editors show them on hover, through the JSON schema. What a single value may be
is in fields.py and notation.py, rules that need more than one key in rules.py. Nothing here reads a file.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from retention.journey.branches import TemplateBranch
from retention.journey.conditions import Conditions
from retention.journey.coupon import Coupon
from retention.journey.exits import Exits
from retention.journey.fields import (
    Audiences,
    ChannelList,
    Day,
    Duration,
    GoalEvent,
    HoldAbove,
    Id,
    Journeys,
    Limit,
    Locale,
    OptionalDuration,
    Percent,
    Rests,
    Schedule,
    StepId,
    TemplateName,
    Text,
    Variants,
    When,
    Zone,
)
from retention.journey.notation import refuse


class Block(BaseModel):
    """Common ground of all blocks: never changed once read, unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Entry(Block):
    """Who may enter, and how many."""

    window: Duration = Field(
        default=timedelta(days=3),
        description="How far back the audience looks. Someone we learn of late still enters within this time; "
        "an older occasion is recorded, but nobody is written to about it.",
    )
    backlog: Literal["skip", "ramp"] = Field(
        default="skip",
        description="What happens to occasions older than the window when the journey is switched on. "
        "skip: they are recorded and left alone. ramp: they enter bit by bit, up to max_per_day.",
    )
    reenter_after: OptionalDuration = Field(
        default=None,
        description="How long the same person, or the same address, stays out after entering. "
        "300d suits a birthday; never means once in a lifetime.",
    )
    max_per_day: Limit = Field(
        default=None, description="At most so many people enter a day. none: no limit.", examples=[500, "none"]
    )
    hold_above: HoldAbove = Field(
        default=None,
        description="A cohort larger than this waits until a person approves it. "
        "auto: three times the usual size of this journey's cohorts.",
        examples=[5000, "auto"],
    )


    rank_by: Literal["value", "churn", "tier", "newest"] | None = Field(
        default=None,
        description="With max_per_day: who goes first, within each arm. value: who is expected to be worth most. churn: who is "
        "most likely lost. tier: the best of the six tiers. newest: who became a customer last. Absent: by lot.",
    )
    rest_after: Rests = Field(
        default={},
        description="How long people are left alone after entering other journeys: {birthday_care: 7d}. They may enter later, "
        "as long as the audience still names them.",
    )
    not_while_in: Journeys = Field(
        default=(),
        description="Nobody enters who is under way in one of these journeys: until its last step has expired. [winback]",
    )


class Goal(Block):
    """What the journey is for. It is measured against the holdout."""

    event: GoalEvent = Field(description="What a customer does when the journey has worked: order, or an event kind.")
    within: Duration = Field(description="How soon after entering it must happen to count.")
    target: Percent | None = Field(
        default=None, description="The share of people who should get there. Reports compare with it."
    )


class Send(Block):
    """What is sent, and on which channels: either `channels` or `all`."""

    template: TemplateName = Field(description="The folder in include/templates that holds the words.")
    instead: TemplateBranch | None = Field(
        default=None,
        description="Other words for some, by a value of theirs: {by: tier, diamond: dormancy/gift_diamond}. The rest get "
        "template.",
    )
    channels: ChannelList | None = Field(
        default=None,
        description="One message, on the first of these channels on which the customer can and may be reached.",
    )
    all: ChannelList | None = Field(
        default=None,
        description="A message on each of these channels on which the customer can and may be reached.",
    )
    fallback: OptionalDuration = Field(
        default=None,
        description="If the message bounces within this time, it is sent on the next of the channels. "
        "4h: looks once, four hours after the step is due. never: it is not.",
    )

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Send:
        if self.channels and self.all:
            raise refuse("has both channels and all.", "Keep channels (the first reachable) or all (each of them).")
        if not self.channels and not self.all:
            raise refuse("names no channel.", "Add channels: [sms, email] (the first reachable) or all: [sms, email].")
        if self.fallback and len(self.channels or ()) < 2:
            raise refuse("has a fallback, but no second channel.", "Write channels: [sms, email], or delete fallback.")
        return self

    @property
    def templates(self) -> tuple[str, ...]:
        """Every template that somebody may get, the default first."""
        return tuple(dict.fromkeys((self.template, *(self.instead.cases.values() if self.instead else ()))))

    @property
    def each(self) -> bool:
        """Whether a message goes out on each channel, not only on the first reachable."""
        return self.all is not None

    @property
    def order(self) -> tuple[str, ...]:
        """The channels in the order they are tried, whichever key named them."""
        return self.all or self.channels or ()


class Step(Block):
    """One contact of the journey."""

    id: StepId = Field(description="The step's name in Airflow and in reports. It stays for as long as the step does.")
    at: When = Field(
        description="When it is due, in the journey's time zone. day 0 is the day on which the cohort enters. "
        "entry + 2h: so long after it enters, for journeys that take people in several times a day."
    )
    zone: Literal["journey", "customer"] = Field(
        default="journey",
        description="Whose clock the moment is told by. customer: 10:00 where the customer lives, but not before the step "
        "is due in the journey's zone. journey: the same moment for everybody.",
    )
    coupon: Coupon | None = Field(default=None, description="Gives each customer a personal code with this step.")
    only_if: Conditions | None = Field(
        default=None,
        description="Sends only if all of these hold when the step is due: a list of conditions, or coupon_unused (the "
        "customer still has an unused code from an earlier step).",
    )
    send: Send = Field(description="What is sent, and on which channels.")
    expires: Duration = Field(
        default=timedelta(hours=24),
        description="How late the message may still go out. After that the step is recorded as expired, not sent.",
    )
    retired: StrictBool = Field(
        default=False,
        description="true: nobody gets this step any more. Retire a step before you delete it, "
        "so that people under way are not forgotten without a word.",
    )

    @property
    def coupons(self) -> tuple[Coupon, ...]:
        """The coupons that it may give, the default first."""
        if self.coupon is None:
            return ()
        return (self.coupon, *(self.coupon.instead.cases.values() if self.coupon.instead else ()))

    @property
    def coupon_valid(self) -> timedelta:
        """How long the longest of its coupons is valid; for a step that gives one."""
        return max(coupon.valid for coupon in self.coupons)


class Journey(Block):
    """One journey: who enters, what they get and when, and what for."""

    journey: Id = Field(description="The journey's id. The same as the file's name, without .yaml.")
    title: Text = Field(description="The name people see.")
    owner: Text = Field(default="marketing", description="Who answers for it: a team or a role.")
    status: Literal["active", "draining", "stopped"] = Field(
        default="active",
        description="active: runs. draining: nobody enters any more, those under way finish. stopped: nothing is sent.",
    )
    live: StrictBool = Field(
        default=False,
        description="false: everything goes to the outbox, to look at. true: really sends, from the next cohort on.",
    )
    schedule: Schedule = Field(
        description='When a cohort enters, as cron in the journey\'s time zone: "0 6 * * *" is every day at 06:00.'
    )
    starts_on: Day = Field(description="The first day on which a cohort may enter. Days missed since are made up.")
    timezone: Zone = Field(default="Asia/Shanghai", description="The time zone of schedule and of all moments.")
    default_locale: Locale = Field(
        default="zh-CN", description="The language of customers whose language is unknown or has no text."
    )
    audience: Audiences = Field(
        description="Who enters: the name of a file in include/sql/audiences, without .sql. Several in order: [first, second]; "
        "who is in more than one enters by the first of them."
    )
    topic: Id | None = Field(
        default=None,
        description="What it is about, for the preference page: the id of a topic in include/policy.yaml. Who has refused the "
        "topic gets nothing of this journey.",
        examples=["offers"],
    )
    entry: Entry = Field(default_factory=Entry, description="Who may enter, and how many.")
    holdout: Percent = Field(
        default=0.10,
        description="The share of people who enter and get nothing, so that we can see whether the journey works. "
        "At most 50%.",
    )
    variants: Variants | None = Field(
        default=None,
        description="Arms to compare, each with its share in percent: {warm: 50, plain: 50}. Everybody outside the holdout is "
        "dealt into one by lot and stays in it; steps differ by it with instead: {by: variant, ...}.",
    )
    goal: Goal | None = Field(default=None, description="What the journey is for.")
    exit_when: Exits = Field(
        default=(),
        description="What ends the journey for a customer before its last step: unsubscribed, goal_met, ordered, refunded (an "
        "order was cancelled or refunded), complained, {event: review}. Transactional steps go on, unless it says {refunded: "
        "everything} or {event: review, ends: everything}.",
    )
    one_a_day: StrictBool = Field(
        default=False,
        description="true: nobody gets messages of two steps of this journey on one day, service messages included.",
    )
    steps: tuple[Step, ...] = Field(min_length=1, description="The contacts, each with its moment.")

    @cached_property
    def zone(self) -> ZoneInfo:
        """The journey's time zone."""
        return ZoneInfo(self.timezone)

    def step(self, step_id: str) -> Step:
        """The step with this id. Raises KeyError."""
        for step in self.steps:
            if step.id == step_id:
                return step
        raise KeyError(step_id)

    def cohort_day(self, cohort_at: datetime) -> date:
        """The journey's local date of a cohort: its day 0."""
        return cohort_at.astimezone(self.zone).date()

    def due_at(self, step: Step, cohort_at: datetime) -> datetime:
        """When a step is due, in the journey's zone.

        A time that a change to summer time leaves out is moved on by as much; of one that comes twice, the first is it.
        """
        if step.at.after:
            return (cohort_at.astimezone(UTC) + step.at.after).astimezone(self.zone)
        day = self.cohort_day(cohort_at) + timedelta(days=step.at.day)
        return _settle(datetime.combine(day, step.at.time, tzinfo=self.zone))

    def expires_at(self, step: Step, cohort_at: datetime) -> datetime:
        """The moment after which the step is not sent any more, in the journey's zone; elapsed time, not wall time."""
        return (self.due_at(step, cohort_at).astimezone(UTC) + step.expires).astimezone(self.zone)

    def coupon_valid_until(self, coupon: Coupon, due_at: datetime) -> datetime:
        """The last second of a coupon given at `due_at`, in the journey's zone.

        Its last day counts whole: templates name a day, and who reads it must not be turned away that afternoon.
        """
        last = (due_at.astimezone(UTC) + coupon.valid).astimezone(self.zone)
        return _settle(last.replace(hour=23, minute=59, second=59, microsecond=0))

    @property
    def length(self) -> timedelta:
        """From 00:00 of the cohort's day 0 until the last step has expired."""
        late = timedelta(days=1)
        return max(step.at.offset + step.expires + (late if step.at.after else timedelta()) for step in self.steps)


def _settle(wall: datetime) -> datetime:
    return wall.astimezone(UTC).astimezone(wall.tzinfo)
