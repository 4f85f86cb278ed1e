"""Staged rows become facts, one statement a table. Owns what is new, changed, older, contradicted, merged or gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, CursorResult, text

from retention.errors import IntakeError
from retention.intake.loaded import Counts, Loaded, Progress, Wishes
from retention.intake.mapping import Mapping
from retention.intake.merge import note_rekeyed, standing_aliases
from retention.intake.refuse_erased import refuse_erased
from retention.store.queries import run, statement
from retention.store.staging import analyze, make_present

SWEPT = {"customers": "customer_id", "orders": "order_id"}
"""Tables that a complete list may take rows from, and their key."""

CONTRADICTED = "{table}: a later row says otherwise about the same one, and that one counts"
_CONTRADICTED_REMEDY = "Correct the source if the key is not unique; else map what tells the rows apart."


def take(
    conn: Connection,
    mapping: Mapping,
    wishes: Wishes,
    loaded: Loaded,
    now: datetime,
    on_progress: Callable[[Progress], None],
) -> None:
    """Take over everything that is staged, in the caller's transaction; the counts go to `loaded.tables`."""
    # The erased are no reason to doubt a list.
    is_whole = wishes.is_complete and not loaded.rows_rejected
    refuse_erased(conn, mapping, loaded, now)
    aliases = standing_aliases(conn)
    if wishes.is_complete and not is_whole:
        # What a rejected row was about is not known: it may be there.
        loaded.notes.append(f"{loaded.rows_rejected:,} rows were rejected, so nothing counts as gone")
    for table in mapping.tables:
        on_progress(Progress(f"taking over {table}", rows=loaded.rows_read))
        blocks = [block for block in mapping.blocks if block.into == table]
        known = {
            "now": now,
            "source": mapping.source,
            "import_id": loaded.import_id,
            "is_history": wishes.is_history,
            "mapped": sorted(set().union(*(block.cells for block in blocks))),
            "free": sorted(set().union(*(block.free for block in blocks))),
        }
        is_swept = is_whole and table in SWEPT
        if is_swept:
            _list_present(conn, table, aliases)
        rekeyed = _rekey(conn, table, aliases)
        analyze(conn, f"staged_{table}")
        _run(conn, _PICK[table], known)
        analyze(conn, f"incoming_{table}")
        counts = Counts(**_run(conn, _TAKE[table], known).mappings().one())
        loaded.tables[table] = counts
        if table == "customers":
            counts.merged = rekeyed
            if wishes.is_history:
                _run(conn, "intake/remember_customers", known)
        if rekeyed and table in _REKEYED:
            _note_rekeyed(conn, table, known)
        if counts.repeated and table in _CONFLICTS:
            _list_conflicts(conn, table, known, loaded)
        if is_swept:
            counts.gone += sweep(conn, table, mapping.source, now, wishes.most_gone)
        if counts.new > 1000 and 10 * counts.new > _known_size(conn, table):
            analyze(conn, table)


def _known_size(conn: Connection, table: str) -> float:
    """The planner's idea of how many rows the table has; -1 for none yet."""
    return conn.scalar(text("select reltuples from pg_class where oid = cast(:table as regclass)"), {"table": table})


def _list_present(conn: Connection, table: str, aliases: dict[str, str]) -> None:
    """The keys that the source has, as it names them; a customer who goes on under another id is there with either."""
    key = SWEPT[table]
    make_present(conn, table, key)
    conn.execute(text(f"insert into present_{table} select {key} from staged_{table}"))
    if table == "customers" and aliases:
        conn.execute(
            text(
                "insert into present_customers select a.kept_id"
                " from unnest(cast(:merged as text[]), cast(:kept as text[])) as a (merged_id, kept_id)"
                " join present_customers p on p.customer_id = a.merged_id"
            ),
            {"merged": list(aliases), "kept": list(aliases.values())},
        )


def _rekey(conn: Connection, table: str, aliases: dict[str, str]) -> int:
    """Give what names a merged customer to the one that goes on; how many staged rows that were."""
    if not aliases or table not in _REKEY:
        return 0
    return _run(conn, _REKEY[table], {"merged": list(aliases), "kept": list(aliases.values())}).rowcount


def _note_rekeyed(conn: Connection, table: str, known: dict) -> None:
    keys = defaultdict(list)
    for named_id, key in _run(conn, _REKEYED[table], known):
        keys[named_id].append(key)
    note_rekeyed(conn, table, keys)


def _list_conflicts(conn: Connection, table: str, known: dict, loaded: Loaded) -> None:
    reason = CONTRADICTED.format(table=table)
    found = _run(conn, _CONFLICTS[table], known | {"reason": reason, "remedy": _CONTRADICTED_REMEDY}).scalar_one()
    if found:
        loaded.cells_left_out += found
        loaded.reasons[reason] += found


_PICK = {
    "customers": "intake/pick_customers",
    "orders": "intake/pick_orders",
    "order_items": "intake/pick_order_items",
    "order_status": "intake/pick_order_status",
    "products": "intake/pick_products",
    "events": "intake/pick_events",
    "consents": "intake/pick_consents",
    "choices": "intake/pick_choices",
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
    "choices": "intake/take_choices",
    "suppressions": "intake/take_suppressions",
}
_CONFLICTS = {
    "customers": "intake/conflicts_customers",
    "orders": "intake/conflicts_orders",
    "order_items": "intake/conflicts_order_items",
    "products": "intake/conflicts_products",
}
_REKEY = {
    "customers": "intake/rekey_customers",
    "orders": "intake/rekey_orders",
    "events": "intake/rekey_events",
    "consents": "intake/rekey_consents",
    "choices": "intake/rekey_choices",
}
_REKEYED = {
    "orders": "intake/rekeyed_orders",
    "events": "intake/rekeyed_events",
    "consents": "intake/rekeyed_consents",
    "choices": "intake/rekeyed_choices",
}
_SWEEP = {"customers": "intake/sweep_customers", "orders": "intake/sweep_orders"}


def _run(conn: Connection, name: str, parameters: dict) -> CursorResult:
    """Run a statement with those of the parameters that it names."""
    return run(conn, name, **{key: value for key, value in parameters.items() if key in statement(name)._bindparams})


def sweep(conn: Connection, table: str, source: str, now: datetime, most_gone: float) -> int:
    """Take out what the source no longer has, by the table `present_<table>`; how many.

    Raises IntakeError when that is more than `most_gone` of all it brought: such a list is more likely broken."""
    had = conn.scalar(text(f"select count(*) from {table} where source = :source"), {"source": source})
    most = max(20, int(had * most_gone))
    missing, gone = _run(conn, _SWEEP[table], {"source": source, "now": now, "most": most}).one()
    if missing > most:
        raise IntakeError(
            f"{source}: {missing:,} of {had:,} {table} would be gone, more than {most_gone:.0%}. Is the list whole? "
            "Nothing was loaded. If it is right: --most-gone 100%, in include/sync.yaml most_gone: 100%."
        )
    return gone
