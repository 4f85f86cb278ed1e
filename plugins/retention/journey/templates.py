"""Templates: the words of a message, per channel and locale. Owns their files and how a locale is chosen.

A template is a folder: template.yaml (purpose, title), email.<locale>.html (subject and preheader between two lines of
---, then HTML), email.<locale>.txt, sms.<locale>.txt, whatsapp.<locale>.txt (the approved content it stands for between
two lines of ---, then what that says), webhook.<locale>.txt (perhaps a title between them).
"""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retention.errors import Problem
from retention.journey.document import find_stray_bytes, read_document
from retention.journey.explain import explain_errors
from retention.journey.fields import CHANNELS, Text
from retention.journey.files import Files
from retention.journey.notation import LOCALE_PATTERN, did_you_mean, show
from retention.journey.shop import choose_locale
from retention.journey.template_heads import HEADS, check_content, split_head
from retention.journey.template_syntax import Wording, read_wording

HEAD = "template.yaml"
_ENDINGS = {channel: ("html", "txt") if channel == "email" else ("txt",) for channel in CHANNELS}


class TemplateHead(BaseModel):
    """What template.yaml says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Text = Field(description="What the template is for, in a few words.")
    purpose: Literal["marketing", "transactional"] = Field(
        description="marketing: needs the customer's consent to marketing. transactional: about something they ordered."
    )


@dataclass(frozen=True)
class Part:
    """The words for one channel and locale, with Jinja in them. `html` already holds the hidden preheader.

    `subject` is an e-mail's, or a webhook's title. `content_sid` is what WhatsApp approved, `variables` what fills it."""

    text: str
    subject: str | None = None
    preheader: str | None = None
    html: str | None = None
    content_sid: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Template:
    """`parts` by (channel, locale); `coupon_channels`: where words speak of a coupon; `customer_uses`: which values of the
    customer they ask for, besides the name."""

    name: str
    purpose: str
    title: str
    parts: Mapping[tuple[str, str], Part]
    coupon_channels: tuple[str, ...] = ()
    customer_uses: tuple[str, ...] = ()

    def locales(self, channel: str) -> list[str]:
        """The locales this channel is written in, sorted."""
        return sorted(locale for of, locale in self.parts if of == channel)

    def part(self, channel: str, locale: str, default_locale: str) -> tuple[str, Part]:
        """The words for a customer and the locale they are in: exact, else same language, else default, else any.

        Raises KeyError if the template has no words for the channel."""
        available = self.locales(channel)
        if not available:
            raise KeyError(channel)
        chosen = choose_locale(locale, available, default_locale)
        return chosen, self.parts[channel, chosen]


@dataclass
class TemplateFolder:
    """A template as its folder has it: `template` is None while it has problems.

    `coupon_uses` holds (channel, path, line, variable) for each coupon variable, `paths` the files by channel ("" for
    template.yaml), `locales` which locales each channel has, complete or not.
    """

    name: str
    template: Template | None = None
    problems: list[Problem] = field(default_factory=list)
    coupon_uses: list[tuple[str, str, int, str]] = field(default_factory=list)
    customer_uses: set[str] = field(default_factory=set)
    paths: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    locales: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


def read_templates(files: Files, prefix: str) -> dict[str, TemplateFolder]:
    """Every folder below templates/ that holds files, by its name."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in files.under("templates"):
        by_folder[path.removeprefix("templates/").rpartition("/")[0]].append(path)
    stray = [Problem(prefix + path, 1, "the file lies in no template.", "Move it into its template's folder.")
             for path in by_folder.pop("", [])]  # fmt: skip
    folders = {name: _read_folder(name, paths, files, prefix) for name, paths in by_folder.items()}
    if stray:
        folders[""] = TemplateFolder("", problems=stray)
    return folders


def _read_folder(name: str, paths: list[str], files: Files, prefix: str) -> TemplateFolder:
    folder = TemplateFolder(name)
    head = _read_head(folder, files, prefix)
    bodies: dict[tuple[str, str], dict[str, tuple[str, str]]] = defaultdict(dict)
    for path in paths:
        file_name = path.rpartition("/")[2]
        if file_name == HEAD:
            continue
        found = re.fullmatch(r"([a-z]+)\.([A-Za-z\-]+)\.([a-z]+)", file_name)
        is_part = found and found[3] in _ENDINGS.get(found[1], ()) and re.fullmatch(LOCALE_PATTERN, found[2])
        if not found or not is_part:
            folder.problems.append(Problem(prefix + path, 1, *_explain_name(file_name)))
            continue
        channel, locale, ending = found.groups()
        folder.paths[channel].append(path)
        folder.locales[channel].add(locale)
        bodies[channel, locale][ending] = (prefix + path, files[path])
    parts = {}
    for (channel, locale), texts in sorted(bodies.items()):
        part = _read_part(folder, channel, locale, texts, f"{prefix}templates/{name}")
        if part:
            parts[channel, locale] = part
    if head and not folder.problems:
        speaking = tuple(sorted({use[0] for use in folder.coupon_uses}))
        folder.template = Template(name, head.purpose, head.title, parts, speaking, tuple(sorted(folder.customer_uses)))
    return folder


def _read_head(folder: TemplateFolder, files: Files, prefix: str) -> TemplateHead | None:
    path = f"templates/{folder.name}/{HEAD}"
    if path not in files:
        remedy = "Write it with two lines: title: ... and purpose: marketing (or transactional)."
        folder.problems.append(Problem(prefix + path, 1, "the file is missing.", remedy))
        return None
    folder.paths[""].append(path)
    document = read_document(prefix + path, files[path], kind="title and a purpose")
    head = None
    if document.is_readable:
        try:
            head = TemplateHead.model_validate(document.data)
        except ValidationError as error:
            explain_errors(document, TemplateHead, error)
    folder.problems.extend(document.problems)
    return head


def _explain_name(file_name: str) -> tuple[str, str]:
    guess = re.sub(r"\.([a-z]{2,3})[_-]([A-Za-z]{2})\.", lambda m: f".{m[1]}-{m[2].upper()}.", file_name)
    known = [f"{channel}.{locale}.{ending}" for channel, endings in _ENDINGS.items() for ending in endings
             for locale in ("zh-CN", "en")]  # fmt: skip
    if guess == file_name:
        near = did_you_mean(file_name, [HEAD, *known])
    else:
        near = f'Did you mean "{guess}"?'
    texts = [f"{channel}.<locale>.txt" for channel in CHANNELS]
    rule = f"Parts are named email.<locale>.html, {', '.join(texts[:-1])} and {texts[-1]}."
    return f"{show(file_name)} is not a part of a template.", f"{near} {rule}".strip()


def _read_part(
    folder: TemplateFolder, channel: str, locale: str, texts: dict[str, tuple[str, str]], place: str
) -> Part | None:
    """One part, or None with its problems in the folder. `texts` maps ending -> (path, text)."""
    before = len(folder.problems)
    for ending in _ENDINGS[channel]:
        if ending not in texts:
            why = "Some people read e-mail as plain text." if ending == "txt" else "It holds the subject and the HTML."
            missing = f"{place}/{channel}.{locale}.{ending}"
            folder.problems.append(Problem(missing, 1, "the file is missing.", f"Write it. {why}"))
    words: dict[str, str] = {}
    variables: dict[str, str] = {}
    bodies: dict[str, str] = {}
    for ending, (path, text) in texts.items():
        stray = find_stray_bytes(path, text)
        if stray:
            folder.problems.append(stray)
            continue
        body, first_line = text, 1
        if kind := HEADS.get((channel, ending)):
            head = split_head(kind, path, text)
            words, variables, body, first_line = head.words, head.variables(), head.body, head.first_line
            folder.problems.extend(head.problems)
            said = {key: _check_words(folder, channel, path, head.words[key], head.lines[key]) for key in head.words}
        if not body.strip():
            nothing = Problem(path, first_line, "there are no words in it.", "Write some, or delete the file.")
            folder.problems.append(nothing)
        wording = _check_words(folder, channel, path, body, first_line)
        if words.get("content_sid"):
            found = {key: it.variables for key, it in (said | {"": wording}).items()}
            folder.problems.extend(check_content(head, path, found))
        bodies[ending] = body
    if len(folder.problems) > before:
        return None
    preheader = words.get("preheader")
    markup = _insert_preheader(bodies["html"], preheader) if "html" in bodies else None
    return Part(text=bodies["txt"].strip() + ("\n" if channel == "email" else ""),
                subject=words.get("subject") or words.get("title"), preheader=preheader, html=markup,
                content_sid=words.get("content_sid"), variables=variables)  # fmt: skip


def _check_words(folder: TemplateFolder, channel: str, path: str, text: str, first_line: int) -> Wording:
    wording = read_wording(text, first_line)
    folder.problems.extend(Problem(path, line, what, remedy) for line, what, remedy in wording.mistakes)
    folder.coupon_uses.extend(
        (channel, path, line, name) for line, name in wording.variables if name.startswith("coupon.")
    )
    used = {name.partition(".")[2] for _, name in wording.variables if name.startswith("customer.")}
    folder.customer_uses |= used - {"name"}
    return wording


def _insert_preheader(markup: str, preheader: str | None) -> str:
    """The HTML with the preheader as its first, hidden words: what a mailbox shows after the subject."""
    if not preheader:
        return markup
    words = "".join(
        part if part.startswith(("{{", "{%")) else html.escape(part, quote=False)
        for part in re.split(r"(\{\{.*?\}\}|\{%.*?%\})", preheader)
    )
    hidden = f'<div style="display:none;max-height:0;overflow:hidden;mso-hide:all">{words}</div>'
    body = re.search(r"<body[^>]*>", markup, re.IGNORECASE)
    at = body.end() if body else 0
    return markup[:at] + hidden + markup[at:]

