"""The page "Data": every load with its numbers and its checks, what is held and what to do, and nobody's data."""

import html as html_text
import re
from datetime import timedelta

import pytest
from fastapi import HTTPException
from sqlalchemy import event, text
from starlette.testclient import TestClient

from retention.intake.loaded import Counts
from retention.intake.quality import KINDS, check_quality, lift_holds
from retention.intake.quality_policy import QualityPolicy
from retention.store.tables import metadata
from retention.web import views, words
from retention.web.app import Guards, build_app
from retention.web.page import show_commands
from tests.world import LONG_AGO, shanghai

AT = shanghai("2026-12-01 02:15")
SCRIPT = "<script>alert('x')</script>"
SUMMARY = {
    "tables": {"customers": {"new": 1234, "changed": 5, "same": 0, "repeated": 2, "older": 0, "gone": 0}},
    "reasons": {"customers: no customer_id": 17, "customers.email: no e-mail address": 40},
}


def open_pages(engine, guards=None):
    guards = guards or Guards(login=lambda: None, journey=refuse(403), list_readable=lambda: set())
    return TestClient(build_app(guards, engine=lambda: engine, clock=lambda: AT), follow_redirects=False)


def refuse(status_code):
    def guard():
        raise HTTPException(status_code)

    return guard


@pytest.fixture
def pages(engine):
    return open_pages(engine)


def load(world, *, source="crm", rejected=0, read=2000, tables=(), at=AT, **values) -> int:
    """A load on record; looked over if it is done."""
    row = {
        "mapping": f"{source}_contacts", "source": source, "name": f"{source}.csv", "actor": "ada", "is_history": False,
        "state": "done", "started_at": at - timedelta(seconds=90), "ended_at": at, "rows_read": read,
        "rows_rejected": rejected, "summary": SUMMARY,
    } | values  # fmt: skip
    with world.engine.begin() as conn:
        made = metadata.tables["imports"].insert().values(**row).returning(text("import_id"))
        import_id = conn.execute(made).scalar_one()
        if row["state"] == "done":
            check_quality(
                conn, import_id=import_id, source=source, tables=set(tables), rows_read=read, rows_rejected=rejected,
                policy=QualityPolicy(), now=at, zone="Asia/Shanghai",
            )  # fmt: skip
    return import_id


def words_of(answer) -> str:
    body = re.sub(r"(?s)<style>.*?</style>", "", answer.text)
    return re.sub(r"\s+", " ", html_text.unescape(re.sub(r"<[^>]+>", " ", body))).replace(" .", ".")


def test_a_load_shows_what_came_in_and_what_did_not(world, pages):
    import_id = load(world, rejected=17, cells_left_out=40)
    said = words_of(pages.get("/data"))
    assert f"crm: crm.csv done load {import_id} by ada, 2026-12-01 02:13, 90 s · mapping crm_contacts" in said
    assert "2,000 rows read, 1,983 taken, 17 rejected (0.8 %), 40 cells left out" in said
    assert "rows of new changed repeated customers 1,234 5 2" in said, "columns of nothing but 0 are left out"
    assert "customers.email: no e-mail address 40 customers: no customer_id 17" in said
    assert f"retention loads {import_id}" in said
    assert "The facts are fit" in said and "Everything waits" not in said


def test_checks_stand_beside_their_limits_and_the_worst_come_first(world, pages):
    for i in range(300):
        world.customer(f"c{i}", source="crm", email=None if i < 90 else f"c{i}@example.com", phone=None, since=AT)
    load(world, rejected=400, tables=["customers"])
    said = words_of(pages.get("/data"))
    stop = "stop rows_rejected 20% 10% 400 of the 2,000 rows read were rejected."
    warn = "warn customers_unreachable 30% 20% 90 of the 300 customers of this load have no usable e-mail address or"
    assert stop in said and warn in said and said.index(stop) < said.index(warn)
    assert KINDS["customers_unreachable"].remedy.split("?")[0] in said
    assert "1 of 5 checks are good, 2 had too few rows to judge" in said
    assert "good customers_sharing_address 0% 5%" in said
    assert "too few birthdays_on_one_day too few to judge: 0 birthdays, fewer than 500" in said


def test_what_is_held_is_said_first_and_everywhere_until_it_is_over(world, pages):
    import_id = load(world, source="shop", rejected=400)
    load(world)
    said = words_of(pages.get("/data"))
    held = f"Everything waits since 2026-12-01 02:15 because of rows_rejected in shop, load {import_id}: 20%: 400 of the 2,000"
    assert held in said and said.index(held) < said.index("crm: crm.csv")
    assert "the limit is 10%" in said and 'retention quality --accept "reason"' in said and "nothing is lost" in said
    assert f"retention loads {import_id}" in said, "what to do about this one"
    home = open_pages(world.engine, Guards(lambda: None, lambda: None, lambda: {"birthday_care"}))
    for path in ("/", "/journeys/birthday_care"):
        assert 'href="/data"' in home.get(path).text and "waits for better data" in home.get(path).text
    with world.engine.begin() as conn:
        lift_holds(conn, reason="so it is", actor="ada", now=AT)
    assert "Everything waits" not in words_of(pages.get("/data"))
    assert "waits for better data" not in home.get("/").text


def test_a_load_that_failed_runs_or_was_interrupted(world, pages):
    load(world, state="failed", error=f"{SCRIPT}: there is no column", summary={})
    load(world, state="interrupted", error=None, summary={})
    load(world, state="running", ended_at=None, summary={})
    answer = pages.get("/data")
    said = words_of(answer)
    assert (
        "Nothing of it was kept. <script>alert('x')</script>: there is no column" in said
        and "<script" not in answer.text
    )
    assert "Nothing of it was kept. Its log says why." in said and "it counts when it is done" not in said
    assert "what it brings counts when it is done" in said


@pytest.mark.parametrize(
    "summary",
    [
        {},
        {"tables": {}},
        {"tables": None, "reasons": None},
        {"tables": {"customers": None}},
        {"tables": {"orders": {"x": 1}}},
    ],
)
def test_a_summary_may_lack_anything(world, pages, summary):
    load(world, summary=summary)
    answer = pages.get("/data")
    assert answer.status_code == 200 and "2,000 rows read" in answer.text


def test_a_check_that_there_is_no_more_is_still_shown(world, pages):
    import_id = load(world)
    world.add(
        "quality_checks",
        import_id=import_id,
        check="of_old",
        verdict="stop",
        found=1,
        limit=0,
        detail="1: one",
        checked_at=AT,
    )
    world.add("data_holds", check="of_old", source="crm", import_id=import_id, reason="1: one", placed_at=AT)
    assert "stop of_old 1 0 one" in words_of(pages.get("/data"))


def test_nobody_is_on_the_page(world, pages):
    for i in range(300):
        world.customer(
            f"id-{i}", source="crm", name=f"Wang {i}", email="wang@example.com", phone="+8613812345678", since=AT
        )
    import_id = load(world, tables=["customers"], rejected=400)
    world.add(
        "rejected_rows", import_id=import_id, line=7, level="row", column=None, reason="no id", remedy="Give it one.",
        raw="Fang,fang@example.com,+8613900000000",
    )  # fmt: skip
    page = pages.get("/data").text.partition("</style>")[2]
    assert "customers_sharing_address" in page
    for secret in ("Wang", "wang@", "Fang", "fang@", "138123", "139000", "id-1"):
        assert secret not in page


def test_no_load_yet_and_pages_of_them(world, pages, monkeypatch):
    assert "Nothing was loaded yet" in pages.get("/data").text
    monkeypatch.setattr(views, "LOADS_A_PAGE", 2)
    made = [load(world) for _ in range(5)]
    seen, path = [], "/data"
    while path:
        page = pages.get(path).text
        seen += [int(it) for it in re.findall(r"load (\d+) by", page)]
        path = next(iter(re.findall(r'href="([^"]+before=\d+)"', page)), None)
    assert seen == made[::-1]
    assert "There are no earlier loads" in pages.get("/data?before=1").text
    assert pages.get("/data?before=x").status_code == 404


def test_the_page_asks_the_same_whatever_there_is(world, pages):
    def count_statements():
        seen = []

        def note(conn, cursor, statement, *rest):
            seen.append(statement)

        event.listen(world.engine, "before_cursor_execute", note)
        assert pages.get("/data").status_code == 200
        event.remove(world.engine, "before_cursor_execute", note)
        return len(seen)

    few = count_statements()
    for i in range(9):
        load(world, source=f"s{i}", rejected=400)
    assert count_statements() == few < 8


def test_it_is_behind_the_login_and_forbids_what_is_not_needed(world, pages):
    stranger = open_pages(world.engine, Guards(login=refuse(401), journey=lambda: None, list_readable=lambda: set()))
    assert stranger.get("/data").status_code == 401
    answer = pages.get("/data")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "unsafe-inline" not in policy and "script-src" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert 'style="' not in answer.text, "the policy would not let it through"


def test_commands_in_a_sentence_are_shown_as_such_and_everything_is_escaped():
    shown = show_commands(f"{SCRIPT} `retention x <y>` and ` alone")
    assert shown == ("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; <code>retention x &lt;y&gt;</code> and ` alone")


def test_every_count_of_a_load_has_its_words():
    assert set(words.ROWS) == set(vars(Counts()))
    assert LONG_AGO < AT
