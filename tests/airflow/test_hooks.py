"""The providers' connection types in Airflow: known to it, with a form, and with a Test button that asks the provider."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from retention.bench.stub import start_stub
from retention.delivery.accounts import conn_id_of, make_account
from retention.delivery.channels import PROVIDERS, sendgrid, twilio, webhook
from tests.airflow.front import Front

ROOT = Path(__file__).resolve().parents[2]
TYPES = {"sendgrid": ("email", sendgrid.EXTRA), "twilio": ("sms", twilio.EXTRA), "webhook": ("webhook", webhook.EXTRA)}
EMAIL = {"connection_id": "retention_email", "conn_type": "sendgrid", "password": "SG.right"}
SMS = {"connection_id": "retention_sms", "conn_type": "twilio", "login": "AC" + "a" * 32, "password": "right"}
PUSH = {"connection_id": "retention_webhook", "conn_type": "webhook", "password": "gateway-secret-one"}
EXTRA = {
    "sendgrid": {"from_email": "news@example.com", "from_name": None, "reply_to": "", "per_second": None},
    "twilio": {"senders": {"CN": "MG" + "1" * 32, "*": "+15005550006"}, "per_second": "none", "max_segments": ""},
    "webhook": {"batch_size": "50", "per_second": "", "timeout_s": None, "status_url": ""},
}
"""With what Airflow's form writes for fields that are left empty."""


@pytest.fixture
def front(airflow_settings, monkeypatch):
    for name, value in airflow_settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    monkeypatch.setenv("RETENTION_PUBLIC_URL", "https://hello.example.com")
    monkeypatch.setenv("RETENTION_SIGNING_KEY", "0123456789abcdef0123456789abcdef")
    with start_stub() as stub, closing(Front(stub.port)) as made:
        yield made


def press_test(fields: dict) -> tuple[bool, str]:
    """What the api-server does when somebody presses the button of the form."""
    from airflow.api_fastapi.core_api.datamodels.connections import ConnectionBody
    from airflow.api_fastapi.core_api.routes.public.connections import test_connection

    class Guard:
        def is_authorized_connection(self, **_):
            return False

    extra = json.dumps(fields.get("extra", EXTRA[fields["conn_type"]]))
    said = test_connection(ConnectionBody(**{**fields, "extra": extra}), user=None, auth_manager=Guard())
    return said.status, said.message


def test_airflow_knows_the_types_and_their_forms(airflow_settings):
    from airflow.providers_manager import ProvidersManager
    from airflow.sdk._shared.module_loading import import_string

    manager = ProvidersManager()
    assert "retention" in manager.providers, "run make install: the entry point is part of the installed package"
    shown = {it.connection_type: it for it in manager.iter_connection_type_hook_ui_metadata()}
    fields = list(manager._connection_form_widgets_from_metadata)
    for name, (channel, extra) in TYPES.items():
        hook = import_string(shown[name].hook_class_name)
        assert (hook.conn_type, hook.hook_name, hook.channel) == (name, shown[name].hook_name, channel)
        assert hook.default_conn_name == conn_id_of(channel) and name in PROVIDERS[channel]
        assert {it for it in fields if it.startswith(f"extra__{name}__")} == {f"extra__{name}__{key}" for key in extra}
        assert "schema" in shown[name].field_behaviour["hidden_fields"]
        assert "port" not in shown[name].field_behaviour["hidden_fields"], "without one, 3.3.2's button fails"
    assert shown["sendgrid"].field_behaviour["relabeling"]["password"] == "API key"
    assert shown["twilio"].field_behaviour["relabeling"]["login"] == "Account SID"


def test_the_form_s_page_gets_them(airflow_settings):
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    shown = {it.connection_type: it for it in HookMetaService.hook_meta_data()}
    assert shown["twilio"].standard_fields.login.title == "Account SID"
    assert shown["sendgrid"].standard_fields.login.hidden
    assert shown["twilio"].extra_fields["senders"]["schema"]["type"] == ["string", "null"]


def test_the_example_is_one_that_works(airflow_settings):
    from airflow.providers_manager import ProvidersManager

    from retention.delivery.channels.base import Ours
    from retention.delivery.choose import PROVIDERS as known
    from retention.delivery.tokens import Signer
    from retention.orchestration.cohort import read_clock

    for it in ProvidersManager().iter_connection_type_hook_ui_metadata():
        if it.connection_type in TYPES:
            channel, _ = TYPES[it.connection_type]
            account = make_account(
                conn_id_of(channel), conn_type=it.connection_type, login=SMS["login"], password="x" * 16,
                host="https://gateway.example.com" if channel == "webhook" else None, schema=None, port=None, extra=json.loads(it.field_behaviour["placeholders"]["extra"]),
            )  # fmt: skip
            known[channel][it.connection_type](account, Ours(Signer(("x" * 32,)), "https://x", read_clock)).close()


def test_the_right_key(front):
    assert press_test({**EMAIL, "host": front.url}) == (
        True,
        "SendGrid knows the key; it may send. Sender: news@example.com",
    )
    assert press_test({**SMS, "host": front.url}) == (True, "Twilio knows the account; it is active.")
    assert press_test({**PUSH, "host": f"{front.url}/messages"}) == (
        True,
        "The gateway answers and takes the signature.",
    )
    host, _, port = front.url.rpartition(":")
    assert press_test({**SMS, "host": host, "port": int(port)})[0]
    assert press_test({**PUSH, "host": f"{host}/messages", "port": int(port)})[0]
    assert front.requests["POST"] == 2, "nothing is sent but two empty lists to the gateway"


def test_the_wrong_key(front):
    front.key = "SG.right"
    assert press_test({**EMAIL, "host": front.url})[0]
    assert press_test({**EMAIL, "host": front.url, "password": "SG.wrong"}) == (
        False,
        "SendGrid refuses the key (401).",
    )
    assert press_test({**SMS, "host": front.url}) == (False, "Twilio refuses the account (401).")
    front.says = (503, {})
    assert press_test({**SMS, "host": front.url}) == (False, "Twilio did not answer as expected (503).")


@pytest.mark.parametrize("senders", ["+15005550006", ' {"CN": "MG%s", "*": "+15005550006"}' % ("1" * 32)])
def test_senders_as_the_form_writes_them(front, senders):
    assert press_test({**SMS, "host": front.url, "extra": {"senders": senders}})[0]


@pytest.mark.parametrize("senders", ["", " ", "{", '{"XX": "+15005550006"}'])
def test_senders_that_are_none(front, senders):
    is_fine, said = press_test({**SMS, "host": front.url, "extra": {"senders": senders}})
    assert not is_fine and '"senders"' in said


def test_nobody_there(front):
    front.close()
    is_fine, said = press_test({**EMAIL, "host": front.url})
    assert not is_fine and said == f"SendGrid did not answer as expected (no connection to {front.url.removeprefix('http://')} (libcurl 7))."


@pytest.mark.parametrize("variable", ["RETENTION_PUBLIC_URL", "RETENTION_SIGNING_KEY"])
def test_a_setting_of_ours_that_is_missing(front, monkeypatch, variable):
    monkeypatch.delenv(variable)
    is_fine, said = press_test({**EMAIL, "host": front.url})
    assert not is_fine and said.startswith(f"{variable}: is not set. ") and "\n" not in said
    assert not front.requests


def test_fields_that_are_wrong_are_named_with_the_connection_s_own_name(front):
    is_fine, said = press_test({**EMAIL, "host": front.url, "password": None, "extra": {"from_mail": "x"}})
    assert not is_fine and "\n" not in said
    for what in ("Connection retention_email: has no password.", 'no "from_email".', 'unknown key "from_mail"'):
        assert what in said


def test_it_is_on_where_make_run_starts_airflow(tmp_path):
    from retention.orchestration.local_settings import airflow_environment

    url = "postgresql:///retention"
    told = airflow_environment(tmp_path, url=url, airflow_url=url, port=1, run_id="x", dags=ROOT / "dags")
    assert told["AIRFLOW__CORE__TEST_CONNECTION"] == "Enabled"


def test_airflow_s_start_does_not_pay_for_it():
    code = (
        "import sys; sys.path.insert(0, 'plugins')\n"
        "from retention.orchestration.provider_info import get_provider_info; get_provider_info()\n"
        "assert not {'airflow', 'sqlalchemy', 'retention.delivery'} & set(sys.modules)\n"
        "import retention.orchestration.hooks\n"
        "assert not {'pycurl', 'phonenumbers', 'retention.delivery.channels'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
