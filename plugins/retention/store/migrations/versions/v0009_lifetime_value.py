"""Lifetime value: fitted models and what they say of each customer."""

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Filled by the work in hand."""
