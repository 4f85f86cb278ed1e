"""A person's rights: export, erase, let in again. Combines what loads know of a person with what came back of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from retention.delivery.events.forget import forget_person
from retention.delivery.events.interpret import interpret
from retention.errors import RetentionError
from retention.intake.erase import count_rows, erase_files, erase_person, take_turn
from retention.intake.person import Mentions, find_person
from retention.store.audit import note
from retention.store.erasures import check_key, find_erased, let_in


@dataclass(frozen=True)
class Erased:
    """What erasing did: how many ids were the person's, rows by table, raw requests, files."""

    ids: int
    rows: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    files: int = 0

    def as_dict(self) -> dict:
        return asdict(self)


def look(engine: Engine, customer_id: str) -> dict[str, int]:
    """What erasing would touch, by table. Raises RetentionError for a stranger, StoreError without a key."""
    with engine.connect() as conn:
        check_key(conn)
        person = find_person(conn, customer_id)
        if not person.is_known and not find_erased(conn, "customer", [customer_id]):
            raise RetentionError(
                f"erase {customer_id}: nothing is held under this id. Check the spelling; `retention export` shows what is held."
            )
        return count_rows(conn, person)


def erase(engine: Engine, customer_id: str, *, reason: str, actor: str, now: datetime, home: Path) -> Erased:
    """Take a person out of all places, in one transaction; files follow when it is committed. Twice is once.

    What waits in the inbox is understood first, so that it still counts. Whoever is under way gets nothing more."""
    look(engine, customer_id)
    interpret(engine, now)
    with engine.begin() as conn:
        take_turn(conn)
        person = find_person(conn, customer_id)
        rows = erase_person(conn, person, now)
        forgotten = forget_person(
            conn, emails=person.emails, phones=person.phones, customer_ids=person.ids, message_ids=person.message_ids
        )
        rows["replies"] += forgotten.replies
        done = Erased(len(person.ids), dict(+rows), forgotten.requests)
        note(conn, now, actor, "erase", None, {"reason": Mentions(person).take_out(reason), **done.as_dict()})
    return Erased(done.ids, done.rows, done.requests, erase_files(home, person))


def lift(engine: Engine, customer_id: str, *, reason: str, actor: str, now: datetime) -> int:
    """Let somebody in again who was erased; how many digests went. Raises RetentionError for who was not."""
    with engine.begin() as conn:
        gone = let_in(conn, customer_id)
        if not gone:
            raise RetentionError(f"erase {customer_id} --lift: nobody was erased under this id. Check the spelling.")
        note(conn, now, actor, "lift_erasure", None, {"digests": gone, "reason": reason.replace(customer_id, "erased")})
    return gone
