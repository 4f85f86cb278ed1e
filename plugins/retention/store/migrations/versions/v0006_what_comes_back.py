"""What comes back: events of providers and shops, links."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Filled by the work in hand."""
