"""Unsubscribing: /u/<token>. GET shows a button and changes nothing; POST answers it, or a mailbox's one click (RFC 8058)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection
from starlette.responses import PlainTextResponse, Response

from retention.delivery.permissions import Receiver, list_permissions, restore, withdraw
from retention.journey.fields import CHANNELS
from retention.web.public import texts
from retention.web.public.answers import HEADERS, make_page, refuse
from retention.web.public.asked import Asked
from retention.web.public.front import Front

ONE_CLICK = "List-Unsubscribe"


def is_one_click(asked: Asked) -> bool:
    """Whether a mailbox posts for its owner: they get no page."""
    return asked.says(ONE_CLICK).lower() == "one-click"


def answer(asked: Asked, conn: Connection, receiver: Receiver, front: Front, *, now: datetime) -> Response:
    """The page, or what becomes of an answer to it. Answering twice is answering once."""
    lang = asked.lang or texts.choose_language(receiver.locale)
    words = texts.fill(texts.UNSUBSCRIBE[lang], lang, shop=front.shop_name(lang), channel=receiver.channel)
    if asked.form is None:
        return _show(receiver, front, lang, words, _find_state(conn, receiver), now=now)
    if is_one_click(asked):
        wording = f"{ONE_CLICK}=One-Click (RFC 8058)"
        withdraw(conn, receiver, [receiver.channel], source="mailbox", wording=wording, now=now)
        return PlainTextResponse("unsubscribed", headers=dict(HEADERS))
    wish = asked.says("answer")
    if wish == "undo":
        is_back = restore(conn, receiver, wording=f"{words['mistake']} {words['undo']}", now=now)
        return _show(receiver, front, lang, words, "restored" if is_back else "not_restored", now=now)
    if wish not in ("channel", "all"):
        return refuse(400, texts.UNREADABLE)
    scope = [receiver.channel] if wish == "channel" else list(CHANNELS)
    shown = (
        [words["title"], words["lead"], words["button"]]
        if wish == "channel"
        else [words["all_lead"], words["all_button"]]
    )
    withdraw(conn, receiver, scope, source="page", wording=" | ".join(shown), now=now)
    return _show(receiver, front, lang, words, "done" if wish == "channel" else "done_all", now=now)


def _find_state(conn: Connection, receiver: Receiver) -> str:
    """Whether they have left already: "out" of the channel, "ask" otherwise."""
    if not receiver.customer_id:  # a message that somebody sent to see it
        return "ask"
    granted = {it.channel for it in list_permissions(conn, receiver) if it.is_granted}
    return "ask" if receiver.channel in granted else "out"


def _show(receiver: Receiver, front: Front, lang: str, words: dict[str, str], state: str, *, now: datetime) -> Response:
    return make_page(
        "unsubscribe",
        lang=lang,
        words=words,
        state=state,
        shop=front.shop_name(lang),
        address=None if receiver.channel == "webhook" else receiver.address,
        settings=front.preferences_path(receiver, lang, now=now),
        is_test=receiver.is_test,
        test=texts.TEST[lang],
    )
