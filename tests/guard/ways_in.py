"""Ways in which tests reach this machine: test_guard, here and in children. `python ways_in.py http://127.0.0.1:8000/`."""

from __future__ import annotations

import asyncio
import io
import socket
import sys
import urllib.request


def reach(site: str) -> None:
    """Fetch "here" from the site in every way; raises where one is shut."""
    import httpx
    import requests
    import uvloop

    port = int(site.rstrip("/").rpartition(":")[2])
    for address in (site, site.replace("127.0.0.1", "localhost")):
        with urllib.request.urlopen(address) as answer:
            assert answer.read() == requests.get(address).content == httpx.get(address).content == b"here"
        assert _curl(address) == b"here"
    for host in ("127.0.0.1", "localhost"):
        assert asyncio.run(_stream(host, port)) == uvloop.run(_stream(host, port)) == b"here"
    _send_datagrams()
    # What servers and Airflow ask of their own machine.
    assert socket.getfqdn()
    assert socket.getaddrinfo(None, 80)
    assert socket.getaddrinfo("0.0.0.0", 80)


def _curl(address: str) -> bytes:
    import pycurl

    into = io.BytesIO()
    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, address)
    handle.setopt(pycurl.WRITEDATA, into)
    handle.perform()
    return into.getvalue()


async def _stream(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    said = await reader.read()
    writer.close()
    return said[-4:]


def _send_datagrams() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        one.bind(("127.0.0.1", 0))
        other.sendto(b"x", one.getsockname())
        other.connect(one.getsockname())
        other.sendmsg([b"y"])
        assert one.recv(1) + one.recv(1) == b"xy"


if __name__ == "__main__":
    reach(sys.argv[1])
