"""Commands about who there is: the library of audiences, the table of tiers."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated

import typer

from retention.cli.shared import AsJson, When, app, check_out, fail, include_folder, open_store, read_clock, read_instant
from retention.console import SHANGHAI, dump, say, table


@app.command()
def audiences(
    when: When = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=3600, help="Give up on an audience after so many seconds.")
    ] = 120,
    as_json: AsJson = False,
) -> None:
    """The library of audiences: what each is, which journeys use it, and how many customers it names as of a date."""
    from retention.audience.library import count_one, read_library
    from retention.journey.files import read_files
    from retention.journey.load import load

    as_of = read_instant(when, read_clock())
    files = read_files(include_folder())
    library = read_library(files, load(files).versions.values())
    engine = open_store()
    counted = [count_one(engine, it, as_of, time_limit_s=limit) for it in library.values()]
    if as_json:
        dump({"as_of": as_of.isoformat(), "audiences": [_as_dict(it) for it in counted]})
    else:
        say(f"As of {as_of.astimezone(SHANGHAI):%Y-%m-%d %H:%M} (Asia/Shanghai), as known then.")
        for it in counted:
            about = it.audience
            used = ", ".join(about.journeys) or "no journey"
            days = f"{about.window.total_seconds() / 86400:g}"
            say(
                "",
                f"{about.name}",
                *textwrap.wrap(
                    about.about or "It has no comment that says what it is.",
                    110,
                    initial_indent="  ",
                    subsequent_indent="  ",
                ),
            )
            say(
                f"  used by {used}; parameters {', '.join(':' + name for name in about.parameters) or 'none'}; looks back {days} d, {about.zone}"
            )
            if it.error:
                say(f"  FAILED: {it.error}")
            else:
                more = f", {it.occurrences:,} occurrences" if it.occurrences != it.customers else ""
                say(f"  {it.customers:,} customers{more}, in {it.took_s:.2f} s")
    if any(it.error for it in counted):
        raise typer.Exit(1)


def _as_dict(it) -> dict:
    about = it.audience
    return {
        "audience": about.name, "about": about.about, "parameters": about.parameters, "journeys": about.journeys,
        "window_s": about.window.total_seconds(), "timezone": about.zone, "customers": it.customers,
        "occurrences": it.occurrences, "took_s": round(it.took_s, 3), "error": it.error,
    }  # fmt: skip


@app.command()
def segments(
    when: When = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the table of everybody to this file: .csv or .xlsx.")
    ] = None,
    locale: Annotated[str, typer.Option("--locale", help="zh-CN or en.")] = "zh-CN",
    scheme: Annotated[
        str | None, typer.Option("--scheme", help="six or shares; default: the first of include/scores.yaml.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Who is in which tier and why, what they need and how to care for them: counts, and as a file for Excel."""
    from retention.audience.segments import LOCALES, count_spread, list_segments, month_before
    from retention.audience.spreadsheet import write_table
    from retention.journey.segments import load_segments

    if locale not in LOCALES:
        fail(f'--locale: "{locale}" is none of {", ".join(LOCALES)}.')
    check_out(out)
    as_of = read_instant(when, read_clock())
    words = load_segments(include_folder())
    written = None
    with open_store().connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as conn:
        spread = count_spread(conn, as_of, words, moments=[], moved_since=month_before(as_of, SHANGHAI), scheme=scheme)
        if out:
            listed = list_segments(conn, as_of, words, locale=locale, zone=SHANGHAI, scheme=spread.scheme)
            written = write_table(out, listed, name={"zh-CN": "客户分层", "en": "Segments"}[locale])
    counts = {tier: column[-1] for tier, column in spread.counts.items()}
    if as_json:
        dump(
            {
                "as_of": spread.run.as_of.isoformat(), "scheme": spread.scheme, "tiers": counts,
                "moves": [{"from": a, "to": b, "customers": n} for (a, b), n in spread.moves.items()],
                "moved_since": spread.moved_since.isoformat(), "file": out and str(out), "written": written,
            }
        )  # fmt: skip
        return
    named = {tier: it.say("name", locale) for tier, it in words.of(spread.scheme).items()}
    whole = spread.people
    say(f"Scores as of {spread.run.as_of.astimezone(SHANGHAI):%Y-%m-%d %H:%M} (Asia/Shanghai), scheme {spread.scheme}.")
    rows = [(tier, named.get(tier, tier), n, f"{100 * n / whole:.1f} %" if whole else "") for tier, n in counts.items()]
    say(table(["tier", "name", "customers", "share"], rows))
    if out:
        say(f"{written:,} customers are in {out}.")
