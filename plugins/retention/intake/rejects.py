"""The record of loads, and what they left out as a file that people can mend."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

from sqlalchemy import Connection, Engine, select

from retention.store.tables import imports, rejected_rows

COLUMNS = ("line", "level", "column", "reason", "remedy", "raw")


def fetch_loads(conn: Connection, import_id: int | None = None, *, most: int = 20) -> list[dict]:
    """The latest loads, or the one of this id: the columns of the table imports."""
    wanted = select(imports).order_by(imports.c.import_id.desc()).limit(most)
    if import_id is not None:
        wanted = wanted.where(imports.c.import_id == import_id)
    return [dict(row) for row in conn.execute(wanted).mappings()]


def write_rejects(engine: Engine, import_id: int, folder: Path) -> Path:
    """Write what a load left out as CSV, by line: line, level, column, reason, remedy, raw (the row as it was read).

    The file and its folder are for this account alone: rows hold people's data. Writing again replaces it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with engine.connect() as conn:
        name = conn.scalar(select(imports.c.name).where(imports.c.import_id == import_id))
        path = folder / f"{import_id}-{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:80]}.rejected.csv"
        fresh = path.with_suffix(".new")
        rows = conn.execution_options(yield_per=1000).execute(
            select(*(rejected_rows.c[column] for column in COLUMNS))
            .where(rejected_rows.c.import_id == import_id)
            .order_by(rejected_rows.c.line)
        )
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8-sig") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(rows)
    fresh.replace(path)
    return path
