"""AdventureWorks and CDNOW from their files to tiers, churn, points, strata, the table and the page: what a shop would do."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from starlette.testclient import TestClient

from retention.audience.scores import read_tiers, refresh_scores
from retention.audience.scores.churn import refresh_churn
from retention.audience.scores.lifetime_value import refresh_values
from retention.audience.scores.next_purchase import fit_cycles
from retention.audience.scores.portrait import draw_portrait
from retention.audience.scores.preferences import refresh_preferences
from retention.audience.scores.strata import refresh_strata
from retention.audience.scores.value_dimensions import refresh_points
from retention.audience.scores.value_models import fit_models
from retention.audience.segments import list_segments
from retention.audience.spreadsheet import write_table
from retention.journey.scores import Scores
from retention.journey.segments import load_segments
from retention.web.app import Guards, build_app
from tests.intake.conftest import shared
from tests.world import INCLUDE, shanghai

ZONE = "Asia/Shanghai"
CONFIG = Scores.model_validate({"currency": "USD"})


def score(engine, end):
    """Two months of tiers, everything else as of the end."""
    for at in (end - timedelta(days=40), end):
        made = refresh_scores(engine, at, now=at, config=CONFIG)
    with engine.begin() as conn:
        fit_models(conn, end, zone=ZONE)
        refresh_values(conn, end, zone=ZONE)
        how = {"now": end, "zone": ZONE, "config": CONFIG}
        kept = [refresh(conn, end, **how).customers for refresh in (refresh_churn, refresh_points, refresh_strata)]
        fit_cycles(conn, end, zone=ZONE)
        refresh_preferences(conn, end, zone=ZONE)
    return made.customers, kept


def look(engine, end, tmp_path):
    """The table's rows by tier, the page's words, and the portrait of one customer."""
    path = tmp_path / "segments.xlsx"
    with engine.connect() as conn:
        tiers = {who: it.tier for who, it in read_tiers(conn, end).items()}
        rows = list_segments(conn, end, load_segments(INCLUDE), locale="en", zone=ZoneInfo(ZONE))
        assert write_table(path, rows) == len(tiers)
    table = pl.read_excel(path, infer_schema_length=0)
    names = {tier: it.say("name", "en") for tier, it in load_segments(INCLUDE).of("six").items()}
    assert dict(zip(table["customer"], table["tier"], strict=True)) == {who: names[tier] for who, tier in tiers.items()}
    assert table["basis"].null_count() == table["suggested care"].null_count() == 0
    guards = Guards(login=lambda: None, journey=lambda: None, list_readable=lambda: set())
    page = TestClient(build_app(guards, engine=lambda: engine, clock=lambda: end)).get("/segments?lang=en")
    assert page.status_code == 200 and f"{len(tiers):,} customers" in page.text and "<svg" in page.text
    return tiers


@pytest.mark.parametrize("name", ["adventureworks", "cdnow"])
def test_scored_end_to_end(bring, engine, tmp_path, name):
    if name == "cdnow":
        bring(shared("cdnow/CDNOW_master.txt"), "cdnow", is_history=True)
        people, buyers, end = 23_570, 23_570, shanghai("1998-06-30 23:00")
    else:
        bring(shared("adventureworks/AdventureWorks_Customers.csv"), "adventureworks_customers", is_history=True)
        for path in sorted(shared("adventureworks/AdventureWorks_Products.csv").parent.glob("*Sales*.csv")):
            bring(path, "adventureworks_sales", is_history=True)
        people, buyers, end = 18_148, 17_410, shanghai("2019-06-30 23:00")
    customers, kept = score(engine, end)
    assert customers == people and kept == [buyers] * 3
    tiers = look(engine, end, tmp_path)
    assert len(tiers) == people and "churn_warning" in tiers.values()
    somebody = min(who for who, tier in tiers.items() if tier == "gold")
    portrait = draw_portrait(engine, somebody, end, zone=ZONE)
    assert portrait.tiers.tiers["six"] == "gold" and portrait.churn.score is not None and portrait.stratum.stratum
    # AdventureWorks' customers all buy alike: its fit is refused, and nothing is made up in its place.
    assert (portrait.value is None) == (name == "adventureworks")
