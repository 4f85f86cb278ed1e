"""An invented company to measure deliveries with: customers by the million, one journey, its cohort decided.

No address in it reaches anybody: e-mails are at example.com, numbers are the ones reserved for fiction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from retention.delivery.plan import plan_step
from retention.journey.load import Version, load_version
from retention.journey.policy import Policy
from retention.journey.policy_file import ContactCaps, PolicyFile, QuietHours
from retention.store.versions import remember

AT = datetime(2026, 6, 1, 2, 0, tzinfo=UTC)
"""When the cohort enters: 10:00 by the shop's clock. Its steps are due in the minutes after."""

NOON = AT + timedelta(hours=2)
"""When it is decided and sent."""

_SHOP = """name: {zh-CN: 云岫小铺, en: Yunxiu}
website: https://shop.example.com
"""

_JOURNEY = """journey: bench
title: A benchmark
status: active
live: true
schedule: "0 10 * * *"
starts_on: 2026-01-01
timezone: Asia/Shanghai
audience: nobody
entry: {window: 3d, backlog: skip, reenter_after: 300d}
holdout: 0%
goal: {event: order, within: 10d}
exit_when: [unsubscribed, goal_met]
steps:
  - id: email_filled
    at: day 0, 10:00
    send: {template: bench/filled, channels: [email]}
  - id: email_rendered
    at: day 0, 10:01
    send: {template: bench/rendered, channels: [email]}
  - id: sms
    at: day 0, 10:02
    send: {template: bench/text, channels: [sms]}
  - id: whatsapp
    at: day 0, 10:03
    send: {template: bench/text, channels: [whatsapp]}
  - id: webhook
    at: day 0, 10:04
    send: {template: bench/text, channels: [webhook]}
"""

_WHATSAPP = f"""---
content_sid: HX{"b" * 32}
1: {{{{ customer.name | default("friend", true) }}}}
---
Hello {{{{ customer.name | default("friend", true) }}}}
"""

_PARAGRAPH = (
    '<p style="margin:0 0 14px;font-size:16px;line-height:1.75">Thank you for being with us. This week\'s letter has a '
    "short word on how to keep ceramic glaze bright, which tea goes with cold evenings, and what is new on our shelves."
    "</p>\n"
)

_HTML = """---
subject: %(hello)s, a letter from {{ shop.name }}
preheader: Three minutes of reading
---
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>A letter</title></head>
<body style="margin:0;background:#f3efe6">
<p style="font-size:16px">Hello %(hello)s,</p>
%(words)s<p><a href="{{ shop.website }}">See what is new, %(hello)s</a></p>
<p style="font-size:12px">You get this e-mail because you agreed to hear from {{ shop.name }}.</p>
</body></html>
"""

_PLAIN = """Hello %(hello)s,

thank you for being with us. This week's letter has a short word on how to keep ceramic glaze bright.

{{ shop.website }}
"""


def _template(name: str, hello: str) -> dict[str, str]:
    words = {"hello": hello, "words": _PARAGRAPH * 4}
    folder = f"templates/bench/{name}"
    files = {f"{folder}/template.yaml": "title: A benchmark\npurpose: marketing\n"}
    for locale in ("en", "zh-CN"):
        files[f"{folder}/email.{locale}.html"] = _HTML % words
        files[f"{folder}/email.{locale}.txt"] = _PLAIN % words
    return files


def make_version() -> Version:
    """The journey: one e-mail that a provider can fill, one that has to be rendered for each person, one SMS; and one
    message each on the channels that no benchmark is about."""
    # One segment in every language: a rate counts segments.
    sms = "Yunxiu: hello {{ customer.name }}, our new tea is here: {{ shop.website }} Reply STOP to opt out"
    return load_version(
        {
            "journeys/bench.yaml": _JOURNEY,
            "shop.yaml": _SHOP,
            "sql/audiences/nobody.sql": "-- Nobody: a benchmark's cohort is made by hand.\n"
            "select customer_id, 'bench' as occurrence from as_of.customers where false\n",
            **_template("filled", "{{ customer.name }}"),
            **_template("rendered", "{{ customer.name | title }}"),
            "templates/bench/text/template.yaml": "title: A benchmark\npurpose: marketing\n",
            "templates/bench/text/sms.en.txt": sms,
            "templates/bench/text/sms.zh-CN.txt": sms,
            "templates/bench/text/whatsapp.zh-CN.txt": _WHATSAPP,
            "templates/bench/text/webhook.zh-CN.txt": sms,
        }
    )


CUSTOMERS = """
insert into customers (customer_id, name, email, phone, locale, timezone, country, occurred_at, recorded_at)
select 'c' || n, 'Name ' || n, 'c' || n || '@example.com', '+1202555' || lpad((n % 10000)::text, 4, '0') || lpad((n / 10000)::text, 3, '0'),
       case when n % 10 < 7 then 'zh-CN' else 'en' end, 'Asia/Shanghai', 'CN', '2024-01-01Z', '2024-01-01Z'
from generate_series(1, :count) as n
"""
CONSENTS = """
insert into consents (customer_id, channel, purpose, is_granted, source, occurred_at, recorded_at)
select customer_id, channel, 'marketing', true, 'bench', '2024-01-01Z', '2024-01-01Z'
from customers cross join unnest(cast(:channels as text[])) as way (channel)
"""
COHORT = """
insert into cohorts (mode, journey, cohort_at, version_id, status, candidates, created_at)
values ('live', 'bench', :at, :version, 'open', :count, :at) returning cohort_id
"""
ENROLLMENTS = """
insert into enrollments (cohort_id, mode, journey, customer_id, occurrence, arm, is_eligible, email, phone, entered_at)
select :cohort, 'live', 'bench', customer_id, 'bench:' || :cohort, 'a', true, email, phone, :at from customers
where customer_id in (select 'c' || n from generate_series(1, :count) as n)
"""

NO_RULES = Policy(PolicyFile(caps=ContactCaps(), quiet_hours=QuietHours(sms="none", whatsapp="none", webhook="none")))
"""What is measured is the delivery: nobody is capped, nobody waits for the morning."""


def populate(engine: Engine, customers: int, *, channels: Sequence[str] = ("email", "sms")) -> None:
    """Customers with a name, both addresses and these consents."""
    with engine.begin() as conn:
        conn.execute(text(CUSTOMERS), {"count": customers})
        conn.execute(text(CONSENTS), {"channels": list(channels)})
    _analyze(engine)


def enroll(engine: Engine, customers: int, *, at: datetime = AT) -> int:
    """A cohort of so many of them, without an audience's work; its id. Each call needs another moment."""
    version = make_version()
    with engine.begin() as conn:
        version_id = remember(conn, "bench", version.content_hash, version.content, at)
        cohort = conn.scalar(text(COHORT), {"at": at, "version": version_id, "count": customers})
        conn.execute(text(ENROLLMENTS), {"cohort": cohort, "at": at, "count": customers})
    _analyze(engine)
    return cohort


def decide(engine: Engine, cohort_id: int, step_id: str, *, at: datetime = NOON) -> None:
    """Plan one step."""
    with engine.begin() as conn:
        plan_step(conn, make_version(), cohort_id, step_id, policy=NO_RULES, now=at)


def _analyze(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        for table in ("customers", "consents", "enrollments"):
            conn.execute(text(f"analyze {table}"))
