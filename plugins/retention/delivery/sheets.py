"""Sheets: a template written once for many people, with gaps for what is their own. Owns how gaps are found and filled.

A template whose personal variables only stand in the text, or are asked whether they are there ({% if customer.name %}),
reads the same for everybody but for those values: it is rendered once for each case and the values are put in by us, or
by a provider that fills marks. What does more with them (changes their letters, compares them) is rendered per person.
Both ways give the same text, character by character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import nodes
from markupsafe import Markup, escape

from retention.journey.template_syntax import make_environment

PERSONAL = ("customer.name", "coupon.code", "coupon.valid_until")
"""Variables that differ from person to person; all others are the same for everybody a sheet is for."""

PAGES = ("links.unsubscribe", "links.preferences")
"""Links to a person's own pages: their tokens come after PERSONAL among a letter's values, those of its other links last."""

_PLAIN_FILTERS = ("default", "trim")
"""Filters that leave a value alone which is there: values have no blanks at their ends."""

_SPECIAL = re.compile("[&<>\"']").search
_MARK = re.compile("\ue000([0-9]{1,4})([th])\ue001")

Piece = str | tuple[int, bool]
"""Words, or a gap: which of the values, and whether it is escaped for HTML."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """The words of one channel and locale for one case. `is_own`: written for a single person, without gaps.

    `sender` is the shop's name in the sheet's language. `subject` (a webhook's title) and `html` are None on channels that
    have none. `content_sid` is what WhatsApp approved, `variables` what fills its 1, 2, ...; `journey` and `step` say where
    it belongs."""

    locale: str
    sender: str
    is_marketing: bool
    text: tuple[Piece, ...]
    subject: tuple[Piece, ...] | None = None
    html: tuple[Piece, ...] | None = None
    is_own: bool = False
    content_sid: str | None = None
    variables: tuple[tuple[Piece, ...], ...] = ()
    journey: str = ""
    step: str = ""

    def gaps(self) -> list[tuple[int, bool]]:
        """Every gap there is, once each."""
        everything = (*self.text, *(self.subject or ()), *(self.html or ()))
        return sorted({piece for piece in everything if not isinstance(piece, str)})


def fill(pieces: Sequence[Piece], values: Sequence[str]) -> str:
    """The text with the values in its gaps, escaped where it is HTML."""
    return "".join(
        piece if isinstance(piece, str) else in_html(values[piece[0]]) if piece[1] else values[piece[0]]
        for piece in pieces
    )


def in_html(value: str) -> str:
    """The value as HTML; most names have nothing to escape."""
    return str(escape(value)) if _SPECIAL(value) else value


def mark(pieces: Sequence[Piece], marks: Mapping[tuple[int, bool], str]) -> str:
    """The text with a mark in each gap."""
    return "".join(piece if isinstance(piece, str) else marks[piece] for piece in pieces)


def make_gaps(values: Mapping[str, Mapping[str, object]], *, is_html: bool) -> dict[str, dict[str, object]]:
    """The variables with a gap in the place of every personal one that is not empty."""
    made: dict[str, dict[str, object]] = {group: dict(inner) for group, inner in values.items()}
    for number, name in enumerate(PERSONAL):
        group, key = name.split(".")
        if made.get(group, {}).get(key):
            made[group][key] = Markup(f"\ue000{number}h\ue001") if is_html else f"\ue000{number}t\ue001"
    return made


def write_links(
    begin: Mapping[str, str], tokens: Sequence[str] | None, count: int, *, is_html: bool
) -> dict[str, object]:
    """The group `links`: its two pages and a letter's `count` links l0, l1, ..., each with its token or, without `tokens`,
    a gap for it. A token has nothing to escape: it is the same value in text and HTML."""
    names = [*((name.partition(".")[2], begin[page]) for name, page in zip(PAGES, "up", strict=True))]
    names += [(f"l{n}", begin["l"]) for n in range(count)]
    made: dict[str, object] = {}
    for number, (name, start) in enumerate(names, len(PERSONAL)):
        token = f"\ue000{number}t\ue001" if tokens is None else tokens[number - len(PERSONAL)]
        made[name] = Markup(f"{escape(start)}{token}") if is_html else f"{start}{token}"
    return made


def cut(written: str) -> tuple[Piece, ...]:
    """What was rendered with gaps, in pieces."""
    parts = _MARK.split(written)
    pieces: list[Piece] = []
    for at in range(0, len(parts), 3):
        if parts[at]:
            pieces.append(parts[at])
        if at + 1 < len(parts):
            pieces.append((int(parts[at + 1]), parts[at + 2] == "h"))
    return tuple(pieces)


def needs_each_person(source: str) -> bool:
    """Whether a template does more with a personal variable than to show it or to ask whether it is there."""
    tree = make_environment(is_html=False).parse(source)
    return "\ue000" in source or any(_is_worked_on(node, False) for node in tree.body)


def _is_worked_on(node: nodes.Node, is_inside: bool) -> bool:
    if isinstance(node, nodes.Getattr):
        return is_inside and _dotted(node) in (*PERSONAL, *PAGES)
    worked = is_inside or isinstance(node, nodes.Compare)
    worked = worked or isinstance(node, nodes.Filter) and node.name not in _PLAIN_FILTERS
    return any(_is_worked_on(child, worked) for child in node.iter_child_nodes())


def _dotted(node: nodes.Node) -> str:
    return f"{_dotted(node.node)}.{node.attr}" if isinstance(node, nodes.Getattr) else getattr(node, "name", "")
