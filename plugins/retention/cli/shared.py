"""What all commands share: the app, where things are, who is at the keyboard, the present."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Never

import typer

from retention.errors import ConfigError, Problem, RetentionError

if TYPE_CHECKING:
    from retention.journey.load import Version, Workspace

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Customer journeys on Apache Airflow.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
JourneyName = Annotated[str, typer.Argument(help="The journey's id: its file's name without .yaml.")]
When = Annotated[str | None, typer.Option("--date", help="A day (2026-12-01) or a moment (2026-12-01T06:00+08:00).")]


def fail(text: str) -> Never:
    """Ends the command with this text."""
    raise RetentionError(text)


def check_out(path: Path | None) -> None:
    """Refuses an --out that can't be written, before any work is done for it."""
    if path is None:
        return
    if path.is_dir():
        fail(f"--out: {path} is a folder. Name a file in it.")
    if not path.parent.is_dir():
        fail(f"--out: there is no folder {path.parent}. Make it, or name another place.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        fail(f"--out: {path} can't be written: the rights do not allow it. Name another place.")


def include_folder() -> Path:
    """The folder of journeys, templates, mappings and SQL."""
    from retention.store.database import ROOT

    return ROOT / "include"


def find_problems() -> list[Problem]:
    """Every mistake in journeys, the rules of contact, scores, tiers' words, mappings, the sync and the limits of quality; with a database
    at hand also steps that people in flight would miss."""
    from retention.intake import quality_policy, sync_plan
    from retention.journey import scores, segments
    from retention.orchestration.desk import lay_out

    include = include_folder()
    of_data = sync_plan.find_problems(include) + quality_policy.find_problems(include)
    return sorted({*lay_out(include)[1], *of_data, *scores.find_problems(include), *segments.find_problems(include)})


def find_pool_notes(workspace: Workspace) -> list[Problem]:
    """Pools that have too few codes for the journeys that draw from them; nothing where no database is at hand."""
    from sqlalchemy.exc import SQLAlchemyError

    from retention.orchestration import pool_needs
    from retention.store.database import connect, is_at_hand

    drawing = [version for version in workspace.versions.values() if pool_needs.pools_of(version)]
    if not drawing or not is_at_hand():
        return []
    try:
        with connect().connect() as conn:
            return pool_needs.find_pool_notes(conn, read_clock(), drawing)
    except SQLAlchemyError:
        return []


def read_workspace() -> Workspace:
    """All journeys of the files."""
    from retention.journey.files import read_files
    from retention.journey.load import load

    return load(read_files(include_folder()))


def find_version(name: str) -> Version:
    """The journey of this id from the files. Raises ConfigError with its problems, RetentionError when there is none."""
    import difflib

    workspace = read_workspace()
    if name in workspace.versions:
        return workspace.versions[name]
    if name in workspace.broken:
        raise ConfigError(workspace.broken[name])
    near = difflib.get_close_matches(name, [*workspace.versions, *workspace.broken], 1)
    known = ", ".join(sorted({*workspace.versions, *workspace.broken})) or "none"
    hint = f'Did you mean "{near[0]}"?' if near else f"There is: {known}."
    fail(f'include/journeys: no journey "{name}". {hint}')


def find_moment(version: Version, given: str | None, now: datetime) -> datetime:
    """The cohort's moment that --date names: a moment as it is, a day's first firing, default the last one."""
    from retention.journey.firing import last_moment, moments_on, next_moment

    journey = version.journey
    if given is None:
        return last_moment(journey, now) or next_moment(journey, now)
    try:
        if len(given) > 10:
            moment = datetime.fromisoformat(given)
            return moment if moment.tzinfo else moment.replace(tzinfo=journey.zone)
        day = date.fromisoformat(given)
    except ValueError:
        fail(f'--date: "{given}" is no day and no moment. Write 2026-12-01 or 2026-12-01T06:00+08:00.')
    # A look at a day before the journey starts is a fair question: ask the cron line alone.
    early = journey.model_copy(update={"starts_on": date.min})
    moments = moments_on(early, day)
    if not moments:
        fail(f"--date: {journey.journey} has no cohort on {day} (schedule {journey.schedule}). Choose another day.")
    return moments[0]


def read_instant(given: str | None, now: datetime) -> datetime:
    """The instant that --date names: a moment as it is, of a day its end in Shanghai, never later than now; default now."""
    from retention.console import SHANGHAI

    if given is None:
        return now
    try:
        moment = datetime.fromisoformat(given)
        if len(given) <= 10:
            moment = datetime.combine(moment.date() + timedelta(days=1), time(), SHANGHAI) - timedelta(seconds=1)
    except (ValueError, OverflowError):
        fail(f'--date: "{given}" is no day and no moment. Write 2026-12-01 or 2026-12-01T06:00+08:00.')
    return min(moment if moment.tzinfo else moment.replace(tzinfo=SHANGHAI), now)


def open_store() -> Any:
    """The database. Raises RetentionError when its schema is not the one this code needs."""
    from retention.store.database import connect
    from retention.store.migrate import is_current

    engine = connect()
    if not is_current(engine):
        fail("database: its schema is not the one this code needs. Run `retention migrate` (or `make run`).")
    return engine


def read_clock() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


def name_actor() -> str:
    """Who is at the keyboard, for the audit log."""
    return os.environ.get("USER") or "somebody at the command line"
