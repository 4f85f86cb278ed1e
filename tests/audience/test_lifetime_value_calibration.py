"""A score against what happened: thresholds, tenths, ties, nobody; and over time."""

import pytest
from sqlalchemy import text

from retention.audience.scores.calibration import calibrate, calibrate_purchases, list_calibrations, make_forecasts
from tests.audience.buyers import ZONE, Buyers, moment

THEN, UNTIL = "2026-06-01", "2026-07-01"


@pytest.fixture
def shop(world):
    return Buyers(world)


def judge(shop, scores, threshold=50.0, event="bought", **settings):
    with shop.engine.begin() as conn:
        make_forecasts(conn)
        for customer, score in scores.items():
            values = {"c": customer, "s": score}
            conn.execute(text("insert into forecasts (customer_id, score) values (:c, :s)"), values)
        dates = {"until": moment(UNTIL), "zone": ZONE}
        return calibrate(conn, "test", moment(THEN), threshold=threshold, event=event, **dates, **settings)


def test_at_the_threshold_it_is_foretold(shop):
    for customer in ("above", "at", "below"):
        shop.buy(customer, "2026-06-10")
    scores = {"above": 50.1, "at": 50.0, "below": 49.9, "wrong": 80.0, "right": 1.0}
    found = judge(shop, scores)
    assert (found.customers, found.positives, found.foretold, found.hits) == (5, 3, 3, 2)
    assert (found.precision, found.recall) == (2 / 3, 2 / 3)
    silent = judge(shop, scores, event="silent")
    assert (silent.positives, silent.foretold, silent.hits) == (2, 3, 1)


def test_only_purchases_between_the_two_instants_count(shop):
    for customer, day in (
        ("before", "2026-05-31"),
        ("same_day", "2026-06-01 10:00"),
        ("first", "2026-06-01 16:00"),
        ("last", UNTIL),
        ("after", "2026-07-01 04:01"),
    ):
        shop.buy(customer, day)
    shop.buy("cancelled", "2026-06-10", status="cancelled")
    shop.buy("credit", "2026-06-10", -5)
    shop.buy("twice", "2026-06-10")
    shop.buy("twice", "2026-06-10")
    shop.buy("thrice", "2026-06-10", None)
    shop.buy("thrice", "2026-06-11")
    shop.buy("late", "2026-06-11", known="2026-07-02")
    shop.buy("stranger", "2026-06-11")
    people = "before same_day first last after cancelled credit twice thrice late".split()
    found = judge(shop, dict.fromkeys(people, 1.0))
    assert (found.customers, found.positives, found.purchases) == (10, 4, 5)
    assert judge(shop, dict.fromkeys(people, 1.0), known_at=moment("2026-07-03")).positives == 5


@pytest.mark.parametrize(("count", "tenths"), [(0, 0), (1, 1), (7, 7), (10, 10), (25, 10)])
def test_tiny_counts(shop, count, tenths):
    found = judge(shop, {f"c{i}": 1.0 for i in range(count)})
    assert (found.customers, len(found.deciles)) == (count, tenths)
    assert (found.precision, found.recall, found.top_lift) == (None, None, None)


def test_lift_by_tenths(shop):
    for i in range(50):
        for day in range(i % 3 + 1 if i < 5 else int(i < 15)):
            shop.buy(f"c{i:02}", f"2026-06-1{day}")
    found = judge(shop, {f"c{i:02}": 100.0 - i for i in range(50)}, threshold=91.0)
    assert [it.positives for it in found.deciles] == [5, 5, 5, 0, 0, 0, 0, 0, 0, 0]
    assert [it.lift for it in found.deciles][:4] == pytest.approx([10 / 3] * 3 + [0])
    assert found.deciles[0].purchases == 1 + 2 + 3 + 1 + 2 and (found.deciles[0].lowest, found.deciles[0].highest) == (
        96,
        100,
    )
    assert (found.precision, found.recall) == (1.0, 10 / 15)


def test_ties_are_spread_by_chance_and_always_alike(shop):
    # By number the buyers come first: sorted by it, the first tenths would look brilliant.
    for i in range(50):
        shop.buy(f"c{i:03}", "2026-06-10")
    scores = {f"c{i:03}": 1.0 for i in range(500)}
    found = judge(shop, scores)
    assert found.deciles == judge(shop, dict(reversed(scores.items()))).deciles
    assert max(it.positives for it in found.deciles) < 15


def test_what_was_kept_is_read_back_over_time(shop):
    shop.buy("c", "2026-06-10")
    kept = judge(shop, {"c": 60.0, "d": 70.0})
    judge(shop, {"c": 60.0}, keep=False)
    assert judge(shop, {"c": 60.0, "d": 70.0}) == kept
    judge(shop, {"c": 60.0, "d": 70.0}, threshold=65.0)
    with shop.engine.connect() as conn:
        assert [it.threshold for it in list_calibrations(conn, "test")] == [50.0, 65.0]
        assert list_calibrations(conn, "test")[0] == kept
        assert list_calibrations(conn, "other") == []


def test_purchases_are_judged_by_the_model_of_that_time(shop):
    shop.models("2026-05-01", r=0.8)
    shop.models("2026-06-15", r=80.0)  # would expect a hundred times as much
    for i in range(20):
        shop.buy(f"c{i}", "2026-04-01")
        shop.buy(f"c{i}", "2026-05-01")
    with shop.engine.begin() as conn:
        dates = {"until": moment(UNTIL), "zone": ZONE, "threshold": 0.1}
        found = calibrate_purchases(conn, moment(THEN), **dates)
        assert 1 < found.expected < 10 and (found.customers, found.purchases) == (20, 0)
        assert calibrate_purchases(conn, moment("2026-04-15"), **dates) is None
        [kept] = list_calibrations(conn, "purchases")
        assert kept == found
