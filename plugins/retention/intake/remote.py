"""The other database: one connection of any DB-API 2 driver, a query at a time. Owns what its errors mean to us.

Everything about the connection happens in one thread of its own, because most drivers' connections may not be shared
between threads, and so that a source which never answers is not waited for forever. No text of a driver about connecting
is repeated: it holds hosts and users.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, Self

from retention.errors import IntakeError, SourceDown

ROWS = 10_000
"""Rows fetched at a time."""

CONNECT_SECONDS = 120
ANSWER_SECONDS = 3600
ROWS_SECONDS = 600
"""How long a source may take to let us in, to begin its answer, to hand over the next rows (other loads wait then)."""

_BACKTICK = {"MySQLdb", "pymysql", "mysql", "mariadb", "google", "databricks", "pyhive", "impala"}
"""Drivers of databases that take "x" for a text, not for a column."""


class DbApiConnection(Protocol):
    """What a DB-API 2 driver calls a connection (PEP 249)."""

    def cursor(self) -> Any: ...
    def close(self) -> None: ...


class Remote:
    """The connection, as a `with` block; nothing is ever committed on it. `where` begins every error.

    Raises SourceDown for a database that does not answer, IntakeError for one that will not.
    """

    def __init__(self, where: str, connect: Callable[[], DbApiConnection]):
        self._where, self._connect = where, connect
        self._orders: queue.SimpleQueue = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="retention-source", daemon=True)
        self._conn: Any = None
        self._cursor: Any = None
        self._first: list | None = None
        self.columns: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._do(CONNECT_SECONDS, self._open)
        except BaseException:
            self._orders.put(None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._orders.put(None)
        self._thread.join(timeout=5)

    def select(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Run a query; its rows are for `fetch`, its column names in `columns`."""
        self._do(ANSWER_SECONDS, self._execute, sql, parameters)

    def fetch(self) -> list[tuple]:
        """The next rows; none at the end."""
        return self._do(ROWS_SECONDS, self._fetch)

    def quote(self, column: str) -> str:
        """A column's name for use in a query."""
        mark = "`" if type(self._conn).__module__.split(".")[0] in _BACKTICK else '"'
        return f"{mark}{column.replace(mark, mark * 2)}{mark}"

    # --- asking the thread ------------------------------------------------------------------------------------------

    def _do(self, seconds: float, work: Callable, *arguments: Any) -> Any:
        answer: queue.SimpleQueue = queue.SimpleQueue()
        self._orders.put((lambda: work(*arguments), answer))
        try:
            value, error = answer.get(timeout=seconds)
        except queue.Empty:
            raise self._down(f"no answer in {seconds / 60:.0f} minutes") from None
        if isinstance(error, Exception):
            # Made here and not where it was caught: what the driver says is not to be in a traceback either.
            raise self._explain(error, is_connecting=self._conn is None)
        if error is not None:
            raise error
        return value

    def _down(self, reason: str) -> SourceDown:
        remedy = "Nothing was loaded. It is read from where it stood as soon as it answers: see to the database."
        return SourceDown(f"{self._where}: {reason}. {remedy}")

    def _explain(self, error: Exception, *, is_connecting: bool) -> IntakeError:
        if isinstance(error, IntakeError):
            return error
        if is_connecting:
            kind = _why_no_connection(error)
            if kind:
                return self._down(kind)
            remedy = "Correct the Connection (host, user, password, database, extra); then clear the task."
            return IntakeError(f"{self._where}: it can't be connected to ({type(error).__name__}). {remedy}")
        if getattr(self._conn, "closed", False) or _is_down(error):
            return self._down(f"the connection was lost, or it had no time for us ({type(error).__name__})")
        return IntakeError(
            f"{self._where}: the query was refused: {_first_line(error)} ({type(error).__name__}). Nothing was loaded. "
            "Correct the query, or the rights of the Connection's user."
        )

    # --- inside the thread ------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while (order := self._orders.get()) is not None:
            work, answer = order
            try:
                answer.put((work(), None))
            except BaseException as error:  # noqa: BLE001 - handed to the thread that asked
                answer.put((None, error))
        for it in (self._cursor, self._conn):
            with suppress(Exception):  # it may be gone already
                it.close()

    def _open(self) -> None:
        self._conn = self._connect()

    def _execute(self, sql: str, parameters: Sequence[Any]) -> None:
        if self._cursor is not None:
            self._cursor.close()
        self._cursor = self._make_cursor()
        self._cursor.arraysize = ROWS
        # Without parameters a driver takes the text as it stands: a % in it needs no escape.
        self._cursor.execute(*(sql, tuple(parameters)) if parameters else (sql,))
        # Cursors at the server know their columns from the first rows on.
        self._first = self._fetch()
        self.columns = tuple(str(column[0]) for column in self._cursor.description or ())

    def _make_cursor(self) -> Any:
        """A cursor at the server, where the driver has such, so that the rows need not fit in memory here."""
        if not getattr(self._conn, "autocommit", False):
            try:
                return self._conn.cursor(name="retention_sync")
            except TypeError:
                pass
        return self._conn.cursor()

    def _fetch(self) -> list[tuple]:
        if self._first is not None:
            rows, self._first = self._first, None
            return rows
        rows = self._cursor.fetchmany(ROWS)
        return [tuple(row.values()) if isinstance(row, Mapping) else row for row in rows]


# --- what errors mean -----------------------------------------------------------------------------------------------

_REFUSED_US = re.compile(
    r"authentication failed|password|access denied|login failed|not permitted|does not exist|unknown database|pg_hba|"
    r"invalid username|ORA-0?1017|certificate",
    re.IGNORECASE,
)
_NO_CONNECTION = {
    r"refused": "the connection was refused",
    r"time[d ]*out": "it does not answer",
    r"translate host|name or service|nodename|getaddrinfo|unknown host|name resolution": "its host's name is not known",
    r"starting up|shutting down|recovery": "it is starting or stopping",
    r"too many|slots": "it has no connection left for us",
    r"no such file": "nothing listens there",
}
_LOST = re.compile(
    r"connection|closed|lost|gone away|terminat|timeout|timed out|time out|refused|unreachable|locked|broken pipe|reset by|"
    r"\beof\b|unable to open|shutting down|ssl|network|socket",
    re.IGNORECASE,
)
_LOST_STATES = ("08", "53", "57", "58", "40", "55P03")
"""SQLSTATE classes that pass: connection, resources, operator's intervention and time limits, system, conflicts, locks."""

_LOST_CODES = {
    1040, 1053, 1152, 1203, 1205, 1213, 2002, 2003, 2006, 2013, 2055, 3024, 4031,
}  # fmt: skip
"""What MySQL calls the same."""


def _kinds(error: Exception) -> set[str]:
    """The names of its classes: PEP 249 gives every driver's errors the same ones."""
    return {kind.__name__ for kind in type(error).__mro__}


def _why_no_connection(error: Exception) -> str | None:
    """Why there is no connection, in our words; None if trying again won't help."""
    text = str(error)
    is_network = isinstance(error, OSError) or {"OperationalError", "InterfaceError"} & _kinds(error)
    if not is_network or (_REFUSED_US.search(text) and "refused" not in text.lower()):
        return None
    said = (words for pattern, words in _NO_CONNECTION.items() if re.search(pattern, text, re.IGNORECASE))
    return next(said, f"it can't be reached ({type(error).__name__})")


def _is_down(error: Exception) -> bool:
    """Whether an error in mid-query is about the database being away, not about the query."""
    if isinstance(error, OSError):
        return True
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state:
        return str(state).startswith(_LOST_STATES)
    if not {"OperationalError", "InterfaceError", "InternalError"} & _kinds(error):
        return False
    code = error.args[0] if error.args else None
    return code in _LOST_CODES if isinstance(code, int) else bool(_LOST.search(str(error)))


def _first_line(error: Exception) -> str:
    """What the driver says first; without the value, where a value is what it complains of."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return re.split(r"[:\"'(]", line)[0].strip() if "DataError" in _kinds(error) else line.rstrip(".")
