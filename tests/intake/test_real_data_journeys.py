"""Who would enter a shipped journey on real tables, held against pandas over the raw files."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from sqlalchemy import text

from retention.audience.select import fetch_audience
from tests.intake.conftest import shared
from tests.world import INCLUDE

NEW_YORK = ZoneInfo("America/New_York")
SQL = (INCLUDE / "sql" / "audiences" / "dormant_90_days.sql").read_text(encoding="utf-8")


@pytest.fixture
def cdnow(bring):
    path = shared("cdnow/CDNOW_master.txt")
    bring(path, "cdnow", is_history=True)
    raw = pd.read_csv(
        path, sep=r"\s+", skiprows=1, names=["id", "date", "number", "amount"], dtype={"id": str, "date": str}
    )
    return raw.assign(day=pd.to_datetime(raw.date, format="%Y%m%d").dt.date)


@pytest.mark.parametrize("day", [date(1997, 7, 1), date(1997, 12, 25), date(1998, 6, 15)])
def test_dormant_customers_of_cdnow_are_those_of_the_file(cdnow, engine, day):
    with engine.begin() as conn:
        as_of = datetime(day.year, day.month, day.day, 12, tzinfo=NEW_YORK)  # orders of this file are of a day
        known = datetime(2030, 1, 1, tzinfo=NEW_YORK)
        conn.execute(text("create temporary table found (customer_id text, occurrence text) on commit drop"))
        fetch_audience(
            conn, "dormant_90_days", SQL, as_of=as_of, known_at=known, window_start=as_of - timedelta(days=3),
            zone="America/New_York", into="found",
        )  # fmt: skip
        found = {customer_id for (customer_id,) in conn.execute(text("select customer_id from found"))}
    last = cdnow[cdnow.day <= day].groupby("id").day.max()
    quiet = last[(last <= day - timedelta(days=90)) & (last > day - timedelta(days=93))]
    expected = {f"cdnow-{each}" for each in quiet.index}
    assert len(expected) > 30
    assert found == expected
