"""Who was erased: keyed digests, by which loads and events refuse them. Owns the key and the table erasures."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Iterable
from datetime import datetime
from hashlib import blake2b

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from retention.errors import StoreError
from retention.store.database import home
from retention.store.tables import erasures

VARIABLE = "RETENTION_ERASURE_KEY"
SHORTEST = 32

_PROOF = "the key"


def make_digest(key: bytes, kind: str, value: str) -> bytes:
    """What stays of an id or an address. Small letters are the same: a source may spell them either way."""
    return blake2b(f"{kind}\n{value.strip().lower()}".encode(), key=key, digest_size=32).digest()


def read_key() -> bytes:
    """The key of the environment; beside the embedded server one of its own, made when it is first asked for. Raises
    StoreError, with how to make one, when there is none."""
    said = os.environ.get(VARIABLE, "").strip()
    if not said and not os.environ.get("RETENTION_DATABASE_URL"):
        said = _read_own_key()
    if len(said) < SHORTEST:
        what = "is not set" if not said else f"is shorter than {SHORTEST} characters"
        raise StoreError(
            f"{VARIABLE}: {what}; without it nobody can tell who was erased. Make one once, keep it as long as the "
            "database, and set it for every process: openssl rand -hex 32"
        )
    return blake2b(said.encode(), digest_size=64).digest()


def _read_own_key() -> str:
    path = home() / "erasure.key"
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as made:
            made.write(secrets.token_hex(32) + "\n")
    except FileExistsError:
        pass
    except OSError:
        return ""
    return path.read_text(encoding="utf-8").strip()


def has_erased(conn: Connection) -> bool:
    """Whether anybody was erased at all. Without that no key is needed."""
    return conn.scalar(select(erasures.c.erasure_id).where(erasures.c.kind != "key").limit(1)) is not None


def check_key(conn: Connection) -> bytes:
    """The key, which is the one that digests were made with. Raises StoreError if it is not, or there is none."""
    key = read_key()
    known = conn.scalar(select(erasures.c.digest).where(erasures.c.kind == "key"))
    if known is not None and known != make_digest(key, "key", _PROOF):
        raise StoreError(
            f"{VARIABLE}: people were erased with another key, so they would not be known again. Set the key of that time."
        )
    return key


def remember(conn: Connection, named: Iterable[tuple[str, str]], now: datetime, person: str | None = None) -> str:
    """Keep the digests of (kind, value); those that are kept stay as they are. Returns the word that binds them."""
    key = check_key(conn)
    digests = {(kind, make_digest(key, kind, value)) for kind, value in named if value}
    if person is None:
        held = _by_digest(conn, digests)
        person = next(iter(sorted(held.values())), None) or secrets.token_hex(16)
    rows = [
        ("key", make_digest(key, "key", _PROOF), "-"),
        *((kind, digest, person) for kind, digest in sorted(digests)),
    ]
    conn.execute(
        insert(erasures)
        .values([{"kind": kind, "digest": it, "person": who, "erased_at": now} for kind, it, who in rows])
        .on_conflict_do_nothing(index_elements=["kind", "digest"])
    )
    return person


def find_erased(conn: Connection, kind: str, values: Collection[str]) -> dict[str, str]:
    """Those of the values that were erased, each with the word that binds its person."""
    if not values or not has_erased(conn):
        return {}
    key = check_key(conn)
    known = dict(conn.execute(select(erasures.c.digest, erasures.c.person).where(erasures.c.kind == kind)).all())
    digests = ((value, make_digest(key, kind, value)) for value in set(values))
    return {value: known[digest] for value, digest in digests if digest in known}


def let_in(conn: Connection, customer_id: str) -> int:
    """Forget that a person was erased; how many digests went."""
    found = find_erased(conn, "customer", [customer_id])
    return conn.execute(delete(erasures).where(erasures.c.person.in_(list(found.values())))).rowcount if found else 0


def _by_digest(conn: Connection, digests: set[tuple[str, bytes]]) -> dict[bytes, str]:
    wanted = [digest for _, digest in digests]
    found = conn.execute(
        select(erasures.c.kind, erasures.c.digest, erasures.c.person).where(erasures.c.digest.in_(wanted))
    )
    return {digest: person for kind, digest, person in found if (kind, digest) in digests}
