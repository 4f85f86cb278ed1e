"""Settings: /p/<token>. What we may write to somebody, per channel and topic, and whether we may choose content for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from starlette.responses import Response

from retention.delivery.permissions import Receiver, choose, grant, list_choices, list_permissions, withdraw
from retention.journey.fields import CHANNELS
from retention.web.public import texts
from retention.web.public.answers import make_page, refuse
from retention.web.public.asked import Asked
from retention.web.public.front import Front


@dataclass(frozen=True)
class Box:
    """A box to tick. `agree` and `refuse` are the words of either answer, kept as what was agreed to."""

    name: str
    label: str
    agree: str
    refuse: str
    is_ticked: bool
    address: str | None = None
    hint: str | None = None
    care: str | None = None


def answer(asked: Asked, conn: Connection, receiver: Receiver, front: Front, *, now: datetime) -> Response:
    """The page, or what becomes of an answer to it. Only what was changed on the page is changed: a page that was open for
    long takes nothing back that has been changed elsewhere since."""
    if not front.may_choose(receiver, now=now):
        return refuse(410)
    lang = asked.lang or texts.choose_language(receiver.locale)
    said = None
    if asked.form is not None:
        if asked.says("answer") not in ("save", "all"):
            return refuse(400, texts.UNREADABLE)
        said = _save(asked, conn, receiver, front, lang, now=now)
    groups = list_boxes(conn, receiver, front, lang)
    words = _fill(front, lang, receiver.channel)
    return make_page(
        "preferences",
        lang=lang,
        words=words,
        said=said and words[said],
        shop=front.shop_name(lang),
        groups=[(words[name], boxes) for name, boxes in groups.items() if boxes],
        shown=[box.name for boxes in groups.values() for box in boxes if box.is_ticked],
        is_test=receiver.is_test,
        test=texts.TEST[lang],
    )


def list_boxes(conn: Connection, receiver: Receiver, front: Front, lang: str) -> dict[str, list[Box]]:
    """The boxes of the page, by group: channels, topics, personal."""
    chosen = list_choices(conn, receiver)
    channels = []
    for it in list_permissions(conn, receiver):
        words = _fill(front, lang, it.channel)
        agree = front.consent_to(it.channel, lang) or words["agree"]
        channels.append(
            Box(
                it.channel,
                texts.TITLES[lang][it.channel],
                agree,
                words["refuse"],
                it.is_granted,
                address=None if it.channel == "webhook" else it.address,
                hint=agree,
                care=words["suppressed"] if it.is_suppressed else None,
            )
        )
    words = _fill(front, lang, receiver.channel)
    topics = []
    for topic in front.topics:
        title = front.topic_title(topic, lang)
        agree, no = (words[name].replace("{topic}", title) for name in ("topic", "no_topic"))
        topics.append(Box(f"topic:{topic}", title, agree, no, chosen.get(f"topic:{topic}", True)))
    # An objection, not a consent: who says nothing has ticked nothing.
    objection = Box(
        "no_profiling", words["profiling"], words["profiling"], words["profiling_again"],
        not chosen.get("profiling", True), hint=words["profiling_hint"],
    )  # fmt: skip
    personal = [objection]
    if front.abroad:
        agree, no = (words[name].replace("{places}", front.abroad) for name in ("abroad", "not_abroad"))
        box = Box("abroad", words["abroad_title"], agree, no, chosen.get("abroad", False), hint=agree)
        personal.append(box)
    return {"channels": channels, "topics": topics, "personal": personal}


def _save(asked: Asked, conn: Connection, receiver: Receiver, front: Front, lang: str, *, now: datetime) -> str:
    words = _fill(front, lang, receiver.channel)
    if asked.says("answer") == "all":
        wording = f"{words['all_lead']} | {words['all_button']}"
        withdraw(conn, receiver, CHANNELS, source="page", wording=wording, now=now)
        return "saved"
    form = asked.form or {}
    ticked, shown = set(form.get("on", ())), set(form.get("shown", ()))
    changed = {
        box.name: box
        for boxes in list_boxes(conn, receiver, front, lang).values()
        for box in boxes
        if (box.name in ticked) != (box.name in shown)
    }
    grant(conn, receiver, {n: box.agree for n, box in changed.items() if n in CHANNELS and n in ticked}, now=now)
    for name, box in changed.items():
        if name in CHANNELS and name not in ticked:
            withdraw(conn, receiver, [name], source="page", wording=box.refuse, now=now)
    choices = {n: (n in ticked, box.agree if n in ticked else box.refuse) for n, box in changed.items() if ":" in n or n == "abroad"}
    if "no_profiling" in changed:
        box, is_objection = changed["no_profiling"], "no_profiling" in ticked
        choices["profiling"] = (not is_objection, box.agree if is_objection else box.refuse)
    choose(conn, receiver, choices, now=now)
    return "saved" if changed else "unchanged"


def _fill(front: Front, lang: str, channel: str) -> dict[str, str]:
    return texts.fill(texts.PREFERENCES[lang], lang, shop=front.shop_name(lang), channel=channel)
