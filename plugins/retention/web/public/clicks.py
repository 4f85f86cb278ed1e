"""Clicks: /l/<token> leads on to where a message's link points, and notes who followed it. Decides nothing else."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import quote

from sqlalchemy import Engine
from starlette.responses import Response

from retention.delivery.events.outcomes import Happened, append_outcomes, make_key
from retention.delivery.links import CODE
from retention.delivery.tokens import Signer
from retention.store.queries import run
from retention.web.public.answers import lead_to, refuse
from retention.web.public.asked import Asked
from retention.web.public.machines import Visits, is_machine

CLICKS_LIVE = timedelta(days=400)
"""How old a message's link may be. A click is counted for its message, and messages are kept for 13 months."""


def follow(asked: Asked, *, engine: Engine, signer: Signer, visits: Visits, now: datetime) -> Response:
    """Lead on and note the click. Message 0 is one that somebody sent to see it: it leads on, and nothing is noted."""
    ids = signer.read_click(asked.token)
    if ids is None:
        return refuse(404)
    message_id, link_id = ids
    with engine.begin() as conn:
        found = run(conn, "links/find_target", message_id=message_id, link_id=link_id).first()
        if found is None:
            return refuse(404)
        if message_id and (found.planned_at is None or now - found.planned_at > CLICKS_LIVE):
            return refuse(410)
        if message_id:
            machine = is_machine(asked.method, asked.headers) or visits.has(message_id, now)
            append_outcomes(conn, [_describe(message_id, link_id, machine, now)], now)
    return lead_to(found.url.replace(CODE, quote(found.code or "", safe="")))


def _describe(message_id: int, link_id: int, machine: bool, now: datetime) -> Happened:
    """A click. The same link within a minute is the same click: a page that is loaded again."""
    key = make_key(f"l|{link_id}|{machine}|{int(now.timestamp()) // 60}")
    return Happened(message_id, "clicked", key, now.timestamp(), link_id=link_id, is_machine=machine)
