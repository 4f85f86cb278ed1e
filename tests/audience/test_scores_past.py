"""No leak from the future, and no difference between a refresh and a rebuild: random worlds, told in the order in which
their facts were learned."""

import random
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from retention.audience.scores import explain_scores, read_tiers, refresh_scores
from retention.intake.merge import merge_customers, undo_merge
from retention.journey.scores import Scores
from tests.world import shanghai

START = shanghai("2026-01-01 00:00")
RUNS = [START + timedelta(days=day) for day in (60, 61, 63, 100, 101)]
CONFIG = Scores.model_validate(
    {
        "window": "40d",
        "activity_window": "20d",
        "new_for": "10d",
        "quiet_after": "15d",
        "rates": {"USD": 7.1},
        "schemes": ["six", "shares"],
    }
)
SUMS = "select * from customer_sums order by customer_id"
CUTS = "select as_of, dimension, point, cut, kept from score_cuts join score_runs using (run_id) order by 1, 2, 3"
TIERS = "select customer_id, scheme, since, tier, previous, levels from tiers order by 1, 2, 3"


def tell(rng: random.Random) -> list[tuple]:
    """What happens, as (when we learn of it, SQL or a function, parameters), by the time of learning."""
    people = [f"c{n}" for n in range(rng.choice((1, 7, 12)))]
    moment = lambda: START + timedelta(seconds=rng.randrange(110 * 86400))  # noqa: E731
    later = lambda at: at + timedelta(hours=rng.choice((0, 0, 0, 1, 30, 24 * 15)))  # noqa: E731
    told = []
    for person in people:
        at = START - timedelta(days=1) if rng.random() < 0.8 else moment()
        told.append((later(at), "insert into customers (customer_id, occurred_at, recorded_at) values (:c, :at, :now)", {"c": person, "at": at}))  # fmt: skip
    order = "insert into orders (order_id, customer_id, amount, currency, occurred_at, recorded_at) values (:o, :c, :a, :k, :at, :now)"  # fmt: skip
    item = "insert into order_items (order_id, line, quantity, amount, currency, recorded_at) values (:o, :l, 1, :a, :k, :now)"
    status = "insert into order_status (order_id, status, occurred_at, recorded_at) values (:o, :s, :at, :now) on conflict do nothing"  # fmt: skip
    event = "insert into events (customer_id, kind, occurred_at, recorded_at) values (:c, :k, :at, :now)"
    for n in range(rng.randrange(6 * len(people))):
        at, o = moment(), f"o{n}"
        known = later(at) if rng.random() < 0.95 else at - timedelta(days=3)  # an order of tomorrow, known today
        amount = rng.choice((10, 25.5, 25.5, 99, 0, -20, None))
        money = {"a": amount, "k": None if amount is None else rng.choice(("CNY", "CNY", "CNY", "USD", "EUR"))}
        told.append((known, order, {"o": o, "c": rng.choice(people), "at": at} | money))
        for line in range(rng.choice((0, 1, 2)) if amount is None else 0):
            told.append((later(known), item, {"o": o, "l": line, "a": rng.choice((5, 7.25)), "k": rng.choice(("CNY", "USD", "EUR"))}))  # fmt: skip
        if rng.random() < 0.3:
            undone = at + timedelta(days=rng.randrange(1, 30))
            told.append((later(undone), status, {"o": o, "s": rng.choice(("cancelled", "refunded")), "at": undone}))
            if rng.random() < 0.4:
                again = undone + timedelta(days=rng.choice((-1, 0, 2)))
                told.append((later(again), status, {"o": o, "s": rng.choice(("paid", "delivered")), "at": again}))
        if rng.random() < 0.2:  # corrected, or gone at its source
            told.append((later(known) + timedelta(days=rng.randrange(1, 40)), "update orders set amount = 40, currency = 'CNY', customer_id = :c, recorded_at = :now where order_id = :o", {"o": o, "c": rng.choice(people)}))  # fmt: skip
    for _ in range(rng.randrange(12 * len(people))):
        at = moment()
        told.append((later(at), event, {"c": rng.choice(people), "at": at, "k": rng.choice(("login", "view", "cart", "participation", "community", "review"))}))  # fmt: skip
    if len(people) > 1 and rng.random() < 0.5:
        at = START + timedelta(days=rng.randrange(1, 105))
        kept, merged = rng.sample(people, 2)
        told.append((at, "merge", {"kept": kept, "merged": merged}))
        if rng.random() < 0.5:
            told.append((at + timedelta(days=10), "undo", {"merged": merged}))
    return sorted(told, key=lambda fact: fact[0])


def learn(engine, told: list[tuple]) -> None:
    with engine.begin() as conn:
        for now, what, values in told:
            if what == "merge":
                both = conn.scalar(text("select count(*) from customers where customer_id in (:kept, :merged)"), values)
                if both == 2:
                    merge_customers(conn, values["kept"], values["merged"], reason="same", actor="test", now=now)
            elif what == "undo":
                if conn.scalar(text("select count(*) from customer_merges where undone_at is null")):
                    undo_merge(conn, values["merged"], reason="not the same", actor="test", now=now)
            else:
                conn.execute(text(what), values | {"now": now})


def score(engine, runs, **how) -> None:
    for as_of in runs:
        refresh_scores(engine, as_of, now=as_of, config=CONFIG, **how)


def look(engine) -> tuple:
    with engine.connect() as conn:
        return tuple([tuple(row) for row in conn.execute(text(sql))] for sql in (SUMS, CUTS, TIERS))


def forget(engine, *tables: str) -> None:
    with engine.begin() as conn:
        conn.execute(text("truncate score_runs, customer_sums, score_cuts, tiers cascade"))
        if tables:
            conn.execute(text(f"truncate {', '.join(tables)} cascade"))


FACTS = ("customers", "customer_history", "orders", "order_history", "order_status", "order_items", "order_item_history",
         "events", "customer_merges", "audit_log")  # fmt: skip


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_the_past_does_not_know_the_future(engine, seed):
    forget(engine, *FACTS)
    told = tell(random.Random(seed))
    merges = [now for now, what, _ in told if what in ("merge", "undo")]
    # As time goes by: a run of each day sees what was learned until then, and there is nothing else yet.
    as_it_was = {}
    for number, as_of in enumerate(RUNS):
        before = RUNS[number - 1] if number else START - timedelta(days=999)
        learn(engine, [fact for fact in told if before < fact[0] <= as_of])
        score(engine, [as_of])
        as_it_was[as_of] = look(engine)
    tiers = as_it_was[RUNS[-1]][2]
    # Everybody anew on each day gives the same as the refreshes did.
    if not merges:  # a merge rewrites whose the past was; what was decided before it stays
        forget(engine)
        score(engine, RUNS, rebuild=True)
        assert look(engine) == as_it_was[RUNS[-1]]
        # Then all the rest is learned; the past, computed today, is what it was.
        learn(engine, [fact for fact in told if fact[0] > RUNS[-1]])
        for how in ({}, {"rebuild": True}):
            forget(engine)
            for as_of in RUNS:
                score(engine, [as_of], **how)
                assert look(engine) == as_it_was[as_of]
    else:
        last = RUNS[-1] + timedelta(seconds=1)
        score(engine, [last])
        refreshed = look(engine)[0]
        forget(engine)
        score(engine, [last], rebuild=True)
        plain = [row[:-3] for row in refreshed]  # without levels and tiers, which have a memory
        assert [row[:-3] for row in look(engine)[0]] == plain
        return
    with engine.connect() as conn:
        for as_of in RUNS:
            then = {}
            for customer, scheme, since, tier, _, _ in tiers:
                if scheme == "six" and since <= as_of:
                    then[customer] = tier
            read = read_tiers(conn, as_of + timedelta(hours=1))
            assert {c: t.tier for c, t in read.items()} == {c: t for c, t in then.items() if t}
            for row in as_it_was[as_of][0]:
                told_of = explain_scores(conn, row.customer_id if hasattr(row, "customer_id") else row[0], as_of)
                assert tuple(told_of.sums.values()) == row[:-3]
                assert told_of.tiers["six"] == row[-2]
