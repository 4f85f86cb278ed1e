"""What each table of facts takes from a source: its fields, their kinds, what identifies a row. Data, no code.

A bad value in a required field, or in one where money or permission is at stake, rejects its row; in any other field it
leaves that one cell out. Both are counted and kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from retention.journey.fields import CHANNELS


@dataclass(frozen=True)
class Field:
    """`kind` says how a cell is read (convert.py); `rejects`: whether a bad value costs the whole row."""

    kind: str
    is_required: bool = False
    rejects: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """One table. `key` identifies a row; `free` names the field that takes keys of the mapping's own choice; `is_state`:
    rows without a time of their own say how things stand now."""

    key: tuple[str, ...]
    fields: dict[str, Field]
    free: str | None = None
    is_state: bool = False


def _required(kind: str, *choices: str) -> Field:
    return Field(kind, is_required=True, rejects=True, choices=choices)


_MOMENT = Field("moment", rejects=True)

TARGETS: dict[str, Target] = {
    "customers": Target(
        key=("customer_id",),
        fields={
            "customer_id": _required("id"),
            "name": Field("text"),
            "email": Field("email"),
            "phone": Field("phone"),
            "birthday": Field("birthday"),
            "birth_leap_month": Field("boolean"),
            "locale": Field("locale"),
            "timezone": Field("timezone"),
            "country": Field("country"),
            "occurred_at": _MOMENT,
        },
        free="attributes",
    ),
    "orders": Target(
        key=("order_id",),
        fields={
            "order_id": _required("id"),
            "customer_id": _required("id"),
            "occurred_at": _required("moment"),
            "amount": Field("money", rejects=True),
            "currency": Field("currency", rejects=True),
        },
    ),
    "order_status": Target(
        key=("order_id", "status", "occurred_at"),
        fields={
            "order_id": _required("id"),
            "status": _required("choice", "placed", "paid", "delivered", "cancelled", "refunded"),
            "occurred_at": _MOMENT,
        },
        is_state=True,
    ),
    "order_items": Target(
        key=("order_id", "line"),
        fields={
            "order_id": _required("id"),
            "line": Field("integer", rejects=True),
            "product_id": Field("id"),
            "category": Field("text"),
            "quantity": _required("number"),
            "amount": _required("money"),
            "currency": _required("currency"),
            "coupon_code": Field("id"),
            "occurred_at": _MOMENT,
        },
    ),
    "products": Target(
        key=("product_id",),
        fields={
            "product_id": _required("id"),
            "name": Field("text"),
            "category": Field("text"),
            "price": Field("money"),
            "currency": Field("currency"),
            "occurred_at": _MOMENT,
        },
        free="attributes",
    ),
    "events": Target(
        key=("source_key",),
        fields={
            "source_key": Field("id"),
            "customer_id": _required("id"),
            "kind": _required("event_kind"),
            "occurred_at": _required("moment"),
        },
        free="data",
    ),
    "consents": Target(
        key=("customer_id", "channel", "purpose", "occurred_at"),
        fields={
            "customer_id": _required("id"),
            "channel": _required("choice", *CHANNELS),
            "purpose": _required("choice", "marketing", "transactional"),
            "is_granted": _required("boolean"),
            "wording": Field("text"),
            "occurred_at": _MOMENT,
        },
        is_state=True,
    ),
    "choices": Target(
        key=("customer_id", "subject", "occurred_at"),
        fields={
            "customer_id": _required("id"),
            "subject": _required("choice", "abroad", "profiling"),
            "is_granted": _required("boolean"),
            "wording": Field("text"),
            "occurred_at": _MOMENT,
        },
        is_state=True,
    ),
    "suppressions": Target(
        key=("channel", "address", "occurred_at"),
        fields={
            "channel": _required("choice", *CHANNELS),
            "address": _required("address"),
            "is_suppressed": _required("boolean"),
            "reason": _required("text"),
            "occurred_at": _MOMENT,
        },
        is_state=True,
    ),
}
"""By table. Where a source gives no `occurred_at` and need not, the moment of the load counts."""

DEFAULTS: dict[tuple[str, str], str] = {
    ("consents", "purpose"): "marketing",
    ("suppressions", "is_suppressed"): "true",
    ("suppressions", "reason"): "imported",
}
"""What a required field is when the mapping does not name it."""

FREE_KINDS = ("text", "number", "boolean", "date", "moment")
"""What `as:` may say of an attribute."""

MOST_GONE = 0.05
"""A complete list that lacks more than this share of what its source brought is not believed."""
