"""Scores: sums of each customer, tiers and their history."""

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Filled by the work in hand."""
