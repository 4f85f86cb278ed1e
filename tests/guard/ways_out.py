"""Ways in which a process could reach another machine, and what comes of trying them: test_guard, here and in children.

Run as a program, it tries those that it is given and prints what came of each as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

V4 = "192.0.2.1"  # TEST-NET-1: nobody has it
V6 = "2001:db8::1"
MAPPED = "::ffff:192.0.2.1"
NAME = "example.com"

WAYS: dict[str, Callable[[], Any]] = {}


def way(call: Callable[[], Any]) -> Callable[[], Any]:
    WAYS[call.__name__] = call
    return call


def try_way(name: str) -> dict[str, Any]:
    """What came of it: how often the guard refused, in which error it ended, after how many seconds."""
    import loopback_guard

    before, started = len(loopback_guard.refusals), time.monotonic()
    try:
        WAYS[name]()
        error = ""
    except Exception as it:  # noqa: BLE001
        error = f"{type(it).__name__}: {it}"
    return {
        "way": name,
        "refusals": len(loopback_guard.refusals) - before,
        "error": error,
        "seconds": time.monotonic() - started,
    }


@contextmanager
def _variable(name: str, value: str):
    """Set for libraries in C too."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _tcp(family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.settimeout(1)
    return made


def _udp(family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    return socket.socket(family, socket.SOCK_DGRAM)


# Python's own sockets.


@way
def connect():
    _tcp().connect((V4, 80))


@way
def connect_v6():
    _tcp(socket.AF_INET6).connect((V6, 80))


@way
def connect_mapped():
    _tcp(socket.AF_INET6).connect((MAPPED, 80))


@way
def connect_by_name():
    _tcp().connect((NAME, 80))


@way
def connect_ex():
    return _tcp().connect_ex((V4, 80))


@way
def connect_underneath():
    import _socket

    made = _socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.settimeout(1)
    made.connect((V4, 80))


@way
def connect_tls():
    context = ssl.create_default_context()
    context.wrap_socket(_tcp(), server_hostname=V4).connect((V4, 443))


@way
def create_connection():
    socket.create_connection((NAME, 80), timeout=1)


@way
def connect_udp():
    _udp().connect((V4, 9))


@way
def sendto():
    _udp().sendto(b"x", (V4, 9))


@way
def sendto_v6():
    _udp(socket.AF_INET6).sendto(b"x", 0, (V6, 9))


@way
def sendto_by_name():
    _udp().sendto(b"x", (NAME, 9))


@way
def sendmsg():
    _udp().sendmsg([b"x"], [], 0, (V4, 9))


@way
def broadcast():
    made = _udp()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    made.sendto(b"x", ("<broadcast>", 9))


@way
def resolver_of_this_machine():
    _udp().sendto(b"x", ("127.0.0.53", 53))


@way
def getaddrinfo():
    socket.getaddrinfo(NAME, 80)


@way
def gethostbyname():
    socket.gethostbyname(NAME)


@way
def gethostbyname_ex():
    socket.gethostbyname_ex(NAME)


@way
def gethostbyaddr():
    socket.gethostbyaddr(V4)


@way
def getnameinfo():
    socket.getnameinfo((V4, 80), 0)


@way
def dnspython():
    import dns.message
    import dns.query

    dns.query.udp(dns.message.make_query(NAME, "MX"), V4, timeout=1)


# HTTP, mail.


@way
def urllib():
    import urllib.request

    urllib.request.urlopen(f"http://{V4}/", timeout=1)


@way
def urllib_by_proxy():
    import urllib.request

    with _variable("http_proxy", f"http://{V4}:3128"):
        urllib.request.urlopen(f"http://{NAME}/", timeout=1)


@way
def requests():
    import requests

    requests.get(f"https://{NAME}/", timeout=1)


@way
def httpx():
    import httpx

    httpx.get(f"http://{V4}/", timeout=1)


@way
def aiohttp():
    import aiohttp

    async def get():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(1)) as session:
            await session.get(f"http://{NAME}/")

    asyncio.run(get())


@way
def smtplib():
    import smtplib

    smtplib.SMTP(V4, 25, local_hostname="here", timeout=1)


@way
def twilio():
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    client = Client("AC" + "a" * 32, "secret", http_client=TwilioHttpClient(timeout=1))
    client.messages.create(to="+15005550006", from_="+15005550006", body="x")


@way
def sendgrid():
    import sendgrid

    sendgrid.SendGridAPIClient("SG.x").client.scopes.get(timeout=1)


# libcurl.


def _perform(url: str, **options: Any) -> None:
    import pycurl

    handle = _make_handle(url, **options)
    try:
        handle.perform()
    except pycurl.error:
        handle.close()
        raise


def _make_handle(url: str, **options: Any) -> Any:
    import pycurl

    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, url)
    handle.setopt(pycurl.TIMEOUT, 1)
    for name, value in options.items():
        handle.setopt(getattr(pycurl, name), value)
    return handle


def _open_any(purpose: int, address: Any) -> socket.socket:
    return socket.socket(address[0], address[1], address[2])


@way
def curl():
    _perform(f"http://{V4}/")


@way
def curl_v6():
    _perform(f"http://[{V6}]/")


@way
def curl_by_name():
    _perform(f"https://{NAME}/")


@way
def curl_by_proxy():
    _perform("http://127.0.0.1:9/", PROXY=f"http://{V4}:3128", NOPROXY="")


@way
def curl_by_named_proxy():
    _perform("http://127.0.0.1:9/", PROXY=f"http://{NAME}:3128", NOPROXY="")


@way
def curl_by_proxy_of_the_environment():
    # Refused for the name: the proxy is not so much as asked.
    with _variable("http_proxy", f"http://{V4}:3128"):
        _perform(f"http://{NAME}/")


@way
def curl_by_socks():
    _perform("http://127.0.0.1:9/", PROXY=f"socks5h://{V4}:1080", NOPROXY="")


@way
def curl_with_an_opener_of_its_own():
    _perform(f"http://{V4}/", OPENSOCKETFUNCTION=_open_any)


@way
def curl_with_its_opener_taken_away():
    import pycurl

    handle = _make_handle(f"http://{V4}/")
    handle.unsetopt(pycurl.OPENSOCKETFUNCTION)
    handle.perform()


@way
def curl_reset():
    import pycurl

    handle = _make_handle("http://127.0.0.1:9/")
    handle.reset()
    handle.setopt(pycurl.TIMEOUT, 1)
    handle.setopt(pycurl.URL, f"http://{V4}/")
    handle.perform()


@way
def curl_duplicated():
    _make_handle(f"http://{NAME}/", OPENSOCKETFUNCTION=_open_any).duphandle().perform()


@way
def curl_subclassed():
    import pycurl

    class Own(pycurl.Curl):
        def __init__(self):
            pass

    handle = Own()
    handle.setopt(pycurl.TIMEOUT, 1)
    handle.setopt(pycurl.URL, f"http://{V4}/")
    handle.perform()


@way
def curl_told_an_address():
    _perform(f"http://{NAME}/", RESOLVE=[f"{NAME}:80:{V4}"])


@way
def curl_led_elsewhere():
    _perform("http://127.0.0.1:9/", CONNECT_TO=[f"::{V4}:80"])


@way
def curl_redirected():
    _perform("http://127.0.0.1:9/", FOLLOWLOCATION=1)


@way
def curl_multi():
    import pycurl

    multi, handle = pycurl.CurlMulti(), _make_handle(f"http://{V4}/")
    multi.add_handle(handle)
    running = 1
    while running:
        _, running = multi.perform()
        multi.select(0.1)
    _, _, failed = multi.info_read()
    raise pycurl.error(*failed[0][1:])


# Event loops.


async def _open_stream(host: str) -> None:
    await asyncio.wait_for(asyncio.open_connection(host, 80), 1)


async def _send_datagram(host: str) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, 9))
    transport.sendto(b"x")


async def _send_unconnected() -> None:
    loop = asyncio.get_running_loop()
    seen: list[BaseException] = []
    loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("0.0.0.0", 0))
    transport.sendto(b"x", (V4, 9))
    raise seen[0]


async def _send_by_a_socket() -> None:
    loop = asyncio.get_running_loop()
    seen: list[BaseException] = []
    loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.bind(("0.0.0.0", 0))
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=made)
    transport.sendto(b"x", (V4, 9))
    raise seen[0]


async def _connect_socket(host: str) -> None:
    made = socket.socket()
    made.setblocking(False)
    await asyncio.wait_for(asyncio.get_running_loop().sock_connect(made, (host, 80)), 1)


async def _look_up() -> None:
    await asyncio.get_running_loop().getaddrinfo(NAME, 80)


async def _look_back() -> None:
    await asyncio.get_running_loop().getnameinfo((V4, 80))


def _each_loop(name: str, start: Callable[[], Any]) -> None:
    def with_uvloop() -> None:
        import uvloop

        uvloop.run(start())

    WAYS[f"asyncio_{name}"] = lambda: asyncio.run(start())
    WAYS[f"uvloop_{name}"] = with_uvloop


_each_loop("stream", lambda: _open_stream(V4))
_each_loop("stream_v6", lambda: _open_stream(V6))
_each_loop("stream_by_name", lambda: _open_stream(NAME))
_each_loop("datagram", lambda: _send_datagram(V4))
_each_loop("datagram_unconnected", _send_unconnected)
_each_loop("datagram_by_a_socket", _send_by_a_socket)
_each_loop("sock_connect", lambda: _connect_socket(V4))
_each_loop("sock_connect_by_name", lambda: _connect_socket(NAME))
_each_loop("getaddrinfo", _look_up)
_each_loop("getnameinfo", _look_back)


# Databases.


@way
def psycopg():
    import psycopg

    psycopg.connect(host=V4, connect_timeout=2)


@way
def psycopg_by_name():
    import psycopg

    psycopg.connect(f"postgresql://127.0.0.1,{NAME}:9/x?connect_timeout=2")


@way
def psycopg_hostaddr():
    import psycopg

    psycopg.connect(f"host=localhost hostaddr={V4} connect_timeout=2")


@way
def psycopg_by_environment():
    import psycopg

    with _variable("PGHOST", V4):
        psycopg.connect(connect_timeout=2)


@way
def psycopg_by_service():
    import psycopg

    psycopg.connect("service=elsewhere")


@way
def psycopg_async():
    import psycopg

    asyncio.run(psycopg.AsyncConnection.connect(host=V4, connect_timeout=2))


@way
def psycopg2():
    import psycopg2

    psycopg2.connect(host=V4, connect_timeout=2)


@way
def psycopg2_by_name():
    import psycopg2

    psycopg2.connect(f"postgresql://{NAME}/x?connect_timeout=2")


@way
def asyncpg():
    import asyncpg

    asyncio.run(asyncpg.connect(host=V4, user="x", timeout=1))


@way
def sqlalchemy():
    from sqlalchemy import create_engine

    create_engine(f"postgresql+psycopg://x@{V4}/x?connect_timeout=2").connect()


@way
def sqlalchemy_psycopg2():
    from sqlalchemy import create_engine

    create_engine(f"postgresql+psycopg2://x@{NAME}/x?connect_timeout=2").connect()


def put_all(results: Any, names: list[str]) -> None:
    """For a process of multiprocessing: what came of each goes into the queue."""
    results.put([try_way(name) for name in names])


if __name__ == "__main__":
    print(json.dumps([try_way(name) for name in sys.argv[1:]]))
