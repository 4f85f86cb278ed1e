"""The command line: `retention ...`. Says what happens in words and tables; decides nothing itself.

Heavy modules are imported inside the commands that need them, so that light ones answer in under a second.
"""

from __future__ import annotations

import sys

from retention.cli import audiences, coupons, delivery, explain, facts, journeys, machine, preview, privacy, replay, rerun, scores, serve  # noqa: F401 - they add their commands
from retention.cli.shared import app
from retention.errors import RetentionError


def main() -> None:
    """Run a command; what a person can act on ends in one readable text and exit code 1, never in a traceback."""
    try:
        app()
    except RetentionError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
    except Exception as error:
        # The database's own complaints; told apart without importing SQLAlchemy, which light commands do without.
        complaint = getattr(error, "orig", None)
        if complaint is None:
            raise
        reason = str(complaint).strip().splitlines()[0]
        print(f"database: {reason}. Every step is one transaction: it is safe to try again.", file=sys.stderr)
        raise SystemExit(1) from None


__all__ = ["app", "main"]
