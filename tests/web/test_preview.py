"""The preview of a journey: every message for everybody whose words or coupon differ, on a page that needs nothing else."""

from datetime import UTC, datetime

import pytest

from retention.errors import RetentionError
from retention.journey.files import read_files
from retention.journey.load import load
from retention.orchestration.preview import find_customer, preview
from retention.store.database import ROOT
from retention.web.preview import write_preview
from tests.world import DAY

NOW = datetime(2026, 12, 1, 2, tzinfo=UTC)
VERSIONS = load(read_files(ROOT / "include")).versions
DORMANCY = VERSIONS["dormancy_wakeup"]


@pytest.mark.parametrize("name", VERSIONS)
def test_every_step_channel_and_language_is_shown(name):
    shown = preview(VERSIONS[name], NOW)
    seen = {(it.step, it.channel, it.locale) for it in shown}
    for step in VERSIONS[name].journey.steps:
        for channel in step.send.order:
            for locale in VERSIONS[name].templates[step.send.template].locales(channel):
                assert (step.id, channel, locale) in seen
    page = write_preview(VERSIONS[name], shown)
    assert page.count("<iframe sandbox") >= sum(it.html is not None for it in shown) and page.count("<script") == 1


def test_tiers_have_their_own_coupon_and_words_and_the_rest_is_shown_once():
    sms = {
        it.who: it.text for it in preview(DORMANCY, NOW) if (it.step, it.channel, it.locale) == ("gift", "sms", "zh-CN")
    }
    assert set(sms) == {("everybody else",), ("tier diamond",), ("tier gold",)}
    assert "8.5折券，下单时填TESTCODE22即可，12月15日止" in sms[("everybody else",)] and "7.5折券" in sms[("tier gold",)]
    assert "一份礼物：挂耳咖啡一盒，下单时填TESTCODE22即可，12月22日止" in sms[("tier diamond",)]
    nudge = {
        it.who: it.text
        for it in preview(DORMANCY, NOW)
        if (it.step, it.channel, it.locale) == ("nudge", "sms", "zh-CN")
    }
    assert "给您留的挂耳咖啡一盒还没领" in nudge[("tier diamond",)], "the coupon that the earlier step gave"
    mails = {
        it.who: it.text for it in preview(DORMANCY, NOW) if (it.step, it.channel, it.locale) == ("gift", "email", "en")
    }
    assert "How is your pet?" in mails[("category pet_food",)] and "value most" in mails[("tier diamond",)]


def test_a_customer_sees_their_own(world):
    world.customer("c1", name="李<b>雷", locale="zh-CN")
    world.add("tiers", customer_id="c1", scheme="six", tier="gold", previous=None, since=NOW - DAY)
    world.order("o1", "c1", NOW - DAY)
    with world.engine.connect() as conn:
        person = find_customer(conn, DORMANCY, "c1", NOW)
        with pytest.raises(RetentionError, match="nobody has this id"):
            find_customer(conn, DORMANCY, "nobody", NOW)
    assert (person.name, person.locale) == ("李<b>雷", "zh-CN")
    assert person.facts["gift"] == {"tier": "gold", "category": "coffee"}
    shown = preview(DORMANCY, NOW, person)
    assert {(it.step, it.channel) for it in shown} == {
        ("gift", "sms"),
        ("gift", "email"),
        ("nudge", "sms"),
        ("nudge", "email"),
    }
    assert all("7.5折券" in it.text and "李<b>雷" in it.text for it in shown)
    assert all("您上次带走的咖啡" in it.text for it in shown if (it.step, it.channel) == ("gift", "email"))
    assert "<b>雷" not in write_preview(DORMANCY, shown, "c1"), "a name is text, in the page and in the mail"


def test_the_command_writes_the_page(retention, tmp_path):
    done = retention("preview", "dormancy_wakeup", "--out", tmp_path / "page.html")
    assert "messages. Open it in a browser." in done.stdout and "好久不见" in (tmp_path / "page.html").read_text(
        "utf-8"
    )
