"""Files of JSON, one object a line. Owns what of an object is a column: what is nested is named with dots."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from retention.errors import IntakeError
from retention.intake.chunks import Chunk, Reject, blank_to_null, cut, make_frame
from retention.intake.lines import LONGEST_ROW, TOO_LONG

ROWS = 50_000
"""Rows a piece, where the source counts in rows."""
LOOKED_AT = 1000
"""So many lines say which columns there are; a column that is asked for by name may begin later."""

_TWICE = "a name that stands twice in one object"
_REMEDY = "Each line is one whole JSON object in UTF-8: export it anew."


class _Digits(str):
    """A number as it was written."""


class JsonLines:
    """One JSON object a line: address.city for what is nested, lists stay JSON, numbers keep their digits."""

    def __init__(self, path: Path, stream: io.BufferedIOBase):
        self.name, self.size = path.name, path.stat().st_size
        self._stream = stream
        self.columns = self._find_columns(path)

    def _find_columns(self, path: Path) -> tuple[str, ...]:
        found: dict[str, None] = {}
        self._stream.seek(0)
        for number, line in _lines(self._stream):
            if number == 1 and line.lstrip(b"\xef\xbb\xbf \t").startswith(b"["):
                stem = path.name.split(".")[0]
                raise IntakeError(
                    f"{self.name}: this is one JSON list, not one object a line. Write it anew with: jq -c '.[]' "
                    f"{self.name} > {stem}-lines.jsonl"
                )
            found |= dict.fromkeys(_read_record(line)[0] or ())
            if number >= LOOKED_AT:
                break
        if not found:
            raise IntakeError(f"{self.name}: there is no JSON object in its first {LOOKED_AT:,} lines. {_REMEDY}")
        return tuple(found)

    def look_for(self, names: set[str]) -> None:
        """Read on until each of these columns was seen, or to the end; `columns` then has all that
        were seen."""
        found = dict.fromkeys(self.columns)
        self._stream.seek(0)
        for _, line in _lines(self._stream):
            if names <= found.keys():
                break
            found |= dict.fromkeys(_read_record(line)[0] or ())
        self.columns = tuple(found)

    def chunks(self) -> Iterator[Chunk]:
        """The rows, in order; each line that is no object is rejected."""
        self._stream.seek(0)
        records: list[dict[str, str | None]] = []
        numbers: list[int] = []
        rejects: list[Reject] = []
        done = 0
        for number, line in _lines(self._stream):
            done += len(line)
            if not line.strip():
                continue
            record, reason = _read_record(line)
            if record is None:
                raw = cut(line.decode("utf-8", "backslashreplace").rstrip("\r\n"))
                rejects.append(Reject(number, None, reason, _REMEDY, raw))
            else:
                records.append(record)
                numbers.append(number)
            if len(records) + len(rejects) >= ROWS:
                yield self._as_chunk(records, numbers, rejects, done)
                records, numbers, rejects = [], [], []
        yield self._as_chunk(records, numbers, rejects, done)

    def _as_chunk(self, records: list, numbers: list, rejects: list, done: int) -> Chunk:
        rows = [[record.get(column) for column in self.columns] for record in records]
        frame = blank_to_null(make_frame(self.columns, rows))
        done = self._stream.taken() if hasattr(self._stream, "taken") else done
        return Chunk(frame, pl.Series("line", numbers, dtype=pl.Int64), rejects, done)


def _lines(stream: io.BufferedIOBase) -> Iterator[tuple[int, bytes]]:
    """Each line with its number; of one that is too long its beginning, which is one byte too long."""
    number = 0
    while line := stream.readline(LONGEST_ROW + 1):
        number += 1
        rest = line
        while len(rest) > LONGEST_ROW and not rest.endswith(b"\n"):
            rest = stream.readline(LONGEST_ROW + 1)
        yield number, line


def _read_record(line: bytes) -> tuple[dict[str, str | None] | None, str]:
    """The flat record of a line, or None and why not. Numbers keep their digits."""
    if len(line) > LONGEST_ROW:
        return None, TOO_LONG
    try:
        text = line.decode("utf-8-sig")
        value = json.loads(
            text, parse_float=_Digits, parse_int=_Digits, parse_constant=_Digits, object_pairs_hook=_unite
        )
        if not isinstance(value, dict):
            return None, "not a JSON object"
        flat = _unite(list(_flatten("", value)))
        "".join([*flat, *filter(None, flat.values())]).encode()
        return flat, ""
    except UnicodeDecodeError:
        return None, "characters that are not utf-8"
    except UnicodeEncodeError:
        return None, "half a character (a lone surrogate)"
    except (ValueError, RecursionError) as error:
        return None, _TWICE if str(error) == _TWICE else "not JSON"


def _unite(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # Which of the two counts is not ours to say.
        raise ValueError(_TWICE)
    return found


def _flatten(prefix: str, value: dict) -> Iterator[tuple[str, str | None]]:
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, dict):
            yield from _flatten(f"{name}.", inner)
        else:
            yield name, as_text(inner)


def as_text(value: Any) -> str | None:
    """A value from JSON or a database as the text a file would hold."""
    match value:
        case None:
            return None
        case str():
            return str(value)
        case bool():
            return "true" if value else "false"
        case datetime() | date():
            return value.isoformat()
        case bytes() | memoryview():
            return bytes(value).decode("utf-8", errors="backslashreplace")
        case dict() | list() | tuple():
            return _write_json(value)
    return str(value)


def _write_json(value: Any) -> str:
    match value:
        case _Digits():
            return value
        case dict():
            return "{" + ", ".join(f"{_write_json(str(key))}: {_write_json(it)}" for key, it in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_write_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False, default=as_text)
