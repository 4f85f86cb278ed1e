"""Commands about this machine: its database, a sample store, everything at once."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from retention.cli.shared import AsJson, app, open_store
from retention.console import dump, say


@app.command()
def sample(
    customers: Annotated[int, typer.Option(min=0, help="How many customers.")] = 20000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same store.")] = 7,
    today: Annotated[
        str | None, typer.Option("--date", help="The day on which its history ends; default today.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fill an empty store with a reproducible sample shop: customers, orders, events, consents."""
    from retention.orchestration.sampling import load_sample

    counts = load_sample(open_store(), customers, seed, today, on_progress=(lambda line: None) if as_json else say)
    dump(counts) if as_json else say(*[f"{count:>10,} {name}" for name, count in counts.items()])


@app.command()
def migrate() -> None:
    """Create the database if need be and bring it to the newest schema."""
    from retention.store.database import database_url
    from retention.store.migrate import migrate as bring_up

    bring_up(database_url())
    print("The database is up to date.")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def db(
    context: typer.Context,
    psql: Annotated[bool, typer.Option("--psql", help="Open psql in it; what follows goes to psql.")] = False,
) -> None:
    """The database's address, or (--psql) a psql in it."""
    import subprocess

    from sqlalchemy.engine import make_url

    from retention.store.database import connect, database_url

    if not psql:
        print(make_url(database_url()).set(drivername="postgresql").render_as_string(hide_password=True))
        return
    from retention.store.postgres_programs import programs_folder

    url = connect().url
    # Through the environment: a password must not stand in the process list.
    names = {"PGHOST": url.host or url.query.get("host"), "PGPORT": url.port, "PGUSER": url.username,
             "PGPASSWORD": url.password, "PGDATABASE": url.database}  # fmt: skip
    environment = {**os.environ, **{name: str(value) for name, value in names.items() if value}}
    raise typer.Exit(subprocess.run([programs_folder() / "psql", *context.args], env=environment).returncode)


@app.command()
def up() -> None:
    """Start everything on this machine: Postgres, Airflow, a sample store. What `make run` calls."""
    from retention.orchestration.local import up as start

    raise typer.Exit(start())


@app.command()
def bench(
    customers: Annotated[int, typer.Option(min=1000, help="How many customers get an e-mail.")] = 100_000,
    sms: Annotated[int, typer.Option(min=100, help="How many of them get an SMS.")] = 20_000,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes, like mapped tasks.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Measure deliveries on this machine, beside the tutorials' loop and the raw limits. Reaches nobody."""
    from retention.bench.report import describe
    from retention.bench.run import Wanted, run_bench

    found = run_bench(Wanted(customers, sms, workers), lambda line: None if as_json else say(line))
    dump(found) if as_json else say(*describe(found))
