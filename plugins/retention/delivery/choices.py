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


def choose(conn: Connection, version: Version, step: Step) -> None:
    """Fill planned_choices, and planned_offers, for planned_people; empty where all get the same."""
    run(conn, "branch/make_choices")
    said = _list_spoken(version, step)
    by_template, by_coupon = step.send.instead, step.coupon.instead if step.coupon else None
    branches = [it for it in (by_template, by_coupon) if it]
    if not branches and not said:
        return
    run(conn, "branch/make_values")
    scheme_of = {branch.by: branch.scheme for branch in branches}
    for name in sorted({*said, *(branch.by for branch in branches)}):
        if name == "tier":
            run(conn, "branch/tier", name=name, scheme=scheme_of.get(name, "six"))
        else:
            _fill(conn, name)
    analyze(conn, "planned_values")
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


def _fill(conn: Connection, name: str) -> None:
    statements = {
        "churn": "branch/churn",
        "stratum": "branch/stratum",
        "country": "branch/country",
        "category": "branch/category",
        "variant": "branch/variant",
        "audience": "branch/audience",
    }
    run(conn, statements[name], name=name)


def _list_spoken(version: Version, step: Step) -> tuple[str, ...]:
    """The values that the step's words ask for."""
    used = {name for template in step.send.templates for name in version.templates[template].customer_uses}
    return tuple(name for name in SPOKEN if name in used)


__all__ = ["choose"]
