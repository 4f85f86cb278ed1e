"""How the facts came in: loads, what they left out, how good the facts are, who is the same person."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from retention.store.tables.columns import identity, instant, metadata, one_of

imports = Table(
    "imports",
    metadata,
    identity("import_id"),
    Column("mapping", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("is_history", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    instant("started_at"),
    instant("ended_at", nullable=True),
    Column("rows_read", BigInteger, nullable=False, server_default=text("0")),
    Column("rows_rejected", BigInteger, nullable=False, server_default=text("0")),
    Column("cells_left_out", BigInteger, nullable=False, server_default=text("0")),
    Column("summary", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("error", Text),
    # running -> done ; running -> failed ; running -> interrupted (its process died: nothing of it was kept)
    one_of("state", ("running", "done", "failed", "interrupted")),
    Index("ix_imports_started_at", "started_at"),
    comment="Every load of a file or from a database: what came in, what did not. Its facts and its end are one transaction.",
)

rejected_rows = Table(
    "rejected_rows",
    metadata,
    Column("import_id", BigInteger, ForeignKey("imports.import_id"), nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("level", Text, nullable=False),
    Column("column", Text),
    Column("reason", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("raw", Text, nullable=False),
    one_of("level", ("row", "cell")),
    Index("ix_rejected_rows_import_id_line", "import_id", "line"),
    comment="What a load did not take: a whole row, or one cell of a row that came in without it. Kept as it was read.",
)

sync_marks = Table(
    "sync_marks",
    metadata,
    Column("mapping", Text, primary_key=True),
    Column("watermark", Text, nullable=False),
    Column("import_id", BigInteger, ForeignKey("imports.import_id"), nullable=False),
    instant("moved_at"),
    comment="How far each synchronised query was read; moved in the transaction that loads the rows.",
)

quality_checks = Table(
    "quality_checks",
    metadata,
    identity("check_id"),
    Column("import_id", BigInteger, ForeignKey("imports.import_id"), nullable=False),
    Column("check", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("found", Numeric(18, 4)),
    Column("limit", Numeric(18, 4)),
    Column("detail", Text, nullable=False),
    instant("checked_at"),
    UniqueConstraint("import_id", "check"),
    one_of("verdict", ("good", "warn", "stop", "too_few")),
    comment="What was found when the facts were looked over after a load, beside the limit that applied.",
)

data_holds = Table(
    "data_holds",
    metadata,
    identity("hold_id"),
    Column("check", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("import_id", BigInteger, ForeignKey("imports.import_id"), nullable=False),
    Column("reason", Text, nullable=False),
    instant("placed_at"),
    instant("lifted_at", nullable=True),
    Column("lifted_by", Text),
    Column("lift_reason", Text),
    # One hold at a time for a check and a source.
    Index("uq_data_holds_standing", "check", "source", unique=True, postgresql_where=text("lifted_at is null")),
    comment="While a row stands (lifted_at is null) nobody enters, nothing is planned and nothing is handed over: the data "
    "is not fit. Lifted by the next good load of the source, or by a person.",
)

customer_merges = Table(
    "customer_merges",
    metadata,
    identity("merge_id"),
    Column("kept_id", Text, nullable=False),
    Column("merged_id", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("before", JSONB, nullable=False),
    instant("merged_at"),
    instant("undone_at", nullable=True),
    # A customer goes on under one other id at most.
    Index("uq_customer_merges_standing", "merged_id", unique=True, postgresql_where=text("undone_at is null")),
    CheckConstraint("kept_id <> merged_id", name="two_customers"),
    comment="One person under two ids: what belonged to merged_id goes on under kept_id until undone_at.",
)

customer_merge_rows = Table(
    "customer_merge_rows",
    metadata,
    Column("merge_id", BigInteger, ForeignKey("customer_merges.merge_id"), nullable=False),
    Column("table_name", Text, nullable=False),
    Column("row_key", Text, nullable=False),
    PrimaryKeyConstraint("merge_id", "table_name", "row_key"),
    comment="Which rows a merge gave to the kept customer (or added), so that it can be undone.",
)
