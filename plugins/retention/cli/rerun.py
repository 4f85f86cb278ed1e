"""`retention rerun`: a step once more, for some people of past cohorts."""

from __future__ import annotations

import sys
import uuid
from typing import Annotated

import typer

from retention.cli.shared import AsJson, JourneyName, app, fail, find_version, name_actor, open_store
from retention.console import dump, say, table


@app.command()
def rerun(
    journey: JourneyName,
    step: Annotated[str, typer.Option("--step", help="The step's id.")],
    cohorts: Annotated[
        str, typer.Option("--cohorts", help="The day on which they entered: 2026-12-01, or 2026-12-01..2026-12-07.")
    ],
    who: Annotated[str, typer.Option("--who", help="failed, never_attempted, unknown or everyone.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit log.")],
    mode: Annotated[str | None, typer.Option("--mode", help="live or test; default: both.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count who would get what.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask, even if somebody would get it twice.")] = False,
    as_json: AsJson = False,
) -> None:
    """A step once more for some people of past cohorts. Shows the numbers first, and asks where anybody would get it twice.

    Whatever forbids a message forbids it here, too. Without Airflow, to the end; the DAG rerun_step does the same."""
    from retention.delivery.accounts import read_account
    from retention.errors import TooEarly
    from retention.orchestration import cohort
    from retention.orchestration.rerun import count_fates
    from retention.orchestration.rerun import rerun as take
    from retention.orchestration.rerun_words import Wish, list_twice, parse_days, sum_up

    version, engine, key = find_version(journey), open_store(), f"cli:{uuid.uuid4().hex[:12]}"
    if mode not in (None, "live", "test"):
        fail(f'--mode: "{mode}" is none. Write live or test, or leave it out for both.')
    wish = Wish(journey, step, *parse_days(cohorts), who.replace("-", "_"), reason, mode)
    how = {
        "key": key,
        "actor": name_actor(),
        "policy": cohort.read_rules(),
        "is_stopped": version.journey.status == "stopped",
    }
    found = take(engine, version, wish, **how, is_dry=True)
    sums = sum_up(found)
    if not as_json:
        _show(found, sums)
    if dry_run or not sums["sends"]:
        if as_json:
            dump({**sums, "cohorts": [it.as_dict() for it in found], "dry_run": dry_run})
        else:
            say("Dry run: nothing was sent." if dry_run else "Nobody is to get anything: nothing was sent.")
        return
    if sums["twice"] and not yes:
        if not sys.stdin.isatty():
            fail(
                f"{sums['twice']:,} people would get it twice, and there is nobody here to ask. If that is right, add --yes."
            )
        typer.confirm(f"{sums['twice']:,} people had it before, or may have. Send it to them once more?", abort=True)
    approved_by = name_actor() if sums["twice"] else None
    done = take(engine, version, wish, **how, is_dry=False, approved_by=approved_by, approved=list_twice(found))
    waiting = []
    for number, it in enumerate(done, 1):
        for channel in cohort.list_channels(engine, it.cohort_id, step):
            for shard in it.shards:
                try:
                    cohort.deliver(
                        engine, it.cohort_id, step, channel,
                        **shard, policy=how["policy"], is_stopped=how["is_stopped"], find_account=read_account,
                    )  # fmt: skip
                except TooEarly as early:
                    waiting.append(f"{it.cohort_at:%Y-%m-%d %H:%M}: {early}")
        if not as_json and len(done) > 1:
            say(f"cohort {number} of {len(done)}: done")
    fates = count_fates(engine, key)
    if as_json:
        dump({**sum_up(done), "cohorts": [it.as_dict() for it in done], "outcomes": fates, "waiting": waiting})
        return
    say("", table(["what became of it", "messages"], list(fates.items())), *waiting)
    if waiting:
        say("What waits goes out with `--who never_attempted` when its hours begin, or when its `deliver` is cleared.")


def _show(found: list, sums: dict) -> None:
    rows = []
    for it in found:
        why = ", ".join(f"{reason} {count}" for reason, count in sorted(it.held_back.items())) or it.note
        rows.append((f"{it.cohort_at:%Y-%m-%d %H:%M}", it.mode, f"{it.sends:,}", f"{it.twice:,}", why))
    say(table(["cohort", "mode", "would get it", "had it before", "would not, and why"], rows))
    say(
        f"{sums['sends']:,} would get a message, {sums['twice']:,} of them had it before, or may have; {sums['held_back']:,} would not."
    )
