"""HTTP/1.1 for the stand-in: a connection, its answers in order, and the faults done to it. Knows no endpoint's rules."""

from __future__ import annotations

import asyncio
import re
import socket
from collections import deque
from http import HTTPStatus
from urllib.parse import parse_qsl

import httptools
import orjson

from retention.bench.stub_book import Book
from retention.bench.stub_faults import AFTER, BEFORE, Faults
from retention.bench.stub_gateway import PATH, STATUS_PATH, Gateway
from retention.bench.stub_reply import JSON, Reply
from retention.bench.stub_sendgrid import SendGrid
from retention.bench.stub_twilio import Twilio, refuse

MAX_BODY = 30_000_000
LOOK_EVERY_S = 0.5
_LEFT = frozenset((7, 8))
"""TCP states CLOSE and CLOSE_WAIT (netinet/tcp.h): the client is gone."""

_MESSAGES = re.compile(r"/2010-04-01/Accounts/([^/]+)/Messages\.json")
_ACCOUNT = re.compile(r"/2010-04-01/Accounts/([^/]+)\.json")
_LINES = {it.value: b"HTTP/1.1 %d %b\r\n" % (it.value, it.phrase.encode()) for it in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Desk:
    """All that connections share: the endpoints, the book and the faults."""

    def __init__(self, book: Book, rate: float | None):
        self.book, self.faults = book, Faults()
        self.sendgrid, self.twilio, self.gateway = SendGrid(book, rate), Twilio(book, rate), Gateway(book, rate)
        self.takers = {"/v3/mail/send": self.sendgrid, PATH: self.gateway}

    def answer_get(self, path: str, headers: dict[bytes, bytes], asked: str) -> Reply:
        if path == STATUS_PATH:
            return self.gateway.tell_status(headers, asked)
        query = dict(parse_qsl(asked, keep_blank_values=True))
        if path == "/_record":
            return Reply(200, orjson.dumps(self.book.summarize()), JSON)
        if path == "/v3/scopes":
            return self.sendgrid.list_scopes(headers)
        if path == "/v3/messages":
            return self.sendgrid.list_messages(headers, query)
        if match := _MESSAGES.fullmatch(path):
            return self.twilio.list_messages(match[1], headers, query)
        if match := _ACCOUNT.fullmatch(path):
            return self.twilio.show_account(match[1], headers)
        return refuse(404, 20404, "The requested resource was not found")

    def answer_control(self, path: str, body: bytes) -> Reply:
        if path == "/_clear":
            self.book.clear()
            return Reply(200, b"{}", JSON)
        if path == "/_faults":
            try:
                weights = orjson.loads(body or b"{}")
            except orjson.JSONDecodeError as fault:
                return Reply(400, orjson.dumps({"error": str(fault)}), JSON)
            error = self.faults.set(weights) if isinstance(weights, dict) else "weights are a mapping"
            return Reply(400, orjson.dumps({"error": error}), JSON) if error else Reply(200, b"{}", JSON)
        return refuse(404, 20404, "The requested resource was not found")


class Connection(asyncio.Protocol):
    """One client. Requests are dealt with as they come; answers wait in a row where a delay is set."""

    def __init__(self, desk: Desk):
        self._desk, self._loop = desk, asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._row: deque[tuple[bytes, bool]] = deque()
        self._is_deaf = False
        self._start()

    def _start(self) -> None:
        self._url, self._headers, self._parts, self._size = b"", {}, [], 0
        self._path, self._account = "", ""
        self._taker: SendGrid | Twilio | Gateway | None = None
        self._fault: str | None = None
        self._cut_at: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_deaf = True
        self._parser = None  # it holds us, we hold it

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end(b"")
        except httptools.HttpParserError:
            if not self._is_deaf:
                self._end(_write(Reply(400), is_last=True))

    # What the parser tells.

    def on_message_begin(self) -> None:
        self._start()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._is_deaf:
            return
        book, faults = self._desk.book, self._desk.faults
        self._path, _, self._query = self._url.decode("ascii", "replace").partition("?")
        if self._parser.get_method() == b"POST":
            match = _MESSAGES.fullmatch(self._path)
            self._account = match[1] if match else ""
            self._taker = self._desk.twilio if match else self._desk.takers.get(self._path)
        if self._taker:
            book.note_request()
            self._fault = faults.draw()
            if self._fault in BEFORE:
                return self._strike_before(self._fault)
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            if self._taker and int(self._headers.get(b"content-length", b"0")) > MAX_BODY:
                self._end(_write(self._taker.say_too_large(), is_last=True))
            elif not self._row:
                self._transport.write(_CONTINUE)

    def on_body(self, part: bytes) -> None:
        if self._is_deaf:
            return
        self._size += len(part)
        if self._cut_at is not None and self._size >= self._cut_at:
            return self._end(b"")
        if self._size <= MAX_BODY:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        if self._is_deaf:
            return
        is_last = not self._parser.should_keep_alive()
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        if self._taker:
            self._desk.book.bytes += len(body)
            return self._answer_provider(self._taker, body, is_last)
        method = self._parser.get_method()
        if method == b"GET":
            reply = self._desk.answer_get(self._path, self._headers, self._query)
        elif method == b"POST":
            reply = self._desk.answer_control(self._path, body)
        else:
            reply = refuse(405, 20004, "Method not allowed")
        self._say(reply, is_last, is_control=self._path.startswith("/_"))

    # What we do.

    def _answer_provider(self, taker: SendGrid | Twilio | Gateway, body: bytes, is_last: bool) -> None:
        desk, fault = self._desk, self._fault
        if self._size > MAX_BODY:
            return self._say(taker.say_too_large(), is_last)
        if fault in ("status_500", "status_429"):
            desk.book.faults[fault] += 1
            return self._say(taker.say_broken() if fault == "status_500" else taker.say_too_many(), is_last)
        if isinstance(taker, Twilio):
            reply = taker.send(self._account, self._headers, body)
        else:
            reply = taker.send(self._headers, body)
        if not reply.is_accepted or fault not in AFTER:
            return self._say(reply, is_last)
        desk.book.faults[fault] += 1
        if fault == "accept_then_500":
            return self._say(taker.say_broken(), is_last)
        if fault == "accept_then_hang":
            self._is_deaf = True  # but listening for the client to go
            return None
        text = _write(reply, is_last)
        return self._end(text[: len(text) // 2] if fault == "cut_mid_answer" else b"")

    def _strike_before(self, fault: str) -> None:
        self._desk.book.faults[fault] += 1
        if fault == "hang_before":
            self._is_deaf = True
            self._transport.pause_reading()
            self._loop.call_later(LOOK_EVERY_S, self._look_for_client)
            return
        length = int(self._headers.get(b"content-length", b"0"))
        if length > 1 and self._desk.faults.random.random() < 0.5:
            self._cut_at = length // 2
            if b"expect" in self._headers:
                self._transport.write(_CONTINUE)
        else:
            self._end(b"")

    def _look_for_client(self) -> None:
        """Who does not read isn't told that the other side left."""
        if self._transport.is_closing():
            return
        state = self._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state in _LEFT:
            self._transport.abort()
        else:
            self._loop.call_later(LOOK_EVERY_S, self._look_for_client)

    def _say(self, reply: Reply, is_last: bool, *, is_control: bool = False) -> None:
        if not is_control:
            self._desk.book.by_status[reply.status] += 1
        text = _write(reply, is_last)
        delay = 0 if is_control else self._desk.faults.delay_s
        if is_last:
            self._is_deaf = True
        if not delay and not self._row:
            self._transport.write(text)
            if is_last:
                self._transport.close()
            return
        self._row.append((text, is_last))
        self._loop.call_later(delay, self._say_next)

    def _say_next(self) -> None:
        text, is_last = self._row.popleft()
        if self._transport.is_closing():
            return
        self._transport.write(text)
        if is_last:
            self._transport.close()

    def _end(self, text: bytes) -> None:
        """Say this much, after what waits in the row, and close."""
        self._is_deaf = True
        self._row.append((text, True))
        if len(self._row) == 1:
            self._say_next()
        else:
            self._loop.call_later(self._desk.faults.delay_s, self._say_next)


def _write(reply: Reply, is_last: bool) -> bytes:
    last = b"Connection: close\r\n" if is_last else b""
    return b"%bServer: stub\r\n%b%bContent-Length: %d\r\n\r\n%b" % (
        _LINES[reply.status], reply.headers, last, len(reply.body), reply.body,
    )  # fmt: skip
