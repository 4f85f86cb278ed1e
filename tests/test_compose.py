"""docker-compose.yaml, .env.example and the Dockerfile, as far as they can be tried without a Docker engine.

data/compose_spec.json is the schema of the Compose Specification as the package docker-compose 1.29.2 brought it
(Apache-2.0); newer keys would be unknown to it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest
import yaml

from retention.orchestration import prepare

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docker-compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
PARTS = {"api-server", "scheduler", "dag-processor", "triggerer"}
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?:(:[?-])([^}]*))?\}")


def test_it_holds_to_the_compose_specification():
    schema = json.loads((ROOT / "tests/data/compose_spec.json").read_text())
    validator = jsonschema.Draft201909Validator
    validator.check_schema(schema)
    schema["properties"]["name"] = {"type": "string"}  # came after that package
    assert [error.message for error in validator(schema).iter_errors(COMPOSE)] == []
    broken = yaml.safe_load(TEXT)
    broken["services"]["scheduler"]["comand"] = "x"
    assert not validator(schema).is_valid(broken)


@pytest.mark.skipif(
    not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0,
    reason="docker compose is not installed",
)
def test_docker_itself_reads_it():
    filled = {name: "x" for name, *_ in VARIABLE.findall(TEXT)}
    command = ["docker", "compose", "--file", str(ROOT / "docker-compose.yaml"), "config", "--quiet"]
    done = subprocess.run(
        command, env={**os.environ, **filled, "RETENTION_PORT": "8080"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_all_parts_are_there_and_start_in_order_of_health():
    assert set(SERVICES) == PARTS | {"postgres", "init", "events"}
    for name, service in SERVICES.items():
        for target, rule in service.get("depends_on", {}).items():
            assert target in SERVICES, f"{name} waits for {target}, which is not there"
            if rule["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[target], f"{name} waits for the health of {target}, which tells none"
            else:
                assert rule["condition"] == "service_completed_successfully"
                assert SERVICES[target]["restart"] == "no"
    for part in PARTS | {"events"}:
        assert SERVICES[part]["depends_on"]["init"] == {"condition": "service_completed_successfully"}
        assert SERVICES[part]["depends_on"]["postgres"] == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[part]
    # The scheduler's workers report to the api-server.
    assert SERVICES["scheduler"]["depends_on"]["api-server"] == {"condition": "service_healthy"}


def test_every_secret_comes_from_the_environment_and_has_no_default():
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            is_secret = re.search(r"PASSWORD$|SECRET|FERNET|SQL_ALCHEMY_CONN|DATABASE_URL", key)
            if is_secret:
                found = VARIABLE.findall(value)
                assert found, f"{name}: {key} stands in the file"
                # What may be left out is empty then: not set up.
                is_optional = key == "RETENTION_SHOP_SECRET"
                assert all(
                    (how == ":?" and why) or (is_optional and how == ":-" and not why) for _, how, why in found
                ), f"{name}: {key} has a default"


def test_the_example_names_every_variable_and_fills_in_none():
    example = (ROOT / ".env.example").read_text()
    listed = dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", example, re.MULTILINE))
    used = {name: how for name, how, _ in VARIABLE.findall(TEXT)}
    assert set(listed) == set(used)
    required = {name for name, how in used.items() if how == ":?"}
    assert {name for name in required if listed[name]} == set()
    assert {name for name in required if f"\n{name}=" not in example} == set()
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_only_the_ui_and_the_event_receiver_have_a_port_and_only_on_this_machine():
    open_ = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(open_) == {"api-server", "events"}
    assert {port.split(":")[0] for ports in open_.values() for port in ports} == {"127.0.0.1"}


def test_nothing_of_airflow_is_in_the_event_receiver():
    events = SERVICES["events"]
    assert not {name for name in events["environment"] if name.startswith("AIRFLOW__")} and "volumes" not in events


def test_volumes_are_declared_and_all_in_use():
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert mounted == set(COMPOSE["volumes"])


@pytest.mark.airflow
def test_every_command_is_one():
    from airflow.cli.cli_parser import get_parser

    for service in SERVICES.values():
        for command in (service.get("command"), service.get("healthcheck", {}).get("test", [None])[1:]):
            match command:
                case ["airflow", *words]:
                    get_parser().parse_args(words)
                case ["python", "-m", module]:
                    assert find_spec(module)
                case ["python", "-c", code]:
                    compile(code, "healthcheck", "exec")
                case ["retention", *words]:
                    import typer.main

                    from retention.cli import app as commands

                    typer.main.get_command(commands).commands[words[0]].make_context(words[0], words[1:])
                case None | [] | [str()]:
                    pass
                case _:
                    raise AssertionError(f"an unknown command: {command}")


def test_the_image_runs_as_nobody_special_and_has_what_it_copies():
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["retention"]
    assert dockerfile.index("USER retention") > dockerfile.rindex("RUN ")
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    sources = [source for line in re.findall(r"^COPY (.*) \S+$", dockerfile, re.MULTILINE) for source in line.split()]
    assert {".ci/uv.lock", "requirements.lock", "plugins", "dags", "include"} <= set(sources)
    for source in sources:
        assert f"!{source}" in ignored, f"{source} does not go to the build"
        assert (ROOT / source).exists()


def test_the_python_of_the_image_is_one_we_support():
    image = re.search(r"^FROM python:(3\.\d+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1]
    assert image in ("3.11", "3.12", "3.13")


def test_prepare_writes_the_login_once_both_databases_are_ready(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(prepare, "migrate", lambda url: done.append(url))
    monkeypatch.setattr(prepare.airflow_database, "main", lambda: done.append("airflow"))
    monkeypatch.setenv("RETENTION_DATABASE_URL", "postgresql://x@y/z")
    monkeypatch.setenv("AIRFLOW_ADMIN_PASSWORD", 'quo"te')
    path = tmp_path / "airflow/passwords.json"
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(path))
    prepare.main()
    assert done == ["postgresql+psycopg://x@y/z", "airflow"]
    assert json.loads(path.read_text()) == {"admin": 'quo"te'}
    assert path.stat().st_mode & 0o777 == 0o600
