"""Brings our database to the schema this code needs. The only caller of Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from retention.errors import StoreError

FOLDER = Path(__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return config


def migrate(url: str) -> None:
    """Create the database if it is missing and bring it to the newest schema. Calling it again is safe.

    All steps run in one transaction, so a migration that was killed leaves the database as it was; two at a time
    wait for each other. Raises StoreError when the server can't be reached or the schema is newer than this code.
    """
    create_database(url)
    engine = create_engine(url)
    try:
        with engine.begin() as conn:
            conn.execute(text("select pg_advisory_xact_lock(hashtext('retention.migrate'))"))
            here = MigrationContext.configure(conn).get_current_revision()
            known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
            if here is not None and here not in known:
                raise StoreError(
                    f"database: its schema ({here}) is newer than this code. Run the version of the code that made it."
                )
            config = _config()
            config.attributes["connection"] = conn
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        raise StoreError(f"database: could not be migrated ({_first_line(error)}).") from error
    finally:
        engine.dispose()


def create_database(url: str) -> None:
    """Create the database that `url` names on its server, if it is missing."""
    target = make_url(url)
    try:
        with create_engine(target).connect():
            return
    except OperationalError as error:
        if f'database "{target.database}" does not exist' not in str(error):
            raise _no_connection(target, error) from error
    server = create_engine(target.set(database="postgres"), isolation_level="AUTOCOMMIT")
    try:
        with server.connect() as conn:
            conn.execute(text(f'create database "{target.database}" encoding \'UTF8\' template template0'))
    except SQLAlchemyError as error:
        if "already exists" not in str(error):
            raise StoreError(
                f"database: {target.database} could not be created ({_first_line(error)}). "
                "Create it by hand, or give the role CREATEDB."
            ) from error
    finally:
        server.dispose()


def is_current(engine: Engine) -> bool:
    """Whether the schema is the one this code needs. Raises StoreError when the server can't be reached."""
    try:
        with engine.connect() as conn:
            here = MigrationContext.configure(conn).get_current_revision()
    except OperationalError as error:
        raise _no_connection(engine.url, error) from error
    return here == ScriptDirectory.from_config(_config()).get_current_head()


def _no_connection(url: URL, error: Exception) -> StoreError:
    if "does not exist" in str(error):
        return StoreError(f"database: {url.database} is not there yet. `retention migrate` makes it (so does `make run`).")
    return StoreError(
        f"database: no connection to {url.host}/{url.database} ({_first_line(error)}). "
        "Check RETENTION_DATABASE_URL and that the server runs."
    )


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", error)).strip().splitlines()[0]
