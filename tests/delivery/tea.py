"""A fixture journey with all four channels, and accounts of every provider at the stub; nothing shipped uses the new two."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from retention.bench.stub_gateway import PATH, SECRETS, STATUS_PATH
from retention.journey.files import Files, read_files
from retention.journey.load import Version, load
from tests.world import INCLUDE

NOW = datetime(2026, 12, 1, 2, 0, tzinfo=UTC)
KEY = "0123456789abcdef0123456789abcdef"
SID = "AC" + "a" * 32
CONTENT = {"zh-CN": "HX" + "1" * 32, "en": "HX" + "e" * 32}
ADDRESSES = {
    "email": "c{n}@example.com",
    "sms": "+8613800{n:06}",
    "whatsapp": "+8613800{n:06}",
    "webhook": "shopper-{n:04}",
}

JOURNEY = """\
journey: tea_news
title: Tea
schedule: "0 6 * * *"
starts_on: 2026-11-01
timezone: Asia/Shanghai
audience: birthday_in_3_days
entry: {window: 3d, reenter_after: 300d}
holdout: 0%
steps:
  - id: greeting
    at: day 0, 10:00
    coupon: {kind: percent_off, value: 20, valid: 7d}
    send: {template: tea/news, all: [whatsapp, webhook]}
    expires: 2d
  - id: everywhere
    at: day 1, 10:00
    send: {template: tea/news, channels: [whatsapp, webhook, email, sms]}
"""
ZH = "{% if customer.name %}{{ customer.name }}，{% endif %}您好！您的{{ coupon.zhe }}折券码是{{ coupon.code }}，{{ coupon.valid_until }}止。"
EN = "Hello{% if customer.name %} {{ customer.name }}{% endif %}: {{ coupon.value }}% off with {{ coupon.code }} until {{ coupon.valid_until }}."
FILES = {
    "journeys/tea_news.yaml": JOURNEY,
    "templates/tea/news/template.yaml": "title: News of tea\npurpose: marketing\n",
    "templates/tea/news/whatsapp.zh-CN.txt": f"""\
---
content_sid: {CONTENT["zh-CN"]}
1: {{{{ customer.name | default("朋友", true) }}}}
2: {{{{ coupon.zhe }}}}
3: {{{{ coupon.code }}}}
4: {{{{ coupon.valid_until }}}}
---
{{{{ customer.name | default("朋友", true) }}}}，您好！您的{{{{ coupon.zhe }}}}折券码是{{{{ coupon.code }}}}，{{{{ coupon.valid_until }}}}止。
""",
    "templates/tea/news/whatsapp.en.txt": f"""\
---
content_sid: {CONTENT["en"]}
1: "{{{{ customer.name | default('friend', true) }}}}"
2: {{{{ coupon.code }}}}
---
Hello {{{{ customer.name | default("friend", true) }}}}! Your code is {{{{ coupon.code }}}}. {{{{ shop.name }}}}
""",
    "templates/tea/news/webhook.zh-CN.txt": f"---\ntitle: {{% if customer.name %}}{{{{ customer.name }}}}，{{% endif %}}新茶到了\n---\n{ZH}\n",
    "templates/tea/news/webhook.en.txt": f"{EN}\n",
    "templates/tea/news/sms.zh-CN.txt": f"【{{{{ shop.name }}}}】{ZH}回复TD退订\n",
    "templates/tea/news/email.zh-CN.txt": f"{ZH}\n",
    "templates/tea/news/email.zh-CN.html": f"---\nsubject: 新茶到了\n---\n<html><body><p>{ZH}</p></body></html>\n",
}


def make_version(**changes: str) -> Version:
    """The journey; `changes` replace whole files, by path."""
    workspace = load(Files({**read_files(INCLUDE), **FILES, **changes}))
    assert "tea_news" in workspace.versions, workspace.broken
    return workspace.versions["tea_news"]


@dataclass
class Row:
    """What a letter is written from."""

    message_id: int
    channel: str
    address: str
    customer_id: str = "c1"
    locale: str = "zh-CN"
    name: str | None = "王小明"
    template: str | None = None
    facts: str | None = None
    coupon_code: str | None = "ABCDEFGH23"
    coupon_valid_until: datetime | None = datetime(2026, 12, 8, 15, 59, tzinfo=UTC)
    coupon_kind: str | None = "percent_off"
    coupon_value: Any = 20
    coupon_minimum: Any = None
    coupon_currency: str | None = None
    coupon_gift: str | None = None


def make_row(channel: str, n: int, **more: Any) -> Row:
    """The row of message n."""
    return Row(n, channel, ADDRESSES[channel].format(n=n), ADDRESSES["webhook"].format(n=n), **more)


def accounts(url: str) -> dict[tuple[str, str], dict[str, Any]]:
    """A Connection for every provider of every channel, all at one address."""
    twilio = {"conn_type": "twilio", "login": SID, "password": "secret-of-twilio", "host": url}
    senders = {"senders": {"*": "+15005550006"}, "per_second": "none"}
    return {
        ("email", "sendgrid"): {
            "conn_type": "sendgrid",
            "password": "SG.secret",
            "host": url,
            "extra": {"from_email": "news@example.com", "per_second": "none"},
        },
        ("sms", "twilio"): {**twilio, "extra": senders},
        ("whatsapp", "twilio"): {**twilio, "extra": senders},
        ("webhook", "webhook"): {
            "conn_type": "webhook",
            "password": f"{SECRETS[0]},an-older-secret-of-ours",
            "host": url + PATH,
            "extra": {"status_url": url + STATUS_PATH, "per_second": "none"},
        },
    }


def set_accounts(monkeypatch: Any, url: str) -> None:
    """The Connections in the environment, and what providers need of ours."""
    monkeypatch.setenv("RETENTION_SIGNING_KEY", KEY)
    monkeypatch.setenv("RETENTION_PUBLIC_URL", "https://hello.example.com/")
    for (channel, _), account in accounts(url).items():
        monkeypatch.setenv(f"AIRFLOW_CONN_RETENTION_{channel.upper()}", json.dumps(account))


def read_record(path: Any, signer: Any) -> Counter[int]:
    """A stub's record: message id -> how often it was accepted."""
    from retention.delivery.tokens import STATUS

    seen: Counter[int] = Counter()
    for line in path.read_text().splitlines() if path.exists() else ():
        said = json.loads(line)
        if said["kind"] == "email":
            seen[int(said["args"]["retention_message"])] += 1
        elif said["kind"] == "webhook":
            seen[said["id"]] += 1
        else:
            seen[signer.read(STATUS, said["callback"].rpartition("/")[2])] += 1
    return seen
