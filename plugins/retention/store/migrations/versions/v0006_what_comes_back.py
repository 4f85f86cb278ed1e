"""What comes back: events of providers and shops, links."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Filled by the work in hand."""
    _make_links()


def _make_links() -> None:
    op.create_table(
        "links",
        sa.Column("link_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("link_id", name=op.f("pk_links")),
        sa.UniqueConstraint("url", name=op.f("uq_links_url")),
        comment="Where links of messages lead. {coupon.code} in it stands for the customer's own code.",
    )
    op.add_column("outcomes", sa.Column("link_id", sa.BigInteger(), nullable=True))
    op.add_column("outcomes", sa.Column("is_machine", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    # Who leaves, leaves under every id that has the address.
    op.create_index("ix_customers_email", "customers", ["email"], postgresql_where=sa.text("email is not null"))
    op.create_index("ix_customers_phone", "customers", ["phone"], postgresql_where=sa.text("phone is not null"))
