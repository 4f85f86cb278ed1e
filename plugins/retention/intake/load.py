"""A load: rows of a source become facts, all of them or none. Owns the transaction, the counts and the record of it.

Rows go by COPY into temporary tables and from there, by one statement a table, to where they belong. A load that dies
leaves nothing but a row in `imports` that the next one marks as interrupted; run again, it does the whole work.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

import polars as pl
from sqlalchemy import Connection, Engine, insert, select, text, update

from retention.errors import IntakeError, RetentionError
from retention.intake.chunks import Reject, Source
from retention.intake.convert import Context
from retention.intake.mapping import Mapping
from retention.intake.rows import Applied, apply_mapping
from retention.intake.sources import check_columns, read_lookup
from retention.intake.targets import TARGETS
from retention.store.audit import note
from retention.store.queries import run, statement
from retention.store.staging import (
    Landing,
    analyze,
    copy_csv,
    is_empty,
    load_turn,
    make_present,
    make_staging,
    prepare_for_load,
)
from retention.store.tables import event_kinds, imports, metadata

LANDS = ("customers", "orders", "order_items")
"""Tables whose first rows may go straight in; their keys are in the rows, and nothing else is to be looked up."""

WORTH_LANDING = 32 << 20
"""Below this size (bytes) the way through a temporary table is as fast."""

SWEPT = {"customers": "customer_id", "orders": "order_id"}
"""Tables that a complete list may take rows from, and their key."""

MOST_GONE = 0.05
"""A complete list that lacks more than this share of what its source brought is not believed."""

EXAMPLES = 20

STAGED_TOO = {"row_line": "bigint", "is_gone": "boolean default false", "occurred_at": "timestamptz"}
"""What a staged row has besides the columns of its table: its line, whether the source says that it is gone, since when
it is so."""


@dataclass
class Counts:
    """Rows of one table: `new`, `changed`, `same`; `repeated`: named again later in the source; `older`: less recent than
    what stands; `gone`: no longer at the source."""

    new: int = 0
    changed: int = 0
    same: int = 0
    repeated: int = 0
    older: int = 0
    gone: int = 0


@dataclass
class Loaded:
    """What a load did. rows_read = rows_taken + rows_rejected; `reasons`: what was left out -> how often; `checks`: what
    was found when the facts were looked over (intake.quality); `notes`: how the source was read; `examples`: the first few that
    were left out; `is_trial`: nothing of it was kept."""

    import_id: int
    name: str
    rows_read: int = 0
    rows_rejected: int = 0
    cells_left_out: int = 0
    tables: dict[str, Counts] = field(default_factory=dict)
    reasons: Counter = field(default_factory=Counter)
    checks: list = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    examples: list[Reject] = field(default_factory=list)
    seconds: float = 0.0
    is_trial: bool = False

    @property
    def rows_taken(self) -> int:
        return self.rows_read - self.rows_rejected

    def summary(self) -> dict:
        """What is kept of it in imports.summary."""
        return {
            "tables": {table: asdict(counts) for table, counts in self.tables.items()},
            "reasons": dict(self.reasons.most_common()),
            "notes": self.notes,
        }


@dataclass(frozen=True)
class Wishes:
    """How to load. `is_history`: facts count as recorded when they happened; `is_complete`: what the source brought
    earlier and does not name now is gone; `most_gone`: at most this share of it; `lookups`: the folder of second files.

    `is_trial`: all of it is done and rolled back.

    `before_commit` is called in the load's transaction with its id, at its end. `check` looks the facts over:
    it gets the connection and the load so far, and returns what `Loaded.checks` holds."""

    actor: str
    is_history: bool = False
    is_complete: bool = False
    is_trial: bool = False
    most_gone: float = MOST_GONE
    lookups: Path = Path(".")
    before_commit: Callable[[Connection, int], None] = lambda conn, import_id: None
    check: Callable[[Connection, Loaded, datetime], list] = lambda conn, loaded, now: []


@dataclass(frozen=True)
class Progress:
    """Where a load stands: `stage` in words, `done` of `size` (0: not known) in the source's own unit, rows so far."""

    stage: str
    done: int = 0
    size: int = 0
    rows: int = 0


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
    check_columns(source, mapping.needs(), f"the mapping {mapping.name}")
    _check_history(mapping, wishes)
    lookups = _read_lookups(mapping, wishes.lookups)
    began = clock()
    with load_turn(engine, lambda: on_progress(Progress("waiting for another load to end"))) as conn:
        if wishes.is_trial:
            with conn.begin() as whole:
                import_id = _begin(conn, mapping, source, wishes, began)
                loaded = _load(conn, mapping, source, wishes, import_id, lookups, clock, on_progress)
                whole.rollback()
        else:
            with conn.begin():
                import_id = _begin(conn, mapping, source, wishes, began)
            try:
                with conn.begin():
                    loaded = _load(conn, mapping, source, wishes, import_id, lookups, clock, on_progress)
            except BaseException as error:
                _fail(conn, import_id, clock(), error)
                raise
    loaded.is_trial = wishes.is_trial
    loaded.seconds = (clock() - began).total_seconds()
    return loaded


def _begin(conn: Connection, mapping: Mapping, source: Source, wishes: Wishes, now: datetime) -> int:
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
            name=source.name,
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
        if "occurred_at" not in block.cells:
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
    how = (
        [source.encoding, "tabs" if source.delimiter == "\t" else f'"{source.delimiter}"']
        if hasattr(source, "encoding")
        else []
    )
    loaded = Loaded(import_id, source.name, notes=how)
    lander = _find_landing(conn, mapping, source, wishes)
    if lander:
        landed = _land(conn, mapping, source, wishes, context, loaded, lander, now, on_progress)
        if not landed:
            # Some row stands twice: begin anew, by the way that can tell which of them counts.
            on_progress(Progress("some rows repeat a key: reading once more"))
            loaded = Loaded(import_id, source.name, notes=how)
            lander = None
    if not lander:
        for table in mapping.tables:
            make_staging(conn, table, STAGED_TOO)
        _stream(
            conn, mapping, source, context, loaded, {table: f"staged_{table}" for table in mapping.tables}, on_progress
        )
        now = clock()
        _take(conn, mapping, wishes, loaded, now, on_progress)
    _finish(conn, mapping, wishes, loaded, now, on_progress)
    return loaded


def _find_landing(conn: Connection, mapping: Mapping, source: Source, wishes: Wishes) -> str | None:
    """The table that the rows can go straight into, if there is one."""
    block = mapping.blocks[0]
    is_simple = len(mapping.blocks) == 1 and block.into in LANDS and not block.free and not block.gone
    has_key = all(name in block.cells for name in TARGETS[block.into].key)
    is_big = source.size >= WORTH_LANDING and hasattr(source, "encoding")
    return (
        block.into if is_simple and has_key and is_big and not wishes.is_trial and is_empty(conn, block.into) else None
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
    if "source" in _columns_of(table):
        defaults["source"] = mapping.source
    if "occurred_at" in _columns_of(table) and "occurred_at" not in mapping.blocks[0].cells:
        defaults["occurred_at"] = now.isoformat()
    landing = Landing(conn, table, defaults)
    _stream(conn, mapping, source, context, loaded, {table: table}, on_progress, is_history=wishes.is_history, now=now)
    on_progress(Progress(f"building the indexes of {table}", rows=loaded.rows_read))
    if not landing.finish():
        nested.rollback()
        source.rewind()
        return False
    nested.commit()
    loaded.tables[table] = Counts(new=loaded.rows_taken)
    analyze(conn, table)
    return True


def _columns_of(table: str) -> set[str]:
    return set(metadata.tables[table].columns.keys())


Piece = tuple[Applied, list[tuple[str, list[str], bytes]], int]


def _stream(
    conn: Connection,
    mapping: Mapping,
    source: Source,
    context: Context,
    loaded: Loaded,
    into: dict[str, str],
    on_progress: Callable[[Progress], None],
    *,
    is_history: bool = False,
    now: datetime | None = None,
) -> None:
    """Copy every chunk where it goes. One thread reads and converts while the database takes what came before."""

    def prepare() -> Iterator[Piece]:
        for chunk in source.chunks():
            applied = apply_mapping(mapping, chunk, context)
            payloads = []
            for table, frame in applied.frames:
                if into[table] == table:
                    frame = _as_landed(frame, table, is_history, now)
                payloads.append((into[table], frame.columns, _write(frame)))
            yield applied, payloads, chunk.done

    for applied, payloads, done in _ahead(prepare()):
        for table, columns, payload in payloads:
            copy_csv(conn, table, columns, payload)
        loaded.rows_read += applied.rows
        loaded.rows_rejected += applied.rows_rejected
        _keep_rejects(conn, loaded, applied.rejects)
        on_progress(Progress("reading", done, source.size, loaded.rows_read))


def _as_landed(frame: pl.DataFrame, table: str, is_history: bool, now: datetime | None) -> pl.DataFrame:
    """Staged rows as the table itself has them."""
    columns = _columns_of(table)
    if is_history and "occurred_at" in frame.columns:
        frame = frame.with_columns(pl.min_horizontal("occurred_at", pl.lit(now)).alias("recorded_at"))
    if "birth_leap_month" in frame.columns:
        frame = frame.with_columns(pl.col("birth_leap_month").fill_null(False))
    return frame.select([column for column in frame.columns if column in columns])


def _write(frame: pl.DataFrame) -> bytes:
    moments = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    is_whole = all((frame[name].dt.microsecond() == 0).all() for name in moments)
    form = "%Y-%m-%d %H:%M:%S" if is_whole else "%Y-%m-%d %H:%M:%S%.6f"
    return frame.write_csv(include_header=False, datetime_format=form).encode()


def _ahead(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same pieces, made by another thread, two ahead at most."""
    ready: queue.Queue = queue.Queue(2)
    over = threading.Event()

    def work() -> None:
        try:
            for piece in pieces:
                while not over.is_set():
                    try:
                        ready.put(piece, timeout=0.2)
                        break
                    except queue.Full:
                        continue
                if over.is_set():
                    return
            last: object = None
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            last = error
        while not over.is_set():
            try:
                ready.put(last, timeout=0.2)
                return
            except queue.Full:
                continue

    thread = threading.Thread(target=work, name="retention-intake", daemon=True)
    thread.start()
    try:
        while True:
            piece = ready.get()
            if piece is None:
                return
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        over.set()
        thread.join()


def _keep_rejects(conn: Connection, loaded: Loaded, rejects: list[Reject]) -> None:
    if not rejects:
        return
    loaded.cells_left_out += sum(reject.level == "cell" for reject in rejects)
    loaded.reasons.update(reject.reason for reject in rejects)
    loaded.examples += rejects[: max(0, EXAMPLES - len(loaded.examples))]
    frame = pl.DataFrame(
        {
            "import_id": [loaded.import_id] * len(rejects),
            "line": [reject.line for reject in rejects],
            "level": [reject.level for reject in rejects],
            "column": pl.Series([reject.column for reject in rejects], dtype=pl.String),
            "reason": [reject.reason for reject in rejects],
            "remedy": [reject.remedy for reject in rejects],
            "raw": [reject.raw for reject in rejects],
        }
    )
    copy_csv(conn, "rejected_rows", frame.columns, frame.write_csv(include_header=False).encode())


def _take(
    conn: Connection,
    mapping: Mapping,
    wishes: Wishes,
    loaded: Loaded,
    now: datetime,
    on_progress: Callable[[Progress], None],
) -> None:
    for table in mapping.tables:
        on_progress(Progress(f"taking over {table}", rows=loaded.rows_read))
        analyze(conn, f"staged_{table}")
        blocks = [block for block in mapping.blocks if block.into == table]
        known = {
            "now": now,
            "source": mapping.source,
            "is_history": wishes.is_history,
            "mapped": sorted(set().union(*(block.cells for block in blocks))),
            "free": sorted(set().union(*(block.free for block in blocks))),
        }
        _run_known(conn, _PICK[table], known)
        analyze(conn, f"incoming_{table}")
        loaded.tables[table] = Counts(**_run_known(conn, _TAKE[table], known).mappings().one())
        if wishes.is_complete and table in SWEPT:
            key = SWEPT[table]
            make_present(conn, table, key)
            conn.execute(text(f"insert into present_{table} select {key} from staged_{table}"))
            loaded.tables[table].gone += sweep(conn, table, mapping.source, now, wishes.most_gone)
        if loaded.tables[table].new > 1000:
            analyze(conn, table)


_PICK = {
    "customers": "intake/pick_customers",
    "orders": "intake/pick_orders",
    "order_items": "intake/pick_order_items",
    "order_status": "intake/pick_order_status",
    "products": "intake/pick_products",
    "events": "intake/pick_events",
    "consents": "intake/pick_consents",
    "suppressions": "intake/pick_suppressions",
}
_TAKE = {
    "customers": "intake/take_customers",
    "orders": "intake/take_orders",
    "order_items": "intake/take_order_items",
    "order_status": "intake/take_order_status",
    "products": "intake/take_products",
    "events": "intake/take_events",
    "consents": "intake/take_consents",
    "suppressions": "intake/take_suppressions",
}
_SWEEP = {"customers": "intake/sweep_customers", "orders": "intake/sweep_orders"}


def _run_known(conn: Connection, name: str, parameters: dict):
    """Run a statement with those of the parameters that it names."""
    return run(conn, name, **{key: value for key, value in parameters.items() if key in statement(name)._bindparams})


def sweep(conn: Connection, table: str, source: str, now: datetime, most_gone: float) -> int:
    """Take out what the source no longer has, by the table `present_<table>`; how many.

    Raises IntakeError when that is more than `most_gone` of all it brought: such a list is more likely broken."""
    had = conn.scalar(text(f"select count(*) from {table} where source = :source"), {"source": source})
    most = max(20, int(had * most_gone))
    missing, gone = _run_known(conn, _SWEEP[table], {"source": source, "now": now, "most": most}).one()
    if missing > most:
        raise IntakeError(
            f"{source}: {missing:,} of {had:,} {table} would be gone, more than {most_gone:.0%}. Is the list whole? "
            "Nothing was loaded. If it is right: --most-gone 100%."
        )
    return gone


def _finish(
    conn: Connection,
    mapping: Mapping,
    wishes: Wishes,
    loaded: Loaded,
    now: datetime,
    on_progress: Callable[[Progress], None],
) -> None:
    on_progress(Progress("looking the facts over", rows=loaded.rows_read))
    loaded.checks = wishes.check(conn, loaded, now)
    wishes.before_commit(conn, loaded.import_id)
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
