"""The walls of the house (DESIGN.md): imports point one way, words and documents keep up with the code."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "plugins" / "retention"

MAY_IMPORT = {
    "errors": set(),
    "journey": {"errors"},
    "store": {"errors"},
    "intake": {"errors", "journey", "store"},
    "audience": {"errors", "journey", "store"},
    "delivery": {"errors", "journey", "store"},
    "insight": {"errors", "journey", "store"},
    "orchestration": {"errors", "journey", "store", "intake", "audience", "delivery", "insight"},
    "web": {"errors", "journey", "store", "intake", "audience", "delivery", "insight", "orchestration"},
    "console": set(),
    "bench": {"errors", "console", "journey", "store", "intake", "audience", "delivery", "insight", "orchestration"},
    "cli": {
        "bench",
        "console",
        "errors",
        "journey",
        "store",
        "intake",
        "audience",
        "delivery",
        "insight",
        "orchestration",
        "web",
    },
    "plugin": {"errors", "journey", "store", "audience", "delivery", "insight", "orchestration", "web"},
}
MAY_USE_AIRFLOW = re.compile(r"plugins/retention/(orchestration/|plugin\.py|web/auth\.py)|dags/")
MAY_USE_DRIVER = re.compile(r"plugins/retention/store/")
MODULES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "dags").glob("*.py")])


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0] if path.is_relative_to(PACKAGE) else "dags"
    return first.removesuffix(".py")


def imports_of(path: Path) -> list[str]:
    """Every module that is imported anywhere in the file, inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    room, place = room_of(path), path.relative_to(ROOT).as_posix()
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "retention" and room not in ("dags", "__init__") and len(parts) > 1:
            assert parts[1] == room or parts[1] in MAY_IMPORT[room], f"{place} imports {name}"
        if parts[0] == "airflow":
            assert MAY_USE_AIRFLOW.match(place), f"{place} imports airflow"
        if parts[0] in ("psycopg", "psycopg2", "asyncpg"):
            assert MAY_USE_DRIVER.match(place), f"{place} imports the database driver"
        if parts[0] in ("yaml", "ruamel"):
            assert room == "journey", f"{place} reads YAML"


def test_rooms_are_the_designs():
    rooms = {p.name for p in PACKAGE.iterdir() if p.name != "__pycache__" and p.name != "__init__.py"}
    assert {name.removesuffix(".py") for name in rooms} == set(MAY_IMPORT)


def test_the_engine_does_not_load_airflow():
    import subprocess

    modules = "retention.orchestration.cohort, retention.orchestration.dryrun, retention.cli"
    code = f"import sys; sys.path.insert(0, 'plugins'); import {modules}; assert 'airflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_public_pages_run_alone():
    """They face the internet: no Airflow near them, nor what starts it."""
    import subprocess

    for path in (PACKAGE / "web" / "public").rglob("*.py"):
        for name in imports_of(path):
            assert not name.startswith(("airflow", "retention.orchestration", "retention.cli")), (
                f"{path} imports {name}"
            )
            assert not name.startswith(("retention.web.app", "retention.web.auth", "retention.web.views")), path
    modules = "retention.web.public.app, retention.web.public.pages, retention.cli.serve"
    code = f"import sys; sys.path.insert(0, 'plugins'); import {modules}; assert 'airflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_no_room_has_a_junk_drawer():
    for path in MODULES:
        assert not re.search(r"(util|helper|common|manager)s?\b", path.stem), path


def test_dags_hold_no_sql_and_no_http():
    for path in (ROOT / "dags").glob("*.py"):
        assert not re.search(r"\b(select|insert|update)\b.+\b(from|into|set)\b", path.read_text(), re.I | re.S), path
        assert not {"requests", "httpx", "sqlalchemy"} & {name.split(".")[0] for name in imports_of(path)}


def test_every_sql_file_says_what_it_is_for_and_is_used():
    names = {
        p.relative_to(ROOT / "include" / "sql").with_suffix("").as_posix()
        for p in (ROOT / "include" / "sql").rglob("*.sql")
    }
    source = "\n".join(p.read_text(encoding="utf-8") for p in MODULES)
    for name in names:
        text = (ROOT / "include" / "sql" / f"{name}.sql").read_text(encoding="utf-8")
        assert text.startswith("-- "), f"{name}.sql: begin with a sentence that says what it is for"
        code = re.sub(r"--.*", "", text)
        assert ";" not in code, f"{name}.sql: one statement a file"
        # Pacing is about the wire, not about a rule: its clock is the one that all workers share, the database's.
        if not name.startswith("pacing/"):
            assert not re.search(r"\b(now\(\)|current_date|current_timestamp|clock_timestamp)", code, re.I), name
        if not name.startswith("audiences/"):
            assert f'"{name}"' in source, f"{name}.sql: nobody runs it"


def test_rules_read_no_clock():
    allowed = {"plugins/retention/cli/shared.py", "plugins/retention/orchestration/cohort.py"}
    for path in MODULES:
        place = path.relative_to(ROOT).as_posix()
        if place in allowed or place.startswith(("plugins/retention/orchestration/local", "plugins/retention/bench/")):
            continue
        assert not re.search(r"datetime\.(now|utcnow)\(|date\.today\(|time\.time\(", path.read_text()), place


def test_the_tree_of_errors_is_drawn():
    from retention import errors

    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__)) | {"RetentionError"}
    defined = {name for name, it in vars(errors).items() if isinstance(it, type) and issubclass(it, Exception)}
    assert drawn == defined
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(
                isinstance(b, ast.Name) and b.id != "BaseException" and b.id.endswith(("Error", "Exception"))
                for b in node.bases
            ):
                assert path.name == "errors.py", f"{path}: exceptions live in errors.py"


README = ROOT / "README.md"


def docs() -> str:
    return "\n".join(p.read_text(encoding="utf-8") for p in [README, *(ROOT / "docs").rglob("*.md")])


def test_the_glossary_has_every_word():
    words = (
        "Journey Audience Occurrence Cohort Mode Enrollment Arm Step Message Batch Outcome Channel Purpose "
        "Suppression Consent"
    ).split()
    rows = re.findall(r"^\| (\w[\w /]*?) \|", README.read_text(encoding="utf-8"), re.M)
    listed = {word.strip() for row in rows for word in re.split(r"[/,]", row)}
    assert set(words) <= listed


def test_every_command_is_documented():
    import typer.main

    from retention.cli import app

    text = docs()
    commands = dict(typer.main.get_command(app).commands)
    for name, group in list(commands.items()):
        commands |= {f"{name} {inner}": it for inner, it in getattr(group, "commands", {}).items()}
    for name, command in commands.items():
        assert f"retention {name}" in text, f"retention {name} is not in the docs"
        assert command.help, f"retention {name} has no help"
        for option in command.params:
            for spelling in option.opts:
                if spelling.startswith("--") and spelling not in ("--help",):
                    assert spelling in text, f"retention {name} {spelling} is not in the docs"


def test_every_journey_key_is_documented():
    from retention.journey import models

    text = docs()
    for block in (models.Journey, models.Entry, models.Goal, models.Coupon, models.Send, models.Step):
        for key in block.model_fields:
            assert re.search(rf"`{key}`|(^|[{{,])\s*(- )?{key}:", text, re.M), (
                f"{block.__name__}.{key} is not in the docs"
            )


def test_every_channel_reason_and_variable_is_documented():
    from retention.delivery.channels import BATCH_SIZES, PROVIDERS
    from retention.journey.variables import VARIABLES
    from retention.store.tables import SKIP_REASONS

    text = docs()
    for word in (*BATCH_SIZES, *PROVIDERS, *SKIP_REASONS, *VARIABLES):
        assert f"`{word}`" in text, f"{word} is not in the docs"


def test_every_environment_variable_is_documented():
    text = docs()
    used = {
        name
        for path in [*MODULES, ROOT / "Makefile", ROOT / "docker-compose.yaml"]
        for name in re.findall(r"\bRETENTION_[A-Z][A-Z_]*", path.read_text(encoding="utf-8"))
    }
    internal = {"RETENTION_RUN_ID"}
    for name in used - internal:
        assert f"`{name}`" in text, f"{name} is not in the docs"


def test_every_decision_has_its_page():
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [p.name[:4] for p in pages] == [f"{n:04}" for n in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for heading in ("## Context", "## Decision", "## Consequences"):
            assert heading in text, f"{page.name} lacks {heading}"


def test_goals_may_be_any_kind_of_event():
    from retention.journey.fields import EVENT_KINDS as GOAL_EVENTS
    from retention.store.event_kinds import EVENT_KINDS

    assert set(GOAL_EVENTS) == set(EVENT_KINDS)


def test_the_lock_file_names_no_host():
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?://|file:|index-url|find-links \S*/", re.sub(r"#.*", "", lock))
    pinned = {m.lower().replace("_", "-") for m in re.findall(r"^([\w.\-]+)==", lock, re.M)}
    import tomllib

    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for requirement in wanted:
        name = re.match(r"[\w.\-]+", requirement)[0].lower()
        assert name in pinned, f"{name} is not in requirements.lock: run make lock"


def test_every_key_of_a_mapping_a_sync_and_the_quality_policy_is_documented():
    from retention.intake import mapping_file, sync_plan
    from retention.intake.quality import KINDS
    from retention.intake.targets import TARGETS

    facts = (ROOT / "docs" / "facts.md").read_text(encoding="utf-8")
    for key in (*mapping_file._TOP, *mapping_file._CELL, *mapping_file._FILE, *mapping_file._BLOCK):
        assert re.search(rf"`{key}[`: ]", facts), f"the key {key} of a mapping is not in docs/facts.md"
    for name, target in TARGETS.items():
        [row] = [line for line in facts.splitlines() if line.startswith(f"| `{name}` |")]
        for key in (*target.fields, *([target.free] if target.free else [])):
            assert f"`{key}`" in row, f"{name}.{key} is not in docs/facts.md"
    for key in (*sync_plan.SyncFile.model_fields, *sync_plan.SourceEntry.model_fields):
        assert re.search(rf"`{key}`|^{key}:", facts, re.M), (
            f"the key {key} of include/sync.yaml is not in docs/facts.md"
        )
    policy = (ROOT / "include" / "quality.yaml").read_text(encoding="utf-8")
    for check in KINDS:
        assert f"  {check}:" in policy, f"{check} is not in include/quality.yaml"
