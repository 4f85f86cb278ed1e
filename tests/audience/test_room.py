"""Who goes first where not all may enter, and who is not taken in because of another journey."""

import pytest

from retention.journey.load import load_version
from tests.audience.test_arms import some, with_audiences
from tests.audience.test_entry import AT, EVERYBODY, enter
from tests.world import DAY

PEOPLE = [f"c{n:02}" for n in range(40)]


def renamed(version, name):
    """The same journey under another name."""
    content = dict(version.content)
    said = content.pop("journeys/birthday_care.yaml").replace("journey: birthday_care", f"journey: {name}")
    return load_version({**content, f"journeys/{name}.yaml": said})


def refusals(world, journey="birthday_care"):
    return dict(
        world.rows("select customer_id, reason from entry_refusals where journey = :j", j=journey)
    )


def score(world, by):
    """Facts by which c00 goes first, then c01, ...; the last ten have none."""
    for n, who in enumerate(PEOPLE[:30]):
        if by == "tier":
            tier = ("diamond", "gold", "silver")[n // 10]
            world.add("tiers", customer_id=who, scheme="six", tier=tier, previous=None, since=AT - DAY)
        if by == "newest":
            world.change_customer(who, AT - DAY * (n + 2), occurred_at=AT - DAY * (n + 2))


@pytest.mark.parametrize("by", ["tier", "newest"])
def test_the_first_by_rank_enter_in_every_arm(world, by):
    for who in PEOPLE:
        world.customer(who)
    score(world, by)
    version = with_audiences(EVERYBODY, holdout="50%", entry=f"{{max_per_day: 10, rank_by: {by}}}")
    enter(world, version)
    took = world.rows("select arm, customer_id from enrollments order by 2")
    arms = {arm: [who for each, who in took if each == arm] for arm in ("holdout", "main")}
    assert set(arms["holdout"] + arms["main"]) <= set(PEOPLE[:20])
    assert all(arms.values())
    # Within each arm it is an initial piece of that arm's own order.
    with world.engine.begin() as conn:
        conn.exec_driver_sql("delete from cohort_steps; delete from enrollments; delete from entry_refusals; delete from cohorts")
    enter(world, with_audiences(EVERYBODY, holdout="50%"))
    for arm, mine in arms.items():
        everybody = [who for (who,) in world.rows("select customer_id from enrollments where arm = :arm order by 1", arm=arm)]
        if by == "newest":
            assert mine == everybody[: len(mine)]
        else:
            assert max(int(who[1:]) // 10 for who in mine) <= int(everybody[len(mine)][1:]) // 10


def test_nobody_enters_while_resting_from_another_journey(world):
    for who in ("ann", "bob"):
        world.customer(who)
    enter(world, renamed(with_audiences(some("ann")), "other"))
    version = with_audiences(some("ann", "bob"), entry="{rest_after: {other: 3d}}")
    enter(world, version, AT + DAY)
    assert (refusals(world), world.rows("select customer_id from enrollments where journey = 'birthday_care'")) == (
        {"ann": "resting"}, [("bob",)],
    )  # fmt: skip
    enter(world, version, AT + 3 * DAY)  # three days after: rested
    assert world.count("enrollments", journey="birthday_care", customer_id="ann") == 1


def test_nobody_enters_while_under_way_in_another_journey(world):
    for who in ("ann", "bob"):
        world.customer(who)
    enter(world, renamed(with_audiences(some("ann")), "other"))
    version = with_audiences(some("ann", "bob"), entry="{not_while_in: [other]}")
    for day in (0, 7):  # its last step is due on day 6 at 10:00 and expires a day later
        enter(world, version, AT + day * DAY)
        assert refusals(world) == {"ann": "under_way"}
        assert world.count("enrollments", journey="birthday_care", customer_id="ann") == 0
    enter(world, version, AT + 8 * DAY)
    assert world.count("enrollments", journey="birthday_care", customer_id="ann") == 1


def test_a_later_cohort_elsewhere_is_not_known_yet(world):
    world.customer("ann")
    enter(world, renamed(with_audiences(some("ann")), "other"), AT + DAY)
    enter(world, with_audiences(some("ann"), entry="{not_while_in: [other], rest_after: {other: 9d}}"))
    assert refusals(world) == {}


def test_a_merged_id_rests_under_the_kept_one(world):
    for who in ("ann", "anna"):
        world.customer(who)
    enter(world, renamed(with_audiences(some("anna")), "other"))
    world.add("customer_merges", merged_id="anna", kept_id="ann", reason="test", actor="test", merged_at=AT, before={})
    enter(world, with_audiences(some("ann"), entry="{rest_after: {other: 3d}}"), AT + DAY)
    assert refusals(world) == {"ann": "resting"}


@pytest.mark.parametrize("by", ["value", "churn", "tier", "newest"])
def test_without_scores_it_is_by_lot(world, by):
    for who in PEOPLE[:8]:
        world.customer(who)
    assert enter(world, with_audiences(EVERYBODY, entry=f"{{max_per_day: 3, rank_by: {by}}}")).enrolled == 3


def test_the_worst_off_by_churn_enter_first(world):
    states = {"c00": ("active", 10), "c01": ("churned", 60), "c02": ("warning", 50), "c03": ("churned", 90)}
    for who, (state, points) in states.items():
        world.customer(who)
        world.add("churn", customer_id=who, state=state, previous=None, since=AT - DAY, score=points)
    order = []
    for _ in range(4):
        enter(world, with_audiences(EVERYBODY, entry="{max_per_day: 1, rank_by: churn}"), AT + len(order) * DAY)
        order = [who for (who,) in world.rows("select customer_id from enrollments order by entered_at")]
    assert order == ["c03", "c01", "c02", "c00"]
