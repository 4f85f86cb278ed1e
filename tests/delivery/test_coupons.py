"""Coupons of a plan: every kind to the outbox, pools dealt once, what is given back, who is left without."""

import json
import random
import threading
from datetime import timedelta

import pytest
from sqlalchemy import text

from retention.bench.world import NO_RULES
from retention.journey.load import load_version
from retention.orchestration import cohort
from retention.orchestration.dryrun import dry_run
from tests.world import INCLUDE, example, shanghai

AT = shanghai("2026-12-01 06:00")
GREETING = shanghai("2026-12-01 10:00")
LAST_DAY = shanghai("2026-12-07 10:00")
GIVEN = "coupon: {kind: percent_off, value: 20, valid: 7d}"
WORDS = {
    "zh-CN": "【店】{{ coupon.title }}，券码{{ coupon.code }}，{{ coupon.valid_until }}止。回复TD退订\n",
    "en": "Shop: {{ coupon.title }}, code {{ coupon.code }}, until {{ coupon.valid_until }}. Reply STOP to opt out\n",
}


def give(coupon=GIVEN, last_day="", words=WORDS, **changes):
    """The birthday journey with another coupon, plain words and no holdout; `last_day`: more keys of its second step."""
    content = dict(example(**{"holdout": "0%", "live": "true", **changes}).content)
    path = "journeys/birthday_care.yaml"
    assert GIVEN in content[path]
    content[path] = content[path].replace(GIVEN, coupon).replace("only_if: coupon_unused", last_day or "retired: false")
    for locale, said in words.items():
        for step in ("greeting", "last_day"):
            content[f"templates/birthday/{step}/sms.{locale}.txt"] = said
    return load_version(content)


@pytest.fixture
def go(world):
    """Enter a cohort and plan its first step: go(version) gives the cohort's id."""

    def go(version, *, at=AT, mode="live", deliver=False, **options):
        cohort_id = cohort.enroll(world.engine, version, at, mode=mode, clock=lambda: at).cohort_id
        due = at + timedelta(hours=4)
        cohort.plan(world.engine, cohort_id, "greeting", policy=NO_RULES, clock=lambda: due, **options)
        if deliver:
            send(world, cohort_id, "greeting", due)
        return cohort_id

    return go


def send(world, cohort_id, step, at):
    for channel in ("sms", "email"):
        cohort.deliver(world.engine, cohort_id, step, channel, policy=NO_RULES, clock=lambda: at)


def plan(world, cohort_id, step="last_day", at=LAST_DAY, **options):
    return cohort.plan(world.engine, cohort_id, step, policy=NO_RULES, clock=lambda: at, **options)


def fill(world, pool="summer", count=10, valid_until=None):
    with world.engine.begin() as conn:
        conn.execute(
            text(
                "insert into pool_codes (pool, code, valid_until, added_at)"
                " select :pool, upper(:pool) || '-' || lpad(n::text, 6, '0'), :until, :at from generate_series(1, :n) n"
            ),
            {"pool": pool, "until": valid_until, "at": AT, "n": count},
        )


def texts(world):
    return dict(world.rows(
        "select e.customer_id, o.text from outbox o join messages m using (message_id) join enrollments e using (enrollment_id)"
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("coupon", "zh", "en"),
    [
        ("{kind: percent_off, value: 20, valid: 7d}", "8折券", "20% off"),
        ("{kind: percent_off, value: 15, minimum: 200, currency: CNY, valid: 7d}", "满200打8.5折", "15% off orders of CN¥200 or more"),
        ("{kind: amount_off, value: 30, currency: CNY, valid: 7d}", "30元券", "CN¥30 off"),
        ("{kind: amount_off, value: 30, minimum: 200, currency: CNY, valid: 7d}", "满200减30", "CN¥30 off orders of CN¥200 or more"),
        ("{kind: gift, gift: {zh-CN: 挂耳咖啡一盒, en: a box of drip coffee}, valid: 7d}", "赠品：挂耳咖啡一盒", "Free gift: a box of drip coffee"),
        ("{kind: gift, gift: Tea & biscuits, value: 12.5, currency: GBP, valid: 7d}", "赠品：Tea & biscuits", "Free gift: Tea & biscuits"),
        ("{kind: points, value: 500, valid: 7d}", "500积分", "500 points"),
    ],
)  # fmt: skip
def test_each_kind_reaches_the_outbox(world, go, coupon, zh, en):
    world.customer("zh", "12-04")
    world.customer("en", "12-04", locale="en-GB")
    go(give(f"coupon: {coupon}"), deliver=True)
    codes = dict(world.rows("select customer_id, code from coupons where state = 'issued'"))
    said = texts(world)
    assert said["zh"] == f"【店】{zh}，券码{codes['zh']}，12月8日止。回复TD退订"
    assert said["en"] == f"Shop: {en}, code {codes['en']}, until 8 December. Reply STOP to opt out"


def test_the_shipped_words_keep_their_coupon(world, go):
    world.customer("a", "12-04", consent=("email",))
    version = example(holdout="0%")
    go(version, deliver=True)
    (html,) = world.rows("select html from outbox")[0]
    (code,) = world.rows("select code from coupons")[0]
    assert code in html and "8折" in html.replace(" ", "")


def test_one_template_asks_for_the_kind(world, go):
    said = {
        "zh-CN": '{% if coupon.kind == "gift" %}送{{ coupon.gift }}{% elif coupon.minimum %}满{{ coupon.minimum }}{% else %}{{ coupon.value }}{% endif %}{{ coupon.zhe }}'
    }
    world.customer("a", "12-04")
    go(give("coupon: {kind: gift, gift: 茶, valid: 7d}", words=said), deliver=True)
    assert texts(world)["a"] == "送茶"


# -- pools


def test_codes_of_a_pool_those_that_end_first_go_first(world, go):
    for n in range(3):
        world.customer(f"c{n}", "12-04")
    fill(world, count=3)
    with world.engine.begin() as conn:
        conn.execute(
            text("update pool_codes set valid_until = :t where code like '%2'"), {"t": shanghai("2026-12-03 23:59")}
        )
        conn.execute(
            text("update pool_codes set valid_until = :t where code like '%3'"), {"t": shanghai("2026-11-30 23:59")}
        )
    go(give("coupon: {kind: points, value: 5, pool: summer, valid: 7d, grace: 2d}"), deliver=True)
    found = world.rows(
        "select customer_id, code, pool, valid_until, counts_until - valid_until from coupons order by customer_id"
    )
    assert [row[1:3] for row in found] == [("SUMMER-000002", "summer"), ("SUMMER-000001", "summer")]
    assert [row[3].astimezone(AT.tzinfo).strftime("%m-%d %H:%M") for row in found] == ["12-03 23:59", "12-08 23:59"]
    assert {row[4] for row in found} == {timedelta(days=2)}
    # The third one was over.
    assert world.decisions("greeting")["c2"] == ("skip", "sms", "no_coupon")
    assert world.rows("select code from pool_codes") == [("SUMMER-000003",)]
    assert "SUMMER-000002，12月3日止" in texts(world)["c0"]


def test_an_empty_pool_skips_warns_and_may_be_decided_again(world, go):
    for n in range(5):
        world.customer(f"c{n}", "12-04")
    fill(world, count=2)
    said = []
    version = give("coupon: {kind: points, value: 5, pool: summer, valid: 7d}")
    cohort_id = go(version, on_progress=said.append)
    assert (
        sorted(world.decisions().values(), key=str) == [("send", "sms", None)] * 2 + [("skip", "sms", "no_coupon")] * 3
    )
    assert said == [
        "pool summer has 0 codes left. Whoever finds none is skipped (no_coupon). Upload more: "
        "`retention coupons import FILE --pool summer`."
    ]
    # No slot, no batch for those who got nothing.
    assert world.rows("select sum(size)::int from batches") == [(2,)]
    fill(world, "summer2", 1)
    with world.engine.begin() as conn:
        conn.execute(text("update pool_codes set pool = 'summer'"))
    plan(world, cohort_id, "greeting", GREETING)
    assert world.rows("select decision, count(*)::int from messages where attempt = 2 group by 1") == [("send", 1)]
    assert world.count("coupons") == 3


def test_a_cohort_is_warned_of_when_it_enters(world):
    for n in range(5):
        world.customer(f"c{n}", "12-04")
    fill(world, count=4)
    said = []
    version = give("coupon: {kind: points, value: 5, pool: summer, valid: 7d}")
    cohort.enroll(world.engine, version, AT, mode="live", clock=lambda: AT, on_progress=said.append)
    assert [line for line in said if "pool" in line] == [
        "pool summer has 4 codes left; 5 may be needed. Whoever finds none is skipped (no_coupon). "
        "Upload more: `retention coupons import FILE --pool summer`."
    ]


def test_a_test_and_a_dry_run_draw_nothing(world, go):
    for n in range(3):
        world.customer(f"c{n}", "12-04")
    fill(world, count=2)
    version = give("coupon: {kind: points, value: 5, pool: summer, valid: 7d}")
    shown = dry_run(world.engine, version, AT, policy=NO_RULES, now=AT, mode="live")
    told = {(d.step, d.decision, d.reason): d.count for d in shown.decided if d.step == "greeting"}
    assert told == {("greeting", "send", None): 2, ("greeting", "skip", "no_coupon"): 1}
    assert shown.coupons[0]["title"] == "5 points, of pool summer, valid 7d"
    go(version, mode="test", deliver=True)
    assert world.count("pool_codes") == 2
    assert world.rows("select distinct pool, state from coupons") == [(None, "issued")]
    assert "SUMMER" not in "".join(texts(world).values())


def test_what_is_withheld_goes_back_to_the_pool_and_to_somebody_else(world, go):
    world.customer("left", "12-04")
    until = shanghai("2027-01-31 23:59")
    fill(world, count=1, valid_until=until)
    version = give("coupon: {kind: points, value: 5, pool: summer, valid: 7d}")
    first = go(version)
    world.consent("left", "sms", False, GREETING + timedelta(minutes=1))
    send(world, first, "greeting", GREETING + timedelta(minutes=2))
    assert world.rows("select pool, code, valid_until from pool_codes") == [("summer", "SUMMER-000001", until)]
    assert world.rows("select state from coupons") == [("given_back",)]
    world.customer("next", "12-05")
    go(version, at=AT + timedelta(days=1), deliver=True)
    assert world.rows("select customer_id, code, state from coupons order by 1") == [
        ("left", "SUMMER-000001", "given_back"), ("next", "SUMMER-000001", "issued"),
    ]  # fmt: skip
    # She is back, and the code is not hers any more.
    world.consent("left", "sms", True, GREETING + timedelta(minutes=3))
    assert not texts(world).get("left")


def test_a_code_stays_while_another_channel_carries_it(world, go):
    world.customer("a", "12-04", phone="+12025550123")
    fill(world, count=1)
    content = dict(give("coupon: {kind: points, value: 5, pool: summer, valid: 7d}").content)
    path = "journeys/birthday_care.yaml"
    content[path] = content[path].replace("channels: [sms, email]", "all: [sms, email]", 1)
    cohort_id = go(load_version(content))
    world.suppress("sms", "+12025550123", GREETING + timedelta(minutes=1))
    send(world, cohort_id, "greeting", GREETING + timedelta(minutes=2))
    assert world.rows("select kind from outcomes order by 1") == [("accepted",), ("withheld",)]
    assert world.rows("select state from coupons") == [("issued",)]
    assert world.count("pool_codes") == 0


def test_plans_at_once_never_deal_a_code_twice(world):
    """Eight plans of eight journeys over one pool, truly at once; it is short by a few."""
    for n in range(200):
        world.customer(f"c{n}", "12-04")
    fill(world, count=1590)
    coupon = "coupon: {kind: points, value: 5, pool: summer, valid: 7d}"
    base = give(coupon)
    ids = []
    for n in range(8):
        content = {
            path.replace("birthday_care", f"j{n}"): written.replace("journey: birthday_care", f"journey: j{n}")
            for path, written in base.content.items()
        }
        ids.append(cohort.enroll(world.engine, load_version(content), AT, mode="live", clock=lambda: AT).cohort_id)
    start, failed = threading.Barrier(8), []

    def work(cohort_id):
        try:
            start.wait()
            plan(world, cohort_id, "greeting", GREETING)
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(cohort_id,)) for cohort_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    given, codes = world.rows("select count(*)::int, count(distinct code)::int from coupons")[0]
    assert given == codes
    # Nobody is skipped for a code that another plan holds while there are others.
    assert (given, world.count("pool_codes")) == (1590, 0)
    assert world.rows("select count(*)::int from messages where reason = 'no_coupon'") == [(10,)]


# -- one a person


def test_a_further_step_speaks_of_the_coupon_she_has(world, go):
    world.customer("a", "12-04")
    version = give(last_day="coupon: {kind: percent_off, value: 50, valid: 7d}")
    cohort_id = go(version, deliver=True)
    plan(world, cohort_id)
    assert world.rows("select step, value::int from coupons") == [("greeting", 20)]
    assert world.rows("select count(distinct coupon_id)::int, count(*)::int from messages") == [(1, 2)]


def test_a_further_step_gives_the_first_one_to_who_has_none(world, go):
    world.customer("late", "12-04", consent=())
    version = give(last_day="coupon: {kind: percent_off, value: 50, valid: 7d}")
    cohort_id = go(version, deliver=True)
    world.consent("late", "sms", True, GREETING + timedelta(hours=1))
    plan(world, cohort_id)
    assert world.rows("select step, value::int from coupons") == [("last_day", 50)]


def test_a_step_may_give_one_of_its_own(world, go):
    world.customer("a", "12-04")
    version = give(last_day="coupon: {kind: percent_off, value: 50, valid: 7d, per_person: step}")
    cohort_id = go(version, deliver=True)
    plan(world, cohort_id)
    send(world, cohort_id, "last_day", LAST_DAY)
    assert world.rows("select step, state from coupons order by 1") == [("greeting", "issued"), ("last_day", "issued")]
    assert any("5折券" in said for (said,) in world.rows("select text from outbox"))


def test_who_has_used_hers_gets_no_second_one(world, go):
    world.customer("a", "12-04")
    version = give(last_day="coupon: {kind: percent_off, value: 50, valid: 7d}", exit_when="[unsubscribed]")
    cohort_id = go(version, deliver=True)
    (code,) = world.rows("select code from coupons")[0]
    world.order("o", "a", GREETING + timedelta(days=1), coupon=code)
    cohort.redeem(world.engine, clock=lambda: LAST_DAY)
    plan(world, cohort_id)
    assert world.decisions("last_day") == {"a": ("skip", "sms", "no_coupon")}


def test_words_about_a_coupon_go_to_nobody_without_one(world, go):
    """She could not be reached by the first step; the second only reminds of it."""
    world.customer("late", "12-04", consent=())
    world.customer("a", "12-04")
    cohort_id = go(give(), deliver=True)
    world.consent("late", "sms", True, GREETING + timedelta(hours=1))
    plan(world, cohort_id)
    assert world.decisions("last_day") == {"a": ("send", "sms", None), "late": ("skip", "sms", "no_coupon")}


def test_a_big_claim_is_one_quick_statement(world):
    """100,000 codes are claimed by indexes, without a sort of the pool or a loop over it."""
    fill(world, count=20_000)
    with world.engine.begin() as conn:
        conn.execute(text("analyze pool_codes"))
        conn.execute(text(
            "create temporary table planned_coupons on commit drop as select n::bigint as enrollment_id, 'c' || n as customer_id,"
            " 0::smallint as offer, 'summer' as pool, null::bigint as coupon_id, timestamptz '2027-01-01' as valid_until,"
            " null::timestamptz as pool_until, null::text as code from generate_series(1, 10000) n"
        ))  # fmt: skip
        conn.execute(text("analyze planned_coupons"))
        sql = (INCLUDE / "sql/plan/claim_codes.sql").read_text()
        rows = conn.execute(
            text("explain (analyze, format json) " + sql), {"offer": 0, "pool": "summer", "least_until": AT}
        ).scalar_one()
    shown = json.dumps(rows)
    assert "ix_pool_codes_pool" in shown and "LockRows" in shown
    assert world.count("pool_codes") == 10_000


def test_thanks_go_to_who_has_used_hers(world, go):
    """As of the step's moment: not to who ordered later, was refunded, or ordered with somebody else's."""
    for who in ("used", "unused", "later", "back", "shared"):
        world.customer(who, "12-04")
    version = give(last_day="only_if: [{coupon: used}]", exit_when="[unsubscribed]")
    cohort_id = go(version, deliver=True)
    codes = dict(world.rows("select customer_id, code from coupons"))
    between = GREETING + timedelta(days=1)
    world.order("o1", "used", between, coupon=codes["used"].lower())
    world.order("o2", "later", LAST_DAY + timedelta(hours=1), coupon=codes["later"])
    world.order("o3", "back", between, coupon=codes["back"])
    world.add("order_status", order_id="o3", status="refunded", occurred_at=between, recorded_at=between)
    world.order("o4", "unused", between, coupon=codes["shared"])
    cohort.redeem(world.engine, clock=lambda: LAST_DAY)
    plan(world, cohort_id, at=LAST_DAY + timedelta(hours=2))
    sent = {who: reason for who, (_, _, reason) in world.decisions("last_day").items()}
    assert sent == {
        "used": None,
        "unused": "not_needed",
        "later": "not_needed",
        "back": "not_needed",
        "shared": "not_needed",
    }
    send(world, cohort_id, "last_day", LAST_DAY + timedelta(hours=2))
    assert sum(codes["used"] in said for (said,) in world.rows("select text from outbox")) == 2


MOVES = {
    ("reserved", "issued"), ("reserved", "given_back"), ("given_back", "reserved"), ("reserved", "redeemed"), ("reserved", "expired"),
    ("issued", "redeemed"), ("issued", "expired"), ("expired", "redeemed"), ("redeemed", "issued"), ("redeemed", "expired"),
}  # fmt: skip
"""What a coupon may become; anything else is a mistake."""


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_a_code_is_in_one_place(world, seed):
    """Days of plans, withheld messages, orders, refunds and looks at random: every code of the pool is free or one person's,
    none is lost, and coupons only move as they may."""
    rng = random.Random(seed)
    fill(world, count=14)
    version = give(
        "coupon: {kind: points, value: 5, pool: summer, valid: 2d, grace: 1d}", last_day="retired: true",
        exit_when="[unsubscribed]", entry="{window: 3d, backlog: skip}",
    )  # fmt: skip
    before, orders = {}, 0
    for day in range(5):
        at = AT + timedelta(days=day)
        for n in range(4):
            world.customer(f"d{day}c{n}", f"12-{4 + day:02}")
        cohort_id = cohort.enroll(world.engine, version, at, mode="live", clock=lambda at=at: at).cohort_id
        due = at + timedelta(hours=4)
        steps = [lambda now: plan(world, cohort_id, "greeting", now), lambda now: send(world, cohort_id, "greeting", now),
                 lambda now: world.consent(f"d{day}c{rng.randrange(4)}", "sms", False, now),
                 lambda now: plan(world, cohort_id, "greeting", now), lambda now: send(world, cohort_id, "greeting", now)]  # fmt: skip
        if rng.random() < 0.5:
            steps[1], steps[2] = steps[2], steps[1]
        for nth, step in enumerate(steps):
            step(due + timedelta(minutes=10 * nth))
            before = _follow(world, before)
        for code, who in rng.sample(world.rows("select code, customer_id from coupons"), 2):
            orders += 1
            now = due + timedelta(hours=rng.randrange(2, 12))
            world.order(f"o{orders}", who, now, coupon=code.lower())
            if rng.random() < 0.4:
                world.add("order_status", order_id=f"o{orders}", status="refunded", occurred_at=now + timedelta(hours=1),
                          recorded_at=now + timedelta(hours=1))  # fmt: skip
        cohort.redeem(world.engine, clock=lambda: due + timedelta(hours=14))
        before = _follow(world, before)
    cohort.redeem(world.engine, clock=lambda: AT + timedelta(days=30))
    _follow(world, before)
    assert world.count("coupons", state="reserved") == world.count("coupons", state="issued") == 0


def _follow(world, before):
    """The states now, after holding them against those before."""
    free = [code for (code,) in world.rows("select code from pool_codes")]
    held = [code for (code,) in world.rows("select code from coupons where state <> 'given_back'")]
    assert sorted(free + held) == [f"SUMMER-{n:06}" for n in range(1, 15)]
    now = dict(world.rows("select coupon_id, state from coupons"))
    moved = {(old, now[coupon_id]) for coupon_id, old in before.items() if old != now[coupon_id]}
    assert moved <= MOVES
    # What went out carries the code of whoever it went to.
    wrong = world.rows(
        "select count(*)::int from outbox o join messages m using (message_id) join coupons k using (coupon_id)"
        " where k.state = 'given_back' or o.text not like '%' || k.code || '%'"
    )
    assert wrong == [(0,)]
    return now
