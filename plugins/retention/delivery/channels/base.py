"""The contract between delivery and a provider. Knows no provider and no database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Letter:
    """One rendered message. `subject` and `html` are None on channels that have none."""

    message_id: int
    channel: str
    mode: str
    address: str
    locale: str
    text: str
    subject: str | None = None
    html: str | None = None

    def __repr__(self) -> str:  # never an address or a body in a log line
        return f"<Letter {self.message_id}>"


@dataclass(frozen=True)
class Receipt:
    """The provider's answer for one message: accepted under its id, or refused for good with a reason."""

    message_id: int
    is_accepted: bool
    provider_id: str | None = None
    reason: str | None = None


class Provider(ABC):
    """Takes letters. `name` is what outcomes say of who carried them."""

    name: str

    @abstractmethod
    def hand_over(self, letters: Sequence[Letter]) -> list[Receipt]:
        """Give all letters of one batch to the provider, one receipt each.

        Raises RetryLater when certainly nobody was accepted, InDoubt when that can't be known, RequestRefused when
        the whole request is bad.
        """

    def look_up(self, message_ids: Sequence[int]) -> dict[int, Receipt | None]:
        """What the provider knows of these messages, after a hand-over whose answer was lost.

        A receipt where it is certain; None where it is certain that the message never arrived; no key where the
        provider can't tell: those stay in doubt until its events settle them.
        """
        return {}
