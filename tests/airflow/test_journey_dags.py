"""A journey in Airflow, task by task: in time, again and again, broken, changed under people who are under way."""

from __future__ import annotations

from tests.world import World, shanghai

COHORT = shanghai("2026-12-07 06:00")


def test_a_cohort_goes_through_all_its_steps(house, engine):
    world = World(engine)
    for n in range(20):
        world.customer(f"c{n}", "12-10")
    house.parse()
    assert not house.import_errors
    house.start("birthday_care", "r1", cohort_at=COHORT.isoformat(), mode="test", on_time=True)
    print(house.work("birthday_care", "r1"))
    assert world.count("outbox")
