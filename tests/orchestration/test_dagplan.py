"""The plan of a DAG, as plain objects: its shape, its limits, its page. Without Airflow."""

import subprocess
import sys
from datetime import timedelta

import pytest

from retention.errors import Problem
from retention.journey.files import read_files
from retention.journey.load import load, load_version
from retention.orchestration.airflow_database import list_pools
from retention.orchestration.dagplan import count_active_runs, plan_dag, pool_of
from retention.store.database import ROOT
from tests.world import INCLUDE, example


def test_it_knows_no_airflow():
    code = "import sys, retention.orchestration.dagplan; assert 'airflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT / "plugins")


def test_one_group_a_step_in_the_journey_s_order_with_its_channels():
    plan = plan_dag(example())
    assert [(step.step_id, step.channels) for step in plan.steps] == [
        ("greeting", ("sms", "email")),
        ("last_day", ("sms", "email")),
    ]
    assert (plan.dag_id, plan.schedule, plan.timezone, plan.owner) == (
        "birthday_care",
        "0 6 * * *",
        "Asia/Shanghai",
        "marketing",
    )
    assert plan.tags == ("retention", "active", "outbox only") and plan.problems == ()


@pytest.mark.parametrize(
    ("schedule", "a_day"),
    [("0 6 * * *", 1), ("0 6,18 * * *", 2), ("0 6 * * 1", 1), ("*/30 * * * *", 48), ("0 6 1 1 *", 1)],
)
def test_as_many_runs_at_once_as_days_and_firings_need(schedule, a_day):
    journey = example().journey.model_copy(update={"schedule": schedule})
    days = 8  # the last step is due on day 6 at 10:00 and expires a day later
    assert journey.length == timedelta(days=7, hours=10)
    assert days * a_day < count_active_runs(journey) <= days * a_day + 5


def test_every_channel_of_a_plan_has_its_pool():
    plan = plan_dag(example())
    assert {pool_of(channel) for step in plan.steps for channel in step.channels} <= set(list_pools())


def test_a_channel_that_people_under_way_may_need_stays():
    old = example()
    content = dict(old.content)
    path = "journeys/birthday_care.yaml"
    content[path] = content[path].replace("channels: [sms, email]", "channels: [email]")
    unused = [name for name in content if "/sms." in name]
    new = load_version({name: text for name, text in content.items() if name not in unused})
    assert [step.channels for step in plan_dag(new).steps] == [("email",), ("email",)]
    assert [step.channels for step in plan_dag(new, in_flight=[old]).steps] == [("email", "sms"), ("email", "sms")]


def test_its_page_has_the_words_of_every_message():
    version = example()
    words = plan_dag(version).words
    for template in version.templates.values():
        for part in template.parts.values():
            assert part.text.strip() in words
            assert part.subject is None or part.subject in words
    for said in ("生日关怀", "holdout 10%", "`0 6 * * *` Asia/Shanghai", "day 0, 10:00", "20% off", "coupon: unused"):
        assert said in words


def test_its_page_says_first_what_is_wrong_with_the_file():
    problem = Problem("include/journeys/birthday_care.yaml", 7, 'unknown key "templat".', 'Did you mean "template"?')
    plan = plan_dag(example(), [problem])
    assert str(problem) in plan.words.split("##")[0] and "broken file" in plan.tags
    assert plan.problems == (problem,)


@pytest.mark.parametrize("journey", sorted(load(read_files(INCLUDE)).versions))
def test_every_shipped_journey_has_a_plan(journey):
    assert plan_dag(load(read_files(INCLUDE)).versions[journey]).steps
