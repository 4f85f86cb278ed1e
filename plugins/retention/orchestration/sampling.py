"""Fills an empty store with the sample shop. Never touches a store that has customers."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text

from retention.errors import RetentionError
from retention.orchestration.cohort import Progress, quiet, read_clock
from retention.store.tables import customers

ZONE = ZoneInfo("Asia/Shanghai")


def is_empty(engine: Engine) -> bool:
    """Whether the store has no customer yet."""
    with engine.connect() as conn:
        return not conn.scalar(text(f"select exists (select from {customers.name})"))


def load_sample(
    engine: Engine, count: int, seed: int, today: str | None = None, on_progress: Progress = quiet
) -> dict[str, int]:
    """Generate and load the sample store; rows by table. Its history ends at `today` (ISO, default: now in Shanghai).

    Raises StoreError when the store has customers, RetentionError when `today` is no date.
    """
    from retention.store.sample import generate, write

    try:
        day = date.fromisoformat(today) if today else read_clock().astimezone(ZONE).date()
    except ValueError:
        raise RetentionError(f'--date: "{today}" is no day. Write 2026-12-01.') from None
    on_progress(f"drawing {count:,} customers (seed {seed}) up to {day}")
    made = generate(count, seed, day)
    on_progress("writing them")
    write(engine, made)
    return dict(made.counts)
