"""The app that faces the internet: what comes back (events) and the pages of customers. Runs alone, without Airflow.

Owns which routes there are and what surrounds them; `retention serve` runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from retention.delivery.events.sources import Sources
from retention.delivery.tokens import Signer
from retention.web.public.events import Receiver
from retention.web.public.mailroom import Mailroom


def make_app(
    engine: Engine,
    *,
    sources: Sources,
    public_url: str | None,
    signer: Signer | None,
    clock: Callable[[], datetime],
    pages: Sequence[BaseRoute] = (),
) -> Starlette:
    """The app. While it runs, what is in the inbox is interpreted in the background. `pages`: the routes of customers' pages.

    `public_url` and `signer` may be missing: then Twilio's callbacks are answered with 503, and there are no pages."""
    mailroom = Mailroom(engine, clock)
    receiver = Receiver(mailroom, sources, public_url=public_url, signer=signer, clock=clock)

    @contextlib.asynccontextmanager
    async def live(app: Starlette) -> AsyncIterator[None]:
        interpreting = asyncio.create_task(mailroom.interpret_for_ever())
        try:
            yield
        finally:
            interpreting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await interpreting

    async def health(request: Request) -> Response:
        """Whether the database answers: for whoever watches over this process."""
        try:
            await run_in_threadpool(_ask, engine)
        except SQLAlchemyError:
            return PlainTextResponse("no database\n", 503)
        return PlainTextResponse("ok\n")

    routes = [Route("/health", health, methods=["GET"]), *receiver.routes(), *pages]
    app = Starlette(routes=routes, lifespan=live)
    app.router.redirect_slashes = False
    return app


def _ask(engine: Engine) -> None:
    with engine.connect() as conn:
        conn.execute(text("select 1"))
