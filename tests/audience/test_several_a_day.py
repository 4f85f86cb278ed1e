"""Several cohorts a day: steps due so long after entering, and a limit that counts by the day."""

from datetime import timedelta

from retention.journey.load import load_version
from retention.orchestration import cohort
from tests.audience.test_arms import JOURNEY, with_audiences
from tests.audience.test_entry import AT, EVERYBODY, enter
from tests.delivery.test_plan import plan
from tests.world import DAY

HOUR = timedelta(hours=1)


def several(**changes):
    content = dict(with_audiences(EVERYBODY, **changes).content)
    content[JOURNEY] = content[JOURNEY].replace("at: day 0, 10:00", "at: entry + 2h").replace("0 6 * * *", "0 */4 * * *")
    return load_version(content)


def test_each_cohort_has_its_own_moment(world):
    world.customer("ann")
    version = several()
    cohort_id = enter(world, version, AT + 14 * HOUR).cohort_id  # at 20:00
    step = version.journey.step("greeting")
    assert str(step.at) == "entry + 2h"
    assert version.journey.due_at(step, AT + 14 * HOUR) == AT + 16 * HOUR
    plan(world, cohort_id, at=AT + 16 * HOUR)
    assert world.rows("select due_at from messages") == [(AT + 16 * HOUR,)]
    assert world.decisions() == {"ann": ("send", "sms", None)}
    assert version.journey.length >= timedelta(days=7)


def test_the_limit_counts_by_the_day(world):
    for n in range(30):
        world.customer(f"c{n}")
    version = several(entry="{max_per_day: 5}")
    sizes = [enter(world, version, AT + 4 * n * HOUR).enrolled for n in range(3)]
    assert sizes == [5, 0, 0]
    assert enter(world, version, AT + DAY).enrolled == 5


def test_a_day_that_begins_slowly_is_filled_later(world):
    version = several(entry="{max_per_day: 5}")
    world.customer("c0")
    world.customer("c1")
    first = enter(world, version, AT)
    for n in range(2, 9):
        world.customer(f"c{n}")
    assert (first.enrolled, enter(world, version, AT + 4 * HOUR).enrolled) == (2, 3)


def test_a_limit_is_not_shared_with_the_other_mode(world):
    for n in range(9):
        world.customer(f"c{n}")
    content = dict(several(entry="{max_per_day: 5}").content)
    content[JOURNEY] = content[JOURNEY].replace("live: false", "live: true")
    live = load_version(content)
    assert cohort.enroll(world.engine, live, AT, mode="test", clock=lambda: AT).enrolled == 5
    at = AT + 4 * HOUR
    assert cohort.enroll(world.engine, live, at, mode="live", clock=lambda: at).enrolled == 5
