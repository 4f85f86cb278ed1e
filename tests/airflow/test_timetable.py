"""When runs are made: at the cron moments of the journey's zone; missed ones later, but not the years before."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
import time_machine

from retention.journey.firing import next_moment
from tests.world import example, shanghai

JOURNEY = "birthday_care"


@pytest.fixture
def next_run(house):
    """The moment of the run that Airflow makes next, `after` that of the last one it made."""
    from airflow.models.dag import DagModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.sdk.timezone import coerce_datetime
    from airflow.timetables.base import DataInterval
    from airflow.utils.session import create_session

    def ask(after=None):
        house.parse()
        with create_session() as session:
            dag = SerializedDagModel.get_dag(JOURNEY, session=session)  # what the scheduler has of it
            if after is None:
                return session.get(DagModel, JOURNEY).next_dagrun
            info = dag.timetable.next_dagrun_info(
                last_automated_data_interval=DataInterval.exact(coerce_datetime(after)),
                restriction=dag._time_restriction,
            )
            return info.logical_date

    return ask


def test_the_first_run_ever_looks_back_the_journey_s_own_length(next_run):
    now, journey = shanghai("2027-12-20 12:00"), example().journey
    with time_machine.travel(now):
        assert next_run() == next_moment(journey, now - journey.length)


def test_before_its_first_day_the_first_run_is_on_it(house, next_run):
    house.change(JOURNEY, starts_on="2027-01-15")
    with time_machine.travel(shanghai("2026-12-20 12:00")):
        assert next_run() == shanghai("2027-01-15 06:00")


def test_after_an_outage_every_missed_day_is_made_up_however_long_ago(next_run):
    with time_machine.travel(shanghai("2027-12-20 12:00")):
        moments = [shanghai("2027-02-27 06:00")]
        for _ in range(3):
            moments.append(next_run(after=moments[-1]))
    assert moments[1:] == [shanghai("2027-02-28 06:00"), shanghai("2027-03-01 06:00"), shanghai("2027-03-02 06:00")]


def test_firings_are_wall_time_in_the_journey_s_zone_also_across_summer_time(house, next_run):
    house.change(JOURNEY, timezone="Europe/Berlin", starts_on="2027-03-20")
    berlin = ZoneInfo("Europe/Berlin")
    with time_machine.travel(shanghai("2027-03-21 12:00")):
        before = shanghai("2027-03-26 13:00")  # 06:00 in Berlin, winter time
        after = next_run(after=next_run(after=before))
    assert after.astimezone(berlin).strftime("%m-%d %H:%M") == "03-28 06:00"
