"""The rules of contact: what each mistake is told as, what plans are answered, and that the shipped file is good."""

from __future__ import annotations

import json
import re
from datetime import time, timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retention.errors import ConfigError
from retention.journey.document import read_document
from retention.journey.files import Files
from retention.journey.load import load, load_version
from retention.journey.policy import Cap, Policy, examine_rules, read_policy
from retention.journey.policy_fields import DAY, Hours
from retention.journey.policy_file import PolicyFile
from retention.journey.schema import POLICY_FILE_NAME, policy_schema, write_policy_schema
from retention.orchestration.desk import lay_out
from tests.journey.test_robustness import EXAMPLES, SNIPPETS, edits, mutate, trees
from tests.world import example_files

INCLUDE = Path(__file__).resolve().parents[2] / "include"
SHIPPED = Files(
    {
        path: text
        for path, text in example_files().items()
        if not path.startswith("journeys/") or path == "journeys/birthday_care.yaml"  # a new journey changes no text
    }
)


def with_policy(text: str, **more: str) -> Files:
    return Files({**SHIPPED, "policy.yaml": text, **more})


def policy(text: str) -> Policy:
    return read_policy(with_policy(text))


def told(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        policy(text)
    return str(caught.value)


MISTAKES = {
    # values
    "quiet_hours: {sms: 9-8}": 'quiet_hours.sms: "9-8" is not how hours are written. Did you mean "09:00-08:00"? '
    "Write two times of day: 21:00-08:00; no quiet hours at all is spelt none.",
    "quiet_hours: {sms: 21：00-08：00}": 'quiet_hours.sms: "21：00-08：00" is not how hours are written. '
    'Did you mean "21:00-08:00"? Write two times of day: 21:00-08:00; no quiet hours at all is spelt none.',
    "quiet_hours: {sms: 25:00-08:00}": 'quiet_hours.sms: "25:00-08:00" is no time of day. Times run from 00:00 to 23:59.',
    "quiet_hours: {sms: 21:00-21:00}": 'quiet_hours.sms: "21:00-21:00" begins when it ends. '
    "Write two times of day: 21:00-08:00; no quiet hours at all is spelt none.",
    "quiet_hours: {sms: 0}": "quiet_hours.sms: 0 is not how hours are written. No quiet hours at all is spelt none.",
    "quiet_hours: {sms: 21:00}": 'quiet_hours.sms: "21:00" is not how hours are written. '
    "Write two times of day: 21:00-08:00; no quiet hours at all is spelt none.",
    "quiet_hours: {sms: 08:30-08:00}": "quiet_hours.sms: only 30 minutes of the day are left, from 08:00. "
    "Leave at least an hour.",
    "quiet_hours: {sms: 06:00-22:00}": "quiet_hours.sms: what they leave open, 22:00-06:00, is outside 08:00-21:00, which "
    "the law asks for (law.yaml: us_sms_hours). Leave at least an hour of 08:00-21:00 open.",
    "quiet_hours: {smss: none}": 'quiet_hours: unknown key "smss". Did you mean "sms"?',
    "quiet_hours: 21:00-08:00": 'quiet_hours: "21:00-08:00" is not a group of keys. '
    "Write keys under it: email, sms, webhook, whatsapp.",
    "caps: {all: {day: 0}}": "caps.all.day: 0 would let nothing through. Unlimited is spelt none; to send nothing of a journey, "
    "write status: stopped in it.",
    "caps: {all: {day: -1}}": "caps.all.day: -1 is out of range. Write a number from 1 to 1000, or none.",
    "caps: {all: {day: 1.5}}": "caps.all.day: 1.5 is not a number of contacts. Write a number from 1 to 1000, or none.",
    "caps: {all: {day: unlimitd}}": 'caps.all.day: "unlimitd" is not a number of contacts. Did you mean "none"? '
    "Write a number from 1 to 1000, or none.",
    "caps: {all: {day: true}}": "caps.all.day: true is not a number of contacts. Write a number from 1 to 1000, or none.",
    "caps: {all: {hour: 1}}": 'caps.all: unknown key "hour". Keys here: day, month, week.',
    "caps: {journeys: {birthday_care: {dya: 1}}}": 'caps.journeys.birthday_care: unknown key "dya". Did you mean "day"?',
    "caps: {journeys: {birthday_care: 1}}": "caps.journeys.birthday_care: 1 is not a group of keys. "
    "Write keys under it: day, month, week.",
    "choice: [response, taste]": 'choice: "taste" is not known here. Write preference or response.',
    "choice: response": 'choice: "response" is not a list. Write it in brackets: [preference, response].',
    "choice: [response, response]": 'choice: "response" is listed twice. Name each once.',
    "priority: birthday_care": 'priority: "birthday_care" is not a list. Write it in brackets: [birthday_care].',
    "markets: [CN, UK]": 'markets[1]: "UK" is not a country. Did you mean "GB"?',
    "markets: [cn]": 'markets[0]: "cn" is not a country. Did you mean "CN"?',
    "markets: [Germany]": 'markets[0]: "Germany" is not a country. Did you mean "DE"?',
    "markets: [EU]": 'markets[0]: "EU" is not a country. Name each country that you sell to: DE, FR, NL.',
    "markets: [86]": "markets[0]: 86 is not a country. Write the country's two letters: CN, US, GB, DE.",
    "markets: [NO]": 'markets[0]: an unquoted NO reads as a boolean elsewhere. Write false, or "NO" in quotes.',
    "markets: [CN, CN]": 'markets: "CN" is listed twice. Name each once.',
    "markets: CN": 'markets: "CN" is not a list. Write it in brackets: [...].',
    "processed_in: {sms: EU}": 'processed_in.sms: "EU" is not a country. Name each country that you sell to: DE, FR, NL.',
    "adult_age: 9": "adult_age: 9 is not an age for this. Write a number of years from 10 to 21.",
    "keep: {outbox: none}": 'keep.outbox: "none" could mean two things here. Kept without an end is spelt forever.',
    "keep: {messages: 13 months}": 'keep.messages: "13 months" is not a duration. Did you mean "403d"? Write days or weeks.',
    "keep: {outbox: 90}": 'keep.outbox: 90 is not a duration. Did you mean "90d"? Write a number and a unit: 90m, 24h, 3d or 2w.',
    "keep: {outbox: 2h}": 'keep.outbox: "2h" is less than a day. Write at least 1d, or forever.',
    "keep: {outbx: 1d}": 'keep: unknown key "outbx". Did you mean "outbox"?',
    "topics: {Offers: {en: Offers}}": 'topics.Offers: "Offers" can\'t be an id. '
    "An id is made of small letters, digits and _, and begins with a letter.",
    "topics: {offers: Offers}": 'topics.offers: "Offers" is not a name for each language. Write {zh-CN: ..., en: ...}.',
    "topics: {offers: {zh_cn: 优惠}}": 'topics.offers: "zh_cn" is not a locale. Did you mean "zh-CN"?',
    'topics: {offers: {en: "\\ud83c"}}': "topics.offers.en: there is half a character in this text. "
    "Write the character itself, or all of it: \\U0001F381.",
    "consent_words: {sms: yes please}": 'consent_words.sms: "yes please" is not a text for each language. '
    "Write {zh-CN: ..., en: ...}.",
    "quiet_hour: {}": 'unknown key "quiet_hour". Did you mean "quiet_hours"?',
    "keep:": "keep: nothing is written here. Write a value, or delete the line.",
    "caps: {all: {day: }}": "caps.all.day: nothing is written here. Write a value, or delete the line.",
    # more than one key
    "priority: [birthday_car]": 'priority[0]: unknown journey "birthday_car". Did you mean "birthday_care"? '
    "Journeys: birthday_care.",
    "caps: {journeys: {winback: {day: 1}}}": 'caps.journeys.winback: unknown journey "winback". Journeys: birthday_care.',
    "caps: {all: {day: 3, week: 2}}": "caps.all.day: 3 a day is more than 2 a week: it is never reached. "
    "Write at most 2, or none.",
    "caps: {all: {day: 2}, channels: {sms: {day: 3}}}": "caps.channels.sms.day: 3 a day is above caps.all.day, 2: it is "
    "never reached. Write at most 2, or none.",
    "caps: {all: {week: 2}, journeys: {birthday_care: {week: 3}}}": "caps.journeys.birthday_care.week: 3 a week is above "
    "caps.all.week, 2: it is never reached. Write at most 2, or none.",
}


@pytest.mark.parametrize("text", MISTAKES, ids=lambda text: text[:40])
def test_a_mistake_is_told(text: str) -> None:
    assert told(text + "\n") == f"include/policy.yaml:1: {MISTAKES[text]}"


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    text = "quiet_hours:\n  sms: none\n  email: never\ncaps:\n  all: {day: 0}\npriority: [winback]\n"
    lines = [line.split(": ")[0] for line in told(text).splitlines()]
    assert lines == ["include/policy.yaml:3", "include/policy.yaml:5"]
    assert [p.line for p in examine_rules(with_policy("priority:\n- birthday_care\n- winback\n")).problems] == [3]


def test_a_missing_table_of_law_is_a_mistake_and_a_missing_policy_is_not() -> None:
    without = Files({path: text for path, text in SHIPPED.items() if path not in ("policy.yaml", "law.yaml")})
    with pytest.raises(ConfigError) as caught:
        read_policy(without)
    assert str(caught.value) == (
        "include/law.yaml:1: the table of law is missing. Put the file back as it was delivered; without it nothing may be sent."
    )
    assert read_policy(Files({**without, "law.yaml": SHIPPED["law.yaml"]})).said == PolicyFile()


def test_what_is_wrong_is_a_problem_of_the_workspace_and_leaves_journeys_that_are_not_live_alone() -> None:
    workspace = load(with_policy("caps: {all: {day: 0}}\n"))
    assert [p.path for p in workspace.problems] == ["include/policy.yaml"]
    assert "birthday_care" in workspace.versions


def test_airflows_banner_shows_it(tmp_path: Path) -> None:
    for name, text in with_policy("caps: {all: {day: 0}}\n").items():
        place = tmp_path / "include" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    sheets, problems = lay_out(tmp_path / "include")
    assert [problem.path for problem in problems] == ["include/policy.yaml"] and set(sheets) == {"birthday_care"}


# What plans are answered


def test_caps_of_a_message_are_those_of_all_of_its_channel_and_of_its_journey() -> None:
    said = policy(
        "caps:\n"
        "  all: {day: 2, week: none}\n"
        "  channels: {sms: {week: 3}}\n"
        "  journey: {day: 1, month: 9}\n"
        "  journeys: {birthday_care: {day: none, week: 2}}\n"
    )
    assert said.caps("birthday_care", "sms") == (
        Cap("all/day", "day", 2),
        Cap("sms/week", "week", 3),
        Cap("journey:birthday_care/month", "month", 9),
        Cap("journey:birthday_care/week", "week", 2),
    )
    assert said.caps("winback", "email") == (
        Cap("all/day", "day", 2),
        Cap("journey:winback/day", "day", 1),
        Cap("journey:winback/month", "month", 9),
    )
    assert policy("caps: {}\n").caps("birthday_care", "sms") == ()


def test_what_is_left_out_is_as_shipped() -> None:
    said = policy("markets: [CN]\n")
    assert said.caps("x", "sms")[0] == Cap("all/day", "day", 2)
    assert said.hours("sms", "transactional", "CN") == Hours(time(8), time(21))
    assert said.retention == {
        "messages": timedelta(days=400), "raw_events": timedelta(days=90), "outbox": timedelta(days=90),
        "rejected_rows": timedelta(days=30),
    }  # fmt: skip


def test_quiet_hours_may_go_over_midnight_or_not() -> None:
    said = policy("quiet_hours: {sms: 21:30-07:15, email: 12:00-13:00, whatsapp: none}\n")
    assert said.hours("sms", "transactional", "US") == Hours(time(7, 15), time(21, 30))
    assert said.hours("email", "marketing", "CN") == Hours(time(13), time(12))
    assert said.hours("whatsapp", "marketing", "CN") is None


def test_the_law_narrows_hours_of_marketing_and_an_unknown_country_gets_the_strictest() -> None:
    said = policy("quiet_hours: {sms: none, email: none}\n")
    legal = Hours(time(8), time(21))
    assert said.hours("sms", "marketing", "US") == said.hours("sms", "marketing", "BR") == legal
    assert said.hours("sms", "marketing", None) == legal
    assert said.hours("sms", "marketing", "CN") is None and said.hours("sms", "transactional", "US") is None
    assert said.hours("email", "marketing", "US") is None
    early = policy("quiet_hours: {sms: 20:00-06:00}\n")
    assert early.hours("sms", "marketing", "US") == Hours(time(8), time(20))
    assert early.hours("sms", "marketing", "CN") == Hours(time(6), time(20))


def test_priority_ranks_what_is_listed_before_the_rest() -> None:
    said = read_policy(with_policy("priority: [b, birthday_care]\n", **{"journeys/b.yaml": ""}))
    assert [said.rank(name) for name in ("b", "birthday_care", "c", "d")] == [0, 1, 2, 2]
    assert policy("choice: []\n").choice == ()


def test_consents_by_country_and_channel() -> None:
    said = policy("processed_in: {email: US, sms: CN}\n")
    needed = {
        (country, channel): said.consents_needed("marketing", channel, country)
        for country in ("CN", "US", "DE", "GB", "BR", None)
        for channel in ("email", "sms")
    }
    assert needed == {
        ("CN", "email"): ("abroad", "profiling", "adult"),
        ("CN", "sms"): ("profiling", "adult", "wording"),
        ("US", "email"): ("adult",),
        ("US", "sms"): ("wording", "adult"),
        ("DE", "email"): ("wording", "profiling", "adult"),
        ("DE", "sms"): ("wording", "profiling", "adult"),
        ("GB", "email"): ("wording", "profiling", "adult"),
        ("GB", "sms"): ("wording", "profiling", "adult"),
        ("BR", "email"): ("abroad", "profiling", "adult", "wording"),
        ("BR", "sms"): ("profiling", "adult", "wording"),
        (None, "email"): ("abroad", "profiling", "adult", "wording"),
        (None, "sms"): ("profiling", "adult", "wording"),
    }
    assert said.consents_needed("transactional", "sms", "CN") == ()
    # As long as nobody says where a provider is, nothing leaves the outbox: live: true is refused until then.
    for country in ("CN", None):
        assert "abroad" not in policy("markets: [CN]\n").consents_needed("marketing", "email", country)


clocks = st.integers(0, DAY - 1).map(lambda minute: time(minute // 60, minute % 60))
windows = st.builds(Hours, clocks, clocks).filter(lambda hours: hours.minutes)


def minutes_of(hours: Hours) -> set[int]:
    start = hours.opens.hour * 60 + hours.opens.minute
    return {(start + n) % DAY for n in range(hours.minutes)}


@settings(max_examples=EXAMPLES, deadline=None)
@given(windows, windows)
def test_hours_narrowed_are_open_only_where_both_are(one: Hours, other: Hours) -> None:
    both, found = minutes_of(one) & minutes_of(other), one.narrow(other)
    assert (found is None) == (not both)
    if found:
        inside = minutes_of(found)
        assert inside <= both
        assert 2 * len(inside) >= len(both)  # of two pieces the longer one


# The shipped file, and any other


def test_the_shipped_file_says_the_defaults() -> None:
    said, default = read_policy(SHIPPED).said, PolicyFile()
    for key in ("quiet_hours", "caps", "priority", "choice", "processed_in", "adult_age", "keep"):
        assert getattr(said, key) == getattr(default, key), key
    assert default.markets == ()  # not said: the strictest
    assert load(SHIPPED).problems == []


def test_the_schema_is_current_and_fits_the_shipped_file() -> None:
    """Write it anew with `python -m retention.journey.schema`."""
    assert (INCLUDE / POLICY_FILE_NAME).read_text(encoding="utf-8") == write_policy_schema()
    jsonschema.Draft202012Validator.check_schema(policy_schema())
    validator = jsonschema.Draft202012Validator(policy_schema())
    assert list(validator.iter_errors(read_document("x", SHIPPED["policy.yaml"]).data)) == []
    assert SHIPPED["policy.yaml"].startswith(f"# yaml-language-server: $schema=./{POLICY_FILE_NAME}\n")


@pytest.mark.parametrize(
    "text",
    ["quiet_hours: {sms: 9-8}", "caps: {all: {day: 0}}", "caps: {all: {hour: 1}}", "choice: [taste]", "markets: [CHN]",
     "keep: {outbox: none}", "adult_age: 9", "topics: {Offers: {en: x}}", "quiet_hour: {}"],
)  # fmt: skip
def test_the_editor_sees_simple_mistakes_too(text: str) -> None:
    validator = jsonschema.Draft202012Validator(policy_schema())
    assert list(validator.iter_errors(read_document("x", text).data))


def test_other_readers_of_yaml_find_the_same_in_the_shipped_file() -> None:
    """21:00-08:00 is text for all of them, and nothing is a number to base 60."""
    plain = yaml.safe_load(SHIPPED["policy.yaml"])
    assert plain == read_document("x", SHIPPED["policy.yaml"]).data


def test_every_key_is_in_the_docs() -> None:
    text = (INCLUDE.parent / "docs" / "contact.md").read_text(encoding="utf-8")
    schema = policy_schema()
    for block in (schema, *schema["$defs"].values()):
        for key, prop in block["properties"].items():
            assert re.search(rf"`{key}[`:]|(^|[{{,])\s*{key}:", text, re.MULTILINE), f"{key} is not in docs/contact.md"
            target = schema["$defs"][prop["$ref"].rpartition("/")[2]] if "$ref" in prop else prop
            assert len(prop.get("description") or target["description"]) > 15, key


def assert_told(text: str) -> None:
    try:
        read_policy(with_policy(text))
    except ConfigError as error:
        assert error.problems and all(p.what and p.line >= 1 for p in error.problems)
        assert "pydantic" not in str(error)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["policy.yaml", "law.yaml"]), st.lists(edits, min_size=1, max_size=4))
def test_a_changed_file_raises_nothing_else(path: str, changes: list) -> None:
    text = SHIPPED[path]
    for change in changes:
        text = mutate(text, change)
    try:
        read_policy(Files({**SHIPPED, path: text}))
    except ConfigError as error:
        assert error.problems


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(max_size=200) | st.sampled_from(SNIPPETS))
def test_any_text_raises_nothing_else(text: str) -> None:
    assert_told(text)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(list(PolicyFile.model_fields)), trees))
def test_any_shape_raises_nothing_else(data: dict) -> None:
    assert_told(json.dumps(data))


# Topics


def with_topic(topic: str) -> Files:
    path = "journeys/birthday_care.yaml"
    return Files({**SHIPPED, path: SHIPPED[path].replace("holdout: 10%", f"topic: {topic}\nholdout: 10%")})


def test_a_journey_names_a_topic_of_the_policy() -> None:
    assert load(with_topic("offers")).versions["birthday_care"].journey.topic == "offers"
    [problem] = load(with_topic("ofers")).problems
    assert problem.what == 'topic: unknown topic "ofers".'
    assert problem.remedy == 'Did you mean "offers"? Topics: news, offers, tips.'


def test_a_stored_version_stays_readable_whatever_became_of_its_topic() -> None:
    content = load(with_topic("offers")).versions["birthday_care"].content
    assert set(content) & {"policy.yaml", "law.yaml"} == set()
    assert load_version(content).journey.topic == "offers"
