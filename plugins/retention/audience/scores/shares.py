"""The second scheme: four tiers in given shares, by points for value, depth of the relation, interaction and low risk."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from retention.audience.scores.cuts import Cut, weigh
from retention.journey.scores import Scores
from retention.store.queries import run

NAMES = ("at_risk", "potential", "mid", "high")
"""From low to high."""

STEPS = 19
"""A scale has so many steps: 5 % of the people lie between two."""

SCALES = ("value", "depth", "interaction", "risk")


def judge_shares(conn: Connection, config: Scores) -> list[Cut]:
    """Work out who moves, from scored_sums, into scratch_shares; the cut points and the steps of the scales."""
    activity = weigh(config)
    shares = [round(step / (STEPS + 1), 4) for step in range(1, STEPS + 1)]
    scale = run(conn, "score/scale_shares", steps=shares, **activity).one()._mapping
    weights = config.weights.model_dump()
    total = sum(weights.values()) or 1.0
    parts = {f"w_{name}": weights[name] / total for name in SCALES}
    run(conn, "score/rate_shares", **parts, **{name: scale[name] for name in SCALES}, **activity, count=STEPS)
    cuts = _cut(conn, config)
    bounds = {name.removeprefix("shares_"): value for cut in cuts for name, value in cut.bounds().items()}
    run(conn, "score/judge_shares", names=list(NAMES), **bounds)
    return [
        *cuts,
        *(
            Cut(name, f"step_{number:02}", value, None, True)
            for name in SCALES
            for number, value in enumerate(scale[name] or (), 1)
        ),
    ]


def _cut(conn: Connection, config: Scores) -> list[Cut]:
    said = config.shares
    below = {"potential": said.at_risk, "mid": said.at_risk + said.potential, "high": 1 - said.high}
    asked = [x for share in below.values() for x in (round(share, 9), max(round(share - config.dead_band, 9), 0.0))]
    found = run(conn, "score/cut_shares", shares=asked).scalar_one() or [None] * 6
    return [Cut("shares", name, found[2 * n], found[2 * n + 1]) for n, name in enumerate(below)]


def write_shares(conn: Connection, as_of: datetime) -> int:
    """Write down the moves of scratch_shares; the number of them."""
    moved = run(conn, "score/note_shares", as_of=as_of).rowcount
    run(conn, "score/move_shares")
    return moved
