"""A query of another database becomes facts, from where it was read last time on. Owns the mark; knows no Airflow.

Mark and rows are one transaction: after a crash the mark stands where it stood, and reading again from there is harmless,
because rows that are there already change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.dialects.postgresql import insert

from retention.errors import IntakeError
from retention.intake.convert import Context
from retention.intake.load import load, record_failure
from retention.intake.loaded import MOST_GONE, Counts, Loaded, Progress, Wishes
from retention.intake.mapping import Mapping
from retention.intake.merge import standing_aliases
from retention.intake.quality_policy import QualityPolicy
from retention.intake.remote import DbApiConnection, Remote
from retention.intake.rows import apply_mapping
from retention.intake.sources import Rows
from retention.intake.sync_plan import SourcePlan, list_swept
from retention.intake.take import sweep
from retention.intake.targets import TARGETS
from retention.intake.watermark import Tally, read_mark, step_back, write_mark
from retention.journey.notation import did_you_mean, list_options
from retention.store.staging import copy_csv, make_present
from retention.store.tables import sync_marks


def synchronise(
    engine: Engine,
    mapping: Mapping,
    plan: SourcePlan,
    connect: Callable[[], DbApiConnection],
    placeholder: str,
    *,
    actor: str,
    clock: Callable[[], datetime],
    on_progress: Callable[[Progress], None] = lambda progress: None,
    is_from_scratch: bool = False,
    policy: QualityPolicy | None = None,
) -> Loaded:
    """Load what the plan's query has that is new since the last time; all of it the first time, without a watermark, and
    `is_from_scratch`. All of it or nothing: repeating it after whatever happened is always right.

    `connect` opens a DB-API 2 connection, `placeholder` is what its driver calls a parameter (%s, ?, :1); `policy`: how good
    the facts have to be (default: as shipped). Raises
    SourceDown when the database does not answer (trying again helps), IntakeError when it refuses the query, a column is
    missing, or too much would be gone.
    """
    mark = None if is_from_scratch or not plan.watermark else fetch_mark(engine, mapping.name)
    began, name, is_loading = clock(), f"connection {plan.connection}", False
    with _recording(engine, mapping, name, actor, clock, lambda: not is_loading), Remote(f'{plan.where}: {mapping.name}: Connection "{plan.connection}"', connect) as remote:
        query = _Query(plan, placeholder, mark)
        unseen = query.count_unseen(remote)
        remote.select(*query.rows())
        tally = _make_tally(mapping, plan, remote, began, mark)
        source = Rows(
            name,
            remote.columns,
            (lambda: tally.see(remote.fetch())) if tally else remote.fetch,
        )

        def finish(conn: Connection, loaded: Loaded) -> None:
            loaded.notes.append(f"since {query.start}" if query.start is not None else "all rows")
            if tally:
                loaded.notes += _tell(tally, unseen)
            if plan.compare_keys:
                on_progress(Progress("comparing keys", rows=loaded.rows_read))
                _sweep_by_keys(conn, mapping, plan, remote, query, loaded, clock())
            if tally:
                _move_mark(conn, mapping.name, tally, loaded.import_id, clock(), old=mark)

        wishes = Wishes(
            actor=actor,
            is_complete=plan.is_complete,
            most_gone=_most_gone(plan),
            lookups=plan.folder,
            policy=policy or QualityPolicy(),
            before_commit=finish,
        )
        is_loading = True
        return load(engine, mapping, source, wishes, clock=clock, on_progress=on_progress)


@contextmanager
def _recording(
    engine: Engine,
    mapping: Mapping,
    name: str,
    actor: str,
    clock: Callable[[], datetime],
    is_before_load: Callable[[], bool],
) -> Iterator[None]:
    """Put what goes wrong before the load begins on the record of loads; a load keeps its own."""
    try:
        yield
    except IntakeError as error:
        if is_before_load():
            record_failure(engine, mapping, name, actor, clock(), error)
        raise


@dataclass(frozen=True)
class _Query:
    """The plan's query, wrapped for what is asked of it. `mark` is how far it was read, None: not at all."""

    plan: SourcePlan
    placeholder: str
    mark: Any

    @property
    def start(self) -> Any:
        return None if self.mark is None else step_back(self.mark, self.plan.overlap)

    def rows(self) -> tuple[str, tuple]:
        """What is to be loaded, oldest first, so that of two rows with one key the newer counts."""
        watermark = self.plan.watermark
        if not watermark:
            return self.plan.query, ()
        if self.start is None:
            return f"select * {self.inside()} order by {watermark}", ()
        # Where parameters are written with %, one in the query itself is to be written twice.
        inner = self.inside().replace("%", "%%") if self.placeholder.startswith("%") else self.inside()
        return f"select * {inner} where {watermark} >= {self.placeholder} order by {watermark}", (self.start,)

    def inside(self) -> str:
        # The line break ends a comment in the query's last line.
        return f"from (\n{self.plan.query}\n) source"

    def count_unseen(self, remote: Remote) -> int:
        """Rows that an increment never sees, because their watermark is empty."""
        if self.start is None:
            return 0
        remote.select(f"select count(*) {self.inside()} where {self.plan.watermark} is null")
        return int(remote.fetch()[0][0])


def fetch_mark(engine: Engine, name: str) -> Any:
    """How far the source of a mapping was read: a moment, a date, a number or a text; None if never."""
    with engine.connect() as conn:
        text = conn.scalar(select(sync_marks.c.watermark).where(sync_marks.c.mapping == name))
    return None if text is None else read_mark(text)


def _make_tally(mapping: Mapping, plan: SourcePlan, remote: Remote, began: datetime, mark: Any) -> Tally | None:
    if not plan.watermark:
        return None
    name = plan.watermark.strip('"`[]')
    same = [column for column in remote.columns if column == name] or [
        column for column in remote.columns if column.lower() == name.lower()
    ]
    if not same:
        hint = did_you_mean(name, remote.columns) or list_options("Its columns", remote.columns)
        raise IntakeError(f'{plan.where}: the query of {mapping.name} has no column "{name}", its watermark. {hint}')
    place = remote.columns.index(same[0])
    return Tally(f"{plan.where}: {mapping.name}", same[0], place, began, mapping.timezone, latest=mark)


def _tell(tally: Tally, unseen: int) -> list[str]:
    notes = []
    if unseen:
        notes.append(f"{unseen:,} rows have no {tally.name}: they are read from scratch only")
    if tally.empty:
        notes.append(f"{tally.empty:,} rows have no {tally.name}: changes of them are seen from scratch only")
    if tally.in_future:
        notes.append(f"{tally.in_future:,} rows have a {tally.name} in the future: they are read again every time")
    return notes


def _move_mark(conn: Connection, name: str, tally: Tally, import_id: int, now: datetime, *, old: Any) -> None:
    mark = tally.mark()
    if mark is None:
        conn.execute(delete(sync_marks).where(sync_marks.c.mapping == name))
    if mark == old:
        return
    values = {"watermark": write_mark(mark), "import_id": import_id, "moved_at": now}
    change = insert(sync_marks).values(mapping=name, **values)
    conn.execute(change.on_conflict_do_update(index_elements=["mapping"], set_=values))


# --- rows deleted at the source -------------------------------------------------------------------------------------


def _sweep_by_keys(
    conn: Connection, mapping: Mapping, plan: SourcePlan, remote: Remote, query: _Query, loaded: Loaded, now: datetime
) -> None:
    """Take out what the query no longer has, by all the keys that it has."""
    blocks = [replace(block, cells=_key_cell(block), free={}, gone=None) for block in list_swept(mapping)]
    slim = replace(mapping, blocks=tuple(blocks))
    aliases = standing_aliases(conn)
    for table in slim.tables:
        make_present(conn, table, TARGETS[table].key[0])
    for table, keys in _read_keys(slim, plan, remote, query, now):
        # A customer who goes on under another id is there as long as either is.
        known = pl.concat([keys, keys.replace_strict(aliases, default=None, return_dtype=pl.String).drop_nulls()])
        payload = known.to_frame().write_csv(include_header=False).encode()
        copy_csv(conn, f"present_{table}", [TARGETS[table].key[0]], payload)
    for table in slim.tables:
        loaded.tables.setdefault(table, Counts()).gone += sweep(conn, table, mapping.source, now, _most_gone(plan))


def _most_gone(plan: SourcePlan) -> float:
    return MOST_GONE if plan.most_gone is None else plan.most_gone


def _key_cell(block: Any) -> dict:
    key = TARGETS[block.into].key[0]
    return {key: block.cells[key]}


def _read_keys(
    slim: Mapping, plan: SourcePlan, remote: Remote, query: _Query, now: datetime
) -> Iterator[tuple[str, pl.Series]]:
    """The keys as the mapping makes them, by table."""
    columns = sorted(slim.needs())
    remote.select(f"select distinct {', '.join(map(remote.quote, columns))} {query.inside()}")
    context = Context(slim.timezone, slim.country, frozenset(), {}, now.date())
    for number, chunk in enumerate(Rows("keys", columns, remote.fetch).chunks()):
        if number == 0 and chunk.frame.rows() == [tuple(columns)]:
            # Some databases take "x" for a text: they return the column's name instead of its values.
            raise IntakeError(
                f"{plan.where}: {slim.name}: its keys can't be asked for one by one. Nothing was loaded. "
                "Leave compare_keys out, or write complete: true without a watermark."
            )
        for table, frame in apply_mapping(slim, chunk, context).frames:
            yield table, frame[TARGETS[table].key[0]].drop_nulls()
