"""What `retention new JOURNEY` writes: a commented journey and a template that pass the check as they stand, or a copy of another."""

from __future__ import annotations

import re
from datetime import date

from pydantic import TypeAdapter, ValidationError

from retention.errors import ConfigError, Problem
from retention.journey.fields import OWN_DAGS, Id
from retention.journey.load import Version

_JOURNEY = """\
# yaml-language-server: $schema=./journey.schema.json
#
# Check it:               retention check include/journeys/{id}.yaml
# See what would happen:  retention plan {id}

journey: {id}
title: {title}
owner: marketing                  # who answers for this journey
status: active                    # draining: nobody enters any more · stopped: nothing is sent
live: false                       # true: really send, from the next cohort on

schedule: "0 6 * * *"             # when a cohort enters: minute, hour, day, month, weekday
starts_on: {starts_on}             # the first day on which anybody may enter
timezone: Asia/Shanghai           # for the schedule and for all moments below
default_locale: zh-CN             # for customers whose language we don't know

audience: {audience}  # who enters: include/sql/audiences/{audience}.sql
entry:
  window: 3d                      # people we learn of late still enter within this time
  backlog: skip                   # what is older stays in the past; ramp lets it in bit by bit
  reenter_after: 300d             # how long the same person stays out; never: once in a lifetime
  max_per_day: none               # or a number

holdout: 10%                      # these get nothing: the difference to them is what the journey achieves
goal:
  event: order                    # what a customer does when the journey has worked
  within: 10d
  target: 10%
exit_when: [unsubscribed, goal_met]

steps:
  - id: hello
    at: day 0, 10:00              # day 0 is the day on which the cohort enters
    # A personal code; templates show it with {{{{ coupon.code }}}}:
    # coupon: {{kind: percent_off, value: 10, valid: 7d}}
    send:
      template: {id}/hello
      channels: [email, sms]      # the first on which the customer can be reached; all: sends on each
    expires: 1d                   # never sent later than this

  # A second step, three days later, only for those who have not used their coupon:
  # - id: reminder
  #   at: day 3, 10:00
  #   only_if: coupon_unused
  #   send: {{template: {id}/reminder, channels: [email]}}
"""

_HEAD = """\
title: The first message of {id}
# marketing needs the customer's consent to marketing; transactional is about something they ordered.
purpose: marketing
"""

_HTML = {
    "zh-CN": """\
---
subject: （广告）{{ shop.name }}想对您说
preheader: 这一行会显示在收件箱的标题后面
---
<!doctype html>
<html lang="zh-CN">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body style="margin:0; padding:24px; font-family:-apple-system, 'PingFang SC', 'Microsoft YaHei', sans-serif;">
  <p>{% if customer.name %}{{ customer.name }}，{% endif %}您好！</p>
  <p>在这里写您想说的话。</p>
  <p><a href="{{ shop.website }}">去看看</a></p>
  <p>{{ shop.name }}<br>{{ shop.postal_address }}</p>
  {% if links.unsubscribe %}
  <p><a href="{{ links.unsubscribe }}">退订</a> · <a href="{{ links.preferences }}">选择想收到的内容</a></p>
  {% endif %}
</body>
</html>
""",
    "en": """\
---
subject: (AD) A word from {{ shop.name }}
preheader: This line is shown after the subject in the inbox
---
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body style="margin:0; padding:24px; font-family:-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif;">
  <p>Hello{% if customer.name %} {{ customer.name }}{% endif %},</p>
  <p>Write here what you want to say.</p>
  <p><a href="{{ shop.website }}">Have a look</a></p>
  <p>{{ shop.name }}<br>{{ shop.postal_address }}</p>
  {% if links.unsubscribe %}
  <p><a href="{{ links.unsubscribe }}">Unsubscribe</a> · <a href="{{ links.preferences }}">Choose what we send</a></p>
  {% endif %}
</body>
</html>
""",
}

_TEXT = {
    "zh-CN": """\
{% if customer.name %}{{ customer.name }}，{% endif %}您好！

在这里写您想说的话。

{{ shop.website }}
{{ shop.name }}
{{ shop.postal_address }}
{% if links.unsubscribe %}
退订：{{ links.unsubscribe }}
选择想收到的内容：{{ links.preferences }}
{% endif %}
""",
    "en": """\
Hello{% if customer.name %} {{ customer.name }}{% endif %},

Write here what you want to say.

{{ shop.website }}
{{ shop.name }}
{{ shop.postal_address }}
{% if links.unsubscribe %}
Unsubscribe: {{ links.unsubscribe }}
Choose what we send: {{ links.preferences }}
{% endif %}
""",
}

_SMS = {
    "zh-CN": "【{{ shop.name }}】在这里写您想说的话。回复TD退订\n",
    "en": "{{ shop.name }}: write here what you want to say. Reply STOP to opt out\n",
}


def starter(journey_id: str, *, audience: str, starts_on: date) -> dict[str, str]:
    """The files of a new journey, path (relative to include/) -> text. `audience` should exist; nothing is written.

    Raises ConfigError if `journey_id` can't be an id.
    """
    path = _find_place(journey_id)
    title = journey_id.replace("_", " ").capitalize()
    folder = f"templates/{journey_id}/hello"
    files = {
        path: _JOURNEY.format(id=journey_id, title=title, audience=audience, starts_on=starts_on.isoformat()),
        f"{folder}/template.yaml": _HEAD.format(id=journey_id),
    }
    for locale in _TEXT:
        files[f"{folder}/email.{locale}.html"] = _HTML[locale]
        files[f"{folder}/email.{locale}.txt"] = _TEXT[locale]
        files[f"{folder}/sms.{locale}.txt"] = _SMS[locale]
    return files


def copy(version: Version, journey_id: str, *, starts_on: date) -> dict[str, str]:
    """The files of a journey that is like `version`, path (relative to include/) -> text: its YAML, comments and order as they are,
    under the new id, from `starts_on`, not live; and its templates in a folder of their own. Nothing is written.

    Raises ConfigError if `journey_id` can't be an id."""
    path, old = _find_place(journey_id), version.journey.journey
    text = version.content[f"journeys/{old}.yaml"]
    names = _name_anew(sorted(version.templates), journey_id)
    for name, new in names.items():
        text = re.sub(rf"(?<![\w/-]){re.escape(name)}(?![\w/-])", new, text)
    text = re.sub(rf"(?<![\w/-]){old}(?![\w/-])", journey_id, text)
    for key, value in (("starts_on", starts_on.isoformat()), ("live", "false"), ("status", "active")):
        text = re.sub(rf"(?m)^({key}:\s*)[^\s#]+", rf"\g<1>{value}", text)
    text = re.sub(r"(?m)^(title:\s*)(.*?)(\s*(?:#.*)?)$", rf"\g<1>\g<2> ({journey_id})\g<3>", text)
    files = {path: text}
    for place, words in version.content.items():
        folder, _, file = place.removeprefix("templates/").rpartition("/")
        if place.startswith("templates/") and folder in names:
            files[f"templates/{names[folder]}/{file}"] = words
    return files


def _find_place(journey_id: str) -> str:
    path = f"journeys/{journey_id}.yaml"
    try:
        TypeAdapter(Id).validate_python(journey_id)
    except ValidationError as error:
        told = error.errors()[0]["ctx"]
        raise ConfigError([Problem(f"include/{path}", 1, str(told["what"]), str(told["remedy"]))]) from None
    if journey_id in OWN_DAGS:
        what = f'"{journey_id}" is the name of a DAG that every installation has.'
        raise ConfigError([Problem(f"include/{path}", 1, what, f'Choose another id, such as "{journey_id}_journey".')])
    return path


def _name_anew(names: list[str], journey_id: str) -> dict[str, str]:
    """dormancy/gift -> spring/gift; names that would meet keep their folder: spring/dormancy_gift."""
    last = [name.rpartition("/")[2] for name in names]
    return {
        name: f"{journey_id}/{short if last.count(short) == 1 else name.replace('/', '_')}"
        for name, short in zip(names, last, strict=True)
    }
