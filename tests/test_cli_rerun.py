"""`retention rerun`: numbers first, a second contact only when somebody agreed, nothing twice by mistake."""

import json

import pytest
from sqlalchemy import text

COHORT = ("birthday_care", "--cohorts", "2026-11-13", "--step", "greeting")
WHY = ("--reason", "the printer was on fire")


@pytest.fixture
def sent(retention, world):
    """A cohort of the sample shop that is through with its steps; how many got the greeting."""
    assert retention("sample", "--customers", 400, "--seed", 3, "--date", "2026-11-23", "--json").returncode == 0
    assert retention("run", "birthday_care", "--date", "2026-11-13", "--on-time", "--json").returncode == 0
    ((count,),) = world.rows("select count(*)::int from messages where step = 'greeting' and decision = 'send'")
    assert count
    return count


def test_numbers_then_consent_then_once(retention, sent, world):
    with (
        world.engine.begin() as conn
    ):  # a test that is on time is always the same day: the cap of a day would hold back all
        conn.execute(text("delete from contact_slots"))
    before = world.count("outbox")
    dry = json.loads(retention("rerun", *COHORT, "--who", "everyone", *WHY, "--dry-run", "--json").stdout)
    assert dry["dry_run"] and dry["twice"] == dry["sends"] > 0
    refused = retention("rerun", *COHORT, "--who", "everyone", *WHY)
    assert refused.returncode == 1 and "people would get it twice, and there is nobody here to ask" in refused.stderr
    assert (world.count("outbox"), world.count("audit_log", action="rerun")) == (before, 0)
    done = json.loads(retention("rerun", *COHORT, "--who", "everyone", *WHY, "--yes", "--json").stdout)
    assert done["sends"] == dry["sends"] and not done["waiting"]
    assert world.count("outbox") == before + done["sends"]
    [(actor, detail)] = world.rows("select actor, detail from audit_log where action = 'rerun'")
    assert actor and (detail["reason"], detail["twice"]) == (WHY[1], done["twice"])


@pytest.mark.parametrize("who", ["failed", "never-attempted", "unknown"])
def test_nobody_left_is_said_and_nothing_done(retention, sent, world, who):
    before = world.count("messages"), world.count("audit_log")
    done = retention("rerun", *COHORT, "--who", who, *WHY)
    assert done.returncode == 0 and "Nobody is to get anything: nothing was sent." in done.stdout, done.stderr
    assert (world.count("messages"), world.count("audit_log")) == before


def test_mistakes_are_named(retention, sent):
    said = retention("rerun", "birthday_care", "--cohorts", "2026-01-01", "--step", "greeting", "--who", "failed", *WHY)
    assert said.returncode == 1 and "The last days with one: 2026-11-13." in said.stderr
    said = retention("rerun", *COHORT, "--who", "fialed", *WHY)
    assert 'who: "fialed" is not known. Did you mean "failed"?' in said.stderr
    said = retention("rerun", *COHORT[:-1], "greting", "--who", "failed", *WHY)
    assert said.returncode == 1 and 'there is no step "greting" in these cohorts. Did you mean "greeting"?' in said.stderr
    said = retention("rerun", *COHORT, "--who", "failed", "--reason", " ")
    assert "reason: is missing." in said.stderr
    said = retention("rerun", "birthday_care", "--cohorts", "13.11.", "--step", "greeting", "--who", "failed", *WHY)
    assert '"13.11." is no day and no span of days' in said.stderr
