"""Uploaded codes into a pool: reads a file of codes, tells every line that is none, takes the others. Deals none."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, text

from retention.errors import RetentionError
from retention.intake.encodings import SAMPLE, find_encoding
from retention.journey.fields import Id
from retention.store.audit import note
from retention.store.queries import run
from retention.store.staging import analyze, copy_csv

_HEADS = (
    "code",
    "codes",
    "coupon",
    "coupon_code",
    "couponcode",
    "voucher",
    "券码",
    "优惠码",
    "兑换码",
    "优惠券",
    "优惠券码",
)
_UNTIL = ("valid_until", "expires", "expires_on", "expires_at", "有效期", "有效期至", "到期", "到期日", "截止日期")
_CODE = re.compile(r"[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)*")
_LEAST, _MOST = 4, 40

REASONS = {
    "twice": "is the code of line {line} again.",
    "same_pool": "is in this pool already.",
    "other_pool": "is in another pool already.",
    "given": "was given to a customer already.",
    "on_order": "stands on an order already: it was used.",
}
"""What the database finds wrong with a code. Codes that differ in case, dashes, O and 0, or I and 1 alone are the same: a
customer who types one could be taken for the other."""


@dataclass
class Imported:
    """What came of a file. `refused`: (line, what); `there`: lines whose code was in the pool before."""

    name: str
    pool: str
    lines: int = 0
    taken: int = 0
    there: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)

    def reasons(self) -> Counter[str]:
        """How many lines were refused for what."""
        return Counter(
            re.sub(r"line [0-9]+", "an earlier line", re.sub(r"\(.*\)", "", what)) for _, what in self.refused
        )


@dataclass(frozen=True)
class _Line:
    number: int
    code: str
    valid_until: datetime | None


def import_codes(
    conn: Connection, path: Path, pool: str, *, zone: ZoneInfo, actor: str, now: datetime, is_trial: bool = False
) -> Imported:
    """Take the codes of a file into a pool, in the caller's transaction. The same file again changes nothing.

    A day in the file is its whole day in `zone`. Raises RetentionError for a file that can't be read and a name that no pool
    can have."""
    try:
        TypeAdapter(Id).validate_python(pool)
    except ValidationError as error:
        told = error.errors()[0]["ctx"]
        raise RetentionError(f"--pool: {told['what']} {told['remedy']}") from None
    done = Imported(path.name, pool)
    lines = list(_read_lines(_open(path), done, zone, now))
    conn.execute(text("select pg_advisory_xact_lock(hashtext('retention.pools'))"))
    conn.execute(
        text("create temporary table staged_codes (line int, code text, valid_until timestamptz) on commit drop")
    )
    sink = io.StringIO()
    csv.writer(sink).writerows(
        (it.number, it.code, it.valid_until.isoformat() if it.valid_until else "") for it in lines
    )
    copy_csv(conn, "staged_codes", ("line", "code", "valid_until"), sink.getvalue().encode())
    analyze(conn, "staged_codes")
    found = run(conn, "coupons/judge_codes", pool=pool).all()
    done.there = sum(row.reason == "same_pool" for row in found)
    done.refused += [
        (row.line, REASONS[row.reason].format(line=row.first)) for row in found if row.reason != "same_pool"
    ]
    done.refused.sort()
    done.taken = len(lines) - len(found)
    if not is_trial:
        run(conn, "coupons/take_codes", pool=pool, lines=[row.line for row in found], now=now)
        note(
            conn, now, actor, "import_coupons", None, {"pool": pool, "taken": done.taken, "refused": len(done.refused)}
        )
    return done


def _open(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RetentionError(f"{path}: the file can't be opened ({error.strerror}). Name a file of codes.") from None
    if raw[:4] in (b"PK\x03\x04", b"PAR1"):
        raise RetentionError(f"{path}: this is no text. Save it as CSV: one code a line, perhaps with its last day.")
    return raw.decode(find_encoding(raw[:SAMPLE]), errors="replace").removeprefix("\ufeff")


def _read_lines(written: str, done: Imported, zone: ZoneInfo, now: datetime) -> Iterator[_Line]:
    """Every line with a sound code; the others are noted in `done`."""
    first = next((line for line in written.splitlines() if line.strip()), "")
    sample = written[:4000]
    separator = next((sign for sign in "\t;," if sign in first), max(",;\t", key=sample.count))
    code_at, until_at = 0, 1
    for number, row in enumerate(csv.reader(written.splitlines(), delimiter=separator), start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if number == 1 and (found := _read_head(cells, done.name)):
            code_at, until_at = found
            continue
        done.lines += 1
        code = cells[code_at] if len(cells) > code_at else ""
        problem = _find_mistake(code)
        until = None
        if not problem and len(cells) > until_at and cells[until_at]:
            until = _read_until(cells[until_at], zone)
            problem = None if until else "has a last day that is none. Write it as 2026-12-31."
            if until and until <= now:
                problem = "was over before it came. Leave it out."
        if problem:
            done.refused.append((number, problem))
        else:
            yield _Line(number, code, until)
    if not done.lines:
        raise RetentionError(f"{done.name}: there is no code in it. One code a line, perhaps with its last day.")


def _read_head(cells: list[str], name: str) -> tuple[int, int] | None:
    """Where the codes and where their last days stand; None for a line that is no head."""
    heads = [cell.lower().replace(" ", "_") for cell in cells]
    codes = [at for at, head in enumerate(heads) if head in _HEADS or head.endswith("_code")]
    untils = [at for at, head in enumerate(heads) if head in _UNTIL]
    if not codes and not untils:
        return None
    if not codes:
        raise RetentionError(f"{name}:1: no column is called code. Columns: code, and valid_until if codes end by themselves.")
    if not untils and len(cells) > 1:
        raise RetentionError(
            f"{name}:1: no column is called valid_until. Columns: code, and valid_until if codes end by themselves."
        )
    return codes[0], untils[0] if untils else len(cells)


def _find_mistake(code: str) -> str | None:
    if not code:
        return "has no code."
    if not _CODE.fullmatch(code):
        bad = next((sign for sign in code if not re.fullmatch(r"[A-Za-z0-9._-]", sign)), None)
        if bad is None:
            return "begins or ends with a dash, or has two in a row."
        if bad in ",;\t":
            return f"has a {bad.replace(chr(9), 'tab')} in it, which is not what parts the columns here. Part them alike in every line."
        name = "a space" if bad.isspace() else f"U+{ord(bad):04X}"
        return f"has a character that no code may have ({name}). Letters a-z, digits and single dashes are fine."
    if not _LEAST <= len(code) <= _MOST:
        return f"has {len(code)} characters. A code has {_LEAST} to {_MOST}."
    return None


def _read_until(written: str, zone: ZoneInfo) -> datetime | None:
    """The last second of a day, or the moment itself; None for what is neither."""
    for kind in ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日", "%Y%m%d"):
        try:
            day: date = datetime.strptime(written, kind).date()  # noqa: DTZ007 - a day, not a moment
        except ValueError:
            continue
        return (datetime.combine(day + timedelta(days=1), time(), zone) - timedelta(seconds=1)).astimezone(UTC)
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
