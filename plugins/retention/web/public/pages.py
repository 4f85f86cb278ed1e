"""The pages that links of messages lead to: clicks, unsubscribing, settings. Owns their routes and who is refused.

No login: the token in the address is the key, and says whose message it came in. Whoever has none learns nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from retention.delivery.events.outcomes import NO_HAND_S
from retention.delivery.permissions import Receiver, find_receiver
from retention.delivery.tokens import PREFERENCES, UNSUBSCRIBE, Signer
from retention.errors import ConfigError, Problem
from retention.journey.files import read_files
from retention.journey.policy import read_policy
from retention.journey.shop import read_shop
from retention.store.database import ROOT
from retention.store.queries import run
from retention.web.public import clicks, preferences, texts, unsubscribe
from retention.web.public.answers import refuse
from retention.web.public.asked import Asked, read_asked
from retention.web.public.front import Front
from retention.web.public.machines import Visits

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]
Answer = Callable[..., Response]

_PAGES: Mapping[str, Answer] = {UNSUBSCRIBE: unsubscribe.answer, PREFERENCES: preferences.answer}


def read_front(signer: Signer, include: Path = ROOT / "include") -> Front:
    """The shop and its topics, as the files have them now. Raises ConfigError."""
    files = read_files(include)
    shop, document = read_shop("include/shop.yaml", files.get("shop.yaml", ""))
    if shop is None:
        raise ConfigError(document.problems or [Problem("include/shop.yaml", 1, "is missing.", "It names the shop.")])
    policy = read_policy(files)
    return Front(shop, signer, policy.topics, policy.consent_words, ", ".join(policy.places_abroad()))


def routes(engine: Engine, signer: Signer, *, clock: Clock, front: Front | None = None) -> list[Route]:
    """The routes of the pages, for an app of Starlette. `front`: None reads the shop and its topics from the files."""
    shown = front or read_front(signer)
    visits = Visits()

    def follow(asked: Asked) -> Response:
        return clicks.follow(asked, engine=engine, signer=signer, visits=visits, now=clock())

    def open_page(kind: str, asked: Asked) -> Response:
        message_id = signer.read(kind, asked.token)
        if message_id is None:
            return refuse(404)
        now = clock()
        with engine.begin() as conn:
            receiver = find_receiver(conn, message_id) if message_id else _nobody(shown, now)
            if receiver is None:
                return refuse(410)
            if message_id and asked.form is None:
                visits.note(message_id, now)
                run(conn, "links/flag_clicks", message_id=message_id, since=now - NO_HAND_S)
            return _PAGES[kind](asked, conn, receiver, shown, now=now)

    return [
        Route("/l/{token:path}", _endpoint(follow), methods=["GET", "HEAD"]),
        *(
            Route(
                f"/{kind}/{{token:path}}",
                _endpoint(lambda asked, kind=kind: open_page(kind, asked)),
                methods=["GET", "POST"],
            )
            for kind in _PAGES
        ),
    ]


def _endpoint(answer: Callable[[Asked], Response]) -> Callable:
    async def endpoint(request: Request) -> Response:
        asked = await read_asked(request)
        try:
            return await run_in_threadpool(answer, asked)
        except SQLAlchemyError as error:
            # Neither the token nor what was asked belongs in a log.
            log.error("a public page could not reach the database: %s", type(error).__name__)
            return refuse(503, texts.BUSY)

    return endpoint


def _nobody(front: Front, now: datetime) -> Receiver:
    """The receiver of a message that somebody sent to see it (`retention send-test`): message 0."""
    address = "test@example.com"
    return Receiver(0, "email", address, next(iter(front.shop.name)), now, True, "", {"email": address})
