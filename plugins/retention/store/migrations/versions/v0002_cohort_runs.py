"""Which Airflow runs carried a cohort, so that a run's page finds its numbers; refusals are found by their cohort."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "cohort_runs",
        sa.Column("journey", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("cohort_id", sa.BigInteger(), nullable=False),
        sa.Column("joined_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.cohort_id"], name=op.f("fk_cohort_runs_cohort_id")),
        sa.PrimaryKeyConstraint("journey", "run_id", name=op.f("pk_cohort_runs")),
        comment="Which Airflow runs carried a cohort: the one that made it, and those that joined it.",
    )
    op.create_index("ix_cohort_runs_cohort_id", "cohort_runs", ["cohort_id"], unique=False)
    op.create_index("ix_entry_refusals_cohort_id", "entry_refusals", ["cohort_id"], unique=False)
