"""Commands about providers: who carries which channel, a test message, what is in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Annotated

import typer

from retention.cli.shared import (
    AsJson,
    JourneyName,
    app,
    fail,
    find_version,
    name_actor,
    open_store,
    read_clock,
)
from retention.console import dump, say, table

SHOWN = 5


@app.command()
def providers(as_json: AsJson = False) -> None:
    """Who carries each channel, and whether the provider knows the account. Sends nothing."""
    from retention.delivery.accounts import conn_id_of, read_account
    from retention.delivery.channels import BATCH_SIZES
    from retention.delivery.choose import open_provider
    from retention.errors import RetentionError

    rows, has_trouble = [], False
    for channel in BATCH_SIZES:
        account = read_account(channel)
        if account is None or account.provider == "outbox":
            said = (
                f"no AIRFLOW_CONN_{conn_id_of(channel).upper()} here: nobody is reached"
                if not account
                else "nobody is reached"
            )
            rows.append((channel, "outbox", "ok", said))
            continue
        try:
            with closing(open_provider(channel, account, read_clock)) as provider:
                rows.append((channel, account.provider, "ok", provider.check()))
        except RetentionError as error:
            rows.append((channel, account.provider, "trouble", str(error)))
            has_trouble = True
    if as_json:
        dump([dict(zip(("channel", "provider", "state", "says"), row, strict=True)) for row in rows])
    else:
        say(table(["channel", "provider", "", "it says"], rows))
        say("Connections that are kept in Airflow alone are not seen here: test those in its UI.")
    if has_trouble:
        raise typer.Exit(1)


@app.command("send-test")
def send_test(
    journey: JourneyName,
    step: Annotated[str, typer.Argument(help="The step's id.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="The one address: an e-mail address, a number like +8613800000000 (for WhatsApp: whatsapp:+8613800000000), "
            "or webhook:CUSTOMER_ID.",
        ),
    ],
    locale: Annotated[str | None, typer.Option("--locale", help="zh-CN, en, ...; default: the journey's.")] = None,
    customer: Annotated[
        str | None, typer.Option("--customer", help="Borrow this customer's name and language.")
    ] = None,
) -> None:
    """Send one rendered message of a step to one address. Spends no coupon and leaves nothing on record."""
    from retention.delivery.accounts import read_account
    from retention.delivery.choose import open_provider
    from retention.delivery.send_test import send_test as hand_over
    from retention.delivery.send_test import write_test

    version = find_version(journey)
    wanted = next((it for it in version.journey.steps if it.id == step), None)
    if wanted is None:
        fail(
            f'step "{step}": {journey} has none of this name. Steps: {", ".join(it.id for it in version.journey.steps)}.'
        )
    channel, address = _read_address(to, wanted.send.order)
    with open_store().connect() as conn:
        letter = write_test(
            conn, version, step, channel=channel, address=address, now=read_clock(), locale=locale, customer_id=customer
        )
    account = read_account(channel)
    if account is None or account.provider == "outbox":
        if letter.subject:
            say(f"Subject: {letter.subject}")
        say(letter.text, "", f"Not sent: {channel} is carried by the outbox. A Connection in the environment sends it:")
        say(f"AIRFLOW_CONN_RETENTION_{channel.upper()}; docs/delivery.md says how.")
        return
    with closing(open_provider(channel, account, read_clock)) as provider:
        receipt = hand_over(provider, letter, open_store())
    say(
        f"{account.provider} took it, as {receipt.provider_id}. No coupon was spent; the code {letter.values[1] or '-'} is invented."
    )


def _read_address(to: str, channels: Sequence[str]) -> tuple[str, str]:
    """The channel that an address is for, and the address as it is kept."""
    from retention.delivery.channels import BATCH_SIZES
    from retention.intake.addresses import normalise_email, read_phone

    named, colon, rest = to.partition(":")
    if colon and named in BATCH_SIZES:
        channel, to = named, rest.strip()
    else:
        channel = "email" if "@" in to else "sms"
        if channel == "sms" and "sms" not in channels and "whatsapp" in channels:
            channel = "whatsapp"
    if channel not in channels:
        fail(f"--to: this is an address for {channel}; the step goes out on {', '.join(channels)}.")
    if channel == "webhook":
        address = to or None
    else:
        address = normalise_email(to) if channel == "email" else read_phone(to, None)
    if address is None:
        fail(f'--to: "{to}" is no address for {channel}. Write name@example.com or +8613800000000.')
    return channel, address


@app.command()
def reconcile(
    cohort: Annotated[int | None, typer.Option("--cohort", help="Only this cohort.")] = None,
    close: Annotated[
        bool,
        typer.Option(
            "--close", help="Record what nothing settles as unaccounted, so that books can close. Never sends."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Settle messages whose answer was lost, by the provider's events and by asking it; list what stays in doubt."""
    from retention.delivery.accounts import read_account
    from retention.delivery.choose import choose_provider
    from retention.delivery.reconcile import reconcile as settle

    engine = open_store()
    done = settle(
        engine,
        now=read_clock(),
        cohort_id=cohort,
        provider_of=lambda channel, mode: choose_provider(
            engine, channel, mode=mode, find_account=read_account, clock=read_clock
        ),
        close_by=name_actor() if close else None,
    )
    if as_json:
        dump(done.as_dict())
        return
    say(
        f"settled: {done.by_events} by events, {done.by_asking} by asking"
        + (f", {done.closed} closed" if close else "")
    )
    for trouble in done.troubles:
        say(f"could not ask: {trouble}")
    if done.left:
        columns = ["journey", "cohort", "step", "channel", "mode", "in doubt", "since (UTC)", "message ids"]
        say(
            table(
                columns,
                [
                    (
                        it.journey, it.cohort_id, it.step, it.channel, it.mode, it.count, f"{it.since:%Y-%m-%d %H:%M}",
                        ", ".join(map(str, it.message_ids[:SHOWN])) + (" ..." if it.count > SHOWN else ""),
                    )
                    for it in done.left
                ],
            )
        )  # fmt: skip
        say("They are not sent again. Events of the provider settle them; --close gives them up, on the record.")
