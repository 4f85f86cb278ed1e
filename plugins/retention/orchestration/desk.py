"""Which journeys there are right now: the files, and for those that are broken their last good text.

Knows no Airflow. Reads the database only where one is named, never starts one, and does without when it is away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


def lay_out(
    include: Path, engine: Engine | None = None, *, may_drop_steps: bool = False
) -> tuple[dict[str, Sheet], list[Problem]]:
    """Every journey that can have a DAG, by id, and all problems of all files.

    A journey is broken by mistakes, and by a step that vanished while people who are to get it are in flight; not so if
    it `may_drop_steps`, because Airflow keeps runs on the commit they began on. A broken one is laid out in the text its
    last cohort entered on; one that never ran has no sheet. So is one whose file is gone while cohorts are in flight. An
    error that nobody thought of is one journey's problem, too.
    """
    workspace = load(read_files(include))
    archive = _Archive(engine)
    gone = set(archive.list_in_flight()) - set(workspace.versions) - set(workspace.broken)
    problems, sheets = list(workspace.problems), {}
    for name in sorted({*workspace.versions, *workspace.broken, *gone}):
        version = workspace.versions.get(name)
        mistakes = workspace.broken.get(name) or ([] if version else [_missing(name)])
        try:
            sheet = _lay_out_one(name, version, mistakes, archive, may_drop_steps)
        except Exception as error:
            log.exception("journey %s could not be laid out", name)
            mistakes = [*mistakes, report_bug(name, error)]
            sheet = Sheet(version, mistakes) if version else None
        problems += sheet.problems if sheet else mistakes
        if sheet:
            sheets[name] = sheet
    return sheets, sorted(set(problems))


def _lay_out_one(
    name: str, version: Version | None, mistakes: list[Problem], archive: _Archive, may_drop_steps: bool
) -> Sheet | None:
    flying = archive.fetch_in_flight(name)
    if version and not may_drop_steps:
        mistakes = sorted({p for old, cohorts in flying for p in check_changes(old, version, cohorts)})
    shown = (archive.fetch_last_good(name) if mistakes else None) or version
    return Sheet(shown, mistakes, [old for old, _ in flying]) if shown else None


def report_bug(journey: str, error: Exception) -> Problem:
    """An error that nobody thought of. Only its kind is told: its text may hold anything."""
    what = f"this journey can't be shown in Airflow ({type(error).__name__})."
    return Problem(
        f"include/journeys/{journey}.yaml", 1, what, "That is a mistake of ours: see the dag-processor's log."
    )


def pick_version(include: Path, journey: str, engine: Engine, *, may_drop_steps: bool = False) -> Version:
    """The text a new cohort of this journey enters on. Raises ConfigError with its file's problems."""
    sheets, problems = lay_out(include, engine, may_drop_steps=may_drop_steps)
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


class _Archive:
    """What the database knows of journeys. Silent from the first time it does not answer: a DAG file has to be readable
    while the database is away, and soon."""

    def __init__(self, engine: Engine | None):
        self._given = engine
        self._is_silent = False

    def list_in_flight(self) -> list[str]:
        """The journeys that have unfinished cohorts."""
        return self._ask(journeys_in_flight) or []

    def fetch_in_flight(self, journey: str) -> list[tuple[Version, int]]:
        """The texts unfinished cohorts are pinned to, each with how many they are."""
        found = [(_load(content), cohorts) for content, cohorts in self._ask(contents_in_flight, journey) or []]
        return [(version, cohorts) for version, cohorts in found if version]

    def fetch_last_good(self, journey: str) -> Version | None:
        """The text the journey's last cohort entered on."""
        content = self._ask(last_content, journey)
        return _load(content) if content else None

    def _ask(self, question: Callable, *arguments: str) -> Any:
        if self._is_silent:
            return None
        try:
            engine = self._given or (connect() if is_at_hand() else None)
            if engine is None:
                return None
            with engine.connect() as conn:
                return question(conn, *arguments)
        except (SQLAlchemyError, RetentionError) as error:
            log.warning("journeys are read without the database: %s", type(error).__name__)
            self._is_silent = True
            return None


def _load(content: dict[str, str]) -> Version | None:
    """The stored text, or None for one that today's language no longer takes: its own tasks will say so."""
    try:
        return load_version(content)
    except ConfigError:
        log.exception("a stored text can't be read any more")
        return None
