"""Who is not taken in because of other journeys: resting after one, or under way in one."""

from alembic import op

revision = "0017"
down_revision = "0016"

REASONS = "reason in ('backlog', 'reenter_after', 'same_address', 'resting', 'under_way', 'max_per_day')"


def upgrade() -> None:
    op.drop_constraint("ck_entry_refusals_reason_known", "entry_refusals")
    op.create_check_constraint("reason_known", "entry_refusals", REASONS)
