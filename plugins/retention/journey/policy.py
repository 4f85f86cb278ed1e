"""The rules of contact, as plans ask for them: caps, hours, priority, choice of channel, consents. Never pinned to a cohort.

What the file may say is in policy_file.py, what contradicts itself in policy_rules.py, the table of law in law.py. Reads no
clock and no database: it answers what holds, others count and claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import ValidationError

from retention.errors import ConfigError, Problem
from retention.journey.document import Document, read_document
from retention.journey.explain import explain_errors
from retention.journey.fields import CHANNELS
from retention.journey.files import Files
from retention.journey.law import Law, narrow, read_law
from retention.journey.policy_fields import Hours
from retention.journey.policy_file import Caps, PolicyFile
from retention.journey.policy_rules import check_policy

__all__ = ["LAW", "POLICY", "Cap", "Examined", "Hours", "Policy", "examine_rules", "read_policy"]

POLICY, LAW = "policy.yaml", "law.yaml"
PREFIX = "include/"


@dataclass(frozen=True)
class Cap:
    """At most `most` contacts in a `period` (day, week, month) within `scope`: "all/day", "sms/week",
    "journey:birthday_care/day"."""

    scope: str
    period: str
    most: int


@dataclass(frozen=True)
class Policy:
    """What include/policy.yaml and include/law.yaml say. Without arguments: the defaults, and no law."""

    said: PolicyFile = field(default_factory=PolicyFile)
    law: Law = field(default_factory=Law)

    @property
    def priority(self) -> tuple[str, ...]:
        """Journeys' ids, the first goes first."""
        return self.said.priority

    @property
    def choice(self) -> tuple[str, ...]:
        """What the channel is chosen by before the journey's own order."""
        return self.said.choice

    @property
    def topics(self) -> Mapping[str, Mapping[str, str]]:
        """Titles by locale, by the topic's id, in the file's order."""
        return self.said.topics

    @property
    def consent_words(self) -> Mapping[str, Mapping[str, str]]:
        """What people read when they agree to marketing: by channel, then by locale."""
        found = {
            channel: getattr(self.said.consent_words, channel) for channel in type(self.said.consent_words).model_fields
        }
        return {channel: words for channel, words in found.items() if words}

    @property
    def adult_age(self) -> int:
        """Who is known to be younger than so many years gets no marketing."""
        return self.said.adult_age

    @property
    def retention(self) -> Mapping[str, timedelta | None]:
        """How long each kind of record is kept; None: for ever."""
        return {kind: getattr(self.said.keep, kind) for kind in type(self.said.keep).model_fields}

    def caps(self, journey: str, channel: str) -> tuple[Cap, ...]:
        """All caps that a message of this journey on this channel counts for, the widest first."""
        caps = self.said.caps
        own = caps.journey.said() | (caps.journeys[journey].said() if journey in caps.journeys else {})
        return (
            *_list_caps("all", caps.all.said()),
            *_list_caps(channel, _said(getattr(caps.channels, channel, None))),
            *_list_caps(f"journey:{journey}", own),
        )

    def hours(self, channel: str, purpose: str, country: str | None) -> Hours | None:
        """When messages may be handed over, in the receiver's zone; None: at any time.

        The shop's quiet hours hold for everything, the law's hours for marketing: where both do, what both leave open.
        """
        own: Hours | None = getattr(self.said.quiet_hours, channel, None)
        legal = self.law.hours(channel, country) if purpose == "marketing" else None
        return narrow(window for window in (own, legal) if window)

    def rank(self, journey: str) -> int:
        """0 goes first; those that are not listed come last, all alike."""
        return self.priority.index(journey) if journey in self.priority else len(self.priority)

    def consents_needed(self, purpose: str, channel: str, country: str | None) -> tuple[str, ...]:
        """What the law asks for of a person besides the consent to marketing on the channel.

        "abroad": has agreed to that. "profiling": has not refused it. "adult": is not known to be younger than
        `adult_age`. "wording": the consent is on record with its wording. Nothing for transactional messages.
        """
        if purpose != "marketing":
            return ()
        return tuple(
            subject
            for subject in self.law.subjects(channel, country)
            if subject != "abroad" or self.goes_abroad(channel, country)
        )

    def places_abroad(self) -> list[str]:
        """The countries to which a channel's provider takes data of people who have to agree to that first."""
        asked = [
            channel
            for channel in CHANNELS
            if any("abroad" in self.consents_needed("marketing", channel, country) for country in self.said.markets)
        ]
        return sorted({getattr(self.said.processed_in, channel) for channel in asked})

    def goes_abroad(self, channel: str, country: str | None) -> bool:
        """Whether the channel's provider is said to handle data outside the country that asks about it."""
        place = getattr(self.said.processed_in, channel, None)
        return place is not None and place not in self.law.home("agree_abroad", country)


def _said(caps: Caps | None) -> dict[str, int | None]:
    return caps.said() if caps else {}


def _list_caps(scope: str, said: Mapping[str, int | None]) -> list[Cap]:
    return [Cap(f"{scope}/{period}", period, most) for period, most in said.items() if most is not None]


@dataclass(frozen=True)
class Examined:
    """What was read: `policy` is None while something is wrong. `document` and `law_document` tell lines, `problems` all
    that is wrong."""

    policy: Policy | None
    document: Document
    law_document: Document

    @property
    def problems(self) -> list[Problem]:
        return sorted(set(self.document.problems + self.law_document.problems))


def examine_rules(files: Files, *, prefix: str = PREFIX) -> Examined:
    """The rules of contact and the table of law. Never raises; without a policy.yaml the defaults hold."""
    journeys = [path.removeprefix("journeys/").removesuffix(".yaml") for path in files.under("journeys")]
    if LAW in files:
        law, law_document = read_law(prefix + LAW, files[LAW])
    else:
        law, law_document = None, Document(prefix + LAW)
        remedy = "Put the file back as it was delivered; without it nothing may be sent."
        law_document.complain((), "the table of law is missing.", remedy)
    said, document = _read_said(files, prefix)
    if said:
        check_policy(document, said, journeys, law)
    is_good = said and law and not document.problems
    return Examined(Policy(said, law) if is_good else None, document, law_document)


def _read_said(files: Files, prefix: str) -> tuple[PolicyFile | None, Document]:
    if POLICY not in files:
        return PolicyFile(), Document(prefix + POLICY, is_readable=True)
    document = read_document(prefix + POLICY, files[POLICY], kind="policy")
    if not document.is_readable:
        return None, document
    try:
        said = PolicyFile.model_validate(document.data)
    except ValidationError as error:
        explain_errors(document, PolicyFile, error)
        return None, document
    for path in sorted(document.empty, key=str):
        document.complain(
            path, f"{'.'.join(map(str, path))}: nothing is written here.", "Write a value, or delete the line."
        )
    return (None if document.problems else said), document


def read_policy(files: Files) -> Policy:
    """The rules of contact as the files say them. Raises ConfigError with every problem."""
    rules = examine_rules(files)
    if rules.policy is None:
        raise ConfigError(rules.problems)
    return rules.policy
