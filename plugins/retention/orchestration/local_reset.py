"""Throws away the data of a local installation, after asking. Touches only what `retention up` made.

    python -m retention.orchestration.local_reset [--yes]

What `make reset` calls. Never a database that RETENTION_DATABASE_URL names.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from retention.errors import LaunchError, RetentionError
from retention.orchestration.local_claim import claim_home
from retention.orchestration.local_report import Report
from retention.store.database import home
from retention.store.embedded import hold

OURS = ("postgres", "airflow", "logs", "secrets.json", "run.json", "run.lock")


def reset(folder: Path, report: Report) -> None:
    """Remove the databases, logs and keys in `folder`; other files stay. Raises LaunchError while somebody uses it."""
    with claim_home(folder, "reset", 0, report):
        if (folder / "postgres").exists():
            server = hold(folder)  # also ends one that a killed process left running
            server.release()
            if server.is_running():
                raise LaunchError(f"{folder}: a process still uses its Postgres. End it (ps shows it) and try again.")
    for name in OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def main() -> None:
    folder = home()
    if not any((folder / name).exists() for name in OURS):
        print(f"{folder}: nothing there.")
        return
    if "--yes" not in sys.argv[1:]:
        print(f"This throws away all customers, messages, runs and keys in {folder}.")
        try:
            if input('Type "yes" to go on: ').strip() != "yes":
                raise SystemExit("nothing was changed")
        except EOFError:
            raise SystemExit("nothing was changed") from None
    try:
        reset(folder, Report())
    except RetentionError as error:
        raise SystemExit(str(error)) from None
    print("gone")


if __name__ == "__main__":
    main()
