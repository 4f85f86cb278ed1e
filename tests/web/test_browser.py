"""In a real browser: a hostile mail runs nothing and loads nothing, and the pages need no width they don't have."""

import shutil
import socket
import threading
import time
from datetime import UTC, datetime

import pytest
import uvicorn
from sqlalchemy import text

from retention.orchestration.alone import run_cohort
from retention.web.app import Guards, build_app
from tests.web.test_data_page import load
from tests.world import shanghai, shipped

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


def test_a_hostile_mail_does_nothing_and_pages_fit_a_phone(world, address, page, asked):
    world.customer("wang", "12-04", consent=("email",), name="王" * 30)
    moment = shanghai("2026-12-01 06:00")
    made = run_cohort(
        world.engine, shipped(holdout="0%"), moment, mode="test", is_on_time=True, clock=lambda: moment
    ).entered
    with world.engine.begin() as conn:
        conn.execute(text("update outbox set html = :html"), {"html": HOSTILE})
    here = f"{address}/journeys/birthday_care/cohorts/{made.cohort_id}"
    letter = f"{here}/messages/{world.rows('select min(message_id) from outbox')[0][0]}"
    load(world, source="a_source_with_a_long_name", rejected=400, tables=["customers", "orders"])
    for path in (f"{address}/", f"{address}/data", f"{address}/journeys/birthday_care", here, letter):
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
