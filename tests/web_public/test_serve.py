"""`retention serve` as a process: killed after an answer it has lost nothing, Ctrl-C leaves nothing running."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retention.delivery.events.interpret import interpret
from tests.delivery.sent import send
from tests.web_public import signing
from tests.web_public.signing import as_sendgrid, as_shop

ROOT = Path(__file__).resolve().parents[2]
CODE = "import sys; sys.path.insert(0, 'plugins'); from retention.cli import main; main()"


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def ask(port, method, path, body=b"", headers=None):
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        conn.request(method, path, body, headers or {})
        answer = conn.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        conn.close()


@contextmanager
def serving(database_url, home, code=CODE, **environment):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "RETENTION_DATABASE_URL": database_url, "RETENTION_HOME": str(home), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if ask(port, "GET", "/health")[0] == 200:
                    break
            except OSError:
                assert process.poll() is None, process.stdout.read()
                time.sleep(0.1)
        yield process, port
    finally:
        process.kill()
        process.wait()


def batch(message_id, size, begin=0):
    now = int(datetime.now(UTC).timestamp())
    events = [
        {"event": "open", "email": "a@example.com", "timestamp": now, "sg_event_id": f"e{begin + n}", "retention_message": str(message_id)}
        for n in range(size)
    ]  # fmt: skip
    body = json.dumps(events).encode()
    return body, as_sendgrid(body, now)


# Interprets nothing, so that what was only stored is what is left; and stores slowly, so that an answer that does not wait
# for it comes too soon.
IDLE = """
import sys; sys.path.insert(0, 'plugins')
import asyncio, time
from retention.cli import main
from retention.web.public import mailroom
async def idle(self):
    await asyncio.Event().wait()
mailroom.Mailroom.interpret_for_ever = idle
store = mailroom.store_arrivals
def store_slowly(*given):
    time.sleep(0.5)
    store(*given)
mailroom.store_arrivals = store_slowly
main()
"""


def test_killed_after_the_answer_nothing_is_lost(engine, world, database_url, tmp_path):
    sent = send(world, "a")
    with serving(database_url, tmp_path, IDLE, **signing.environment()) as (process, port):
        for turn in range(3):
            body, headers = batch(sent["a"], 100, 100 * turn)
            assert ask(port, "POST", "/events/sendgrid", body, headers)[0] == 204
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert world.count("inbox", interpreted_at=None) == 3 and world.count("outcomes") == 0
    assert interpret(engine, datetime.now(UTC)).fresh == 300
    assert world.count("outcomes", kind="opened") == 300


def test_killed_while_it_interprets_the_next_one_goes_on(world, database_url, tmp_path):
    sent = send(world, "a")
    total = 0
    for turn in range(3):
        with serving(database_url, tmp_path, **signing.environment()) as (process, port):
            for _ in range(2):
                body, headers = batch(sent["a"], 2000, total)
                assert ask(port, "POST", "/events/sendgrid", body, headers)[0] == 204
                total += 2000
            time.sleep(0.05 * turn)
            process.send_signal(signal.SIGKILL)
            process.wait()
    with serving(database_url, tmp_path, **signing.environment()):
        deadline = time.monotonic() + 30
        while world.count("inbox", interpreted_at=None) and time.monotonic() < deadline:
            time.sleep(0.1)
    assert world.count("outcomes", kind="opened") == total == 12_000


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_running(database_url, tmp_path, how):
    with serving(database_url, tmp_path, **signing.environment()) as (process, port):
        process.send_signal(how)
        said, _ = process.communicate(timeout=20)
        assert process.returncode == 0
    assert f"Listening on http://127.0.0.1:{port}" in said and "Traceback" not in said
    assert "events of Twilio: verified" in said and signing.TOKEN not in said
    with socket.socket() as it:
        it.bind(("127.0.0.1", port))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_nor_does_an_embedded_postgres_stay(retention, tmp_path, how):
    retention("migrate", RETENTION_DATABASE_URL="")
    with serving("", tmp_path) as (process, port):
        assert ask(port, "GET", "/health")[0] == 200
        process.send_signal(how)
        process.communicate(timeout=30)
        assert process.returncode == 0
    assert not (tmp_path / "postgres" / "data" / "postmaster.pid").exists()


def test_a_port_in_use_is_said(retention):
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        it.listen()
        done = retention("serve", "--port", it.getsockname()[1])
    assert done.returncode == 1 and "can't be listened on" in done.stderr


def test_without_settings_it_runs_and_says_what_is_missing(database_url, tmp_path):
    with serving(database_url, tmp_path) as (process, port):
        assert ask(port, "POST", "/events/shop", b"[]", as_shop(b"[]", 1))[0] == 503
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    assert "events of the shop: not set up" in said and "RETENTION_SHOP_SECRET" in said


RUBBISH = [
    b"\x00\x01\x02\r\n\r\n",
    b"POST /events/sendgrid HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    b"POST /events/sendgrid HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /events/sendgrid HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /events/sendgrid HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /events/twilio/%ff%fe%00 HTTP/1.1\r\nHost: \xff\xfe\r\nX-Twilio-Signature: \xff\r\nContent-Length: 0\r\n\r\n",
    b"POST //[ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST http://[::1/events/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"POST /events/twilio?%zz=\xff HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
]


def test_rubbish_on_the_wire_is_survived(database_url, tmp_path):
    with serving(database_url, tmp_path, **signing.environment()) as (process, port):
        for rubbish in RUBBISH:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as it:
                it.sendall(rubbish)
                it.shutdown(socket.SHUT_WR)
                answer = b""
                while piece := it.recv(4096):
                    answer += piece
            assert answer[:12] not in (b"HTTP/1.1 500", b"HTTP/1.1 200", b"HTTP/1.1 204"), rubbish[:60]
        assert ask(port, "GET", "/health")[0] == 200
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    assert "Traceback" not in said
