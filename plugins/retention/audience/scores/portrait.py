"""Everything that scores say of one customer as of an instant, with what it rests on. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from retention.audience.scores.churn import ExplainedChurn, explain_churn
from retention.audience.scores.explain import Explained, explain_scores
from retention.audience.scores.next_purchase import NextPurchase, find_next_purchases
from retention.audience.scores.preferences import Answered, explain_preferences
from retention.audience.scores.strata import ExplainedStratum, explain_stratum
from retention.audience.scores.value_dimensions import ExplainedValue, explain_points
from retention.errors import StoreError
from retention.store.queries import look_as_of, run


@dataclass(frozen=True)
class Portrait:
    """A customer's scores. `customer_id` is the id she goes on under. None, or empty: not worked out by then.

    `value`: frequency, first_on, last_on, p_alive, purchases, currency, spend, value, computed_at, and the model's fitted_at,
    r, alpha, a, b. `next_purchases`: the soonest first.
    """

    customer_id: str
    as_of: datetime
    tiers: Explained | None
    churn: ExplainedChurn | None
    value: Mapping[str, Any] | None
    points: ExplainedValue | None = None
    stratum: ExplainedStratum | None = None
    answers: list[Answered] = field(default_factory=list)
    next_purchases: list[NextPurchase] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def find_kept_id(conn: Connection, customer_id: str) -> str:
    """The id under which a person goes on after merges: the same, if there was none."""
    return run(conn, "score/find_kept_id", customer_id=customer_id).scalar_one()


def draw_portrait(engine: Engine, customer_id: str, as_of: datetime, *, zone: str) -> Portrait:
    """A customer's scores as of an instant, as known then; days are those of `zone`. Writes nothing.

    Raises StoreError while scores are being worked out: inputs can't be worked out anew beside that."""
    with engine.connect() as conn:
        try:
            # Inputs are worked out in tables that a run of scoring makes, too.
            conn.execute(text("set local lock_timeout = '2s'"))
            kept = find_kept_id(conn, customer_id)
            tiers = explain_scores(conn, kept, as_of)
            churn = explain_churn(conn, kept, as_of)
            points = explain_points(conn, kept, as_of)
            stratum = explain_stratum(conn, kept, as_of)
            answers = explain_preferences(conn, kept, as_of, zone=zone)
            purchases = find_next_purchases(conn, as_of, zone=zone, customers=[kept])
            look_as_of(conn, as_of, zone=zone)
            value = run(conn, "score/find_value", customer_id=kept).mappings().one_or_none()
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != "55P03":
                raise
            raise StoreError("scores: they are being worked out just now. Try again when that is done.") from error
        finally:
            conn.rollback()
    return Portrait(kept, as_of, tiers, churn, dict(value) if value else None, points, stratum, answers, purchases)
