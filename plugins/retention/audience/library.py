"""The library of audiences: what each is, who uses it, how many it names as of an instant. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter

from sqlalchemy import Engine

from retention.audience.select import TIME_LIMIT_S, ask_audience, count_audience
from retention.errors import AudienceError, RetentionError
from retention.journey.load import Version
from retention.store.queries import run
from retention.store.readonly import reading

USUAL_WINDOW = timedelta(days=3)
USUAL_ZONE = "Asia/Shanghai"
"""How far back an audience looks, and in which zone, where no journey says."""


@dataclass(frozen=True)
class Audience:
    """A file of include/sql/audiences. `about`: its first comment; `parameters`: those it uses; `journeys`: that name it.
    `window` and `zone` are the first of these journeys'."""

    name: str
    sql: str
    about: str
    parameters: tuple[str, ...]
    journeys: tuple[str, ...]
    window: timedelta
    zone: str


@dataclass(frozen=True)
class Counted:
    """How many an audience named: `customers`, with `occurrences` in all, and how long that took. Or why it could not."""

    audience: Audience
    customers: int | None = None
    occurrences: int | None = None
    took_s: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Asked:
    """Whether an audience names a customer: by `occurrences`, none if not. `ways`: (channel, why it can't be used for
    marketing, None if it can), empty for somebody who was no customer then."""

    audience: Audience
    as_of: datetime
    occurrences: list[str]
    ways: list[tuple[str, str | None]]


def read_library(files: Mapping[str, str], versions: Iterable[Version]) -> dict[str, Audience]:
    """Every audience by name; `files` are the texts below include/, `versions` the journeys that could be read."""
    journeys = [version.journey for version in versions]
    found = {}
    for path in sorted(files):
        matched = re.fullmatch(r"sql/audiences/([^/]+)\.sql", path)
        if not matched:
            continue
        name, text = matched[1], files[path]
        users = [it for it in journeys if name in it.audience]
        found[name] = Audience(
            name,
            text,
            _read_header(text),
            tuple(sorted(set(re.findall(r"(?<![:\w]):(as_of|window_start|timezone)\b", re.sub(r"--.*", "", text))))),
            tuple(sorted(it.journey for it in users)),
            users[0].entry.window if users else USUAL_WINDOW,
            users[0].timezone if users else USUAL_ZONE,
        )
    return found


def _read_header(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return " ".join(lines).strip()


def find_audience(library: Mapping[str, Audience], name: str) -> Audience:
    """The audience of this name. Raises RetentionError."""
    if name not in library:
        raise RetentionError(
            f'include/sql/audiences: no audience "{name}". There is: {", ".join(sorted(library)) or "none"}.'
        )
    return library[name]


def count_one(engine: Engine, audience: Audience, as_of: datetime, *, time_limit_s: int = TIME_LIMIT_S) -> Counted:
    """How many an audience names as of an instant, as known then. What fails is told, not raised."""
    began = perf_counter()
    try:
        occurrences, customers = count_audience(
            engine, audience.name, audience.sql, as_of=as_of, window_start=as_of - audience.window, zone=audience.zone,
            time_limit_s=time_limit_s,
        )  # fmt: skip
    except AudienceError as error:
        return Counted(audience, error=str(error), took_s=perf_counter() - began)
    return Counted(audience, customers, occurrences, perf_counter() - began)


def ask_one(engine: Engine, audience: Audience, customer_id: str, as_of: datetime) -> Asked:
    """Whether an audience names this customer as of an instant, and on which channels marketing could reach her then.
    Raises AudienceError."""
    looking = {"as_of": as_of, "window_start": as_of - audience.window, "zone": audience.zone}
    occurrences = ask_audience(engine, audience.name, audience.sql, customer_id, **looking)
    with reading(engine, time_limit_s=TIME_LIMIT_S, **looking) as conn:
        ways = [(row.channel, row.reason) for row in run(conn, "entry/find_ways", customer_id=customer_id)]
    return Asked(audience, as_of, occurrences, ways)
