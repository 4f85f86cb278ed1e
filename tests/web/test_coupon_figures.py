"""What coupons cost and which pools end soon: on a journey's page, in `retention status` and `retention check`."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import text

from retention.bench.world import NO_RULES
from retention.orchestration import cohort
from retention.web.views import view_journey
from tests.delivery.test_coupons import AT, GREETING, GIVEN, give
from tests.world import copy_include

POOLED = "coupon: {kind: amount_off, value: 30, minimum: 200, currency: CNY, pool: summer, valid: 7d}"


@pytest.fixture
def include(tmp_path):
    """The shipped files, the journey with a coupon of a pool."""
    target = tmp_path / "include"
    copy_include(target)
    path = target / "journeys" / "birthday_care.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(GIVEN, POOLED), encoding="utf-8")
    return target


@pytest.fixture
def used(world):
    """A cohort whose coupons came of a pool that is nearly empty; one was used."""
    for n in range(4):
        world.customer(f"c{n}", "12-04")
    with world.engine.begin() as conn:
        conn.execute(
            text(
                "insert into pool_codes (pool, code, added_at) select 'summer', 'CODE-' || n, :at from generate_series(1, 6) n"
            ),
            {"at": AT},
        )
    cohort_id = cohort.enroll(world.engine, give(POOLED), AT, mode="live", clock=lambda: AT).cohort_id
    cohort.plan(world.engine, cohort_id, "greeting", policy=NO_RULES, clock=lambda: GREETING)
    for channel in ("sms", "email"):
        cohort.deliver(world.engine, cohort_id, "greeting", channel, policy=NO_RULES, clock=lambda: GREETING)
    world.order(
        "o",
        "c0",
        GREETING + timedelta(hours=1),
        coupon=world.rows("select code from coupons where customer_id = 'c0'")[0][0],
    )
    cohort.redeem(world.engine, clock=lambda: GREETING + timedelta(hours=2))
    return world


def test_the_page_of_the_journey(used, include):
    shown = view_journey(used.engine, include, GREETING + timedelta(hours=3), "birthday_care", None)
    assert shown["coupons"] == "4 coupons out, 1 redeemed (25.0%), 0 expired; cost CNY 30.00"
    assert shown["shortages"] == [
        "pool summer has 2 codes left, less than a day. Whoever finds none is skipped (no_coupon). Upload more: "
        "`retention coupons import FILE --pool summer`."
    ]


def test_status_and_pools(used, retention):
    shown = json.loads(retention("status", "--json").stdout)
    assert shown["coupons"]["birthday_care"]["cost"] == {"CNY": 30.0}
    assert "birthday_care: 4 coupons out, 1 redeemed (25.0%)" in retention("status").stdout
    pools = json.loads(retention("coupons", "pools", "--json").stdout)["pools"]
    assert [(it["left"], it["issued"], it["redeemed"]) for it in pools] == [(2, 3, 1)]


def test_check_tells_the_line_of_a_pool_that_is_not_there(world, include):
    from retention.journey.files import read_files
    from retention.journey.load import load
    from retention.orchestration.pool_needs import find_pool_notes, list_shortages

    versions = load(read_files(include)).versions
    with world.engine.connect() as conn:
        notes = find_pool_notes(conn, AT, versions.values())
        # It is not live: nobody is left without yet.
        assert list_shortages(conn, AT, versions.values()) == []
    (line,) = [
        number
        for number, written in enumerate(
            (include / "journeys/birthday_care.yaml").read_text(encoding="utf-8").splitlines(), 1
        )
        if "pool: summer" in written
    ]
    assert [str(it) for it in notes] == [
        f'include/journeys/birthday_care.yaml:{line}: there is no pool "summer". '
        "Upload its codes: `retention coupons import FILE --pool summer`."
    ]
