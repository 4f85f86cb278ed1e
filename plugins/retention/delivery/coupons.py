"""Coupons of a plan: who gets which, generated or drawn from a pool, and who is left without.

Works on the temporary tables of a plan, in its transaction; insert_messages writes down what is decided here. A pool is
drawn from for mode live alone, and never by a dry run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from retention.journey.load import Version
from retention.journey.models import Journey, Step
from retention.store.pools import count_left, find_rate, write_shortage
from retention.store.queries import run
from retention.store.staging import analyze

Warn = Callable[[str], None]


def list_speaking(version: Version, step: Step) -> tuple[str, ...]:
    """The step's channels whose words speak of a coupon, in any of its templates."""
    spoken = {channel for name in step.send.templates for channel in version.templates[name].coupon_channels}
    return tuple(channel for channel in step.send.order if channel in spoken)


def describe_offers(journey: Journey, step: Step, due_at: datetime) -> list[dict]:
    """The terms of the step's coupons, as `plan/insert_messages` writes them down."""
    return [
        {
            "offer": number,
            "is_own": coupon.per_person == "step",
            "kind": coupon.kind,
            "value": str(coupon.value) if coupon.value is not None else None,
            "minimum": str(coupon.minimum) if coupon.minimum is not None else None,
            "currency": coupon.currency,
            "gift": coupon.gift,
            "pool": coupon.pool,
            "valid_until": journey.coupon_valid_until(coupon, due_at).isoformat(),
            "grace_s": coupon.counts_for.total_seconds(),
        }
        for number, coupon in enumerate(step.coupons)
    ]


def reserve(
    conn: Connection, asked: dict, offers: Sequence[dict], *, speaking: Sequence[str], is_dry: bool, on_warning: Warn
) -> None:
    """Fill planned_coupons, and take out of planned_decisions who has no coupon where there has to be one.

    Notes the terms of the coupons in `asked`, for insert_messages. `speaking`: the channels whose words need one. `is_dry`: codes of a pool are counted, not drawn."""
    run(conn, "plan/make_offers")
    is_spent = asked["mode"] == "live" and not is_dry
    least_until = max(asked["due_at"], asked["now"])
    pools = {offer["pool"] for offer in offers if offer["pool"]} if asked["mode"] == "live" else set()
    left = {pool: count_left(conn, pool, least_until) for pool in pools}
    made = [{**offer, "pool": offer["pool"] if is_spent else None} for offer in offers]
    asked["offers"] = json.dumps(made)
    run(conn, "plan/make_coupons", **asked)
    for offer, drawn in zip(offers, made, strict=True):
        if drawn["pool"]:
            run(conn, "plan/claim_codes", offer=offer["offer"], pool=offer["pool"], least_until=least_until)
        elif offer["pool"] in left:
            run(conn, "plan/limit_codes", offer=offer["offer"], most=left[offer["pool"]])
    analyze(conn, "planned_coupons")
    if offers or speaking:
        run(conn, "plan/refuse_couponless", gives=bool(offers), speaking=list(speaking))
    for pool in sorted(pools):
        line = write_shortage(pool, count_left(conn, pool, least_until), find_rate(conn, pool, asked["now"]))
        if line:
            on_warning(line)
