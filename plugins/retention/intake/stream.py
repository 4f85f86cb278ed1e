"""Rows on their way: read and converted by one thread while the database takes what came before. Owns COPY and rejects."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from datetime import datetime

import polars as pl
from sqlalchemy import Connection

from retention.intake.chunks import Reject, Source
from retention.intake.convert import Context
from retention.intake.loaded import Loaded, Progress
from retention.intake.mapping import Mapping
from retention.intake.rows import Applied, apply_mapping
from retention.store.staging import copy_csv
from retention.store.tables import metadata

EXAMPLES = 20
"""How many of what was left out a load shows at once."""

Piece = tuple[Applied, list[tuple[str, list[str], bytes]], int]


def stream(
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
    columns = columns_of(table)
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


def columns_of(table: str) -> set[str]:
    return set(metadata.tables[table].columns.keys())
