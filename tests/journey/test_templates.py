"""Templates: which words somebody gets, and that every accepted text can be rendered."""

from __future__ import annotations

import os
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.journey.files import Files, read_files
from retention.journey.load import load
from retention.journey.shop import choose_locale
from retention.journey.template_syntax import FILTERS, make_environment, read_wording
from retention.journey.templates import Part, Template
from retention.journey.coupon_words import write_zhe
from retention.journey.variables import VARIABLES, CouponFacts, fill_variables

HERE = Path(__file__).parent
SHIPPED = read_files(HERE.parents[1] / "include")
VERSION = load(SHIPPED).versions["birthday_care"]
TEMPLATES = sorted(VERSION.templates)
PEOPLE = {"zh-CN": ("王小明", "11月13日"), "en": ("Emily Clark", "13 November")}


def values(locale: str, name: str | None = None, day: str | None = None, value: int = 20, code: str = "Q7RM4KX2WD9P"):
    known_name, known_day = PEOPLE[locale]
    return fill_variables(
        locale=locale,
        default_locale="zh-CN",
        shop=VERSION.shop,
        customer_name=known_name if name is None else name,
        coupon=CouponFacts(code, value, day or known_day),
    )


def render(text: str, context: dict, *, is_html: bool = False) -> str:
    return make_environment(is_html=is_html).from_string(text).render(context)


@pytest.mark.parametrize(
    ("wanted", "available", "default", "chosen"),
    [
        ("en", ["en", "zh-CN"], "zh-CN", "en"),
        ("en-GB", ["en", "zh-CN"], "zh-CN", "en"),
        ("en", ["en-GB", "en-US", "zh-CN"], "zh-CN", "en-GB"),
        ("zh-TW", ["en", "zh-CN"], "en", "zh-CN"),
        ("fr", ["en", "zh-CN"], "zh-CN", "zh-CN"),
        ("fr", ["en", "ja"], "zh-CN", "en"),
        ("", ["en", "zh-CN"], "zh-CN", "zh-CN"),
    ],
)
def test_locale_falls_back(wanted: str, available: list[str], default: str, chosen: str) -> None:
    assert choose_locale(wanted, available, default) == chosen
    parts = {("sms", locale): Part(text=locale) for locale in available}
    template = Template("t", "marketing", "T", {**parts, ("email", "xx"): Part(text="e-mail")})
    assert template.part("sms", wanted, default) == (chosen, Part(text=chosen))


def test_a_channel_without_words_is_no_fallback() -> None:
    with pytest.raises(KeyError):
        Template("t", "marketing", "T", {("email", "en"): Part(text="x")}).part("sms", "en", "en")


def test_every_variable_has_a_value_and_no_other_has() -> None:
    filled = {f"{group}.{name}" for group, names in values("en").items() for name in names}
    assert filled == set(VARIABLES)


def test_values_are_as_people_say_them() -> None:
    said = [write_zhe(percent) for percent in (20, 25, 5, 50, 100, Decimal("20.00"))]
    assert said == ["8", "7.5", "9.5", "5", "0", "8"]
    assert render("{{ coupon.value }}", values("en", value=Decimal("20.00"))) == "20"
    assert render("{% if coupon.value >= 20 %}yes{% endif %}", values("en", value=Decimal("20.50"))) == "yes"
    assert values("en", name="  Ann\r\nBcc: x ")["customer"]["name"] == "Ann Bcc: x"


def greeting_with(html: str) -> Part:
    files = Files({**SHIPPED, "templates/birthday/greeting/email.en.html": html})
    return load(files).versions["birthday_care"].templates["birthday/greeting"].parts["email", "en"]


def test_a_preheader_is_the_first_hidden_thing_and_is_escaped() -> None:
    head = "---\nsubject: S\npreheader: Fish & chips <now> for {{ customer.name }}\n---\n"
    part = greeting_with(head + "<body class='x'><p>Hi</p></body>\n")
    assert part.preheader == "Fish & chips <now> for {{ customer.name }}"
    assert part.html.startswith("<body class='x'><div style=\"display:none")
    assert "Fish &amp; chips &lt;now&gt; for {{ customer.name }}</div><p>Hi" in part.html
    assert "&lt;b&gt;" in render(part.html, values("en", name="<b>"), is_html=True)


def test_subjects_may_hold_colons_quotes_and_braces() -> None:
    part = greeting_with('---\nsubject: "News: {{ customer.name }}"\n---\n<p>Hi</p>\n')
    assert part.subject == "News: {{ customer.name }}" and part.preheader is None


pieces = st.sampled_from(
    [f"{{{{ {name} }}}}" for name in VARIABLES]
    + [f"{{{{ {name} | {word} }}}}" for name in ("customer.name", "coupon.value") for word in FILTERS]
    + ["{% if customer.name %}", "{% else %}", "{% endif %}", "{% if coupon.value >= 20 %}", "{% if not coupon.zhe %}",
       '{% if customer.name == "x" and coupon.value != 3 %}', '{{ customer.name | default("x", true) }}', "{{ 7 }}",
       "{% if coupon.value > '3' %}", "{{ customer.name * 9 }}", "{{ shop }}", "{{ customer.name.x }}", "{{ none }}",
       "{% if customer.name in shop.name %}", "{{ customer.name if 1 }}", "{{ -coupon.value }}", "{{ true }}"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(pieces, st.text(max_size=5)), max_size=8).map("".join))
def test_what_is_accepted_can_be_rendered(text: str) -> None:
    if not read_wording(text).mistakes:
        for is_html in (True, False):
            render(text, values("en"), is_html=is_html)
            render(text, values("zh-CN", name=""), is_html=is_html)


GSM7 = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)


@pytest.mark.parametrize("name", TEMPLATES)
def test_sms_fits_one_segment(name: str) -> None:
    """The longest usual names and days, and a code of twelve characters."""
    template = VERSION.templates[name]
    chinese = render(template.parts["sms", "zh-CN"].text, values("zh-CN", "欧阳娜娜", "12月31日", value=25))
    assert len(chinese.encode("utf-16-le")) // 2 <= 70, chinese
    assert chinese.startswith("【青禾生活】") and chinese.endswith("回复TD退订")
    english = render(template.parts["sms", "en"].text, values("en", "Christopher Anderson", "30 September"))
    assert len(english) <= 160 and set(english) <= GSM7, english
    assert english.startswith("Qinghe Home: ") and english.endswith("Reply STOP to end")
    # Signed links are longer than an address: with a public address of 25 characters it still is one segment.
    link = "https://hello.example.com/l/" + "x" * 16
    longer = english.replace(VERSION.shop.website, link)
    assert longer != english and len(longer) <= 160, longer


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("locale", ["zh-CN", "en"])
def test_shipped_words_are_the_golden_ones(name: str, locale: str) -> None:
    """After changing the words: RETENTION_WRITE_GOLDEN=1 pytest tests/journey/test_templates.py, then read the diff."""
    template = VERSION.templates[name]
    email, sms = template.parts["email", locale], template.parts["sms", locale]
    nameless = [render(text, values(locale, name="")) for text in (email.subject, email.text, sms.text)]
    pages = {"unsubscribe": "https://hello.example.com/u/t", "preferences": "https://hello.example.com/p/t"}
    linked = {**values(locale), "links": pages}
    written = {
        "linked.txt": render(email.text, linked),
        "linked.html": render(email.html, linked, is_html=True) + "\n",
        "sms.txt": render(sms.text, values(locale)) + "\n",
        "email.txt": f"{render(email.subject, values(locale))}\n\n{render(email.text, values(locale))}\n",
        "email.html": render(email.html, values(locale), is_html=True) + "\n",
        "nameless.txt": "\n\n".join(nameless) + "\n",
    }
    for ending, text in written.items():
        golden = HERE / "golden" / f"{name.replace('/', '_')}.{locale}.{ending}"
        if os.environ.get("RETENTION_WRITE_GOLDEN"):
            golden.write_text(text, encoding="utf-8")
        assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_email_has_one_thing_to_do(name: str) -> None:
    for (channel, _), part in VERSION.templates[name].parts.items():
        if channel == "email":
            links = re.findall(r'<a [^>]*?href="([^"]+)"', part.html)
            assert links == ["{{ shop.website }}", "{{ links.unsubscribe }}", "{{ links.preferences }}"]
            assert part.text.count("{{ shop.website }}") == 1
            assert "<script" not in part.html and "<style" not in part.html and "src=" not in part.html
