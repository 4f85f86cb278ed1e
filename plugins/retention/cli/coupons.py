"""Commands about coupons: pools of uploaded codes, and which orders used what was given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retention.cli.shared import AsJson, When, app, name_actor, open_store, read_clock, read_instant, read_workspace
from retention.console import SHANGHAI, dump, say, table

SHOWN = 20
"""How many refused lines are named on the screen."""

coupons_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Codes: pools, and who used them.")
app.add_typer(coupons_app, name="coupons")


@coupons_app.command("import")
def import_codes(
    file: Annotated[Path, typer.Argument(help="One code a line, or CSV with the columns code and valid_until.")],
    pool: Annotated[str, typer.Option("--pool", help="The pool they go into; it is made if it is new.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do all of it, show what came of it, keep nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Upload codes into a pool. Safe to repeat: the same file again changes nothing."""
    from retention.intake.coupon_codes import import_codes as take

    with open_store().begin() as conn:
        done = take(conn, file, pool, zone=SHANGHAI, actor=name_actor(), now=read_clock(), is_trial=dry_run)
    if as_json:
        dump({"file": done.name, "pool": pool, "lines": done.lines, "taken": done.taken, "there_already": done.there,
              "refused": [{"line": line, "what": what} for line, what in done.refused]})  # fmt: skip
    else:
        for line, what in done.refused[:SHOWN]:
            say(f"{file}:{line}: {what}")
        if len(done.refused) > SHOWN:
            say(f"... and {len(done.refused) - SHOWN:,} more:")
            say(*(f"  {count:,}: {what}" for what, count in done.reasons().most_common()))
        there = f", {done.there:,} were there already" if done.there else ""
        kept = "  -  a dry run, nothing is kept" if dry_run else ""
        say(f"pool {pool}: {done.taken:,} of {done.lines:,} codes taken{there}, {len(done.refused):,} refused{kept}")
    if done.refused and not done.taken and not done.there:
        raise typer.Exit(1)


@coupons_app.command("pools")
def show_pools(as_json: AsJson = False) -> None:
    """Every pool: codes left, what became of the others, and for how many days it lasts at the present rate."""
    from retention.orchestration.pool_needs import list_shortages
    from retention.store.pools import list_pools, say_days

    engine = open_store()
    with engine.connect() as conn:
        found = list_pools(conn, read_clock())
        shortages = list_shortages(conn, read_clock(), read_workspace().versions.values())
    if as_json:
        dump({"pools": [vars(pool) for pool in found], "shortages": shortages})
        return
    columns = ["pool", "left", "reserved", "issued", "redeemed", "expired", "lapsed unused", "a day", "lasts"]
    rows = [
        (p.pool, f"{p.left:,}", f"{p.reserved:,}", f"{p.issued:,}", f"{p.redeemed:,}", f"{p.expired:,}", f"{p.lapsed:,}",
         f"{p.a_day:,.0f}", say_days(p.days) if p.days is not None else "")
        for p in found
    ]  # fmt: skip
    say(table(columns, rows) if rows else "There are no pools. `retention coupons import FILE --pool NAME` makes one.")
    say(*shortages)


@coupons_app.command("match")
def match(
    when: When = None,
    whole: Annotated[bool, typer.Option("--whole", help="Look at all coupons, not only at those with news.")] = False,
    as_json: AsJson = False,
) -> None:
    """Hold coupons against orders now: redeemed, late, refunded, expired. Runs by itself every quarter of an hour."""
    from retention.insight.redemptions import match_coupons

    now = read_clock()
    as_of = read_instant(when, now)
    with open_store().begin() as conn:
        done = match_coupons(conn, as_of=as_of, now=now, is_whole=whole)
    if as_json:
        dump(vars(done))
    else:
        say(
            f"As of {as_of.astimezone(SHANGHAI):%Y-%m-%d %H:%M} (Asia/Shanghai): {done.looked_at:,} coupons looked at, "
            f"{done.changed:,} changed ({', '.join(f'{n:,} {state}' for state, n in sorted(done.states.items())) or 'none'})"
        )


__all__ = ["coupons_app"]
