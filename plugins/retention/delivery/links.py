"""Links in messages: every web address of a template leads over our own, signed for one message, so that clicks count.

Addresses are found in the template, not in what was rendered: a customer's name that looks like one stays a name, and a
message reads the same whether a provider fills its gaps or it is rendered whole. Where no public address is set, links stay
as they are written. Owns no page: `web.public` answers.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from retention.delivery.choose import read_public_url
from retention.delivery.tokens import PREFERENCES, UNSUBSCRIBE, Signer, read_signer
from retention.store.queries import run

LONGEST = 2000
"""An address of more characters is left as it is written."""

CODE = "{coupon.code}"
"""Stands in a stored address for the customer's own code, which is put in when they click."""

_TAG = re.compile(r"(\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\})", re.DOTALL)
_ALLOWED = r"A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%"
_BEGIN = r"(?:https?://[A-Za-z0-9]|\{\{\s*shop\.website\s*\}\})"
_MORE = rf"(?:[{_ALLOWED}]|\{{\{{\s*shop\.website\s*\}}\}}|\{{\{{\s*coupon\.code\s*\}}\}})"
_ADDRESS = re.compile(rf"(?<![A-Za-z0-9_/.:@\-]){_BEGIN}{_MORE}*")
_WHOLE = re.compile(rf"{_BEGIN}{_MORE}*")
_HREF = re.compile(r"(<(?:a|area|v:[a-z]+)\b[^<>]*?\shref\s*=\s*)([\"'])(.*?)\2", re.IGNORECASE | re.DOTALL)
_CLOSING = ".,;:!?'"
_WEBSITE = re.compile(r"\{\{\s*shop\.website\s*\}\}")
_COUPON = re.compile(r"\{\{\s*coupon\.code\s*\}\}")


@dataclass(frozen=True)
class Links:
    """Makes the links of one process's letters. `number` knows each address by a number of its own."""

    signer: Signer
    public_url: str
    number: Callable[[str], int]

    def begin(self) -> dict[str, str]:
        """What each kind of link begins with, before its token."""
        return {kind: f"{self.public_url}/{kind}/" for kind in (UNSUBSCRIBE, PREFERENCES, "l")}

    def sign(self, message_id: int, link_ids: Sequence[int], pages: Sequence[str]) -> tuple[str, ...]:
        """The tokens of one letter: of `pages` ("u", "p"; "" for one that it does not use), then of its links."""
        signer = self.signer
        made = [signer.sign(page, message_id) if page else "" for page in pages]
        return (*made, *[signer.sign_click(message_id, link_id) for link_id in link_ids])


def open_links(engine: Engine) -> Links | None:
    """The links of this process; None where RETENTION_PUBLIC_URL or RETENTION_SIGNING_KEY is not set.

    Raises ConfigError for one that is no address, or too short."""
    if not os.environ.get("RETENTION_PUBLIC_URL") or not os.environ.get("RETENTION_SIGNING_KEY"):
        return None

    def number(url: str) -> int:
        # On its own, at once: who rolls back a batch leaves an address behind, and nobody waits for a lock on one.
        with engine.begin() as conn:
            return run(conn, "links/number_link", url=url).scalar_one()

    return Links(read_signer(), read_public_url(), number)


def show_links() -> Links | None:
    """Links to look at and to measure: as long as real ones and signed, but leading nowhere. None where links are plain."""
    if not os.environ.get("RETENTION_PUBLIC_URL") or not os.environ.get("RETENTION_SIGNING_KEY"):
        return None
    return Links(read_signer(), read_public_url(), lambda url: 0)


def mark_links(source: str, found: list[str], *, website: str, is_html: bool) -> str:
    """The template's text with `{{ links.l<n> }}` in the place of the n-th address of `found`, which grows.

    In HTML it is what <a> leads to: pictures and style stay, and so do words that look like an address. An address that
    holds more of a person than their code, or that an {% if %} goes on in, is left as it is written."""
    if "{%" in source and re.search(r"\{%-?\s*raw", source):
        return source

    def replace(written: str) -> str | None:
        url = _COUPON.sub(CODE, _WEBSITE.sub(lambda _: website, written))
        url = html.unescape(url) if is_html else url
        if len(url) > LONGEST or not re.match(r"https?://[^/?#]", url):
            return None
        if url not in found:
            found.append(url)
        return f"{{{{ links.l{found.index(url)} }}}}"

    if is_html:

        def replace_href(match: re.Match[str]) -> str:
            whole = match[3].strip()
            made = replace(whole) if _WHOLE.fullmatch(whole) else None
            return match[0] if made is None else f"{match[1]}{match[2]}{made}{match[2]}"

        return _HREF.sub(replace_href, source)
    hidden = [match.span() for match in _TAG.finditer(source) if not _WHOLE.match(match[0])]
    pieces, at = [], 0
    for match in _ADDRESS.finditer(source):
        start, end = match.span()
        if any(a <= start < b for a, b in hidden):
            continue
        written = match[0]
        while written and (written[-1] in _CLOSING or written[-1] == ")" and written.count("(") < written.count(")")):
            written = written[:-1]
        end = start + len(written)
        made = replace(written) if written == match[0] and not _goes_on(source, end) or written != match[0] else None
        if made is not None:
            pieces += [source[at:start], made]
            at = end
    return "".join([*pieces, source[at:]])


def _goes_on(source: str, at: int) -> bool:
    """Whether what follows may belong to the address: a variable, words of an {% if %}, Chinese after a slash.

    Chinese right after a letter is the next word: 点https://shop.example.com看看."""
    begun = at
    while at < len(source):
        if source.startswith("{{", at) or re.match(f"[{_ALLOWED}]", source[at]):
            return True
        if source[at].isalnum():
            return at > begun or source[at - 1] in "/?&=#%"
        tag = re.compile(r"\{%-?\s*(\w+).*?%\}|\{#.*?#\}", re.DOTALL).match(source, at)
        if tag is None:
            return False
        at = tag.end() if tag[1] not in ("else", "elif") else _find_end(source, tag.end())
    return False


def _find_end(source: str, at: int) -> int:
    """Behind the {% endif %} of the {% if %} that `at` is inside."""
    depth = 1
    for tag in re.compile(r"\{%-?\s*(if|endif)\b.*?%\}", re.DOTALL).finditer(source, at):
        depth += 1 if tag[1] == "if" else -1
        if depth == 0:
            return tag.end()
    return len(source)
