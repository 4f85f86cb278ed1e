"""Makes a page of a template: autoescaped, with its own style and the headers that every answer carries. No rule, no SQL."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from retention.web import words

_FOLDER = Path(__file__).parent / "templates"
_STYLE = (_FOLDER / "style.css").read_text(encoding="utf-8")


def hash_source(text: str) -> str:
    """How a Content-Security-Policy names the one style or script that it lets in."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_CLOSED = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
POLICY = f"{_CLOSED}style-src {hash_source(_STYLE)}"
"""Nothing but our own style: no script, no picture, nothing from elsewhere."""
MAIL_POLICY = f"{_CLOSED}style-src 'unsafe-inline'; img-src data:"
"""For the page that frames an HTML mail, which inherits it: mails style themselves, and still load nothing."""

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
}


def show_commands(line: str) -> Markup:
    """A sentence for a page: what stands in `backticks` looks like a command, everything is escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(line))))


_templates = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_templates.filters |= {"digits": words.group_digits, "mask": words.mask_address, "commands": show_commands}
_templates.globals |= {"words": words, "share": words.share, "style": _STYLE}


def fill_page(template: str, **values: Any) -> str:
    """`templates/<template>.html` as text, for pages that stand by themselves."""
    return _templates.get_template(f"{template}.html").render(**values)


def make_page(
    request: Request, template: str, *, status_code: int = 200, policy: str = POLICY, **values: Any
) -> HTMLResponse:
    """`templates/<template>.html` as an answer. Links are written {{ base }}/..., wherever the app is mounted."""
    html = _templates.get_template(f"{template}.html").render(base=request.scope.get("root_path", ""), **values)
    return HTMLResponse(html, status_code, headers={**_HEADERS, "Content-Security-Policy": policy})
