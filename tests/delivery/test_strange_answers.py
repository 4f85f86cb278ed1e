"""Answers that no document promises, and errors of our own: who is in doubt, who stays ready, and what ends."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from retention.delivery import batch_worker, pacing
from retention.delivery.accounts import read_account
from retention.delivery.channels.base import OpenGate, Sent
from retention.delivery.choose import open_provider
from retention.delivery.http import Answer, Client, Request
from retention.delivery.send_test import send_test, write_test
from retention.errors import AccountRefused, DeliveryError, ProviderPaused, RetentionError, RetryLater
from retention.insight.status import stop_sending
from tests.delivery.tea import NOW, set_accounts
from tests.delivery.test_contract import letters_of
from tests.delivery.test_deliver import GREETING, deliver, outcomes, planned  # noqa: F401 - planned is a fixture
from tests.delivery.test_reconcile import Knowing, in_doubt, lost, settle  # noqa: F401 - lost is a fixture
from tests.world import LONG_AGO, example


@contextmanager
def serve(says):
    """A server that answers what `says(n, path, body)` gives: status, body, headers. Yields its address and a list of bodies."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            bodies.append(body)
            status, text, headers = says(len(bodies), self.path, body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(text)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(text)
            except OSError:
                self.close_connection = True  # who asked has heard enough

        do_GET = do_POST

        def log_message(self, *arguments):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def provider_at(monkeypatch, url, channel):
    set_accounts(monkeypatch, url)
    provider = open_provider(channel, read_account(channel), lambda: NOW)
    try:
        yield provider
    finally:
        provider.close()


def hand_over(provider, letters):
    receipts = []
    try:
        provider.hand_over(letters, OpenGate(), receipts.append)
    except AccountRefused as refused:
        return receipts, str(refused)
    return receipts, None


@pytest.mark.parametrize(("channel", "name"), [("email", "SendGrid"), ("sms", "Twilio")])
def test_a_success_of_somebody_else_leaves_doubt_and_ends_the_sending(monkeypatch, channel, name):
    with serve(lambda n, path, body: (200, b"<html>welcome", {})) as (url, bodies):
        with provider_at(monkeypatch, url, channel) as provider:
            provider.client.close()
            provider.client = Client(at_once=1, timeout_s=5)
            receipts, refused = hand_over(provider, letters_of(channel, 3))
    assert f"{url.removeprefix('http://')} does not answer like {name}" in refused
    assert {it.result for it in receipts} == {"unknown"} and len(bodies) == 1


@pytest.mark.parametrize(("channel", "count"), [("email", 8), ("sms", 8)])
def test_who_refuses_everybody_and_does_not_say_why_is_left_alone(monkeypatch, channel, count):
    with serve(lambda n, path, body: (400, b"<html>no", {})) as (url, _):
        with provider_at(monkeypatch, url, channel) as provider:
            receipts, refused = hand_over(provider, letters_of(channel, count))
    assert "refuses every letter and does not say why" in refused and f"Connection retention_{channel}" in refused
    assert {it.result for it in receipts} == {"later"}


def test_one_who_is_refused_without_a_word_is_tried_again_and_the_others_go(monkeypatch):
    letters = letters_of("email", 8)

    def says(n, path, body):
        return (400, b"", {}) if letters[5].address.encode() in body else (202, b"", {"X-Message-Id": f"m{n}"})

    with serve(says) as (url, _), provider_at(monkeypatch, url, "email") as provider:
        receipts, refused = hand_over(provider, letters)
    assert refused is None
    assert {it.message_id: it.result for it in receipts if it.result != "accepted"} == {letters[5].message_id: "later"}
    assert len(receipts) == 8


def test_no_more_than_a_megabyte_of_an_answer_is_read():
    client = Client(at_once=1, timeout_s=5)
    with serve(lambda n, path, body: (202, b"x" * 5_000_000, {"X-Message-Id": "m1"})) as (url, _):
        answer = client.fetch(Request(url, (), b"hello"))
    client.close()
    assert (answer.fate, answer.status, answer.headers["x-message-id"]) == ("answered", 202, "m1")
    assert len(answer.body) <= 1_000_000


def test_an_error_before_anything_was_written_shows_no_key(monkeypatch):
    client = Client(at_once=1, timeout_s=5)
    with serve(lambda n, path, body: (202, b"", {})) as (url, bodies):
        with pytest.raises(DeliveryError) as caught:
            client.fetch(Request(url, ("Authorization: Bearer SG.hidd\u00e9n",), b"hello"))
        assert not client.has_written and bodies == []
        assert "hidd" not in repr(caught.value) and caught.value.__cause__ is None and "127.0.0.1" in str(caught.value)
        assert client.fetch(Request(url, (), b"hello")).status == 202
    client.close()


def test_an_error_before_the_first_byte_leaves_the_batch_ready(world, planned):  # noqa: F811
    class Careless(Knowing):
        has_written = False

        def hand_over(self, letters, gate, receive):
            raise KeyError("x")

    cohort_id = planned(10)
    with pytest.raises(KeyError):
        deliver(world, cohort_id, Careless())
    assert world.rows("select state, in_doubt, attempts, error from batches") == [("ready", 0, 0, "KeyError")]
    deliver(world, cohort_id)
    assert outcomes(world) == {"accepted": 10}


# --- look-ups -------------------------------------------------------------------------------------------------------


def row(sid, at="Tue, 01 Dec 2026 02:00:01 +0000", sender="+15005550006", service=None):
    return {"sid": sid, "date_created": at, "from": sender, "messaging_service_sid": service}


@pytest.mark.parametrize(
    ("rows", "taken", "expected"),
    [
        ([row("SM1")], (), "SM1"),
        ([row("SM1")], ("SM1",), None),
        ([row("SM1"), row("SM2")], ("SM1",), "SM2"),
        ([row("SM1"), row("SM2")], (), None),
        ([row("SM1", sender="+15005559999")], (), None),
        ([row("SM1", at="Tue, 01 Dec 2026 01:59:50 +0000")], (), None),
        ([row("SM1", at="Tue, 01 Dec 2026 01:59:56 +0000")], (), "SM1"),
        ([row("SM1", at="Tue, 01 Dec 2026 02:16:00 +0000")], (), None),
        ([row("SM2", at="Tue, 01 Dec 2026 02:16:00 +0000"), row("SM1")], (), "SM1"),
        ([row(None)], (), None),
        (["?"], (), None),
    ],
)
def test_what_twilio_lists_counts_if_it_can_be_no_other_message(monkeypatch, rows, taken, expected):
    said = json.dumps({"messages": rows}).encode()
    with serve(lambda n, path, body: (200, said, {})) as (url, _), provider_at(monkeypatch, url, "sms") as provider:
        found = provider.look_up([Sent(7, 1, "+8613800138000", NOW.timestamp(), frozenset(taken))])
    assert (found[7].provider_id if found else None) == expected


def test_one_row_settles_no_two_doubts(monkeypatch):
    said = json.dumps({"messages": [row("SM1")]}).encode()
    with serve(lambda n, path, body: (200, said, {})) as (url, _), provider_at(monkeypatch, url, "sms") as provider:
        asked = [Sent(n, n, "+8613800138000", NOW.timestamp()) for n in (7, 8)]
        assert provider.look_up(asked) == {}
        assert set(provider.look_up(asked[:1])) == {7}


@pytest.mark.parametrize("channel", ["email", "sms"])
@pytest.mark.parametrize(
    ("status", "kind", "said"), [(401, AccountRefused, "refuses to be asked"), (429, ProviderPaused, "the next 120 s")]
)
def test_a_look_up_that_is_refused_is_told_and_ends(monkeypatch, channel, status, kind, said):
    with serve(lambda n, path, body: (status, b"{}", {"Retry-After": "120"})) as (url, bodies):
        with provider_at(monkeypatch, url, channel) as provider:
            asked = [Sent(n, n, f"+861380000{n:04}", NOW.timestamp()) for n in range(200)]
            assert provider.look_up(asked) == {} and isinstance(provider.trouble, kind) and said in str(provider.trouble)
    assert len(bodies) <= 50


class Shared(Knowing):
    """As an account that workers share."""

    account, name = "twilio:retention_sms", "twilio"


def test_reconcile_asks_nobody_who_wants_to_be_left_alone(world, lost):  # noqa: F811
    class Busy(Shared):
        def look_up(self, messages):
            self.asked += messages
            self.trouble = ProviderPaused(self.account, 300, "429: too many requests")
            return {}

    provider = Busy()
    with world.engine.begin() as conn:
        conn.exec_driver_sql(
            "insert into provider_accounts (account, channel) values ('twilio:retention_sms', 'sms')"
            " on conflict do nothing"
        )
    done = settle(world, provider)
    assert "sms: twilio:retention_sms: nothing goes out for the next 300 s: 429" in done.troubles[0]
    assert len(provider.asked) == 10
    done = settle(world, provider)
    assert "429: too many requests" in done.troubles[0] and len(provider.asked) == 10


def test_a_look_up_knows_what_is_another_message_of_the_customer(world, lost):  # noqa: F811
    _, messages = lost
    settle(world, Knowing(messages[:1]))  # p1 is recorded for one
    provider = Knowing()
    with world.engine.begin() as conn:
        conn.exec_driver_sql(
            "update messages set step = 'last_day', enrollment_id ="
            f" (select enrollment_id from messages where message_id = {messages[0]}) where message_id = {messages[1]}"
        )
    settle(world, provider)
    assert {it.message_id: it.taken_ids for it in provider.asked if it.taken_ids} == {messages[1]: frozenset({"p1"})}


def test_no_batch_waits_for_doubts_that_it_does_not_have(world, lost):  # noqa: F811
    settle(world, Knowing(lost[1]))
    with world.engine.begin() as conn:  # as a worker does that looked before they were settled
        conn.exec_driver_sql("update batches set state = 'unknown', done_at = null")
    settle(world, Knowing())
    assert in_doubt(world) == [("done", 0)]


# --- what ends, and what is heard -----------------------------------------------------------------------------------


def test_a_lone_batch_that_keeps_failing_ends(world, planned, monkeypatch):  # noqa: F811
    """The circuit is open because of it alone: the tries with which the account is tried again count."""
    monkeypatch.setattr(pacing, "SHORTEST_S", 0.01)
    monkeypatch.setattr(pacing, "LONGEST_S", 0.01)
    monkeypatch.setattr(batch_worker, "MAX_TRIALS", 8)

    class Failing(Shared):
        def hand_over(self, letters, gate, receive):
            self.reached.append(len(letters))
            gate.note(Answer("answered", 503))
            raise RetryLater("503")

    cohort_id, provider = planned(10), Failing()
    for _ in range(30):
        try:
            deliver(world, cohort_id, provider)
            break
        except ProviderPaused:
            time.sleep(0.02)
    assert world.rows("select state, error from batches") == [("failed", "503")]
    assert 5 < len(provider.reached) <= 10


def test_after_a_stop_only_what_is_under_way_arrives(world, monkeypatch):
    """With no rate at all, and answers that take their time."""

    def says(n, path, body):
        time.sleep(0.05)
        return 201, json.dumps({"sid": f"SM{n}"}).encode(), {}

    with serve(says) as (url, bodies), provider_at(monkeypatch, url, "sms") as provider:
        gate = pacing.SharedGate(world.engine, provider, channel="sms", journey="j")
        stopped = []

        def stop():
            time.sleep(0.4)
            with world.engine.begin() as conn:
                stop_sending(conn, "j", reason="x", actor="ada", now=NOW)
            stopped.append(len(bodies))

        thread = threading.Thread(target=stop)
        gate.enter()
        thread.start()
        try:
            provider.hand_over(letters_of("sms", 2000), gate, lambda receipt: None)
        finally:
            thread.join()
            gate.close()
    print(f"{len(bodies) - stopped[0]} requests after the stop")
    assert gate.is_stopped and len(bodies) < 2000
    assert len(bodies) - stopped[0] <= 2 * provider.at_once  # half of them were under way


@pytest.mark.parametrize("journey", [None, "birthday_care"])
def test_a_test_obeys_stops(world, journey):
    with world.engine.begin() as conn:
        stop_sending(conn, journey, reason="x", actor="ada", now=NOW)
    with world.engine.connect() as conn, pytest.raises(RetentionError, match="is stopped"):
        write_test(conn, example(), "greeting", channel="email", address="ann@example.com", now=NOW)


def test_a_test_spares_who_left_however_it_is_spelt(world):
    world.suppress("email", "ann@example.com", LONG_AGO)
    with world.engine.connect() as conn, pytest.raises(RetentionError, match="suppressed"):
        write_test(conn, example(), "greeting", channel="email", address="Ann@Example.com", now=NOW)


def test_a_test_waits_for_a_paused_account(world):
    provider = Shared()
    gate = pacing.SharedGate(world.engine, provider, channel="sms", journey="j")
    gate.note(Answer("answered", 429, {"retry-after": "120"}))
    with pytest.raises(ProviderPaused, match="429: too many requests"):
        send_test(provider, letters_of("sms", 1)[0], world.engine)
    assert provider.reached == []
