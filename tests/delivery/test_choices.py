"""Words and coupons that differ by a value of the customer: chosen with the plan, kept with the message, written so."""

import pytest
from sqlalchemy import text

from retention.journey.files import Files
from retention.journey.load import load, load_version
from retention.orchestration import cohort
from tests.delivery.test_plan import AT, GREETING, LAST_DAY, deliver, plan
from tests.world import DAY, example

JOURNEY = "journeys/birthday_care.yaml"
BEST = "templates/birthday/best/"


def make_version(coupon="", send="", words=""):
    """The shipped journey with `instead` in its first step, and a second template that `words` are in."""
    content = dict(example(holdout="0%").content)
    content[JOURNEY] = (
        content[JOURNEY]
        .replace("valid: 7d}", f"valid: 7d{coupon}}}", 1)
        .replace("send: {template: birthday/greeting,", f"send: {{template: birthday/greeting{send},", 1)
    )
    for path in [it for it in content if it.startswith("templates/birthday/greeting/")]:
        content[path.replace("templates/birthday/greeting/", BEST)] = content[path]
    for path, said in list(content.items()):
        if path.endswith("sms.zh-CN.txt") and path.startswith(BEST):
            content[path] = words or f"最好的：{said}"
    if BEST.split("/")[2] not in content[JOURNEY]:
        content = {path: said for path, said in content.items() if not path.startswith(BEST)}
    return load_version(content)


def put_in_tier(world, customer_id, tier, at=AT - DAY):
    world.add("tiers", customer_id=customer_id, scheme="six", tier=tier, previous=None, since=at)


def enroll(world, version):
    return cohort.enroll(world.engine, version, AT, clock=lambda: AT).cohort_id


def outbox(world, step="greeting"):
    found = world.rows(
        "select e.customer_id, x.text from outbox x join messages m using (message_id) join enrollments e using (enrollment_id)"
        " where m.step = :step",
        step=step,
    )
    return dict(found)


@pytest.fixture
def people(world):
    for customer_id in ("ann", "bob", "cat", "dan"):
        world.customer(customer_id, "12-04")
    put_in_tier(world, "ann", "diamond")
    put_in_tier(world, "bob", "gold")
    put_in_tier(world, "cat", "diamond", at=GREETING + DAY)  # too late for the greeting
    return world


def test_everybody_gets_the_coupon_of_their_tier(people):
    more = ", instead: {by: tier, diamond: {kind: gift, gift: 挂耳咖啡, valid: 14d}, gold: {kind: percent_off, value: 30, valid: 3d}}"
    cohort_id = enroll(people, make_version(coupon=more))
    plan(people, cohort_id)
    got = people.rows("select customer_id, kind, value::int, gift ->> '' from coupons order by 1")
    assert got == [
        ("ann", "gift", None, "挂耳咖啡"), ("bob", "percent_off", 30, None),
        ("cat", "percent_off", 20, None), ("dan", "percent_off", 20, None),
    ]  # fmt: skip


def test_everybody_gets_the_words_of_their_tier_and_the_message_keeps_which(people):
    version = make_version(send=", instead: {by: tier, diamond: birthday/best, gold: birthday/best}")
    cohort_id = enroll(people, version)
    plan(people, cohort_id)
    kept = people.rows("select customer_id, template from messages join enrollments using (enrollment_id) order by 1")
    assert kept == [("ann", "birthday/best"), ("bob", "birthday/best"), ("cat", None), ("dan", None)]
    with people.engine.begin() as conn:  # decided once: what changes later does not matter
        conn.execute(text("update tiers set tier = 'silver' where customer_id = 'ann'"))
    deliver(people, cohort_id)
    assert {who for who, body in outbox(people).items() if body.startswith("最好的：")} == {"ann", "bob"}


def test_words_may_speak_of_tier_and_category(people):
    words = (
        '【{{ shop.name }}】{% if customer.tier == "diamond" %}钻石会员{% elif customer.tier %}会员{% else %}您好{% endif %}'
        "，{{ customer.category }}券{{ coupon.code }}。回复TD退订"
    )
    people.order("o1", "ann", AT - 3 * DAY)
    with people.engine.begin() as conn:
        conn.execute(text("update order_items set category = 'tea' where order_id = 'o1'"))
    version = make_version(send=", instead: {by: country, CN: birthday/best}", words=words)
    cohort_id = enroll(people, version)
    plan(people, cohort_id)
    deliver(people, cohort_id)
    said = {who: body.split("券")[0] for who, body in outbox(people).items()}
    assert said == {
        "ann": "【青禾生活】钻石会员，tea", "bob": "【青禾生活】会员，", "cat": "【青禾生活】您好，", "dan": "【青禾生活】您好，",
    }  # fmt: skip
    plan(people, cohort_id, "last_day", at=LAST_DAY)
    assert people.count("messages", template=None, step="last_day") == 4


def test_a_step_without_choices_keeps_none(people):
    cohort_id = enroll(people, example(holdout="0%"))
    plan(people, cohort_id)
    assert people.rows("select distinct template, facts::text from messages") == [(None, None)]


def test_templates_of_one_step_have_one_purpose():
    content = dict(example().content)
    content[JOURNEY] = content[JOURNEY].replace(
        "template: birthday/last_day,", "template: birthday/last_day, instead: {by: country, US: birthday/best},", 1
    )
    for path in [it for it in content if it.startswith("templates/birthday/last_day/")]:
        name = path.replace("templates/birthday/last_day/", BEST)
        content[name] = content[path].replace("purpose: marketing", "purpose: transactional")
    [problem] = [it for it in load(Files(content)).problems if "transactional" in str(it)]
    assert "All words of a step have one purpose" in str(problem)
