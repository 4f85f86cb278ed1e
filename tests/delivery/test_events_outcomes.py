"""Outcomes from events: once each, only of messages that are ours, machines told apart."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import bindparam, text

from retention.delivery.events.agents import is_machine_agent
from retention.delivery.events.outcomes import Happened, append_outcomes, make_key
from retention.store.months import open_months
from tests.delivery.sent import send

NOW = datetime(2026, 12, 2, tzinfo=UTC)
AT = datetime(2026, 12, 1, 10, tzinfo=UTC).timestamp()


@pytest.fixture
def sent(world):
    """A message to each of a and b, by e-mail."""
    return send(world, "a", "b")


def happened(message_id, kind, key, at=AT, **more):
    return Happened(message_id, kind, make_key(key), at, **more)


def append(engine, *rows):
    with engine.begin() as conn:
        return append_outcomes(conn, rows, NOW)


def machines(world):
    return world.rows("select kind, is_machine from outcomes where event_key is not null order by occurred_at, kind")


def test_an_event_is_one_outcome_however_often_it_is_told(engine, world, sent):
    row = happened(sent["a"], "delivered", "e1", has_effect=True)
    first = append(engine, row, happened(sent["b"], "delivered", "e1", slot=3))
    again = append(engine, row)
    assert first.new == [0] and first.fresh == {0: 1, 3: 1}
    assert again.new == [] and again.fresh == {0: 0}
    assert world.count("outcomes", kind="delivered") == 2


def test_events_of_others_are_not_taken(engine, world, sent):
    [(batch, address)] = world.rows("select batch_id, address from messages where message_id = :m", m=sent["a"])
    came = append(
        engine,
        happened(999_999, "delivered", "e1"),
        happened(sent["a"], "delivered", "e2", batch_id=batch + 1),
        happened(sent["a"], "delivered", "e3", address="somebody@else.example"),
        happened(sent["a"], "delivered", "e4", batch_id=batch, address=address),
    )
    assert came.faults == {0: "unknown_message", 1: "other_batch", 2: "other_address"}
    assert world.count("outcomes", kind="delivered") == 1


@pytest.mark.parametrize("is_click_first", [True, False])
def test_a_click_sooner_than_an_eye_is_a_machines_whichever_is_told_first(engine, world, sent, is_click_first):
    rows = [happened(sent["a"], "delivered", "d", provider="sendgrid"), happened(sent["a"], "clicked", "c", AT + 3)]
    late = happened(sent["b"], "clicked", "c2", AT + 60)
    for row in [
        *(reversed(rows) if is_click_first else rows),
        happened(sent["b"], "delivered", "d2", provider="sendgrid"),
        late,
    ]:
        append(engine, row)
    assert world.rows("select message_id, is_machine from outcomes where kind = 'clicked' order by 1") == [
        (sent["a"], True),
        (sent["b"], False),
    ]


def test_an_sms_is_read_before_its_delivery_is_reported(engine, world):
    sent = send(world, "a", channel="sms")
    append(
        engine, happened(sent["a"], "clicked", "c", AT - 2), happened(sent["a"], "delivered", "d", provider="twilio")
    )
    assert world.count("outcomes", is_machine=True) == 0


@pytest.mark.parametrize("months", [0, 1, 5])
def test_a_message_is_found_however_long_ago_its_person_entered(engine, world, months):
    """Ids tell the month: that of the message may be later than that of the enrollment."""
    later = ((84 + months) << 32) + 7
    with engine.begin() as conn:
        conn.execute(text("select setval('enrollments_enrollment_id_seq', :id)"), {"id": (84 << 32) + 1})
        conn.execute(text("select setval('messages_message_id_seq', :id)"), {"id": later})
        open_months(conn, datetime(2026, 12, 1, tzinfo=UTC))
        conn.execute(
            text("create table months.much_later partition of outcomes for values from (:a) to (:b)").bindparams(
                bindparam("a", (85 << 32) + (1 << 32), literal_execute=True),
                bindparam("b", 200 << 32, literal_execute=True),
            )
        )
    sent = send(world, "a")
    assert sent["a"] == later + 1
    assert append(engine, happened(sent["a"], "delivered", "d")).faults == {}


def test_all_links_within_seconds_are_a_machines(engine, world, sent):
    append(engine, happened(sent["a"], "clicked", "c1", AT + 100, link_key=1))
    append(engine, happened(sent["a"], "clicked", "c2", AT + 101, link_key=1))  # a person's double tap
    assert machines(world) == [("clicked", False)] * 2
    append(engine, happened(sent["a"], "clicked", "c3", AT + 102, link_id=7))
    append(engine, happened(sent["a"], "clicked", "c4", AT + 900, link_id=8))
    assert machines(world) == [("clicked", True)] * 3 + [("clicked", False)]


@pytest.mark.parametrize(
    ("agent", "is_machine"),
    [
        ("Mozilla/5.0", True),
        ("Googlebot/2.1 (+http://www.google.com/bot.html)", True),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0", True),
        ("WhatsApp/2.23.20.0 A", True),
        ("python-requests/2.31", True),
        ("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", False),
        ("Mozilla/5.0 (Linux; Android 14; CUBOT X90) AppleWebKit/537.36 Chrome/120 Mobile Safari/537.36", False),
        ("Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 MicroMessenger/8.0.40 NetType/4G", False),
        ("", False),
        (None, False),
    ],
)
def test_user_agents(agent, is_machine):
    assert is_machine_agent(agent) is is_machine
