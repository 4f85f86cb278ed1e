"""The page of a run of rerun_step: who, why, how many and what became of it."""

import re

from retention.bench.world import NO_RULES
from retention.orchestration.rerun import note_refusal, remember_look, rerun
from retention.orchestration.rerun_words import Wish
from tests.orchestration.test_rerun import LATER, TODAY, VERSION, again, hear, sent  # noqa: F401 - a fixture
from tests.web.test_pages import open_pages

RUN = "/journeys/rerun_step/runs/"


def read(pages, key) -> str:
    answer = pages.get(RUN + key)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text.split("<body", 1)[1]))


def look(world, key):
    wish = Wish("birthday_care", "greeting", TODAY, TODAY, "everyone", "the <b>printer</b> was on fire")
    found = rerun(world.engine, VERSION, wish, key=key, actor="ada", policy=NO_RULES, is_dry=True, clock=lambda: LATER)
    remember_look(world.engine, wish, found, key=key, actor="ada", clock=lambda: LATER)


def test_a_dry_run_a_rejection_and_one_that_was_done(world, sent, engine):  # noqa: F811
    sent()
    world.consent("c0", "email", False)
    pages = open_pages(engine, None)
    assert pages.get(RUN + "look").status_code == 404
    look(world, "look")
    page = read(pages, "look")
    assert "counted only: nothing was sent" in page and "3 would get a message, 3 of them had one before" in page
    assert "no_consent 1" in page and "asked for by ada, 2026-12-01 13:00" in page
    assert "&lt;b&gt;printer" in pages.get(RUN + "look").text
    note_refusal(engine, "birthday_care", key="look", actor="bob", at=LATER)
    assert "rejected by bob: nothing was sent" in read(pages, "look")
    hear(world, "c1", "bounced")
    again(world, "failed", key="done")
    page = read(pages, "done")
    assert "1 message" in page and "accepted 1" in page and "the printer was on fire" in page
