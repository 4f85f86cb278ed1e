"""The scorecard of churn: every ramp and threshold at, below and above its edge; what has no data; the dead band."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from retention.audience.scores.churn import calibrate_churn, explain_churn, refresh_churn
from retention.audience.select import fetch_audience
from retention.errors import RetentionError
from retention.journey.scores import Scores
from retention.store.queries import look_as_of
from tests.world import DAY, INCLUDE, LONG_AGO, shanghai

NOW = shanghai("2026-12-01 12:00")
TICK = timedelta(microseconds=1)
ZONE = "Asia/Shanghai"
OFF = {"weight": 0}


def only(*names, **changes) -> Scores:
    """Rules in which these indicators alone weigh anything."""
    every = ("overdue", "no_login", "no_response", "complaints", "undone")
    return Scores.model_validate({"churn": {name: OFF for name in every if name not in names} | changes})


@pytest.fixture
def shop(world):
    return Shop(world)


class Shop:
    """Customers with orders, events, messages and their churn, by the line. Everybody buys every 10 days unless said."""

    def __init__(self, world):
        self.world, self.engine, self.count = world, world.engine, 0

    def customer(self, customer_id="c", since=LONG_AGO):
        self.world.add("customers", customer_id=customer_id, occurred_at=since, recorded_at=since)
        return customer_id

    def buy(self, customer_id, *days_ago, status=None, amount=10, recorded=None):
        for ago in days_ago:
            self.count += 1
            at = NOW - ago * DAY
            self.world.add(
                "orders", order_id=f"o{self.count}", customer_id=customer_id, amount=amount, currency="CNY",
                occurred_at=at, recorded_at=recorded or at,
            )  # fmt: skip
            if status:
                self.world.add("order_status", order_id=f"o{self.count}", status=status, occurred_at=at, recorded_at=at)

    def regulars(self, count=10, every=10):
        for n in range(count):
            self.customer(f"regular{n}")
            self.buy(f"regular{n}", *range(1, 6 * every, every))

    def event(self, kind, ago, customer_id="c"):
        at = NOW - (ago if isinstance(ago, timedelta) else ago * DAY)
        self.world.add("events", customer_id=customer_id, kind=kind, occurred_at=at, recorded_at=at)

    def write(self, ago, customer_id="c", mode="live", answer=None, after=DAY, is_machine=False):
        """A message that was handed over so long ago, and perhaps answered."""
        at = NOW - (ago if isinstance(ago, timedelta) else ago * DAY)
        self.count += 1
        n, far = self.count, {"due_at": at, "not_before": at, "not_after": at, "planned_at": at}
        with self.engine.begin() as conn:

            def one(sql, **values):
                return conn.execute(text(sql), values).scalar_one()

            version = one("insert into journey_versions (journey, content_hash, content, created_at)"
                          " values ('j', :h, '{}', :at) returning version_id", h=f"h{n}", at=at)  # fmt: skip
            cohort = one("insert into cohorts (mode, journey, cohort_at, version_id, status, candidates, created_at) values"
                         " (:m, 'j', :at, :v, 'open', 1, :at) returning cohort_id", m=mode, v=version, at=at + n * TICK)  # fmt: skip
            enrollment = one(
                "insert into enrollments (cohort_id, mode, journey, customer_id, occurrence, arm, is_eligible, entered_at)"
                " values (:k, :m, 'j', :c, :o, 'a', true, :at) returning enrollment_id",
                k=cohort, m=mode, c=customer_id, o=f"o{n}", at=at,
            )  # fmt: skip
            batch = one("insert into batches (cohort_id, step, channel, wave, ordinal, size, state, planned_at) values"
                        " (:k, 's', 'email', 0, 0, 1, 'done', :at) returning batch_id", k=cohort, at=at)  # fmt: skip
            message = one(
                "insert into messages (enrollment_id, cohort_id, step, channel, attempt, role, decision, address, locale,"
                " batch_id, due_at, not_before, not_after, planned_at) values (:e, :k, 's', 'email', 1, 'first', 'send',"
                " 'x@example.com', 'en', :b, :due_at, :not_before, :not_after, :planned_at) returning message_id",
                e=enrollment, k=cohort, b=batch, **far,
            )  # fmt: skip
            for kind, when in (("accepted", at), (answer, at + after)):
                if kind:
                    conn.execute(
                        text("insert into outcomes (message_id, kind, occurred_at, recorded_at, is_machine)"
                             " values (:m, :k, :at, :at, :x)"),
                        {"m": message, "k": kind, "at": when, "x": is_machine and kind != "accepted"},
                    )  # fmt: skip

    def score(self, config=None, as_of=NOW, **how):
        with self.engine.begin() as conn:
            return refresh_churn(conn, as_of, now=as_of, zone=ZONE, config=config, **how)

    def explain(self, customer_id="c", as_of=NOW):
        with self.engine.begin() as conn:
            return explain_churn(conn, customer_id, as_of)

    def line(self, name, config=None, customer_id="c"):
        """The input and the share of one indicator, scored by its rules alone."""
        self.score(config or only(name))
        told = next(it for it in self.explain(customer_id).indicators if it.name == name)
        return told.input, told.share

    def lines(self, name, keys, prefix="c"):
        """The same of several customers, by key."""
        self.score(only(name))
        lines = {key: self.explain(f"{prefix}{key}").indicators for key in keys}
        return {key: next((it.input, it.share) for it in told if it.name == name) for key, told in lines.items()}

    def named(self, audience, as_of):
        """What the shipped audience returns."""
        sql = (INCLUDE / "sql" / "audiences" / f"{audience}.sql").read_text()
        with self.engine.connect() as conn:
            conn.execute(text("create temporary table named (customer_id text, occurrence text) on commit drop"))
            fetch_audience(conn, audience, sql, as_of=as_of, window_start=as_of - 3 * DAY, zone=ZONE, into="named")
            return [tuple(row) for row in conn.execute(text("select * from named order by 1"))]

    def states(self, as_of=NOW):
        with self.engine.begin() as conn:
            look_as_of(conn, as_of)
            return dict(tuple(row) for row in conn.execute(text("select customer_id, state from as_of.churn")))


# --- each indicator at its edges ----------------------------------------------------------------------------------------


def test_overdue_is_told_in_intervals(shop):
    shop.regulars()
    edges = {9: 0, 10: 0, 11: 0.05, 20: 0.5, 29: 0.95, 30: 1, 31: 1, 0: 0}
    for silent in edges:
        shop.buy(shop.customer(f"c{silent}"), silent)  # without a rhythm of its own: everybody's, 10 days
    assert shop.lines("overdue", edges) == {n: (n / 10, pytest.approx(edges[n])) for n in edges}


def test_the_own_rhythm_counts_and_is_drawn_to_everybodys(shop):
    shop.regulars()
    shop.customer("rare"), shop.customer("once")
    shop.buy("rare", 40, 130, 220, 310)  # three intervals of 90, as much as everybody's 10: 50
    shop.buy("once", 40)
    shop.score()
    rare, once = shop.explain("rare"), shop.explain("once")
    assert rare.facts["own_days"] == 90 and rare.facts["drawn_days"] == 50 and once.facts["drawn_days"] == 10
    assert rare.state == "active" and once.state == "churned"


def test_in_a_small_shop_an_own_rhythm_needs_three_intervals(shop):
    for name, bought in (("two", (5, 10, 15)), ("three", (5, 10, 15, 20)), ("one_day", (5, 5, 5, 5))):
        shop.buy(shop.customer(name), *bought)
    shop.score(only("overdue"))
    told = {name: shop.explain(name) for name in ("two", "three", "one_day")}
    assert {name: it.facts["drawn_days"] for name, it in told.items()} == {"two": None, "three": 5, "one_day": None}
    assert {name for name, it in told.items() if it.score is None} == {"two", "one_day"}
    assert {name for name, it in told.items() if it.indicators[0].left_out} == {"two", "one_day"}


def test_nine_customers_with_a_rhythm_are_not_everybody(shop):
    shop.customer()
    shop.buy("c", 50)
    shop.regulars(9)
    assert shop.line("overdue") == (None, None)
    with shop.engine.begin() as conn:
        conn.execute(text("truncate standing_runs, churn"))
    shop.customer("tenth")
    shop.buy("tenth", 5, 15)
    assert shop.line("overdue") == (5, 1)


def test_no_login_at_its_edges(shop):
    shop.event("login", 90, "other"), shop.event("login", 1, "other")
    edges = [(30 * DAY - TICK, 0), (30 * DAY, 0), (60 * DAY, 0.5), (90 * DAY - TICK, 1), (90 * DAY, 1), (91 * DAY, 1)]
    for n, (ago, _) in enumerate(edges):
        shop.buy(shop.customer(f"c{n}"), 200)
        shop.event("login", ago, f"c{n}")
    told = shop.lines("no_login", range(6))
    assert [share for _, share in told.values()] == [pytest.approx(share) for _, share in edges]


def test_a_purchase_is_a_sign_of_life_too(shop):
    shop.customer(), shop.customer("other")
    shop.event("login", 90, "other"), shop.event("login", 1, "other"), shop.event("login", 80)
    shop.buy("c", 60)
    assert shop.line("no_login") == (60, pytest.approx(0.5))


@pytest.mark.parametrize(
    ("begun", "last", "is_told"),
    [
        (90 * DAY, 30 * DAY - TICK, True),
        (90 * DAY - TICK, DAY, False),  # not for long enough: silence would prove nothing
        (90 * DAY, 30 * DAY, False),  # not any more
    ],
)
def test_logins_count_where_the_shop_tells_of_them(shop, begun, last, is_told):
    shop.customer()
    shop.buy("c", 200)
    shop.event("login", begun, "other"), shop.event("login", last, "other")
    assert shop.line("no_login", only("no_login", "overdue"))[1] == (1 if is_told else None)
    assert (shop.explain().indicators[1].left_out is None) == is_told


RESPONSES = [
    ([], (None, None)),
    ([dict(ago=3 * DAY - TICK)], (None, None)),  # may still be answered
    ([dict(ago=3 * DAY)], (1, pytest.approx(1 / 3))),
    ([dict(ago=90 * DAY)], (None, None)),  # too long ago
    ([dict(ago=90 * DAY - TICK)], (1, pytest.approx(1 / 3))),
    ([dict(ago=n) for n in (10, 20)], (2, pytest.approx(2 / 3))),
    ([dict(ago=n) for n in (10, 20, 30)], (3, 1)),
    ([dict(ago=n) for n in (10, 20, 30, 40)], (4, 1)),
    ([dict(ago=n, mode="test") for n in (10, 20)], (None, None)),
    ([dict(ago=40), dict(ago=30, answer="clicked"), dict(ago=20)], (1, pytest.approx(1 / 3))),
    ([dict(ago=40), dict(ago=30, answer="opened", is_machine=True), dict(ago=20)], (3, 1)),
    ([dict(ago=40), dict(ago=30, answer="delivered"), dict(ago=20)], (3, 1)),
    ([dict(ago=40), dict(ago=30, answer="replied", after=20 * DAY)], (0, 0)),
]


def test_no_response_counts_messages_since_the_last_sign_of_life(shop):
    for n, (messages, _) in enumerate(RESPONSES):
        shop.buy(shop.customer(f"c{n}"), 200)
        for message in messages:
            shop.write(customer_id=f"c{n}", **message)
    assert list(shop.lines("no_response", range(len(RESPONSES))).values()) == [told for _, told in RESPONSES]


def test_a_login_or_an_order_is_a_response(shop):
    shop.buy(shop.customer("login"), 200), shop.buy(shop.customer("order"), 200, 25)
    shop.event("login", 25, "login")
    for name in ("login", "order"):
        shop.write(40, name), shop.write(20, name)
    assert set(shop.lines("no_response", ("login", "order"), prefix="").values()) == {(1, 1 / 3)}


COMPLAINTS = [
    ([], [], (0, 0)), ([10], [], (1, 0.5)), ([10, 20], [], (2, 1)), ([10, 20, 30], [], (3, 1)),
    ([10], [5], (0.5, 0.25)), ([10], [5, 6], (0.5, 0.25)), ([180], [], (0, 0)), ([180 * DAY - TICK], [], (1, 0.5)),
]  # fmt: skip


def test_complaints_at_their_edges(shop):
    shop.event("complaint_opened", 500, "other")
    for n, (opened, solved, _) in enumerate(COMPLAINTS):
        shop.buy(shop.customer(f"c{n}"), 200)
        for ago in opened:
            shop.event("complaint_opened", ago, f"c{n}")
        for ago in solved:
            shop.event("complaint_solved", ago, f"c{n}")
    assert list(shop.lines("complaints", range(8)).values()) == [told for *_, told in COMPLAINTS]


def test_a_shop_that_tells_of_nothing_is_said_to(shop):
    shop.regulars()
    for kind, ago in (("complaint_opened", 9), ("login", 100), ("login", 1)):  # it will, but nobody knows yet
        at = {"occurred_at": NOW - ago * DAY, "recorded_at": NOW + TICK}
        shop.world.add("events", customer_id="regular0", kind=kind, **at)
        shop.world.add("order_status", order_id=f"o{ago}", status="refunded", **at)
    found = shop.score().found
    assert found["with_data"]["overdue"] == 10
    assert found["left_out"] == ["no_login", "no_response", "complaints", "undone"]
    left_out = {it.name: it.left_out for it in shop.explain("regular0").indicators}
    assert left_out == {
        "overdue": None,
        "no_login": "the shop tells of no logins, or not for long enough",
        "no_response": "not written to in the window",
        "complaints": "the shop tells of no complaints",
        "undone": "the shop tells of no cancelled or refunded orders",
    }


def test_cancelled_and_refunded_orders(shop):
    shares = {(0, 4): (0, 0), (1, 3): (0.25, 0.5), (2, 2): (0.5, 1), (4, 1): (0.8, 1)}
    for n, (bad, good) in enumerate(shares):
        shop.buy(shop.customer(f"c{n}"), 181, *range(1, good + 1))  # the oldest is out of the window
        shop.buy(f"c{n}", *range(20, 20 + bad), status="refunded")
    shop.buy(shop.customer("c4"), 180)  # nothing in the window: nothing to cancel
    shop.buy("other", 5, status="cancelled")
    assert list(shop.lines("undone", range(5)).values()) == [*shares.values(), (None, None)]


# --- the score and its thresholds ---------------------------------------------------------------------------------------


def test_contributions_add_up_and_the_rest_weighs_more(shop):
    shop.regulars()
    shop.customer()
    shop.buy("c", 20)  # overdue by two intervals: a half
    shop.event("complaint_opened", 3)
    shop.score()
    told = shop.explain()
    shares = {it.name: it.contribution for it in told.indicators}
    assert shares == {"overdue": pytest.approx(40), "no_login": None, "no_response": None,
                      "complaints": pytest.approx(10), "undone": None}  # of 40 and 10 that have data  # fmt: skip
    assert told.score == 50 and told.state == "warning"
    with shop.engine.begin() as conn:
        look_as_of(conn, NOW)
        kept = conn.execute(
            text("select score, overdue, no_login, complaints from as_of.churn where customer_id = 'c'")
        )
        assert tuple(kept.one()) == (50, 40, None, 10)


def test_thresholds_are_reached(shop):
    shop.regulars()
    edges = {18: "active", 19: "warning", 20: "warning", 23: "warning", 24: "churned", 99: "churned"}
    for silent in edges:  # 45 points are 1.9 intervals, 70 are 2.4
        shop.buy(shop.customer(f"c{silent}"), silent)
    shop.score(only("overdue"))
    assert {silent: shop.states()[f"c{silent}"] for silent in edges} == edges


def test_a_state_is_kept_until_the_dead_band_is_left(shop):
    shop.regulars()
    shop.customer()
    shop.buy("c", 24)
    states, scores = [], []
    for n, (warning, churned) in enumerate(
        [(45, 70), (45, 74), (45, 75), (45, 75.1), (74, 80), (75, 80), (75.1, 80), (75, 80)]
    ):
        shop.score(only("overdue", warning=warning, churned=churned), NOW + n * TICK)
        told = shop.explain(as_of=NOW + n * TICK)
        states.append(told.state), scores.append(told.score)
    assert set(scores) == {70}
    assert states == ["churned", "churned", "churned", "warning", "warning", "warning", "active", "active"]
    assert [(it.state, it.previous) for it in told.history] == [
        ("churned", None),
        ("warning", "churned"),
        ("active", "warning"),
    ]


def test_too_little_known_is_no_score(shop):
    shop.customer()
    shop.buy("c", 200)
    shop.event("complaint_opened", 1)
    shop.score()  # complaints are 10 of 100
    assert shop.explain().score is None and "30%" in shop.explain().note and shop.states() == {}
    shop.score(Scores.model_validate({"churn": {"least_known": "10%"}}), NOW + TICK)
    assert shop.states(NOW + TICK) == {"c": "warning"}  # one complaint: a half


def test_tiny_shops(shop):
    names = [shop.customer(f"c{n}") for n in range(7)]
    for day, buyers in enumerate(([], names[:1], names[1:])):  # 0, 1, 7 in all
        for name in buyers:
            shop.buy(name, *range(5, 45, 10))
        done = shop.score(as_of=NOW + day * TICK)
        assert done.customers == len(shop.states(NOW + day * TICK)) == (0, 1, 7)[day]


def test_equal_customers_are_scored_alike_and_a_second_look_changes_nothing(shop):
    shop.regulars(30)
    assert shop.score().moved == 30
    again = shop.score()
    assert again.is_repeat and again.moved == 30
    assert shop.score(as_of=NOW + DAY).moved == 0
    assert len({shop.explain(f"regular{n}").score for n in range(30)}) == 1
    with pytest.raises(RetentionError, match="is not later"):
        shop.score(as_of=NOW)


def test_who_never_bought_or_is_nobody_is_not_scored(shop):
    shop.regulars()
    shop.customer("looks"), shop.customer("cancelled"), shop.customer("credit")
    shop.buy("cancelled", 50, status="cancelled"), shop.buy("credit", 50, amount=-5), shop.buy("stranger", 50)
    shop.score()
    assert set(shop.states()) == {f"regular{n}" for n in range(10)}
    assert shop.explain("looks").note.startswith("no customer then, or one who never bought")


def test_a_credit_and_a_refunded_order_set_no_rhythm(shop):
    shop.regulars()
    shop.customer()
    shop.buy("c", 30), shop.buy("c", 2, amount=-5), shop.buy("c", 1, status="refunded")
    assert shop.line("overdue") == (3, 1)


def test_what_is_not_known_yet_or_is_yet_to_come_does_not_count(shop):
    shop.regulars()
    shop.customer(), shop.customer("other")
    shop.buy("c", 28)
    shop.event("login", 90, "other"), shop.event("login", 28, "other"), shop.event("complaint_opened", 300, "other")
    shop.buy("other", 300, status="cancelled"), shop.write(10)
    shop.score()
    before = shop.explain()
    with shop.engine.begin() as conn:
        conn.execute(text("truncate standing_runs, churn"))
    for at, known in ((NOW - DAY, NOW + TICK), (NOW + TICK, NOW)):  # learned later; or known, and yet to happen
        when = {"customer_id": "c", "occurred_at": at, "recorded_at": known}
        shop.world.add("orders", order_id=f"late{at}", **when)
        shop.world.add("order_status", order_id="o61", status="refunded", occurred_at=at, recorded_at=known)
        for kind in ("login", "complaint_opened"):
            shop.world.add("events", kind=kind, **when)
        shop.world.add("outcomes", message_id=1, kind="clicked", occurred_at=at, recorded_at=known)
    shop.score()
    assert shop.explain() == before
    shop.score(as_of=NOW + DAY)
    told = shop.explain(as_of=NOW + DAY)
    assert told.facts["opened"] == 2 and told.facts["silent_days"] == 1 and told.facts["unanswered"] == 0


def test_an_order_that_turned_out_to_be_anothers_is_anothers(shop):
    shop.regulars()
    shop.customer(), shop.customer("other")
    shop.buy("c", 30)
    shop.score()
    with shop.engine.begin() as conn:
        at = {"at": NOW + TICK}
        conn.execute(text("update orders set customer_id = 'other', recorded_at = :at where customer_id = 'c'"), at)
    shop.score(as_of=NOW + DAY)
    assert {"c", "other"} & set(shop.states()) == {"c"} and {"c", "other"} & set(shop.states(NOW + DAY)) == {"other"}


def test_a_customer_who_is_gone_has_no_state_any_more(shop):
    shop.regulars()
    shop.score()
    with shop.engine.begin() as conn:
        conn.execute(text("delete from customers where customer_id = 'regular0'"))
        conn.execute(text("delete from customer_history"))
    assert shop.score(as_of=NOW + DAY).moved == 1
    assert "regular0" in shop.states() and "regular0" not in shop.states(NOW + DAY)


# --- what journeys see --------------------------------------------------------------------------------------------------


def test_a_change_of_state_is_something_journeys_start_from(shop):
    shop.regulars()
    for name, silent in (("soon", 18), ("lost", 23), ("lost_from_the_start", 50)):
        shop.buy(shop.customer(name), silent)
    shop.score(only("overdue"))
    later = NOW + DAY
    shop.score(only("overdue"), later)
    assert shop.states(NOW)["lost"] == "warning" and shop.states(later)["lost"] == "churned"
    assert shop.named("churned", later) == [("lost", "churned:2026-12-02T12:00")]
    assert shop.named("early_warning", later) == [("soon", "early_warning:2026-12-02T12:00")]
    assert shop.named("churned", later - TICK) == shop.named("churned", later + 3 * DAY) == []
    shop.score(only("overdue"), NOW + 25 * DAY)  # from active to churned at once: both
    both = {f"regular{n}" for n in range(10)}
    assert {who for who, _ in shop.named("early_warning", NOW + 25 * DAY)} == both
    assert {who for who, _ in shop.named("churned", NOW + 25 * DAY)} == both | {"soon"}


def test_the_scorecard_is_held_against_what_happened(shop):
    shop.regulars(20)
    for n in range(20):
        shop.customer(f"gone{n}")
        shop.buy(f"gone{n}", *range(60, 120, 10))
    for n in range(20):
        shop.world.add("orders", order_id=f"next{n}", customer_id=f"regular{n}", amount=1, currency="CNY",
                       occurred_at=NOW + 9 * DAY, recorded_at=NOW + 9 * DAY)  # fmt: skip
    with shop.engine.begin() as conn:
        found = calibrate_churn(conn, NOW, until=NOW + 30 * DAY, zone=ZONE)
    assert (found.customers, found.foretold, found.positives, found.hits) == (40, 20, 20, 20)
    assert found.deciles[0].lift == 2 and found.deciles[-1].lift == 0
