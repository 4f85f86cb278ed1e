"""`retention replay`: the journeys over history."""

from __future__ import annotations

import csv
import time
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from retention.cli.shared import AsJson, app, check_out, fail, find_version, include_folder, open_store, read_clock, read_workspace
from retention.console import dump, say, table


@app.command()
def replay(
    journeys: Annotated[
        list[str] | None, typer.Argument(help="Ids of journeys; without any, all that can be read.")
    ] = None,
    first: Annotated[str, typer.Option("--from", help="The first day on which cohorts enter: 2026-05-01.")] = "",
    last: Annotated[str, typer.Option("--to", help="The last day; what is due later is not decided.")] = "",
    as_known: Annotated[
        bool,
        typer.Option("--as-known", help="Facts count from when they were recorded; else from when they happened."),
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the decisions by day and step to this CSV.")] = None,
    as_json: AsJson = False,
) -> None:
    """Play the journeys over history: who would have been contacted, how often, at what cost. Nobody is, and nothing is kept.

    The real engine with its rules of contact, day by day, all journeys together, in a database that is made for it from a copy of
    the facts and dropped at the end."""
    from retention.journey.scores import load_scores
    from retention.orchestration.cohort import read_rules
    from retention.orchestration.replay import replay as play
    from retention.orchestration.scoring import bring_scores, needs_scores
    from retention.store.scratch import scratch_store

    begins, ends = _read_day("--from", first), _read_day("--to", last)
    check_out(out)
    if ends < begins:
        fail(f"--to: {ends} is before --from {begins}. Write the earlier day first.")
    versions = {name: find_version(name) for name in journeys} if journeys else dict(read_workspace().versions)
    if not versions:
        fail("include/journeys: there is no journey that can be read. `retention check` says why.")
    rules, engine, started = read_rules(), open_store(), time.monotonic()
    scores = load_scores(include_folder())

    today, so_far = read_clock().astimezone(next(iter(versions.values())).journey.zone).date(), [0]
    if ends > today:
        fail(f"--to: {ends} has not come yet. A replay plays history; its last day is {today} at the latest.")

    def tell(day: date, sent: int) -> None:
        if not as_json:
            say(f"{day}  {sent - so_far[0]:>9,} messages")
        so_far[0] = sent

    if not as_json:
        say("copying the facts ...")
    with scratch_store(engine, as_it_happened=not as_known) as scratch:
        copied_s = time.monotonic() - started
        refresh = (lambda on, at: bring_scores(on, at, scores)) if any(map(needs_scores, versions.values())) else None
        found = play(scratch, versions, begins, ends, policy=rules, refresh=refresh, on_day=tell)
    seconds = time.monotonic() - started - copied_s
    if out:
        _write(out, found.decisions)
    if as_json:
        dump(found.as_dict() | {"copy_s": round(copied_s, 1), "days_per_s": round(found.days / seconds, 2)})
        return
    _show(found)
    say(
        f"{found.days} days in {seconds:.0f} s ({found.days / seconds:.1f} a second), after {copied_s:.0f} s for copying the facts",
        f"fingerprint {found.fingerprint[:16]}: the same for every replay of these files over these facts",
        *([f"wrote {out}"] if out else []),
    )


def _read_day(option: str, given: str) -> date:
    try:
        return date.fromisoformat(given)
    except ValueError:
        said = f'"{given}" is no day' if given else "is missing"
        fail(f"{option}: {said}. Write it like 2026-05-01.")


def _show(found) -> None:
    entered = [(it["journey"], it["arm"], it["people"], it["eligible"]) for it in found.entered]
    say("", table(["journey", "arm", "people", "could be reached"], entered))
    sums: dict[tuple, list[int]] = {}
    for it in found.decisions:
        key = (it["journey"], it["step"], it["channel"], it["reason"] or it["decision"])
        each = sums.setdefault(key, [0, 0])
        each[0] += it["messages"]
        each[1] += it["accepted"]
    say(
        "",
        table(
            ["journey", "step", "channel", "decision", "people", "went out"],
            [(*key, *each) for key, each in sums.items()],
        ),
    )
    people = sum(it["people"] for it in found.contacts)
    messages = sum(it["people"] * it["messages"] for it in found.contacts)
    if people:
        most = max(it["messages"] for it in found.contacts)
        say("", f"{messages:,} messages to {people:,} people: {messages / people:.1f} each, {most} at most, "
            f"never more than {found.busiest} contacts a day")  # fmt: skip
    if found.coupons:
        rows = [
            (
                it["journey"],
                it["step"],
                it["kind"] if it["value"] is None else f"{it['kind']} {it['value']:g}",
                it["issued"],
                it["ordered"],
                " + ".join(f"{currency} {cost:,.2f}" for currency, cost in sorted(it["cost"].items())) or "-",
            )
            for it in found.coupons
        ]
        say("", table(["journey", "step", "coupon", "issued", "ordered meanwhile", "cost at most"], rows))
    for line in found.held:
        say(f"would have waited for an approval of its size: {line}")
    for line in found.troubles:
        say(f"books that did not close: {line}")
    if found.open:
        say(f"{found.open} cohorts were under way at the end")


def _write(path: Path, decisions: list[dict]) -> None:
    columns = ["day", "journey", "step", "channel", "decision", "reason", "messages", "accepted", "withheld"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(decisions)
