"""All shipped journeys together over the sample store's history: what has to hold for everybody, counted again without the engine.

History knows no code that a replay deals, so every other owner of a coupon who orders is made to type it, in small letters.

Short here; `make soak` plays half a year of the whole store, twice, and prints the figures."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from retention.insight.redemptions import count_coupons, match_coupons
from retention.journey.files import read_files
from retention.journey.load import load
from retention.journey.policy import read_policy
from retention.journey.scores import load_scores
from retention.orchestration.replay import replay
from retention.orchestration.sampling import load_sample
from retention.orchestration.scoring import bring_scores
from retention.store.database import ROOT
from retention.store.scratch import scratch_store
from tests.world import SHANGHAI

TODAY = date(2026, 11, 1)
FILES = read_files(ROOT / "include")
RULES = read_policy(FILES)
VERSIONS = load(FILES).versions
MARKETING = {
    (name, step.id)
    for name, version in VERSIONS.items()
    for step in version.journey.steps
    if version.templates[step.send.template].purpose == "marketing"
}


def play(engine, days: int, look, on_day=lambda day, sent: None):
    """Replay all journeys over the last days before TODAY; what `look` makes of the scratch store, and the replay's own words."""
    scores = load_scores(ROOT / "include")
    first = TODAY - timedelta(days=days)
    with scratch_store(engine, as_it_happened=True) as scratch:

        def end_day(day: date, sent: int) -> None:
            type_codes(scratch, day + timedelta(days=1))
            on_day(day, sent)

        found = replay(
            scratch, VERSIONS, first, TODAY - timedelta(days=1), policy=RULES,
            refresh=lambda on, at: bring_scores(on, at, scores), on_day=end_day,
        )  # fmt: skip
        with scratch.begin() as conn:
            at = datetime.combine(TODAY, clock_time(), SHANGHAI)
            match_coupons(conn, as_of=at, now=at, is_whole=True)
        return found, look(scratch)


def type_codes(scratch, day: date) -> None:
    """Of those who will order on `day` and have a coupon by then, every other one types its code."""
    with scratch.begin() as conn:
        conn.execute(text("set local timezone = 'Asia/Shanghai'"))
        conn.execute(
            text(
                "with typed as (select distinct on (p.order_id) p.order_id, lower(k.code) as code from orders p"
                "  join coupons k on k.customer_id = p.customer_id join messages m on m.coupon_id = k.coupon_id"
                "  join outbox o using (message_id) where p.occurred_at >= cast(:day as date) and p.occurred_at < cast(:day as date) + 1"
                "  and k.valid_until > p.occurred_at and right(p.order_id, 1) in ('0', '2', '4', '6', '8')"
                "  order by p.order_id, k.step, k.code)"
                " update order_items i set coupon_code = typed.code from typed where i.order_id = typed.order_id and i.line = 1"
            ),
            {"day": day},
        )


class Ledger:
    """What a replay left, as plain rows, with the facts that the rules are about."""

    def __init__(self, scratch):
        with scratch.connect() as conn:

            def rows(sql):
                return conn.execute(text(sql)).all()

            self.enrollments = rows(
                "select enrollment_id, journey, customer_id, occurrence, arm, entered_at from enrollments"
            )
            self.sent = rows(
                "select m.message_id, m.enrollment_id, e.journey, e.customer_id, e.arm, m.step, m.channel, m.address,"
                " o.accepted_at, c.timezone from outbox o join messages m using (message_id)"
                " join enrollments e using (enrollment_id) join customers c using (customer_id)"
            )
            self.decided = rows("select enrollment_id, step, decision, reason from messages")
            self.consents = defaultdict(list)
            for customer_id, channel, is_granted, at in rows(
                "select customer_id, channel, is_granted, occurred_at from consents where purpose = 'marketing'"
                " order by occurred_at, consent_id"
            ):
                self.consents[customer_id, channel].append((at, is_granted))
            self.suppressions = defaultdict(list)
            for channel, address, is_suppressed, at in rows(
                "select channel, address, is_suppressed, occurred_at from suppressions order by occurred_at"
            ):
                self.suppressions[channel, address].append((at, is_suppressed))
            self.coupons = rows("select coupon_id, enrollment_id, customer_id, step, code, state from coupons")
            self.uses = rows("select u.coupon_id, u.verdict, p.customer_id from coupon_uses u join orders p using (order_id)")
            self.figures = count_coupons(conn, mode="test")
            self.thanked = rows(
                "select m.enrollment_id, exists (select from coupons k join coupon_uses u using (coupon_id)"
                "  where k.enrollment_id = m.enrollment_id) as has_used from messages m join enrollments e using (enrollment_id)"
                " where e.journey = 'birthday_care' and m.step = 'thanks' and m.decision = 'send'"
            )

    def is_marketing(self, it) -> bool:
        return (it.journey, it.step) in MARKETING

    def day(self, it) -> date:
        return it.accepted_at.astimezone(zone_of(it.timezone)).date()


def zone_of(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name) if name else SHANGHAI
    except (KeyError, ValueError):
        return SHANGHAI


def last_word(history: list[tuple[datetime, bool]], at: datetime) -> bool:
    """What was said last by then."""
    return [said for moment, said in history if moment <= at][-1:] == [True]


def check(found, ledger: Ledger) -> None:
    """Everything that a replay of the shipped journeys promises."""
    assert found.troubles == [], "books that did not close"
    sent = ledger.sent
    assert len(sent) > 50 and {it.journey for it in sent} == set(VERSIONS), "there is something to count"

    occasions = Counter((it.journey, it.customer_id, it.occurrence) for it in ledger.enrollments)
    assert max(occasions.values()) == 1, "one occurrence enters once"
    camps = Counter(it.customer_id for it in ledger.enrollments if it.journey == "new_customer_camp")
    assert max(camps.values()) == 1, "one camp a life"
    contacts = Counter((it.enrollment_id, it.step) for it in sent)
    assert max(contacts.values()) == 1, "one occurrence, one contact a step"
    decisions = Counter((it.enrollment_id, it.step) for it in ledger.decided if it.decision == "send")
    assert max(decisions.values()) == 1

    for it in filter(ledger.is_marketing, sent):
        assert it.arm != "holdout", it
        assert last_word(ledger.consents[it.customer_id, it.channel], it.accepted_at), f"no consent: {it.message_id}"
    for it in sent:
        assert not last_word(ledger.suppressions[it.channel, it.address], it.accepted_at), (
            f"suppressed: {it.message_id}"
        )
        if it.channel == "sms":
            hour = it.accepted_at.astimezone(zone_of(it.timezone)).hour
            assert 8 <= hour < 21, f"in quiet hours: {it.message_id}"

    camp_days = Counter((it.customer_id, ledger.day(it)) for it in sent if it.journey == "new_customer_camp")
    assert max(camp_days.values()) == 1, "one contact a day in the camp"
    own_days = defaultdict(list)
    for it in filter(ledger.is_marketing, sent):
        for scope in ("all", it.channel, f"of {it.journey}"):
            own_days[scope, it.customer_id].append(ledger.day(it))
    for (scope, customer_id), days in own_days.items():
        most = {"all": {1: 2, 7: 5}, "sms": {1: 1, 7: 3}, "email": {}}.get(scope, {1: 1})
        for length, cap in most.items():
            for day in days:
                held = sum(day <= other < day + timedelta(days=length) for other in days)
                assert held <= cap, f"{customer_id}: {held} of {scope} in {length} days"

    assert max(Counter((it.enrollment_id, it.step) for it in ledger.coupons).values()) == 1
    assert len({it.code for it in ledger.coupons}) == len(ledger.coupons)
    owners = {it.coupon_id: it.customer_id for it in ledger.coupons}
    counted = [it for it in ledger.uses if it.verdict == "counted"]
    assert counted and all(owners[it.coupon_id] == it.customer_id for it in counted)
    assert {it.coupon_id for it in counted} == {it.coupon_id for it in ledger.coupons if it.state == "redeemed"}
    # An order may be taken back after our thanks: it stands there as undone.
    assert all(it.has_used for it in ledger.thanked), "thanks are for who has used it"


def test_ten_days_of_a_small_shop(engine):
    load_sample(engine, 1_500, 7, TODAY.isoformat())
    found, ledger = play(engine, 9, Ledger)
    check(found, ledger)


@pytest.mark.soak
def test_half_a_year_of_the_whole_store(engine, capsys):
    load_sample(engine, 20_000, 7, TODAY.isoformat())

    def tell(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)

    prints = []
    for time_round in (1, 2):
        began = time.monotonic()
        found, ledger = play(
            engine, 182, Ledger, on_day=lambda day, sent: day.day in (1, 16) and tell(f"{day} {sent:,} messages")
        )
        seconds = time.monotonic() - began
        tell(f"round {time_round}: {found.days} days in {seconds:.0f} s, {found.days / seconds:.2f} days a second")
        check(found, ledger)
        prints.append(found.fingerprint)
        if time_round == 1:
            tell_figures(found, ledger, tell)
    assert prints[0] == prints[1], "two replays decide the same"


def tell_figures(found, ledger: Ledger, tell) -> None:
    for it in found.entered:
        tell(f"entered {it['journey']} {it['arm']}: {it['people']:,}, {it['eligible']:,} could be reached")
    sums = Counter()
    for it in found.decisions:
        sums[it["journey"], it["step"], it["decision"], it["reason"]] += it["messages"]
    for (journey, step, decision, reason), messages in sorted(sums.items(), key=lambda it: (it[0][:3], str(it[0][3]))):
        tell(f"{journey} {step}: {reason or decision} {messages:,}")
    for it in found.contacts:
        tell(f"{it['people']:,} people had {it['messages']}")
    for it in found.coupons:
        tell(
            f"coupon {it['journey']} {it['step']} {it['kind']} {it['value']}: {it['issued']:,} issued, "
            f"{it['ordered']:,} ordered meanwhile, at most {it['cost']}"
        )
    for journey, figures in ledger.figures.items():
        tell(f"{journey}: {figures.say()}")
    tell(f"{len(ledger.thanked):,} thanked for using their birthday coupon")
    tell(f"held: {len(found.held)}, never more than {found.busiest} a day")
