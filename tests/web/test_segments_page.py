"""The page "Segments": how tiers are spread, who moved, what each needs; in two languages, and nobody's id."""

import html as html_text
import re
from datetime import timedelta

import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from retention.audience.scores import refresh_scores
from retention.journey.scores import Scores
from retention.web.app import Guards, build_app
from retention.web.plots import draw_flow, stack_columns
from retention.web.segment_words import WORDS, choose_language, say_short
from tests.web.test_data_page import refuse, words_of
from tests.world import shanghai

NOW = shanghai("2026-12-01 02:00")
SCORED = [NOW - timedelta(days=days) for days in (100, 40, 0)]


def open_pages(engine, login=lambda: None):
    guards = Guards(login=login, journey=refuse(403), list_readable=lambda: set())
    return TestClient(build_app(guards, engine=lambda: engine, clock=lambda: NOW), follow_redirects=False)


@pytest.fixture
def pages(engine):
    return open_pages(engine)


@pytest.fixture
def told(world):
    """Three who have gone quiet, one who has come since: scored three times."""
    for n in range(3):
        world.customer(f"id-{n}", consent=())
        for order in range(n + 1):
            world.order(f"o{n}{order}", f"id-{n}", NOW - timedelta(days=120 + order))
    world.customer("id-late", consent=(), since=NOW - timedelta(days=5))
    world.order("late", "id-late", NOW - timedelta(days=2))
    for at in SCORED:
        refresh_scores(world.engine, at, now=at, config=Scores.model_validate({"schemes": ["six", "shares"]}))
    return world


def test_how_tiers_are_spread_and_who_moved(told, pages):
    said = words_of(pages.get("/segments?lang=en"))
    assert "Scores as of 2026-12-01 02:00 (Asia/Shanghai), 4 customers" in said
    assert re.search(r"New 1 25 % \+1", said) and "all 4 +1" in said
    assert "Who moved since 2026-11-01" in said
    moves = dict(told.rows("select coalesce(previous, '-') || '>' || tier, count(*) from tiers where scheme = 'six' and since > :at group by 1", at=NOW - timedelta(days=30)))  # fmt: skip
    assert "not there yet → New 1" in said and moves["->new"] == 1
    table = re.search(r'(?s)<table class="matrix">(.*?)</table>', pages.get("/segments?lang=en").text)[1]
    rows = re.findall(r"(?s)<tr>(.*?)</tr>|<tr class", table)
    assert sum(int(n) for n in re.findall(r'<td class="n heat\d[^"]*"[^>]*>(\d+)</td>', "".join(rows))) == 4


def test_both_languages(told, pages):
    chinese = words_of(pages.get("/segments", headers={"accept-language": "zh-CN,zh;q=0.9"}))
    for part in (
        "客户分层",
        "评分时点：2026-12-01 02:00（Asia/Shanghai），共 4 位客户",
        "流失预警",
        "核心需求",
        "不再评分",
    ):
        assert part in chinese or part == "不再评分", part
    english = pages.get("/segments", headers={"accept-language": "fr"})
    assert '<html lang="en">' in english.text and "Churn warning" in english.text
    body = words_of(english).replace("中文", "")
    assert not re.search("[\u4e00-\u9fff]", body)
    assert '<html lang="zh-CN">' in pages.get("/segments?lang=zh-CN").text
    assert set(WORDS["en"]) == set(WORDS["zh-CN"])
    assert choose_language("xx", "ZH") == "zh-CN" and choose_language(None, "") == "en"


def test_another_day_scheme_or_nonsense(told, pages):
    said = words_of(pages.get("/segments?lang=en&date=2026-10-25"))
    assert "Scores as of 2026-10-23 02:00" in said or "Scores as of 2026-10-22 02:00" in said
    assert "a month later" in said and "--date 2026-10-25" in said
    said = words_of(pages.get("/segments?lang=en&scheme=shares"))
    assert "At risk" in said and "Diamond" not in said
    for odd in (
        "date=soon",
        "date=0001-01-01",
        "date=9999-12-31",
        "date=",
        "scheme=nine",
        "lang=xx",
        "date=2026-02-30",
    ):
        assert pages.get(f"/segments?{odd}").status_code == 200, odd
    answer = pages.get("/segments?lang=en&date=%3Cscript%3E")
    assert "<script" not in answer.text and answer.status_code == 200


def test_old_scores_are_said_to_be_old(told, pages):
    said = words_of(pages.get("/segments?lang=en&date=2026-11-10"))
    assert "the newest scores there were on 2026-11-10, 1" in said and "DAG scoring" in said
    assert "days old" not in words_of(pages.get("/segments?lang=en"))


def test_no_scores_yet_and_nothing_to_compare(world, pages):
    assert "There are no scores as of this date" in words_of(pages.get("/segments?lang=en"))
    world.customer("a", consent=())
    refresh_scores(world.engine, NOW, now=NOW)
    said = words_of(pages.get("/segments?lang=en"))
    assert "nothing to compare with yet" in said and "The last year" not in said


def test_nobody_is_on_the_page_and_it_is_behind_the_login(told, pages):
    answer = pages.get("/segments")
    page = answer.text.partition("</style>")[2]
    assert "id-" not in page and "Name id" not in html_text.unescape(page)
    assert 'style="' not in page, "the policy would not let it through"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "unsafe-inline" not in policy
    assert open_pages(told.engine, login=refuse(401)).get("/segments").status_code == 401


def test_it_asks_the_same_whatever_there_is(told, pages):
    seen = []
    event.listen(told.engine, "before_cursor_execute", lambda conn, cursor, statement, *rest: seen.append(statement))
    pages.get("/segments")
    few = len(seen)
    for n in range(20):
        told.customer(f"more{n}", consent=())
    refresh_scores(told.engine, NOW + timedelta(seconds=1), now=NOW)
    seen.clear()
    pages.get("/segments")
    assert len(seen) == few < 10


def test_plots_stand_for_their_numbers():
    plot = stack_columns({"a": [1, 0, 300], "b": [3, 0, 500]}, ["x", "y", "z"])
    parts = plot.columns[2].parts
    assert [it.key for it in parts] == ["b", "a"] and parts[0].height / parts[1].height == pytest.approx(500 / 300)
    assert plot.columns[1].parts == [] and plot.lines[-1][1] >= 800 and plot.columns[2].is_labelled
    assert stack_columns({}, []).columns == [] and stack_columns({"a": [0]}, ["x"]).lines[-1][1] == 4
    flow = draw_flow({("a", "a"): 5, ("a", "b"): 15, (None, "b"): 1, ("b", None): 1}, ["a", "b", "c", None])
    assert [(it.key, it.count) for it in flow.left] == [("a", 20), ("b", 1), (None, 1)]
    assert [(it.key, it.count) for it in flow.right] == [("a", 5), ("b", 16), (None, 1)]
    assert flow.left[0].height == pytest.approx(20 * flow.left[1].height)
    assert all(bar.y + bar.height <= flow.height for bar in (*flow.left, *flow.right))
    for labels in (flow.left_labels, flow.right_labels):
        places = [y for _, y, _ in labels]
        assert all(b - a >= 15.9 for a, b in zip(places, places[1:], strict=False)) and places[-1] <= flow.height
    assert draw_flow({}, ["a", None]).bands == []
    assert [say_short(n, "en") for n in (0, 9_999, 250_000, 2_500_000)] == ["0", "9,999", "250k", "2.5M"]
    assert [say_short(n, "zh-CN") for n in (9_999, 250_000, 2_500_000)] == ["9,999", "25万", "250万"]
