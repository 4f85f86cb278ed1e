"""The rules of contact in Airflow: waves that wait for their hours, and a fallback for what bounced."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine

from tests.world import World, shanghai

JOURNEY = "birthday_care"
COHORT = shanghai("2026-12-07 06:00")
DUE = shanghai("2026-12-07 10:00")


@pytest.fixture
def people(house, engine):
    house.change(JOURNEY, holdout="0%", exit_when="[]")
    (house.include / "policy.yaml").unlink(missing_ok=True)
    world = World(engine)
    for n in range(3):
        world.customer(f"sh{n}", "12-10")
    return world


def edit(house, before: str, after: str) -> None:
    text = house.read(JOURNEY)
    assert before in text
    house.write(JOURNEY, text.replace(before, after))


def test_each_wave_waits_without_a_worker_for_its_own_ten_o_clock(house, people):
    people.customer("ny", "12-10", timezone="America/New_York")
    edit(house, "    at: day 0, 10:00 ", "    zone: customer\n    at: day 0, 10:00 ")
    house.parse()
    with time_machine.travel(COHORT) as clock:
        house.start(JOURNEY, "r1", logical_date=COHORT)
        house.work(JOURNEY, "r1")
        clock.move_to(DUE + timedelta(minutes=1))
        states = house.work(JOURNEY, "r1")
        assert states["greeting.deliver_sms[1]"] == "success" or states["greeting.deliver_sms[0]"] == "success"
        assert "deferred" in {states["greeting.deliver_sms[0]"], states["greeting.deliver_sms[1]"]}
        assert people.count("outbox") == 3
        clock.move_to(shanghai("2026-12-07 23:01"))  # ten in New York
        states = house.work(JOURNEY, "r1")
    assert states["greeting.deliver_sms[0]"] == states["greeting.deliver_sms[1]"] == "success"
    assert people.count("outbox") == 4


def test_what_bounced_is_sent_on_the_next_channel(house, people):
    edit(house, "channels: [sms, email]}    # the first", "channels: [sms, email], fallback: 4h}    # the first")
    house.parse()
    with time_machine.travel(COHORT) as clock:
        house.start(JOURNEY, "r1", logical_date=COHORT)
        house.work(JOURNEY, "r1")
        clock.move_to(DUE + timedelta(minutes=1))
        states = house.work(JOURNEY, "r1")
        assert states["greeting.deliver_sms[0]"] == "success" and states["greeting.fallback.wait"] == "deferred"
        (bounced,) = people.rows(
            "select message_id from messages join enrollments using (enrollment_id) where customer_id = 'sh1'"
        )
        at = DUE + timedelta(minutes=2)
        people.add("outcomes", message_id=bounced[0], kind="bounced", occurred_at=at, recorded_at=at)
        clock.move_to(DUE + timedelta(hours=4, minutes=1))
        states = house.work(JOURNEY, "r1")
        assert states["greeting.fallback.plan"] == states["greeting.fallback.deliver_email[0]"] == "success"
        assert people.count("outbox") == 4
        assert people.decisions("greeting")["sh1"] == ("send", "email", None)
        house.clear(JOURNEY, "r1", "greeting.plan", "greeting.fallback.plan", "greeting.fallback.deliver_email")
        house.work(JOURNEY, "r1")
        assert people.count("outbox") == 4
        clock.move_to(shanghai("2026-12-14 11:00"))
        states = house.work(JOURNEY, "r1")
    assert set(states.values()) == {"success"}
