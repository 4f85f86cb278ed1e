"""`retention events`: what waits, what was odd, and understanding it from the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sqlalchemy import text

from tests.delivery.test_events_interpret import put, seen

NOW = datetime.now(UTC)


def test_what_waits_is_shown_understood_and_understood_anew(engine, world, retention):
    told = enumerate(("view", "dance", "dance"))
    put(engine, "shop", [seen(f"e{n}", kind=kind, occurred_at=NOW.isoformat()) for n, kind in told], at=NOW)
    shown = retention("events")
    assert "1 requests wait since" in shown.stdout and "0 of them failed" in shown.stdout
    done = retention("events", "--interpret")
    assert "1 requests interpreted: 3 events, 1 new, 2 odd, 0 failed." in done.stdout
    assert "unknown_kind" in done.stdout and "dance" in done.stdout
    with engine.begin() as conn:
        conn.execute(text("insert into event_kinds (kind, title) values ('dance', 'danced')"))
    again = json.loads(retention("events", "--again", "--json").stdout)
    assert (again["reopened"], again["interpreted"]["fresh"], again["odd"]) == (1, 2, [])
    assert world.count("events") == 3
