"""A small invented company for tests: facts by the line, journeys from the shipped files with changes."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, func, select, text

from retention.journey.files import Files, read_files
from retention.journey.load import Version, load, load_version
from retention.store.tables import metadata

INCLUDE = Path(__file__).resolve().parents[1] / "include"
EXAMPLE = Path(__file__).parent / "data" / "example"
SHANGHAI = ZoneInfo("Asia/Shanghai")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def shanghai(text_: str) -> datetime:
    """A moment written in Shanghai time: "2026-12-01 06:00"."""
    return datetime.fromisoformat(text_).replace(tzinfo=SHANGHAI)


def shipped(journey: str, **changes: str) -> Version:
    """A shipped journey, with lines of its YAML replaced: shipped("birthday_care", holdout="0%") rewrites the top-level key `holdout`."""
    return _change(read_files(INCLUDE), journey, changes)


def example(**changes: str) -> Version:
    """The journey that most tests go through, with lines of its YAML replaced."""
    return _change(example_files(), "birthday_care", changes)


def example_files() -> Files:
    """What ships, with birthday care as tests/data/example has it: two steps, one coupon, the same words for everybody. What
    marketing makes of the shipped one concerns no other test."""
    ships = {path: said for path, said in read_files(INCLUDE).items() if not path.startswith("templates/birthday/")}
    return Files({**ships, **read_files(EXAMPLE)})


def copy_include(target: Path) -> Path:
    """A folder `include` of a test's own, with the example in it."""
    shutil.copytree(INCLUDE, target)
    shutil.rmtree(target / "templates" / "birthday")
    shutil.copytree(EXAMPLE, target, dirs_exist_ok=True)
    return target


def _change(files: Files, journey: str, changes: dict[str, str]) -> Version:
    content = dict(load(files).versions[journey].content)
    path = f"journeys/{journey}.yaml"
    for key, value in changes.items():
        content[path], count = re.subn(rf"(?m)^{key}:.*(?:\n[ \t]+.*)*$", f"{key}: {value}", content[path])
        assert count == 1, f"{path} has no single line {key}:"
    return load_version(content)


class World:
    """Adds facts to one database; everything is known since long ago unless said otherwise."""

    def __init__(self, engine: Engine):
        self.engine = engine

    def add(self, table: str, **values) -> None:
        with self.engine.begin() as conn:
            conn.execute(metadata.tables[table].insert().values(**values))

    def customer(
        self,
        customer_id: str,
        birthday: str | None = None,
        *,
        lunar: bool = False,
        leap_month: bool = False,
        consent: tuple[str, ...] = ("email", "sms"),
        since: datetime = LONG_AGO,
        **values,
    ) -> str:
        """A customer; `birthday` is "MM-DD". Reachable on both channels unless told otherwise."""
        birth = {}
        if birthday:
            month, day = map(int, birthday.split("-"))
            birth = {
                "birth_calendar": "lunar" if lunar else "solar",
                "birth_month": month,
                "birth_day": day,
                "birth_leap_month": leap_month,
            }
        row = {
            "name": f"Name {customer_id}",
            "email": f"{customer_id}@example.com",
            "phone": f"+1202555{int(sha256(customer_id.encode()).hexdigest(), 16) % 10**7:07d}",
            "locale": "zh-CN",
            "timezone": "Asia/Shanghai",
            "country": "CN",
            **birth,
        } | values
        self.add("customers", customer_id=customer_id, occurred_at=since, recorded_at=since, **row)
        for channel in consent:
            self.consent(customer_id, channel, True, since)
        return customer_id

    def change_customer(self, customer_id: str, at: datetime, **values) -> None:
        table = metadata.tables["customers"]
        with self.engine.begin() as conn:
            conn.execute(table.update().where(table.c.customer_id == customer_id).values(recorded_at=at, **values))

    def consent(self, customer_id: str, channel: str, is_granted: bool, at: datetime = LONG_AGO) -> None:
        self.add(
            "consents",
            customer_id=customer_id,
            channel=channel,
            purpose="marketing",
            is_granted=is_granted,
            source="test",
            wording="I agree to messages of this shop." if is_granted else None,
            occurred_at=at,
            recorded_at=at,
        )

    def suppress(self, channel: str, address: str, at: datetime = LONG_AGO) -> None:
        self.add(
            "suppressions",
            channel=channel,
            address=address,
            is_suppressed=True,
            reason="bounce",
            occurred_at=at,
            recorded_at=at,
        )

    def order(self, order_id: str, customer_id: str, at: datetime, coupon: str | None = None, recorded=None) -> None:
        recorded = recorded or at
        self.add("orders", order_id=order_id, customer_id=customer_id, occurred_at=at, recorded_at=recorded)
        self.add("order_status", order_id=order_id, status="placed", occurred_at=at, recorded_at=recorded)
        self.add(
            "order_items",
            order_id=order_id,
            line=1,
            category="coffee",
            quantity=1,
            amount=100,
            currency="CNY",
            coupon_code=coupon,
            recorded_at=recorded,
        )

    def count(self, table: str, **where) -> int:
        known = metadata.tables[table]
        with self.engine.connect() as conn:
            return conn.scalar(
                select(func.count())
                .select_from(known)
                .where(*[known.c[name] == value for name, value in where.items()])
            )

    def rows(self, sql: str, **parameters) -> list[tuple]:
        with self.engine.connect() as conn:
            return [tuple(row) for row in conn.execute(text(sql), parameters)]

    def decisions(self, step: str | None = None) -> dict[str, tuple]:
        """customer -> (decision, channel, reason) of the latest attempt, of one step or of the only one."""
        found = self.rows(
            "select e.customer_id, m.decision, m.channel, m.reason from messages m join enrollments e using (enrollment_id)"
            " where cast(:step as text) is null or m.step = :step order by m.attempt, m.message_id",
            step=step,
        )
        return {customer: tuple(rest) for customer, *rest in found}

    def entered(self) -> dict[str, str]:
        """customer -> occurrence."""
        return dict(self.rows("select customer_id, occurrence from enrollments"))


DAY = timedelta(days=1)
