"""`retention serve`: the app that providers report to and whose pages customers open. And what it has understood."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from retention.cli.shared import AsJson, app, fail, open_store, read_clock
from retention.console import dump, say, table


@app.command()
def serve(
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The port to listen on.")] = 8090,
) -> None:
    """Receive events of providers and the shop, and show customers their pages, until Ctrl-C. Needs no Airflow."""
    import logging
    import os
    import signal
    import socket
    import sys

    import uvicorn

    from retention.delivery.choose import read_public_url
    from retention.delivery.events.sources import read_sources
    from retention.delivery.tokens import read_signer
    from retention.web.public.app import make_app
    from retention.web.public.pages import routes

    sources = read_sources()
    public_url = read_public_url() if os.environ.get("RETENTION_PUBLIC_URL") else None
    signer = read_signer() if os.environ.get("RETENTION_SIGNING_KEY") else None
    engine = open_store()
    pages = routes(engine, signer, clock=read_clock) if signer else []
    made = make_app(engine, sources=sources, public_url=public_url, signer=signer, clock=read_clock, pages=pages)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        fail(f"--port: {host}:{port} can't be listened on ({error.strerror}). Choose another with --port.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    say(f"Listening on http://{host}:{port} (Ctrl-C ends it).")
    for name, is_there in {"SendGrid": sources.sendgrid, "Twilio": sources.twilio, "the shop": sources.shop}.items():
        say(f"  events of {name}: {'verified' if is_there else 'not set up, answered with 503 (docs/events.md)'}")
    say(f"  pages of customers: {'there' if signer else 'none without RETENTION_SIGNING_KEY'}")
    # No log of requests: their addresses hold the tokens of people's pages.
    config = uvicorn.Config(
        made,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=200,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
    )
    # The server hands a signal on once it has ended: we go out by the door then, so that an embedded Postgres ends, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        listener.close()
        engine.dispose()


@app.command()
def events(
    interpret: Annotated[
        bool, typer.Option("--interpret", help="Understand now what waits, without `retention serve`.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Understand anew what was odd, after a kind of event was added, say.")
    ] = False,
    days: Annotated[int, typer.Option("--days", min=1, help="Show odd events of so many days.")] = 7,
    as_json: AsJson = False,
) -> None:
    """What came back: how much waits to be understood, and which events became nothing, and why."""
    from dataclasses import asdict

    from retention.delivery.events.inbox import look_at_inbox
    from retention.delivery.events.interpret import interpret as understand
    from retention.delivery.events.interpret import reopen

    engine = open_store()
    reopened = reopen(engine) if again else 0
    done = understand(engine, read_clock()) if interpret or again else None
    with engine.connect() as conn:
        standing = look_at_inbox(conn, since=read_clock() - timedelta(days=days))
    if as_json:
        dump({**standing._asdict(), "reopened": reopened, "interpreted": asdict(done) if done else None})
        return
    if done:
        say(
            f"{done.requests} requests interpreted: {done.events} events, {done.fresh} new, {done.odd} odd, "
            f"{done.failed} failed."
        )
    since = f" since {standing.oldest.isoformat(timespec='minutes')}" if standing.oldest else ""
    say(f"{standing.waiting} requests wait{since}; {standing.failing} of them failed before.")
    if standing.odd:
        rows = [(it["source"], it["word"] or "", it["reason"], it["events"], it["inbox_id"]) for it in standing.odd]
        say(table(["source", "its word", "odd because", "events", "newest request"], rows))
