"""Commands about journeys: check, new, plan, run, status, stop, approve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from retention.cli.shared import (
    AsJson,
    JourneyName,
    When,
    app,
    fail,
    find_moment,
    find_pool_notes,
    find_problems,
    find_version,
    include_folder,
    name_actor,
    open_store,
    read_clock,
    read_workspace,
)
from retention.console import REFUSALS, SHANGHAI, decisions_table, dump, handled_table, say, table


@app.command()
def check(
    paths: Annotated[list[Path] | None, typer.Argument(help="Journey files or folders; default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read all journeys, templates, audiences, the rules of contact and the law; print every mistake with file, line and
    remedy, and what would be one with live: true."""
    workspace = read_workspace()
    problems, names = find_problems(), sorted(workspace.versions)
    notes = sorted({*workspace.notes, *find_pool_notes(workspace)})
    if paths:
        wanted = [path.resolve() for path in paths]
        for path in wanted:
            if not path.exists():
                fail(f"{path}: there is no such file or folder. Give journey files, or nothing to check all.")
        root = include_folder().parent

        def is_wanted(path: str) -> bool:
            return any((root / path).resolve().is_relative_to(each) for each in wanted)

        # What keeps one of these journeys from running counts, wherever it stands: a rule of contact, a shared template.
        asked = {it for it in {*names, *workspace.broken} if is_wanted(f"include/journeys/{it}.yaml")}
        around = {problem for it in asked for problem in workspace.broken.get(it, ())}
        problems = sorted({*filter(lambda it: is_wanted(it.path), problems), *around})
        notes = [it for it in notes if is_wanted(it.path)]
        names = [it for it in names if it in asked] if asked else names
    if as_json:
        dump(
            {
                "journeys": names,
                "problems": [vars(p) | {"text": str(p)} for p in problems],
                "notes": [vars(p) | {"text": str(p)} for p in notes],
            }
        )
    elif problems:
        for problem in problems:
            print(problem)
        print(f"\n{len(problems)} {'problem' if len(problems) == 1 else 'problems'}.", file=sys.stderr)
    else:
        print(f"All right: {', '.join(names) or 'no journeys'}.")
    if notes and not as_json:
        print("\nBefore live: true:", *notes, sep="\n")
    if problems:
        raise typer.Exit(1)


@app.command()
def new(
    journey: JourneyName,
    audience: Annotated[
        str | None, typer.Option(help="Who enters: a file in include/sql/audiences; default: birthday_in_3_days.")
    ] = None,
    like: Annotated[str | None, typer.Option(help="Copy this journey, with templates of its own.")] = None,
) -> None:
    """Write a commented journey and templates to start from, or a copy of another journey."""
    from retention.journey.starter import copy, starter

    if like and audience:
        fail("--audience: a copy has the audience of its journey. Leave it out, and change audience: in the new file.")
    today = read_clock().astimezone(SHANGHAI).date()
    if like:
        written = copy(find_version(like), journey, starts_on=today)
    else:
        written = starter(journey, audience=audience or "birthday_in_3_days", starts_on=today)
    for path in written:
        if (include_folder() / path).exists():
            fail(f"include/{path}: it is there already. Choose another name, or edit it.")
    for path, text in written.items():
        place = include_folder() / path
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
    from retention.orchestration.cohort import read_rules
    from retention.orchestration.dryrun import dry_run

    version = find_version(journey)
    now = read_clock()
    shown = dry_run(open_store(), version, find_moment(version, when, now), policy=read_rules(), now=now)
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
    for name, counts in shown.groups.items():
        say(f"by {name}: " + ", ".join(f"{count:,} {value}" for value, count in counts.items()))
    if shown.data_hold:
        say(f"It would wait: {shown.data_hold}")
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
        on_average = " on an average order" if cost and "average_order" in cost else ""
        at_most = f", at most {cost['currency']} {cost['at_most']:,.2f} if all are used{on_average}" if cost else ""
        parts = ", ".join(f"{part['count']:,} of {part['title']}" for part in coupon["parts"])
        say(f"coupons ({coupon['step']}): {parts}{at_most}")
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
    mode: Annotated[
        str | None,
        typer.Option(help='test, live, or for a day gone by "live, for past dates too"; default: as the journey says, for a day gone by test.'),
    ] = None,
    on_time: Annotated[
        bool, typer.Option("--on-time", help="Pretend that each step runs at its due moment (mode test only).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Carry a cohort through its steps without Airflow, as far as they are due. The same code; safe to repeat."""
    from retention.orchestration.alone import run_cohort
    from retention.orchestration.past_days import LIVE, is_past_run, read_mode

    if mode not in (None, "live", "test", LIVE):
        fail(f'--mode: "{mode}" is no mode. Write live or test.')
    if on_time and mode in ("live", LIVE):
        fail("--on-time: only a test may pretend that its waits are over. Leave out --mode live.")
    version, now = find_version(journey), read_clock()
    moment = find_moment(version, when, now)
    is_past = is_past_run(version.journey, "manual", moment, now)
    if is_past and mode == "live":
        fail(f'--mode: {when} is a day gone by. If people are to get now what was for then, write --mode "{LIVE}".')
    progress = (lambda line: None) if as_json else say
    result = run_cohort(
        open_store(),
        version,
        moment,
        mode=read_mode({"mode": mode, "on_time": on_time}, "manual"),
        is_past=is_past,
        is_on_time=on_time,
        actor=name_actor(),
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
    if result.decided:
        say("", decisions_table(result.decided))
    if result.handled:
        say("", handled_table(result.handled))
    say(*result.waiting)


@app.command()
def status(as_json: AsJson = False) -> None:
    """How the journeys stand: cohorts, what is in doubt or failed, what is stopped, what comes next."""
    from retention.insight.redemptions import count_coupons
    from retention.insight.status import fetch_pauses, fetch_status, fetch_stops
    from retention.intake.quality import find_hold
    from retention.orchestration.outlook import look_ahead
    from retention.orchestration.pool_needs import list_shortages

    engine = open_store()
    workspace = read_workspace()
    with engine.connect() as conn:
        rows, standing, data_hold = fetch_status(conn), fetch_stops(conn), find_hold(conn)
        pauses = fetch_pauses(conn)
        coupons, shortages = count_coupons(conn), list_shortages(conn, read_clock(), workspace.versions.values())
    ahead = {name: look_ahead(engine, version, read_clock()) for name, version in sorted(workspace.versions.items())}
    if as_json:
        dump(
            {
                "journeys": rows,
                "stops": standing,
                "data_hold": data_hold,
                "pauses": pauses,
                "coupons": {name: figures.as_dict() for name, figures in coupons.items()},
                "shortages": shortages,
                "ahead": ahead,
                "problems": [str(p) for p in workspace.problems],
            }
        )
        return
    for stop_row in standing:
        who = stop_row["journey"] or "ALL JOURNEYS"
        lift = stop_row["journey"] or "--all"
        say(
            f"STOPPED: {who}, by {stop_row['stopped_by']}: {stop_row['reason']}. `retention stop {lift} --lift` ends it."
        )
    if data_hold:
        say(f"HELD: {data_hold}")
    for pause in pauses:
        say(f"PAUSED: {pause['account']} for {pause['wait_s']:.0f} s more: {pause['error']}. It goes on by itself.")
    say(*(f"SHORT: {line}" for line in shortages))
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
    for name, figures in coupons.items():
        say(f"{name}: {figures.say()}")
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
        fail('stop: say which journey, or --all. Example: retention stop birthday_care --reason "wrong price"')
    if journey and not lift:
        _known_journey(journey)
    with open_store().begin() as conn:
        change = lift_stop if lift else stop_sending
        is_changed = change(conn, journey, reason=reason, actor=name_actor(), now=read_clock())
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
    workspace = read_workspace()
    if name in workspace.versions or name in workspace.broken:
        return
    from retention.store.versions import last_content

    with open_store().connect() as conn:
        if last_content(conn, name) is None:
            find_version(name)


@app.command()
def approve(
    journey: JourneyName,
    when: When = None,
) -> None:
    """Let in a cohort that is held because it is far above its usual size."""
    from retention.orchestration.cohort import enroll

    version = find_version(journey)
    moment = find_moment(version, when, read_clock())
    entered = enroll(open_store(), version, moment, is_size_approved=True, actor=name_actor())
    say(
        f"{journey}, cohort of {moment:%Y-%m-%d %H:%M}: {entered.enrolled} customers are in. "
        "Clear the task `enroll` of this run in Airflow, and it goes on."
    )
