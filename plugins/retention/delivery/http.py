"""HTTP as delivery needs it: many requests at once over kept connections, and the truth about what became of each.

What matters about a request that failed is whether the provider can have acted on it. libcurl reads a body piece by
piece from us, so we know whether it was written whole: before that, nobody can have acted on it; after that, without an
answer, it is in doubt. libcurl repeats a request by itself when a kept connection dies without a byte of answer, though
the provider may have acted on it: our bodies can't be rewound, so that such a repeat fails instead.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import certifi
import pycurl

from retention.errors import DeliveryError

CONNECT_TIMEOUT_S = 10

LATE_S = 0.02
"""How late a request may begin in its turn."""

MAX_BODY_BYTES = 1_000_000
"""How much of an answer is read: no provider's is longer, and what follows could be without end."""

_NEVER_WRITTEN = frozenset(
    (
        pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_RESOLVE_PROXY, pycurl.E_COULDNT_CONNECT,
        pycurl.E_SSL_CONNECT_ERROR, pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_URL_MALFORMAT,
    )
)  # fmt: skip
"""libcurl's errors from before the first byte of a request."""


@dataclass(frozen=True)
class Request:
    """What goes out. `what` is the sender's own: it comes back beside the answer. `headers` that tell the time are made
    when it begins."""

    url: str
    headers: tuple[str, ...] | Callable[[], tuple[str, ...]]
    body: bytes = b""
    what: Any = None
    method: Literal["GET", "POST"] = "POST"


@dataclass(frozen=True)
class Answer:
    """What came back.

    `fate`: "answered" (status, headers with names in lower case, body); "unsent": certainly not acted on; "in_doubt":
    written whole, and no answer came. `error` says why, in words without data.
    """

    fate: Literal["answered", "unsent", "in_doubt"]
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str = ""


@dataclass(frozen=True)
class Turn:
    """Leave to begin `count` requests from `starts_at` (monotonic seconds) on, `spacing_s` apart.

    With `count` 0: ask again at `starts_at`, or never (`is_end`)."""

    count: int
    starts_at: float = 0.0
    spacing_s: float = 0.0
    is_end: bool = False


class _Exchange:
    """One request on one handle."""

    __slots__ = ("chunks", "headers", "is_full", "is_head_whole", "received", "request", "sent")

    def __init__(self, request: Request):
        self.request, self.sent, self.headers, self.chunks, self.received = request, 0, {}, [], 0
        self.is_head_whole = self.is_full = False

    def read(self, size: int) -> bytes:
        piece = self.request.body[self.sent : self.sent + size]
        self.sent += len(piece)
        return piece

    def note_header(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        if line.startswith(b"HTTP/") or not line.strip():
            self.is_head_whole = not line.strip()  # the empty line below it; an answer cut off before says nothing
        if colon:
            self.headers[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")

    def note_body(self, piece: bytes) -> int:
        self.received += len(piece)
        if self.received > MAX_BODY_BYTES:
            self.is_full = True
            return 0  # libcurl ends it
        self.chunks.append(piece)
        return len(piece)

    def is_written(self) -> bool:
        return self.request.method != "POST" or self.sent >= len(self.request.body)


class Client:
    """Keeps connections to one provider. Not shared between threads; `close` it."""

    def __init__(self, *, at_once: int, timeout_s: float):
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, at_once)
        self._timeout_s = timeout_s
        self._has_written = False
        self._idle = [self._make_handle() for _ in range(at_once)]

    def _make_handle(self) -> pycurl.Curl:
        handle = pycurl.Curl()
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        handle.setopt(pycurl.CAINFO, certifi.where())
        handle.setopt(pycurl.CONNECTTIMEOUT, CONNECT_TIMEOUT_S)
        handle.setopt(pycurl.TIMEOUT_MS, int(self._timeout_s * 1000))
        handle.setopt(pycurl.TCP_NODELAY, 1)
        # Providers close what is idle for about a minute; a request on such a connection would be in doubt.
        handle.setopt(pycurl.MAXAGE_CONN, 30)
        if os.environ.get("RETENTION_LOOPBACK_ONLY"):
            handle.setopt(pycurl.PROXY, "")
            handle.setopt(pycurl.OPENSOCKETFUNCTION, _open_loopback)
        return handle

    def exchange(
        self,
        requests: Sequence[Request],
        on_answer: Callable[[Request, Answer], Sequence[Request]],
        ask_turn: Callable[[int], Turn] = Turn,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> list[Request]:
        """Send all requests, as many at once as there are handles; those for which there was no turn come back unsent.

        `on_answer` is called for each answer as it comes and may give more requests. `ask_turn` is asked for leave for
        up to so many requests, again and again; leave for none ends the sending, and what is under way is waited for.
        `may_begin` is asked before each request; its no is the same end. An error of theirs comes out as it is:
        `has_written` tells whether anything had gone out by then.
        """
        waiting, turn, granted = deque(requests), Turn(0), 0
        under_way: dict[pycurl.Curl, _Exchange] = {}
        is_open, self._has_written = True, False
        try:
            while under_way or (waiting and is_open):
                pause = 1.0
                while waiting and is_open and self._idle:
                    begin_at = turn.starts_at + (turn.count - granted) * turn.spacing_s
                    now = time.monotonic()
                    if begin_at > now:
                        pause = begin_at - now
                        break
                    if granted:
                        granted -= 1
                        # A moment that was missed is gone: making up for it would be too fast for somebody's rate.
                        if not turn.spacing_s or now - begin_at <= max(turn.spacing_s, LATE_S):
                            is_open = may_begin()
                            if is_open:
                                self._begin(waiting.popleft(), under_way)
                    else:
                        turn = ask_turn(len(waiting))
                        granted, is_open = turn.count, not turn.is_end
                if under_way:
                    self._perform()
                    for request, answer in self._collect(under_way):
                        waiting.extend(on_answer(request, answer))
                    if under_way:
                        self._multi.select(min(pause, 1.0))
                elif waiting and is_open:
                    time.sleep(min(pause, 1.0))
        except BaseException:
            # What is under way is lost sight of: its connections must not be used again.
            self._has_written = self._has_written or any(it.sent for it in under_way.values())
            for handle in under_way:
                self._multi.remove_handle(handle)
                handle.close()
                self._idle.append(self._make_handle())
            raise
        return list(waiting)

    def fetch(self, request: Request) -> Answer:
        """One request, by itself."""
        answers: list[Answer] = []
        self.exchange([request], lambda _, answer: answers.append(answer) or ())
        return answers[0]

    @property
    def has_written(self) -> bool:
        """Whether anything of a body went out in the exchange that is under way, or in the last one."""
        return self._has_written

    def close(self) -> None:
        """Close every connection."""
        for handle in self._idle:
            handle.close()
        self._idle.clear()
        self._multi.close()

    def _begin(self, request: Request, under_way: dict[pycurl.Curl, _Exchange]) -> None:
        it = _Exchange(request)
        headers = request.headers() if callable(request.headers) else request.headers
        handle = self._idle.pop()
        try:
            handle.setopt(pycurl.URL, request.url)
            # No "Expect: 100-continue": it costs a round trip, and a body is written once anyway.
            handle.setopt(pycurl.HTTPHEADER, [*headers, "Expect:"])
        except (UnicodeError, TypeError, ValueError, pycurl.error):
            self._idle.append(handle)
            # Neither they nor what is wrong with them are shown: keys stand in headers.
            raise DeliveryError(
                f"{name_host(request.url)}: a request's address or headers can't be written. Look at the Connection."
            ) from None
        if request.method == "POST":
            handle.setopt(pycurl.POST, 1)
            handle.setopt(pycurl.POSTFIELDSIZE_LARGE, len(request.body))
            handle.setopt(pycurl.READFUNCTION, it.read)
        else:
            handle.setopt(pycurl.HTTPGET, 1)
        handle.setopt(pycurl.HEADERFUNCTION, it.note_header)
        handle.setopt(pycurl.WRITEFUNCTION, it.note_body)
        self._multi.add_handle(handle)
        under_way[handle] = it

    def _perform(self) -> None:
        while self._multi.perform()[0] == pycurl.E_CALL_MULTI_PERFORM:
            pass

    def _collect(self, under_way: dict[pycurl.Curl, _Exchange]) -> list[tuple[Request, Answer]]:
        found = []
        more = True
        while more:
            more, succeeded, failed = self._multi.info_read()
            for handle in succeeded:
                it = under_way.pop(handle)
                status = handle.getinfo(pycurl.RESPONSE_CODE)
                answer = Answer("answered", status, it.headers, b"".join(it.chunks))
                cut = Answer("in_doubt", error=f"answer of {name_host(it.request.url)} cut off")
                found.append((it.request, answer if it.is_head_whole else cut))
                self._has_written = True
                self._multi.remove_handle(handle)
                self._idle.append(handle)
            for handle, code, _ in failed:
                it = under_way.pop(handle)
                if it.is_full and it.is_head_whole:
                    status = handle.getinfo(pycurl.RESPONSE_CODE)
                    found.append((it.request, Answer("answered", status, it.headers, b"".join(it.chunks))))
                else:
                    found.append((it.request, _explain(it, code)))
                self._has_written = self._has_written or it.sent > 0
                self._multi.remove_handle(handle)
                self._idle.append(handle)
        return found


def _explain(it: _Exchange, code: int) -> Answer:
    host = name_host(it.request.url)
    error = f"no answer from {host} (libcurl {code})"
    if code in _NEVER_WRITTEN:
        return Answer("unsent", error=f"no connection to {host} (libcurl {code})")
    return Answer("in_doubt" if it.is_written() else "unsent", error=error)


def name_host(url: str) -> str:
    """The host of an address, with its port, and nothing else of it."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or "no host"
    except ValueError:
        return "no host"


def _open_loopback(purpose: int, address: Any) -> Any:
    """A socket for addresses of this machine, none for others: RETENTION_LOOPBACK_ONLY, for tests and benchmarks."""
    family, kind, protocol, place = address
    if family in (socket.AF_INET, socket.AF_INET6) and not ipaddress.ip_address(_host_of(place)).is_loopback:
        return pycurl.SOCKET_BAD
    return socket.socket(family, kind, protocol)


def _host_of(place: Any) -> str:
    host = place[0] if isinstance(place, tuple) else place
    return host.decode() if isinstance(host, bytes) else str(host)
