"""The tables, as SQLAlchemy Core metadata. Owns names, types and invariants; runs no query.

Facts (what happened in the company) carry `occurred_at`, when it was true, and `recorded_at`, when we learned it.
Ours (what the engine decided and did) is written once: messages are inserted, outcomes appended. All instants are
`timestamptz`; no default reads the wall clock, the caller always says the time.
"""

from retention.store.tables.columns import metadata
from retention.store.tables.contact import choices, cohort_steps, contact_slots
from retention.store.tables.decided import (
    MODES,
    REDECIDABLE,
    SKIP_REASONS,
    audit_log,
    batches,
    cohort_runs,
    cohorts,
    coupons,
    enrollments,
    entry_refusals,
    journey_versions,
    messages,
    outbox,
    outcomes,
    provider_accounts,
    stops,
)
from retention.store.tables.facts import (
    consents,
    customer_history,
    customers,
    event_kinds,
    events,
    lunar_months,
    order_history,
    order_item_history,
    order_items,
    order_status,
    orders,
    products,
    suppressions,
)
from retention.store.tables.inbox import SOURCES, inbox, odd_events, replies
from retention.store.tables.intake import (
    customer_merge_rows,
    customer_merges,
    data_holds,
    imports,
    quality_checks,
    rejected_rows,
    sync_marks,
)
from retention.store.tables.lifetime_value import (
    category_cycles,
    customer_values,
    purchase_models,
    score_calibrations,
    spend_models,
    value_runs,
)
from retention.store.tables.links import links
from retention.store.tables.preferences import customer_preferences, preference_rates, preference_runs
from retention.store.tables.privacy import erasures, month_counts
from retention.store.tables.scores import SCHEMES, customer_sums, score_cuts, score_runs, tiers
from retention.store.tables.standing import STANDINGS, churn, customer_points, standing_runs, strata

__all__ = [
    "MODES",
    "REDECIDABLE",
    "SCHEMES",
    "SKIP_REASONS",
    "SOURCES",
    "STANDINGS",
    "audit_log",
    "batches",
    "category_cycles",
    "choices",
    "churn",
    "cohort_runs",
    "cohort_steps",
    "cohorts",
    "consents",
    "contact_slots",
    "coupons",
    "customer_history",
    "customer_merge_rows",
    "customer_merges",
    "customer_points",
    "customer_preferences",
    "customer_sums",
    "customer_values",
    "customers",
    "data_holds",
    "enrollments",
    "entry_refusals",
    "erasures",
    "event_kinds",
    "events",
    "imports",
    "inbox",
    "journey_versions",
    "links",
    "lunar_months",
    "messages",
    "metadata",
    "month_counts",
    "odd_events",
    "order_history",
    "order_item_history",
    "order_items",
    "order_status",
    "orders",
    "outbox",
    "outcomes",
    "preference_rates",
    "preference_runs",
    "products",
    "provider_accounts",
    "purchase_models",
    "quality_checks",
    "rejected_rows",
    "replies",
    "score_calibrations",
    "score_cuts",
    "score_runs",
    "spend_models",
    "standing_runs",
    "stops",
    "strata",
    "suppressions",
    "sync_marks",
    "tiers",
    "value_runs",
]
