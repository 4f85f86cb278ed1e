"""The pages: their figures are the database's, nobody is given away, nothing of a customer is ever code."""

import html as html_text
import re
from datetime import timedelta

import pytest
from fastapi import FastAPI, HTTPException
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from starlette.testclient import TestClient

from retention.audience.scores import refresh_scores
from retention.errors import CohortHeld
from retention.insight import figures
from retention.insight.status import stop_sending
from retention.journey.files import Files
from retention.journey.load import load
from retention.orchestration import cohort
from retention.orchestration.alone import run_cohort
from retention.store import tables
from retention.web import words
from retention.web.app import Guards, build_app
from retention.web.views import snapshot
from tests.world import DAY, copy_include, example, example_files, shanghai

AT = shanghai("2026-12-01 06:00")
NOW = shanghai("2026-12-10 12:00")
CARE = "/journeys/birthday_care"
SCRIPT = "<script>alert('x')</script>"


def let_in(readable=("birthday_care",)):
    return Guards(login=lambda: None, journey=lambda: None, list_readable=lambda: set(readable))


def open_pages(engine, guards=None, **options):
    app = build_app(guards or let_in(), engine=lambda: engine, clock=lambda: NOW, **options)
    return TestClient(app, follow_redirects=False)


@pytest.fixture
def pages(engine):
    return open_pages(engine)


def fill(world):
    """A mixed company: two by SMS, two by e-mail, three who can't be written to."""
    world.customer("ada", "12-04", phone="+12025551234")
    world.customer("bo", "12-04")
    world.customer("wang", "12-04", consent=("email",), name="王芳")
    world.customer("mallory", "12-04", consent=("email",), name=SCRIPT)
    world.customer("cy", "12-04", consent=())
    world.customer("dee", "12-04", email=None, phone=None)
    world.customer("eve", "12-04", consent=("email",))
    world.suppress("email", "eve@example.com")


def carry(world, *, mode="test", is_on_time=True, **changes):
    version = example(**{"holdout": "0%"} | changes)
    return run_cohort(world.engine, version, AT, mode=mode, is_on_time=is_on_time, clock=lambda: NOW).entered.cohort_id


def page_of(cohort_id: int) -> str:
    return f"{CARE}/cohorts/{cohort_id}"


def first_letter(world, channel="email"):
    return world.rows("select min(message_id) from outbox where channel = :c", c=channel)[0][0]


def count(world, counter, cohort_id):
    with snapshot(world.engine) as conn:
        return counter(conn, cohort_id)


def words_of(answer) -> str:
    """The text of a page as a reader sees it."""
    body = re.sub(r"(?s)<style>.*?</style>", "", answer.text)
    return re.sub(r"\s+", " ", html_text.unescape(re.sub(r"<[^>]+>", " ", body))).replace(" .", ".")


def rows_of(page: str, heading: str) -> dict[str, list[str]]:
    """code -> the numbers of its row, in the section with this heading."""
    section = page.split(f"<h2>{heading}</h2>")[1].split("</section>")[0]
    found = {}
    for row in re.findall(r"<tr.*?</tr>", section, re.DOTALL):
        code = re.search(r"<code>(\w+)</code>", row)
        if code:
            found[code[1]] = [n.replace(",", "") for n in re.findall(r'<td class="n[^"]*">([\d,]+)</td>', row)]
    return found


# --- who may look ----------------------------------------------------------------------------------------------------


def refuse(status_code):
    def guard():
        raise HTTPException(status_code)

    return guard


ROUTES = ["/", "/data", "/segments", CARE, f"{CARE}/runs/x", f"{CARE}/cohorts/1", f"{CARE}/cohorts/1/messages/1"]


def no_engine():
    raise AssertionError("the database was asked for somebody who may not look")


@pytest.mark.parametrize("path", ROUTES)
def test_strangers_see_nothing(path):
    guards = Guards(login=refuse(401), journey=lambda: None, list_readable=lambda: set())
    answer = TestClient(build_app(guards, engine=no_engine)).get(path)
    assert answer.status_code == 401 and "log in" in answer.text


@pytest.mark.parametrize("path", ROUTES[3:])
def test_a_journeys_pages_are_for_those_who_may_read_its_dag(path):
    guards = Guards(login=lambda: None, journey=refuse(403), list_readable=lambda: set())
    answer = TestClient(build_app(guards, engine=no_engine)).get(path)
    assert answer.status_code == 403 and "may not read this DAG" in answer.text


def test_these_are_all_routes():
    paths = {re.sub(r"{\w+}", "_", route.path) for route in build_app(let_in()).routes}
    assert paths == {re.sub(r"birthday_care|\b(x|1)\b", "_", path) for path in ROUTES}


def test_the_list_shows_what_the_user_may_read(world):
    fill(world)
    carry(world)
    assert "生日关怀" in open_pages(world.engine).get("/").text
    answer = open_pages(world.engine, let_in(readable=())).get("/")
    assert answer.status_code == 200 and "birthday_care" not in answer.text


def test_every_answer_forbids_what_is_not_needed(world, pages):
    fill(world)
    here = page_of(carry(world))
    letter = f"{here}/messages/{first_letter(world)}"
    for path in ("/", CARE, here, letter, "/nothing", f"{CARE}/cohorts/x", f"{CARE}/runs/x"):
        answer = pages.get(path)
        policy = answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store", path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert policy.startswith("default-src 'none'") and "frame-ancestors 'self'" in policy, path
        assert "script-src" not in policy and "<script" not in answer.text, path
        assert ("unsafe-inline" in policy) == (path == letter), path


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_there_is_nothing_to_change(method):
    for path in ROUTES:
        assert TestClient(build_app(let_in(), engine=no_engine)).request(method, path).status_code == 405


def test_a_page_can_not_write(engine):
    with pytest.raises(DBAPIError, match="read-only transaction"), snapshot(engine) as conn:
        conn.execute(text("delete from outbox"))
    with engine.begin() as conn:  # the connection went back as it was
        conn.execute(text("delete from outbox"))


# --- the figures -----------------------------------------------------------------------------------------------------


def test_the_figures_are_the_databases(world, pages):
    fill(world)
    cohort_id = carry(world)
    answer = pages.get(page_of(cohort_id))
    assert rows_of(answer.text, "Who entered") == {"no_consent": ["1"], "no_address": ["1"], "suppressed": ["1"]}
    by_channel = "count(*) filter (where channel = 'sms'), count(*) filter (where channel = 'email'), count(*)"
    decided = world.rows(
        f"select coalesce(reason, 'send'), {by_channel} from messages where cohort_id = :c and step = 'greeting' group by 1",
        c=cohort_id,
    )
    accepted = world.rows(
        f"select 'accepted', {by_channel} from outcomes join messages using (message_id)"
        " where kind = 'accepted' and step = 'greeting'"
    )
    expected = {code: [str(n) for n in numbers] for code, *numbers in decided + accepted}
    assert rows_of(answer.text, "Step greeting") == expected
    assert expected["send"] == expected["accepted"] == ["2", "2", "4"]
    said = words_of(answer)
    assert "7 entered" in said and "4 could be written to" in said and "8 messages handed over" in said
    assert "Everybody (7) has a decision" in said and "4 run out" in said


def test_holdout_and_outcomes(world):
    fill(world)
    cohort_id = carry(world, holdout="50%")
    entry, steps = count(world, figures.count_entry, cohort_id), count(world, figures.count_steps, cohort_id)
    assert entry.holdout == world.count("enrollments", arm="holdout") > 0
    assert entry.reachable + sum(entry.unreachable.values()) == entry.entered == 7
    assert sum(steps["greeting"].decisions.cells["skip", "holdout"].values()) == entry.holdout
    assert {step: it.decided for step, it in steps.items()} == {"greeting": 7, "last_day": 7}
    assert steps["greeting"].count("accepted") == world.count("messages", step="greeting", decision="send")


def test_what_was_heard_later_counts_messages_once(world, pages):
    fill(world)
    cohort_id = carry(world)
    for kind in ("opened", "opened", "<b>odd</b>"):
        world.add("outcomes", message_id=first_letter(world), kind=kind, occurred_at=NOW, recorded_at=NOW)
    greeting = count(world, figures.count_steps, cohort_id)["greeting"]
    assert greeting.later.cells == {("<b>odd</b>", None): {"email": 1}, ("opened", None): {"email": 1}}
    assert greeting.count("accepted") == 4
    assert "<b>odd" not in pages.get(page_of(cohort_id)).text


def test_a_decision_that_was_made_anew_counts_once(world):
    fill(world)
    made = cohort.enroll(world.engine, example(holdout="0%"), AT, clock=lambda: AT)
    due = shanghai("2026-12-01 10:00")
    cohort.plan(world.engine, made.cohort_id, "greeting", clock=lambda: due)
    world.consent("cy", "email", True, AT)
    cohort.plan(world.engine, made.cohort_id, "greeting", clock=lambda: due)
    greeting = count(world, figures.count_steps, made.cohort_id)["greeting"]
    assert world.count("messages", step="greeting") == 8
    assert greeting.decided == 7
    assert ("skip", "no_consent") not in greeting.decisions.cells
    assert sum(greeting.decisions.cells["send", None].values()) == 5


def test_messages_on_several_channels_are_not_several_people(world):
    fill(world)
    steps = '\n  - {id: both, at: "day 0, 10:00", coupon: {kind: percent_off, value: 20, valid: 7d},'
    steps += " send: {template: birthday/greeting, all: [sms, email]}}"
    both = count(world, figures.count_steps, carry(world, steps=steps))["both"]
    assert both.decided == 7
    assert both.decisions.cells["send", None] == {"sms": 2, "email": 4}


def test_who_was_not_taken_in(world, pages):
    fill(world)
    made = cohort.enroll(world.engine, example(), shanghai("2026-12-09 06:00"), clock=lambda: NOW)
    answer = pages.get(page_of(made.cohort_id))
    assert rows_of(answer.text, "Who entered") == {"backlog": ["7"]}
    assert world.count("entry_refusals", cohort_id=made.cohort_id, reason="backlog") == 7
    assert words.REFUSALS["backlog"] in answer.text and "Nobody to decide for" in answer.text


def test_what_needs_a_person_is_said_first(world, pages):
    fill(world)
    cohort_id = carry(world)
    with world.engine.begin() as conn:
        conn.execute(text("update batches set state = 'failed', error = 'provider: 503' where channel = 'sms'"))
        conn.execute(text("update batches set state = 'unknown', in_doubt = size where channel = 'email'"))
    said = words_of(pages.get(page_of(cohort_id)))
    assert "greeting, sms: 2 failed." in said and "provider: 503" in said
    assert "greeting, email: 2 in doubt." in said
    assert said.index("in doubt") < said.index("Who entered")
    assert "2026-12-01 06:00 test settled 7 8 0 4 4" in words_of(pages.get(CARE))


def test_a_held_cohort_says_how_to_let_it_in(world, pages):
    fill(world)
    version = example(entry="{window: 3d, backlog: skip, reenter_after: 300d, hold_above: 2}")
    with pytest.raises(CohortHeld):
        cohort.enroll(world.engine, version, AT, clock=lambda: AT, run_id="held_run")
    answer = pages.get(f"{CARE}/runs/held_run")
    assert answer.status_code == 200
    assert "retention approve birthday_care --date 2026-12-01T06:00+08:00" in answer.text


def test_pages_cost_the_same_statements_whatever_the_size(world, pages):
    def count_statements(path):
        seen = []

        def note(conn, cursor, statement, *rest):
            seen.append(statement)

        event.listen(world.engine, "before_cursor_execute", note)
        assert pages.get(path).status_code == 200
        event.remove(world.engine, "before_cursor_execute", note)
        return len(seen)

    fill(world)
    small = page_of(carry(world))
    for i in range(60):
        world.customer(f"n{i}", "12-05")
    moment = shanghai("2026-12-02 06:00")
    large = run_cohort(world.engine, example(), moment, mode="test", is_on_time=True, clock=lambda: NOW).entered
    assert large.enrolled == 60
    assert count_statements(page_of(large.cohort_id)) == count_statements(small) < 15


# --- runs and journeys -----------------------------------------------------------------------------------------------


def test_each_run_finds_the_cohort_it_carries(world, pages):
    fill(world)
    scheduled = "scheduled__2026-12-01T06:00:00+08:00"
    for run_id in (scheduled, "manual__again", scheduled):
        cohort.enroll(world.engine, example(), AT, clock=lambda: AT, run_id=run_id)
    cohort.enroll(world.engine, example(), AT + DAY, clock=lambda: AT + DAY, run_id="other")
    assert world.count("cohort_runs") == 3
    for run_id in (scheduled, scheduled.replace(":", "%3A").replace("+", "%2B"), "manual__again"):
        answer = pages.get(f"{CARE}/runs/{run_id}")
        assert answer.status_code == 200 and "cohort of 2026-12-01 06:00" in answer.text
        assert "manual__again" in answer.text and scheduled in answer.text
    assert "cohort of 2026-12-02 06:00" in pages.get(f"{CARE}/runs/other").text
    assert pages.get("/journeys/other_journey/runs/other").status_code == 404


def test_an_unknown_run_is_told_what_to_do(pages):
    for run_id in ("nobody_knows", SCRIPT.replace("/", "\\")):
        answer = pages.get(f"{CARE}/runs/{run_id}")
        assert answer.status_code == 404 and "<script" not in answer.text
        assert "clear enroll" in answer.text and f'href="{CARE}"' in answer.text


def test_a_journey_lists_its_cohorts_a_page_at_a_time(world, pages, monkeypatch):
    monkeypatch.setattr(figures, "COHORTS_A_PAGE", 2)
    for day in ("01", "02", "03"):
        cohort.enroll(world.engine, example(), shanghai(f"2026-12-{day} 06:00"), mode="test", clock=lambda: NOW)
    first = pages.get(CARE).text
    older = re.search(r'href="([^"]+before=\d+)"', first)[1]
    assert re.findall(r">(2026-12-0\d) 06:00</a>", first) == ["2026-12-03", "2026-12-02"]
    last = pages.get(older).text
    assert re.findall(r">(2026-12-0\d) 06:00</a>", last) == ["2026-12-01"] and "before=" not in last


def test_stops_and_broken_files_are_seen(world, tmp_path):
    fill(world)
    carry(world)
    with world.engine.begin() as conn:
        stop_sending(conn, None, reason=SCRIPT, actor="ops", now=NOW)
    include = tmp_path / "include"
    copy_include(include)
    file = include / "journeys" / "birthday_care.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("holdout: 10%", "holdout: 80%"), encoding="utf-8")
    pages = open_pages(world.engine, include=include)
    for path in ("/", CARE):
        answer = pages.get(path)
        assert "All journeys are stopped by ops" in words_of(answer) and "<script" not in answer.text
        assert "its file is broken" in answer.text


def test_a_journey_whose_file_is_gone_keeps_its_numbers(world, tmp_path):
    fill(world)
    cohort_id = carry(world)
    pages = open_pages(world.engine, include=tmp_path)
    assert "its file is gone" in pages.get("/").text
    assert "its file is gone" in pages.get(CARE).text
    assert pages.get(page_of(cohort_id)).status_code == 200
    assert pages.get("/journeys/never_was").status_code == 404


# --- people ----------------------------------------------------------------------------------------------------------


def test_addresses_are_masked_and_names_are_never_code(world, pages):
    fill(world)
    here = page_of(carry(world))
    listed = pages.get(here)
    letters = re.findall(rf'href="({here}/messages/\d+)"', listed.text)
    answers = [listed, *(pages.get(path) for path in letters)]
    assert len(letters) == 8 and all(answer.status_code == 200 for answer in answers)
    everything = "\n".join(answer.text for answer in answers)
    for email, phone in world.rows("select email, phone from customers where email is not null"):
        assert email not in everything and phone not in everything
    assert "w***@example.com" in everything and "+1202•••1234" in everything
    assert "<script" not in everything
    assert "王芳" in listed.text and SCRIPT in html_text.unescape(listed.text)


def test_a_mail_is_shown_in_a_sandbox(world, pages):
    fill(world)
    here = page_of(carry(world))
    letter = first_letter(world)
    frame = re.search(r'<iframe ([^>]*?)srcdoc="([^"]*)"></iframe>', pages.get(f"{here}/messages/{letter}").text)
    assert frame[1].split()[0] == "sandbox" and "allow" not in frame[1]
    assert html_text.unescape(frame[2]) == world.rows("select html from outbox where message_id = :m", m=letter)[0][0]
    sms = pages.get(f"{here}/messages/{first_letter(world, 'sms')}").text
    assert "<iframe" not in sms and "segment" in sms


def test_live_messages_are_not_shown(world, pages):
    fill(world)
    live = run_cohort(
        world.engine, example(holdout="0%", live="true"), AT, clock=lambda: shanghai("2026-12-01 11:00")
    ).entered
    assert live.mode == "live" and world.count("outbox") == 4
    listed = pages.get(page_of(live.cohort_id)).text
    assert "/messages/" not in listed and "are not shown" in listed
    assert pages.get(f"{page_of(live.cohort_id)}/messages/{first_letter(world)}").status_code == 404


def test_a_message_is_shown_in_its_own_cohort_and_journey(world, pages):
    fill(world)
    mine = carry(world)
    other = cohort.enroll(world.engine, example(), shanghai("2026-12-09 06:00"), mode="test", clock=lambda: NOW)
    letter = first_letter(world)
    assert pages.get(f"{page_of(mine)}/messages/{letter}").status_code == 200
    assert pages.get(f"{page_of(other.cohort_id)}/messages/{letter}").status_code == 404
    assert pages.get(f"/journeys/elsewhere/cohorts/{mine}/messages/{letter}").status_code == 404
    assert pages.get(f"/journeys/elsewhere/cohorts/{mine}").status_code == 404


def test_the_outbox_is_paged_and_picked(world, pages):
    for i in range(60):
        world.customer(f"n{i:02}", "12-04", consent=("email",) if i < 5 else ("sms",))
    here = page_of(carry(world))
    seen, path = [], f"{here}?step=greeting"
    while path:
        page = html_text.unescape(pages.get(path).text)
        seen.append(re.findall(r"/messages/(\d+)", page))
        path = next(iter(re.findall(r'href="([^"#]+after=\d+)', page)), None)
    assert [len(it) for it in seen] == [50, 10]
    assert len({letter for page in seen for letter in page}) == 60
    assert len(re.findall("/messages/", pages.get(f"{here}?step=greeting&channel=email").text)) == 5
    nothing = pages.get(f"{here}?step={SCRIPT}")
    assert "no more" in nothing.text and "<script" not in nothing.text


def test_links_stay_below_the_place_where_the_app_is_mounted(world):
    fill(world)
    here = page_of(carry(world))
    outer = FastAPI()
    outer.mount("/retention", build_app(let_in(), engine=lambda: world.engine, clock=lambda: NOW))
    pages = TestClient(outer)
    for path in ("/", CARE, here, f"{here}/messages/{first_letter(world)}", f"{CARE}/runs/x"):
        links = re.findall(r'href="([^"]+)"', pages.get(f"/retention{path}").text)
        assert links and all(link.startswith("/retention/") for link in links), path


# --- when something is missing ---------------------------------------------------------------------------------------


def test_no_database_is_said_as_it_is(monkeypatch, tmp_path):
    monkeypatch.delenv("RETENTION_DATABASE_URL", raising=False)
    monkeypatch.setenv("RETENTION_HOME", str(tmp_path))
    answer = TestClient(build_app(let_in())).get("/")
    assert answer.status_code == 503 and "make run" in answer.text


def test_a_database_that_is_behind_is_said_as_it_is(engine, pages):
    with engine.begin() as conn:
        conn.execute(text("drop table cohort_runs"))
    answer = pages.get(f"{CARE}/runs/x")
    assert answer.status_code == 503 and "retention migrate" in answer.text


@pytest.mark.parametrize("path", [f"{CARE}/cohorts/{2**63}", f"{CARE}/cohorts/-1", f"{CARE}/cohorts/1?after=x", "/x"])
def test_nonsense_is_a_page_that_is_not_there(pages, path):
    answer = pages.get(path)
    assert answer.status_code == 404 and "no such page" in answer.text


# --- the words -------------------------------------------------------------------------------------------------------


def test_every_code_has_its_words():
    def codes(table, column):
        known = [c for c in tables.metadata.tables[table].constraints if str(c.name).endswith(f"{column}_known")]
        return set(re.findall(r"'(\w+)'", str(known[0].sqltext)))

    assert set(words.SKIPS) == set(tables.SKIP_REASONS)
    assert set(words.REFUSALS) == codes("entry_refusals", "reason")
    assert set(words.COUPONS) == codes("coupons", "state")
    assert set(words.COHORTS) == codes("cohorts", "status")
    assert set(words.MODES) == set(tables.MODES)
    assert set(words.LOADS) == codes("imports", "state")
    assert set(words.VERDICTS) == codes("quality_checks", "verdict")


@pytest.mark.parametrize(
    "address, masked",
    [
        ("wang@example.com", "w***@example.com"),
        ("w@example.com", "w***@example.com"),
        ("王芳@例子.cn", "王***@例子.cn"),
        ("+12025551234", "+1202•••1234"),
        ("+8613812345678", "+8613•••••5678"),
        ("+1234567", "+1••••67"),
        ("+12345", "+1•••"),
        ("", "•••"),
    ],
)
def test_masks(address, masked):
    assert words.mask_address(address) == masked


def test_a_cohort_that_went_by_old_scores_says_so(world, pages):
    fill(world)
    files = example_files()
    texts = dict(files)
    path = "journeys/birthday_care.yaml"
    texts[path] = files[path].replace("audience: birthday_in_3_days", "audience: became_churn_warning")
    version = load(Files(texts)).versions["birthday_care"]
    refresh_scores(world.engine, AT - timedelta(days=1), now=AT)
    cohort_id = cohort.enroll(world.engine, version, AT, mode="test", clock=lambda: NOW).cohort_id
    said = html_text.escape("It went by scores (tiers) of 2026-11-30 06:00: those of 2026-12-01 05:15 were not there in time.")
    assert said in pages.get(CARE).text and said in pages.get(f"{CARE}/cohorts/{cohort_id}").text
    refresh_scores(world.engine, AT + timedelta(days=1), now=AT)
    cohort.enroll(world.engine, version, AT + timedelta(days=1), mode="test", clock=lambda: NOW)
    assert pages.get(CARE).text.count("old scores<") == 1
