"""The command line as people use it: words, figures, exit codes, never a traceback."""

import json
import subprocess
import sys
import time
from datetime import datetime

import pytest

from retention.store.database import ROOT
from tests.world import SHANGHAI


@pytest.fixture
def stored(retention):
    """A small sample store."""
    done = retention("sample", "--customers", 400, "--seed", 3, "--date", "2026-11-23", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_plan_shows_and_writes_nothing(retention, stored, world):
    done = retention("plan", "birthday_care", "--date", "2026-11-23", "--json")
    shown = json.loads(done.stdout)
    assert {"journey", "date", "enrolled", "holdout", "steps"} <= set(shown)
    assert (shown["journey"], shown["date"]) == ("birthday_care", "2026-11-23")
    assert set(shown["steps"][0]) == {"step", "channel", "decision", "reason", "count"}
    for step in ("greeting", "last_day"):
        assert sum(s["count"] for s in shown["steps"] if s["step"] == step) == shown["enrolled"]
    assert 1 <= len(shown["examples"]) <= 5
    for table in ("cohorts", "enrollments", "messages", "coupons", "outbox", "journey_versions", "entry_refusals"):
        assert world.count(table) == 0
    text = retention("plan", "birthday_care", "--date", "2026-11-23").stdout
    assert "a dry run, nothing is written" in text and "segments" in text and "coupons (greeting)" in text


def test_run_does_what_plan_said(retention, stored, world):
    planned = json.loads(retention("plan", "birthday_care", "--date", "2026-11-13", "--json").stdout)
    ran = json.loads(retention("run", "birthday_care", "--date", "2026-11-13", "--on-time", "--json").stdout)
    of_greeting = lambda shown: [s for s in shown["steps"] if s["step"] == "greeting"]  # noqa: E731
    assert of_greeting(ran) == of_greeting(planned)
    assert ran["is_settled"] and ran["enrolled"] == planned["enrolled"]
    sent = sum(s["count"] for s in ran["steps"] if s["decision"] == "send")
    assert world.count("outbox") == sent > 0
    again = json.loads(retention("run", "birthday_care", "--date", "2026-11-13", "--on-time", "--json").stdout)
    assert again["is_joined"] and world.count("outbox") == sent


def test_run_waits_for_what_is_not_due(retention, stored, world):
    today = f"{datetime.now(SHANGHAI):%Y-%m-%d}"
    done = json.loads(retention("run", "birthday_care", "--date", f"{today}T00:00+08:00", "--json").stdout)
    assert [line.partition(" due ")[0] for line in done["waiting"]][-2:] == ["last_day", "thanks"]
    assert world.count("messages", step="last_day") == 0


def test_nobody_enters_on_a_day_to_come(retention, stored, world):
    done = retention("run", "birthday_care", "--date", "2099-11-13")
    assert done.returncode == 1 and "that moment has not come yet" in done.stderr and world.count("cohorts") == 0
    assert json.loads(retention("plan", "birthday_care", "--date", "2099-11-13", "--json").stdout)["steps"] is not None


def test_a_day_gone_by_is_live_in_so_many_words_alone(retention, stored, world):
    said = retention("run", "birthday_care", "--date", "2026-11-13", "--mode", "live")
    assert said.returncode == 1 and '--mode "live, for past dates too"' in said.stderr
    said = retention("run", "birthday_care", "--date", "2026-11-13", "--on-time", "--mode", "live, for past dates too")
    assert said.returncode == 1 and "only a test may pretend" in said.stderr
    assert json.loads(retention("run", "birthday_care", "--date", "2026-11-13", "--json").stdout)["mode"] == "test"
    assert world.count("cohorts") == 1


def test_explain_tells_the_whole_story(retention, stored, world):
    retention("run", "birthday_care", "--date", "2026-11-13", "--on-time")
    ((customer,),) = world.rows("select customer_id from enrollments where arm = 'main' and is_eligible limit 1")
    story = json.loads(retention("explain", customer, "--json").stdout)["story"]
    assert {"consent granted", "entered", "send", "accepted"} <= {entry["what"] for entry in story}
    assert customer not in retention("explain", customer).stderr
    unknown = retention("explain", "nobody")
    assert unknown.returncode == 1 and 'customer "nobody": nobody has this id' in unknown.stderr


def test_stop_and_lift(retention, stored, world):
    assert "stopped." in retention("stop", "birthday_care", "--reason", "wrong price").stdout
    assert "was stopped already" in retention("stop", "birthday_care").stdout
    assert "STOPPED: birthday_care" in retention("status").stdout
    ran = json.loads(retention("run", "birthday_care", "--date", "2026-11-13", "--on-time", "--json").stdout)
    assert {s["reason"] for s in ran["steps"]} <= {"stopped", "holdout"}
    assert "sending goes on" in retention("stop", "birthday_care", "--lift").stdout
    assert json.loads(retention("stop", "--all", "--json").stdout)["is_changed"]
    assert [a for (a,) in world.rows("select action from audit_log order by audit_id")] == ["stop", "lift_stop", "stop"]
    assert retention("stop").returncode == 1
    assert 'no journey "birthday_car". Did you mean "birthday_care"?' in retention("stop", "birthday_car").stderr


def test_sample_leaves_a_store_alone_that_has_customers(retention, stored, world):
    done = retention("sample", "--customers", 5)
    assert done.returncode == 1 and "has customers" in done.stderr
    assert world.count("customers") == 400


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["plan", "birthday_car"], 'no journey "birthday_car". Did you mean "birthday_care"?'),
        (["plan", "birthday_care", "--date", "tomorrow"], '--date: "tomorrow" is no day'),
        (["run", "birthday_care", "--mode", "life"], '--mode: "life" is no mode. Write live or test.'),
        (["run", "birthday_care", "--mode", "live", "--on-time"], "--on-time: only a test may pretend"),
        (["check", "include/journeys/nothing.yaml"], "there is no such file"),
    ],
)
def test_mistakes_at_the_command_line(retention, arguments, text):
    done = retention(*arguments)
    assert done.returncode == 1
    assert text in done.stderr


def test_a_database_that_is_not_there(retention):
    done = retention("status", RETENTION_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert done.returncode == 1
    assert "RETENTION_DATABASE_URL" in done.stderr and "Traceback" not in done.stderr
    wrong = retention("status", RETENTION_DATABASE_URL="mysql://x@y/z")
    assert "mysql:// is no Postgres" in wrong.stderr


def test_an_empty_database_says_what_to_do(retention, server):
    from sqlalchemy import create_engine, text

    with create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT").connect() as conn:
        conn.execute(text("create database empty_one"))
        try:
            done = retention("status", RETENTION_DATABASE_URL=server.url("empty_one"))
            assert "Run `retention migrate`" in done.stderr
        finally:
            conn.execute(text("drop database empty_one with (force)"))


def test_check_is_quick_and_right():
    code = "import sys; sys.path.insert(0, 'plugins'); from retention.cli import main; main()"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, "check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "All right: " in done.stdout
    print(f"check took {time.perf_counter() - began:.2f} s")


def test_db_hides_the_password(retention, database_url):
    done = retention("db", RETENTION_DATABASE_URL="postgresql://ada:secret@127.0.0.1/x")
    assert "secret" not in done.stdout and "postgresql://ada:***@127.0.0.1/x" in done.stdout
    assert retention("db", "--psql", "-Atc", "select 1 + 1").stdout.strip() == "2"


def test_scores_by_hand(retention, stored, world):
    done = retention("score", "--date", "2026-11-23", "--json")
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)["steps"]
    assert list(steps)[0] == "tiers" and list(steps)[-1] == "calibration"
    assert steps["tiers"]["customers"] == steps["tiers"]["touched"] == world.count("customer_sums") > 0
    said = retention("score", "--date", "2026-11-23", "--rebuild").stdout
    assert "1/8 tiers: was there already" in said and "Scores stand as of 2026-11-23" in said
    assert "already, left as it is" in retention("score", "--date", "2026-11-20").stdout
    assert retention("score", "--date", "never").stderr.startswith('--date: "never" is no day')
