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
    if asked.form is not None and is_one_click(asked):
        wording = f"{ONE_CLICK}=One-Click (RFC 8058)"
        withdraw(conn, receiver, [receiver.channel], source="mailbox", wording=wording, now=now)
        return PlainTextResponse("unsubscribed", headers=dict(HEADERS))
    state = _take_answer(asked, conn, receiver, words, now=now)
    if state is None:
        return refuse(400, texts.UNREADABLE)
    granted = {it.channel for it in list_permissions(conn, receiver) if it.is_granted}
    if state == "look":
        # A message that somebody sent to see it has no customer: they are shown what a customer is.
        state = "ask" if receiver.channel in granted or not receiver.customer_id else "out"
    return make_page(
        "unsubscribe",
        lang=lang,
        words=words,
        state=state,
        may_leave_all=state == "ask" or state in ("out", "done") and bool(granted - {receiver.channel}),
        shop=front.shop_name(lang),
        address=None if receiver.channel == "webhook" else receiver.address,
        settings=front.preferences_path(receiver, lang, now=now),
        is_test=receiver.is_test,
        test=texts.TEST[lang],
    )


def _take_answer(
    asked: Asked, conn: Connection, receiver: Receiver, words: dict[str, str], *, now: datetime
) -> str | None:
    """What is to be shown after an answer was taken: "look" where there was none; None for what is no answer."""
    if asked.form is None:
        return "look"
    match asked.says("answer"):
        case "channel":
            shown = f"{words['title']} | {words['lead']} | {words['button']}"
            withdraw(conn, receiver, [receiver.channel], source="page", wording=shown, now=now)
            return "done"
        case "all":
            shown = f"{words['all_lead']} | {words['all_button']}"
            withdraw(conn, receiver, CHANNELS, source="page", wording=shown, now=now)
            return "done_all"
        case "undo":
            is_back = restore(conn, receiver, wording=f"{words['mistake']} {words['undo']}", now=now)
            return "restored" if is_back else "not_restored"
    return None
