"""What waits in the inbox becomes what it means: once, in any order, nothing lost, whatever else is in its batch."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from sqlalchemy import text

from retention.delivery.events import interpret as module
from retention.delivery.events.inbox import Arrival, look_at_inbox, store_arrivals
from retention.delivery.events.interpret import interpret, reopen
from tests.delivery.sent import send

NOW = datetime(2026, 12, 2, tzinfo=UTC)
AT = datetime(2026, 12, 1, 10, tzinfo=UTC)


def put(engine, source, body, message_id=None, at=NOW):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with engine.begin() as conn:
        store_arrivals(conn, [Arrival(source, raw, message_id)], at)


def take(engine, source, body, message_id=None, at=NOW):
    put(engine, source, body, message_id, at)
    return interpret(engine, at)


def event(word, message_id, key=None, *, email="a@example.com", after=0, **more):
    """As SendGrid sends them."""
    return {
        "event": word,
        "email": email,
        "timestamp": int(AT.timestamp()) + after,
        "sg_event_id": key or f"{word}-{message_id}-{after}",
        "sg_message_id": "LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",
        "retention_message": str(message_id),
        "retention_mode": "live",
        **more,
    }


def status(sid, word, to="+12025550000", **more):
    return urlencode({"MessageSid": sid, "MessageStatus": word, "To": to, **more}).encode()


def inbound(sid, body, sender, **more):
    said = {"MessageSid": sid, "SmsStatus": "received", "From": sender, "To": "+15005550006", "Body": body}
    return urlencode({**said, **more}).encode()


def outcomes(world):
    return world.rows("select kind, reason from outcomes order by occurred_at, kind, outcome_id")


def suppressions(world):
    return world.rows(
        "select channel, address, is_suppressed, reason from suppressions order by occurred_at, suppression_id"
    )


def consent(world, customer, channel):
    found = world.rows(
        "select is_granted from consents where customer_id = :c and channel = :ch and purpose = 'marketing'"
        " order by occurred_at desc, consent_id desc limit 1",
        c=customer,
        ch=channel,
    )
    return found[0][0] if found else None


def phone(world, customer):
    return world.rows("select phone from customers where customer_id = :c", c=customer)[0][0]


def odd(world):
    return world.rows("select source, word, reason from odd_events order by source, word, reason")


# --- SendGrid -----------------------------------------------------------------------------------------------------------


WORDS = [
    ("processed", {}, "processed", None),
    ("deferred", {"attempt": "5", "response": "400 try again a@example.com"}, "deferred", "attempt 5"),
    ("delivered", {"response": "250 OK"}, "delivered", None),
    ("open", {}, "opened", None),
    ("click", {"url": "https://shop.example.com/x?who=a"}, "clicked", None),
    ("bounce", {"type": "bounce", "status": "5.1.1", "reason": "550 <a@example.com>"}, "bounced", "hard 5.1.1"),
    ("bounce", {"type": "blocked", "status": "5.7.1"}, "bounced", "blocked 5.7.1"),
    ("dropped", {"reason": "Bounced Address"}, "dropped", "bounced_address"),
    ("dropped", {"reason": "Something new about a@example.com"}, "dropped", "refused"),
    ("spamreport", {}, "complained", None),
    ("unsubscribe", {}, "unsubscribed", None),
    ("group_unsubscribe", {"asm_group_id": 1}, "unsubscribed", "group"),
    ("group_resubscribe", {"asm_group_id": 1}, "resubscribed", None),
    ("Teleported!", {}, "other", "teleported"),
]


def test_sendgrids_words(engine, world):
    sent = send(world, *[f"c{n:02}" for n in range(len(WORDS))])
    told = [
        event(word, sent[f"c{n:02}"], email=f"c{n:02}@example.com", **more) for n, (word, more, *_) in enumerate(WORDS)
    ]
    done = take(engine, "sendgrid", told)
    assert (done.requests, done.events, done.fresh, done.odd, done.failed) == (1, len(WORDS), len(WORDS), 0, 0)
    found = world.rows("select kind, reason from outcomes order by message_id")
    assert found == [(kind, reason) for *_, kind, reason in WORDS]
    assert world.rows("select distinct occurred_at, recorded_at, provider, provider_id from outcomes") == [
        (AT, NOW, "sendgrid", "LRzXl_NHStOGhQ4kofSm_A")
    ]


ENDS = [
    ("bounce", {"type": "bounce", "status": "5.1.1"}, "bounced", True),
    ("bounce", {"type": "bounce", "status": "5.0.0", "bounce_classification": "Invalid Address"}, "bounced", True),
    ("bounce", {"type": "bounce", "status": "5.7.1", "bounce_classification": "Reputation"}, None, True),
    ("bounce", {"type": "bounce", "status": "4.2.2"}, None, True),
    ("bounce", {"type": "blocked", "status": "5.1.1"}, None, True),
    ("bounce", {"type": "expired"}, None, True),
    ("bounce", {}, None, True),
    ("deferred", {}, None, True),
    ("dropped", {"reason": "Bounced Address"}, "bounced", True),
    ("dropped", {"reason": "Spam Reporting Address"}, "complained", False),
    ("dropped", {"reason": "Unsubscribed Address"}, None, False),
    ("dropped", {"reason": "Spam Content (if spam checker app enabled)"}, None, True),
    ("spamreport", {}, "complained", False),
    ("unsubscribe", {}, None, False),
    ("group_unsubscribe", {}, None, False),
    ("delivered", {}, None, True),
]


def test_what_ends_by_sendgrids_events(engine, world):
    sent = send(world, *[f"c{n:02}" for n in range(len(ENDS))])
    told = [
        event(word, sent[f"c{n:02}"], email=f"c{n:02}@example.com", **more) for n, (word, more, *_) in enumerate(ENDS)
    ]
    for _ in range(2):
        take(engine, "sendgrid", told)
    gone = {f"c{n:02}@example.com": why for n, (*_, why, _) in enumerate(ENDS) if why}
    assert sorted(suppressions(world)) == sorted(("email", address, True, why) for address, why in gone.items())
    left = {n: consent(world, f"c{n:02}", "email") for n in range(len(ENDS))}
    assert left == {n: is_consented for n, (*_, is_consented) in enumerate(ENDS)}
    assert world.count("consents", source="provider") == list(left.values()).count(False)
    assert all(consent(world, f"c{n:02}", "sms") for n in left)


def test_a_shared_mailbox_ends_for_all_who_share_it(engine, world):
    world.customer("twin", email="A@example.com")
    world.customer("other")
    sent = send(world, "a")
    take(engine, "sendgrid", [event("unsubscribe", sent["a"])])
    assert [consent(world, it, "email") for it in ("a", "twin", "other")] == [False, False, True]


@pytest.mark.parametrize("order", ["as it was", "turned round", "apart", "apart, turned round"])
def test_unsubscribed_and_back_in_any_order(engine, world, order):
    sent = send(world, "a")
    events = [event("group_unsubscribe", sent["a"]), event("group_resubscribe", sent["a"], after=300)]
    if "round" in order:
        events.reverse()
    for batch in [[it] for it in events] if "apart" in order else [events]:
        take(engine, "sendgrid", batch)
    assert consent(world, "a", "email") is True
    assert world.count("consents", customer_id="a", channel="email") == 3


def test_coming_back_grants_no_more_than_there_was(engine, world):
    sent = send(world, "a", "b", "c")
    world.consent("a", "email", False, AT - timedelta(days=1))  # had left by another way before
    mail = {it: f"{it}@example.com" for it in "abc"}
    take(
        engine,
        "sendgrid",
        [
            event("group_unsubscribe", sent["a"], email=mail["a"]),
            event("group_resubscribe", sent["a"], after=9, email=mail["a"]),
            event("group_resubscribe", sent["b"], after=9, email=mail["b"]),  # had never left
            event("spamreport", sent["c"], email=mail["c"]),
            event("group_resubscribe", sent["c"], after=9, email=mail["c"]),
        ],
    )
    assert [consent(world, it, "email") for it in "abc"] == [False, True, False]


def test_machine_opens_and_clicks_are_flagged(engine, world):
    sent = send(world, "a", "b")
    take(
        engine,
        "sendgrid",
        [
            event("open", sent["a"], "o1", sg_machine_open=True),
            event("open", sent["a"], "o2", after=1, sg_machine_open=False, useragent="Mozilla/5.0 (iPhone) Version/17"),
            event("open", sent["a"], "o3", after=2, useragent="Mozilla/5.0"),
            event("click", sent["a"], "c1", after=90, url="https://shop.example.com/1", useragent="Barracuda Sentinel"),
            event("click", sent["b"], "c2", after=2, url="https://shop.example.com/1", email="b@example.com"),
            event(
                "click", sent["a"], "c3", after=900, url="https://shop.example.com/1", useragent="Mozilla/5.0 (iPhone)"
            ),
        ],
    )
    take(engine, "sendgrid", [event("delivered", sent["b"], email="b@example.com")])
    found = world.rows(
        "select kind, is_machine from outcomes where kind <> 'delivered' order by occurred_at, outcome_id"
    )
    assert found == [
        ("opened", True), ("opened", False), ("clicked", True), ("opened", True), ("clicked", True), ("clicked", False),
    ] or sorted(found) == sorted([
        ("opened", True), ("opened", False), ("opened", True), ("clicked", True), ("clicked", True), ("clicked", False),
    ])  # fmt: skip


BROKEN = [
    "words",
    None,
    17,
    [],
    {},
    {"event": "delivered"},
    {"event": 5, "retention_message": "x"},
    {"event": ["delivered"], "retention_message": "1", "timestamp": "soon"},
    {"event": "delivered", "retention_message": "9" * 40, "timestamp": 1},
    {"event": "delivered", "retention_message": "١", "timestamp": 1},
    {"event": "bounce", "retention_message": "1", "timestamp": 1e300, "sg_event_id": {"a": 1}},
    {"event": "delivered", "retention_message": "1", "timestamp": -5},
    {"event": "click\u0000", "retention_message": "424242", "timestamp": 1, "url": {"a": 1}},
]


def test_a_bad_event_never_costs_its_batch(engine, world):
    sent = send(world, "a")
    good = [event("delivered", sent["a"], f"good-{n}", after=n, email="a@example.com") for n in range(len(BROKEN))]
    batch = [it for pair in zip(BROKEN, good, strict=True) for it in pair]
    done = take(engine, "sendgrid", batch)
    assert (done.events, done.fresh, done.odd, done.failed) == (2 * len(BROKEN), len(good), len(BROKEN), 0)
    assert world.count("outcomes", kind="delivered") == len(good)
    assert world.count("odd_events") == len(BROKEN)
    assert [row for row in world.rows("select events, fresh, odd, error from inbox")] == [
        (2 * len(BROKEN), len(good), len(BROKEN), None)
    ]


def test_an_event_that_breaks_the_reader_is_odd_and_the_others_go_on(engine, world, monkeypatch):
    from retention.delivery.events import sendgrid

    def judge(agent):
        raise ValueError

    monkeypatch.setattr(sendgrid, "is_machine_agent", judge)
    sent = send(world, "a")
    done = take(engine, "sendgrid", [event("open", sent["a"]), event("delivered", sent["a"])])
    assert (done.fresh, done.odd, done.failed) == (1, 1, 0) and odd(world) == [("sendgrid", "open", "not_understood")]


@pytest.mark.parametrize(
    "end", [b"", b",", b"]]", b'{"event": "deliv', b'{"event": tru', b"\xff\xfe", b'{"a": "\\ud800"}, {"b": 1', b"\x00"]
)
def test_of_a_body_cut_off_the_beginning_is_read(engine, world, end):
    sent = send(world, "a")
    body = (
        json.dumps([event("delivered", sent["a"], "1"), event("open", sent["a"], "2", after=9)]).encode()[:-1]
        + b","
        + end
    )
    done = take(engine, "sendgrid", body)
    assert done.fresh == 2 and done.odd >= 1 and done.failed == 0
    assert ("sendgrid", None, "not_json") in odd(world)


STRANGE = [b"", b"[]", b"null", b"nonsense", b"[" * 5000, b'"\\u0000"', b"\x1f\x8b\x08", b"{}"]


def test_no_body_is_too_strange(engine, world):
    for body in STRANGE:
        for source in ("sendgrid", "twilio_status", "twilio_message", "shop"):
            put(engine, source, body, 1)
    done = interpret(engine, NOW)
    assert done.requests == 4 * len(STRANGE) and done.failed == 0 and done.fresh == 0
    assert interpret(engine, NOW).requests == 0


def test_characters_that_postgres_does_not_take(engine, world):
    sent = send(world, "a")
    strange = event("click", sent["a"], "\x1f\x00", url="x\x00", sg_message_id="a\x1fb\x00c", useragent="\x1f")
    done = take(engine, "sendgrid", [strange, event("open", sent["a"], email="\x1f@example.com")])
    assert (done.fresh, done.odd, done.failed) == (1, 1, 0)
    shop = {"id": "1", "customer_id": "a", "kind": "view", "occurred_at": AT.isoformat(), "data": {"x\x00": "\x1f\x00"}}
    assert take(engine, "shop", [shop, shop | {"id": "a\x1fb"}]).fresh == 1


def test_events_that_are_not_ours_are_kept_and_counted_once(engine, world):
    world.customer("a")
    foreign = {"event": "delivered", "email": "x@example.com", "timestamp": int(AT.timestamp()), "sg_event_id": "f1"}
    unknown = event("open", 987_654, "u1")
    for _ in range(3):
        take(engine, "sendgrid", [foreign, unknown])
    assert odd(world) == [("sendgrid", "delivered", "not_ours"), ("sendgrid", "open", "unknown_message")]
    with engine.connect() as conn:
        standing = look_at_inbox(conn, since=NOW - timedelta(days=1))
    assert standing.waiting == 0 and [row["events"] for row in standing.odd] == [1, 1]


def test_a_bounce_of_another_mailing_of_the_account_suppresses_the_address(engine, world):
    world.customer("a")
    foreign = {"event": "bounce", "type": "bounce", "status": "5.1.1", "email": "A@example.com",
               "timestamp": int(AT.timestamp()), "sg_event_id": "f1"}  # fmt: skip
    for _ in range(2):
        take(engine, "sendgrid", [foreign, foreign | {"event": "delivered", "sg_event_id": "f2"}])
    assert suppressions(world) == [("email", "a@example.com", True, "bounced")]


def test_repeated_reordered_late_and_half_broken_nothing_is_lost_and_nothing_double(engine, world):
    sent = send(world, *[f"c{n}" for n in range(20)])
    mail = {message: f"{customer}@example.com" for customer, message in sent.items()}
    events = [
        event(word, message, email=mail[message], after=after, **more)
        for message in sent.values()
        for word, after, more in (
            ("processed", 0, {}), ("delivered", 1, {}), ("open", 60, {}), ("click", 70, {"url": "https://x.example/1"}),
            ("group_unsubscribe", 80, {}), ("group_resubscribe", 90, {}),
        )
    ]  # fmt: skip
    luck = random.Random(5)
    told = events * 3
    luck.shuffle(told)
    late = told[-7:]
    for at in range(0, len(told) - 7, 25):
        put(engine, "sendgrid", [*told[at : at + 25], luck.choice(BROKEN)])
    with ThreadPoolExecutor(3) as pool:  # by several at once
        list(pool.map(lambda _: interpret(engine, NOW), range(3)))
    take(engine, "sendgrid", late, at=NOW + timedelta(days=2))
    found = world.rows("select message_id, kind, count(*) from outcomes group by 1, 2 order by 1, 2")
    kinds = ("clicked", "delivered", "opened", "processed", "resubscribed", "unsubscribed")
    assert found == [(message, kind, 1) for message in sorted(sent.values()) for kind in kinds]
    assert all(consent(world, customer, "email") for customer in sent)
    assert world.count("inbox", interpreted_at=None) == 0


# --- Twilio -------------------------------------------------------------------------------------------------------------


STATUSES = [
    ("queued", None, "processed", None, None),
    ("sent", None, "sent", None, None),
    ("delivered", None, "delivered", None, None),
    ("read", None, "read", None, None),
    ("undelivered", "30003", "undelivered", "unreachable 30003", None),
    ("undelivered", "30006", "undelivered", "landline 30006", None),
    ("undelivered", "30005", "undelivered", "invalid 30005", "invalid"),
    ("undelivered", "30007", "undelivered", "filtered 30007", None),
    ("failed", "21610", "failed", "opted_out 21610", "opted_out"),
    ("failed", "21614", "failed", "not_mobile 21614", "not_mobile"),
    ("failed", "99999", "failed", "failed 99999", None),
    ("failed", None, "failed", None, None),
    ("vaporised", None, "other", "vaporised", None),
]


def test_twilios_words(engine, world):
    people = [f"c{n:02}" for n in range(len(STATUSES))]
    for n, it in enumerate(people):
        world.customer(it, phone=f"+86138000000{n:02}")
    sent = send(world, *people, channel="sms")
    for _ in range(2):
        for n, (word, code, *_rest) in enumerate(STATUSES):
            more = {"ErrorCode": code} if code else {}
            put(engine, "twilio_status", status(f"SM{n}", word, f"+86138000000{n:02}", **more), sent[people[n]])
        interpret(engine, NOW)
    assert world.rows("select kind, reason from outcomes order by message_id") == [row[2:4] for row in STATUSES]
    gone = {f"+86138000000{n:02}": row[4] for n, row in enumerate(STATUSES) if row[4]}
    assert {address: why for _, address, _, why in suppressions(world)} == gone
    assert [consent(world, it, "sms") for it in people] == [row[4] != "opted_out" for row in STATUSES]


def test_a_status_of_a_message_we_do_not_know(engine, world):
    take(engine, "twilio_status", status("SM1", "delivered"), 12345)
    take(engine, "twilio_status", b"MessageSid=SM2", 12345)
    assert odd(world) == [("twilio_status", "delivered", "unknown_message"), ("twilio_status", None, "no_status")]


@pytest.mark.parametrize("channel", ["sms", "whatsapp"])
def test_stop_ends_the_channel_for_all_who_share_the_number(engine, world, channel):
    world.customer("twin", phone="+8613800000001", consent=("email", "sms", "whatsapp"))
    world.customer("other", consent=("sms", "whatsapp"))
    world.customer("a", phone="+8613800000001", consent=("email", "sms", "whatsapp"))
    sent = send(world, "a", channel=channel)
    sender = "whatsapp:+8613800000001" if channel == "whatsapp" else "+8613800000001"
    for _ in range(2):
        take(engine, "twilio_message", inbound("SM9", "【退订】", sender))
    assert suppressions(world) == [(channel, "+8613800000001", True, "stop")]
    left = {it: [consent(world, it, way) for way in ("sms", "whatsapp")] for it in ("a", "twin", "other")}
    ended = [channel != "sms", channel != "whatsapp"]
    assert left == {"a": ended, "twin": ended, "other": [True, True]}
    assert world.rows("select message_id, kind, reason from outcomes") == [(sent["a"], "unsubscribed", "stop")]
    assert world.rows("select meaning, text, message_id from replies") == [("stop", "【退订】", sent["a"])]


def test_a_reply_is_put_to_the_newest_message_to_the_number(engine, world):
    world.customer("a", phone="+8613800000001")
    old = send(world, "a", channel="sms", at=AT - timedelta(days=9))
    new = send(world, "a", channel="sms", at=AT)
    send(world, "a", channel="email", at=AT + timedelta(hours=1))
    send(world, "a", channel="sms", at=NOW + timedelta(days=1))  # not yet, when the reply came
    take(engine, "twilio_message", inbound("SM1", "Don't stop! 谢谢", "+8613800000001"))
    take(engine, "twilio_message", inbound("SM2", "who is this?", "+8613899999999"))
    assert world.rows("select message_id, kind from outcomes") == [(new["a"], "replied")] and old != new
    assert world.rows("select text, message_id from replies order by provider_id") == [
        ("Don't stop! 谢谢", new["a"]),
        ("who is this?", None),
    ]
    assert suppressions(world) == [] and consent(world, "a", "sms") is True


def test_a_message_that_waits_for_its_hour_is_not_what_is_answered(engine, world):
    world.customer("a", phone="+8613800000001")
    out = send(world, "a", channel="sms", at=AT - timedelta(days=1))
    send(world, "a", channel="sms", at=AT)
    world.add("outcomes", message_id=out["a"], kind="accepted", occurred_at=AT, recorded_at=AT)
    take(engine, "twilio_message", inbound("SM1", "hello", "+8613800000001"))
    assert world.rows("select message_id from outcomes where kind = 'replied'") == [(out["a"],)]


def test_a_number_that_was_the_customers_at_entry_is_found(engine, world):
    world.customer("a", phone="+8613800000001")
    sent = send(world, "a", channel="sms")
    world.change_customer("a", AT, phone="+8613800000002")
    take(engine, "twilio_message", inbound("SM1", "hello", "+8613800000001"))
    assert world.rows("select message_id, kind from outcomes") == [(sent["a"], "replied")]


def stop_and_start(engine, sender="+8613800000001", start="START", key=""):
    take(engine, "twilio_message", inbound(f"stop{key}", "STOP", sender), at=NOW)
    take(engine, "twilio_message", inbound(f"start{key}", start, sender), at=NOW + timedelta(hours=1))


@pytest.mark.parametrize("word", ["START", "unstop", "YES!"])
def test_start_takes_back_the_persons_own_stop(engine, world, word):
    world.customer("a", phone="+8613800000001")
    with world.engine.begin() as conn:
        conn.execute(text("update consents set wording = 'I agree to texts'"))
    send(world, "a", channel="sms")
    stop_and_start(engine, start=word)
    take(engine, "twilio_message", inbound("again", word, "+8613800000001"), at=NOW + timedelta(hours=2))
    assert [row[2:] for row in suppressions(world)] == [(True, "stop"), (False, "start")]
    assert consent(world, "a", "sms") is True
    assert world.rows("select wording, source from consents where is_granted and source = 'sms'") == [
        ("I agree to texts", "sms")
    ]
    assert [kind for kind, _ in outcomes(world)] == ["unsubscribed", "resubscribed", "replied"]


@pytest.mark.parametrize("reason", ["complained", "erased", "bounced", "invalid", "imported", "blocked"])
@pytest.mark.parametrize("days", [-2, +0.02])
def test_start_takes_back_nothing_but_a_stop(engine, world, reason, days):
    world.customer("a", phone="+8613800000001")
    at = NOW + timedelta(days=days)
    world.add("suppressions", channel="sms", address="+8613800000001", is_suppressed=True, reason=reason, occurred_at=at, recorded_at=at)  # fmt: skip
    stop_and_start(engine)
    assert all(is_suppressed for _, _, is_suppressed, _ in suppressions(world))
    assert consent(world, "a", "sms") is False


def test_start_grants_no_more_than_there_was(engine, world):
    world.customer("a", phone="+8613800000001", consent=())
    world.customer("b", phone="+8613800000001", consent=("sms",))
    world.consent("b", "sms", False, NOW - timedelta(days=1))  # on a page, by themselves
    world.customer("c", phone="+8613800000001", consent=("sms",))
    stop_and_start(engine)
    assert [consent(world, it, "sms") for it in "abc"] == [False, False, True]


def test_start_without_a_stop_is_an_answer(engine, world):
    world.customer("a", phone="+8613800000001", consent=())
    send(world, "a", channel="sms")
    take(engine, "twilio_message", inbound("SM1", "yes", "+8613800000001"))
    assert outcomes(world) == [("replied", None)] and suppressions(world) == []
    assert consent(world, "a", "sms") is None


@pytest.mark.parametrize("turned", [False, True])
def test_stop_and_start_again_and_again_in_any_order(engine, world, turned):
    world.customer("a", phone="+8613800000001")
    words = ["STOP", "START", "退订", "START", "stop", "start"]
    told = list(enumerate(words))
    for n, word in reversed(told) if turned else told:
        take(engine, "twilio_message", inbound(f"SM{n}", word, "+8613800000001"), at=NOW + timedelta(hours=n))
    lifted = [is_suppressed for _, _, is_suppressed, _ in suppressions(world)]
    assert lifted == [True, False] * 3
    assert consent(world, "a", "sms") is True


def test_a_start_takes_back_what_only_twilio_knew_of_also_if_that_is_heard_of_later(engine, world):
    """21610: they wrote STOP before we listened."""
    world.customer("a", phone="+8613800000001")
    sent = send(world, "a", channel="sms")
    take(engine, "twilio_message", inbound("SM2", "START", "+8613800000001"), at=NOW + timedelta(hours=1))
    body = status("SM1", "failed", "+8613800000001", ErrorCode="21610")
    take(engine, "twilio_status", body, sent["a"], at=NOW)
    assert [row[2:] for row in suppressions(world)] == [(True, "opted_out"), (False, "start")]
    assert consent(world, "a", "sms") is True


def test_twilios_own_handling_of_words_is_believed(engine, world):
    world.customer("a", phone="+8613800000001")
    take(engine, "twilio_message", inbound("SM1", "ARRETE", "+8613800000001", OptOutType="STOP"))
    assert consent(world, "a", "sms") is False


def test_messages_without_a_number_are_odd(engine, world):
    for n, sender in enumerate(["", "12345", "SHOP", "whatsapp:", "+1"]):
        take(engine, "twilio_message", inbound(f"SM{n}", "STOP", sender))
    assert {reason for _, _, reason in odd(world)} == {"no_address"} and world.count("replies") == 0


# --- the shop -----------------------------------------------------------------------------------------------------------


def seen(key, **more):
    return {"id": key, "customer_id": "a", "kind": "view", "occurred_at": AT.isoformat(), "data": {"p": 1}, **more}


def test_a_shops_events_are_facts_once(engine, world):
    world.customer("a")
    for _ in range(2):
        take(engine, "shop", {"events": [seen("e1"), seen("e1"), seen(17, kind="cart", data={}, customer_id=5)]})
    assert world.rows(
        "select customer_id, kind, source_key, data, occurred_at, recorded_at from events order by source_key"
    ) == [
        ("5", "cart", "webhook:17", {}, AT, NOW),
        ("a", "view", "webhook:e1", {"p": 1}, AT, NOW),
    ]


BAD = [
    ({"id": None}, "no_id"),
    ({"id": ""}, "no_id"),
    ({"id": "x" * 201}, "no_id"),
    ({"customer_id": []}, "no_customer"),
    ({"kind": 5}, "no_kind"),
    ({"kind": "dance"}, "unknown_kind"),
    ({"occurred_at": "2026-12-01T10:00:00"}, "no_zone"),
    ({"occurred_at": "yesterday"}, "no_time"),
    ({"occurred_at": "2036-12-01T10:00:00Z"}, "no_time"),
    ({"occurred_at": 5}, "no_time"),
    ({"data": [1]}, "no_data"),
]


def test_a_shops_bad_event_is_kept_with_its_reason(engine, world):
    told = [it for n, (more, _) in enumerate(BAD) for it in (seen(f"bad{n}", **more), seen(f"good{n}"))]
    done = take(engine, "shop", told)
    assert (done.fresh, done.odd, done.failed) == (len(BAD), len(BAD), 0)
    assert world.rows("select reason from odd_events order by position") == [(reason,) for _, reason in BAD]


def test_an_unknown_kind_is_taken_once_it_is_known(engine, world):
    take(engine, "shop", [seen("e1", kind="dance"), seen("e2")])
    with engine.begin() as conn:
        conn.execute(text("insert into event_kinds (kind, title) values ('dance', 'danced')"))
    assert reopen(engine, source="shop", reason="unknown_kind") == 1
    assert interpret(engine, NOW).fresh == 1
    assert world.rows("select kind from events order by source_key") == [("dance",), ("view",)]
    assert odd(world) == [] and world.rows("select events, fresh, odd from inbox") == [(2, 2, 0)]


def test_events_go_to_the_id_a_customer_goes_on_under(engine, world):
    for kept, merged in (("b", "a"), ("c", "b")):
        world.add("customer_merges", kept_id=kept, merged_id=merged, actor="x", reason="x", before={}, merged_at=AT)
    take(engine, "shop", [seen("e1"), seen("e2", customer_id="z")])
    assert world.rows("select customer_id from events order by source_key") == [("c",), ("z",)]


# --- failures -----------------------------------------------------------------------------------------------------------


def test_a_request_that_nothing_can_be_made_of_holds_up_nobody(engine, world, monkeypatch):
    sent = send(world, "a")
    original = module.READERS["sendgrid"]

    def read(waiting, into):
        if b"poison" in waiting.body:
            raise ZeroDivisionError
        original(waiting, into)

    monkeypatch.setitem(module.READERS, "sendgrid", read)
    put(engine, "sendgrid", [event("delivered", sent["a"])])
    put(engine, "sendgrid", [event("delivered", sent["a"], "poison")])
    put(engine, "sendgrid", [event("open", sent["a"])])
    done = interpret(engine, NOW)
    assert (done.requests, done.failed, done.fresh) == (2, 1, 2)
    assert world.rows("select attempts, error from inbox where interpreted_at is null") == [(1, "ZeroDivisionError")]
    assert interpret(engine, NOW).requests == 0
    monkeypatch.undo()
    assert interpret(engine, NOW + timedelta(minutes=2)).fresh == 1


def test_killed_in_the_middle_of_a_turn_nothing_of_it_is_there(engine, world, monkeypatch):
    sent = send(world, "a")
    put(engine, "sendgrid", [event("spamreport", sent["a"])])

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "apply_effects", die)
    with pytest.raises(KeyboardInterrupt):
        interpret(engine, NOW)
    assert (
        world.count("outcomes") == world.count("suppressions") == 0 and world.count("inbox", interpreted_at=None) == 1
    )
    monkeypatch.undo()
    assert interpret(engine, NOW).fresh == 1 and world.count("suppressions") == 1


def test_what_is_too_large_for_postgres_holds_up_nobody(engine, world):
    """The driver counts it among the troubles that pass."""
    with engine.begin() as conn:
        conn.execute(
            text(
                "create function too_large() returns trigger language plpgsql as"
                " $$ begin raise exception using errcode = '54000'; end $$"
            )
        )
        conn.execute(
            text(
                "create trigger too_large before insert on events for each row when (new.kind = 'cart')"
                " execute function too_large()"
            )
        )
    put(engine, "shop", [seen("e1")])
    put(engine, "shop", [seen("e2", kind="cart", data={})])
    put(engine, "shop", [seen("e3")])
    done = interpret(engine, NOW)
    assert (done.requests, done.failed, done.fresh) == (2, 1, 2)
    assert world.rows("select error from inbox where interpreted_at is null") == [("OperationalError 54000",)]
