"""Orders by the line for the tests of lifetime value, and the sums and values that come of them."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from retention.audience.scores.value_models import sum_purchases
from retention.store.queries import look_as_of
from retention.store.tables import metadata

ZONE = "Asia/Shanghai"


def moment(day: str) -> datetime:
    """Noon of a day, or a moment, in UTC."""
    return datetime.fromisoformat(day if " " in day else f"{day} 04:00").replace(tzinfo=UTC)


class Buyers:
    def __init__(self, world):
        self.world, self.engine, self.orders = world, world.engine, 0

    def buy(self, customer, day, amount=10, currency="CNY", *, status=None, known=None, order_id=None) -> str:
        """An order of a day; `status` follows an hour later."""
        self.orders += 1
        order_id, at = order_id or f"O{self.orders}", moment(day)
        worth = {"amount": amount, "currency": None if amount is None else currency}
        recorded = moment(known) if known else at
        self.world.add("orders", order_id=order_id, customer_id=customer, occurred_at=at, recorded_at=recorded, **worth)
        if status:
            self.turn(order_id, status, at + timedelta(hours=1), recorded + timedelta(hours=1))
        return order_id

    def turn(self, order_id, status, at, recorded=None) -> None:
        self.world.add("order_status", order_id=order_id, status=status, occurred_at=at, recorded_at=recorded or at)

    def line(self, order_id, line, amount, currency="CNY", *, category="tea", quantity=1, day="2026-01-01") -> None:
        row = {"order_id": order_id, "line": line, "amount": amount, "currency": currency, "quantity": quantity}
        self.world.add("order_items", category=category, recorded_at=moment(day), **row)

    def sums(self, day="2026-07-01", known=None, zone=ZONE, customers=None) -> dict[str, tuple]:
        """customer -> frequency, recency, age, currency, spend_days, mean_spend, share."""
        at = moment(day)
        with self.engine.begin() as conn:
            known_at = moment(known) if known else at
            sum_purchases(conn, at, zone=zone, known_at=known_at, customers=customers)
            rows = conn.execute(text("select * from purchase_sums"))
            return {
                r.customer_id: (r.frequency, r.recency, r.age, r.currency, r.spend_days, r.mean_spend, r.share)
                for r in rows
            }

    def values(self, day, known=None) -> dict[str, tuple]:
        """What the view shows: customer -> frequency, p_alive, purchases, currency, spend, value."""
        with self.engine.begin() as conn:
            look_as_of(conn, moment(day), known_at=moment(known) if known else None)
            rows = conn.execute(text("select * from as_of.customer_values"))
            return {r.customer_id: (r.frequency, r.p_alive, r.purchases, r.currency, r.spend, r.value) for r in rows}

    def models(self, day="2026-01-01", r=0.8, alpha=8.0, a=0.9, b=3.0, p=6.0, q=4.0, v=20.0, currency="CNY") -> None:
        """Good models, as if fitted on that day."""
        dates = {"as_of": moment(day), "known_at": moment(day), "customers": 1000, "log_likelihood": -1}
        self.world.add("purchase_models", r=r, alpha=alpha, a=a, b=b, zone=ZONE, repeaters=500, **dates)
        if currency:
            self.world.add("spend_models", currency=currency, p=p, q=q, v=v, **dates)

    def snapshot(self, *tables) -> dict[str, list]:
        with self.engine.connect() as conn:
            return {name: sorted(tuple(row) for row in conn.execute(metadata.tables[name].select())) for name in tables}
