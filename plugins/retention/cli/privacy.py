"""Commands about a person's rights, and about how long records are kept."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from retention.cli.shared import AsJson, app, check_out, fail, include_folder, name_actor, open_store, read_clock
from retention.console import dump, say, table

CustomerId = Annotated[str, typer.Argument(metavar="CUSTOMER", help="The customer's id.")]


@app.command()
def export(
    customer: CustomerId,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write it to this file, which nobody else may read; else it is printed."),
    ] = None,
) -> None:
    """Everything that is held about a customer, as one JSON document: what they may ask for."""
    from retention.intake.export import export_person
    from retention.store.audit import note

    check_out(out)
    engine, now = open_store(), read_clock()
    with engine.connect() as conn:
        found = export_person(conn, customer, now)
    written = json.dumps(found, ensure_ascii=False, indent=2, default=str) + "\n"
    if out is None:
        print(written, end="")
    else:
        out.unlink(missing_ok=True)
        with open(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(written)
        say(f"wrote {out}: {sum(map(len, found['tables'].values())):,} rows of {len(found['tables'])} tables")
    with engine.begin() as conn:
        note(
            conn,
            now,
            name_actor(),
            "export",
            None,
            {"rows": {name: len(rows) for name, rows in found["tables"].items()}},
        )


@app.command()
def erase(
    customer: CustomerId,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit log without the person.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    lift: Annotated[bool, typer.Option("--lift", help="Let somebody in again who was erased and came back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a customer out of every table, file and log. Counts stay; loads refuse them from then on. There is no undo."""
    from retention.orchestration import privacy
    from retention.store.database import home

    engine, now = open_store(), read_clock()
    if not dry_run and not reason.strip():
        fail("--reason: say why; it stays in the audit log. (--dry-run needs none.)")
    if lift:
        gone = privacy.lift(engine, customer, reason=reason, actor=name_actor(), now=now)
        say(f"{customer} may come in again: {gone} digests forgotten")
        return
    found = privacy.look(engine, customer)
    if dry_run:
        if as_json:
            dump({"customer_id": customer, "rows": found})
            return
        say(f"{customer}: would be taken out of", table(["table", "messages"], list(found.items())))
        say("Also of raw requests, files of rejected rows and logs. Nothing was changed.")
        return
    if not yes:
        say(
            f"{customer}: {sum(found.values()):,} rows of {len(found)} tables, raw requests, files and logs. There is no undo."
        )
        if not typer.confirm("Erase?"):
            fail("Nothing was changed.")
    done = privacy.erase(engine, customer, reason=reason, actor=name_actor(), now=now, home=home())
    if as_json:
        dump(done.as_dict())
        return
    say(table(["table", "messages"], list(done.rows.items())))
    say(
        f"erased: {done.ids} ids, {sum(done.rows.values()):,} rows, {done.requests} raw requests, {done.files} files",
        "Loads refuse them from now on. Backups, and systems that facts come from, are yours to see to: docs/privacy.md.",
    )


@app.command()
def maintain(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let go of what has been kept long enough (keep: in include/policy.yaml). The DAG maintenance does it daily."""
    from retention.orchestration.cohort import read_rules
    from retention.orchestration.upkeep import maintain as let_go
    from retention.store.database import home

    periods = read_rules(include_folder()).retention
    done = let_go(open_store(), periods, now=read_clock(), home=home(), actor=name_actor(), is_dry=dry_run)
    if as_json:
        dump(done.as_dict())
        return
    say(*done.lines(), *(["Nothing was changed."] if dry_run else []))


__all__ = ["erase", "export", "maintain"]
