"""A second database beside ours, with a copy of the facts, for playing history over: what is decided there touches nobody.

A database of its own, not a schema, so that no statement can reach the real ledger, whatever it says (decision 0013).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url

from retention.store.migrate import create_database, migrate
from retention.store.tables import metadata

FACTS = (
    "customers", "customer_history", "products", "orders", "order_history", "order_status", "order_items",
    "order_item_history", "events", "consents", "choices", "suppressions",
)  # fmt: skip
"""What is copied, in this order."""

CORRECTIONS = ("order_history", "order_item_history")
"""What was thought before it was put right: of no interest where all is taken as it happened."""


@contextmanager
def scratch_store(
    engine: Engine, *, as_it_happened: bool, on_table: Callable[[str, int], None] = lambda table, rows: None
) -> Iterator[Engine]:
    """An engine for a fresh database with our facts and an empty ledger; it is dropped at the end, come what may.

    `as_it_happened`: every fact counts as known from the moment it happened, and only as it stands now; else each is known
    when it was recorded. What killed ones left behind is dropped first. Raises StoreError where no database can be made.
    """
    ours = make_url(engine.url)
    prefix = f"{ours.database}_replay_"
    target = ours.set(database=prefix + secrets.token_hex(4))
    _drop_left(engine, prefix)
    create_database(target.render_as_string(hide_password=False))
    made = create_engine(
        target, hide_parameters=True, connect_args={"options": "-c timezone=UTC", "application_name": "replay"}
    )
    guard = made.connect()  # who looks for what was left sees that this one is in use
    try:
        migrate(target.render_as_string(hide_password=False))
        with engine.connect() as source, made.begin() as sink:
            source.execute(text("set transaction isolation level repeatable read, read only"))
            for table in FACTS:
                on_table(table, _copy(source, sink, table, as_it_happened=as_it_happened))
        with made.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("analyze"))
        yield made
    finally:
        guard.close()
        made.dispose()
        _drop(engine, target.database)


def _copy(source: Connection, sink: Connection, table: str, *, as_it_happened: bool) -> int:
    if as_it_happened and table in CORRECTIONS:
        return 0
    columns = [column.name for column in metadata.tables[table].columns if column.computed is None]
    chosen = ", ".join(columns)
    if as_it_happened and table == "customer_history":
        # A state counted until the next one began; what was put right at once never did.
        query = (
            f"select {', '.join('occurred_at' if c == 'recorded_at' else 'ends_at' if c == 'replaced_at' else c for c in columns)}"
            " from (select h.*, coalesce(lead(occurred_at) over (partition by customer_id order by replaced_at),"
            " (select c.occurred_at from customers c where c.customer_id = h.customer_id)) as ends_at from customer_history h) as states"
            " where ends_at > occurred_at"
        )
    elif as_it_happened and table == "order_items":
        ordered = "coalesce((select o.occurred_at from orders o where o.order_id = i.order_id), i.recorded_at)"
        query = f"select {', '.join(ordered if c == 'recorded_at' else c for c in columns)} from order_items i"
    elif as_it_happened and "recorded_at" in columns:
        query = f"select {', '.join('occurred_at' if c == 'recorded_at' else c for c in columns)} from {table}"
    else:
        query = f"select {chosen} from {table}"
    with source.connection.cursor() as reader, sink.connection.cursor() as writer:
        with (
            reader.copy(f"copy ({query}) to stdout (format binary)".encode()) as rows,
            writer.copy(f"copy {table} ({chosen}) from stdin (format binary)".encode()) as into,
        ):
            for block in rows:
                into.write(block)
        return writer.rowcount


def _drop_left(engine: Engine, prefix: str) -> None:
    left = text(
        "select datname from pg_database d where starts_with(datname, :prefix)"
        " and not exists (select from pg_stat_activity a where a.datname = d.datname)"
    )
    with engine.connect() as conn:
        names = conn.scalars(left, {"prefix": prefix}).all()
    for name in names:
        _drop(engine, name)


def _drop(engine: Engine, name: str) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text(f'drop database if exists "{name}" with (force)'))


__all__ = ["scratch_store"]
