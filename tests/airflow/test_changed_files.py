"""Files that change, break or vanish while cohorts are under way, in the plain local folder."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import time_machine

from tests.world import World, shanghai

JOURNEY = "birthday_care"
COHORT = shanghai("2026-12-07 06:00")
GREETING, LAST_DAY = shanghai("2026-12-07 10:00"), shanghai("2026-12-13 10:00")


@pytest.fixture
def people(house, engine):
    house.change(JOURNEY, holdout="0%")
    world = World(engine)
    for n in range(6):
        world.customer(f"c{n}", "12-10")
    return world


@pytest.fixture
def clock():
    with time_machine.travel(COHORT) as travelling:
        yield travelling


def sent(world: World, journey: str = JOURNEY) -> dict[str, int]:
    return dict(
        world.rows(
            "select m.step, count(*) from outbox join messages m using (message_id) join cohorts c using (cohort_id)"
            " where c.journey = :journey group by 1",
            journey=journey,
        )
    )


def under_way(house, journey: str = JOURNEY) -> None:
    """A cohort that has had its greeting and waits for the last day."""
    house.parse()
    house.start(journey, "r1", logical_date=COHORT)
    house.work(journey, "r1", only="enroll")


def finish(house, clock, journey: str = JOURNEY) -> dict[str, str]:
    clock.move_to(GREETING + timedelta(minutes=1))
    house.work(journey, "r1")
    clock.move_to(LAST_DAY + timedelta(minutes=1))
    return house.work(journey, "r1")


def all_green(states: dict[str, str]) -> bool:
    return set(states.values()) <= {"success", "removed"}


# Broken files


def test_two_files_break_the_third_delivers_and_cohorts_of_all_three_finish(house, people, clock):
    caps = "caps:\n  all: {day: none, week: none}\n  channels: {sms: {day: none, week: none}}\n"
    (house.include / "policy.yaml").write_text(caps, encoding="utf-8")  # all three on one day
    for name in ("second", "third"):
        house.copy_journey(name)
    house.parse()
    for name in (JOURNEY, "second", "third"):
        under_way(house, name)
    house.write(JOURNEY, house.read(JOURNEY).replace("channels: [sms, email]", "chanels: [sms, email]", 1))
    house.write("second", "journey: second\ntitle: [unclosed\n")
    house.parse()
    text = house.import_errors["journeys_check.py"]
    assert set(house.import_errors) == {"journeys_check.py"}
    assert 'unknown key "chanels". Did you mean "channels"?' in text
    assert re.search(r"include/journeys/second\.yaml:\d+:", text)
    assert set(house.dags) == {JOURNEY, "second", "third", "reconcile", "maintenance", "rerun_step", "scoring"}
    for name in (JOURNEY, "second", "third"):
        assert all_green(finish(house, clock, name)), name
        assert sent(people, name) == {"greeting": 6, "last_day": 6}
        clock.move_to(COHORT)


def test_nobody_new_enters_on_a_broken_file_until_it_is_mended(house, people, clock):
    under_way(house)
    good = house.read(JOURNEY)
    house.write(JOURNEY, good.replace("template: birthday/greeting", "template: birthday/greting", 1))
    house.parse()
    clock.shift(timedelta(days=1))
    people.customer("next", "12-11")
    house.start(JOURNEY, "r2", logical_date=COHORT + timedelta(days=1))
    states = house.work(JOURNEY, "r2")
    assert states["enroll"] == "failed", "at once: trying again would not mend the file"
    assert (states["greeting.wait"], states["settle"], states["run"]) == ("upstream_failed", "failed", "failed")
    assert people.count("cohorts") == 1
    dag = house.dags[JOURNEY]
    assert "broken file" in dag.tags and "greting" in dag.doc_md
    house.write(JOURNEY, good)
    house.parse()
    assert not house.import_errors and "broken file" not in house.dags[JOURNEY].tags
    house.clear(JOURNEY, "r2", *[task for task in states if task != "run"])
    house.work(JOURNEY, "r2", only="enroll")
    assert house.xcom(JOURNEY, "r2", "enroll")["enrolled"] == 1


def test_a_file_that_was_never_good_has_no_dag_only_its_error(house, people):
    house.write("fresh", "journey: fresh\n")
    house.parse()
    assert set(house.dags) == {JOURNEY, "reconcile", "maintenance", "rerun_step", "scoring"}
    assert "include/journeys/fresh.yaml" in house.import_errors["journeys_check.py"]


def test_a_broken_template_is_the_journey_s_breakage_and_the_words_are_those_it_began_with(house, people, clock):
    under_way(house)
    path = house.include / "templates" / "birthday" / "last_day" / "sms.zh-CN.txt"
    words = path.read_text(encoding="utf-8")
    path.write_text(words + "{{ coupon.cod }}", encoding="utf-8")
    house.parse()
    assert "coupon.cod" in house.import_errors["journeys_check.py"]
    assert all_green(finish(house, clock))
    assert sent(people) == {"greeting": 6, "last_day": 6}


def test_a_file_that_is_gone_keeps_its_dag_while_people_are_under_way(house, people, clock):
    under_way(house)
    (house.include / "journeys" / f"{JOURNEY}.yaml").unlink()
    house.parse()
    assert "the file is gone" in house.import_errors["journeys_check.py"]
    assert all_green(finish(house, clock))
    assert sent(people) == {"greeting": 6, "last_day": 6}
    house.parse()
    assert set(house.dags) == {"reconcile", "maintenance", "scoring"} and not house.import_errors, "nobody is under way any more"


def test_without_a_database_the_dags_come_from_the_files(house, monkeypatch):
    monkeypatch.setenv("RETENTION_DATABASE_URL", "postgresql://postgres@/nowhere?host=/nonexistent")
    house.write("broken", "journey: broken\n")
    house.parse()
    assert set(house.dags) == {JOURNEY, "reconcile", "maintenance", "rerun_step", "scoring"}
    assert set(house.import_errors) == {"journeys_check.py"}


@pytest.mark.parametrize("where", ["dagbuild.build_dag", "desk.check_changes"])
def test_an_error_nobody_thought_of_costs_one_journey_its_news_and_is_seen(house, people, clock, monkeypatch, where):
    from retention.orchestration import dagbuild, desk

    house.copy_journey("second")
    house.parse()
    under_way(house)
    under_way(house, "second")
    module, name = {"dagbuild": dagbuild, "desk": desk}[where.split(".")[0]], where.split(".")[1]
    original = getattr(module, name)

    def explode(first, *rest, **options):
        journey = getattr(first, "dag_id", None) or first.journey.journey
        if journey == "second":
            raise ZeroDivisionError("a bug of ours")
        return original(first, *rest, **options)

    monkeypatch.setattr(module, name, explode)
    house.parse()
    assert JOURNEY in house.dags
    text = house.import_errors["journeys_check.py"]
    assert "include/journeys/second.yaml" in text and "ZeroDivisionError" in text
    assert "a bug of ours" not in text, "the text of an unknown error may hold anything"


# Changed shapes


def test_a_step_that_is_added_is_for_those_who_enter_from_now_on(house, people, clock):
    under_way(house)
    extra = "  - id: extra\n    at: day 1, 10:00\n    send: {template: birthday/last_day, channels: [email]}\n\n"
    house.write(JOURNEY, house.read(JOURNEY).replace("  - id: last_day", f"{extra}  - id: last_day"))
    house.parse()
    assert not house.import_errors and "extra.plan" in house.dags[JOURNEY].task_dict
    states = finish(house, clock)
    assert all_green(states) and states["extra.plan"] == "success"
    assert sent(people) == {"greeting": 6, "last_day": 6}, "theirs is the journey they entered on"


def drop_last_day(text: str) -> str:
    return text[: text.index("  - id: last_day")]


def test_a_step_that_is_removed_is_kept_for_those_under_way_and_the_file_is_refused(house, people, clock):
    under_way(house)
    house.write(JOURNEY, drop_last_day(house.read(JOURNEY)))
    house.parse()
    assert 'step "last_day" is gone, but 1 cohort under way still needs it' in house.import_errors["journeys_check.py"]
    assert "last_day.plan" in house.dags[JOURNEY].task_dict
    house.start(JOURNEY, "r2", logical_date=COHORT + timedelta(days=1))
    assert house.work(JOURNEY, "r2", only="enroll")["enroll"] == "failed"
    assert all_green(finish(house, clock))
    assert sent(people) == {"greeting": 6, "last_day": 6}
    house.parse()
    assert not house.import_errors, "they have finished: it may go"
    assert "last_day.plan" not in house.dags[JOURNEY].task_dict


def test_a_step_that_is_renamed_is_refused_and_told_its_old_name(house, people, clock):
    under_way(house)
    house.write(JOURNEY, house.read(JOURNEY).replace("id: last_day", "id: farewell"))
    house.parse()
    assert 'step "last_day" is now called "farewell"' in house.import_errors["journeys_check.py"]
    assert all_green(finish(house, clock))
    assert sent(people) == {"greeting": 6, "last_day": 6}


def test_steps_in_another_order_are_the_same_steps(house, people, clock):
    under_way(house)
    text = house.read(JOURNEY)
    head, greeting, last_day = re.split(r"(?m)^  - id: (?=greeting|last_day)", text)
    house.write(JOURNEY, f"{head}  - id: {last_day.rstrip()}\n  - id: {greeting}")
    house.parse()
    assert not house.import_errors
    assert all_green(finish(house, clock))
    assert sent(people) == {"greeting": 6, "last_day": 6}


def test_a_retired_step_still_reaches_those_who_entered_with_it(house, people, clock):
    under_way(house)
    house.write(JOURNEY, house.read(JOURNEY).replace("id: last_day ", "id: last_day\n    retired: true "))
    house.parse()
    assert not house.import_errors
    assert all_green(finish(house, clock))
    assert sent(people) == {"greeting": 6, "last_day": 6}


def test_a_channel_that_is_taken_off_a_step_keeps_its_task_for_those_under_way(house, people, clock):
    under_way(house)
    house.write(JOURNEY, house.read(JOURNEY).replace("channels: [sms, email]", "channels: [email]"))
    house.parse()
    assert not house.import_errors
    states = finish(house, clock)
    assert all_green(states) and states["last_day.deliver_sms[0]"] == "success"
    assert people.rows("select distinct channel from outbox") == [("sms",)]
