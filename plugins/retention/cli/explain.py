"""`retention explain`: what was decided about one customer, what scores say of her and why, who is in an audience."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retention.cli.portrait import show_scores, write_moment
from retention.cli.shared import AsJson, When, app, fail, include_folder, open_store, read_clock, read_instant
from retention.console import SHANGHAI, dump, say, table
from retention.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from retention.audience.library import Asked


@app.command()
def explain(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    when: When = None,
    audience: Annotated[
        str | None, typer.Option("--audience", help="Say whether this audience names the customer, and what it asks.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Every decision about one customer with its reason, by time; and her scores with their inputs and cut points."""
    from retention.audience.scores.portrait import draw_portrait
    from retention.insight.explain import explain_customer

    as_of = read_instant(when, read_clock())
    engine = open_store()
    with engine.connect() as conn:
        story = explain_customer(conn, customer)
    if story is None:
        fail(f'customer "{customer}": nobody has this id. Look in the table customers: `retention db`.')
    asked = _ask(engine, customer, audience, as_of) if audience else None
    portrait, trouble = None, None
    try:
        portrait = draw_portrait(engine, customer, as_of, zone=SHANGHAI.key)
    except StoreError as error:
        trouble = str(error)  # what was decided can be told all the same
    if as_json:
        dump(
            {
                "customer": customer, "as_of": as_of.isoformat(), "story": story, "scores": portrait and portrait.as_dict(), "trouble": trouble,
                "audience": asked and _as_dict(asked),
            }
        )  # fmt: skip
        return
    if portrait:
        show_scores(portrait)
    else:
        say(trouble)
    if asked:
        _show_audience(asked, _list_journeys(story, asked))
    _show_story(story)


def _show_story(story: list[dict]) -> None:
    rows = [
        (write_moment(s["at"]), s["mode"], s["journey"], s["step"], s["what"], s["channel"], s["detail"]) for s in story
    ]
    say("", "Decisions", table(["at (Asia/Shanghai)", "mode", "journey", "step", "what", "channel", "why"], rows))
    if not rows:
        say("No journey has decided anything about this customer.")


# --- audiences -------------------------------------------------------------------------------------------------------


def _ask(engine: Engine, customer: str, name: str, as_of: datetime) -> Asked:
    from retention.audience.library import ask_one, find_audience, read_library
    from retention.audience.scores.portrait import find_kept_id
    from retention.journey.files import read_files
    from retention.journey.load import load

    files = read_files(include_folder())
    wanted = find_audience(read_library(files, load(files).versions.values()), name)
    with engine.connect() as conn:
        kept = find_kept_id(conn, customer)
    return ask_one(engine, wanted, kept, as_of)


def _as_dict(asked: Asked) -> dict[str, Any]:
    made = asdict(asked)
    return {
        "name": asked.audience.name, "about": asked.audience.about, "is_in": bool(asked.occurrences),
        "occurrences": made["occurrences"], "ways": [{"channel": c, "why_not": why} for c, why in asked.ways],
    }  # fmt: skip


def _list_journeys(story: list[dict], asked: Asked) -> list[str]:
    """When the journeys that use the audience took her in, or did not, up to then."""
    mine = [s for s in story if s["journey"] in asked.audience.journeys and s["what"] in ("entered", "not taken in")]
    return [
        f"{write_moment(s['at'])}: {s['journey']} ({s['mode']}), {s['what']}: {s['detail']}"
        for s in mine
        if s["at"] <= asked.as_of
    ]


def _show_audience(asked: Asked, history: list[str]) -> None:
    from retention.intake.quality import find_hold

    it = asked.audience
    found = "IN, by " + ", ".join(asked.occurrences) if asked.occurrences else "OUT: it does not name her"
    days = f"{it.window.total_seconds() / 86400:g}"
    say("", f"Audience {it.name}: {found}", f"  It asks: {it.about or 'its file has no comment that says what.'}")
    say(f"  as of {write_moment(asked.as_of)}, looking back {days} d; used by {', '.join(it.journeys) or 'no journey'}")
    if not asked.ways:
        say("  She was no customer then, or not known to us yet.")
    else:
        says = {
            "suppressed": "the address is suppressed",
            "no_consent": "no consent to marketing",
            "no_address": "no usable address",
        }
        say(
            "  marketing could reach her by: "
            + "; ".join(f"{c}: {says.get(why, why) if why else 'yes'}" for c, why in asked.ways)
        )
    say(*(f"  {line}" for line in history))
    with open_store().connect() as conn:
        hold = find_hold(conn)
    if hold:
        say(f"  now everything waits: {hold}")
