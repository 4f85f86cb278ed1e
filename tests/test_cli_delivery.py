"""The commands about providers, against the stand-in."""

import json
from contextlib import closing

import pytest

from retention.bench.run import Wanted, run_bench
from retention.bench.stub import start_stub
from retention.delivery.accounts import read_account
from retention.delivery.choose import open_provider
from retention.delivery.send_test import send_test, write_test
from tests.delivery.tea import make_version, set_accounts
from tests.delivery.test_deliver import deliver, planned  # noqa: F401 - planned is a fixture
from tests.delivery.test_reconcile import Knowing
from tests.world import LONG_AGO

EXTRA = {"email": {"from_email": "news@example.com"}, "sms": {"senders": {"*": "+15005550006"}}}


@pytest.fixture
def stub(tmp_path):
    with start_stub(tmp_path / "record") as stub:
        yield stub


@pytest.fixture
def accounts(stub):
    email = {"conn_type": "sendgrid", "password": "SG.hidden", "host": stub.url, "extra": EXTRA["email"]}
    sms = {
        "conn_type": "twilio",
        "login": "AC" + "a" * 32,
        "password": "hidden",
        "host": stub.url,
        "extra": EXTRA["sms"],
    }
    return {
        "AIRFLOW_CONN_RETENTION_EMAIL": json.dumps(email),
        "AIRFLOW_CONN_RETENTION_SMS": json.dumps(sms),
        "RETENTION_PUBLIC_URL": "https://hello.example.com",
        "RETENTION_SIGNING_KEY": "0123456789abcdef0123456789abcdef",
    }


def test_without_a_connection_nobody_is_reached(retention):
    done = retention("providers")
    assert done.returncode == 0 and done.stdout.count("nobody is reached") == 4


def test_the_accounts_are_known(retention, accounts):
    done = retention("providers", **accounts)
    assert done.returncode == 0
    assert "SendGrid knows the key; it may send. Sender: news@example.com" in done.stdout
    assert "Twilio knows the account" in done.stdout and "hidden" not in done.stdout


def test_an_unknown_account_is_said_and_fails(retention, accounts):
    wrong = json.loads(accounts["AIRFLOW_CONN_RETENTION_SMS"]) | {"login": "AC-no-such"}
    done = retention("providers", "--json", **accounts | {"AIRFLOW_CONN_RETENTION_SMS": json.dumps(wrong)})
    assert done.returncode == 1
    said = {row["channel"]: (row["state"], row["says"]) for row in json.loads(done.stdout)}
    assert said["email"][0] == "ok" and said["sms"] == ("trouble", "Twilio refuses the account (404).")


@pytest.mark.parametrize(("to", "words"), [("ann@Example.com", "Alex"), ("+12025550123", "Alex")])
def test_send_test(retention, accounts, stub, world, tmp_path, to, words):
    done = retention("send-test", "birthday_care", "greeting", "--to", to, "--locale", "en", **accounts)
    assert done.returncode == 0, done.stderr
    assert "took it" in done.stdout and "No coupon was spent" in done.stdout
    [line] = [json.loads(line) for line in (tmp_path / "record").read_text().splitlines()]
    assert line["to"] == to.lower()
    if line["kind"] == "sms":
        assert words in line["body"] and "TESTCODE22" in line["body"]
    for table in ("coupons", "messages", "outcomes", "enrollments", "outbox"):
        assert world.count(table) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("birthday_care", "greting", "--to", "a@example.com"), "Steps: greeting, last_day, thanks."),
        (("birthday_care", "greeting", "--to", "12345"), "is no address for sms. Write name@example.com or +86"),
        (("birthday_care", "greeting", "--to", "a@b"), "is no address for email"),
        (("birthday_care", "greeting", "--to", "a@example.com", "--customer", "nobody"), "nobody has this id"),
        (("no_such", "greeting", "--to", "a@example.com"), 'no journey "no_such"'),
    ],
)
def test_send_test_says_what_is_wrong(retention, arguments, said):
    done = retention("send-test", *arguments)
    assert done.returncode == 1 and said in done.stderr


def test_send_test_shows_the_words_where_no_provider_is(retention):
    done = retention("send-test", "birthday_care", "greeting", "--to", "a@example.com")
    assert done.returncode == 0 and "Subject: （广告）王小明，提前祝您生日快乐" in done.stdout and "Not sent" in done.stdout


def test_send_test_spares_who_left(retention, world):
    world.suppress("email", "a@example.com", LONG_AGO)
    done = retention("send-test", "birthday_care", "greeting", "--to", "a@example.com")
    assert done.returncode == 1 and "suppressed" in done.stderr


def test_reconcile(retention, world, planned):  # noqa: F811
    cohort_id = planned(10)
    deliver(world, cohort_id, Knowing())
    done = retention("reconcile")
    assert done.returncode == 0 and "settled: 0 by events, 0 by asking" in done.stdout
    assert "birthday_care" in done.stdout and "not sent again" in done.stdout
    assert json.loads(retention("reconcile", "--json").stdout)["left"][0]["count"] == 10
    done = retention("reconcile", "--cohort", str(cohort_id), "--close", USER="ada")
    assert "10 closed" in done.stdout and world.count("audit_log", actor="ada") == 1


def test_a_small_benchmark_adds_up():
    found = run_bench(Wanted(customers=1000, sms=200, workers=2, naive=20, has_limit=False), lambda line: None)
    for name in ("email", "email_rendered", "sms"):
        it = found[name]
        assert it["messages"] == (200 if name == "sms" else 1000)
        assert set(it["limits"]) == {"insert_select", "render", "body", "http", "copy"}
        assert it["ratio_naive"] == pytest.approx(it["messages_per_s"] / it["naive_per_s"])
        assert it["ratio_limit"] == pytest.approx(it["messages_per_s"] / min(it["limits"].values()))
        assert it["peak_rss_mb"] > 10


@pytest.mark.parametrize(
    ("to", "channels", "expected"),
    [
        ("whatsapp:+8613800138000", ["sms", "whatsapp"], ("whatsapp", "+8613800138000")),
        ("+8613800138000", ["whatsapp", "email"], ("whatsapp", "+8613800138000")),
        ("+8613800138000", ["whatsapp", "sms"], ("sms", "+8613800138000")),
        ("webhook: c-1 ", ["webhook"], ("webhook", "c-1")),
        ("email:Ann@Example.com", ["email"], ("email", "Ann@example.com")),
        ("whatsapp:12345", ["whatsapp"], "is no address for whatsapp"),
        ("webhook:", ["webhook"], "is no address for webhook"),
        ("webhook:c-1", ["sms"], "an address for webhook; the step goes out on sms."),
    ],
)
def test_an_address_may_name_its_channel(to, channels, expected):
    from retention.cli.delivery import _read_address
    from retention.errors import RetentionError

    if isinstance(expected, tuple):
        assert _read_address(to, channels) == expected
    else:
        with pytest.raises(RetentionError, match=expected):
            _read_address(to, channels)


@pytest.mark.parametrize(("channel", "address"), [("whatsapp", "+8613800138000"), ("webhook", "c-1")])
def test_a_test_message_on_the_new_channels_is_never_a_repeat(engine, stub, monkeypatch, tmp_path, channel, address):
    set_accounts(monkeypatch, stub.url)
    with engine.connect() as conn:
        letter = write_test(conn, make_version(), "greeting", channel=channel, address=address, now=LONG_AGO)
    with closing(open_provider(channel, read_account(channel), lambda: LONG_AGO)) as provider:
        one, two = (send_test(provider, letter).provider_id for _ in range(2))
    assert one != two
    lines = [json.loads(line) for line in (tmp_path / "record").read_text().splitlines()]
    assert [line["kind"] for line in lines] == [channel] * 2 and "TESTCODE22" in json.dumps(lines[0])
