"""What the public pages need to know of the shop: its name, its topics, how a page leads to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from retention.delivery.permissions import Receiver
from retention.delivery.tokens import PREFERENCES, Signer
from retention.journey.shop import Shop, choose_locale

PREFERENCES_LIVE = timedelta(days=180)
"""How old a link to somebody's settings may be. It opens them for whoever holds it, and messages are forwarded and kept for
years: every newer message has a newer one. Links to unsubscribe do not end while we know whom the message went to."""


@dataclass(frozen=True)
class Front:
    """`topics`: id -> title by locale. `consent_words`: channel -> what people agree to, by locale; where it says nothing the
    page's own words stand. `abroad`: the countries to which the providers take customers' data, "" for none."""

    shop: Shop
    signer: Signer
    topics: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    consent_words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    abroad: str = ""

    def shop_name(self, lang: str) -> str:
        """The shop's name in the page's language, or the nearest there is."""
        return self.shop.name_in(lang)

    def topic_title(self, topic: str, lang: str) -> str:
        """A topic in the page's language, or the nearest there is."""
        titles = self.topics[topic]
        return titles[choose_locale(lang, list(titles), "zh-CN")]

    def consent_to(self, channel: str, lang: str) -> str | None:
        """What somebody agrees to on a channel, in the page's language or the nearest there is; None: nothing is written."""
        words = self.consent_words.get(channel)
        return words[choose_locale(lang, list(words), "zh-CN")] if words else None

    def may_choose(self, receiver: Receiver, *, now: datetime) -> bool:
        """Whether a message is new enough for its link to somebody's settings."""
        return now - receiver.planned_at <= PREFERENCES_LIVE

    def preferences_path(self, receiver: Receiver, lang: str, *, now: datetime) -> str | None:
        """Where the settings are, seen from another page; None for a message that is too old."""
        if not self.may_choose(receiver, now=now):
            return None
        return f"../{PREFERENCES}/{self.signer.sign(PREFERENCES, receiver.message_id)}?lang={lang}"
