"""Clicks: /l/<token> leads on to where a message's link points, and notes who followed it. Decides nothing else."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import quote

from sqlalchemy import Engine
from starlette.responses import Response

from retention.delivery.links import CODE
from retention.delivery.tokens import Signer
from retention.store.queries import run
from retention.web.public.answers import lead_to, refuse
from retention.web.public.asked import Asked
from retention.web.public.machines import SECONDS, Visits, is_machine

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
            run(
                conn, "links/append_click",
                message_id=message_id, link_id=link_id, is_machine=machine, seconds=SECONDS, now=now,
            )  # fmt: skip
    return lead_to(found.url.replace(CODE, quote(found.code or "", safe="")))
