"""What a message was decided with (template, values of the customer), and which audience named somebody."""

from alembic import op

revision = "0016"
down_revision = "0014"


def upgrade() -> None:
    op.execute("alter table messages add column template text")
    op.execute("alter table messages add column facts jsonb")
    op.execute("alter table enrollments add column audience text")
