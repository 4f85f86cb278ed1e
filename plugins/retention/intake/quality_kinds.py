"""What is looked at after a load: every check with its words and what to do. Data, no work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A check: what loads it concerns, its finding in words ("125 of the 1,000 <noun> of this load <says>"), what to do.

    `later`: a table whose loads may mend what it found, though they bring none of its own rows.
    """

    tables: frozenset[str]
    noun: str
    says: str
    remedy: str
    later: str | None = None


def _kind(tables: str, noun: str, says: str, remedy: str, later: str | None = None) -> Kind:
    return Kind(frozenset(tables.split()), noun, says, remedy, later)


KINDS: dict[str, Kind] = {
    "rows_rejected": _kind(
        "", "rows", "were rejected", "`retention loads LOAD` writes them to a file, each with its reason."
    ),
    "customers_unreachable": _kind(
        "customers", "customers", "have no usable e-mail address or phone number",
        "Was a column renamed, or left empty? Correct the export or the mapping and load again.",
    ),
    "customers_sharing_address": _kind(
        "customers", "customers", "have the e-mail address or phone number of another one",
        "Leave placeholders empty at the source; `retention customers merge` joins two ids of one person.",
    ),
    "birthdays_impossible": _kind(
        "customers", "years of birth", "lie in the future or before 1900",
        "Check the birthday's format in the mapping; leave unknown ones empty.",
    ),
    "birthdays_on_one_day": _kind(
        "customers", "birthdays", "are on the same day", "It looks like a form's default: leave unknown ones empty.",
    ),
    "orders_in_future": _kind(
        "orders", "orders", "are later than the load", "Check the column of their time and its time zone in the mapping.",
    ),
    "orders_too_old": _kind(
        "orders", "orders", "are from before 1990", "An empty date reads as 1970 or 1900: correct it at the source.",
    ),
    "orders_without_customer": _kind(
        "orders", "orders", "are of a customer who is not known",
        "Load the customers; check that both use the same ids, and the same prefix.", later="customers",
    ),
    "orders_few": _kind("orders", "orders", "", "Is the export whole, and is it the newest? Load what is missing."),
    "orders_many": _kind(
        "orders", "orders", "", "Are orders in it twice, under other ids? For a big sale raise the limit.",
    ),
    "items_without_order": _kind(
        "order_items", "order lines", "are of an order that is not known", "Load the orders.", later="orders"
    ),
    "events_in_future": _kind(
        "events", "events", "are later than the load", "Check the column of their time and its time zone in the mapping.",
    ),
    "events_without_customer": _kind(
        "events", "events", "are of a customer who is not known",
        "Load the customers; check that both use the same ids.", later="customers",
    ),
}  # fmt: skip
"""Every check, in the order of a report. rows_rejected concerns every load."""


def find_remedy(check: str, import_id: int) -> str:
    """What to do about a check of a load that is not good; nothing for one that there is no more."""
    return KINDS[check].remedy.replace("LOAD", str(import_id)) if check in KINDS else ""
