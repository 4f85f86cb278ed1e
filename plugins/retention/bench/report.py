"""A benchmark's figures as tables."""

from __future__ import annotations

from typing import Any

from retention.console import table

NAMES = {
    "email": "e-mail, filled by the provider",
    "email_rendered": "e-mail, rendered here",
    "sms": "SMS",
}


def describe(found: dict[str, Any]) -> list[Any]:
    """Lines and tables for `say`."""
    rows = [(name, *_row(found[key])) for key, name in NAMES.items()]
    columns = ["", "messages", "a second", "the loop", "times it", "slowest raw part", "a second ", "share", "peak MB"]
    parts = sorted(found["email"]["limits"])
    raw = [(name, *(f"{found[key]['limits'][part]:,.0f}" for part in parts)) for key, name in NAMES.items()]
    plans = [
        (name, f"{plan['seconds']:.1f}", f"{plan['insert_select_seconds']:.1f}", f"{plan['ratio']:.2f}")
        for key, name in NAMES.items()
        if (plan := found[key]["plan"])
    ]
    lines: list[Any] = [
        f"{found['customers']:,} customers, {found['workers']} workers on {found['cores']} cores",
        "",
        table(columns, rows),
        "",
        "The raw parts, each alone in one process, messages a second:",
        table(["", *parts], raw),
        "",
        "Deciding a step, in seconds:",
        table(["", "plan", "bare INSERT ... SELECT", "ratio"], plans),
    ]
    if limited := found.get("sms_limited"):
        lines += [
            "",
            f"SMS at a limit of {limited['limit_per_s']} a second: {limited['messages_per_s']:.1f} a second "
            f"({limited['ratio_limit']:.1%}), {limited['refused_429']} refused as too fast.",
        ]
    return lines


def _row(it: dict[str, Any]) -> tuple[str, ...]:
    slowest = it["slowest_part"]
    return (
        f"{it['messages']:,}", f"{it['messages_per_s']:,.0f}", f"{it['naive_per_s']:,.0f}", f"{it['ratio_naive']:.0f}",
        slowest, f"{it['limits'][slowest]:,.0f}", f"{it['ratio_limit']:.0%}", f"{it['peak_rss_mb']:.0f}",
    )  # fmt: skip
