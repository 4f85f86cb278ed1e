"""Makes the answers of the public pages: HTML without scripts, and the headers that each carries. No rule, no SQL."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse

from retention.web.public import texts
from retention.web.words import mask_address

_FOLDER = Path(__file__).parent / "templates"
_STYLE = (_FOLDER / "public.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
}
"""An address with a token in it is as good as a key: it stays out of caches, search engines and other sites' logs."""

_templates = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_templates.filters["mask"] = mask_address
_templates.globals |= {"style": _STYLE, "languages": texts.LANGUAGES}


def make_page(template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """`templates/<template>.html` as an answer."""
    return HTMLResponse(_templates.get_template(f"{template}.html").render(**values), status, headers=dict(HEADERS))


def refuse(status: int, said: Mapping[str, tuple[str, str]] = texts.REFUSED) -> HTMLResponse:
    """A short page in both languages."""
    return make_page("refused", status=status, said=said, lang="zh-CN", is_test=False)


def lead_to(url: str) -> RedirectResponse:
    """On to where a link leads; not remembered by anybody, so that the next click is counted, too."""
    return RedirectResponse(url, 302, headers=dict(HEADERS))
