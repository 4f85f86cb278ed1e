"""What somebody asks a public page: the token, the language, the answers of a form. Reads at most a few kilobytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qs

from starlette.requests import Request

from retention.web.public.texts import LANGUAGES

MOST_BYTES = 16_384
_MOST_FIELDS = 200
_STRAY = ".,;:!?)]}>\"'*_~"


@dataclass(frozen=True)
class Asked:
    """A request. `form` is None where nothing was posted, empty where it could not be read."""

    method: str
    token: str
    lang: str | None
    headers: Mapping[str, str]
    form: Mapping[str, Sequence[str]] | None = None

    def says(self, name: str) -> str:
        """The first answer of this name, or nothing."""
        return (self.form or {}).get(name, [""])[0]


async def read_asked(request: Request) -> Asked:
    """The request, whatever it holds."""
    form = await _read_form(request) if request.method == "POST" else None
    lang = (form or {}).get("lang", [""])[0] or request.query_params.get("lang", "")
    token = _trim(request.path_params["token"])
    return Asked(request.method, token, lang if lang in LANGUAGES else None, request.headers, form)


def _trim(token: str) -> str:
    """Without what a mail program or a phone took along of the sentence around a link."""
    end = next((n for n, letter in enumerate(token) if not "!" <= letter <= "~"), len(token))
    return token[:end].rstrip(_STRAY) if token[:end] else token[:end]


async def _read_form(request: Request) -> dict[str, list[str]]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return {}
    kind = request.headers.get("content-type", "")
    try:
        if kind.lower().startswith("multipart/form-data"):
            return _read_parts(kind, body)
        return parse_qs(body.decode("ascii"), keep_blank_values=True, errors="replace", max_num_fields=_MOST_FIELDS)
    except ValueError:  # what is no form at all, or one of a thousand fields
        return {}


def _read_parts(kind: str, body: bytes) -> dict[str, list[str]]:
    """Mailboxes may post their one field like a file (RFC 8058, 3.1)."""
    head = f"Content-Type: {kind}\r\n\r\n".encode("latin-1")
    read = BytesParser(policy=HTTP).parsebytes(head + body)
    found: dict[str, list[str]] = {}
    for part in read.iter_parts() if read.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(value, bytes):
            found.setdefault(name, []).append(value.decode("utf-8", errors="replace").strip())
    return found
