"""The words of the pages: what a reason, an outcome or a state means, addresses that don't give anybody away.

The codes are those of `store.tables`; a code without words is shown as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

SKIPS: Mapping[str, str] = {
    "holdout": "in the comparison group: gets no marketing, so that we can see what the journey achieves",
    "stopped": "the journey is stopped",
    "retired": "the step is retired",
    "merged": "the same person goes on under another id (`retention customers merge`)",
    "exited": "left by one of the exits of the journey",
    "goal_met": "has already done what the journey is for",
    "expired": "too late: the step was past its time",
    "not_needed": "the step's condition (only_if) is not true",
    "suppressed": "the address bounced or complained",
    "no_consent": "no permission for marketing on any of the channels, or one that the law asks for is missing",
    "no_address": "no usable address",
    "duplicate_address": "another customer of the cohort has the same address",
    "outranked": "a journey of higher priority has something for the same person that day",
    "frequency_cap": "has had enough: a cap of the policy, or a made-up step of this journey today",
    "no_coupon": "no coupon left for them: the pool is empty, or theirs was used or is over",
}
"""Why somebody is not contacted."""

REFUSALS: Mapping[str, str] = {
    "backlog": "the occasion is older than the entry window",
    "reenter_after": "was in this journey too recently",
    "same_address": "somebody with the same address was in this journey too recently",
    "resting": "entered another journey too recently, which this one waits for",
    "under_way": "is under way in another journey that this one keeps clear of",
    "max_per_day": "more than the journey takes in a day",
}
"""Why the journey did not take somebody in."""

OUTCOMES: Mapping[str, str] = {
    "accepted": "handed over",
    "withheld": "held back at the last check before sending",
    "refused": "refused by the provider",
    "open": "waiting to be handed over",
    "in_doubt": "handed over, but no answer came; not sent again",
    "failed": "could not be handed over, again and again; not sent",
    "processed": "the provider is at it",
    "deferred": "the receiver's server asked to try again later",
    "sent": "on its way",
    "delivered": "arrived",
    "read": "read",
    "opened": "opened",
    "clicked": "a link was clicked",
    "machine_opened": "opened by a program (a scanner, a mailbox that looks ahead); not counted in rates",
    "machine_clicked": "a link was followed by a program; not counted in rates",
    "bounced": "came back",
    "undelivered": "did not arrive",
    "dropped": "not even tried: the provider knows the address as bad",
    "complained": "marked as spam",
    "unsubscribed": "unsubscribed",
    "replied": "answered",
}
"""What became of a message."""

WAITS: Mapping[str, str] = {"hours": "until its receivers' hours of contact begin"}
"""What an open message waits for."""

COUPONS: Mapping[str, str] = {
    "reserved": "set aside",
    "issued": "given out",
    "redeemed": "used",
    "expired": "run out",
    "given_back": "taken back: its message did not go out",
}

COHORTS: Mapping[str, str] = {
    "held": "held: it waits for somebody to approve its size",
    "open": "open: not every step is through",
    "settled": "settled: every step is through",
}

MODES: Mapping[str, str] = {
    "live": "live: messages really go out",
    "test": "test: everything stays in the outbox, nothing counts",
}

JOURNEYS: Mapping[str, str] = {
    "active": "active: customers enter",
    "draining": "draining: nobody enters any more, cohorts under way finish",
    "stopped": "stopped: nothing is sent",
}

LOADS: Mapping[str, str] = {
    "running": "running: what it brings counts when it is done",
    "done": "done: what it brought counts",
    "failed": "failed: nothing of it was kept",
    "interrupted": "interrupted: its process ended, nothing of it was kept; run it again",
}

ROWS: Mapping[str, str] = {
    "new": "not known before",
    "changed": "known, and different now; what was before is kept as history",
    "same": "known, and as before",
    "repeated": "named again further down in the same source",
    "older": "less recent than what is known, so it does not count",
    "gone": "no longer at the source",
    "merged": "of somebody who goes on under another id",
}
"""What became of the rows a load took."""

VERDICTS: Mapping[str, str] = {
    "good": "good: within the limits",
    "warn": "warn: beyond the limit for a warning; journeys go on",
    "stop": "stop: beyond the limit; journeys wait until it is mended or accepted",
    "too_few": "too few rows to judge",
}

TROUBLES: Mapping[str, str] = {
    "unknown": "in doubt: handed over, but the answer got lost. Never sent again blindly; the provider's events settle it.",
    "failed": "failed again and again. Mend what the error says, then clear the step's deliver task.",
}
"""What to do about batches in this state."""


def mask_address(address: str) -> str:
    """Enough of an address to recognise it, not enough to use it: w***@example.com, +1202•••1234."""
    local, at, domain = address.rpartition("@")
    if at:
        return f"{local[:1]}***@{domain}"
    if len(address) >= 12:
        return f"{address[:5]}{'•' * (len(address) - 9)}{address[-4:]}"
    return f"{address[:2]}{'•' * max(3, len(address) - 4)}{address[-2:] if len(address) > 7 else ''}"


def group_digits(number: int) -> str:
    """1,234,567."""
    return f"{number:,}"


def share(part: int, whole: int) -> str:
    """12 %, or 0.4 % where it is little; empty of nothing."""
    if not whole:
        return ""
    percent = 100 * part / whole
    return f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"
