"""No leak from the future into churn, points and strata: random worlds, told in the order in which facts were learned."""

import random
from datetime import timedelta

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from retention.audience.scores.churn import explain_churn, refresh_churn
from retention.audience.scores.strata import explain_stratum, refresh_strata
from retention.audience.scores.value_dimensions import explain_points, refresh_points
from retention.journey.scores import Scores
from tests.audience.test_scores_past import FACTS, RUNS, START, learn, tell

ZONE = "Asia/Shanghai"
KINDS = (
    "login",
    "login",
    "login",
    "complaint_opened",
    "complaint_solved",
    "referral",
    "answer",
    "survey",
    "suggestion",
)
CONFIG = Scores.model_validate(
    {
        "rates": {"USD": 7.1},
        "churn": {
            "no_login": {"begins": "3d", "full": "30d"},
            "no_response": {"window": "40d", "grace": "1d"},
            "complaints": {"window": "30d"},
            "undone": {"window": "40d"},
        },
        "dimensions": {"purchases": {"necessary": ["food"], "recent": "30d"}, "dead_band": 0},
    }
)
TABLES = {
    "churn": "select * from churn order by customer_id, since",
    "points": "select * from customer_points order by customer_id, since",
    "strata": "select * from strata order by customer_id, since",
    "runs": "select score, as_of, found::text, customers, moved from standing_runs order by 1, 2",
}


def tell_more(rng: random.Random, told: list[tuple]) -> list[tuple]:
    """The same world with more kinds of events, lines in categories, and messages that are handed over and answered."""
    people = sorted({values["c"] for _, what, values in told if "insert into customers" in what})
    orders = [(now, values["o"]) for now, what, values in told if "insert into orders" in what]
    more = []
    event = "insert into events (customer_id, kind, occurred_at, recorded_at) values (:c, :k, :at, :now)"
    item = (
        "insert into order_items (order_id, line, category, quantity, amount, currency, recorded_at)"
        " values (:o, 9, :g, 1, :a, 'CNY', :now)"
    )
    outcome = "insert into outcomes (message_id, kind, occurred_at, recorded_at) values (:m, :k, :at, :now)"

    def later(at):
        return at + timedelta(hours=rng.choice((0, 1, 30, 24 * 15, 24 * 20)))

    for _ in range(rng.randrange(8 * len(people), 20 * len(people))):
        at = START + timedelta(seconds=rng.randrange(110 * 86400))
        more.append((later(at), event, {"c": rng.choice(people), "at": at, "k": rng.choice(KINDS)}))
    for now, order in orders:
        if rng.random() < 0.5:
            amount = rng.choice((5, 7.25))
            more.append((later(now), item, {"o": order, "g": rng.choice(("food", "toys")), "a": amount}))
    for n in range(len(people)):
        message = {"n": n, "c": people[n]}
        more.append((START, MESSAGE, message))
        at = START + timedelta(seconds=rng.randrange(100 * 86400))
        more.append((later(at), outcome, {"m": n + 1, "k": "accepted", "at": at}))
        if rng.random() < 0.5:
            answered = at + timedelta(hours=rng.choice((1, 50, 300)))
            kind = rng.choice(("opened", "clicked", "delivered"))
            more.append((later(answered), outcome, {"m": n + 1, "k": kind, "at": answered}))
    return sorted((it for it in told + more if it[1] not in ("merge", "undo")), key=lambda fact: fact[0])


MESSAGE = """
with version as (
    insert into journey_versions (journey, content_hash, content, created_at) values ('j', 'h' || :n, '{}', :now)
    returning version_id
), cohort as (
    insert into cohorts (mode, journey, cohort_at, version_id, status, candidates, created_at)
    select 'live', 'j', :now + :n * interval '1 second', version_id, 'open', 1, :now from version returning cohort_id
), enrollment as (
    insert into enrollments (cohort_id, mode, journey, customer_id, occurrence, arm, is_eligible, entered_at)
    select cohort_id, 'live', 'j', :c, 'o', 'a', true, :now from cohort returning enrollment_id, cohort_id
), batch as (
    insert into batches (cohort_id, step, channel, wave, ordinal, size, state, planned_at)
    select cohort_id, 's', 'email', 0, 0, 1, 'done', :now from cohort returning batch_id
)
insert into messages (message_id, enrollment_id, cohort_id, step, channel, attempt, role, decision, address, locale, batch_id,
                      due_at, not_before, not_after, planned_at)
overriding system value
select :n + 1, enrollment_id, cohort_id, 's', 'email', 1, 'first', 'send', 'x@example.com', 'en', batch_id, :now, :now, :now, :now
from enrollment cross join batch
"""


def forget(engine, *tables: str) -> None:
    every = ("churn", "customer_points", "strata", "standing_runs", *tables)
    with engine.begin() as conn:
        conn.execute(text(f"truncate {', '.join(every)} cascade"))


def score(engine, as_of) -> None:
    for refresh in (refresh_churn, refresh_points, refresh_strata):
        with engine.begin() as conn:
            refresh(conn, as_of, now=as_of, zone=ZONE, config=CONFIG)


def look(engine, as_of) -> dict:
    """Everything that is kept until a moment, and everybody explained."""
    with engine.begin() as conn:
        kept = {name: [tuple(row) for row in conn.execute(text(sql))] for name, sql in TABLES.items()}
        people = sorted({row[0] for name in ("churn", "points", "strata") for row in kept[name]})
        kept["explained"] = [
            (who, explain_churn(conn, who, as_of), explain_points(conn, who, as_of), explain_stratum(conn, who, as_of))
            for who in people
        ]
        return kept


@settings(
    max_examples=4, deadline=None, derandomize=True, phases=[Phase.generate],  # a smaller seed is no simpler world
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(seed=st.integers(0, 10**6))
def test_the_past_does_not_know_the_future(engine, seed):
    forget(engine, *FACTS, "journey_versions", "messages", "outcomes")
    rng = random.Random(seed)
    told = tell_more(rng, tell(rng))
    as_it_was, before = {}, START - timedelta(days=999)
    for as_of in RUNS:
        learn(engine, [fact for fact in told if before < fact[0] <= as_of])
        score(engine, as_of)
        as_it_was[as_of], before = look(engine, as_of), as_of
    learn(engine, [fact for fact in told if fact[0] > RUNS[-1]])
    assert look(engine, RUNS[-1]) == as_it_was[RUNS[-1]]
    forget(engine)
    for as_of in RUNS:
        score(engine, as_of)
        assert look(engine, as_of) == as_it_was[as_of]
    for _, churn, points, stratum in as_it_was[RUNS[-1]]["explained"]:
        # What is explained is what is kept, and its parts are the whole.
        if churn.score is not None:
            assert abs(sum(it.contribution or 0 for it in churn.indicators) - churn.score) < 0.01
            assert churn.history[-1].state is not None
        if points.points is not None:
            assert points.kept["points"] == points.points
            assert abs(sum(it.contribution or 0 for it in points.dimensions) - points.points) < 0.05
        assert (stratum.value is None) == (stratum.stratum is None)
