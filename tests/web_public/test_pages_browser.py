"""The public pages in a real browser: without JavaScript, on a phone, in both languages, in light and dark.

RETENTION_SHOTS=folder keeps the pictures, to be looked at after a change."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest
import uvicorn

from tests.web_public.test_pages import (  # noqa: F401
    app,
    clock,
    consents,
    everything,
    front,
    letter,
    path_of,
    send,
    signer,
)

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="there is no chromium")]

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture
def address(app):  # noqa: F811
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(params=["light", "dark"])
def page(request, tmp_path):
    """A phone without JavaScript; page.shot("name") takes a picture."""
    from playwright.sync_api import sync_playwright

    folder = Path(os.environ.get("RETENTION_SHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(
            viewport={"width": 390, "height": 844},
            java_script_enabled=False,
            color_scheme=request.param,
            locale="zh-CN",
        )
        page = context.new_page()
        taken = []

        def shot(name):
            taken.append(folder / f"{name}.{request.param}.png")
            page.screenshot(path=taken[-1], full_page=True)
            fits = page.locator("html").evaluate("it => it.scrollWidth <= innerWidth && it.scrollWidth > 0")
            assert fits, f"{name} is wider than the phone"
            check_looks(page)

        page.shot = shot
        yield page
        assert taken and all(it.stat().st_size > 5000 for it in taken)
        browser.close()


LOOKS = """root => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = it => {
    for (; it; it = it.parentElement) {
      const colour = getComputedStyle(it).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const wrong = [];
  for (const it of root.querySelectorAll('h1, p, a, button, label, legend, span, bdi')) {
    if (!it.textContent.trim()) continue;
    const [a, b] = [light(getComputedStyle(it).color), light(ground(it))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) wrong.push(`contrast ${contrast.toFixed(2)}: ${it.textContent.trim().slice(0, 40)}`);
  }
  for (const it of root.querySelectorAll('button, label, nav a')) {
    if (it.getBoundingClientRect().height < 40) wrong.push(`too low to hit: ${it.textContent.trim()}`);
  }
  for (const it of root.querySelectorAll('input[type=checkbox]')) {
    if (!it.labels.length) wrong.push(`no label: ${it.value}`);
  }
  return wrong;
}"""


def check_looks(page):
    """Contrast of WCAG AA, targets that a thumb hits, a label for each box."""
    assert page.locator("html").evaluate(LOOKS) == []


@pytest.mark.parametrize("lang", ["zh-CN", "en"])
def test_unsubscribing_on_a_phone(world, letter, address, page, lang):  # noqa: F811
    before = everything(world)
    page.goto(address + path_of(letter[1], "u"))
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    if lang == "en":
        page.get_by_role("link", name="English").click()
        assert page.locator("html").get_attribute("lang") == "en"
    shown = page.get_by_role("main").inner_text()
    assert "w***@example.com" in shown and ("青禾生活" in shown if lang == "zh-CN" else "Qinghe Home" in shown)
    page.shot(f"unsubscribe-1-ask.{lang}")
    assert everything(world) == before
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    button = page.get_by_role("button").first
    assert button.evaluate("it => it === document.activeElement && getComputedStyle(it).outlineStyle === 'solid'")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]")
    page.shot(f"unsubscribe-2-done.{lang}")
    assert consents(world)[0] == ("email", False, "page")
    page.get_by_role("button", name="撤销退订" if lang == "zh-CN" else "Undo").click()
    page.wait_for_selector("text=已恢复" if lang == "zh-CN" else "text=You are subscribed again")
    page.shot(f"unsubscribe-3-undone.{lang}")
    assert consents(world)[0] == ("email", True, "page")
    page.goto(address + path_of(letter[1], "u") + f"?lang={lang}")
    page.get_by_role("button", name="退订全部渠道" if lang == "zh-CN" else "Unsubscribe from everything").click()
    page.wait_for_selector("[role=status]")
    page.shot(f"unsubscribe-4-all.{lang}")
    assert not any(is_granted for _, is_granted, _ in consents(world))
    page.goto(address + path_of(letter[1], "u") + f"?lang={lang}")
    page.shot(f"unsubscribe-5-later.{lang}")


@pytest.mark.parametrize("lang", ["zh-CN", "en"])
def test_settings_on_a_phone(world, letter, address, page, lang):  # noqa: F811
    world.suppress("sms", world.rows("select phone from customers")[0][0])
    page.goto(address + path_of(letter[1], "u") + f"?lang={lang}")
    page.locator(".more a").click()
    page.wait_for_selector("fieldset")
    assert page.locator("html").get_attribute("lang") == lang
    page.shot(f"settings-1.{lang}")
    names = {"zh-CN": ("邮件", "生活小贴士", "不根据"), "en": ("E-mail", "Tips for the home", "Do not use")}[lang]
    for name in names:
        page.get_by_label(name).first.click()
    page.get_by_role("button", name="保存设置" if lang == "zh-CN" else "Save").click()
    page.wait_for_selector("[role=status]")
    page.shot(f"settings-2-saved.{lang}")
    assert consents(world) == [("email", False, "page"), ("sms", True, "test")]
    assert world.rows("select subject, is_granted from choices order by 1") == [
        ("profiling", False),
        ("topic:tips", False),
    ]
    assert not page.get_by_label(names[0]).first.is_checked()


def test_refusals_and_tests_on_a_phone(world, send, address, page, signer):  # noqa: F811
    page.goto(f"{address}/u/nothing")
    page.shot("refused")
    world.customer("wang", "12-04", consent=("email",))
    page.goto(address + path_of(send("test")["wang@example.com"][3], "u"))
    page.shot("test-message.zh-CN")
    page.goto(f"{address}/p/{signer.sign('p', 0)}?lang=en")
    page.shot("test-message.en")
