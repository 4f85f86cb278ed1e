"""One person under two ids: the history of one goes on under the other, and can be given back. Owns customer_merges.

It decides nobody in and sends nothing: that a person is carried once is what entry, plan and the last check read from
customer_merges. Every function works in the caller's transaction, and changes wait for a load that is under way.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, select, text, update

from retention.errors import RetentionError
from retention.store.audit import note
from retention.store.queries import run
from retention.store.staging import LOAD_LOCK
from retention.store.tables import customer_merges, customers, enrollments

NOTED_TABLES = ("orders", "events", "consents", "choices")
"""The tables whose incoming rows name a customer, and come back when a merge is undone."""

PLAIN = ("name", "email", "phone", "locale", "timezone", "country")
BIRTHDAY = ("birth_calendar", "birth_month", "birth_day", "birth_leap_month")

MERGE, UNDO = "customers merge", "customers merge, undo"


@dataclass(frozen=True)
class Merged:
    """What a merge did, or what its undoing took back.

    `rows`: table -> rows that changed owner. `tightened`: (channel, purpose) in which a withdrawal of one of the two
    beat what the other allowed; empty for an undo. `filled`: the kept customer's columns that were filled, or emptied
    again. `ended`: (mode, journey) in which the enrollment that stays under merged_id ends because the kept customer is
    or was in it, or goes on again. `merged_again`: ids that went to the same customer later than an undone merge; they
    were taken back and merged anew.
    """

    merge_id: int
    kept_id: str
    merged_id: str
    rows: dict[str, int]
    tightened: tuple[tuple[str, str], ...]
    filled: tuple[str, ...]
    ended: tuple[tuple[str, str], ...]
    merged_again: tuple[str, ...] = ()

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Standing:
    """A merge that was not undone."""

    merge_id: int
    kept_id: str
    merged_id: str
    actor: str
    reason: str
    merged_at: datetime


def merge_customers(
    conn: Connection, kept_id: str, merged_id: str, *, reason: str, actor: str, now: datetime
) -> Merged:
    """Let everything of `merged_id` go on under `kept_id`.

    The kept customer keeps what is known of it and gets from the other only what it lacks. Its permissions are the
    stricter of both. An enrollment in a journey the kept customer is or was in stays and ends: its further steps are
    `skip: merged`. Raises RetentionError for an id that isn't there, is the same, or goes on under another already.
    """
    _take_turn(conn)
    where = f"{MERGE} {kept_id} {merged_id}"
    _refuse_unmergeable(conn, where, kept_id, merged_id)
    merged = _merge(conn, kept_id, merged_id, reason=reason, actor=actor, now=now)
    note(conn, now, actor, "merge_customers", None, {"reason": reason} | merged.as_dict())
    return merged


def undo_merge(conn: Connection, merged_id: str, *, reason: str, actor: str, now: datetime) -> Merged:
    """Give back what the merge of `merged_id` took: the same rows, the customer as it was, no added withdrawal.

    What came for the kept customer itself stays with it, and so does a filled value that was changed since. Steps that
    were skipped as `merged` stay skipped. Other ids that were merged into the same customer later are taken back first
    and merged anew, so that what they got or gave is as if this merge had never been. Raises RetentionError when no
    merge of this id stands, or the customer it went to went on under another id later.
    """
    _take_turn(conn)
    merge = _find_standing(conn, merged_id)
    if merge is None:
        raise RetentionError(
            f"{UNDO} {merged_id}: no merge of {merged_id} stands. Look at the standing merges for the id that was merged."
        )
    if outer := _find_standing(conn, merge.kept_id):
        raise RetentionError(
            f"{UNDO} {merged_id}: {merge.kept_id}, under which it goes on, was itself merged into {outer.kept_id} later "
            f"({_moment(outer)}). Undo the merge of {merge.kept_id} first: last in, first out."
        )
    later = conn.execute(
        _standing()
        .where(customer_merges.c.kept_id == merge.kept_id, customer_merges.c.merge_id > merge.merge_id)
        .order_by(customer_merges.c.merge_id)
    ).all()
    for other in reversed(later):
        _undo(conn, other, now)
    rows, emptied, ended = _undo(conn, merge, now)
    for other in later:
        _merge(conn, other.kept_id, other.merged_id, reason=other.reason, actor=other.actor, now=now)
    undone = Merged(
        merge.merge_id, merge.kept_id, merged_id, rows, (), emptied, ended, tuple(other.merged_id for other in later)
    )
    note(conn, now, actor, "undo_merge", None, {"reason": reason} | undone.as_dict())
    return undone


def fetch_merges(conn: Connection) -> list[Standing]:
    """The merges that stand, oldest first."""
    found = conn.execute(_standing().order_by(customer_merges.c.merge_id))
    return [Standing(r.merge_id, r.kept_id, r.merged_id, r.actor, r.reason, r.merged_at) for r in found]


def standing_aliases(conn: Connection) -> dict[str, str]:
    """merged_id -> the id it goes on under now, at the end of its chain. For a load to re-key incoming rows by."""
    return {merged_id: kept_id for merged_id, kept_id in run(conn, "intake/merge_list_aliases")}


def note_rekeyed(conn: Connection, table: str, keys_by_merged: Mapping[str, Collection[str]]) -> None:
    """Remember rows that came in for merged ids and were given to the kept customer, so that an undo gives them back.

    `keys_by_merged`: the id a source named -> the primary keys (as text) of the rows that were stored under the id that
    `standing_aliases` says. `table` is one of NOTED_TABLES. Ids that no merge stands for are passed over; noting a row
    twice is harmless. History that a trigger keeps of these rows needs no note: it follows them.
    """
    if table not in NOTED_TABLES:
        raise ValueError(f"{table}: rows of {', '.join(NOTED_TABLES)} can be given back")
    pairs = [(merged_id, str(key)) for merged_id, keys in keys_by_merged.items() for key in keys]
    if pairs:
        run(
            conn,
            "intake/merge_note_rekeyed",
            table_name=table,
            merged_ids=[merged_id for merged_id, _ in pairs],
            row_keys=[key for _, key in pairs],
        )


def _take_turn(conn: Connection) -> None:
    # The lock of the loads: none of them reads the aliases before and stores its rows after a merge.
    conn.execute(text("select pg_advisory_xact_lock(hashtext(:key))"), {"key": LOAD_LOCK})


def _standing():
    return select(customer_merges).where(customer_merges.c.undone_at.is_(None))


def _find_standing(conn: Connection, merged_id: str) -> Row | None:
    return conn.execute(_standing().where(customer_merges.c.merged_id == merged_id)).first()


def _moment(merge: Row) -> str:
    return merge.merged_at.isoformat(timespec="minutes")


def _refuse_unmergeable(conn: Connection, where: str, kept_id: str, merged_id: str) -> None:
    if kept_id == merged_id:
        raise RetentionError(f"{where}: both are the same id. Name the id to keep, then the one to merge into it.")
    if earlier := _find_standing(conn, merged_id):
        raise RetentionError(
            f"{where}: {merged_id} goes on under {earlier.kept_id} already (since {_moment(earlier)}). "
            "Undo that merge first if it belongs to somebody else."
        )
    if away := _find_standing(conn, kept_id):
        last = standing_aliases(conn)[kept_id]
        raise RetentionError(
            f"{where}: {kept_id} was itself merged (since {_moment(away)}) and goes on under {last}. "
            f"Merge {merged_id} into {last}."
        )
    wanted = [kept_id, merged_id]
    known = set(conn.scalars(select(customers.c.customer_id).where(customers.c.customer_id.in_(wanted))))
    if missing := [customer_id for customer_id in wanted if customer_id not in known]:
        raise RetentionError(
            f"{where}: no customer has the id {' or '.join(missing)}. Check the spelling, or load the customers first."
        )


def _merge(conn: Connection, kept_id: str, merged_id: str, *, reason: str, actor: str, now: datetime) -> Merged:
    both = _hold_rows(conn, kept_id, merged_id)
    kept, merged = both[kept_id], both[merged_id]
    filled = find_fillings(kept, merged)
    about = {"kept_id": kept_id, "merged_id": merged_id}
    merge_id = run(
        conn, "intake/merge_begin", actor=actor, reason=reason, filled=json.dumps(filled), now=now, **about
    ).scalar_one()
    tightened = run(conn, "intake/merge_tighten_consents", merge_id=merge_id, now=now, **about).all()
    run(conn, "intake/merge_tighten_choices", merge_id=merge_id, now=now, **about)
    run(conn, "intake/merge_carry_suppressions", merge_id=merge_id, now=now, **about)
    rows = {table: count for table, count in run(conn, "intake/merge_rekey", merge_id=merge_id, **about)}
    if filled:
        # A filled column is worked out, or a source's own word, as it was for the other.
        derived = [c for c in kept["derived"] if c not in filled or c in merged["derived"]]
        derived += [c for c in merged["derived"] if c in filled and c not in derived]
        values = filled | {"derived": derived}
        if "attributes" in filled:
            values["attributes"] = kept["attributes"] | filled["attributes"]
        _change(conn, kept, now, values)
    run(conn, "intake/merge_retire_customer", merged_id=merged_id, now=now)
    ended = _list_ended(conn, merged_id)
    return Merged(merge_id, kept_id, merged_id, rows, tuple(map(tuple, tightened)), tuple(filled), ended)


def _undo(
    conn: Connection, merge: Row, now: datetime
) -> tuple[dict[str, int], tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Take one merge back; the rows given back by table, the columns emptied, the journeys that go on."""
    about = {"kept_id": merge.kept_id, "merged_id": merge.merged_id, "merge_id": merge.merge_id}
    both = _hold_rows(conn, merge.kept_id, merge.merged_id)
    resumed = _list_ended(conn, merge.merged_id)
    rows = {t: count for t, count in run(conn, "intake/merge_give_back", merged_at=merge.merged_at, **about)}
    emptied: dict[str, Any] = {}
    if kept := both.get(merge.kept_id):
        emptied = find_emptied(kept, merge.before["kept"], merge.before["filled"])
        if emptied:
            _change(conn, kept, now, emptied)
    run(conn, "intake/merge_restore_customer", merge_id=merge.merge_id, now=now)
    conn.execute(update(customer_merges).where(customer_merges.c.merge_id == merge.merge_id).values(undone_at=now))
    return rows, tuple(c for c in emptied if c != "derived"), resumed


def _hold_rows(conn: Connection, kept_id: str, merged_id: str) -> dict[str, RowMapping]:
    """Both customers, locked. Their enrollments, too: a plan that is being written has ended before they change owner."""
    ids = (kept_id, merged_id)
    found = conn.execute(
        select(customers).where(customers.c.customer_id.in_(ids)).order_by(customers.c.customer_id).with_for_update()
    )
    rows = {row["customer_id"]: row for row in found.mappings()}
    mine = select(enrollments.c.enrollment_id).where(enrollments.c.customer_id.in_(ids))
    conn.execute(mine.order_by(enrollments.c.enrollment_id).with_for_update()).all()
    return rows


def _list_ended(conn: Connection, merged_id: str) -> tuple[tuple[str, str], ...]:
    return tuple((mode, journey) for mode, journey in run(conn, "intake/merge_ended_journeys", merged_id=merged_id))


def _change(conn: Connection, kept: RowMapping, now: datetime, values: Mapping[str, Any]) -> None:
    conn.execute(
        update(customers)
        .where(customers.c.customer_id == kept["customer_id"])
        # Never earlier than what is there: a replay must not learn of it too soon.
        .values(recorded_at=max(now, kept["recorded_at"]), **values)
    )


def find_fillings(kept: Mapping[str, Any], merged: Mapping[str, Any]) -> dict[str, Any]:
    """What the kept customer lacks and the other has: column -> value, and `attributes` -> {key: value}.

    A value we only worked out (`derived`) gives way to a source's own word. A birthday is one thing: its month, day and
    calendar come together, and a year only with the birthday it belongs to.
    """
    filled = {}
    for column in PLAIN:
        is_guess = column in kept["derived"] and column not in merged["derived"]
        if merged[column] is not None and (kept[column] is None or is_guess):
            filled[column] = merged[column]
    if kept["birth_month"] is None and merged["birth_month"] is not None:
        filled |= {column: merged[column] for column in BIRTHDAY}
    is_same_birthday = all(kept[column] == merged[column] for column in BIRTHDAY)
    may_take_year = kept["birth_month"] is None or is_same_birthday
    if kept["birth_year"] is None and merged["birth_year"] is not None and may_take_year:
        filled["birth_year"] = merged["birth_year"]
    attributes = {key: value for key, value in merged["attributes"].items() if key not in kept["attributes"]}
    return filled | ({"attributes": attributes} if attributes else {})


def find_emptied(kept: Mapping[str, Any], before: Mapping[str, Any], filled: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that go back to what they were `before`, since they still are what was `filled`; column -> value."""
    back = {c: before[c] for c in (*PLAIN, "birth_year") if c in filled and kept[c] == filled[c]}
    if "birth_month" in filled and all(kept[column] == filled[column] for column in BIRTHDAY):
        back |= {column: before[column] for column in BIRTHDAY}
    given = filled.get("attributes", {})
    attributes = {k: v for k, v in kept["attributes"].items() if k not in given or v != given[k]}
    if attributes != kept["attributes"]:
        back["attributes"] = attributes
    worked_out = ({*kept["derived"]} - {*back}) | ({*before["derived"]} & {*back})
    if worked_out != {*kept["derived"]}:
        back["derived"] = sorted(worked_out, key=[*before["derived"], *kept["derived"]].index)
    return back
