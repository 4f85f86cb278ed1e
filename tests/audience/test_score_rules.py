"""Mistakes in churn, dimensions and strata of include/scores.yaml are explained."""

import pytest

from retention.journey.scores import Scores, read_scores


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("churn: {overdu: {weight: 1}}\n", 'churn: unknown key "overdu". Did you mean "overdue"?'),
        ("churn: {overdue: {begins: 3, full: 3}}\n", "churn.overdue: has a full that is not above begins."),
        ("churn: {no_login: {begins: 90d, full: 30d}}\n", "churn.no_login: has a full that is not above begins."),
        ("churn: {no_login: {begins: 30}}\n", 'churn.no_login.begins: 30 is not a duration. Did you mean "30d"?'),
        ("churn: {undone: {full: 50}}\n", 'Did you mean "50%"?'),
        ("churn: {overdue: {weight: -1}}\n", "churn.overdue.weight: -1 is no weight. Write 0 or more."),
        ("churn: {warning: 70}\n", "churn: warning is not between 0 and churned."),
        ("churn: {churned: 101}\n", "churn.churned: 101 is no number of points. Write 0 to 100."),
        ("churn: {dead_band: 45}\n", "churn: dead_band reaches down to 0."),
        (
            "churn: {overdue: {weight: 0}, no_login: {weight: 0}, no_response: {weight: 0}, complaints: {weight: 0},"
            " undone: {weight: 0}}\n",
            "churn: no indicator has a weight.",
        ),
        ("dimensions: {purchases: {necessary: food}}\n", '"food" is no list of categories. Write [food, hygiene]'),
        ("dimensions: {purchases: {facts: {amount: 0, orders: 0, interval: 0}}}\n", "facts weighs nothing at all."),
        ("dimensions: {surveys: {weight: 1, events: [surveys]}}\n", 'unknown event "surveys". Did you mean "survey"?'),
        ("dimensions: {surveys: {weight: 1, events: []}}\n", "a list is no list of events."),
        ("strata: {borders: [95%, 80%, 50%]}\n", "strata.borders: a list makes no 5 strata."),
        ("strata: {borders: [95%, 80%, 80%, 20%]}\n", "strata.borders: borders do not fall from one to the next."),
        ("strata: {borders: [100%, 80%, 50%, 20%]}\n", "borders do not fall"),
        ("strata: {dead_band: 20%}\n", "strata: dead_band reaches below the lowest border."),
    ],
)
def test_mistakes_are_explained(text, complaint):
    scores, document = read_scores("include/scores.yaml", text)
    assert scores is None
    [problem] = document.problems
    assert complaint in str(problem) and str(problem).startswith("include/scores.yaml:1: ")


def test_what_is_written_reads_back():
    text = "churn: {no_login: {full: 36h, begins: 90m}}\ndimensions: {purchases: {necessary: [米, food]}}\nstrata: {dead_band: 0%}"
    scores, _ = read_scores("include/scores.yaml", text)
    assert Scores.model_validate(scores.as_written()) == scores
    assert scores.dimensions.purchases.necessary == ("米", "food")
