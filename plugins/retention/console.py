"""How the command line looks: lines, tables, JSON, the words for reasons. Knows no database and no journey."""

from __future__ import annotations

import json
import sys
from typing import Any
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")
"""The zone of moments that belong to no single journey."""

REFUSALS = {
    "backlog": "occasions older than the window: recorded, nobody is written to",
    "reenter_after": "entered not long ago",
    "same_address": "somebody with the same address entered not long ago",
    "resting": "entered another journey not long ago",
    "under_way": "is under way in another journey",
    "max_per_day": "over the day's limit",
}


def say(*lines: Any) -> None:
    """Print lines and tables; square brackets in them are text, not markup."""
    from rich.console import Console

    # In a pipe there is no width to fit to, and a cut table is of no use to grep.
    console = Console(highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
    for line in lines:
        console.print(line)


def dump(value: Any) -> None:
    """Print one JSON document; moments as ISO texts."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def table(columns: list[str], rows: list[tuple]) -> Any:
    """A table for `say`; None is an empty cell, columns of counts stand to the right."""
    from rich.table import Table
    from rich.text import Text

    made = Table(show_edge=False, pad_edge=False)
    for column in columns:
        is_number = column in ("messages", "people", "open", "held", "settled", "in doubt", "failed", "customers")
        made.add_column(column, justify="right" if is_number else "left")
    for row in rows:
        # Text objects: a name like "[red]" is data, not markup.
        made.add_row(*[Text("" if cell is None else str(cell)) for cell in row])
    return made


def decisions_table(decided: list) -> Any:
    """Of `delivery.plan.Decided`."""
    rows = [(d.step, d.channel, d.decision, d.reason, d.count) for d in decided]
    return table(["step", "channel", "decision", "reason", "messages"], rows)


def handled_table(handled: list) -> Any:
    """Of `delivery.deliver.Handled`."""
    rows = [(h.step, h.channel, h.outcome, h.reason, h.count) for h in handled]
    return table(["step", "channel", "outcome", "reason", "messages"], rows)
