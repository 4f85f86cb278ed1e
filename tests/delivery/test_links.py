"""Links in templates: which addresses lead over ours, and that a letter reads the same both ways."""

from __future__ import annotations

import html
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from retention.delivery.accounts import read_account
from retention.delivery.channels.base import Letter
from retention.delivery.choose import open_provider
from retention.delivery.links import Links, mark_links, open_links, show_links
from retention.delivery.render import Renderer
from retention.delivery.segments import count_segments
from retention.delivery.tokens import PREFERENCES, UNSUBSCRIBE, Signer
from retention.errors import ConfigError
from retention.journey.load import load_version
from retention.store.months import first_id
from tests.delivery.test_channels import HOSTILE, KEY, SHIPPED, STEPS, Row, filled
from tests.world import example

WEBSITE = "https://shop.example.com"
PUBLIC = "https://hello.example.com"
SIGNER = Signer((KEY,))


def make_links(known: list[str] | None = None) -> Links:
    known = [] if known is None else known

    def number(url: str) -> int:
        if url not in known:
            known.append(url)
        return known.index(url) + 1

    return Links(SIGNER, PUBLIC, number)


L0, L1 = "{{ links.l0 }}", "{{ links.l1 }}"


@pytest.mark.parametrize(
    ("source", "marked", "found"),
    [
        ("see {{ shop.website }}.", f"see {L0}.", [WEBSITE]),
        ("点{{shop.website}}回复TD退订", f"点{L0}回复TD退订", [WEBSITE]),
        ("详见https://a.com/x看看", f"详见{L0}看看", ["https://a.com/x"]),
        ("（https://a.com）", f"（{L0}）", ["https://a.com"]),
        ("(https://a.com/(x))", f"({L0})", ["https://a.com/(x)"]),
        ("https://a.com, https://b.com! https://a.com", f"{L0}, {L1}! {L0}", ["https://a.com", "https://b.com"]),
        ("{{ shop.website }}/c?k={{ coupon.code }}&x=1", L0, [f"{WEBSITE}/c?k={{coupon.code}}&x=1"]),
        ("{% if customer.name %}https://a.com{% else %}https://b.com{% endif %} x",
         f"{{% if customer.name %}}{L0}{{% else %}}{L1}{{% endif %}} x", ["https://a.com", "https://b.com"]),
        # Left as they are written: the address goes on in what only one person gets, or can't be told from words.
        ("https://x.com/生日", None, []),
        ("https://x.com/a{% if customer.name %}b{% endif %}", None, []),
        ("{% if customer.name %}https://a.com{% else %}https://b.com{% endif %}/p", None, []),
        ("https://x.com/{{ customer.name }}", None, []),
        ("http://{{ customer.name }}.com", None, []),
        ('{% if customer.name == "https://x.com" %}y{% endif %}', None, []),
        ("{# https://x.com #}", None, []),
        ("mailto:a@https.com http:// shop.example.com", None, []),
        ("https://a.com/" + "x" * 2000, None, []),
    ],
)  # fmt: skip
def test_addresses_in_words(source, marked, found):
    listed = []
    assert mark_links(source, listed, website=WEBSITE, is_html=False) == (source if marked is None else marked)
    assert listed == found


@pytest.mark.parametrize(
    ("source", "marked", "found"),
    [
        ('<a href="{{ shop.website }}">', f'<a href="{L0}">', [WEBSITE]),
        ("<a class=x href='https://a.com/?a=1&amp;b=2' >", f"<a class=x href='{L0}' >", ["https://a.com/?a=1&b=2"]),
        ('<A\n HREF = " https://a.com/{{ coupon.code }} ">', f'<A\n HREF = "{L0}">', ["https://a.com/{coupon.code}"]),
        ('<v:roundrect href="https://a.com">', f'<v:roundrect href="{L0}">', ["https://a.com"]),
        ('<link href="https://a.com"><img src="https://b.com">https://c.com', None, []),
        ('<html xmlns="http://www.w3.org/1999/xhtml">', None, []),
        ('<a href="mailto:x"><a href="https://a.com/{{ customer.name }}"><a data-href="https://d.com">', None, []),
        ('<a href="{% if customer.name %}https://a.com{% endif %}">', None, []),
        ('<a href="{{ links.unsubscribe }}">', None, []),
    ],
)
def test_addresses_in_html(source, marked, found):
    listed = []
    assert mark_links(source, listed, website=WEBSITE, is_html=True) == (source if marked is None else marked)
    assert listed == found


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["https://a.com", "{{ shop.website }}", "{{ coupon.code }}", "{% if customer.name %}", "http://",
                             "{% else %}", "{% endif %}", "/", "?", "生", ".", "(", ")", " ", '"', '<a href="', '">', "&amp;"]),
            st.text(max_size=3),
        ), max_size=12,
    ).map("".join), st.booleans(),
)  # fmt: skip
def test_marks_take_nothing_but_addresses(source, is_html):
    """What was put in, taken out again, leaves the template as it was, but for how an address is spelled in it."""
    listed = []
    marked = mark_links(source, listed, website=WEBSITE, is_html=is_html)
    back = re.sub(r"\{\{ links\.l(\d+) \}\}", lambda m: listed[int(m[1])], marked)

    def spelled_out(text):
        text = text.replace("{{ shop.website }}", WEBSITE).replace("{{ coupon.code }}", "{coupon.code}")
        return "".join((html.unescape(text) if is_html else text).split())

    assert spelled_out(back) == spelled_out(source)


def read_both(journey, step, row, links) -> tuple[Letter, Letter]:
    return tuple(Renderer(journey, step, links=links, each_person=it).write(row, mode="live") for it in (False, True))


def is_marketing(journey, step):
    version = SHIPPED[journey]
    return version.templates[version.journey.step(step).send.template].purpose == "marketing"


@pytest.mark.parametrize(
    "name", [*HOSTILE, "https://evil.example.com/", 'x" href="https://evil.example.com', "{{ links.l0 }}"]
)
@pytest.mark.parametrize("channel", ["email", "sms"])
@pytest.mark.parametrize("locale", ["zh-CN", "en"])
@pytest.mark.parametrize(("journey", "step"), STEPS)
def test_letters_with_links_read_the_same_both_ways(journey, step, locale, channel, name):
    known = []
    links = make_links(known)
    row = Row(77, channel=channel, name=name, locale=locale)
    ours, whole = read_both(SHIPPED[journey], step, row, links)
    assert (ours.subject, ours.text, ours.html) == (whole.subject, whole.text, whole.html)
    assert not ours.sheet.is_own and known in ([], [WEBSITE])
    assert ours.sheet.gaps() or channel == "sms"
    everything = "".join([ours.text, ours.html or ""])
    # No name becomes a link of ours, and none is left of the shop's.
    assert WEBSITE not in everything and not [url for url in known if "evil" in url]
    for token in re.findall(rf"{PUBLIC}/l/([\w\-]+)", everything):
        assert SIGNER.read_click(token) == (77, 1)
    if channel == "email":
        for kind in (UNSUBSCRIBE, PREFERENCES) if is_marketing(journey, step) else (PREFERENCES,):
            tokens = set(re.findall(rf"{PUBLIC}/{kind}/([\w.\-]+)", everything))
            assert [SIGNER.read(kind, token) for token in tokens] == [77]


@pytest.mark.parametrize(("journey", "step"), STEPS)
def test_a_provider_fills_them_like_any_gap(monkeypatch, journey, step):
    monkeypatch.setenv("RETENTION_PUBLIC_URL", PUBLIC)
    monkeypatch.setenv("RETENTION_SIGNING_KEY", KEY)
    account = {"conn_type": "sendgrid", "password": "SG.x", "extra": {"from_email": "news@example.com"}}
    monkeypatch.setenv("AIRFLOW_CONN_RETENTION_EMAIL", json.dumps(account))
    provider = open_provider("email", read_account("email"), lambda: datetime(2026, 12, 1, tzinfo=UTC))
    rows = [Row(n, name=f"Name {n}", locale="en", address=f"c{n}@example.com") for n in range(1, 30)]
    for is_each in (False, True):
        renderer = Renderer(SHIPPED[journey], step, links=make_links(), each_person=is_each)
        letters = [renderer.write(row, mode="live") for row in rows]
        [request] = provider.build(letters)
        body = orjson.loads(request.body)
        for person, letter in zip(body["personalizations"], letters, strict=True):
            assert filled(body, person) == (letter.subject, letter.text, letter.html)
            assert f"{PUBLIC}/l/{SIGNER.sign_click(letter.message_id, 1)}" in letter.text
    provider.close()


@pytest.mark.parametrize(("journey", "step"), STEPS)
@pytest.mark.parametrize("locale", ["zh-CN", "en"])
@pytest.mark.parametrize(
    "message_id", [1, first_id(date(2026, 11, 1)) + 16_000_000, first_id(date(2030, 6, 1)) + 300_000_000]
)
def test_no_shipped_sms_grows_a_segment(journey, step, locale, message_id):
    name = {"zh-CN": "欧阳娜娜", "en": "Christopher Anderson"}[locale]
    row = Row(message_id, channel="sms", name=name, locale=locale, coupon_code="Q7RM4KX2WD9P")
    plain = Renderer(SHIPPED[journey], step).write(row, mode="live").text
    linked = Renderer(SHIPPED[journey], step, links=make_links()).write(row, mode="live").text
    assert count_segments(plain)[1] == count_segments(linked)[1] == 1, linked
    # A link takes most of a Chinese segment: there, words say where to go. Service speaks of no page at all.
    assert (linked != plain) == (locale == "en" and is_marketing(journey, step))


def test_words_worked_on_for_each_person_keep_their_links():
    content = dict(example().content)
    path = "templates/birthday/greeting/email.en.txt"
    content[path] = (
        "Hello {{ customer.name | upper }}: {{ shop.website }} https://b.example.com/x {{ links.unsubscribe }}\n"
    )
    letter = Renderer(load_version(content), "greeting", links=make_links()).write(
        Row(5, locale="en", name="ann"), mode="live"
    )
    assert letter.sheet.is_own and letter.text.startswith(f"Hello ANN: {PUBLIC}/l/")
    assert [SIGNER.read_click(it) for it in re.findall(r"/l/([\w\-]+)", letter.text)] == [(5, 1), (5, 2)]


def test_without_a_public_address_links_stay_and_there_are_no_pages(engine, monkeypatch):
    for name in ("RETENTION_PUBLIC_URL", "RETENTION_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert open_links(engine) is None and show_links() is None
    letter = Renderer(SHIPPED["birthday_care"], "greeting").write(Row(locale="en"), mode="test")
    assert letter.html.count(WEBSITE) == 1 and 'reply with the word "unsubscribe"' in letter.text
    monkeypatch.setenv("RETENTION_PUBLIC_URL", PUBLIC)
    assert open_links(engine) is None
    monkeypatch.setenv("RETENTION_SIGNING_KEY", "short")
    with pytest.raises(ConfigError, match="RETENTION_SIGNING_KEY"):
        open_links(engine)


def test_an_address_is_stored_once_whoever_asks_at_once(engine, monkeypatch):
    monkeypatch.setenv("RETENTION_PUBLIC_URL", PUBLIC)
    monkeypatch.setenv("RETENTION_SIGNING_KEY", KEY)
    links = open_links(engine)
    with ThreadPoolExecutor(8) as pool:
        numbers = set(pool.map(links.number, ["https://a.com"] * 40))
    assert len(numbers) == 1 and links.number("https://b.com") not in numbers
    with engine.connect() as conn:
        assert conn.scalar(text("select count(*) from links")) == 2


def test_links_of_a_dry_run_are_as_long_as_real_ones(monkeypatch):
    monkeypatch.setenv("RETENTION_PUBLIC_URL", PUBLIC)
    monkeypatch.setenv("RETENTION_SIGNING_KEY", KEY)
    shown = Renderer(SHIPPED["birthday_care"], "greeting", links=show_links()).write(
        Row(7, channel="sms", locale="en"), mode="test"
    )
    real = Renderer(SHIPPED["birthday_care"], "greeting", links=make_links()).write(
        Row(7, channel="sms", locale="en"), mode="test"
    )
    assert len(shown.text) == len(real.text)
