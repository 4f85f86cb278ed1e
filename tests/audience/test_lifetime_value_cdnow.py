"""CDNOW: 2,357 customers who began in early 1997, followed for 78 weeks. What was published of them has to come out of SQL."""

import csv
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from retention.audience.scores.calibration import calibrate_purchases
from retention.audience.scores.lifetime_value import make_predictions, refresh_values
from retention.audience.scores.value_models import fit_models, read_models, sum_purchases
from retention.store.queries import look_as_of

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "cdnow"
pytestmark = pytest.mark.skipif(
    not FOLDER.exists(), reason=f"{FOLDER} is missing: the CDNOW tables are not part of this"
)

END = datetime(1997, 9, 30, 23, 59, tzinfo=UTC)
LATER = datetime(1998, 6, 30, 23, 59, tzinfo=UTC)


@pytest.fixture
def store(engine):
    """The sample's purchases, known on their day."""
    with engine.begin() as conn, conn.connection.cursor() as cursor:
        columns = "order_id, customer_id, amount, currency, source, occurred_at, recorded_at"
        with cursor.copy(f"copy orders ({columns}) from stdin") as copy:
            for n, line in enumerate((FOLDER / "CDNOW_sample.txt").read_text().splitlines()):
                _, customer, day, _, amount = line.split()
                at = datetime.strptime(day, "%Y%m%d").replace(hour=12, tzinfo=UTC)
                copy.write_row((f"O{n}", str(int(customer)), amount, "USD", "cdnow", at, at))
    return engine


def read_table(name):
    with (FOLDER / name).open(newline="") as file:
        return {row["ID"]: row for row in csv.DictReader(file)}


def test_the_summary_tables_are_the_given_ones(store):
    with store.begin() as conn:
        sum_purchases(conn, END, zone="UTC", known_at=END)
        ours = {row.customer_id: row for row in conn.execute(text("select * from purchase_sums"))}
    given, spent = (
        read_table("cdnow_customers_summary.csv"),
        read_table("cdnow_customers_summary_with_transactions.csv"),
    )
    assert ours.keys() == given.keys() == spent.keys()
    for customer, row in ours.items():
        weeks = (row.frequency, round(row.recency / 7, 2), round(row.age / 7, 2))
        one, two = given[customer], spent[customer]
        assert weeks == (int(one["frequency"]), float(one["recency"]), float(one["T"]))
        assert weeks == (int(two["x"]), float(two["t_x"]), float(two["T"]))
        assert (row.mean_spend or 0) == pytest.approx(float(two["zbar"]), abs=0.00501)
        assert (row.currency, row.share) == ("USD", 1)


def test_parameters_and_log_likelihood_are_the_published_ones(store):
    with store.begin() as conn:
        fitted = fit_models(conn, END, zone="UTC")
        rows = (
            conn.execute(text("select * from purchase_models")).one(),
            conn.execute(text("select * from spend_models")).one(),
        )
    purchases, spends = fitted.purchases, fitted.spends["USD"]
    assert (purchases.refusal, spends.refusal) == (None, None)
    assert (purchases.customers, purchases.repeaters, spends.customers) == (2357, 946, 946)
    # Fader, Hardie, Lee 2005, table 2; Fader, Hardie 2013.
    assert vars(purchases.parameters) == pytest.approx({"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}, rel=0.01)
    assert purchases.log_likelihood == pytest.approx(-9582.4, rel=0.0001)
    assert vars(spends.parameters) == pytest.approx({"p": 6.25, "q": 3.74, "v": 15.44}, rel=0.01)
    for row, fit in zip(rows, (purchases, spends), strict=True):
        assert row.as_of == END and row.log_likelihood == fit.log_likelihood and row.refusal is None
    assert (rows[0].alpha, rows[1].v) == (purchases.parameters.alpha, spends.parameters.v)


def test_the_holdout(store):
    """39 weeks that the fit has not seen: 1,882 purchases came. The model says about 1,650, an eighth too few, as the paper's
    own figure shows for the end of 1997 and after; the order it puts customers in is what we use it for."""
    with store.begin() as conn:
        fit_models(conn, END, zone="UTC")
        found = calibrate_purchases(conn, END, until=LATER, zone="UTC")
    assert found.purchases == 1882
    assert found.expected == pytest.approx(1653.4, rel=0.01)
    assert found.customers == 2357 and found.positives == sum(it.positives for it in found.deciles)
    assert found.deciles[0].lift > 2.2 and found.deciles[0].lift == max(it.lift for it in found.deciles)
    assert found.precision > 0.6 and found.recall > 0.6


def test_values_are_kept_and_age_from_day_to_day(store):
    with store.begin() as conn:
        fit_models(conn, END, zone="UTC")
        done = refresh_values(conn, END, zone="UTC")
        assert (done.is_full, done.customers, done.note) == (True, 2357, None)
        look_as_of(conn, END)
        [first] = conn.execute(text("select * from as_of.customer_values where customer_id = '1'")).all()
        # The paper's own example: x 2, t_x 30.43, T 38.86.
        assert first.p_alive == pytest.approx(0.7266, abs=0.001)
        sum_purchases(conn, END, zone="UTC", known_at=END)
        make_predictions(conn, read_models(conn, END), days=39 * 7)
        ahead = conn.scalar(text("select purchases from predictions where customer_id = '1'"))
        assert ahead == pytest.approx(1.226, abs=0.001)
        look_as_of(conn, datetime(1997, 12, 30, 12, tzinfo=UTC))
        [later] = conn.execute(text("select * from as_of.customer_values where customer_id = '1'")).all()
        assert later.first_on == date(1997, 1, 1) and later.p_alive < first.p_alive
        assert later.purchases / first.purchases == pytest.approx(later.p_alive / first.p_alive)
        total = conn.scalar(text("select sum(value) from predictions"))
        assert total > 0
