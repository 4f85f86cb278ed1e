"""Lists of events in JSON, however broken: what can be read is read. Knows no sender."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

BROKEN: Final = object()
"""In the place of what is no JSON."""

_DECODER = json.JSONDecoder()
_BLANK = " \t\r\n,"


def load_events(body: bytes) -> list[Any]:
    """The events of a body: a list's elements, or the one object it is. After what can't be read comes BROKEN, once.

    No text in them has a character that Postgres does not take."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return [_clean(it) for it in _salvage(body.decode("utf-8", "replace"))]
    events = found if isinstance(found, list) else [found]
    return [_clean(it) for it in events] if b"\\u0000" in body else events


def _salvage(text: str) -> list[Any]:
    """Element by element, up to the first that is cut off or broken."""
    found: list[Any] = []
    at = len(text) - len(text.lstrip())
    if not text.startswith("[", at):
        return [BROKEN]
    at += 1
    while True:
        while at < len(text) and text[at] in _BLANK:
            at += 1
        if text.startswith("]", at) and not text[at + 1 :].strip():
            return found
        try:
            event, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return [*found, BROKEN]
        found.append(event)


def _clean(value: Any, depth: int = 0) -> Any:
    """Without NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if depth > 50:
        return None if isinstance(value, (dict, list)) else value
    if isinstance(value, list):
        return [_clean(it, depth + 1) for it in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(it, depth + 1) for key, it in value.items()}
    return value
