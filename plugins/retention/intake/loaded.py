"""What is asked of a load, where it stands, and what came of it. Data, no work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sqlalchemy import Connection

from retention.intake.chunks import Reject
from retention.intake.quality import Check
from retention.intake.quality_policy import QualityPolicy
from retention.intake.targets import MOST_GONE


@dataclass
class Counts:
    """Rows of one table: `new`, `changed`, `same`; `repeated`: named again later in the source; `older`: less recent than
    what stands; `gone`: no longer at the source; `merged`: about customers who go on under another id."""

    new: int = 0
    changed: int = 0
    same: int = 0
    repeated: int = 0
    older: int = 0
    gone: int = 0
    merged: int = 0


@dataclass
class Loaded:
    """What a load did. rows_read = rows_taken + rows_rejected; `rows_erased`: those of them
    that are of people who were erased; `reasons`: what was left out -> how often; `checks`: what
    was found when the facts were looked over (intake.quality); `notes`: how the source was read; `examples`: the first few that
    were left out; `is_trial`: nothing of it was kept."""

    import_id: int
    name: str
    rows_read: int = 0
    rows_rejected: int = 0
    rows_erased: int = 0
    cells_left_out: int = 0
    tables: dict[str, Counts] = field(default_factory=dict)
    reasons: Counter = field(default_factory=Counter)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    examples: list[Reject] = field(default_factory=list)
    seconds: float = 0.0
    is_trial: bool = False

    @property
    def rows_taken(self) -> int:
        return self.rows_read - self.rows_rejected

    def summary(self) -> dict:
        """What is kept of it in imports.summary."""
        return {
            "tables": {table: asdict(counts) for table, counts in self.tables.items()},
            "reasons": dict(self.reasons.most_common()),
            "notes": self.notes,
        }


@dataclass(frozen=True)
class Wishes:
    """How to load. `is_history`: facts count as recorded when they happened; `is_complete`: what the source brought
    earlier and does not name now is gone; `most_gone`: at most this share of it; `lookups`: the folder of second files.

    `is_trial`: all of it is done and rolled back. `policy`: how good the facts have to be. `before_commit` is called in
    the load's transaction with the load so far, when all rows are in."""

    actor: str
    is_history: bool = False
    is_complete: bool = False
    is_trial: bool = False
    most_gone: float = MOST_GONE
    lookups: Path = Path(".")
    before_commit: Callable[[Connection, Loaded], None] = lambda conn, loaded: None
    policy: QualityPolicy = field(default_factory=QualityPolicy)


@dataclass(frozen=True)
class Progress:
    """Where a load stands: `stage` in words, `done` of `size` (0: not known) in the source's own unit, rows so far."""

    stage: str
    done: int = 0
    size: int = 0
    rows: int = 0
