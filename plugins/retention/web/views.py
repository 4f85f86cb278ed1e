"""What each page shows, as plain values for its template. Reads one snapshot of the database a page; no HTML here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, Row, text

from retention.insight import figures
from retention.insight.figures import Grid, StepFigures
from retention.insight.redemptions import count_coupons
from retention.insight.status import fetch_pauses, fetch_status, fetch_stops
from retention.intake import quality
from retention.journey.load import load_version
from retention.journey.models import Journey, Step
from retention.orchestration.desk import Sheet, lay_out
from retention.orchestration.outlook import look_ahead, say_moment
from retention.orchestration.pool_needs import find_pool_notes
from retention.store.versions import content_of_cohort, last_content
from retention.web import words

ZONE = "Asia/Shanghai"
"""Loads belong to no journey; their times are those of the commands."""

LOADS_A_PAGE = 10


@dataclass(frozen=True)
class Line:
    """A row of a table: a code, what it means, its count by channel, their sum and its share of the whole table."""

    code: str
    meaning: str
    cells: list[int]
    total: int
    share: str


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection that sees one moment, can write nothing and gives up on what takes too long."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as conn:
        conn.execute(text("set local statement_timeout = '30s'"))
        yield conn


def find_cohort_of_run(engine: Engine, journey: str, run_id: str) -> int | None:
    """The cohort that an Airflow run carries, if it has enrolled."""
    with snapshot(engine) as conn:
        return figures.find_run(conn, journey, run_id)


def view_journeys(engine: Engine, include: Path, now: datetime, readable: set[str]) -> dict:
    """Every journey that has a file or ever had a cohort, as far as the user may read it."""
    sheets, problems = lay_out(include, engine)
    with snapshot(engine) as conn:
        status, stops = fetch_status(conn), fetch_stops(conn)
        holds, pauses = quality.fetch_holds(conn), fetch_pauses(conn)
    names = sorted(readable & (set(sheets) | {row["journey"] for row in status}))
    stopped = {stop["journey"]: stop for stop in stops}
    return {
        "journeys": [
            {
                "id": name,
                "journey": sheets[name].version.journey if name in sheets else None,
                "is_broken": name in sheets and bool(sheets[name].problems),
                "stop": stopped.get(name),
                "modes": [row | {"last": _say_local(row["last_cohort_at"], sheets.get(name))}
                          for row in status if row["journey"] == name],
                "ahead": look_ahead(engine, sheets[name].version, now) if name in sheets else [],
            }
            for name in names
        ],
        "stop_of_all": stopped.get(None),
        "holds": len(holds),
        "pauses": pauses,
        "problems": len(problems),
    }  # fmt: skip


def view_journey(engine: Engine, include: Path, now: datetime, name: str, before: int | None) -> dict | None:
    """A page of a journey's cohorts, newest first. None for what never was a journey."""
    sheets, _ = lay_out(include, engine)
    with snapshot(engine) as conn:
        listed = figures.list_cohorts(conn, name, before)
        old_scores = figures.fetch_old_scores(conn, [row["cohort_id"] for row in listed])
        content = None if name in sheets else last_content(conn, name)
        stops = [stop for stop in fetch_stops(conn) if stop["journey"] in (None, name)]
        holds = quality.fetch_holds(conn)
        coupons = count_coupons(conn, name).get(name)
        drawing = [sheets[name].version] if name in sheets else []
        shortages = find_pool_notes(conn, now, drawing)
    version = sheets[name].version if name in sheets else load_version(content) if content else None
    if version is None:
        return None
    shown = listed[: figures.COHORTS_A_PAGE]
    return {
        "journey": version.journey,
        "cohorts": [
            row
            | {
                "moment": _say_short(row["cohort_at"], version.journey),
                "old_scores": _say_old_scores(old_scores.get(row["cohort_id"]), version.journey),
            }
            for row in shown
        ],
        "older": shown[-1]["cohort_id"] if len(listed) > len(shown) else None,
        "is_first_page": before is None,
        "is_broken": name in sheets and bool(sheets[name].problems),
        "is_gone": name not in sheets,
        "stop": stops[0] if stops else None,
        "holds": len(holds),
        "ahead": look_ahead(engine, version, now) if name in sheets else [],
        "coupons": coupons.say() if coupons else None,
        "shortages": [f"{it.what} {it.remedy}" for it in shortages],
    }


def view_cohort(
    engine: Engine, now: datetime, name: str, cohort_id: int, *, after: int, step: str | None, channel: str | None
) -> dict | None:
    """A cohort's numbers; for a test also a page of its outbox, of one step and channel or of all."""
    with snapshot(engine) as conn:
        cohort = figures.find_cohort_of(conn, name, cohort_id)
        if cohort is None:
            return None
        version = load_version(content_of_cohort(conn, cohort_id))
        entry, counted = figures.count_entry(conn, cohort_id), figures.count_steps(conn, cohort_id)
        troubles = figures.list_troubles(conn, cohort_id)
        runs = figures.list_runs(conn, cohort_id)
        old_scores = figures.fetch_old_scores(conn, [cohort_id]).get(cohort_id)
        is_shown = cohort.mode == "test"
        letters = figures.list_letters(conn, cohort_id, after=after, step=step, channel=channel) if is_shown else []
    journey = version.journey
    shown = letters[: figures.LETTERS_A_PAGE]
    return {
        **_describe(journey, cohort),
        "old_scores": _say_old_scores(old_scores, journey),
        "entry": entry,
        "unreachable": _list_lines(entry.unreachable, words.SKIPS, entry.entered),
        "refused": _list_lines(entry.refused, words.REFUSALS, entry.entered + sum(entry.refused.values())),
        "accepted": sum(it.count("accepted") for it in counted.values()),
        "steps": [_view_step(journey, it, cohort, counted.get(it.id, StepFigures()), now) for it in journey.steps],
        "troubles": [row | {"remedy": words.TROUBLES[row["state"]]} for row in troubles],
        "runs": runs,
        "is_shown": is_shown,
        "letters": shown,
        "next": shown[-1]["message_id"] if len(letters) > len(shown) else None,
        "is_first_page": after == 0,
        "picked": {"step": step, "channel": channel},
        "picks": [
            (it, c, n) for it, of in counted.items() for c, n in of.decisions.cells.get(("send", None), {}).items()
        ],
    }


def _say_old_scores(found: dict | None, journey: Journey) -> str:
    """That a cohort went by scores that were not of its day, in one sentence; nothing if it did not."""
    if found is None:
        return ""
    as_of, due = (_say_short(found[name], journey) for name in ("as_of", "due_at"))
    return f"It went by scores ({', '.join(found['scores'])}) of {as_of}: those of {due} were not there in time."


def view_letter(engine: Engine, now: datetime, name: str, cohort_id: int, message_id: int) -> dict | None:
    """One message of a test cohort's outbox."""
    with snapshot(engine) as conn:
        cohort = figures.find_cohort_of(conn, name, cohort_id)
        letter = figures.fetch_letter(conn, cohort_id, message_id) if cohort and cohort.mode == "test" else None
        if cohort is None or letter is None:
            return None
        journey = load_version(content_of_cohort(conn, cohort_id)).journey
    return {
        **_describe(journey, cohort),
        "letter": letter,
        "due": say_moment(letter["due_at"], journey, now),
    }


def view_data(engine: Engine, before: int | None) -> dict:
    """What came in, a page of loads, newest first, each with what was found; the holds that stand. No row of it."""
    with snapshot(engine) as conn:
        holds = quality.fetch_holds(conn)
        listed = quality.list_loads(conn, before, LOADS_A_PAGE + 1)
        shown = listed[:LOADS_A_PAGE]
        checks = quality.fetch_checks_of(conn, [load["import_id"] for load in shown])
    return {
        "zone": ZONE,
        "holds": [
            hold
            | {
                "since": _say_in_zone(hold["placed_at"]),
                "remedy": quality.find_remedy(hold["check"], hold["import_id"]),
            }
            for hold in holds
        ],
        "loads": [_view_load(load, [it for it in checks if it.import_id == load["import_id"]]) for load in shown],
        "older": shown[-1]["import_id"] if len(listed) > len(shown) else None,
        "is_first_page": before is None,
    }


def _view_load(load: dict, checks: list[quality.Check]) -> dict[str, Any]:
    summary = load["summary"] or {}
    tables = {name: counts or {} for name, counts in (summary.get("tables") or {}).items()}
    known = [it for it in words.ROWS if any(counts.get(it) for counts in tables.values())]
    bad = [it for it in checks if it.verdict in ("stop", "warn")]
    return {
        **load,
        "began": _say_in_zone(load["started_at"]),
        "took_s": round((load["ended_at"] - load["started_at"]).total_seconds()) if load["ended_at"] else None,
        "tables": [(name, [counts.get(it) or 0 for it in known]) for name, counts in tables.items()],
        "columns": known,
        "reasons": sorted((summary.get("reasons") or {}).items(), key=lambda it: -it[1]),
        "findings": sorted(bad, key=lambda it: it.verdict != "stop"),
        "others": [it for it in checks if it not in bad],
    }


def _say_in_zone(moment: datetime) -> str:
    return f"{moment.astimezone(ZoneInfo(ZONE)):%Y-%m-%d %H:%M}"


def _describe(journey: Journey, cohort: Row) -> dict[str, Any]:
    return {
        "journey": journey,
        "cohort": cohort,
        "moment": _say_short(cohort.cohort_at, journey),
        "moment_iso": cohort.cohort_at.astimezone(journey.zone).isoformat(timespec="minutes"),
    }


def _view_step(journey: Journey, step: Step, cohort: Row, counted: StepFigures, now: datetime) -> dict[str, Any]:
    due_at, expires_at = journey.due_at(step, cohort.cohort_at), journey.expires_at(step, cohort.cohort_at)
    channels = [it for it in step.send.order if it in counted.channels]
    channels += [it for it in counted.channels if it not in channels]
    return {
        "id": step.id,
        "due": say_moment(due_at, journey, now),
        "until": f"{expires_at:%Y-%m-%d %H:%M}",
        "is_due": cohort.is_on_time or due_at <= now,
        "is_retired": step.retired,
        "is_each": step.send.each,
        "counted": counted,
        "channels": channels,
        "decisions": _list_rows(counted.decisions, channels, _say_decision),
        "outcomes": _list_rows(counted.outcomes, channels, _say_outcome),
        "later": _list_rows(counted.later, channels, _say_outcome),
        "coupons": [(count, words.COUPONS.get(state, state)) for state, count in counted.coupons.items()],
    }


def _list_rows(grid: Grid, channels: list[str], say: Any) -> list[Line]:
    whole = grid.total
    return [
        Line(*say(*key), [row.get(it, 0) for it in channels], sum(row.values()), words.share(sum(row.values()), whole))
        for key, row in sorted(grid.cells.items(), key=lambda it: (it[0][0] != "send", -sum(it[1].values())))
    ]


def _say_decision(decision: str, reason: str | None) -> tuple[str, str]:
    return (reason, words.SKIPS.get(reason, "")) if reason else (decision, "gets the message")


def _say_outcome(outcome: str, reason: str | None) -> tuple[str, str]:
    meaning = words.OUTCOMES.get(outcome, "")
    why = {**words.SKIPS, **words.WAITS}.get(reason or "", reason)
    return outcome, f"{meaning}: {why}" if why else meaning


def _list_lines(counts: Mapping[str, int], meanings: Mapping[str, str], whole: int) -> list[Line]:
    return [Line(code, meanings.get(code, ""), [], n, words.share(n, whole)) for code, n in counts.items()]


def _say_short(moment: datetime, journey: Journey) -> str:
    return f"{moment.astimezone(journey.zone):%Y-%m-%d %H:%M}"


def _say_local(moment: datetime, sheet: Sheet | None) -> str:
    return _say_short(moment, sheet.version.journey) if sheet else f"{moment:%Y-%m-%d %H:%M} UTC"
