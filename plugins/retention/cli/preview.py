"""`retention preview`: a journey as its receivers would see it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retention.cli.shared import JourneyName, app, check_out, find_version, open_store, read_clock
from retention.console import say


@app.command()
def preview(
    journey: JourneyName,
    customer: Annotated[str | None, typer.Option("--customer", help="Show it as this customer would see it.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The page's file; default: JOURNEY.preview.html here.")
    ] = None,
) -> None:
    """Every message of a journey on one page, as each tier and language would see it, on a phone and in a mail client."""
    from retention.orchestration.preview import find_customer
    from retention.orchestration.preview import preview as show
    from retention.web.preview import write_preview

    version, now = find_version(journey), read_clock()
    path = out or Path(f"{journey}.preview.html")
    check_out(path)
    person = None
    if customer:
        with open_store().connect() as conn:
            person = find_customer(conn, version, customer, now)
    shown = show(version, now, person)
    path.write_text(write_preview(version, shown, customer), encoding="utf-8")
    say(f"wrote {path}: {len(shown)} messages. Open it in a browser.")
