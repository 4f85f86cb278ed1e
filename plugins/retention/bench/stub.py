"""A local stand-in of SendGrid, Twilio and a company's own gateway, fast, honest, and able to misbehave on command. Listens on 127.0.0.1 only.

Owns the command and the process: `python -m retention.bench.stub --port 0` prints {"port": 12345} and serves until it is
told to stop; `start_stub` does this from Python. Sends nothing to anybody. What it can be told while it runs:
GET /_record (see stub_book), POST /_faults (see stub_faults), POST /_clear.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import orjson
import uvloop

from retention.bench.stub_book import Book, set_clock
from retention.bench.stub_wire import Connection, Desk

_PLUGINS = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True)
class Stub:
    """A stand-in that runs in a process of its own."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fetch_record(self) -> dict[str, Any]:
        """What came so far: requests, accepted, by_status, duplicates, emails, sms, whatsapp, webhook, bytes,
        rate_limited, first_at, last_at, faults. See Book.summarize."""
        return self._ask("GET", "/_record")

    def set_faults(self, **weights: float) -> None:
        """Replace all: a probability each, `delay_ms`, `seed`. Without any: behave. Raises ValueError for a wrong one."""
        self._ask("POST", "/_faults", orjson.dumps(weights))

    def clear(self) -> None:
        """Forget what came. Faults and the record file stay."""
        self._ask("POST", "/_clear")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        line = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            line.request(method, path, body)
            answer = line.getresponse()
            said = orjson.loads(answer.read())
        finally:
            line.close()
        if answer.status != 200:
            raise ValueError(said.get("error") or said)
        return said


@contextmanager
def start_stub(
    record: Path | None = None,
    rate: float | None = None,
    *,
    is_counting_repeats: bool = False,
    at: datetime | None = None,
) -> Iterator[Stub]:
    """Run one, and stop it at the end; it also stops by itself when this process dies. `at`: its clock begins there."""
    command = [sys.executable, "-m", "retention.bench.stub", "--port", "0", "--until-eof"]
    command += ["--record", str(record)] if record else []
    command += ["--rate", str(rate)] if rate else []
    command += ["--count-duplicates"] if is_counting_repeats else []
    command += ["--at", str(at.timestamp())] if at else []
    path = os.pathsep.join(filter(None, (_PLUGINS, os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    assert process.stdin and process.stdout
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the stand-in did not start (exit {process.wait()})")
        yield Stub(orjson.loads(line)["port"], process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdin.close()
        process.stdout.close()


async def serve(
    port: int, record: Path | None, rate: float | None, *, is_counting_repeats: bool, is_until_eof: bool
) -> None:
    """Say the port, and serve until SIGTERM or SIGINT, or until nobody holds the other end of our input."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    desk = Desk(Book(record, is_counting_repeats=is_counting_repeats), rate)
    server = await loop.create_server(lambda: Connection(desk), "127.0.0.1", port, backlog=4096)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, done.set)
    if is_until_eof:
        loop.add_reader(0, lambda: os.read(0, 4096) or done.set())
    # What is remembered makes no circles, and walking through a million of it again and again would be the slowest part.
    gc.freeze()
    gc.set_threshold(200_000, 50, 1000)
    sys.stdout.write(orjson.dumps({"port": server.sockets[0].getsockname()[1]}).decode() + "\n")
    sys.stdout.flush()
    await done.wait()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m retention.bench.stub", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--record", type=Path, help="append every accepted message to this file, as a line of JSON")
    parser.add_argument("--rate", type=float, help="accepted SMS, and requests of e-mail, in any second at most")
    parser.add_argument("--count-duplicates", action="store_true", help="count repeats without a record, too")
    parser.add_argument("--at", type=float, help="its clock begins at this time, in seconds since 1970 (now)")
    parser.add_argument("--until-eof", action="store_true", help="stop when the standard input ends")
    given = parser.parse_args(arguments)
    if given.at is not None:
        set_clock(given.at)
    uvloop.run(
        serve(
            given.port, given.record, given.rate,
            is_counting_repeats=given.count_duplicates, is_until_eof=given.until_eof,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
