"""Forgetting a person in what came back leaves nothing of them, and everybody else where they were."""

from __future__ import annotations

import json

from retention.delivery.events.forget import Forgotten, forget_person
from retention.delivery.events.interpret import interpret, reopen
from tests.delivery.sent import send
from tests.delivery.test_events_interpret import NOW, event, inbound, put, seen, status, take

EMAIL, PHONE, NAME = "Márta.Marker@example.com", "+8613800000001", "C-标记"


def everything(world):
    return b"\n".join(bytes(row[0]) for row in world.rows("select body from inbox order by inbox_id"))


def test_nothing_of_a_person_is_left_and_the_others_stay(engine, world):
    world.customer(NAME, email=EMAIL, phone=PHONE)
    sent = send(world, NAME, "b")
    texts = send(world, NAME, channel="sms")
    theirs, others = sent[NAME], sent["b"]
    take(engine, "sendgrid", [
        event("delivered", theirs, email=EMAIL.lower()),
        event("delivered", others, email="b@example.com"),
        event("open", theirs, email="another@spelling.example"),
        event("bounce", others, "b1", email="b@example.com", reason=f"was forwarded by {EMAIL.upper()}"),
    ])  # fmt: skip
    take(engine, "twilio_status", status("SM1", "delivered", PHONE), texts[NAME])
    take(engine, "twilio_message", inbound("SM2", "Marker says hello", PHONE))
    take(engine, "twilio_message", inbound("SM3", "hello", "+8613800000002"))
    take(engine, "shop", {"events": [seen("e1", customer_id=NAME), seen("e2", customer_id="b"), seen("e3", customer_id="b", kind="dance")]})  # fmt: skip
    put(engine, "shop", json.dumps([seen("e4", customer_id=NAME)]).encode()[:-1], at=NOW)
    interpret(engine, NOW)
    counted = world.count("outcomes")
    who = {"emails": [EMAIL], "phones": [PHONE], "customer_ids": [NAME], "message_ids": [theirs, texts[NAME]]}
    with engine.begin() as conn:
        assert forget_person(conn, **who) == Forgotten(5, 1)
    left = everything(world).lower()
    for mark in ("marker", "13800000001", NAME, json.dumps(NAME)[1:-1], "another@spelling"):
        assert mark.lower().encode() not in left, mark
    assert left.count(b"b@example.com") == 1 and b"13800000002" in left and b'"e2"' in left
    assert world.rows("select text from replies") == [("hello",)]
    assert world.count("outcomes") == counted
    with engine.begin() as conn:
        assert forget_person(conn, **who) == Forgotten(0, 0)


def test_the_others_events_keep_their_places(engine, world):
    world.customer("a")
    take(engine, "shop", [seen("e1"), seen("e2", customer_id="b", kind="dance")])
    with engine.begin() as conn:
        forget_person(conn, customer_ids=["a"])
    assert world.rows("select position from odd_events") == [(1,)]
    assert reopen(engine) == 1
    interpret(engine, NOW)
    assert world.rows("select position, reason from odd_events order by 1") == [(0, "no_object"), (1, "unknown_kind")]
