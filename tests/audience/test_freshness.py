"""Which scores an audience reads, and whether they will do."""

from datetime import timedelta
from pathlib import Path

import pytest

from retention.audience.scores import refresh_scores
from retention.audience.scores.freshness import find_scores, judge_freshness
from retention.audience.scores.lifetime_value import refresh_values
from retention.journey.scores import Scores, Scoring
from retention.orchestration.scoring import STEPS, bring_scores, needs_scores
from tests.world import example, shanghai

AUDIENCES = Path(__file__).resolve().parents[2] / "include" / "sql" / "audiences"
COHORT = shanghai("2026-12-07 06:00")
DUE = shanghai("2026-12-07 05:15")
RULES = Scoring()


@pytest.mark.parametrize(
    ("sql", "scores"),
    [
        ("select customer_id from customers", ()),
        ("select * from tiers", ("tiers",)),
        ('select * from customers c, as_of.tier_changes t JOIN "churn" using (customer_id)', ("churn", "tiers")),
        ("select 'from tiers' from orders -- join churn\n/* , strata */", ()),
        ("select * from orders where exists (select from customer_values v)", ("values",)),
        ("select * from customers join lateral (select * from\n strata_changes) s on true", ("strata",)),
        ("select tiers from my_tiers where churn > 3", ()),
    ],
)
def test_the_scores_an_audience_reads(sql, scores):
    assert find_scores([sql]) == scores


def test_several_audiences_and_the_shipped_ones():
    assert find_scores(["select * from tiers", "select * from customer_points"]) == ("points", "tiers")
    found = {path.stem: find_scores([path.read_text(encoding="utf-8")]) for path in AUDIENCES.glob("*.sql")}
    assert found["became_churn_warning"] == ("tiers",) and found["churned"] == found["early_warning"] == ("churn",)
    assert found["birthday_in_3_days"] == ()
    assert not needs_scores(example())


@pytest.mark.parametrize(
    ("stand", "is_fresh", "is_young", "may_come"),
    [
        (DUE, True, True, True),
        (COHORT, True, True, True),
        (DUE - timedelta(seconds=1), False, True, True),
        (COHORT - timedelta(days=3), False, True, True),
        (COHORT - timedelta(days=3, seconds=1), False, False, True),
        (COHORT + timedelta(seconds=1), False, False, False),
        (None, False, False, True),
    ],
)
def test_fresh_young_and_what_can_still_come(engine, stand, is_fresh, is_young, may_come):
    if stand:
        refresh_scores(engine, stand, now=stand)
    with engine.connect() as conn:
        found = judge_freshness(conn, ("tiers",), COHORT, RULES)
    assert (found.is_fresh, found.is_young, found.may_come, found.due_at) == (is_fresh, is_young, may_come, DUE)


def test_the_oldest_of_several_counts(engine):
    refresh_scores(engine, DUE, now=DUE)
    with engine.connect() as conn:
        assert judge_freshness(conn, ("churn", "tiers"), COHORT, RULES).as_of is None
    bring_scores(engine, DUE, Scores())
    with engine.begin() as conn:
        assert refresh_values(conn, DUE, zone="Asia/Shanghai").note == "no model was good so far"
        every = tuple(sorted({step.score for step in STEPS}))
        assert judge_freshness(conn, every, COHORT, RULES).is_fresh, "values without a model are as fresh as the strata"


def test_before_the_days_run_is_due_yesterdays_is_fresh():
    assert RULES.last_moment(DUE - timedelta(seconds=1)) == DUE - timedelta(days=1)
    assert RULES.last_moment(DUE) == DUE == RULES.last_moment(COHORT)
