"""A load: rows of a source become facts, all of them or none. Owns the transaction, the counts and the record of it.

Rows go by COPY into temporary tables and from there, by one statement a table, to where they belong. A load that dies
leaves nothing but a row in `imports` that the next one marks as interrupted; run again, it does the whole work.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, select, update

from retention.errors import IntakeError, RetentionError
from retention.intake.chunks import Source
from retention.intake.convert import Context
from retention.intake.loaded import Counts, Loaded, Progress, Wishes
from retention.intake.mapping import Mapping
from retention.intake.quality import check_quality
from retention.intake.sources import check_columns, read_lookup
from retention.intake.stream import columns_of, stream
from retention.intake.take import take
from retention.intake.targets import TARGETS
from retention.store.audit import note
from retention.store.erasures import has_erased
from retention.store.staging import Landing, analyze, is_empty, load_turn, make_staging, prepare_for_load
from retention.store.tables import event_kinds, imports

LANDS = ("customers", "orders", "order_items")
"""Tables whose first rows may go straight in; their keys are in the rows, and nothing else is to be looked up."""

WORTH_LANDING = 32 << 20
"""Below this size (bytes) the way through a temporary table is as fast."""

STAGED_TOO = {
    "row_line": "bigint",
    "is_gone": "boolean default false",
    "occurred_at": "timestamptz",
    "named_id": "text",
}
"""What a staged row has besides the columns of its table: its line, whether the source says that it is gone, since when
it is so, and the customer that the source named where another id goes on for it."""


def load(
    engine: Engine,
    mapping: Mapping,
    source: Source,
    wishes: Wishes,
    *,
    clock: Callable[[], datetime],
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Loaded:
    """Load everything the source has. In one transaction: after a failure, or the end of the process, nothing of it is
    there, and doing it again is all there is to do. Loading the same again changes nothing.

    Raises IntakeError when the source can't be read or lacks a column, ConfigError when the mapping does not fit.
    """
    began = clock()
    try:
        check_columns(source, mapping.needs(), f"the mapping {mapping.name}")
        _check_history(mapping, wishes)
        lookups = _read_lookups(mapping, wishes.lookups)
    except RetentionError as error:
        if not wishes.is_trial:
            record_failure(engine, mapping, source.name, wishes.actor, clock(), error)
        raise
    with load_turn(engine, lambda: on_progress(Progress("waiting for another load to end"))) as conn:
        if wishes.is_trial:
            with conn.begin() as whole:
                import_id = _begin(conn, mapping, source.name, wishes, began)
                loaded = _load(conn, mapping, source, wishes, import_id, lookups, clock, on_progress)
                whole.rollback()
        else:
            with conn.begin():
                import_id = _begin(conn, mapping, source.name, wishes, began)
            try:
                with conn.begin():
                    loaded = _load(conn, mapping, source, wishes, import_id, lookups, clock, on_progress)
            except BaseException as error:
                _fail(conn, import_id, clock(), error)
                raise
    loaded.is_trial = wishes.is_trial
    loaded.seconds = (clock() - began).total_seconds()
    return loaded


def record_failure(
    engine: Engine, mapping: Mapping, name: str, actor: str, now: datetime, error: RetentionError
) -> None:
    """Write down a load that could not even begin, so that its page and `retention loads` show it."""
    with engine.begin() as conn:
        conn.execute(
            insert(imports).values(
                mapping=mapping.name,
                source=mapping.source,
                name=name,
                actor=actor,
                is_history=False,
                state="failed",
                started_at=now,
                ended_at=now,
                error=str(error).splitlines()[0],
            )
        )


def _begin(conn: Connection, mapping: Mapping, name: str, wishes: Wishes, now: datetime) -> int:
    # We hold the lock: whoever still counts as running is dead.
    conn.execute(
        update(imports)
        .where(imports.c.state == "running")
        .values(state="interrupted", ended_at=now, error="its process ended; nothing of it was kept")
    )
    return conn.scalar(
        insert(imports)
        .values(
            mapping=mapping.name,
            source=mapping.source,
            name=name,
            actor=wishes.actor,
            is_history=wishes.is_history,
            state="running",
            started_at=now,
        )
        .returning(imports.c.import_id)
    )


def _fail(conn: Connection, import_id: int, now: datetime, error: BaseException) -> None:
    """Write down why, in words without data; a process that is being killed may not get that far."""
    known = isinstance(error, RetentionError)
    reason = str(error).splitlines()[0] if known else f"ended by {type(error).__name__}"
    try:
        conn.rollback()
        with conn.begin():
            change = update(imports).where(imports.c.import_id == import_id)
            conn.execute(change.values(state="failed", ended_at=now, error=reason))
    except Exception:  # noqa: BLE001 - the first error is the one to report
        conn.invalidate()


def _check_history(mapping: Mapping, wishes: Wishes) -> None:
    if not wishes.is_history:
        return
    for block in mapping.blocks:
        # What says only how things stand now has no past to be known in.
        if "occurred_at" not in block.cells and not TARGETS[block.into].is_state:
            raise IntakeError(
                f"{mapping.path}:{block.line}: --as-history: {block.into} has no occurred_at. Map the column that says "
                "since when it is so, or a constant: occurred_at: {value: 2017-01-01}."
            )


def _read_lookups(mapping: Mapping, folder: Path) -> dict[str, dict[str, dict[str, str]]]:
    wanted: dict[str, set[str]] = {name: set() for name in mapping.lookups}
    for block in mapping.blocks:
        for cell in (*block.cells.values(), *block.free.values()):
            for it in (cell, cell.times):
                if it and it.lookup:
                    wanted[it.lookup[0]].add(it.lookup[1])
    return {
        name: read_lookup(folder / lookup.file, lookup.key, wanted[name]) for name, lookup in mapping.lookups.items()
    }


# --- inside the transaction -----------------------------------------------------------------------------------------


def _load(
    conn: Connection,
    mapping: Mapping,
    source: Source,
    wishes: Wishes,
    import_id: int,
    lookups: dict,
    clock: Callable[[], datetime],
    on_progress: Callable[[Progress], None],
) -> Loaded:
    prepare_for_load(conn)
    now = clock()
    kinds = frozenset(conn.scalars(select(event_kinds.c.kind)))
    context = Context(mapping.timezone, mapping.country, kinds, lookups, now.date())
    loaded = Loaded(import_id, source.name)
    lander = _find_landing(conn, mapping, source, wishes)
    if lander:
        landed = _land(conn, mapping, source, wishes, context, loaded, lander, now, on_progress)
        if not landed:
            # Some row stands twice: begin anew, by the way that can tell which of them counts.
            on_progress(Progress("some rows repeat a key: reading once more"))
            loaded = Loaded(import_id, source.name)
            lander = None
    if not lander:
        for table in mapping.tables:
            make_staging(conn, table, STAGED_TOO)
        stream(
            conn, mapping, source, context, loaded, {table: f"staged_{table}" for table in mapping.tables}, on_progress
        )
        now = clock()
        take(conn, mapping, wishes, loaded, now, on_progress)
    if hasattr(source, "encoding"):
        # A file that begins with ASCII shows its encoding late.
        how = [source.encoding, "tabs" if source.delimiter == "\t" else f'"{source.delimiter}"']
        loaded.notes = [*how, *loaded.notes]
    _finish(conn, mapping, wishes, loaded, now, on_progress)
    return loaded


def _find_landing(conn: Connection, mapping: Mapping, source: Source, wishes: Wishes) -> str | None:
    """The table that the rows can go straight into, if there is one."""
    block = mapping.blocks[0]
    is_simple = len(mapping.blocks) == 1 and block.into in LANDS and not block.free and not block.gone
    has_key = all(name in block.cells for name in TARGETS[block.into].key)
    is_big = source.size >= WORTH_LANDING and hasattr(source, "encoding")
    return (
        block.into
        if is_simple
        and has_key
        and is_big
        and not wishes.is_trial
        and is_empty(conn, block.into)
        and not has_erased(conn)
        else None
    )


def _land(
    conn: Connection,
    mapping: Mapping,
    source: Source,
    wishes: Wishes,
    context: Context,
    loaded: Loaded,
    table: str,
    now: datetime,
    on_progress: Callable[[Progress], None],
) -> bool:
    """Load into an empty table; False (and nothing is there) if a key stands twice."""
    nested = conn.begin_nested()
    defaults = {"recorded_at": now.isoformat()}
    if "source" in columns_of(table):
        defaults["source"] = mapping.source
    if "occurred_at" in columns_of(table) and "occurred_at" not in mapping.blocks[0].cells:
        defaults["occurred_at"] = now.isoformat()
    landing = Landing(conn, table, defaults)
    stream(conn, mapping, source, context, loaded, {table: table}, on_progress, is_history=wishes.is_history, now=now)
    on_progress(Progress(f"building the indexes of {table}", rows=loaded.rows_read))
    if not landing.finish():
        nested.rollback()
        source.rewind()
        return False
    nested.commit()
    loaded.tables[table] = Counts(new=loaded.rows_taken)
    analyze(conn, table)
    return True


def _finish(
    conn: Connection,
    mapping: Mapping,
    wishes: Wishes,
    loaded: Loaded,
    now: datetime,
    on_progress: Callable[[Progress], None],
) -> None:
    on_progress(Progress("looking the facts over", rows=loaded.rows_read))
    wishes.before_commit(conn, loaded)
    loaded.checks = check_quality(
        conn,
        import_id=loaded.import_id,
        source=mapping.source,
        tables=set(loaded.tables),
        rows_read=loaded.rows_read,
        rows_rejected=loaded.rows_rejected - loaded.rows_erased,
        policy=wishes.policy,
        now=now,
        zone=mapping.timezone,
    )
    conn.execute(
        update(imports)
        .where(imports.c.import_id == loaded.import_id)
        .values(
            state="done",
            ended_at=now,
            rows_read=loaded.rows_read,
            rows_rejected=loaded.rows_rejected,
            cells_left_out=loaded.cells_left_out,
            summary=loaded.summary(),
        )
    )
    detail = {"import_id": loaded.import_id, "source": mapping.source, "rows": loaded.rows_read}
    note(conn, now, wishes.actor, "load", None, detail)
