"""The client tells the truth about a request that failed: unsent, or in doubt; and never repeats one by itself."""

import re
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from retention.delivery.http import Client, Request, Turn


@contextmanager
def serve(behave):
    """A server of plain sockets: `behave(n)` says what it does with the n-th request of a connection. Gives url, bodies."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(50)
    bodies = []

    def talk(line):
        rest, n = b"", 0
        with line, suppress(OSError):  # who is cut off resets the connection
            while True:
                while b"\r\n\r\n" not in rest:
                    if not (piece := line.recv(65536)):
                        return
                    rest += piece
                head, _, rest = rest.partition(b"\r\n\r\n")
                n += 1
                act = behave(n)
                if act == "cut early":
                    return
                found = re.search(rb"content-length: (\d+)", head, re.I)
                length = int(found[1]) if found else 0
                while len(rest) < length:
                    if not (piece := line.recv(65536)):
                        return
                    rest += piece
                bodies.append(rest[:length])
                rest = rest[length:]
                if act == "cut":
                    return
                if act == "hang":
                    time.sleep(5)
                    return
                answer = b"HTTP/1.1 202 Accepted\r\nX-Message-Id: abc\r\nContent-Length: 2\r\n\r\nok"
                line.sendall(answer[:-1] if act == "half" else answer)
                if act == "half":
                    return

    def accept():
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(line,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", bodies
    finally:
        listener.close()


@pytest.fixture
def client():
    made = Client(at_once=3, timeout_s=0.5)
    yield made
    made.close()


def test_an_answer(client):
    with serve(lambda n: "answer") as (url, bodies):
        answer = client.fetch(Request(url, ("Content-Type: text/plain",), b"hello"))
    assert (answer.fate, answer.status, answer.headers["x-message-id"], answer.body) == ("answered", 202, "abc", b"ok")
    assert bodies == [b"hello"]


def test_a_kept_connection_that_dies_after_it_took_the_request_is_not_repeated(client):
    """libcurl would send it again by itself: the provider may have acted on it."""
    with serve(lambda n: "cut" if n == 3 else "answer") as (url, bodies):
        fates = [client.fetch(Request(url, (), body)).fate for body in (b"a", b"b", b"c", b"d")]
    assert fates == ["answered", "answered", "in_doubt", "answered"]
    assert bodies == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize("act", ["cut", "hang", "half"])
def test_no_answer_to_a_request_that_was_written_is_in_doubt(client, act):
    with serve(lambda n: act) as (url, bodies):
        assert client.fetch(Request(url, (), b"hello")).fate == "in_doubt"
    assert bodies == [b"hello"]


def test_what_was_not_written_whole_is_unsent(client):
    with serve(lambda n: "cut early") as (url, bodies):
        answer = client.fetch(Request(url, (), b"x" * 30_000_000))
    assert answer.fate == "unsent" and bodies == []


def test_nobody_listens(client):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = client.fetch(Request(f"http://127.0.0.1:{taken.getsockname()[1]}/", (), b"hello"))
    assert answer.fate == "unsent" and "no connection" in answer.error


def test_many_at_once_and_more_that_answers_ask_for(client):
    seen = []

    def hear(request, answer):
        seen.append(request.what)
        return [Request(request.url, (), b"again", "more")] if request.what == 3 else ()

    with serve(lambda n: "answer") as (url, bodies):
        assert client.exchange([Request(url, (), b"%d" % n, n) for n in range(20)], hear) == []
    assert sorted(map(str, seen)) == sorted([*map(str, range(20)), "more"]) and len(bodies) == 21


def test_a_turn_is_waited_for_and_its_end_is_the_end(client):
    turns = [Turn(2, time.monotonic() + 0.2, 0.05), Turn(0, time.monotonic() + 0.4), Turn(1), Turn(0, is_end=True)]
    began, at = time.monotonic(), []
    with serve(lambda n: "answer") as (url, bodies):
        left = client.exchange(
            [Request(url, (), b"%d" % n) for n in range(5)],
            lambda request, answer: at.append(time.monotonic() - began) or (),
            lambda count: turns.pop(0),
        )
    assert [request.body for request in left] == [b"3", b"4"] and len(bodies) == 3
    assert at[0] >= 0.2 and at[1] >= 0.25 and at[2] >= 0.4


def test_an_error_in_the_middle_loses_no_connection(client):
    def fail(request, answer):
        raise KeyboardInterrupt

    with serve(lambda n: "answer") as (url, _):
        with pytest.raises(KeyboardInterrupt):
            client.exchange([Request(url, (), b"x")] * 5, fail)
        assert client.fetch(Request(url, (), b"y")).fate == "answered"
        assert len(client._idle) == 3


def test_only_this_machine_is_reached(monkeypatch):
    monkeypatch.setenv("RETENTION_LOOPBACK_ONLY", "1")
    made = Client(at_once=1, timeout_s=2)
    began = time.monotonic()
    assert made.fetch(Request("http://192.0.2.1/", (), b"x")).fate == "unsent"
    assert time.monotonic() - began < 1
    with serve(lambda n: "answer") as (url, _):
        assert made.fetch(Request(url, (), b"x")).fate == "answered"
    made.close()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nServer: x\r\n", b"HTTP/1.1 202 Acc"])
def test_an_answer_cut_off_in_its_head_is_in_doubt(client, head):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            line, _ = server.accept()
            with line:
                line.recv(65536)
                line.sendall(head)

        threading.Thread(target=answer, daemon=True).start()
        said = client.fetch(Request(f"http://127.0.0.1:{server.getsockname()[1]}/", (), b"hello"))
    assert said.fate == "in_doubt"
