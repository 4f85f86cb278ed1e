"""The preview of a journey as one HTML page that needs nothing else: phones, mail clients, every tier and language."""

from __future__ import annotations

from itertools import groupby

from retention.journey.coupon_words import describe_coupon
from retention.journey.load import Version
from retention.orchestration.preview import Shown
from retention.web.page import fill_page, hash_source

FIT_FRAMES = """
const fit = frame => { frame.style.height = 0; frame.style.height = frame.contentDocument.documentElement.scrollHeight + "px" };
const fitAll = () => document.querySelectorAll("iframe").forEach(fit);
addEventListener("load", fitAll);
addEventListener("resize", fitAll);
"""
"""Each frame as high as its mail, so that the footer is seen, too. Without it, frames have one height and scroll."""


def write_preview(version: Version, shown: list[Shown], whose: str | None = None) -> str:
    """The page's text. Mails stand in frames that run no script and load nothing; the page runs FIT_FRAMES alone."""
    journey = version.journey
    steps = []
    for step_id, of_step in groupby(shown, key=lambda it: it.step):
        step = journey.step(step_id)
        groups = [
            {"channel": channel, "locale": locale, "shown": [_spell(it) for it in of_group]}
            for (channel, locale), of_group in groupby(of_step, key=lambda it: (it.channel, it.locale))
        ]
        steps.append(
            {
                "id": step_id,
                "at": str(step.at),
                "only_if": " and ".join(map(str, step.only_if or ())),
                "coupons": " / ".join(map(describe_coupon, step.coupons)),
                "groups": groups,
            }
        )
    about = f"{len(shown)} messages, as {whose or 'invented people'} would see them; codes and links are examples."
    return fill_page(
        "preview",
        title=f"{journey.title} ({journey.journey})", about=about, steps=steps,
        script=FIT_FRAMES, script_hash=hash_source(FIT_FRAMES),
    )  # fmt: skip


def _spell(it: Shown) -> dict:
    return {**vars(it), "who": ", ".join(it.who)}
