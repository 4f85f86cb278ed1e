"""The command that works scores out by hand."""

from __future__ import annotations

from time import perf_counter
from typing import Annotated

import typer

from retention.cli.shared import AsJson, When, app, include_folder, open_store, read_clock, read_instant
from retention.console import dump, say


@app.command()
def score(
    when: When = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Sum up everybody, not only those with news.")] = False,
    as_json: AsJson = False,
) -> None:
    """Work out all scores as of now, or of a date later than the last run: what the DAG scoring does every day."""
    from retention.journey.scores import load_scores
    from retention.orchestration.scoring import STEPS, score_step

    config, engine, now = load_scores(include_folder()), open_store(), read_clock()
    as_of, told = read_instant(when, now), {}
    for number, step in enumerate(STEPS, 1):
        began = perf_counter()
        done = score_step(engine, step.name, as_of, now=now, config=config, is_rebuild=rebuild)
        told[step.name] = {"did": done.words, **done.counts}
        if not as_json:
            say(f"{number}/{len(STEPS)} {step.name}: {done.words} ({perf_counter() - began:.1f} s)")
    if as_json:
        dump({"as_of": as_of.isoformat(), "steps": told})
    else:
        say(f"Scores stand as of {as_of.astimezone(config.scoring.zone):%Y-%m-%d %H:%M} ({config.scoring.timezone}).")
