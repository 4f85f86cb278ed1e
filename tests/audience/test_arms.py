"""Who enters by which audience, in which arm: several audiences in order, variants dealt by lot."""

from collections import Counter

from retention.journey.load import load_version
from tests.audience.test_entry import AT, EVERYBODY, enter
from tests.world import DAY, example

JOURNEY = "journeys/birthday_care.yaml"


def with_audiences(*sqls, variants="", **changes):
    """The shipped journey over these audiences, in order, named a1, a2, ..."""
    content = dict(example(**{"holdout": "0%", **changes}).content)
    del content["sql/audiences/birthday_in_3_days.sql"]
    names = [f"a{n}" for n in range(1, len(sqls) + 1)]
    content |= {f"sql/audiences/{name}.sql": sql for name, sql in zip(names, sqls, strict=True)}
    content[JOURNEY] = content[JOURNEY].replace("audience: birthday_in_3_days", f"audience: [{', '.join(names)}]")
    if variants:
        content[JOURNEY] = content[JOURNEY].replace("\ngoal:", f"\nvariants: {variants}\ngoal:")
    return load_version(content)


def some(*customers, occurrence="x"):
    listed = ", ".join(f"'{customer}'" for customer in customers)
    return f"select customer_id, '{occurrence}:' || customer_id as occurrence from customers where customer_id in ({listed})"


def arms(world):
    return dict(world.rows("select customer_id, arm from enrollments"))


def test_who_is_in_several_audiences_enters_by_the_first(world):
    for customer_id in ("ann", "bob", "cat", "dan"):
        world.customer(customer_id)
    version = with_audiences(some("ann", "bob", occurrence="a"), some("bob", "cat", occurrence="z"))
    entered = enter(world, version)
    assert entered.enrolled == 3
    assert world.rows("select customer_id, occurrence, audience from enrollments order by 1") == [
        ("ann", "a:ann", "a1"), ("bob", "a:bob", "a1"), ("cat", "z:cat", "a2"),
    ]  # fmt: skip
    assert enter(world, version, AT + DAY).enrolled == 0


def test_the_order_of_the_file_decides_not_the_occurrence(world):
    world.customer("bob")
    enter(world, with_audiences(some("bob", occurrence="z"), some("bob", occurrence="a")))
    assert world.entered() == {"bob": "z:bob"}


def test_a_single_audience_is_not_told_apart(world):
    world.customer("ann", "12-04")
    enter(world, example(holdout="0%"))
    assert world.rows("select audience, arm from enrollments") == [(None, "main")]


def test_variants_are_dealt_by_their_weights_and_stay(world):
    for i in range(600):
        world.customer(f"c{i}", consent=())
    version = with_audiences(EVERYBODY, variants="{warm: 70, plain: 30}", holdout="20%", entry="{hold_above: 10000}")
    enter(world, version)
    dealt = arms(world)
    counted = Counter(dealt.values())
    assert set(counted) == {"holdout", "warm", "plain"}
    assert abs(counted["holdout"] / 600 - 0.2) < 0.06
    assert abs(counted["warm"] / (counted["warm"] + counted["plain"]) - 0.7) < 0.07
    # Another holdout deals nobody of the rest anew.
    with world.engine.begin() as conn:
        conn.exec_driver_sql("delete from cohort_steps; delete from enrollments; delete from entry_refusals; delete from cohorts")
    enter(world, with_audiences(EVERYBODY, variants="{warm: 70, plain: 30}", holdout="0%", entry="{hold_above: 10000}"))
    again = arms(world)
    assert all(again[who] == arm for who, arm in dealt.items() if arm != "holdout")


def test_capacity_is_shared_by_all_arms(world):
    for i in range(200):
        world.customer(f"c{i}")
    version = with_audiences(EVERYBODY, variants="{warm: 50, plain: 50}", holdout="10%", entry="{max_per_day: 50}")
    entered = enter(world, version)
    assert 50 <= entered.enrolled <= 52
    counted = Counter(arms(world).values())
    assert set(counted) == {"holdout", "warm", "plain"} and counted["holdout"] < 12
