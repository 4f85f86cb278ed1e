"""Works scores out as of an instant: everybody's from the facts, or those that may differ from the run before.

Either way one transaction that sees one state of the facts, and one run at a time. Owns customer_sums, score_runs, score_cuts
and tiers. Reads no clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, insert, text

from retention.audience.scores import shares, six
from retention.audience.scores.cuts import Cut, all_bounds, find_cuts, weigh, write_cuts
from retention.audience.scores.read import Run
from retention.errors import RetentionError
from retention.journey.scores import Scores
from retention.store.queries import run
from retention.store.tables import score_runs

OVERLAP = timedelta(hours=6)
"""A refresh looks so far behind the last run: what was being written down while that one looked was not to be seen yet."""

# Sums of a million customers stay in memory (about 300 MB at the most), and one more process helps.
_SETTINGS = {"work_mem": "256MB", "max_parallel_workers_per_gather": "1", "parallel_tuple_cost": "0.01"}

_SCRATCH = ("touched", "undone", "odd", "orders", "activity", "sums", "judged", "rated", "shares")

# What the sums themselves depend on: if one of these changes, everybody is summed up anew.
_OF_SUMS = ("currency", "rates", "window", "activity_window")


@dataclass(frozen=True)
class Refreshed:
    """A finished run: `customers` in all, `touched` whose sums were worked out, `moved` to another tier (or a first one)
    of any scheme. `is_repeat`: this moment's run was there already, and nothing was done."""

    run_id: int
    as_of: datetime
    is_rebuild: bool
    customers: int
    touched: int
    moved: int
    is_repeat: bool = False


def refresh_scores(
    engine: Engine,
    as_of: datetime,
    *,
    now: datetime,
    config: Scores | None = None,
    known_at: datetime | None = None,
    rebuild: bool = False,
) -> Refreshed:
    """Bring scores to `as_of`, from facts that had occurred by then and were recorded by `known_at` (default: as_of).

    Only customers with facts since the run before, or whose windows moved past one, are summed up; with `rebuild`, without
    a run before or with other windows or currency, everybody. Then levels and tiers by cut points over all customers; only
    changes are written. The same moment again does nothing. Raises RetentionError for a moment before the latest run: what
    was decided stays as it is.
    """
    config = config or Scores()
    known_at = known_at or as_of
    with _alone(engine) as conn:
        last = _read_last(conn)
        if last and last.as_of == as_of and not rebuild:
            return Refreshed(last.run_id, as_of, last.is_rebuild, last.customers, last.touched, last.moved, True)
        if last and last.as_of >= as_of:
            raise RetentionError(
                f"scores: they stand at {last.as_of.isoformat()}, {as_of.isoformat()} is not later. "
                "Read a past moment with read_tiers, or score a later one."
            )
        for name, value in _SETTINGS.items():
            conn.execute(text(f"set local {name} = '{value}'"))
        plain = config.as_written()
        is_rebuild = rebuild or last is None or any(last.config[name] != plain[name] for name in _OF_SUMS)
        facts = _facts(config, as_of, known_at)
        touched = _sum_everybody(conn, facts) if is_rebuild else _sum_touched(conn, facts, last, config)
        cuts, customers, moved = _judge(conn, config, as_of, is_rebuild=is_rebuild, last=last)
        run_id = conn.execute(
            insert(score_runs)
            .values(as_of=as_of, known_at=known_at, computed_at=now, is_rebuild=is_rebuild, config=plain)
            .values(customers=customers, touched=touched, moved=moved)
            .returning(score_runs.c.run_id)
        ).scalar_one()
        write_cuts(conn, run_id, cuts)
        _drop_scratch(conn)
    return Refreshed(run_id, as_of, is_rebuild, customers, touched, moved)


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one state of everything, after whoever else is scoring has finished."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
        # Before the transaction: its first statement fixes what it sees, and waiting would make that old.
        conn.execute(text("select pg_advisory_lock(hashtext('retention.scores'))"))
        conn.commit()
        try:
            yield conn
            conn.commit()
        finally:
            conn.rollback()
            conn.execute(text("select pg_advisory_unlock(hashtext('retention.scores'))"))
            conn.commit()


def _read_last(conn: Connection) -> Run | None:
    row = conn.execute(score_runs.select().order_by(score_runs.c.as_of.desc()).limit(1)).one_or_none()
    return Run(**row._mapping) if row else None


def _facts(config: Scores, as_of: datetime, known_at: datetime) -> dict[str, Any]:
    """What sums are worked out by, as parameters."""
    return {
        "as_of": as_of,
        "known_at": known_at,
        "orders_from": as_of - config.window,
        "activity_from": as_of - config.activity_window,
        "currency": config.currency,
        "rates": json.dumps({name: str(rate) for name, rate in config.rates.items()}),
    }


def _pick(facts: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: facts[name] for name in names}


def _sum_everybody(conn: Connection, facts: dict[str, Any]) -> int:
    conn.execute(
        text("create unlogged table scratch_touched (customer_id text, by_orders boolean, by_activity boolean)")
    )
    _sum_facts(conn, facts, everybody=True)
    touched = run(conn, "score/sum_everybody", **_pick(facts, "as_of", "known_at")).rowcount
    run(conn, "score/end_missing", as_of=facts["as_of"])
    conn.execute(text("create temporary view scored_sums as select * from scratch_sums"))
    return touched


def _sum_facts(conn: Connection, facts: dict[str, Any], *, everybody: bool, one: str | None = None) -> None:
    """Orders and activity in sums: of everybody, or of those in scratch_touched, of whom `one` may be the only one."""
    whose = _pick(facts, "as_of", "known_at") | {"everybody": everybody, "one": one}
    money = _pick(facts, "currency", "rates")
    run(conn, "score/find_undone", **whose)
    run(conn, "score/find_odd_orders", **whose, **money)
    conn.execute(text("analyze scratch_undone, scratch_odd"))
    run(conn, "score/sum_orders", **whose, **money, **_pick(facts, "orders_from"))
    run(conn, "score/sum_activity", **whose, **_pick(facts, "activity_from"))
    conn.execute(text("analyze scratch_orders, scratch_activity"))


def _sum_touched(conn: Connection, facts: dict[str, Any], last: Run, config: Scores) -> int:
    run(
        conn,
        "score/find_touched",
        **_pick(facts, "as_of", "known_at", "orders_from", "activity_from"),
        since=last.known_at - OVERLAP,
        after=last.as_of - OVERLAP,
        old_orders_from=last.as_of - config.window,
        old_activity_from=last.as_of - config.activity_window,
    )
    touched = _sum_scratch_touched(conn, facts)
    run(conn, "score/forget_gone", as_of=facts["as_of"])
    run(conn, "score/change_sums")
    conn.execute(text("create temporary view scored_sums as select * from customer_sums"))
    return touched


def _sum_scratch_touched(conn: Connection, facts: dict[str, Any], one: str | None = None) -> int:
    conn.execute(text("analyze scratch_touched"))
    _sum_facts(conn, facts, everybody=False, one=one)
    return run(conn, "score/sum_touched", **_pick(facts, "as_of", "known_at")).rowcount


def _drop_scratch(conn: Connection) -> None:
    conn.execute(text("drop view if exists scored_sums"))
    conn.execute(text("drop table if exists " + ", ".join(f"scratch_{name}" for name in _SCRATCH)))


def sum_one(conn: Connection, customer_id: str, config: Scores, as_of: datetime, known_at: datetime) -> dict[str, Any]:
    """One customer's sums as of any moment, from the facts, by the names of customer_sums; empty for no customer."""
    run(conn, "score/touch_one", customer_id=customer_id)
    _sum_scratch_touched(conn, _facts(config, as_of, known_at), customer_id)
    row = dict(conn.execute(text("select * from scratch_sums")).one()._mapping)
    _drop_scratch(conn)
    return {name: value for name, value in row.items() if name != "is_customer"} if row["is_customer"] else {}


def _judge(
    conn: Connection, config: Scores, as_of: datetime, *, is_rebuild: bool, last: Run | None
) -> tuple[list[Cut], int, int]:
    cuts, customers = find_cuts(conn, config, as_of)
    run(
        conn,
        "score/judge",
        **all_bounds(cuts),
        **weigh(config),
        everybody=is_rebuild,
        is_kept="six" in config.schemes,
        new_from=as_of - config.new_for,
        quiet_from=as_of - config.quiet_after,
        table=six.make_table(),
        names=list(six.NAMES),
    )
    moved = run(conn, "score/note_tiers", as_of=as_of).rowcount
    is_dropped = "shares" not in config.schemes and last is not None and "shares" in last.config["schemes"]
    if "shares" in config.schemes:
        cuts += shares.judge_shares(conn, config)
    elif is_dropped:
        run(conn, "score/drop_shares")
    if is_rebuild:
        conn.execute(text("truncate customer_sums"))
        run(conn, "score/fill_sums")
    else:
        run(conn, "score/move_levels")
    if "shares" in config.schemes or is_dropped:
        moved += shares.write_shares(conn, as_of)
    return cuts, customers, moved
