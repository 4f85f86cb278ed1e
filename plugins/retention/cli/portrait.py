"""How `retention explain` shows a customer's scores: words and tables. Asks nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from retention.console import SHANGHAI, say, table

if TYPE_CHECKING:
    from retention.audience.scores.churn import ExplainedChurn
    from retention.audience.scores.explain import Dimension, Explained
    from retention.audience.scores.portrait import Portrait
    from retention.audience.scores.strata import ExplainedStratum
    from retention.audience.scores.value_dimensions import ExplainedValue


def show_scores(portrait: Portrait) -> None:
    """Everything of a portrait."""
    say(f"Scores of {portrait.customer_id} as of {write_moment(portrait.as_of)} (Asia/Shanghai), as known then")
    if portrait.tiers is None:
        say("No tiers were worked out by then.")
    else:
        _show_tiers(portrait.tiers)
    if portrait.churn is not None:
        _show_churn(portrait.churn)
    if portrait.points is not None:
        _show_points(portrait.points)
    if portrait.stratum is not None:
        _show_stratum(portrait.stratum)
    value = portrait.value
    if value:
        worth = f", {value['currency']} {value['value']:,.2f}" if value["value"] is not None else ", no amount known"
        say(
            "",
            f"Expected in 12 months: {value['purchases']:.2f} purchases{worth}; still a customer: {value['p_alive']:.0%}",
            f"  from {value['frequency']} repeat purchases, first {value['first_on']}, last {value['last_on']}; "
            f"model of {value['fitted_at']:%Y-%m-%d}: r {value['r']:.3f}, alpha {value['alpha']:.3f}, a {value['a']:.3f}, "
            f"b {value['b']:.3f}",
        )
    if portrait.answers:
        rows = [
            (
                it.kind, it.option if it.kind == "channel" else f"from {it.option}:00", it.sent, it.responses,
                f"{it.rate:.1%}", "" if it.usual_rate is None else f"{it.usual_rate:.1%}",
            )
            for it in portrait.answers
        ]  # fmt: skip
        say("", "Answers, the best first")
        say(table(["by", "", "sent", "answered", "rate drawn towards the shop's", "the shop's"], rows))
    if portrait.next_purchases:
        rows = [
            (
                it.category,
                it.due_on,
                it.last_on,
                f"{it.days:.0f} d",
                _days(it.own_days),
                it.intervals,
                _days(it.usual_days),
            )
            for it in portrait.next_purchases
        ]
        say("", "Next purchases")
        say(table(["category", "due", "last", "interval", "own", "of so many", "the category's"], rows))


def _show_tiers(found: Explained) -> None:
    config = found.run.config
    say(
        f"Run of {write_moment(found.run.as_of)}. " + ", ".join(f"{name}: {tier}" for name, tier in found.tiers.items())
    )
    if not found.sums:
        say("She was no customer then.")
    if "six" in found.tiers:
        say(f"  {_say_definition(found.tiers['six'], config)}")
    rows = [
        (it.name, _say_value(it, it.value), _say_value(it, it.mid.cut), _say_value(it, it.high.cut), it.level,
         it.kept_level if it.kept_level != it.level else "")
        for it in found.dimensions
    ]  # fmt: skip
    if rows:
        say(table(["", "value", "mid beyond", "high beyond", "level", "kept, if it was so"], rows))
        sums = found.sums
        say(
            f"  {sums['orders']} orders, {config['currency']} {sums['amount']:,.2f} in {config['window']}"
            f" ({sums['orders_before']} orders before), {sums['returns']} given back, "
            f"{sums['unpriced_orders']} without a known amount",
            f"  first order {write_moment(sums['first_order_at'])}, last {write_moment(sums['last_order_at'])}; logins {sums['logins']}, "
            f"views {sums['views']}, carts {sums['carts']}, participations {sums['participations']}, "
            f"community {sums['community']} in {config['activity_window']}",
        )
    if found.history:
        rows = [
            (write_moment(it.since), it.scheme, it.previous or "-", it.tier or "no longer scored",
             ", ".join(f"{name} {level}" for name, level in it.levels.items()))
            for it in found.history
        ]  # fmt: skip
        say("", "History of tiers", table(["since", "scheme", "from", "to", "levels"], rows))


def _say_definition(tier: str, config: Mapping[str, Any]) -> str:
    """What the tier asks for: who does not fit exactly is in the nearest one."""
    from retention.audience.scores.six import DEFINITIONS, LEVELS
    from retention.journey.scores import DIMENSIONS

    if tier not in DEFINITIONS:
        return f"{tier}: the first order is at most {config['new_for']} old, whatever the levels"
    levels = (f"{name} {LEVELS[level]}" for name, level in zip(DIMENSIONS, DEFINITIONS[tier], strict=True))
    quiet = f"; no order for {config['quiet_after']}" if tier == "churn_warning" else ""
    return f"{tier} is {', '.join(levels)}{quiet}; of all tiers it is the nearest to her levels (docs/scores.md)"


def _show_churn(found: ExplainedChurn) -> None:
    score = found.note if found.score is None else f"{found.score:.0f} of 100"
    say(
        "",
        f"Churn: {found.state or 'not scored'}, {score} (warning from {found.warning:g}, churned from {found.churned:g})",
    )
    rows = [
        (
            it.name, it.left_out or f"{it.input:.2f} {it.unit}", f"{it.begins:g} to {it.full:g}", f"{it.weight:g}",
            "" if it.contribution is None else f"{it.contribution:.1f}",
        )
        for it in found.indicators
    ]  # fmt: skip
    if rows:
        say(table(["indicator", "input", "counts from, fully", "weight", "points"], rows))
    for it in found.history:
        say(f"  {write_moment(it.since)}: {it.previous or '-'} to {it.state or 'no longer scored'}")


def _show_points(found: ExplainedValue) -> None:
    say("", f"Value: {'nothing of any dimension' if found.points is None else f'{found.points:.0f} of 100'}")
    rows = []
    for it in found.dimensions:
        rows.append(
            (
                it.name,
                it.left_out or _figure(it.input),
                _figure(it.points),
                f"{it.weight:.0%}",
                _figure(it.contribution),
            )
        )
        # Of the parts of purchases those that say something.
        rows += [
            (f"  {part.name}", _figure(part.input), _figure(part.points), f"{part.weight:.0%}", "")
            for part in it.parts
            if part.points is not None
        ]
    if rows:
        say(table(["dimension", "counted", "0 to 100", "weight", "points"], rows))


def _show_stratum(found: ExplainedStratum) -> None:
    if found.value is None:
        say("", f"Stratum: {found.stratum or 'none'} ({found.note or 'no value'})")
    else:
        cuts = ", ".join(f"{n} above {cut:,.2f}" for n, cut in enumerate(found.cuts, 1))
        say("", f"Stratum: {found.stratum or 'none'} by an expected {found.value:,.2f} ({found.basis}); {cuts}")
    for it in found.history:
        say(f"  {write_moment(it.since)}: {it.previous or '-'} to {it.stratum or 'no longer in one'}")


def _figure(number: float | None) -> str:
    return "" if number is None else f"{number:,.1f}".removesuffix(".0")


def _say_value(dimension: Dimension, value: float | None) -> str:
    """A value, or a cut, as it is compared; recency as the day of the last order."""
    if value is None:
        return "none"
    if dimension.name == "recency":
        return f"{datetime.fromtimestamp(value, UTC).astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def write_moment(moment: datetime | None) -> str:
    """A moment in the zone of those that belong to no single journey."""
    return f"{moment.astimezone(SHANGHAI):%Y-%m-%d %H:%M}" if moment else "never"


def _days(days: float | None) -> str:
    return "" if days is None else f"{days:.0f} d"
