"""The head of a template's file: lines of `key: words` between two lines of ---. Owns which file has which keys.

An e-mail's HTML has its subject there, a WhatsApp text the content that WhatsApp approved and what fills its variables, a
webhook's text a title. Not YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jinja2 import TemplateError

from retention.errors import Problem
from retention.journey.notation import did_you_mean, list_options, show
from retention.journey.template_syntax import make_environment
from retention.journey.variables import VARIABLES

CONTENT_SID = re.compile(r"HX[0-9a-fA-F]{32}")
"""How Twilio names a content: HX and 32 hexadecimal digits."""

_TEXT = make_environment(is_html=False)
_MAY_BE_EMPTY = ("customer.name",)
_SAME_FOR_ALL = "shop."
"""Variables that approved content may have written out."""


@dataclass(frozen=True)
class HeadKind:
    """`keys` a head may have; `numbered`: variables 1, 2, ... besides; `missing`: what is wrong without the first key, and
    what to do (None: the head may be left out)."""

    keys: tuple[str, ...]
    numbered: bool = False
    missing: tuple[str, str] | None = None


HEADS = {
    ("email", "html"): HeadKind(
        ("subject", "preheader"),
        missing=(
            "the e-mail has no subject.",
            "Begin the file with a line ---, a line subject: ..., a line preheader: ... and a line ---.",
        ),
    ),
    ("whatsapp", "txt"): HeadKind(
        ("content_sid",),
        numbered=True,
        missing=(
            "it names no content that WhatsApp approved; without it nobody may be written to first.",
            "Begin the file with a line ---, a line content_sid: HX..., a line for each of its variables, such as "
            "1: {{ coupon.code }}, and a line ---.",
        ),
    ),
    ("webhook", "txt"): HeadKind(("title",)),
}
"""By channel and ending; other files have none."""


@dataclass
class Head:
    """What stands there: `words` by key, `lines` by key, the `body` below it and the line on which that begins."""

    body: str
    words: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    first_line: int = 1
    problems: list[Problem] = field(default_factory=list)

    def variables(self) -> dict[str, str]:
        """The numbered ones, in their order."""
        return {key: self.words[key] for key in sorted((k for k in self.words if k.isdecimal()), key=int)}


def split_head(kind: HeadKind, path: str, text: str) -> Head:
    """The head and the rest. Never raises; mistakes of the head's form are in `problems`, its words are not looked at."""
    lines = text.split("\n")
    has_head = lines[0].rstrip() == "---"
    end = next((i for i, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), None) if has_head else None
    if end is None:
        head = Head(text)
        if kind.missing:
            head.problems.append(Problem(path, 1, *kind.missing))
        elif has_head:
            head.problems.append(Problem(path, 1, "the head has no end.", "Write a line --- below it."))
        return head
    head = Head("\n".join(lines[end + 1 :]), first_line=end + 2)
    for number, line in enumerate(lines[1:end], 2):
        if line.strip():
            _read_line(kind, head, path, number, line)
    if kind.missing and not head.words.get(kind.keys[0]):
        remedy = f'Write "{kind.keys[0]}: ..." below the first ---.'
        head.problems.append(Problem(path, 1, kind.missing[0], remedy))
    return head


def _read_line(kind: HeadKind, head: Head, path: str, number: int, line: str) -> None:
    key, colon, words = (part.strip() for part in line.partition(":"))
    is_number = kind.numbered and re.fullmatch("[1-9][0-9]?", key)
    if not colon or not (key in kind.keys or is_number):
        near = did_you_mean(key, kind.keys) if colon else f'Write "{kind.keys[0]}: ...".'
        listed = list_options("Keys here", [*kind.keys, *(["1, 2, ... for variables"] if kind.numbered else [])])
        head.problems.append(Problem(path, number, f"unknown key {show(key)}.", near or listed))
        return
    if key in head.words:
        head.problems.append(Problem(path, number, f"the key {show(key)} is written twice.", "Keep one of them."))
        return
    if len(words) > 1 and words[0] == words[-1] and words[0] in "\"'":
        words = words[1:-1].strip()
    head.words[key], head.lines[key] = words, number


def check_content(head: Head, path: str, said: Mapping[str, Iterable[tuple[int, str]]]) -> list[Problem]:
    """What is wrong with the approved content that a WhatsApp text names. `said`: the variables of each part as (line,
    name), by key of the head and "" for the text."""
    problems = []
    sid = head.words["content_sid"]
    if not CONTENT_SID.fullmatch(sid):
        remedy = "It is HX and 32 digits or letters a to f, as Twilio's Content Template Builder shows it."
        problems.append(Problem(path, head.lines["content_sid"], f"{show(sid)} is no content_sid.", remedy))
    for place, key in enumerate(head.variables(), 1):
        if key != str(place):
            remedy = f"WhatsApp numbers them without gaps: write {place}."
            problems.append(Problem(path, head.lines[key], f"variable {key} comes after {place - 1}.", remedy))
            break
    for key, words in head.variables().items():
        if _may_be_empty(words):
            remedy = 'WhatsApp takes no empty one: write {{ customer.name | default("friend", true) }}.'
            what = f"variable {key} is empty for some customers." if words else f"variable {key} is empty."
            problems.append(Problem(path, head.lines[key], what, remedy))
    filled = {name for key in head.variables() for _, name in said.get(key, ())}
    for line, name in said.get("", ()):
        if name not in filled and not name.startswith(_SAME_FOR_ALL):
            what = f"{show(name)} stands in the text, and in none of the variables of the approved content."
            remedy = f"Add it above, such as {len(head.variables()) + 1}: {{{{ {name} }}}}, or take it out."
            problems.append(Problem(path, line, what, remedy))
            filled.add(name)
    return problems


def _may_be_empty(words: str) -> bool:
    """Whether nothing is left where we don't know what may be unknown."""
    values: dict[str, dict[str, object]] = {}
    for name, about in VARIABLES.items():
        group, _, key = name.partition(".")
        usual: object = 20 if about.kind == "number" else "x"
        values.setdefault(group, {})[key] = "" if name in _MAY_BE_EMPTY else usual
    try:
        return not _TEXT.from_string(words).render(values).strip()
    except (TemplateError, TypeError):
        return False  # a mistake of its own, told elsewhere
