"""The sample store: drawn from what it says it is drawn from, reaching nobody, ending today, the same every time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from retention.errors import StoreError
from retention.store import tables
from retention.store.event_kinds import EVENT_KINDS
from retention.store.queries import look_as_of, read_audience_sql, statement
from retention.store.sample import generate, write
from retention.store.sample.addresses import CHINA, UK_RANGES, US_AREA_CODES
from retention.store.sample.behaviour import RESPONSES, SURVEY_REASONS, VIEWS_PER_ORDER
from retention.store.sample.orders import CANCELLED_SHARE, CATEGORIES, COUPON_SHARE, REFUNDED_SHARE
from retention.store.sample.period import DAYS, draws
from retention.store.sample.permissions import CHANNELS, GRANTED_SHARE
from retention.store.sample.purchases import REPEATS, SCALE, SPEND, draw_repeats
from retention.store.sample.write import copy_text

TODAY = date(2026, 11, 23)
SHANGHAI = ZoneInfo("Asia/Shanghai")
EMAIL = re.compile(r"[^@ ]+@example\.(com|org|net)", re.IGNORECASE)
DAY = np.timedelta64(1, "D")


@pytest.fixture(scope="module")
def sample():
    return generate(20_000, 7, TODAY)


@pytest.fixture(scope="module")
def history(sample):
    """Per order: customer index, moment, dollars, and the moment of delivery (NaT: none)."""
    orders, items, status = (sample.tables[t] for t in ("orders", "order_items", "order_status"))
    row = {order: i for i, order in enumerate(orders["order_id"])}
    cents = np.zeros(len(row))
    np.add.at(cents, [row[o] for o in items["order_id"]], [int(a * 100) for a in items["amount"]])
    scale = np.ones(len(row))
    scale[[row[o] for o in items["order_id"]]] = [SCALE[c] for c in items["currency"]]
    delivered = np.full(len(row), np.datetime64("NaT"), "datetime64[s]")
    is_delivery = status["status"] == "delivered"
    delivered[[row[o] for o in status["order_id"][is_delivery]]] = status["occurred_at"][is_delivery]
    customer = np.array([int(c[1:]) - 1 for c in orders["customer_id"]])
    return {"customer": customer, "at": orders["occurred_at"], "dollars": cents / 100 / scale, "delivered": delivered}


def is_close_to_share(hits: int, trials: int, share: float) -> bool:
    """Within four and a half standard deviations: a right sampler fails about once in 150,000 seeds."""
    return abs(hits - trials * share) <= 4.5 * (trials * share * (1 - share)) ** 0.5 + 1


# --- the same every time ---------------------------------------------------------------------------------------------


def test_the_same_arguments_give_the_same_sample_in_another_process():
    code = (
        "import sys; from datetime import date; from retention.store.sample import generate;"
        "print(generate(300, 7, date(2026, 11, 23)).digest()); assert 'airflow' not in sys.modules"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert generate(300, 7, TODAY).digest() == other.stdout.strip()


def test_another_seed_day_or_zone_gives_another_sample():
    digests = {
        generate(60, seed, day, zone).digest()
        for seed, day, zone in [
            (7, TODAY, "Asia/Shanghai"),
            (8, TODAY, "Asia/Shanghai"),
            (7, TODAY + timedelta(1), "Asia/Shanghai"),
            (7, TODAY, "America/New_York"),
        ]
    }
    assert len(digests) == 4


def test_parts_draw_numbers_of_their_own():
    first, again, other = draws(7, "people"), draws(7, "people"), draws(7, "purchases")
    numbers = first.random(5).tolist()
    assert again.random(5).tolist() == numbers != other.random(5).tolist()


# --- purchases agree with the models ----------------------------------------------------------------------------------


def expected_repeats(weeks: np.ndarray, fit=REPEATS) -> np.ndarray:
    """E[X(t)], equation 9 of Fader, Hardie and Lee (2005), the hypergeometric function by its series."""
    z = weeks / (fit.alpha + weeks)
    term, total = np.ones_like(z), np.ones_like(z)
    for n in range(20_000):
        term = term * (fit.r + n) * (fit.b + n) / ((fit.a + fit.b - 1 + n) * (n + 1)) * z
        total = total + term
        if term.max(initial=0) < 1e-9:
            break
    return (fit.a + fit.b - 1) / (fit.a - 1) * (1 - (fit.alpha / (fit.alpha + weeks)) ** fit.r * total)


def chance_of_buying_after(week: float, horizon: float, fit=REPEATS) -> float:
    """P(some repeat in (week, horizon]): still a customer at `week` - repeats that lose one are a Poisson process of
    rate λp - and at least one purchase in what is left; integrated over λ in closed form, over p by a grid."""
    p = (np.arange(4000) + 0.5) / 4000
    weight = p ** (fit.a - 1) * (1 - p) ** (fit.b - 1)
    alive = (fit.alpha / (fit.alpha + p * week)) ** fit.r
    silent = (fit.alpha / (fit.alpha + p * week + horizon - week)) ** fit.r
    return float(np.sum(weight * (alive - silent)) / weight.sum())


def test_the_formula_gives_what_cdnow_did():
    """CDNOW's 2,357 customers, watched for 27 to 39 weeks, made 2,457 repeat purchases; 1,411 made none."""
    weeks = np.linspace(27, 38.9, 200)
    assert expected_repeats(weeks).mean() == pytest.approx(2457 / 2357, rel=0.03)
    none = np.mean([1 - chance_of_buying_after(0, w) for w in weeks])
    assert none == pytest.approx(1411 / 2357, rel=0.03)
    assert none == pytest.approx(np.mean((REPEATS.alpha / (REPEATS.alpha + weeks)) ** REPEATS.r))


@pytest.mark.parametrize("horizon", [13.0, 52.0, 104.0])
def test_repeats_agree_with_bg_nbd(horizon):
    people = 400_000
    customer, week, rate, lost_at = draw_repeats(np.random.default_rng(11), np.full(people, horizon))
    frequency = np.bincount(customer, minlength=people)
    recency = np.zeros(people)
    np.maximum.at(recency, customer, week)
    assert frequency.mean() == pytest.approx(expected_repeats(np.array([horizon]))[0], rel=0.03)
    assert np.mean(week < horizon / 2) * len(week) / people == pytest.approx(
        expected_repeats(np.array([horizon / 2]))[0], rel=0.03
    )
    for share in (0.0, 0.25, 0.5, 0.9):
        expected = chance_of_buying_after(share * horizon, horizon)
        assert is_close_to_share(int((recency > share * horizon).sum()), people, expected)
    assert rate.mean() == pytest.approx(REPEATS.r / REPEATS.alpha, rel=0.05)
    # a loss is a repeat's doing, and the last thing that is heard
    lost = np.isfinite(lost_at)
    assert np.array_equal(lost_at[lost], recency[lost]) and (frequency[lost] > 0).all()


def test_the_stores_orders_agree_with_bg_nbd(sample, history):
    customer, at = history["customer"], history["at"]
    people = sample.counts["customers"]
    first = np.full(people, np.datetime64("2100-01-01", "s"))
    np.minimum.at(first, customer, at)
    has_ordered = first < sample.period.ends_at
    assert has_ordered.mean() > 0.995
    weeks = (sample.period.ends_at - first[has_ordered]) / (7 * DAY)
    repeats = len(at) - has_ordered.sum()
    # a few heavy buyers weigh much: the standard error of this sum is 2 to 3 %
    assert repeats == pytest.approx(expected_repeats(weeks).sum(), rel=0.08)
    none = np.sum((REPEATS.alpha / (REPEATS.alpha + weeks)) ** REPEATS.r)
    assert np.sum(np.bincount(customer, minlength=people) == 1) == pytest.approx(none, rel=0.03)


def test_spend_agrees_with_gamma_gamma(sample, history):
    p, q, v = SPEND.p, SPEND.q, SPEND.v
    customer, dollars = history["customer"], history["dollars"]
    count = np.bincount(customer)
    mean = np.bincount(customer, dollars)[count > 0] / count[count > 0]
    assert mean.mean() == pytest.approx(p * v / (q - 1), rel=0.03)
    # the spread, without moments that the long tail makes erratic: z / (z + v) is Beta(p, q)
    _, one_each = np.unique(customer, return_index=True)
    share = dollars / (dollars + v)
    assert share[one_each].mean() == pytest.approx(p / (p + q), abs=0.005)
    assert share[one_each].var() == pytest.approx(p * q / ((p + q) ** 2 * (p + q + 1)), rel=0.05)
    # within a customer, orders are Gamma(p): their squared relative spread is 1/p
    pairs = np.flatnonzero(count[customer[one_each]] == 2)
    twice = np.sort(np.flatnonzero(np.isin(customer, customer[one_each][pairs])))
    first, second = np.split(dollars[twice[np.argsort(customer[twice], kind="stable")]].reshape(-1, 2), 2, axis=1)
    assert np.mean((first / (first + second) - 0.5) ** 2) == pytest.approx(1 / (4 * (2 * p + 1)), rel=0.15)
    is_chinese = (sample.tables["customers"]["country"] == "CN")[customer[one_each]]
    assert share[one_each][is_chinese].mean() == pytest.approx(share[one_each][~is_chinese].mean(), abs=0.01)
    assert set(sample.tables["order_items"]["currency"]) == {"CNY", "USD"}


def test_items_sum_to_the_order_and_are_different(sample):
    items = sample.tables["order_items"]
    assert min(items["amount"]) > 0 and max(a.as_tuple().exponent for a in items["amount"]) == -2
    assert min(a.as_tuple().exponent for a in items["amount"]) == -2
    lines = Counter(items["order_id"])
    assert set(lines.values()) == {1, 2, 3, 4} and len(lines) == sample.counts["orders"]
    assert len(set(zip(items["order_id"], items["category"], strict=True))) == len(items["line"])
    assert set(items["category"]) == set(CATEGORIES)
    with_code = {o for o, c in zip(items["order_id"], items["coupon_code"], strict=True) if c}
    assert is_close_to_share(len(with_code), len(lines), COUPON_SHARE)
    assert any(c.islower() for c in items["coupon_code"] if c)


def test_categories_come_back_in_the_order_of_their_cycles(sample):
    orders, items = sample.tables["orders"], sample.tables["order_items"]
    at = dict(zip(orders["order_id"], orders["occurred_at"], strict=True))
    who = dict(zip(orders["order_id"], orders["customer_id"], strict=True))
    bought, gaps = {}, {category: [] for category in CATEGORIES}
    for order, category in zip(items["order_id"], items["category"], strict=True):
        key = who[order], category
        if key in bought:
            gaps[category].append((at[order] - bought[key]) / DAY)
        bought[key] = at[order]
    medians = {category: np.median(days) for category, days in gaps.items()}
    assert sorted(CATEGORIES, key=lambda c: CATEGORIES[c].cycle_days) == sorted(medians, key=medians.get)
    for category, days in gaps.items():
        too_soon = np.mean(np.array(days) < CATEGORIES[category].cycle_days * 0.4)
        assert too_soon < 0.25, category
    # without cycles all medians lie within a few days of each other
    assert medians["home"] > 3 * medians["snacks"]


# --- the history of orders --------------------------------------------------------------------------------------------


def test_status_histories_are_possible(sample):
    status = sample.tables["order_status"]
    histories: dict[str, dict] = {}
    for order, word, at in zip(status["order_id"], status["status"], status["occurred_at"], strict=True):
        assert word not in histories.setdefault(order, {})
        histories[order][word] = at
    assert len(histories) == sample.counts["orders"]
    for seen in histories.values():
        in_order = [seen[w] for w in ("placed", "paid", "delivered", "refunded") if w in seen]
        assert in_order == sorted(in_order) and "placed" in seen
        if "delivered" in seen:
            assert "cancelled" not in seen and DAY <= seen["delivered"] - seen["paid"] <= 5 * DAY
        if "refunded" in seen:
            assert "delivered" in seen
        if "cancelled" in seen:
            assert seen["cancelled"] == max(seen.values())
    counts = Counter(status["status"])
    assert is_close_to_share(counts["cancelled"], counts["placed"], CANCELLED_SHARE)
    # some refunds of the last days are still to come
    assert 0.85 * REFUNDED_SHARE < counts["refunded"] / counts["delivered"] < 1.15 * REFUNDED_SHARE


# --- behaviour --------------------------------------------------------------------------------------------------------


def test_every_kind_of_event_is_there_and_registered(sample):
    assert set(sample.tables["events"]["kind"]) == set(EVENT_KINDS) == {*RESPONSES, "view"}
    keys = sample.tables["events"]["source_key"]
    assert keys[0] == "sample:1" and len(set(keys)) == len(keys)


@pytest.mark.parametrize("kind", [k for k, r in RESPONSES.items() if r.per == "delivered order"])
def test_responses_to_deliveries_have_their_probability(sample, history, kind):
    events, longest = sample.tables["events"], 30 * DAY
    settled = int(np.sum(history["delivered"] < sample.period.ends_at - longest))
    hits = int(np.sum((events["kind"] == kind) & (events["occurred_at"] < sample.period.ends_at)))
    young = int(np.sum(history["delivered"] >= sample.period.ends_at - longest))
    share = RESPONSES[kind].probability
    # the young ones may or may not have answered yet
    slack = 4.5 * (settled * share) ** 0.5
    assert settled * share - slack <= hits <= (settled + young) * share + slack


def test_complaints_are_mostly_solved_and_never_before_they_are_opened(sample):
    events = sample.tables["events"]
    opened, solved = {}, {}
    for kind, at, data in zip(events["kind"], events["occurred_at"], events["data"], strict=True):
        if kind in ("complaint_opened", "complaint_solved"):
            (opened if kind == "complaint_opened" else solved)[json.loads(data)["order_id"]] = at
    assert set(solved) <= set(opened) and all(solved[o] > opened[o] for o in solved)
    old = [o for o in opened if opened[o] < sample.period.ends_at - 6 * DAY]
    assert is_close_to_share(sum(o in solved for o in old), len(old), RESPONSES["complaint_solved"].probability)


def test_orders_are_preceded_by_visits(sample, history):
    """Nearly every order has views, carts and logins of the same person in the 36 minutes before."""
    events = sample.tables["events"]
    customer = np.array([int(c[1:]) - 1 for c in events["customer_id"]])
    for kind, expected in (("login", 0.70), ("cart", 0.80), ("view", 1 - np.exp(-VIEWS_PER_ORDER))):
        of_kind = events["kind"] == kind
        moments: dict[int, np.ndarray] = {}
        order = np.lexsort((events["occurred_at"][of_kind], customer[of_kind]))
        who, when = customer[of_kind][order], events["occurred_at"][of_kind][order]
        for c in np.unique(who):
            moments[c] = when[np.searchsorted(who, c) : np.searchsorted(who, c, side="right")]
        found = 0
        for c, at in zip(history["customer"], history["at"], strict=True):
            seen = moments.get(c)
            if seen is not None:
                found += np.searchsorted(seen, at) > np.searchsorted(seen, at - np.timedelta64(36, "m"))
        assert found / len(history["at"]) == pytest.approx(expected, abs=0.015), kind


def test_referrals_name_the_friend_who_signed_up(sample):
    people, events = sample.tables["customers"], sample.tables["events"]
    acquired = {
        c: json.loads(a)["acquired_by"] for c, a in zip(people["customer_id"], people["attributes"], strict=True)
    }
    friends = Counter()
    for customer, kind, data in zip(events["customer_id"], events["kind"], events["data"], strict=True):
        if kind == "referral":
            friend = json.loads(data)["friend_id"]
            assert friend != customer and acquired[friend] == "referral"
            friends[friend] += 1
    referred = sum(a == "referral" for a in acquired.values())
    assert max(friends.values()) == 1 and referred - 10 <= len(friends) <= referred


def test_the_small_data_of_events_is_readable(sample):
    events = sample.tables["events"]
    reasons, ratings = Counter(), Counter()
    for kind, data in zip(events["kind"], events["data"], strict=True):
        assert len(data) < 80
        parsed = json.loads(data)
        if kind == "survey":
            reasons[parsed["reason"]] += 1
        if kind == "review":
            ratings[parsed["rating"]] += 1
    assert set(reasons) == set(SURVEY_REASONS) and len(SURVEY_REASONS) == 13
    assert set(ratings) == {1, 2, 3, 4, 5}


# --- people and permissions -------------------------------------------------------------------------------------------


def check_addresses(sample) -> None:
    """No address is outside the ranges that reach nobody."""
    reserved = re.compile(
        rf"{re.escape(CHINA)}\d{{8}}|\+1({'|'.join(US_AREA_CODES)})55501\d\d"
        rf"|({'|'.join(re.escape(r) for r in UK_RANGES)})\d{{3}}"
    )
    people = sample.tables["customers"]
    for phone in people["phone"]:
        assert phone is None or reserved.fullmatch(phone)
        assert phone is None or re.fullmatch(r"\+[1-9][0-9]{6,14}", phone)
    for email in people["email"]:
        # a broken one may lack its domain or its @, but names no other domain
        assert email is None or re.search(r"(^|[@. ])example\.(com|org|net)$|^[^@]+@$", email, re.IGNORECASE)
    known = {*people["email"], *people["phone"]}
    assert set(sample.tables["suppressions"]["address"]) <= known - {None}


def test_no_address_reaches_anybody(sample):
    check_addresses(sample)


def test_the_chinese_prefix_is_in_no_numbering_plan():
    for rest in range(0, 10**8, 1_234_577):
        number = phonenumbers.parse(f"{CHINA}{rest:08d}")
        assert not phonenumbers.is_valid_number(number), "154 seems to be allotted now: choose another prefix"


def test_the_area_codes_are_american():
    for code in US_AREA_CODES:
        assert phonenumbers.region_code_for_number(phonenumbers.parse(f"+1{code}5550100")) == "US"
    assert len(set(US_AREA_CODES)) == len(US_AREA_CODES)


def test_people_are_as_announced(sample):
    people = sample.tables["customers"]
    total = sample.counts["customers"]
    assert is_close_to_share(int(np.sum(people["country"] == "CN")), total, 0.70)
    assert set(people["locale"]) == {"zh-CN", "en-US", "en-GB", None}
    assert {"Asia/Shanghai", "Europe/London", "America/New_York", "America/Los_Angeles"} < set(people["timezone"])
    phones = [p for p in people["phone"] if p]
    emails = [e for e in people["email"] if e]
    assert 0.03 < 1 - len(emails) / total < 0.05 and 0.05 < 1 - len(phones) / total < 0.07
    assert 0.006 < sum(not EMAIL.fullmatch(e) for e in emails) / total < 0.014
    assert 40 < len(emails) - len({e.lower() for e in emails}) < 160
    assert 40 < len(phones) - len(set(phones)) < 160
    assert len(set(emails)) > len({e.lower() for e in emails})


def test_birthdays_are_solar_lunar_or_unknown(sample):
    people = sample.tables["customers"]
    calendars = Counter(people["birth_calendar"])
    total = sample.counts["customers"]
    assert 0.73 < calendars["solar"] / total < 0.78 and 0.13 < calendars["lunar"] / total < 0.17
    for calendar, month, day in zip(people["birth_calendar"], people["birth_month"], people["birth_day"], strict=True):
        assert (calendar is None) == (month is None) == (day is None)
    years = [y for y in people["birth_year"] if y]
    assert min(years) == 1950 and max(years) == 2008
    born = list(zip(*(people[f"birth_{p}"] for p in ("calendar", "month", "day", "leap_month")), strict=True))
    assert sum(b[:3] == ("solar", 2, 29) for b in born) >= 2
    leap = [b for b in born if b[3]]
    assert leap and all(b[0] == "lunar" for b in leap)
    assert any(b[0] == "lunar" and b[2] == 30 for b in born)
    for year, (calendar, month, day, _) in zip(people["birth_year"], born, strict=True):
        if calendar == "solar":
            date(year or 2000, month, day)


def test_lunar_birthdays_exist_in_the_chinese_calendar(sample):
    from lunar_python import Lunar, LunarYear

    people = sample.tables["customers"]
    columns = (people[f"birth_{p}"] for p in ("calendar", "year", "month", "day", "leap_month"))
    checked = 0
    for calendar, year, month, day, is_leap in zip(*columns, strict=True):
        if calendar == "lunar" and year and (is_leap or day == 30):
            Lunar.fromYmd(year, -month if is_leap else month, day)
            if is_leap:
                assert LunarYear.fromYear(year).getLeapMonth() == month
            checked += 1
    assert checked > 50


def test_consents_have_a_history(sample):
    people, consents = sample.tables["customers"], sample.tables["consents"]
    assert set(consents["purpose"]) == {"marketing"} and set(consents["channel"]) == set(CHANNELS)
    signed_up = dict(zip(people["customer_id"], people["occurred_at"], strict=True))
    for channel, column in CHANNELS.items():
        rows: dict[str, list[bool]] = {}
        for customer, of, is_granted, at in zip(
            *(consents[c] for c in ("customer_id", "channel", "is_granted", "occurred_at")), strict=True
        ):
            if of == channel:
                assert at >= signed_up[customer]
                rows.setdefault(customer, []).append(bool(is_granted))
        reachable = {c for c, a in zip(people["customer_id"], people[column], strict=True) if a}
        assert set(rows) < reachable
        assert is_close_to_share(sum(r[0] for r in rows.values()), len(reachable), GRANTED_SHARE)
        assert {(True,), (False,), (True, False), (True, False, True)} == {tuple(r) for r in rows.values()}


def test_suppressions_are_few_and_some_are_lifted(sample):
    rows: dict[tuple, list[bool]] = {}
    of = sample.tables["suppressions"]
    for channel, address, is_suppressed in zip(of["channel"], of["address"], of["is_suppressed"], strict=True):
        rows.setdefault((channel, address), []).append(bool(is_suppressed))
    assert 0.005 < len(rows) / sample.counts["customers"] < 0.05
    assert {(True,), (True, False)} <= {tuple(r) for r in rows.values()}


# --- it ends today, so that every journey has somebody ----------------------------------------------------------------


def check_time(sample) -> None:
    """Nothing happened or was recorded at or after the midnight of today, nothing before the period, nothing of a
    customer before the sign-up."""
    begins_at = sample.period.ends_at - np.timedelta64(DAYS, "D")
    people = sample.tables["customers"]
    signed_up = dict(zip(people["customer_id"], people["occurred_at"], strict=True))
    for columns in sample.tables.values():
        if "occurred_at" not in columns:
            continue
        occurred, recorded = columns["occurred_at"], columns["recorded_at"]
        assert (occurred >= begins_at).all() and (occurred <= recorded).all()
        assert (recorded < sample.period.ends_at).all()
        if "customer_id" in columns:
            assert all(at >= signed_up[c] for c, at in zip(columns["customer_id"], occurred, strict=True))


def test_nothing_is_of_the_future(sample):
    check_time(sample)
    assert sample.period.ends_at == np.datetime64("2026-11-22T16:00:00")


def test_some_facts_are_late(sample):
    for table in ("customers", "orders", "order_status", "events", "consents", "suppressions"):
        lag = sample.tables[table]["recorded_at"] - sample.tables[table]["occurred_at"]
        assert 0 < np.mean(lag > np.timedelta64(12, "h")) < 0.04, table
        assert np.median(lag) < np.timedelta64(10, "m"), table


@pytest.mark.parametrize("customers", [8, 24, 2000])
def test_small_stores_have_somebody_for_every_journey(customers):
    sample = generate(customers, 3, TODAY)
    people, orders, status = (sample.tables[t] for t in ("customers", "orders", "order_status"))
    ids = people["customer_id"]
    granted = {channel: set() for channel in CHANNELS}
    consents = sample.tables["consents"]
    for customer, channel, is_granted in zip(
        *(consents[c] for c in ("customer_id", "channel", "is_granted")), strict=True
    ):
        (granted[channel].add if is_granted else granted[channel].discard)(customer)
    for cohort_on in (TODAY - timedelta(10), TODAY):
        celebrated = cohort_on + timedelta(3)
        birthday = (people["birth_month"] == celebrated.month) & (people["birth_day"] == celebrated.day)
        known = people["recorded_at"] < np.datetime64(cohort_on)
        solar = people["birth_calendar"] == "solar"
        for is_chinese in (True, False):
            here = birthday & known & solar & ((people["country"] == "CN") == is_chinese)
            assert {*ids[here]} & granted["email"] & granted["sms"], (cohort_on, is_chinese)
    first: dict[str, tuple] = {}
    last: dict[str, np.datetime64] = {}
    for order, customer, at in zip(orders["order_id"], orders["customer_id"], orders["occurred_at"], strict=True):
        first.setdefault(customer, order)
        last[customer] = max(last.get(customer, at), at)
    yesterday = (status["status"] == "delivered") & (status["occurred_at"] >= sample.period.ends_at - DAY)
    assert set(status["order_id"][yesterday]) & set(first.values())
    events = sample.tables["events"]
    for customer, kind, at in zip(*(events[c] for c in ("customer_id", "kind", "occurred_at")), strict=True):
        if kind == "login" and customer in last:
            last[customer] = max(last[customer], at)
    days_silent = [(sample.period.ends_at - at) / DAY for at in last.values()]
    assert any(89 < days <= 90 for days in days_silent)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([0, 1, 2, 7, 50]),
    st.integers(-5, 2**32),
    st.dates(date(2024, 1, 1), date(2032, 12, 31)),
    st.sampled_from(["Asia/Shanghai", "America/New_York", "Pacific/Auckland", "UTC"]),
)
def test_any_small_store_is_sound(customers, seed, today, zone):
    sample = generate(customers, seed, today, zone)
    assert sample.counts["customers"] == customers
    check_time(sample)
    check_addresses(sample)
    for name, columns in sample.tables.items():
        assert len({len(values) for values in columns.values()}) == 1
        assert set(columns) <= set(tables.metadata.tables[name].columns.keys())
        assert copy_text(columns).count("\n") == sample.counts[name]


def test_a_negative_number_of_customers_is_refused():
    with pytest.raises(ValueError, match=r"customers: -1 is no number of people\. Give 0 or more\."):
        generate(-1, 7, TODAY)


# --- in the store -----------------------------------------------------------------------------------------------------


def test_copy_text_escapes_what_copy_would_misread():
    columns = {"a": np.array(["x\ty", "back\\slash\nline", None], object), "b": np.array([True, False, True])}
    assert copy_text(columns) == "x\\ty\tTrue\nback\\\\slash\\nline\tFalse\n\\N\tTrue\n"


def test_the_store_holds_what_was_generated(engine):
    sample = generate(400, 7, TODAY)
    told = []
    write(engine, sample, lambda table, done, total: told.append((table, done, total)))
    assert {table: total for table, done, total in told if done == total} == sample.counts
    with engine.begin() as conn:
        for name, columns in sample.tables.items():
            key = tables.metadata.tables[name].primary_key.columns
            stored = conn.execute(select(*(tables.metadata.tables[name].c[c] for c in columns)).order_by(*key)).all()
            assert len(stored) == sample.counts[name]
            expected = zip(*(values.tolist() for values in columns.values()), strict=True)
            assert {comparable(row) for row in stored} == {comparable(row) for row in expected}, name


def comparable(row) -> tuple:
    """A row as loaded and as generated, in one form: naive UTC, and JSON as an object."""

    def plain(value):
        if isinstance(value, datetime):
            return value.replace(tzinfo=None) - (value.utcoffset() or timedelta(0))
        if isinstance(value, dict):
            return json.dumps(value, sort_keys=True)
        if isinstance(value, str) and value.startswith("{"):
            return json.dumps(json.loads(value), sort_keys=True)
        return value

    return tuple(plain(v) for v in row)


def test_a_store_with_customers_is_left_alone(engine):
    write(engine, generate(3, 1, TODAY))
    with pytest.raises(StoreError, match="has customers already"):
        write(engine, generate(3, 2, TODAY))
    with engine.begin() as conn:
        assert conn.scalar(text("select count(*) from customers")) == 3


def test_in_a_callers_transaction_nothing_is_committed(engine):
    with engine.connect() as conn:
        write(conn, generate(30, 1, TODAY))
        assert conn.scalar(text("select count(*) from customers")) == 30
        conn.rollback()
        assert conn.scalar(text("select count(*) from customers")) == 0


def test_a_failed_load_leaves_nothing(engine):
    def give_up(table, done, total):
        if table == "events":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(engine, generate(30, 1, TODAY), give_up)
    with engine.begin() as conn:
        assert conn.scalar(text("select count(*) from customers")) == 0


def test_the_birthday_cohort_of_ten_days_ago_finds_its_people(engine):
    """As known then: by what had been recorded at six o'clock of that day."""
    write(engine, generate(40, 7, TODAY))
    audience = read_audience_sql(statement("audiences/birthday_in_3_days").text)
    with engine.begin() as conn:
        cohort_at = datetime.combine(TODAY - timedelta(10), time(6), SHANGHAI)
        look_as_of(conn, cohort_at, window_start=cohort_at - timedelta(1), zone="Asia/Shanghai")
        conn.execute(text("set local search_path = as_of"))
        found = {row.customer_id for row in conn.execute(text(audience))}
    assert {"C000001", "C000002", "C000009", "C000010", "C000017", "C000018"} <= found
    with engine.begin() as conn:
        kinds = dict(conn.execute(select(tables.event_kinds.c.kind, tables.event_kinds.c.title)).all())
    assert kinds == EVENT_KINDS
