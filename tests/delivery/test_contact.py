"""The rules of contact in plans and deliveries: caps, turns, hours, waves, favourites, fallbacks, what the law asks for."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from retention.delivery.hours import Window
from retention.errors import TooEarly
from retention.journey.load import load_version
from retention.journey.policy import Cap, Hours
from retention.orchestration import cohort
from tests.world import DAY, LONG_AGO, SHANGHAI, example, shanghai

AT = shanghai("2026-12-01 06:00")
TEN = shanghai("2026-12-01 10:00")


@dataclass(frozen=True)
class Rules:
    """A policy by hand. `caps` as {"all/day": 2, "sms/week": 1, "journey/day": 1}, `hours` by channel or country."""

    limits: dict = field(default_factory=dict)
    opening: dict = field(default_factory=dict)
    priority: tuple = ()
    choice: tuple = ()
    needs: dict = field(default_factory=dict)
    adult_age = 14

    def caps(self, journey, channel):
        own = {key: most for key, most in self.limits.items() if key.partition("/")[0] in ("all", "journey", channel)}
        return tuple(
            Cap(key.replace("journey/", f"journey:{journey}/"), key.partition("/")[2], most)
            for key, most in own.items()
        )

    def hours(self, channel, purpose, country):
        found = self.opening.get(country) or self.opening.get(channel)
        return Hours(time(found[0]), time(found[1])) if found else None

    def rank(self, journey):
        return self.priority.index(journey) if journey in self.priority else len(self.priority)

    def consents_needed(self, purpose, channel, country):
        return self.needs.get(country, ())


def journey(name="birthday_care", replace=(), **changes):
    """The shipped journey under another name, with no holdout and no limits of its own."""
    content = dict(example(**{"holdout": "0%", "exit_when": "[]", **changes}).content)
    text = content.pop("journeys/birthday_care.yaml").replace("journey: birthday_care ", f"journey: {name} ")
    for before, after in replace:
        assert before in text, before
        text = text.replace(before, after)
    return load_version({**content, f"journeys/{name}.yaml": text})


def enter(world, version=None, at=AT, **options):
    return cohort.enroll(world.engine, version or journey(), at, clock=lambda: at, **options).cohort_id


def plan(world, cohort_id, rules, step="greeting", at=TEN, **options):
    return cohort.plan(world.engine, cohort_id, step, policy=rules, clock=lambda: at, **options)


def deliver(world, cohort_id, rules, step="greeting", at=TEN, channels=("sms", "email"), waves=range(4)):
    """All waves and channels; the moments at which some may go on."""
    early = []
    for channel in channels:
        for wave in waves:
            try:
                cohort.deliver(world.engine, cohort_id, step, channel, wave=wave, policy=rules, clock=lambda: at)
            except TooEarly as error:
                early.append(error.at.astimezone(SHANGHAI))
    return sorted(early)


def decided(world, cohort_id):
    return dict(
        world.rows(
            "select e.customer_id, coalesce(m.reason, m.channel) from messages m join enrollments e using (enrollment_id)"
            " where m.cohort_id = :c order by m.attempt, m.message_id",
            c=cohort_id,
        )
    )


# Caps


@pytest.mark.parametrize(
    ("limits", "days_apart", "channel", "expected"),
    [
        ({"all/day": 1}, 0, "sms", "frequency_cap"),
        ({"all/day": 2}, 0, "sms", "sms"),
        ({"all/day": 1}, 1, "sms", "sms"),
        ({"all/week": 1}, 6, "sms", "frequency_cap"),
        ({"all/week": 1}, 7, "sms", "sms"),
        ({"all/month": 1}, 29, "sms", "frequency_cap"),
        ({"all/month": 1}, 30, "sms", "sms"),
        ({"sms/week": 1}, 2, "sms", "frequency_cap"),
        ({"email/week": 1}, 2, "sms", "sms"),
        ({"journey/week": 1}, 2, "sms", "sms"),  # of the other journey
        ({}, 0, "sms", "sms"),
    ],
)
def test_a_cap_counts_days_of_contact(world, limits, days_apart, channel, expected):
    rules, later = Rules(limits), timedelta(days=days_apart)
    world.customer("c", "12-04")
    plan(world, enter(world), rules)
    if days_apart:  # somebody's birthday is corrected, and the other journey takes her in
        birthday = date(2026, 12, 4) + later
        world.change_customer("c", LONG_AGO + DAY, birth_month=birthday.month, birth_day=birthday.day)
    second = enter(world, journey("other"), at=AT + later)
    plan(world, second, rules, at=TEN + later)
    assert decided(world, second) == {"c": expected}


def test_a_journeys_own_cap(world):
    world.customer("c", "12-04")
    rules = Rules({"journey/week": 1})
    cohort_id = enter(world, journey(replace=[("    only_if: coupon_unused\n", "")]))
    plan(world, cohort_id, rules)
    plan(world, cohort_id, rules, step="last_day", at=TEN + 6 * DAY)
    assert decided(world, cohort_id) == {"c": "frequency_cap"}


def test_transactional_messages_are_free_of_caps_but_not_of_suppression(world):
    rules = Rules({"all/day": 1})
    for who in ("c", "gone"):
        world.customer(who, "12-04")
    plan(world, enter(world), rules)
    content = {
        path: words.replace("purpose: marketing", "purpose: transactional")
        for path, words in journey("service").content.items()
    }
    second = enter(world, load_version(content))
    for channel, address in world.rows(
        "select 'sms', phone from customers where customer_id = 'gone'"
        " union all select 'email', email from customers where customer_id = 'gone'"
    ):
        world.suppress(channel, address)
    plan(world, second, rules)
    assert decided(world, second) == {"c": "sms", "gone": "suppressed"}
    assert world.count("contact_slots", journey="service") == 0


def test_what_does_not_take_place_does_not_count(world):
    rules = Rules({"all/week": 1})
    world.customer("c", "12-04")
    first = enter(world)
    plan(world, first, rules)
    assert world.count("contact_slots") == 1
    world.consent("c", "sms", False, TEN)
    deliver(world, first, rules)
    assert world.rows("select kind, reason from outcomes") == [("withheld", "no_consent")]
    assert world.count("contact_slots") == 0


def test_plans_at_the_same_time_never_pass_a_cap_together(world):
    """Five journeys plan for the same people at once; what each of them saw, the caps hold."""
    draw, rules = random.Random(5), Rules({"all/day": 2, "sms/day": 1})
    for n in range(60):
        world.customer(f"c{n}", "12-04", consent=draw.choice([("sms",), ("email",), ("sms", "email")]))
    cohorts = [enter(world, journey(f"j{n}")) for n in range(5)]
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda cohort_id: plan(world, cohort_id, rules), cohorts))
    most = world.rows(
        "select max(sends), max(sms), min(sends) from (select e.customer_id, count(*) as sends,"
        " count(*) filter (where m.channel = 'sms') as sms from messages m join enrollments e using (enrollment_id)"
        " where m.decision = 'send' group by 1) as by_person"
    )
    assert most == [(2, 1, 1)]  # and caps are used up: who has e-mail got two
    assert world.count("contact_slots") == world.count("messages", decision="send")


def test_a_step_on_each_channel_is_one_contact(world):
    rules = Rules({"all/day": 1, "sms/day": 1})
    world.customer("c", "12-04")
    world.customer("had_sms", "12-04")
    plan(world, enter(world), Rules({"all/day": 9}))
    both = journey("both", replace=[("channels: [sms, email]", "all: [sms, email]")])
    cohort_id = enter(world, both, at=AT)
    with world.engine.begin() as conn:
        conn.exec_driver_sql("delete from contact_slots where customer_id = 'c'")
    plan(world, cohort_id, Rules({"all/day": 2, "sms/day": 1}))
    rows = world.rows(
        "select e.customer_id, m.channel, m.role, m.reason from messages m join enrollments e using (enrollment_id)"
        " where m.cohort_id = :c order by 1, 2", c=cohort_id,
    )  # fmt: skip
    assert rows == [("c", "email", "also", None), ("c", "sms", "first", None), ("had_sms", "email", "first", None)]
    third = enter(world, journey("third"))
    plan(world, third, rules)
    assert set(decided(world, third).values()) == {"frequency_cap"}


# Whose turn it is


@pytest.mark.parametrize(
    ("priority", "most", "expected"),
    [
        (("first", "second"), 1, {"first": "sms", "second": "outranked"}),
        (("second", "first"), 1, {"first": "frequency_cap", "second": "sms"}),
        (("first", "second"), 2, {"first": "sms", "second": "sms"}),
        ((), 1, {"first": "frequency_cap", "second": "sms"}),  # who plans first
        (("first",), 1, {"first": "sms", "second": "outranked"}),  # who is not listed comes last
    ],
)
def test_priority_of_journeys_due_on_one_day(world, priority, most, expected):
    rules = Rules({"all/day": most}, priority=priority)
    world.customer("c", "12-04")
    cohorts = {name: enter(world, journey(name)) for name in ("first", "second")}
    for name in ("second", "first"):  # the second plans a moment earlier
        plan(world, cohorts[name], rules)
    assert {name: decided(world, cohort_id)["c"] for name, cohort_id in cohorts.items()} == expected


def test_nobody_yields_to_what_does_not_come(world):
    rules = Rules({"all/day": 1}, priority=("first", "second"))
    world.customer("c", "12-04")
    enter(world, journey("first"))
    second = enter(world, journey("second"))
    world.add("stops", journey="first", reason="x", stopped_by="x", stopped_at=AT)
    plan(world, second, rules)
    assert decided(world, second) == {"c": "sms"}


# Hours


def test_a_message_waits_for_its_receivers_hours(world):
    rules = Rules(opening={"sms": (12, 21)})
    world.customer("c", "12-04")
    cohort_id = enter(world)
    plan(world, cohort_id, rules)
    assert deliver(world, cohort_id, rules) == [shanghai("2026-12-01 12:00")]
    assert world.count("outbox") == 0
    assert deliver(world, cohort_id, rules, at=shanghai("2026-12-01 11:59:59")) == [shanghai("2026-12-01 12:00")]
    assert deliver(world, cohort_id, rules, at=shanghai("2026-12-01 12:00")) == []
    assert world.count("outbox") == 1


def test_who_comes_too_late_waits_for_the_next_day(world):
    rules = Rules(opening={"sms": (8, 21)})
    world.customer("c", "12-04")
    cohort_id = enter(world)
    plan(world, cohort_id, rules)
    assert deliver(world, cohort_id, rules, at=shanghai("2026-12-01 21:00")) == [shanghai("2026-12-02 08:00")]
    assert world.count("outcomes") == 0
    # The step expires on the third at ten: on its evening there is no next day.
    assert deliver(world, cohort_id, rules, at=shanghai("2026-12-02 21:30")) == [shanghai("2026-12-03 08:00")]
    assert deliver(world, cohort_id, rules, at=shanghai("2026-12-03 10:00")) == []
    assert world.rows("select kind, reason from outcomes") == [("withheld", "expired")]


def test_hours_that_begin_after_the_step_has_expired(world):
    rules = Rules(opening={"sms": (12, 13)})
    world.customer("c", "12-04", consent=("sms",))
    cohort_id = enter(world, journey(replace=[("expires: 2d", "expires: 1h")]))
    plan(world, cohort_id, rules)
    assert decided(world, cohort_id) == {"c": "expired"}
    other = enter(world, journey("b", replace=[("expires: 2d", "expires: 90m")]))
    plan(world, other, rules)
    assert deliver(world, other, rules, at=shanghai("2026-12-01 11:45")) == []  # it opens at 12:00, too late
    assert decided(world, other) == {"c": "expired"} or world.rows("select kind, reason from outcomes") == [
        ("withheld", "expired")
    ]


def test_a_step_at_ten_where_the_customer_lives(world):
    rules = Rules(opening={"sms": (8, 21)})
    zones = {
        "sh": "Asia/Shanghai", "ny": "America/New_York", "nz": "Pacific/Auckland", "none": None, "odd": "Asia/Peking",
    }  # fmt: skip
    for who, zone in zones.items():
        world.customer(who, "12-04", timezone=zone, consent=("sms",))
    version = journey(replace=[("    at: day 0, 10:00", "    at: day 0, 10:00\n    zone: customer")])
    cohort_id = enter(world, version)
    warnings = []
    planned = cohort.plan(
        world.engine, cohort_id, "greeting", policy=rules, clock=lambda: TEN, on_progress=warnings.append
    )
    assert len(warnings) == 1 and warnings[0].startswith("1 people have a time zone that is none (Asia/Peking)")
    not_before = dict(
        world.rows("select e.customer_id, m.not_before from messages m join enrollments e using (enrollment_id)")
    )
    here = {
        who: at.astimezone(ZoneInfo(zones[who] if who in ("ny", "nz") else "Asia/Shanghai"))
        for who, at in not_before.items()
    }
    assert {who: (at.day, at.hour) for who, at in here.items()} == {
        "sh": (1, 10), "ny": (1, 10), "nz": (1, 15), "none": (1, 10), "odd": (1, 10),
    }  # fmt: skip
    assert len(planned.shards) == 3  # a wave for each zone
    assert deliver(world, cohort_id, rules) == [not_before["ny"]]
    assert deliver(world, cohort_id, rules, at=not_before["ny"]) == []
    assert world.count("outbox") == 5


def test_a_test_that_is_on_time_waits_for_nothing(world):
    rules = Rules(opening={"sms": (12, 21)})
    world.customer("c", "12-04")
    cohort_id = enter(world, mode="test", is_on_time=True)
    plan(world, cohort_id, rules)
    assert deliver(world, cohort_id, rules) == []
    assert world.count("outbox") == 1


def test_never_outside_the_hours_in_any_zone(world):
    """Random zones, countries, windows and delays: what the outbox took, it took inside its receiver's hours."""
    draw = random.Random(11)
    zones = ["Asia/Shanghai", "America/New_York", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia", "nowhere", None]
    opening = {country: (draw.randrange(6, 13), draw.randrange(14, 23)) for country in ("CN", "US", "DE")}
    rules = Rules(opening={**opening, "sms": (9, 18), "email": (8, 20)})
    living = {}
    for n in range(80):
        living[f"c{n}"] = draw.choice(zones), draw.choice(["CN", "US", "DE", None])
        zone, country = living[f"c{n}"]
        world.customer(f"c{n}", "12-04", timezone=zone, country=country, consent=draw.choice([("sms",), ("email",)]))
    version = journey(replace=[("    at: day 0, 10:00", "    at: day 0, 10:00\n    zone: customer")])
    cohort_id = enter(world, version)
    plan(world, cohort_id, rules)
    waves = [wave for (wave,) in world.rows("select distinct wave from batches")]
    for hours in range(0, 60, 3):
        deliver(world, cohort_id, rules, at=TEN + timedelta(hours=hours, minutes=draw.randrange(180)), waves=waves)
    taken = world.rows(
        "select e.customer_id, m.channel, o.accepted_at from outbox o join messages m using (message_id)"
        " join enrollments e using (enrollment_id)"
    )
    assert len(taken) == 80
    for who, channel, at in taken:
        zone, country = living[who]
        hours = rules.hours(channel, "marketing", country)
        local = at.astimezone(ZoneInfo(zone) if zone and "/" in zone else SHANGHAI)
        assert Window(hours.opens, hours.closes).holds(local.time()), (who, channel, local)


# On which channel


def test_the_channel_somebody_named_comes_first(world):
    rules = Rules(choice=("preference",))
    world.customer("order", "12-04")
    world.customer("mail", "12-04", attributes={"preferred_channel": "email"})
    world.customer("odd", "12-04", attributes={"preferred_channel": "pigeon"})
    world.customer("mail_but_refused", "12-04", attributes={"preferred_channel": "email"}, consent=("sms",))
    cohort_id = enter(world)
    plan(world, cohort_id, rules)
    expected = {"order": "sms", "mail": "email", "odd": "sms", "mail_but_refused": "sms"}
    assert decided(world, cohort_id) == expected
    plan(world, cohort_id, rules)
    assert world.count("messages") == 4


def test_the_channel_somebody_answers_on_comes_first(world):
    rules = Rules(choice=("response",))
    for who in ("answers_mail", "silent"):
        world.customer(who, "12-04", consent=("email",))
    first = enter(world, journey("earlier"))
    plan(world, first, Rules())
    deliver(world, first, Rules())
    (message,) = world.rows(
        "select message_id from messages join enrollments using (enrollment_id) where customer_id = 'answers_mail'"
    )
    at = TEN + timedelta(hours=1)
    world.add("outcomes", message_id=message[0], kind="clicked", occurred_at=at, recorded_at=at)
    for who in ("answers_mail", "silent"):
        world.consent(who, "sms", True)
    later = 3 * DAY
    for who in ("answers_mail", "silent"):
        world.change_customer(who, LONG_AGO + DAY, birth_day=7)
    cohort_id = enter(world, at=AT + later)
    plan(world, cohort_id, rules, at=TEN + later)
    assert decided(world, cohort_id) == {"answers_mail": "email", "silent": "sms"}


def test_the_shops_rates_weigh_in_once_they_are_known(world):
    """Of the same answers: without a run of preferences the channel with more of them, with one the one that people here answer."""
    from tests.audience.test_preferences import Mailbox

    world.customer("a", "12-04")
    mailbox = Mailbox(world.engine)
    mailbox.many("a", "sms", AT - 9 * DAY, 1, 1)
    mailbox.many("a", "email", AT - 8 * DAY, 3, 2)
    with world.engine.begin() as conn:
        conn.execute(text("update enrollments set mode = 'test'"))

    def choose(name, at):
        cohort_id = enter(world, journey(name))
        plan(world, cohort_id, Rules(choice=("response",)), at=at)
        return decided(world, cohort_id)["a"]

    assert choose("before", TEN) == "email"
    row = {"as_of": TEN, "known_at": TEN, "zone": "UTC", "look_back_s": 30 * 86400, "slot_hours": 3, "customers": 0}
    world.add("preference_runs", strength=10, **row)
    for channel, rate in (("sms", 0.9), ("email", 0.2)):
        world.add(
            "preference_rates", as_of=TEN, kind="channel", option=channel, sent=100, responses=100 * rate, rate=rate
        )
    assert choose("known", TEN) == "sms"
    later = {**row, "as_of": TEN + timedelta(minutes=1), "look_back_s": 8 * 86400}
    world.add("preference_runs", strength=10, **later)
    assert choose("none_of_it_counts", TEN + timedelta(minutes=2)) == "sms", "the step's own order"


def test_what_bounced_goes_out_on_the_next_channel_once(world):
    rules = Rules({"all/day": 1, "sms/day": 1})
    fallback = [
        ("channels: [sms, email]}    # the first that reaches the customer", "channels: [sms, email], fallback: 4h}")
    ]
    for who in ("bounced", "fine", "no_mail"):
        world.customer(who, "12-04", consent=("sms",) if who == "no_mail" else ("sms", "email"))
    cohort_id = enter(world, journey(replace=fallback))
    plan(world, cohort_id, rules)
    deliver(world, cohort_id, rules)
    at = TEN + timedelta(minutes=5)
    for (message,) in world.rows(
        "select message_id from messages join enrollments using (enrollment_id) where customer_id <> 'fine'"
    ):
        world.add("outcomes", message_id=message, kind="undelivered", occurred_at=at, recorded_at=at)
    for _ in range(2):
        plan(world, cohort_id, rules, at=TEN + timedelta(hours=4), is_fallback=True)
        deliver(world, cohort_id, rules, at=TEN + timedelta(hours=4))
    sent = world.rows(
        "select e.customer_id, m.channel, m.role from messages m join enrollments e using (enrollment_id) order by 1, 2"
    )
    assert sent == [
        ("bounced", "email", "fallback"), ("bounced", "sms", "first"), ("fine", "sms", "first"), ("no_mail", "sms", "first"),
    ]  # fmt: skip
    assert world.count("outbox") == 4
    assert world.rows("select count(distinct coupon_id) from messages") == [(3,)]  # with the same coupon


# What the law asks for


def test_who_has_not_agreed_to_what_a_country_asks_for(world):
    rules = Rules(needs={"CN": ("abroad", "adult"), "US": ("wording",), "DE": ("profiling",)})
    world.customer("cn", "12-04")
    world.customer("cn_agreed", "12-04")
    world.customer("cn_child", "12-04", birth_year=2016)
    world.customer("us", "12-04", country="US", consent=())
    world.customer("us_proof", "12-04", country="US", consent=())
    world.customer("de", "12-04", country="DE")
    world.customer("de_objects", "12-04", country="DE")
    world.customer("fr", "12-04", country="FR")
    said = {"source": "shop", "occurred_at": LONG_AGO, "recorded_at": LONG_AGO}
    for who, subject, is_granted in (
        ("cn_agreed", "abroad", True), ("cn_child", "abroad", True), ("de_objects", "profiling", False),
    ):  # fmt: skip
        world.add("choices", customer_id=who, subject=subject, is_granted=is_granted, **said)
    world.add(
        "consents",
        customer_id="us_proof",
        channel="email",
        purpose="marketing",
        is_granted=True,
        wording="I agree",
        **said,
    )
    cohort_id = enter(world)
    plan(world, cohort_id, rules)
    assert decided(world, cohort_id) == {
        "cn": "no_consent", "cn_agreed": "sms", "cn_child": "no_consent", "us": "no_consent", "us_proof": "email",
        "de": "sms", "de_objects": "no_consent", "fr": "sms",
    }  # fmt: skip


def test_what_somebody_refuses_before_the_hand_over_is_withheld(world):
    rules = Rules(needs={None: ("abroad",), "CN": ("abroad",)})
    world.customer("c", "12-04")
    said = {"customer_id": "c", "subject": "abroad", "source": "page"}
    world.add("choices", is_granted=True, occurred_at=LONG_AGO, recorded_at=LONG_AGO, **said)
    cohort_id = enter(world)
    plan(world, cohort_id, rules)
    now = TEN + timedelta(minutes=1)
    world.add("choices", is_granted=False, occurred_at=now, recorded_at=now, **said)
    deliver(world, cohort_id, rules, at=now)
    assert world.rows("select kind, reason from outcomes") == [("withheld", "no_consent")]


def test_nothing_is_decided_twice_with_all_rules_at_once(world):
    rules = Rules(
        {"all/day": 1, "all/week": 2, "sms/week": 1}, {"sms": (8, 21)}, ("other",), ("preference", "response")
    )
    for n in range(30):
        world.customer(f"c{n}", "12-04")
    cohort_id = enter(world)
    for _ in range(3):
        plan(world, cohort_id, rules)
        deliver(world, cohort_id, rules)
    assert world.count("messages") == world.count("outbox") == world.count("contact_slots") == 30
