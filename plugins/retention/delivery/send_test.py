"""One message of a step to one address, to look at where customers will: no coupon spent, nothing on record.

The words are the step's; the person is invented or a customer whose name is borrowed. Suppressions hold here, too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from retention.delivery.channels.base import Letter, OpenGate, Provider, Receipt
from retention.delivery.links import open_links
from retention.delivery.pacing import find_reason
from retention.delivery.plan import is_stopped
from retention.delivery.render import Renderer
from retention.errors import DeliveryError, RetentionError
from retention.journey.load import Version
from retention.journey.models import Step
from retention.store.queries import look_as_of

TEST_CODE = "TESTCODE22"
"""What stands where a coupon's code will: no shop takes it."""


@dataclass(frozen=True)
class _Row:
    message_id: int
    customer_id: str
    channel: str
    address: str
    locale: str
    name: str | None
    template: str | None
    facts: str | None
    coupon_code: str | None
    coupon_valid_until: datetime | None
    coupon_kind: str | None
    coupon_value: Any
    coupon_minimum: Any
    coupon_currency: str | None
    coupon_gift: str | None


def write_test(
    conn: Connection,
    version: Version,
    step_id: str,
    *,
    channel: str,
    address: str,
    now: datetime,
    locale: str | None = None,
    customer_id: str | None = None,
) -> Letter:
    """The letter. Raises RetentionError for an unknown customer, an address that is suppressed and while a stop stands,
    RenderError."""
    journey, step = version.journey, version.journey.step(step_id)
    if is_stopped(conn, journey.journey):
        raise RetentionError(f"{journey.journey}: is stopped, tests too. `retention stop --lift` lets it send again.")
    look_as_of(conn, now, zone=journey.timezone)
    address = address.lower() if channel == "email" else address  # as deliveries write it
    is_suppressed = text("select is_suppressed from as_of.suppressions where channel = :channel and address = :address")
    if conn.scalar(is_suppressed, {"channel": channel, "address": address}):
        raise RetentionError(
            "--to: this address is suppressed. Who complained or left is not written to, not even to test."
        )
    name = "王小明" if (locale or journey.default_locale).startswith("zh") else "Alex"
    if customer_id is not None:
        found = text("select name, locale from as_of.customers where customer_id = :id")
        row = conn.execute(found, {"id": customer_id}).first()
        if row is None:
            raise RetentionError(f'--customer "{customer_id}": nobody has this id.')
        name, locale = row.name, locale or row.locale
    coupon = _find_coupon(journey.steps, step)
    row = _Row(
        message_id=0,
        customer_id=customer_id or "",
        channel=channel,
        address=address,
        locale=locale or journey.default_locale,
        name=name,
        template=None,
        facts=None,
        coupon_code=TEST_CODE if coupon else None,
        coupon_valid_until=journey.coupon_valid_until(coupon, now) if coupon else None,
        coupon_kind=coupon.kind if coupon else None,
        coupon_value=coupon.value if coupon else None,
        coupon_minimum=coupon.minimum if coupon else None,
        coupon_currency=coupon.currency if coupon else None,
        coupon_gift=json.dumps(coupon.gift) if coupon and coupon.gift else None,
    )
    return Renderer(version, step_id, links=open_links(conn.engine)).write(row, mode="test")


def send_test(provider: Provider, letter: Letter, engine: Engine | None = None) -> Receipt:
    """Hand the letter over. Raises DeliveryError when the provider did not take it, ProviderPaused while nothing goes to
    its account (which the store `engine` knows)."""
    if engine is not None and provider.account:
        with engine.connect() as conn:
            paused = find_reason(conn, provider.account)
        if paused:
            raise paused
    receipts: list[Receipt] = []
    provider.hand_over([letter], OpenGate(), receipts.append)
    if not receipts or receipts[0].result != "accepted":
        result, reason = (receipts[0].result, receipts[0].reason) if receipts else ("later", "no answer")
        raise DeliveryError(f"{provider.name} did not take it: {result} ({reason}).")
    return receipts[0]


def _find_coupon(steps: Sequence[Step], step: Step) -> Any:
    """The step's coupon, or the one that an earlier step gave and this one speaks of."""
    earlier = [it.coupons[0] for it in steps if it.coupons and it.at.offset < step.at.offset]
    own = step.coupons
    is_own = own and (own[0].per_person == "step" or not earlier)
    return own[0] if is_own else earlier[-1] if earlier else None
