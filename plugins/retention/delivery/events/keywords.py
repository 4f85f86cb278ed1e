"""What a person's whole reply means: an end, a new beginning, or words for people. Never a part of a sentence.

Sources: Twilio's default keywords for long codes; 47 CFR 64.1200(a)(10) ("stop", "quit", "end", "revoke", "opt out",
"cancel", "unsubscribe" are reasonable as such); what Chinese SMS say themselves (退订回T, 拒收请回复R).
"""

from __future__ import annotations

import re
from typing import Literal
from unicodedata import category, normalize

STOP = frozenset(
    [
        "stop",
        "stopall",
        "stop-all",
        "unsubscribe",
        "cancel",
        "end",
        "quit",
        "revoke",
        "optout",
        "opt-out",
        "remove",
        "arret",
        "stopp",
        "退订",
        "退訂",
        "取消订阅",
        "取消訂閱",
        "取消关注",
        "拒收",
        "t",
        "td",
        "r",
        "回t",
        "回td",
        "回r",
        "回复t",
        "回复td",
        "回复r",
        "回复退订",
        "td退订",
        "t退订",
        "退订td",
        "退订t",
    ]
) | {"stop all", "opt out"}
"""As normalised: small letters, no marks around."""

START = frozenset(["start", "unstop", "yes", "恢复订阅", "恢復訂閱", "重新订阅"])
"""Only where an earlier STOP of the same number's stands; else it is an answer like any other."""

_SPACES = re.compile(r"\s+")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_LONGEST = 100


def normalise(text: str) -> str:
    """One spelling: compatibility forms (full width) folded, case folded, no invisible characters, no punctuation, quotes
    or pictures around it, single spaces within, none where there is Chinese."""
    folded = normalize("NFKC", text[:_LONGEST]).casefold() if len(text) <= _LONGEST else ""
    seen = "".join(c for c in folded if category(c) not in ("Cf", "Mn", "Me") and not _is_variant(c))
    begin, end = 0, len(seen)
    while begin < end and not seen[begin].isalnum():
        begin += 1
    while end > begin and not seen[end - 1].isalnum():
        end -= 1
    between = "" if _CHINESE.search(seen) else " "
    return _SPACES.sub(between, seen[begin:end])


def read_meaning(text: str) -> Literal["stop", "start", "reply"]:
    """What the message as a whole says."""
    said = normalise(text)
    return "stop" if said in STOP else "start" if said in START else "reply"


def _is_variant(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f"
