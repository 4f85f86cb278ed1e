"""The contract of delivery/channels/base.py, held by every provider in the registry: at the stub, and at its worst.

A new provider is tested here by itself; it needs an account in tests/delivery/tea.py.
"""

import socket
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from retention.bench.stub import start_stub
from retention.delivery.accounts import read_account
from retention.delivery.channels import BATCH_SIZES, PROVIDERS
from retention.delivery.channels.base import OpenGate, Sent
from retention.delivery.choose import open_provider
from retention.delivery.render import Renderer
from retention.delivery.tokens import read_signer
from retention.errors import AccountRefused, RetryLater
from retention.journey.fields import CHANNELS
from tests.delivery.tea import NOW, accounts, make_row, make_version, read_record, set_accounts

WAYS = [(channel, name) for channel, known in PROVIDERS.items() for name in known]
COUNT = 12
VERSION = make_version()

NOBODY = {"status_500": {"later"}, "status_429": {"later"}, "hang_before": {"later", "unknown"},
          "cut_mid_body": {"later", "unknown"}}  # fmt: skip
EVERYBODY = ("accept_then_hang", "accept_then_cut", "cut_mid_answer")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    record = tmp_path_factory.mktemp("contract") / "record"
    with start_stub(record) as stub:
        yield stub, record


@pytest.fixture
def stub(shared, monkeypatch):
    stub, record = shared
    stub.set_faults()
    stub.clear()
    record.write_text("")
    set_accounts(monkeypatch, stub.url)
    return stub


@contextmanager
def open_way(channel, name, timeout_s=None):
    account = read_account(channel)
    assert account.provider == name
    with closing(open_provider(channel, account, lambda: NOW)) as provider:
        if timeout_s:
            provider.client._timeout_s = timeout_s
            provider.client._idle = [provider.client._make_handle() for _ in provider.client._idle]
        yield provider


def letters_of(channel, count=COUNT):
    renderer = Renderer(VERSION, "everywhere")
    return [renderer.write(make_row(channel, n), mode="live", batch_id=5) for n in range(1, count + 1)]


def hand_over(provider, letters):
    receipts = []
    provider.hand_over(letters, OpenGate(), receipts.append)
    ids = [it.message_id for it in receipts]
    assert len(set(ids)) == len(ids), "heard of twice"
    return receipts


def test_every_channel_has_a_provider_a_size_and_an_account_here():
    assert set(CHANNELS) == set(BATCH_SIZES) == set(PROVIDERS)
    assert set(WAYS) == set(accounts("http://127.0.0.1"))


@pytest.mark.parametrize(("channel", "name"), WAYS)
class TestContract:
    def test_everybody_is_taken_once(self, stub, shared, channel, name):
        with open_way(channel, name) as provider:
            receipts = hand_over(provider, letters_of(channel))
            assert provider.account == f"{name}:retention_{channel}"
        assert {it.message_id: it.result for it in receipts} == dict.fromkeys(range(1, COUNT + 1), "accepted")
        assert all(it.provider_id for it in receipts)
        assert read_record(shared[1], read_signer()) == dict.fromkeys(range(1, COUNT + 1), 1)
        said = stub.fetch_record()
        assert (said["accepted"], said["duplicates"]) == (COUNT, 0)

    @pytest.mark.parametrize("fault", NOBODY)
    def test_a_fault_that_took_nobody(self, stub, shared, channel, name, fault):
        stub.set_faults(**{fault: 1})
        with open_way(channel, name, timeout_s=0.3) as provider:
            receipts = hand_over(provider, letters_of(channel))
        assert {it.message_id for it in receipts} == set(range(1, COUNT + 1))
        assert {it.result for it in receipts} <= NOBODY[fault]
        assert not read_record(shared[1], read_signer())

    @pytest.mark.parametrize("fault", EVERYBODY)
    def test_a_lost_answer_is_in_doubt_and_found_by_asking(self, stub, shared, channel, name, fault):
        stub.set_faults(**{fault: 1})
        letters = letters_of(channel)
        with open_way(channel, name, timeout_s=0.5) as provider:
            began = time.time()
            receipts = hand_over(provider, letters)
            assert {it.message_id: it.result for it in receipts} == dict.fromkeys(range(1, COUNT + 1), "unknown")
            assert read_record(shared[1], read_signer()) == dict.fromkeys(range(1, COUNT + 1), 1)
            stub.set_faults()
            asked = [Sent(it.message_id, it.batch_id, it.address, began) for it in letters]
            never = make_row(channel, 900)
            found = provider.look_up([*asked, Sent(900, 5, never.address, began)])
        assert {m for m, it in found.items() if it and it.result == "accepted"} == set(range(1, COUNT + 1))
        assert not found.get(900)

    def test_nobody_listens(self, stub, monkeypatch, channel, name):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            set_accounts(monkeypatch, f"http://127.0.0.1:{taken.getsockname()[1]}")
            with open_way(channel, name) as provider:
                receipts = hand_over(provider, letters_of(channel, 2))
                with pytest.raises(RetryLater):
                    provider.check()
                assert provider.look_up([Sent(1, 5, "+8613800000001", time.time())]) == {}
        assert {it.result for it in receipts} == {"later"}

    def test_the_account_is_known(self, stub, channel, name):
        with open_way(channel, name) as provider:
            assert provider.check()
        assert stub.fetch_record()["accepted"] == 0

    @pytest.mark.parametrize("status", [401, 403])
    def test_an_account_that_is_refused(self, monkeypatch, channel, name, status):
        with answering(status) as (url, seen):
            set_accounts(monkeypatch, url)
            receipts = []
            with open_way(channel, name) as provider:
                with pytest.raises(AccountRefused) as caught:
                    provider.hand_over(letters_of(channel, 3), OpenGate(), receipts.append)
                with pytest.raises(AccountRefused):
                    provider.check()
        assert not receipts and seen
        assert f"retention_{channel}" in str(caught.value) and "secret" not in str(caught.value)

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_not_followed(self, monkeypatch, channel, name, status):
        with answering(200) as (elsewhere, followed), answering(status, Location=f"{elsewhere}/x") as (url, seen):
            set_accounts(monkeypatch, url)
            receipts = []
            with open_way(channel, name) as provider:
                try:
                    provider.hand_over(letters_of(channel, 1), OpenGate(), receipts.append)
                except AccountRefused:
                    assert not receipts
            assert len(seen) == 1 and not followed
            assert not any(it.result == "accepted" for it in receipts)

    @pytest.mark.parametrize(
        "body", [b"", b"\xff\x00", b"[]", b"{", b'{"refused": 1, "sid": []}', b"<html>" + b"x" * 5000]
    )
    @pytest.mark.parametrize("status", [200, 204, 299, 400, 409, 418, 500])
    def test_an_odd_answer_is_no_exception(self, monkeypatch, channel, name, status, body):
        with answering(status, body=body if status != 204 else b"") as (url, _):
            set_accounts(monkeypatch, url)
            receipts = []
            with open_way(channel, name) as provider:
                try:
                    provider.hand_over(letters_of(channel, 2), OpenGate(), receipts.append)
                except AccountRefused:
                    # Nobody was accepted; or a success that is not the provider's own: in doubt, and the end.
                    assert not receipts if status >= 400 else {it.result for it in receipts} == {"unknown"}
                else:
                    assert {it.message_id for it in receipts} == {1, 2}
                provider.look_up([Sent(1, 5, "+8613800000001", time.time())])

    def test_nothing_private_is_said(self, stub, channel, name, caplog, capfd):
        stub.set_faults(seed=1, **dict.fromkeys(["status_500", "accept_then_cut"], 0.4))
        letters = letters_of(channel)
        with caplog.at_level("DEBUG"), open_way(channel, name) as provider:
            receipts = hand_over(provider, letters)
        private = {it.address for it in letters} | {"王小明", "ABCDEFGH23", "secret"}
        said = caplog.text + "".join(capfd.readouterr()) + repr(letters) + repr(provider) + "".join(map(str, receipts))
        assert not [it for it in private if it in said]


@contextmanager
def answering(status, body=b"{}", **headers):
    """A server that says the same to everybody; its address, and what it was asked."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer()

        def do_GET(self):
            seen.append((self.path, dict(self.headers), b""))
            self.answer()

        def answer(self):
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
