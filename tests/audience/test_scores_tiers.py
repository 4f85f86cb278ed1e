"""The six tiers without a database: definitions, gaps, levels at their edges; and include/scores.yaml with its mistakes."""

from itertools import product

import pytest

from retention.audience.scores.cuts import Cut, level_of
from retention.audience.scores.six import DEFINITIONS, NAMES, find_tier, make_table, read_levels
from retention.journey.scores import Scores, load_scores, read_scores
from tests.world import INCLUDE


@pytest.mark.parametrize("name", DEFINITIONS)
def test_each_definition_is_its_own_tier(name):
    assert find_tier(DEFINITIONS[name], is_quiet=True) == name


@pytest.mark.parametrize(
    ("levels", "is_quiet", "tier"),
    [
        ((2, 2, 2, 1), False, "gold"),  # one level short of diamond
        ((1, 2, 2, 2), False, "gold"),
        ((2, 1, 2, 2), False, "silver"),
        ((2, 2, 1, 2), False, "silver"),
        ((1, 1, 1, 1), False, "potential"),
        ((2, 1, 1, 1), False, "silver"),
        ((0, 0, 1, 0), False, "potential"),  # as churn_warning, but has ordered lately
        ((0, 0, 0, 0), True, "churn_warning"),
        ((0, 0, 0, 0), False, "potential"),
        ((0, 2, 2, 0), True, "churn_warning"),  # was the best, and is silent
        ((0, 2, 2, 1), True, "gold"),  # is still there
        ((2, 0, 0, 0), False, "potential"),
    ],
)
def test_gaps_go_to_the_nearest(levels, is_quiet, tier):
    assert find_tier(levels, is_quiet=is_quiet) == tier


def test_everybody_is_in_exactly_one():
    table = make_table()
    assert len(table) == 162
    for place, levels in enumerate(product(range(3), repeat=4)):
        assert read_levels(place) == levels
        for is_quiet in (False, True):
            tier = NAMES[table[place + 81 * is_quiet] - 1]
            assert tier == find_tier(levels, is_quiet=is_quiet)
            assert tier != "new"
            assert is_quiet or tier != "churn_warning"
            assert (tier == "diamond") == (levels == (2, 2, 2, 2))


@pytest.mark.parametrize(
    ("is_inclusive", "value", "level"),
    [(False, 10.0, 0), (False, 10.01, 1), (True, 9.99, 0), (True, 10.0, 1), (True, 20.0, 2), (False, 20.0, 1), (False, None, 0)],
)  # fmt: skip
def test_levels_at_below_and_above_a_cut(is_inclusive, value, level):
    cuts = {point: Cut("monetary", point, cut, cut - 1, is_inclusive) for point, cut in (("mid", 10.0), ("high", 20.0))}
    assert level_of(value, cuts) == level


def test_the_shipped_file_says_the_defaults():
    assert load_scores(INCLUDE) == Scores()
    assert Scores.model_validate(Scores().as_written()) == Scores()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("windw: 3d\n", 'unknown key "windw". Did you mean "window"?'),
        ("cuts: {recency: {mid: 30d, high: 90d}}\n", "cuts.recency: has a mid that is not below high."),
        ("cuts: {frequency: {mid: 40%, high: 5}}\n", "cuts.frequency: mixes two ways of writing a cut."),
        ("cuts: {frequency: {mid: 9d, high: 3d}}\n", "cuts: frequency is cut at a duration."),
        ("cuts: {recency: {mid: 1, high: 2}}\n", "cuts: recency is cut at a number."),
        ("cuts: {monetary: {mid: 0%, high: 80%}}\n", 'cuts.monetary.mid: "0%" leaves nobody on one side.'),
        ("rates: {USD: 0}\n", "rates: 0 is no number above 0."),
        ("rates: {CNY: 2}\n", "rates has a rate for CNY itself."),
        ("currency: yuan\n", 'currency: "yuan" is no currency. Write three capitals'),
        ("shares: {high: 20%}\n", "shares: adds up to 110.0 %."),
        ("schemes: []\n", "schemes: a list names no schemes."),
        ("dead_band: 50%\n", "dead_band is half of everything or more."),
        ("activity: {login: 0, view: 0, cart: 0, participation: 0, community: 0}\n", "activity gives no points"),
    ],
)
def test_mistakes_are_explained(text, complaint):
    scores, document = read_scores("include/scores.yaml", text)
    assert scores is None
    [problem] = document.problems
    assert complaint in str(problem) and str(problem).startswith("include/scores.yaml:1: ")


def test_what_is_fixed_reads_back():
    _, text = None, "cuts: {recency: {mid: 90d, high: 36h}, frequency: {mid: 2, high: 5}}\nrates: {USD: 7.1}\n"
    scores, _ = read_scores("include/scores.yaml", text)
    assert Scores.model_validate(scores.as_written()) == scores


def test_check_reports_them(tmp_path, monkeypatch):
    from retention.cli import shared

    (tmp_path / "scores.yaml").write_text("window: soon\n")
    monkeypatch.setattr(shared, "include_folder", lambda: tmp_path)
    assert any(
        p.path == "include/scores.yaml" and '"soon" is not a duration' in p.what for p in shared.find_problems()
    )
