"""In a real browser: a hostile mail runs nothing and loads nothing, and the pages need no width they don't have."""

import random
import shutil
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import uvicorn
from sqlalchemy import text

from retention.audience.scores import refresh_scores
from retention.orchestration.alone import run_cohort
from retention.orchestration.preview import Shown
from retention.web.app import Guards, build_app
from retention.web.preview import write_preview
from tests.web.test_data_page import load
from tests.world import example, shanghai

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="there is no chromium")]

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]

HOSTILE = """<html><body style="color: rgb(1, 2, 3)"><p id="seen">mail</p>
<script>parent.document.title = 'taken'; document.title = 'taken'; fetch('/stolen')</script>
<img src="/pixel.png"><img src="x" onerror="fetch('/stolen')"><link rel="stylesheet" href="/style.css">
<iframe src="/framed"></iframe><a href="/left" target="_top" id="link">link</a>
<form action="/posted"><input type="submit" id="button"></form></body></html>"""


@pytest.fixture
def asked():
    """The paths that reached the server."""
    return []


@pytest.fixture
def address(engine, asked):
    guards = Guards(login=lambda: None, journey=lambda: None, list_readable=lambda: {"birthday_care"})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = build_app(guards, engine=lambda: engine, clock=lambda: datetime(2026, 12, 10, tzinfo=UTC))

    async def listen(scope, receive, send):
        asked.append(scope.get("path"))
        await app(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(listen, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def page():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_page(viewport={"width": 390, "height": 844})
        browser.close()


def test_a_preview_shows_mails_whole_and_a_hostile_one_does_nothing(page, tmp_path):
    tall = HOSTILE.replace("<p id", '<div style="height: 1900px"></div><p id')
    shown = [Shown("greeting", "email", "en", (), "mail", subject="hello", html=tall)]
    path = tmp_path / "page.html"
    path.write_text(write_preview(example(), shown), encoding="utf-8")
    (tmp_path / "x").write_text("<svg/>")  # what the mail's second picture would load
    asked, said = [], []
    page.on("requestfinished", lambda request: asked.append(request.url))  # what is refused is begun, and fails
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    frames = page.locator("iframe")
    assert frames.count() == 2 and all(frames.nth(n).bounding_box()["height"] >= 1900 for n in range(2))
    assert page.title() != "taken" and said == []
    page.frames[1].locator("#link").click()
    page.wait_for_timeout(300)
    assert page.url == path.as_uri() and {url for url in asked if not url.startswith("about:")} == {path.as_uri()}
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it fits a phone"


def test_a_hostile_mail_does_nothing_and_pages_fit_a_phone(world, address, page, asked):
    world.customer("wang", "12-04", consent=("email",), name="王" * 30)
    moment = shanghai("2026-12-01 06:00")
    made = run_cohort(
        world.engine, example(holdout="0%"), moment, mode="test", is_on_time=True, clock=lambda: moment
    ).entered
    with world.engine.begin() as conn:
        conn.execute(text("update outbox set html = :html"), {"html": HOSTILE})
    here = f"{address}/journeys/birthday_care/cohorts/{made.cohort_id}"
    letter = f"{here}/messages/{world.rows('select min(message_id) from outbox')[0][0]}"
    load(world, source="a_source_with_a_long_name", rejected=400, tables=["customers", "orders"])
    for path in (
        f"{address}/",
        f"{address}/data",
        f"{address}/segments",
        f"{address}/journeys/birthday_care",
        here,
        letter,
    ):
        page.goto(path)
        for folded in page.locator("summary").all():
            folded.click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path

    asked.clear()
    page.goto(letter)
    mail = page.frame_locator("iframe")
    assert mail.locator("#seen").evaluate("it => getComputedStyle(it).color") == "rgb(1, 2, 3)"
    for click in ("#link", "#button"):
        mail.locator(click).click()
    page.wait_for_timeout(300)
    assert page.title().startswith("Message") and page.url == letter
    assert set(asked) <= {letter.removeprefix(address), "/favicon.ico"}


def test_the_plots_of_tiers_keep_within_their_frames(world, address):
    """In both languages, by day and by night, wide and narrow: every word of a plot is inside it, and nothing complains."""
    from playwright.sync_api import sync_playwright

    rng = random.Random(1)
    for n in range(30):
        world.customer(f"c{n}", consent=(), since=datetime(2026, 1 + n // 3, 1, tzinfo=UTC))
    for n in range(90):
        world.order(
            f"o{n}", f"c{rng.randrange(30)}", datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=rng.randrange(330))
        )
    for day in range(100, 340, 30):
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
        refresh_scores(world.engine, at, now=at)
    outside = """() => [...document.querySelectorAll('svg.plot text')].filter(it => {
        const box = it.getBoundingClientRect(), frame = it.ownerSVGElement.getBoundingClientRect();
        return box.width && (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 2
                             || box.bottom > frame.bottom + 1);
    }).map(it => it.textContent)"""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for lang, scheme, width in (
            ("zh-CN", "light", 1100),
            ("en", "dark", 1100),
            ("zh-CN", "dark", 390),
            ("en", "light", 390),
        ):
            page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
            said = []
            page.on("console", lambda message, said=said: said.append(message.text))
            page.goto(f"{address}/segments?lang={lang}&date=2026-11-27")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (lang, width)
            assert page.locator("svg.plot").count() == 2 and page.evaluate(outside) == [], (lang, width)
            assert page.locator("svg.flow").is_visible() == (width > 640)
            shown = page.locator("svg rect.tier-new").first.evaluate("it => getComputedStyle(it).fill")
            assert shown == ("rgb(47, 127, 209)" if scheme == "light" else "rgb(95, 165, 238)")
            assert said == []
        browser.close()
