"""Which journeys there are right now: the files, and for those that are broken their last good text.

Knows no Airflow. Reads the database only where one is named, never starts one, and does without when it is away.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from retention.errors import ConfigError, Problem, RetentionError
from retention.journey.check import check_changes
from retention.journey.files import read_files
from retention.journey.load import Version, load, load_version
from retention.store.database import connect, is_at_hand
from retention.store.versions import contents_in_flight, journeys_in_flight, last_content

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sheet:
    """One journey on the desk: what its DAG is built from, what is wrong with its file (nothing: it is good), and the
    other texts that cohorts in flight are pinned to."""

    version: Version
    problems: list[Problem] = field(default_factory=list)
    in_flight: list[Version] = field(default_factory=list)


def lay_out(include: Path, engine: Engine | None = None) -> tuple[dict[str, Sheet], list[Problem]]:
    """Every journey that can have a DAG, by id, and all problems of all files.

    A journey is broken by mistakes, and by a step that vanished while people who are to get it are in flight. It is
    then laid out in the text its last cohort entered on; one that never ran has no sheet. So is one whose file is gone
    while cohorts are in flight.
    """
    workspace = load(read_files(include))
    problems = list(workspace.problems)
    engine = engine or _find_engine()
    sheets = {}
    for name, version in workspace.versions.items():
        flying = _ask(_fetch_in_flight, engine, name) or []
        vanished = sorted({p for old, cohorts in flying for p in check_changes(old, version, cohorts)})
        problems += vanished
        last = _ask(_last_good, engine, name) if vanished else None
        sheets[name] = Sheet(last or version, vanished, [old for old, _ in flying])
    gone = set(_ask(_list_in_flight, engine) or ()) - set(workspace.versions) - set(workspace.broken)
    for name in [*workspace.broken, *sorted(gone)]:
        last = _ask(_last_good, engine, name)
        flying = _ask(_fetch_in_flight, engine, name) or []
        mistakes = workspace.broken.get(name) or [_missing(name)]
        if name in gone:
            problems += mistakes
        if last:
            sheets[name] = Sheet(last, mistakes, [old for old, _ in flying])
    return sheets, sorted(set(problems))


def pick_version(include: Path, journey: str, engine: Engine) -> Version:
    """The text a new cohort of this journey enters on. Raises ConfigError with its file's problems."""
    sheets, problems = lay_out(include, engine)
    sheet = sheets.get(journey)
    if sheet is None:
        raise ConfigError([p for p in problems if p.path.endswith(f"journeys/{journey}.yaml")] or [_missing(journey)])
    if sheet.problems:
        raise ConfigError(sheet.problems)
    return sheet.version


def is_stopped_by_file(include: Path, journey: str) -> bool:
    """Whether the journey's file says `status: stopped` now; a broken or missing file says nothing."""
    version = load(read_files(include)).versions.get(journey)
    return version is not None and version.journey.status == "stopped"


def _missing(journey: str) -> Problem:
    return Problem(
        f"include/journeys/{journey}.yaml",
        1,
        "the file is gone, and cohorts of this journey are in flight.",
        "Put it back, and say `status: draining` until they have finished.",
    )


def _find_engine() -> Engine | None:
    return connect() if is_at_hand() else None


def _ask(question, engine: Engine | None, *arguments):
    """The database's answer, or None without one: a DAG file has to be readable while the database is away."""
    if engine is None:
        return None
    try:
        return question(engine, *arguments)
    except (SQLAlchemyError, RetentionError) as error:
        log.warning("journeys are read without the database: %s", type(error).__name__)
        return None


def _last_good(engine: Engine, journey: str) -> Version | None:
    with engine.connect() as conn:
        content = last_content(conn, journey)
    return load_version(content) if content else None


def _fetch_in_flight(engine: Engine, journey: str) -> list[tuple[Version, int]]:
    """The texts unfinished cohorts are pinned to, each with how many they are."""
    with engine.connect() as conn:
        return [(load_version(content), cohorts) for content, cohorts in contents_in_flight(conn, journey)]


def _list_in_flight(engine: Engine) -> list[str]:
    with engine.connect() as conn:
        return journeys_in_flight(conn)
