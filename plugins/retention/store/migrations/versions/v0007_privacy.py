"""Privacy: who was erased, months that can be dropped."""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Filled by the work in hand."""
