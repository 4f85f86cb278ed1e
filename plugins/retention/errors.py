"""Every exception this product raises on purpose.

    RetentionError                 something a person can act on; its text says WHERE: WHAT. REMEDY
    ├── ConfigError                journeys, templates or audiences are wrong; carries all problems at once
    ├── StoreError                 the database is missing, unreachable or half migrated
    │   └── QueryFailed            a read-only query was refused by the database: its line, message and SQLSTATE
    ├── IntakeError                a file or a query can't be read at all, or lacks a column; nothing of it was loaded
    │   └── SourceDown             the database that facts come from does not answer; trying again may help
    ├── AudienceError              an audience's SQL failed, took too long or returned other columns
    ├── CohortHeld                 a cohort far above its usual size waits for a person's approval
    ├── DataHeld                   the facts are not fit to decide on: nothing goes on until they are, or are accepted
    ├── ScoresOld                  an audience reads scores that are too old, or were never worked out
    ├── StepNotPlanned             a step was to be delivered before it was planned
    ├── BooksOpen                  a cohort can't be settled: a step failed or messages have no outcome
    ├── TooEarly                   batches wait for their receivers' hours; carries until when
    ├── RenderError                a template could not be rendered for one message
    ├── DeliveryError              the hand-over to a provider failed
    │   ├── RetryLater             nobody was accepted; the same call may succeed later (429, 5xx, refused)
    │   ├── InDoubt                the request was written, the answer never came: never blindly sent again
    │   ├── RequestRefused         the provider accepted nobody and will not (400): find the bad recipient
    │   ├── AccountRefused         the provider wants nothing from this account (401, 403): a person has to act
    │   └── ProviderPaused         the provider keeps failing or asked to wait; carries for how long
    └── LaunchError                `make run` can't start: a port in use, a program missing
        ├── NoAnswer               the local Airflow does not answer (yet)
        └── ApiRefused             the local Airflow answered with an error; carries the HTTP status

No address, phone number, message body or key ever stands in a text: ids do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


class RetentionError(Exception):
    """Something a person can act on."""


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake: `path` and `line` say where (line 0: it is in no file), `what` names the value, `remedy` what to do."""

    path: str
    line: int
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        text = f"{place}: {self.what}"
        return f"{text} {self.remedy}" if self.remedy else text


class ConfigError(RetentionError):
    """Journeys, templates or audiences are wrong; `problems` holds every one of them."""

    def __init__(self, problems: list[Problem]):
        self.problems = sorted(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class StoreError(RetentionError):
    """The database is missing, unreachable or half migrated."""


class QueryFailed(StoreError):
    """A read-only query was refused by the database. `line` counts from 1 in the text as its author wrote it."""

    def __init__(self, message: str, line: int, sqlstate: str):
        self.message, self.line, self.sqlstate = message, line, sqlstate
        super().__init__(f"line {line}: {message} ({sqlstate})")


class IntakeError(RetentionError):
    """A file or a query can't be read at all, or lacks a column; nothing of it was loaded.

    What a file brings into the text (a column's name) may hold anything: what a terminal or a database could not take
    is shown as U+FFFD.
    """

    def __init__(self, what: str):
        super().__init__("".join(c if c == "\n" or c.isprintable() else "\ufffd" for c in what))


class SourceDown(IntakeError):
    """The database that facts come from does not answer; trying again may help."""


class AudienceError(RetentionError):
    """An audience's SQL failed, took too long or returned other columns."""


class CohortHeld(RetentionError):
    """A cohort far above its usual size waits for a person's approval."""


class DataHeld(RetentionError):
    """The facts are not fit to decide on: nothing goes on until they are, or are accepted."""


class ScoresOld(RetentionError):
    """An audience reads scores that are too old to go by, or were never worked out."""


class StepNotPlanned(RetentionError):
    """A step was to be delivered before it was planned."""


class BooksOpen(RetentionError):
    """A cohort can't be settled: a step failed or messages have no outcome.

    `again_at`: when it may be settled without anybody's doing, None where a person has to act."""

    again_at: datetime | None = None


class TooEarly(RetentionError):
    """Batches wait until their receivers may be written to: from `at` on (an aware datetime, told in its zone)."""

    def __init__(self, what: str, at: datetime):
        self.at = at
        super().__init__(f"{what} wait until {at:%Y-%m-%d %H:%M} {at.tzinfo}: before that is outside the hours of contact.")


class RenderError(RetentionError):
    """A template could not be rendered for one message."""


class DeliveryError(RetentionError):
    """The hand-over to a provider failed."""


class RetryLater(DeliveryError):
    """Nobody was accepted; the same call may succeed later (429, 5xx, connection refused)."""


class InDoubt(DeliveryError):
    """The request was written, the answer never came: never blindly sent again."""


class RequestRefused(DeliveryError):
    """The provider accepted nobody and will not (400): find the bad recipient."""


class AccountRefused(DeliveryError):
    """The provider wants nothing from this account (401, 403): nobody was accepted, and a person has to act."""


class ProviderPaused(DeliveryError):
    """The provider keeps failing, or asked to wait: nothing goes out to it for `wait_s` seconds."""

    def __init__(self, account: str, wait_s: float, why: str):
        self.account, self.wait_s, self.why = account, wait_s, why
        super().__init__(f"{account}: nothing goes out for the next {wait_s:.0f} s: {why}")


class LaunchError(RetentionError):
    """`make run` can't start: a port in use, a program missing."""


class NoAnswer(LaunchError):
    """The local Airflow does not answer (yet)."""


class ApiRefused(LaunchError):
    """The local Airflow answered with an error; `status` is the HTTP status."""

    def __init__(self, question: str, status: int, detail: str):
        self.status = status
        super().__init__(f"Airflow: {question} was refused ({status} {detail}). See the log of its api-server.")
