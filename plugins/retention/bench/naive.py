"""The way the tutorials do it: a loop over a pandas frame, one request and one commit each. What we are measured against."""

from __future__ import annotations

import time

from jinja2 import Template
from sqlalchemy import Engine, text

from retention.bench.world import make_version

_LOG = """create table if not exists naive_log (
    customer_id text, channel text, provider_id text, sent_at timestamptz default now())"""
_NOTE = text("insert into naive_log (customer_id, channel, provider_id) values (:customer_id, :channel, :provider_id)")


def send_emails(engine: Engine, stub_url: str, count: int) -> float:
    """E-mails a second over so many customers."""
    from sendgrid import SendGridAPIClient
    from sendgrid.helpers.mail import Content, Mail

    frame = _read(engine, "email", count)
    part = make_version().templates["bench/filled"].parts["email", "en"]
    subject, html, plain = (
        Template(source.replace("customer.name", "name")) for source in (part.subject, part.html, part.text)
    )
    shop = {"name": "Yunxiu", "website": "https://shop.example.com"}
    client = SendGridAPIClient("SG.bench", host=stub_url)
    began = time.perf_counter()
    for row in frame.itertuples():
        values = {"name": row.name, "shop": shop}
        message = Mail(
            "news@example.com", row.address, subject.render(values), Content("text/plain", plain.render(values))
        )
        message.add_content(Content("text/html", html.render(values)))
        answer = client.send(message)
        with engine.begin() as conn:
            said = {
                "customer_id": row.customer_id,
                "channel": "email",
                "provider_id": answer.headers.get("X-Message-Id"),
            }
            conn.execute(_NOTE, said)
    return len(frame) / (time.perf_counter() - began)


def send_sms(engine: Engine, stub_url: str, count: int) -> float:
    """SMS a second over so many customers."""
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    class Here(TwilioHttpClient):
        """The SDK's own client, at another address."""

        def request(self, method: str, url: str, **rest):
            return super().request(method, url.replace("https://api.twilio.com", stub_url), **rest)

    frame = _read(engine, "phone", count)
    words = Template(make_version().templates["bench/text"].parts["sms", "en"].text.replace("customer.name", "name"))
    shop = {"name": "Yunxiu", "website": "https://shop.example.com"}
    client = Client("AC" + "a" * 32, "bench", http_client=Here())
    began = time.perf_counter()
    for row in frame.itertuples():
        body = words.render(name=row.name, shop=shop)
        sent = client.messages.create(to=row.address, from_="+15005550006", body=body)
        with engine.begin() as conn:
            conn.execute(_NOTE, {"customer_id": row.customer_id, "channel": "sms", "provider_id": sent.sid})
    return len(frame) / (time.perf_counter() - began)


def _read(engine: Engine, column: str, count: int):
    import pandas

    with engine.begin() as conn:
        conn.execute(text(_LOG))
        query = text(f"select customer_id, name, {column} as address from customers order by customer_id limit :count")
        return pandas.read_sql(query, conn, params={"count": count})
