"""One person in the store: every id, address and row that is theirs, and what it takes to find a mention of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, or_, select

from retention.store.tables import (
    coupons,
    customer_history,
    customer_merges,
    customers,
    enrollments,
    messages,
    order_history,
    orders,
    replies,
)

IN_PLACE = "erased"
"""What stands where a person was named."""


@dataclass(frozen=True)
class Person:
    """Everything a person is known by. `codes`: coupon_id -> code."""

    ids: tuple[str, ...]
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    order_ids: tuple[str, ...] = ()
    enrollment_ids: tuple[int, ...] = ()
    message_ids: tuple[int, ...] = ()
    merge_ids: tuple[int, ...] = ()
    codes: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        return (*self.emails, *self.phones, *self.ids)

    @property
    def is_known(self) -> bool:
        """Whether there is anything of them."""
        return bool(self.emails or self.phones or self.names or self.order_ids or self.enrollment_ids or self.merge_ids)

    def named(self) -> list[tuple[str, str]]:
        """(kind, value) of all that they are known again by."""
        kinds = {"customer": self.ids, "email": self.emails, "phone": self.phones, "order": self.order_ids}
        return [(kind, value) for kind, values in kinds.items() for value in values]

    def pattern(self) -> str:
        """A pattern, alike for Python and Postgres, of whatever names them in a text; in any case of letters."""
        # A short word is in too many texts: of names and ids only those that say something.
        words = [*self.emails, *self.phones, *(phone.removeprefix("+") for phone in self.phones), *self.codes]
        words += [it for it in (*self.ids, *self.order_ids, *self.names) if len(it) > 1]
        spelt = {form for word in words if word for form in (word, json.dumps(word)[1:-1])}
        parts = [re.escape(it) for it in sorted(spelt, key=len, reverse=True)]
        return rf"(?<![a-zA-Z0-9_])({'|'.join(parts)})(?![a-zA-Z0-9_])" if parts else r"(?!)"


class Mentions:
    """Finds a person in texts, and takes them out."""

    def __init__(self, person: Person):
        self._pattern = re.compile(person.pattern(), re.IGNORECASE)

    def are_in(self, text: str) -> bool:
        return bool(self._pattern.search(text))

    def take_out(self, value: Any) -> Any:
        """The same text, list or object without the person. Numbers are left alone."""
        if isinstance(value, str):
            return self._pattern.sub(IN_PLACE, value)
        if isinstance(value, list):
            return [self.take_out(it) for it in value]
        if isinstance(value, dict):
            return {self.take_out(key): self.take_out(it) for key, it in value.items()}
        return value


def find_person(conn: Connection, customer_id: str) -> Person:
    """All that is known under the id, under those that were merged into it, and the one it goes on under."""
    ids = _find_ids(conn, customer_id)
    spelt = [
        row
        for table in (customers, customer_history)
        for row in conn.execute(select(table.c.name, table.c.email, table.c.phone).where(table.c.customer_id.in_(ids)))
    ]
    entered = conn.execute(
        select(enrollments.c.enrollment_id, enrollments.c.email, enrollments.c.phone).where(
            enrollments.c.customer_id.in_(ids)
        )
    ).all()
    enrollment_ids = sorted(row.enrollment_id for row in entered)
    sent = conn.execute(
        select(messages.c.message_id, messages.c.address).where(messages.c.enrollment_id.in_(enrollment_ids))
    ).all()
    merges = conn.execute(
        select(customer_merges.c.merge_id, customer_merges.c.kept_id, customer_merges.c.merged_id, customer_merges.c.before)
        .where(or_(customer_merges.c.kept_id.in_(ids), customer_merges.c.merged_id.in_(ids)))
    ).all()  # fmt: skip
    before = [
        state
        for merge in merges
        for role, owner in (("kept", merge.kept_id), ("merged", merge.merged_id))
        if owner in ids and (state := merge.before.get(role))
    ]
    message_ids = sorted(row.message_id for row in sent)
    wrote_from = conn.scalars(select(replies.c.address).where(replies.c.message_id.in_(message_ids))).all()
    sent_to = {row.address for row in sent if row.address} | set(wrote_from)
    emails = {row.email for row in (*spelt, *entered)} | {it.get("email") for it in before}
    phones = {row.phone for row in (*spelt, *entered)} | {it.get("phone") for it in before}
    emails |= {it for it in sent_to if "@" in it}
    phones |= {it for it in sent_to if it.startswith("+")}
    order_ids = {
        it
        for table in (orders, order_history)
        for it in conn.scalars(select(table.c.order_id).where(table.c.customer_id.in_(ids)))
    }
    return Person(
        tuple(ids),
        _tidy({*emails, *(it.lower() for it in emails if it)}),
        _tidy(phones),
        _tidy({row.name for row in spelt} | {it.get("name") for it in before}),
        _tidy(order_ids),
        tuple(enrollment_ids),
        tuple(message_ids),
        tuple(sorted(merge.merge_id for merge in merges)),
        _tidy(conn.scalars(select(coupons.c.code).where(coupons.c.customer_id.in_(ids)))),
    )


def _tidy(values: Any) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}))


def _find_ids(conn: Connection, customer_id: str) -> list[str]:
    """The ids of one person: everything that standing merges bind together, whichever way."""
    pairs = conn.execute(
        select(customer_merges.c.kept_id, customer_merges.c.merged_id).where(customer_merges.c.undone_at.is_(None))
    ).all()
    beside: dict[str, set[str]] = {}
    for kept, merged in pairs:
        beside.setdefault(kept, set()).add(merged)
        beside.setdefault(merged, set()).add(kept)
    found, todo = {customer_id}, [customer_id]
    while todo:
        for other in beside.get(todo.pop(), set()) - found:
            found.add(other)
            todo.append(other)
    return [customer_id, *sorted(found - {customer_id})]


__all__ = ["IN_PLACE", "Mentions", "Person", "find_person"]
