"""The contract between delivery and a provider, and what all providers that speak HTTP have in common.

HttpProvider owns the order - build requests, ask for a turn, post, read the answers, halve what was refused as a whole -
a provider is three translations and a name. Knows no database.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple, Protocol

from retention.delivery.http import Answer, Client, Request, Turn, name_host
from retention.delivery.sheets import Sheet, fill
from retention.delivery.tokens import Signer
from retention.errors import AccountRefused, DeliveryError, ProviderPaused, RetryLater

MAX_UNEXPLAINED = 3
"""How many letters may be refused without a word, and nobody accepted, before the account is given up for now."""

LONGEST_WAIT_S = 86_400.0
"""The longest wait that a provider is believed to mean."""


class Letter(NamedTuple):
    """One message, written: a sheet and what goes into its gaps."""

    message_id: int
    channel: str
    mode: str
    address: str
    sheet: Sheet
    values: tuple[str, ...] = ()
    batch_id: int = 0
    customer_id: str = ""

    @property
    def locale(self) -> str:
        """The language it is written in."""
        return self.sheet.locale

    @property
    def subject(self) -> str | None:
        """The subject or title, None on channels that have none."""
        return None if self.sheet.subject is None else fill(self.sheet.subject, self.values)

    @property
    def html(self) -> str | None:
        """The HTML, None on channels that have none."""
        return None if self.sheet.html is None else fill(self.sheet.html, self.values)

    @property
    def text(self) -> str:
        """The plain text."""
        return fill(self.sheet.text, self.values)

    @property
    def variables(self) -> dict[str, str]:
        """What fills the content that WhatsApp approved: by number, from "1" on."""
        return {str(n): fill(pieces, self.values) for n, pieces in enumerate(self.sheet.variables, 1)}

    def __repr__(self) -> str:  # never an address or a body in a log line
        return f"<Letter {self.message_id}>"


class Receipt(NamedTuple):
    """What became of one message at the hand-over.

    `result`: "accepted" under the provider's id; "refused" for good; "later": nobody was accepted, the same may succeed
    later; "unknown": it may have been accepted, and is never sent again; "withheld" before its request began. `reason`
    is made of our words and the provider's codes, never of its sentences: they may quote an address. `suppress`: why the
    address is not to be used again. `segments` are those of an accepted SMS.
    """

    message_id: int
    result: Literal["accepted", "refused", "later", "unknown", "withheld"]
    provider_id: str | None = None
    reason: str | None = None
    suppress: str | None = None
    segments: int | None = None


Receive = Callable[[Receipt], None]


class Gate(Protocol):
    """What stands between a provider's requests and the wire: rates, budgets and stops, shared by all workers."""

    def ask_turn(self, costs: Sequence[int]) -> Turn:
        """Leave for some of the requests that wait, the next ones first; for none when nothing is to go out any more."""

    def may_begin(self) -> bool:
        """Whether the next request may begin: no stop has been heard of. Asked before each, so it costs nearly nothing."""

    def note(self, answer: Answer) -> None:
        """Hear of an answer: refusals for being too fast, failures, successes."""


class OpenGate:
    """Lets everything through at once."""

    def ask_turn(self, costs: Sequence[int]) -> Turn:
        """Leave for all."""
        return Turn(len(costs))

    def may_begin(self) -> bool:
        """Always."""
        return True

    def note(self, answer: Answer) -> None:
        """Nothing to remember."""


@dataclass(frozen=True)
class Sent:
    """What we know of a message whose answer was lost: enough to find it again."""

    message_id: int
    batch_id: int
    address: str
    sending_at: float
    """Epoch seconds."""

    taken_ids: frozenset[str] = frozenset()
    """The provider's ids of the customer's other messages: what was found under one of them is not this one."""


@dataclass(frozen=True)
class Ours:
    """What of ours a provider is opened with: who signs our ids, where people and providers reach us, the present."""

    signer: Signer
    public_url: str
    clock: Callable[[], datetime]


class Provider(ABC):
    """Takes letters. `name` is what outcomes say of who carried them, `account` whose rates and budgets count."""

    name: str
    account: str = ""
    knows_all = False
    """Whether a look-up is certain of every message, at once."""

    has_written = True
    """Whether anything of the last hand-over may have gone out: asked when it ended in an error."""

    trouble: DeliveryError | None = None
    """Why the last look-up ended before it had asked about everybody: the provider refuses to be asked, or is too busy."""

    @abstractmethod
    def hand_over(self, letters: Sequence[Letter], gate: Gate, receive: Receive) -> None:
        """Give all letters of one batch to the provider; `receive` hears of each letter as soon as its fate is known.

        Letters of which nothing was heard when this returns did not go out. Raises AccountRefused when the provider
        wants nothing from this account at all: then nobody else went out. RetryLater, InDoubt and RequestRefused say the
        same of all letters that nothing was heard of. After any other end those are in doubt.
        """

    def look_up(self, letters: Sequence[Sent]) -> dict[int, Receipt | None]:
        """What the provider knows of these messages, after a hand-over whose answer was lost.

        A receipt where it is certain; None where it is certain that the message never arrived; no key where the
        provider can't tell: those stay in doubt until its events settle them.
        """
        return {}

    def check(self) -> str:
        """Ask the provider, sending nothing, whether it knows the account; one line. Raises AccountRefused, RetryLater."""
        return f"{self.name} needs no account"

    def close(self) -> None:
        """Give back connections."""


@dataclass(frozen=True)
class Call:
    """The letters in one request; `cost` is what it takes of the account's rate."""

    letters: tuple[Letter, ...]
    cost: int = 1


@dataclass(frozen=True)
class Reading:
    """An answer, understood. `split`: nobody was accepted because of somebody: halve it, down to the one who is.

    `others`: receipts of those in the request who fared otherwise, by message. `is_unexplained`: of a split that names
    nobody and no reason: who is alone in it may have done nothing wrong. `ends`: why nothing more may go to the account
    after this answer, whatever it says of these letters."""

    result: Literal["accepted", "refused", "later", "unknown", "split"]
    provider_id: str | None = None
    reason: str | None = None
    suppress: str | None = None
    others: Mapping[int, Receipt] = field(default_factory=dict)
    is_unexplained: bool = False
    ends: str | None = None


class HttpProvider(Provider):
    """A provider behind an HTTP API. `at_once` requests are under way together at most."""

    at_once = 1
    timeout_s = 30.0

    def __init__(self) -> None:
        self.client = Client(at_once=self.at_once, timeout_s=self.timeout_s)

    @abstractmethod
    def build(self, letters: Sequence[Letter]) -> list[Request | Receipt]:
        """The requests for these letters, a Call in `what` of each; a receipt where a letter can't go out at all."""

    @abstractmethod
    def read(self, answer: Answer, call: Call) -> Reading:
        """What the answer means. Raises AccountRefused. A word it does not know is `unknown`, never an error."""

    def hand_over(self, letters: Sequence[Letter], gate: Gate, receive: Receive) -> None:
        """See Provider."""
        waiting: list[Request] = []  # every request there ever was; the client takes them in this order
        refusals: list[AccountRefused] = []
        unexplained, has_accepted = 0, False
        self.has_written = False

        def queue(some: Sequence[Letter]) -> list[Request]:
            built = self.build(some)
            for it in built:
                if isinstance(it, Receipt):
                    receive(it)
            requests = [it for it in built if isinstance(it, Request)]
            waiting.extend(requests)
            return requests

        def hear(request: Request, answer: Answer) -> Sequence[Request]:
            nonlocal unexplained, has_accepted
            gate.note(answer)
            call: Call = request.what
            try:
                reading = self.read(answer, call) if answer.fate == "answered" else _read_fate(answer)
            except AccountRefused as error:
                refusals.append(error)  # nobody was accepted, and the others would hear the same
                return ()
            if reading.result == "split" and len(call.letters) > 1:
                half = math.ceil(len(call.letters) / 2)
                return [*queue(call.letters[:half]), *queue(call.letters[half:])]
            has_accepted = has_accepted or reading.result == "accepted"
            if reading.result == "split" and reading.is_unexplained:
                reading = replace(reading, result="later")
                unexplained += 1
                if unexplained >= MAX_UNEXPLAINED and not has_accepted:
                    refusals.append(AccountRefused(self.say_unexplained(request, reading)))
            if reading.ends:
                refusals.append(AccountRefused(reading.ends))
            for letter in call.letters:
                receive(self.make_receipt(letter, reading, call))
            return ()

        def ask(count: int) -> Turn:
            return Turn(0, is_end=True) if refusals else gate.ask_turn([it.what.cost for it in waiting[-count:]])

        requests = queue(letters)
        try:
            self.client.exchange(requests, hear, ask, lambda: not refusals and gate.may_begin())
        finally:
            self.has_written = self.client.has_written
        if refusals:
            raise refusals[0]

    def say_unexplained(self, request: Request, reading: Reading) -> str:
        """Why an account is given up that refused so many letters without a word."""
        return (
            f"{name_host(request.url)} refuses every letter and does not say why ({reading.reason}). Put right the "
            f"Connection {self.account.partition(':')[2]} or the template, then clear the task."
        )

    def note_trouble(self, answer: Answer) -> None:
        """Keep why a look-up was not answered: see `trouble`. A wait that is asked for is not forgotten for anything else."""
        if isinstance(self.trouble, ProviderPaused):
            return
        conn_id = self.account.partition(":")[2]
        if answer.status == 429:
            wait_s = read_wait(answer.headers)
            self.trouble = ProviderPaused(self.account, 60.0 if wait_s is None else wait_s, "429: too many requests")
        elif 300 <= answer.status < 500:
            self.trouble = AccountRefused(f"{self.account} refuses to be asked ({answer.status}): see the Connection {conn_id}.")
        else:
            self.trouble = RetryLater(f"{self.account} did not answer when asked ({answer.status or answer.error}).")

    def make_receipt(self, letter: Letter, reading: Reading, call: Call) -> Receipt:
        """The receipt of one letter of an answered request."""
        if letter.message_id in reading.others:
            return reading.others[letter.message_id]
        result = "refused" if reading.result == "split" else reading.result
        return Receipt(letter.message_id, result, reading.provider_id, reading.reason, reading.suppress)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


def _read_fate(answer: Answer) -> Reading:
    return Reading("later" if answer.fate == "unsent" else "unknown", reason=answer.error)


def read_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, a number or a date beside the answer's own; None where none can be read."""
    said = headers.get("retry-after", "").strip()
    try:
        seconds = float(said) if said[:1].isdigit() else _read_gap(headers.get("date", ""), said)
    except (TypeError, ValueError):
        return None
    return min(seconds, LONGEST_WAIT_S) if seconds >= 0 else None


def _read_gap(first: str, last: str) -> float:
    return (parsedate_to_datetime(last) - parsedate_to_datetime(first)).total_seconds()
