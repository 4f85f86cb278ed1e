"""Where providers and the shop report to: POST /events/sendgrid, /events/twilio, /events/twilio/{token}, /events/shop.

Checks who sent it, over the bytes as they came, and keeps it; what it means is found out afterwards. A refusal is a plain
403 that says nothing more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from retention.delivery.events.inbox import Arrival
from retention.delivery.events.signatures import is_sendgrids, is_shops, is_twilios
from retention.delivery.events.sources import SETTINGS, Sources
from retention.delivery.tokens import STATUS, Signer
from retention.web.public.mailroom import Mailroom

MAX_BODY_BYTES = 2_000_000
"""A thousand of SendGrid's events are about 0.6 MB, and it sends no more than that at once. Strangers' bodies are read, too."""

MAX_BODY_S = 30.0
"""How long a body may take to arrive."""

SENDGRID_LIVES = timedelta(days=7)
"""How old the timestamp under SendGrid's signature may be. It goes on trying for days what was not answered, under the same
signature, and a proxy may hold it longer. A copy that somebody sends again changes nothing: each event counts once."""

SHOP_LIVES = timedelta(days=3)
"""The same for the shop's: its queue may try again over a weekend."""

EARLY = timedelta(minutes=10)
"""How far ahead of ours a sender's clock may be."""

log = logging.getLogger("retention.events")

Check = Callable[[Request, bytes], "Arrival | None"]


class Receiver:
    """The endpoints. `public_url` and `signer` are what Twilio's callbacks need; None where they are not set."""

    def __init__(
        self,
        mailroom: Mailroom,
        sources: Sources,
        *,
        public_url: str | None,
        signer: Signer | None,
        clock: Callable[[], datetime],
    ):
        self._mailroom, self._sources, self._clock = mailroom, sources, clock
        self._public_url, self._signer = (public_url or "").rstrip("/"), signer

    def routes(self) -> list[Route]:
        """For an app of Starlette."""
        return [
            Route("/events/sendgrid", self.take_sendgrid, methods=["POST"]),
            Route("/events/twilio", self.take_twilio_message, methods=["POST"]),
            Route("/events/twilio/{token}", self.take_twilio_status, methods=["POST"]),
            Route("/events/shop", self.take_shop, methods=["POST"]),
        ]

    async def take_sendgrid(self, request: Request) -> Response:
        """SendGrid's event webhook."""
        return await self._take(request, self._check_sendgrid, [] if self._sources.sendgrid else ["sendgrid"])

    async def take_twilio_message(self, request: Request) -> Response:
        """What people write to our numbers."""
        return await self._take(request, self._check_twilio, self._missing_for_twilio())

    async def take_twilio_status(self, request: Request) -> Response:
        """What became of the message that the token names."""
        missing = [*self._missing_for_twilio(), *([] if self._signer else ["twilio_token"])]
        return await self._take(request, self._check_twilio, missing)

    async def take_shop(self, request: Request) -> Response:
        """A shop's own events."""
        return await self._take(request, self._check_shop, [] if self._sources.shop else ["shop"])

    def _missing_for_twilio(self) -> list[str]:
        return [*([] if self._sources.twilio else ["twilio"]), *([] if self._public_url else ["twilio_url"])]

    async def _take(self, request: Request, check: Check, missing: list[str]) -> Response:
        where = request.url.path.split("/")[2]
        if missing:
            settings = "; ".join(SETTINGS[it] for it in missing)
            log.error("events of %s can't be verified. Set for this process: %s", where, settings)
            return _say(503, "not set up", {"Retry-After": "300"})
        try:
            async with asyncio.timeout(MAX_BODY_S):
                body = await _read_body(request)
        except TimeoutError:
            return _say(408, "too slow")
        except ClientDisconnect:
            return _say(400, "cut off")
        if body is None:
            log.warning("a request to %s is larger than %d bytes", where, MAX_BODY_BYTES)
            return _say(413, "too large")
        # Half a millisecond of arithmetic, and up to 2 MB to go through: not on the loop.
        arrival = await run_in_threadpool(check, request, body)
        if arrival is None:
            log.warning("a request to %s has no signature that is right, or an old one", where)
            return _say(403, "refused")
        try:
            await self._mailroom.keep(arrival)
        except SQLAlchemyError as error:
            log.error("events of %s could not be kept (%s): they are to come again", where, type(error).__name__)
            return _say(503, "try again", {"Retry-After": "30"})
        if arrival.source == "twilio_message":
            # An answer without words: Twilio sends nothing back.
            return Response("<Response/>", media_type="text/xml")
        return Response(status_code=204)

    def _check_sendgrid(self, request: Request, body: bytes) -> Arrival | None:
        timestamp = request.headers.get("X-Twilio-Email-Event-Webhook-Timestamp", "")
        signature = request.headers.get("X-Twilio-Email-Event-Webhook-Signature", "")
        is_right = is_sendgrids(self._sources.sendgrid, signature, timestamp, body)
        return Arrival("sendgrid", body) if is_right and self._is_fresh(timestamp, SENDGRID_LIVES) else None

    def _check_twilio(self, request: Request, body: bytes) -> Arrival | None:
        # What Twilio was told to call, not what a proxy or a stranger calls us.
        query = request.scope["query_string"].decode("latin-1")
        url = self._public_url + request.scope["path"] + (f"?{query}" if query else "")
        signature = request.headers.get("X-Twilio-Signature", "")
        if not is_twilios(self._sources.twilio, signature, url, body, request.headers.get("Content-Type", "")):
            return None
        token = request.path_params.get("token")
        if token is None:
            return Arrival("twilio_message", body)
        message_id = self._signer.read(STATUS, token) if self._signer else None
        return None if message_id is None else Arrival("twilio_status", body, message_id)

    def _check_shop(self, request: Request, body: bytes) -> Arrival | None:
        timestamp = request.headers.get("Retention-Timestamp", "")
        is_right = is_shops(self._sources.shop, request.headers.get("Retention-Signature", ""), timestamp, body)
        return Arrival("shop", body) if is_right and self._is_fresh(timestamp, SHOP_LIVES) else None

    def _is_fresh(self, timestamp: str, lives: timedelta) -> bool:
        if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):
            return False
        age_s = self._clock().timestamp() - int(timestamp)
        return -EARLY.total_seconds() <= age_s <= lives.total_seconds()


async def _read_body(request: Request) -> bytes | None:
    """The body, None for one that is too large: not a byte more of it is read."""
    stated = request.headers.get("Content-Length", "")
    if stated.isascii() and stated.isdecimal() and int(stated[:20]) > MAX_BODY_BYTES:
        return None
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_BODY_BYTES:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _say(status: int, words: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(words + "\n", status, headers)
