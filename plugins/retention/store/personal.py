"""Every place that holds personal data: how its rows are tied to a customer, what erasing does there, how long it is kept.

Plain data, which erasing and exporting follow; a test fails for a table or a column of text that is not named here. Files
have places of their own: FILES.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DELETE, ALTER, KEEP = "delete", "alter", "keep"
"""What erasing does with the rows of a person: they go; they stay as counts, without what tells whose they were; they
hold nothing of anybody."""

CUSTOMER, ENROLLMENT, MESSAGE, ORDER, MERGE, ADDRESS, REQUEST, WORDS, NOBODY = (
    "customer_id",
    "enrollment_id",
    "message_id",
    "order_id",
    "merge_id",
    "address",
    "request",
    "words",
    "nobody",
)
"""How a row is tied to a person: by a column of that name; `request` by what a body holds (delivery.events.forget);
`words` by a text that may name them, wherever it stands."""


@dataclass(frozen=True)
class Place:
    """One table. `renamed` columns get a random name in place of the id; `blanked` ones become null; from `reworded` ones
    every mention of the person is taken; `plain` ones say nothing of a person. `period`: the key of `keep` in
    include/policy.yaml; None: as long as the customer, or the shop, is there."""

    table: str
    tie: str
    erasing: str
    renamed: tuple[str, ...] = ()
    blanked: tuple[str, ...] = ()
    reworded: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    period: str | None = None
    is_exported: bool = field(default=True)


def _nothing(table: str, *plain: str) -> Place:
    return Place(table, NOBODY, KEEP, plain=plain, is_exported=False)


PLACES = (
    # facts: what they are goes, what was bought stays under a random name so that sums stay true
    Place("customers", CUSTOMER, DELETE),
    Place("customer_history", CUSTOMER, DELETE),
    Place("orders", CUSTOMER, ALTER, renamed=("customer_id", "order_id", "source"), plain=("currency",)),
    Place("order_history", CUSTOMER, ALTER, renamed=("customer_id", "order_id", "source"), plain=("currency",)),
    Place("order_status", ORDER, ALTER, renamed=("order_id",), plain=("status",)),
    *(
        Place(table, ORDER, ALTER, renamed=("order_id", "coupon_code"), plain=("product_id", "category", "currency"))
        for table in ("order_items", "order_item_history")
    ),
    Place("events", CUSTOMER, DELETE),
    Place("consents", CUSTOMER, DELETE),
    Place("choices", CUSTOMER, DELETE),
    Place("suppressions", ADDRESS, DELETE),
    Place("customer_sums", CUSTOMER, DELETE),
    Place("tiers", CUSTOMER, DELETE),
    Place("customer_values", CUSTOMER, DELETE),
    Place("customer_preferences", CUSTOMER, DELETE),
    Place("churn", CUSTOMER, DELETE),
    Place("customer_points", CUSTOMER, DELETE),
    Place("strata", CUSTOMER, DELETE),
    # what was decided and sent: the rows stay, so that rates and lift stay true
    Place(
        "enrollments", CUSTOMER, ALTER, renamed=("customer_id", "occurrence"), blanked=("email", "phone"),
        plain=("mode", "journey", "arm", "ineligible_reason", "audience"), period="messages",
    ),
    Place(
        "entry_refusals", CUSTOMER, ALTER, renamed=("customer_id", "occurrence"), plain=("mode", "journey", "reason")
    ),
    Place(
        "coupons", CUSTOMER, ALTER, renamed=("customer_id", "code"),
        plain=("mode", "step", "kind", "state", "pool", "currency", "gift"),
    ),
    Place("coupon_uses", ORDER, ALTER, renamed=("order_id",), plain=("verdict", "currency")),
    Place(
        "messages", ENROLLMENT, ALTER, renamed=("address",),
        plain=("step", "channel", "role", "decision", "reason", "locale", "template", "facts"), period="messages",
    ),
    Place(
        "outcomes", MESSAGE, ALTER, blanked=("provider_id",), reworded=("reason",), plain=("kind", "provider"),
        period="messages",
    ),
    Place(
        "contact_slots", CUSTOMER, ALTER, renamed=("customer_id",), plain=("mode", "journey", "channel", "step"),
        period="contact_slots",
    ),
    Place("outbox", MESSAGE, DELETE, period="outbox"),
    # what came back
    Place("inbox", REQUEST, ALTER, blanked=("body",), plain=("source", "error"), period="raw_events", is_exported=False),
    Place("replies", ADDRESS, DELETE, period="raw_events"),
    Place("odd_events", WORDS, ALTER, reworded=("word",), plain=("source", "reason"), period="raw_events", is_exported=False),
    # how facts came in
    Place(
        "rejected_rows", WORDS, ALTER, reworded=("raw",), plain=("level", "column", "reason", "remedy"),
        period="rejected_rows", is_exported=False,
    ),
    Place("customer_merges", MERGE, ALTER, renamed=("kept_id", "merged_id"), blanked=("before",), reworded=("reason",), plain=("actor",)),
    Place("customer_merge_rows", MERGE, DELETE, is_exported=False),
    *(
        Place(table, WORDS, ALTER, reworded=reworded, plain=plain, is_exported=False)
        for table, reworded, plain in (
            ("imports", ("name", "error", "summary"), ("mapping", "source", "actor", "state")),
            ("quality_checks", ("detail",), ("check", "verdict")),
            ("data_holds", ("reason", "lift_reason"), ("check", "source", "lifted_by")),
            ("audit_log", ("detail",), ("actor", "action", "journey")),
            ("stops", ("reason",), ("journey", "stopped_by")),
            ("batches", ("error",), ("step", "channel", "zone", "state")),
            ("provider_accounts", ("error",), ("account", "channel")),
        )
    ),
    # nothing of anybody
    _nothing("products", "product_id", "name", "category", "currency", "attributes", "source"),
    _nothing("event_kinds", "kind", "title"),
    _nothing("lunar_months"),
    _nothing("journey_versions", "journey", "content_hash", "content"),
    _nothing("cohorts", "mode", "journey", "status"),
    _nothing("cohort_runs", "journey", "run_id"),
    _nothing("pool_codes", "pool", "code"),
    _nothing("coupon_matches"),
    _nothing("cohort_steps", "step", "purpose"),
    _nothing("sync_marks", "mapping", "watermark"),
    _nothing("links", "url"),
    _nothing("score_runs", "config"),
    _nothing("score_cuts", "dimension", "point"),
    _nothing("score_calibrations", "score", "deciles"),
    _nothing("category_cycles", "category"),
    _nothing("purchase_models", "zone", "refusal"),
    _nothing("spend_models", "currency", "refusal"),
    _nothing("value_runs", "zone"),
    _nothing("preference_runs", "zone"),
    _nothing("preference_rates", "kind", "option"),
    _nothing("standing_runs", "score", "zone", "config", "found"),
    _nothing("month_counts", "mode", "journey", "step", "channel", "arm", "what", "reason"),
    _nothing("erasures", "person", "kind", "digest"),
)  # fmt: skip

FILES = {"imports": "rejected_rows", "logs": None, "airflow/logs": None}
"""Folders below the home with personal data, and the period of theirs. imports: rejected rows as files, deleted whole and
made anew by `retention loads`; logs: mentions are taken out."""
