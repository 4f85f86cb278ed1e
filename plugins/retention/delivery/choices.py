"""Which words and which coupon somebody gets, where they differ by a value of the customer; decided with the plan and kept."""

from __future__ import annotations

import json

from sqlalchemy import Connection

from retention.journey.load import Version
from retention.journey.models import Step
from retention.store.queries import run
from retention.store.staging import analyze

SPOKEN = ("tier", "category")
"""The values that words may speak of: customer.tier, customer.category."""

OF_ENROLLMENTS = ("variant", "audience")
"""The values that somebody has in a cohort alone."""

STATEMENTS = {
    "tier": "branch/tier",
    "churn": "branch/churn",
    "stratum": "branch/stratum",
    "country": "branch/country",
    "category": "branch/category",
    "variant": "branch/variant",
    "audience": "branch/audience",
}
"""What fills planned_values with each."""


def choose(conn: Connection, version: Version, step: Step) -> None:
    """Fill planned_choices, and planned_offers, for planned_people; empty where all get the same."""
    run(conn, "branch/make_choices")
    if not _fill_values(conn, version, step):
        return
    by_template, by_coupon = step.send.instead, step.coupon.instead if step.coupon else None
    said = _list_spoken(version, step)
    run(
        conn,
        "branch/choose",
        templates=json.dumps(by_template.cases if by_template else {}),
        template_by=by_template.by if by_template else "",
        # The step's own is 0, then they count in the file's order.
        offers=json.dumps({value: n for n, value in enumerate(by_coupon.cases, 1)} if by_coupon else {}),
        offer_by=by_coupon.by if by_coupon else "",
        said=list(said),
    )
    analyze(conn, "planned_choices")
    if by_coupon:
        run(conn, "plan/make_offers")
        run(conn, "branch/choose_offers")


def find_values(conn: Connection, version: Version, step: Step, customer_id: str) -> dict[str, str]:
    """The values by which the step's words and coupon differ for one customer, name -> value, as of the instant that is set
    (`look_as_of`). Without variant and audience: those are an enrollment's. Leaves nothing behind."""
    with conn.begin_nested() as savepoint:
        run(conn, "branch/make_one", customer_id=customer_id)
        found = dict(map(tuple, run(conn, "branch/list_values"))) if _fill_values(conn, version, step) else {}
        savepoint.rollback()
    return {name: value for name, value in found.items() if name not in OF_ENROLLMENTS}


def _fill_values(conn: Connection, version: Version, step: Step) -> bool:
    """Make and fill planned_values for planned_people; False, and no table, where all get the same."""
    branches = [it for it in (step.send.instead, step.coupon.instead if step.coupon else None) if it]
    names = sorted({*_list_spoken(version, step), *(branch.by for branch in branches)})
    if not names:
        return False
    run(conn, "branch/make_values")
    scheme_of = {branch.by: branch.scheme for branch in branches}
    for name in names:
        scheme = {"scheme": scheme_of.get(name, "six")} if name == "tier" else {}
        run(conn, STATEMENTS[name], name=name, **scheme)
    analyze(conn, "planned_values")
    return True


def _list_spoken(version: Version, step: Step) -> tuple[str, ...]:
    """The values that the step's words ask for."""
    used = {name for template in step.send.templates for name in version.templates[template].customer_uses}
    return tuple(name for name in SPOKEN if name in used)


__all__ = ["choose", "find_values"]
