"""What the sample's customers allow, and the addresses we must not use; both with their history.

Permission is asked for marketing, per channel of which we know an address. Transactional messages need none here: no
customer has a row for them.
"""

from __future__ import annotations

import numpy as np

from retention.store.sample.anchors import is_anchor
from retention.store.sample.people import People
from retention.store.sample.period import DAYS, SECOND, Period, draws, record

CHANNELS = {"email": "email", "sms": "phone"}
WORDING = {
    "email": "我同意青禾生活向我的邮箱发送新品、优惠和活动信息。可随时退订。",
    "sms": "我同意青禾生活向我的手机号发送新品、优惠和活动短信。是否同意不影响购物，可随时回复TD退订。",
}
"""What people read when they agreed."""
"""Each channel and the customer's column that holds its address."""

GRANTED_SHARE = 0.75
REFUSED_SHARE = 0.10
"""Asked at sign-up and said no. The rest was never asked: no row."""
WITHDRAWN_SHARE = 0.08
"""Of the granted, some time later; a quarter of these grants again."""
WITHDRAWN_BY = {"email": "unsubscribe_link", "sms": "sms_reply"}

SUPPRESSED = {
    "email": {"bounced": 0.012, "complained": 0.002},
    "sms": {"undeliverable": 0.008, "stopped": 0.004},
}
"""Of all addresses of a channel, by reason."""
BROKEN_SUPPRESSED_SHARE = 0.5
"""Of e-mail addresses that are broken: somebody tried them."""
LIFTED_SHARE = 0.2
"""Of the suppressed, later."""


def draw_consents(people: People, seed: int, period: Period) -> dict[str, np.ndarray]:
    """The columns of the table consents, by time."""
    count = len(people.ids)
    anchor = is_anchor(count)
    both = draws(seed, "consents").random(count)
    rows = []
    for channel, column in CHANNELS.items():
        rng = draws(seed, f"consents.{channel}")
        # most people answer alike for every channel
        answer = np.where(rng.random(count) < 0.7, both, rng.random(count))
        answer[anchor] = 0
        has_address = people.columns[column].astype(bool)
        granted = np.flatnonzero(has_address & (answer < GRANTED_SHARE))
        refused = np.flatnonzero(has_address & (answer >= GRANTED_SHARE) & (answer < GRANTED_SHARE + REFUSED_SHARE))
        at_sign_up = people.signed_up + rng.uniform(1, 40, count) * SECOND
        rows.append((channel, granted, True, "sign_up", at_sign_up[granted]))
        rows.append((channel, refused, False, "sign_up", at_sign_up[refused]))
        withdrawn = granted[(rng.random(len(granted)) < WITHDRAWN_SHARE) & ~anchor[granted]]
        withdrawn_at = _later(rng, at_sign_up[withdrawn])
        rows.append((channel, withdrawn, False, WITHDRAWN_BY[channel], withdrawn_at))
        again = rng.random(len(withdrawn)) < 0.25
        rows.append((channel, withdrawn[again], True, "preference_page", _later(rng, withdrawn_at[again])))
    sizes = [len(r[1]) for r in rows]
    customer, days = (np.concatenate([r[i] for r in rows]) for i in (1, 4))
    channel, is_granted, source = (np.repeat(np.array([r[i] for r in rows], object), sizes) for i in (0, 2, 3))
    kept = _by_time(days)
    recorded = record(
        draws(seed, "consents.recorded"),
        days[kept],
        seconds=10,
        late_share=0.01,
        late_days=(0.5, 4),
        on_time=anchor[customer[kept]],
    )
    # an answer given at sign-up is not known before the sign-up is
    recorded = np.maximum(recorded, people.recorded[customer[kept]])
    return {
        "customer_id": people.ids[customer[kept]],
        "channel": channel[kept],
        "purpose": np.full(len(kept), "marketing", object),
        "is_granted": is_granted[kept].astype(bool),
        "source": source[kept],
        "wording": np.where(is_granted[kept].astype(bool), [WORDING[it] for it in channel[kept]], None),
        "occurred_at": period.instants(days[kept]),
        "recorded_at": period.instants(recorded),
    }


def draw_suppressions(people: People, seed: int, period: Period) -> dict[str, np.ndarray]:
    """The columns of the table suppressions, by time; an address stands as the customer's row has it."""
    count = len(people.ids)
    rows = []
    for channel, column in CHANNELS.items():
        rng = draws(seed, f"suppressions.{channel}")
        address = people.columns[column]
        fate = rng.random(count)
        if channel == "email":
            fate[_is_broken(address) & (rng.random(count) < BROKEN_SUPPRESSED_SHARE)] = 0
        fate[is_anchor(count) | ~address.astype(bool)] = 1
        lifted_draw, below = rng.random(count), 0.0
        for reason, share in SUPPRESSED[channel].items():
            who = np.flatnonzero((below <= fate) & (fate < below + share))
            below += share
            at = _later(rng, people.signed_up[who])
            rows.append((channel, address[who], True, reason, at))
            lifted = lifted_draw[who] < LIFTED_SHARE
            rows.append((channel, address[who][lifted], False, "address_confirmed", _later(rng, at[lifted])))
    sizes = [len(r[1]) for r in rows]
    addresses, days = (np.concatenate([r[i] for r in rows]) for i in (1, 4))
    channel, is_suppressed, reason = (np.repeat(np.array([r[i] for r in rows], object), sizes) for i in (0, 2, 3))
    kept = _by_time(days)
    recorded = record(
        draws(seed, "suppressions.recorded"), days[kept], seconds=120, late_share=0.02, late_days=(0.5, 3)
    )
    return {
        "channel": channel[kept],
        "address": addresses[kept],
        "is_suppressed": is_suppressed[kept].astype(bool),
        "reason": reason[kept],
        "occurred_at": period.instants(days[kept]),
        "recorded_at": period.instants(recorded),
    }


def _later(rng: np.random.Generator, days: np.ndarray) -> np.ndarray:
    """Some time between each moment and the end; a minute at least, so the last ones fall out of the period."""
    return days + 60 * SECOND + rng.random(len(days)) * (DAYS - days)


def _by_time(days: np.ndarray) -> np.ndarray:
    kept = np.flatnonzero(days < DAYS)
    return kept[np.argsort(days[kept], kind="stable")]


def _is_broken(emails: np.ndarray) -> np.ndarray:
    return np.array(
        [e is not None and (e.count("@") != 1 or " " in e or e.endswith("@") or "@." in e) for e in emails], bool
    )
