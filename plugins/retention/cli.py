"""The command line: `retention ...`. Says what happens in words and tables; decides nothing itself.

Heavy modules are imported inside the commands that need them, so that light ones answer in under a second.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Never

import typer

from retention.console import REFUSALS, SHANGHAI, decisions_table, dump, handled_table, say, table
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


def main() -> None:
    """Run a command; what a person can act on ends in one readable text and exit code 1, never in a traceback."""
    try:
        app()
    except RetentionError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
    except Exception as error:
        # The database's own complaints; told apart without importing SQLAlchemy, which light commands do without.
        complaint = getattr(error, "orig", None)
        if complaint is None:
            raise
        reason = str(complaint).strip().splitlines()[0]
        print(f"database: {reason}. Every step is one transaction: it is safe to try again.", file=sys.stderr)
        raise SystemExit(1) from None


def _fail(text: str) -> Never:
    raise RetentionError(text)


def _include() -> Path:
    from retention.store.database import ROOT

    return ROOT / "include"


def _problems() -> list[Problem]:
    """Every mistake in the files; with a database at hand also steps that people in flight would miss."""
    from retention.orchestration.desk import lay_out

    return lay_out(_include())[1]


def _workspace() -> Workspace:
    from retention.journey.files import read_files
    from retention.journey.load import load

    return load(read_files(_include()))


def _version(name: str) -> Version:
    """The journey of this id from the files. Raises ConfigError with its problems, RetentionError when there is none."""
    import difflib

    workspace = _workspace()
    if name in workspace.versions:
        return workspace.versions[name]
    if name in workspace.broken:
        raise ConfigError(workspace.broken[name])
    near = difflib.get_close_matches(name, [*workspace.versions, *workspace.broken], 1)
    known = ", ".join(sorted({*workspace.versions, *workspace.broken})) or "none"
    hint = f'Did you mean "{near[0]}"?' if near else f"There is: {known}."
    _fail(f'include/journeys: no journey "{name}". {hint}')


def _moment(version: Version, given: str | None, now: datetime) -> datetime:
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
        _fail(f'--date: "{given}" is no day and no moment. Write 2026-12-01 or 2026-12-01T06:00+08:00.')
    # A look at a day before the journey starts is a fair question: ask the cron line alone.
    early = journey.model_copy(update={"starts_on": date.min})
    moments = moments_on(early, day)
    if not moments:
        _fail(f"--date: {journey.journey} has no cohort on {day} (schedule {journey.schedule}). Choose another day.")
    return moments[0]


def _engine() -> Any:
    from retention.store.database import connect
    from retention.store.migrate import is_current

    engine = connect()
    if not is_current(engine):
        _fail("database: its schema is not the one this code needs. Run `retention migrate` (or `make run`).")
    return engine


def _now() -> datetime:
    return datetime.now(UTC)


def _actor() -> str:
    return os.environ.get("USER") or "somebody at the command line"


@app.command()
def check(
    paths: Annotated[list[Path] | None, typer.Argument(help="Journey files or folders; default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read all journeys, templates and audiences; print every mistake with file, line and remedy."""
    problems, names = _problems(), sorted(_workspace().versions)
    if paths:
        wanted = [path.resolve() for path in paths]
        for path in wanted:
            if not path.exists():
                _fail(f"{path}: there is no such file or folder. Give journey files, or nothing to check all.")
        root = _include().parent
        problems = [p for p in problems if any((root / p.path).resolve().is_relative_to(path) for path in wanted)]
    if as_json:
        dump(
            {
                "journeys": names,
                "problems": [vars(p) | {"text": str(p)} for p in problems],
            }
        )
    elif problems:
        for problem in problems:
            print(problem)
        print(f"\n{len(problems)} {'problem' if len(problems) == 1 else 'problems'}.", file=sys.stderr)
    else:
        print(f"All right: {', '.join(names) or 'no journeys'}.")
    if problems:
        raise typer.Exit(1)


@app.command()
def new(
    journey: JourneyName,
    audience: Annotated[str, typer.Option(help="Who enters: a file in include/sql/audiences.")] = "birthday_in_3_days",
) -> None:
    """Write a commented journey and templates to start from."""
    from retention.journey.starter import starter

    written = starter(journey, audience=audience, starts_on=_now().astimezone(SHANGHAI).date())
    for path in written:
        if (_include() / path).exists():
            _fail(f"include/{path}: it is there already. Choose another name, or edit it.")
    for path, text in written.items():
        place = _include() / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        print(f"wrote include/{path}")
    print(f"Now edit it; `retention check` reads it, `retention plan {journey}` shows who would get what.")


@app.command()
def plan(
    journey: JourneyName,
    when: When = None,
    as_json: AsJson = False,
) -> None:
    """Dry run: who would get what, and why not. The real statements, rolled back; nothing is written or sent."""
    from retention.orchestration.dryrun import dry_run

    version = _version(journey)
    now = _now()
    shown = dry_run(_engine(), version, _moment(version, when, now), now=now)
    if as_json:
        dump(shown.as_dict())
        return
    entered = shown.entered
    say(
        f"{journey}, cohort of {shown.cohort_at:%Y-%m-%d %H:%M} {version.journey.timezone}, mode {entered.mode}"
        + (" (it has entered already: its decisions stand)" if entered.is_joined else "")
        + "  -  a dry run, nothing is written"
    )
    say(f"{entered.enrolled} enter: {entered.eligible} can be reached, {entered.holdout} are in the holdout")
    if entered.held:
        say(f"It would be held: {entered.held}")
    if entered.refused:
        said = [f"{count} {reason} ({REFUSALS[reason]})" for reason, count in entered.refused.items()]
        say("not taken in: " + ", ".join(said))
    say("", decisions_table(shown.decided))
    say("Later steps are decided as if nothing happened in between and every message arrived.")
    if shown.sms["messages"]:
        about = "about " if shown.sms["is_estimate"] else ""
        say(f"SMS: {shown.sms['messages']} messages, {about}{shown.sms['segments']} segments")
    for coupon in shown.coupons:
        cost = coupon["cost"]
        at_most = (
            f", at most {cost['currency']} {cost['at_most']:,.2f} if all are used on an average order" if cost else ""
        )
        say(f"coupons ({coupon['step']}): {coupon['count']} of {coupon['value']:g} %{at_most}")
    for example in shown.examples:
        say("", f"--- {example['step']}, {example['channel']}, {example['locale']}, customer {example['customer']}")
        if example.get("error"):
            say(f"can't be written: {example['error']}")
            continue
        if example["subject"]:
            say(f"Subject: {example['subject']}")
        say(example["text"])


@app.command()
def run(
    journey: JourneyName,
    when: When = None,
    mode: Annotated[str | None, typer.Option(help="live or test; default: what the journey says.")] = None,
    on_time: Annotated[
        bool, typer.Option("--on-time", help="Pretend that each step runs at its due moment (mode test only).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Carry a cohort through its steps without Airflow, as far as they are due. The same code; safe to repeat."""
    from retention.orchestration.alone import run_cohort

    if mode not in (None, "live", "test"):
        _fail(f'--mode: "{mode}" is no mode. Write live or test.')
    if on_time and mode == "live":
        _fail("--on-time: only a test may pretend that its waits are over. Leave out --mode live.")
    version = _version(journey)
    progress = (lambda line: None) if as_json else say
    result = run_cohort(
        _engine(),
        version,
        _moment(version, when, _now()),
        mode="test" if on_time else mode,
        is_on_time=on_time,
        actor=_actor(),
        on_progress=progress,
    )
    if as_json:
        dump(result.as_dict())
        return
    entered = result.entered
    say(
        f"{journey}, cohort of {result.cohort_at:%Y-%m-%d %H:%M} {version.journey.timezone}, mode {entered.mode}: "
        f"{entered.enrolled} {'had entered' if entered.is_joined else 'entered'}, {entered.holdout} in the holdout"
    )
    say("", decisions_table(result.decided), "", handled_table(result.handled))
    say(*result.waiting)


@app.command()
def explain(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    as_json: AsJson = False,
) -> None:
    """Every decision about one customer with its reason, by time."""
    from retention.insight.explain import explain_customer

    with _engine().connect() as conn:
        story = explain_customer(conn, customer)
    if story is None:
        _fail(f'customer "{customer}": nobody has this id. Look in the table customers: `retention db`.')
    if as_json:
        dump({"customer": customer, "story": story})
        return
    rows = [
        (
            f"{s['at'].astimezone(SHANGHAI):%Y-%m-%d %H:%M}",
            s["mode"],
            s["journey"],
            s["step"],
            s["what"],
            s["channel"],
            s["detail"],
        )
        for s in story
    ]
    say(table(["at (Asia/Shanghai)", "mode", "journey", "step", "what", "channel", "why"], rows))
    if not rows:
        say("No journey has decided anything about this customer.")


@app.command()
def status(as_json: AsJson = False) -> None:
    """How the journeys stand: cohorts, what is in doubt or failed, what is stopped, what comes next."""
    from retention.insight.status import fetch_status, fetch_stops
    from retention.orchestration.outlook import look_ahead

    engine = _engine()
    workspace = _workspace()
    with engine.connect() as conn:
        rows, standing = fetch_status(conn), fetch_stops(conn)
    ahead = {name: look_ahead(engine, version, _now()) for name, version in sorted(workspace.versions.items())}
    if as_json:
        dump({"journeys": rows, "stops": standing, "ahead": ahead, "problems": [str(p) for p in workspace.problems]})
        return
    for stop_row in standing:
        who = stop_row["journey"] or "ALL JOURNEYS"
        lift = stop_row["journey"] or "--all"
        say(
            f"STOPPED: {who}, by {stop_row['stopped_by']}: {stop_row['reason']}. `retention stop {lift} --lift` ends it."
        )
    columns = ["journey", "mode", "open", "held", "settled", "last cohort (Asia/Shanghai)", "in doubt", "failed"]
    say(
        table(
            columns,
            [
                (
                    r["journey"], r["mode"], r["open"], r["held"], r["settled"],
                    f"{r['last_cohort_at'].astimezone(SHANGHAI):%Y-%m-%d %H:%M}", r["in_doubt"], r["failed"],
                )
                for r in rows
            ],
        )
    )  # fmt: skip
    for r in rows:
        if r["error"]:
            say(f"{r['journey']}: a batch failed: {r['error']}")
    for name, lines in ahead.items():
        version = workspace.versions[name].journey
        say("", f"{name} ({version.status}, {'live' if version.live else 'outbox only'})", *[f"  {x}" for x in lines])
    if workspace.problems:
        say("", f"{len(workspace.problems)} problems in the files: `retention check` shows them.")


@app.command()
def stop(
    journey: Annotated[str | None, typer.Argument(help="The journey's id.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every journey.")] = False,
    lift: Annotated[bool, typer.Option("--lift", help="End the stop instead.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the audit log.")] = "no reason given",
    as_json: AsJson = False,
) -> None:
    """The kill switch: nothing more of a journey is handed over, from the next request on."""
    from retention.insight.status import count_waiting, lift_stop, stop_sending

    if bool(journey) == everything:
        _fail('stop: say which journey, or --all. Example: retention stop birthday_care --reason "wrong price"')
    if journey and not lift:
        _known_journey(journey)
    with _engine().begin() as conn:
        change = lift_stop if lift else stop_sending
        is_changed = change(conn, journey, reason=reason, actor=_actor(), now=_now())
        waiting = count_waiting(conn, journey)
    who = journey or "all journeys"
    if as_json:
        dump({"journey": journey, "is_stopped": not lift, "is_changed": is_changed, "waiting": waiting})
    elif lift:
        say(f"{who}: sending goes on." if is_changed else f"{who}: no such stop stood.")
    else:
        say(f"{who}: stopped." if is_changed else f"{who}: was stopped already.")
        say(f"{waiting} planned messages are held back and will be recorded as withheld: stopped.")
        say(f"To go on: retention stop {journey or '--all'} --lift")


def _known_journey(name: str) -> None:
    """A stop must work for a journey whose file is broken or gone, too: its name is enough."""
    workspace = _workspace()
    if name in workspace.versions or name in workspace.broken:
        return
    from retention.store.versions import last_content

    with _engine().connect() as conn:
        if last_content(conn, name) is None:
            _version(name)


@app.command()
def approve(
    journey: JourneyName,
    when: When = None,
) -> None:
    """Let in a cohort that is held because it is far above its usual size."""
    from retention.orchestration.cohort import enroll

    version = _version(journey)
    moment = _moment(version, when, _now())
    entered = enroll(_engine(), version, moment, is_size_approved=True, actor=_actor())
    say(
        f"{journey}, cohort of {moment:%Y-%m-%d %H:%M}: {entered.enrolled} customers are in. "
        "Clear the task `enroll` of this run in Airflow, and it goes on."
    )


@app.command()
def sample(
    customers: Annotated[int, typer.Option(min=0, help="How many customers.")] = 20000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same store.")] = 7,
    today: Annotated[
        str | None, typer.Option("--date", help="The day on which its history ends; default today.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fill an empty store with a reproducible sample shop: customers, orders, events, consents."""
    from retention.orchestration.sampling import load_sample

    counts = load_sample(_engine(), customers, seed, today, on_progress=(lambda line: None) if as_json else say)
    dump(counts) if as_json else say(*[f"{count:>10,} {name}" for name, count in counts.items()])


@app.command()
def migrate() -> None:
    """Create the database if need be and bring it to the newest schema."""
    from retention.store.database import database_url
    from retention.store.migrate import migrate as bring_up

    bring_up(database_url())
    print("The database is up to date.")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def db(
    context: typer.Context,
    psql: Annotated[bool, typer.Option("--psql", help="Open psql in it; what follows goes to psql.")] = False,
) -> None:
    """The database's address, or (--psql) a psql in it."""
    import subprocess

    from sqlalchemy.engine import make_url

    from retention.store.database import connect, database_url

    if not psql:
        print(make_url(database_url()).set(drivername="postgresql").render_as_string(hide_password=True))
        return
    from retention.store.postgres_programs import programs_folder

    url = connect().url
    # Through the environment: a password must not stand in the process list.
    names = {"PGHOST": url.host or url.query.get("host"), "PGPORT": url.port, "PGUSER": url.username,
             "PGPASSWORD": url.password, "PGDATABASE": url.database}  # fmt: skip
    environment = {**os.environ, **{name: str(value) for name, value in names.items() if value}}
    raise typer.Exit(subprocess.run([programs_folder() / "psql", *context.args], env=environment).returncode)


@app.command()
def up() -> None:
    """Start everything on this machine: Postgres, Airflow, a sample store. What `make run` calls."""
    from retention.orchestration.local import up as start

    raise typer.Exit(start())
